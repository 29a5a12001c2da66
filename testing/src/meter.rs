//! What is asked of the records' service, and what it says that it cost.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_smithy_runtime_api::client::http::{
    HttpConnector as _, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use serde_json::Value;

use crate::layer::{Layer, layered};
use crate::wire;

/// A client of the records' service that notes what the service has answered.
///
/// Clones share their notes.
#[derive(Clone, Debug)]
pub struct Meter {
    client: SharedHttpClient,
    noted: Arc<Mutex<Noted>>,
}

#[derive(Debug, Default)]
struct Noted {
    usage: Usage,
    scans: usize,
}

/// Operations by their names, in the order of the answers, with the capacity they consumed.
///
/// The service tells the capacity of those requests only that ask for it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    pub operations: Vec<String>,
    pub read_units: f64,
    pub write_units: f64,
}

impl Usage {
    /// Returns how often an operation was asked for.
    pub fn count(&self, operation: &str) -> usize {
        let same = |name: &&String| *name == operation;
        self.operations.iter().filter(same).count()
    }
}

impl Meter {
    /// Begins to note what is asked over plain HTTP.
    pub fn start() -> Self {
        Self {
            client: aws_smithy_http_client::Builder::new().build_http(),
            noted: Arc::default(),
        }
    }

    /// Returns what `RecordsConfig` takes.
    pub fn http_client(&self) -> SharedHttpClient {
        layered(self.clone(), self.client.clone())
    }

    /// Returns what was noted since the last call.
    pub fn take(&self) -> Usage {
        std::mem::take(&mut self.noted().usage)
    }

    /// Returns how many Scans there were since the start, whatever was taken.
    pub fn scans(&self) -> usize {
        self.noted().scans
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Layer for Meter {
    async fn answer(
        self,
        request: HttpRequest,
        inner: SharedHttpConnector,
    ) -> Result<HttpResponse, ConnectorError> {
        let operation = wire::operation(&request);
        let (status, body) = wire::collected(inner.call(request).await?).await?;
        self.noted().note(operation, &body);
        Ok(wire::answer(status, body))
    }
}

impl Noted {
    fn note(&mut self, operation: String, answer: &[u8]) {
        let units = consumed_units(answer);
        if reads(&operation) {
            self.usage.read_units += units;
        } else {
            self.usage.write_units += units;
        }
        self.scans += usize::from(operation == "Scan");
        self.usage.operations.push(operation);
    }
}

fn reads(operation: &str) -> bool {
    operation == "Query" || operation == "Scan" || operation.contains("Get")
}

/// Sums what an answer says of one table or, in a list, of several.
fn consumed_units(answer: &[u8]) -> f64 {
    let units = |consumed: &Value| consumed["CapacityUnits"].as_f64().unwrap_or_default();
    match &wire::parsed(answer)["ConsumedCapacity"] {
        Value::Array(tables) => tables.iter().map(units).sum(),
        table => units(table),
    }
}
