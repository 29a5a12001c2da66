//! The embedded engine without a connection: each request is a call.
//!
//! A test with a paused clock needs this engine. With an engine behind a socket, the clock would jump
//! to the next timer while a request is on its way.

use std::fmt;

use aws_smithy_runtime_api::client::http::{SharedHttpClient, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::layer::{Layer, layered};
use crate::wire;

/// A client whose requests an engine in memory answers.
#[derive(Clone)]
pub(crate) struct DirectEngine {
    database: Database,
}

impl fmt::Debug for DirectEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectEngine").finish_non_exhaustive()
    }
}

impl DirectEngine {
    pub(crate) fn new() -> Self {
        Self {
            database: Database::memory().expect("an engine in memory starts"),
        }
    }

    pub(crate) fn database(&self) -> Database {
        self.database.clone()
    }

    pub(crate) fn http_client(&self) -> SharedHttpClient {
        let unused = aws_smithy_http_client::Builder::new().build_http();
        layered(self.clone(), unused)
    }

    fn perform(&self, operation: &str, body: &[u8]) -> Result<String, DynoxideError> {
        let database = &self.database;
        match operation {
            "CreateTable" => call(body, |request| database.create_table(request)),
            "DescribeTable" => call(body, |request| database.describe_table(request)),
            "GetItem" => call(body, |request| database.get_item(request)),
            "PutItem" => call(body, |request| database.put_item(request)),
            "UpdateItem" => call(body, |request| database.update_item(request)),
            "DeleteItem" => call(body, |request| database.delete_item(request)),
            "Query" => call(body, |request| database.query(request)),
            "BatchGetItem" => call(body, |request| database.batch_get_item(request)),
            "BatchWriteItem" => call(body, |request| database.batch_write_item(request)),
            "TransactWriteItems" => call(body, |request| database.transact_write_items(request)),
            _ => panic!("the engine does not know {operation}"),
        }
    }
}

fn call<Q: DeserializeOwned, A: Serialize>(
    body: &[u8],
    perform: impl FnOnce(Q) -> Result<A, DynoxideError>,
) -> Result<String, DynoxideError> {
    let request = serde_json::from_slice(body).expect("the store sends a known request");
    let answer = perform(request)?;
    Ok(serde_json::to_string(&answer).expect("an answer is JSON"))
}

impl Layer for DirectEngine {
    async fn answer(
        self,
        request: HttpRequest,
        _: SharedHttpConnector,
    ) -> Result<HttpResponse, ConnectorError> {
        let operation = wire::operation(&request);
        let body = request.body().bytes().unwrap_or_default();
        Ok(match self.perform(&operation, body) {
            Ok(answer) => wire::answer(200, answer),
            Err(error) => wire::answer(error.status_code(), error.to_json()),
        })
    }
}
