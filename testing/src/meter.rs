//! A meter of requests to the records' service and of the capacity that they consumed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_smithy_runtime_api::client::http::{
    HttpConnector as _, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use serde_json::Value;

use crate::layer::{Layer, layered};
use crate::wire;

/// A client of the records' service that records the operations and their consumed capacity.
///
/// Clones share one record.
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

/// Operations by name, in the order of the answers, and the capacity that they consumed.
///
/// The service returns the capacity only if the request asks for it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    pub operations: Vec<String>,
    pub read_units: f64,
    pub write_units: f64,
}

impl Usage {
    /// Returns the number of requests for an operation.
    pub fn count(&self, operation: &str) -> usize {
        let same = |name: &&String| *name == operation;
        self.operations.iter().filter(same).count()
    }

    /// Adds an operation, with the capacity that its answer names.
    pub fn note(&mut self, operation: String, answer: &[u8]) {
        let units = consumed_units(answer);
        if reads(&operation) {
            self.read_units += units;
        } else {
            self.write_units += units;
        }
        self.operations.push(operation);
    }
}

impl Meter {
    /// Starts a meter of requests over plain HTTP.
    pub fn start() -> Self {
        Self::before(aws_smithy_http_client::Builder::new().build_http())
    }

    /// Starts a meter of the requests to another client.
    pub(crate) fn before(client: SharedHttpClient) -> Self {
        Self {
            client,
            noted: Arc::default(),
        }
    }

    /// Returns the HTTP client for `RecordsConfig`.
    pub fn http_client(&self) -> SharedHttpClient {
        layered(self.clone(), self.client.clone())
    }

    /// Returns the usage since the last call.
    pub fn take(&self) -> Usage {
        std::mem::take(&mut self.noted().usage)
    }

    /// Returns the number of Scans since the start; [`Meter::take`] does not reset it.
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
        self.scans += usize::from(operation == "Scan");
        self.usage.note(operation, answer);
    }
}

fn reads(operation: &str) -> bool {
    operation == "Query" || operation == "Scan" || operation.contains("Get")
}

/// Returns the consumed capacity in an answer, for one table or, in a list, for several.
fn consumed_units(answer: &[u8]) -> f64 {
    let units = |consumed: &Value| consumed["CapacityUnits"].as_f64().unwrap_or_default();
    match &wire::parsed(answer)["ConsumedCapacity"] {
        Value::Array(tables) => tables.iter().map(units).sum(),
        table => units(table),
    }
}
