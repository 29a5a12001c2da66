//! Direct requests to the records' engine that bypass the store.

use aws_smithy_http_client::Connector;
use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use serde_json::{Value, json};

use crate::wire;

/// A client that speaks the engine's protocol.
#[derive(Debug)]
pub struct RawEngine<'a> {
    connector: Connector,
    endpoint: &'a str,
}

impl<'a> RawEngine<'a> {
    /// Returns a client of the engine at this address.
    pub fn at(endpoint: &'a str) -> Self {
        let connector = Connector::builder().build_http();
        Self {
            connector,
            endpoint,
        }
    }

    /// Returns all items of a table.
    pub async fn items(&self, table: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut question = json!({ "TableName": table });
        loop {
            let mut page = self.ask("Scan", &question).await;
            let found = page["Items"].as_array_mut();
            items.append(found.expect("a Scan returns items"));
            let last = page["LastEvaluatedKey"].take();
            if last.is_null() {
                return items;
            }
            question["ExclusiveStartKey"] = last;
        }
    }

    /// Performs an operation and returns its answer.
    ///
    /// # Panics
    /// If the operation does not succeed.
    pub async fn ask(&self, operation: &str, question: &Value) -> Value {
        let (status, answer) = self.answer(operation, question).await;
        assert_eq!(status, 200, "{operation}: {answer}");
        answer
    }

    /// Performs an operation and returns the status and the answer, which may be an error.
    ///
    /// # Panics
    /// If the engine does not answer.
    pub async fn answer(&self, operation: &str, question: &Value) -> (u16, Value) {
        let mut request = HttpRequest::new(SdkBody::from(question.to_string()));
        request.set_method("POST").expect("a method");
        request.set_uri(self.endpoint).expect("an engine's address");
        let target = format!("DynamoDB_20120810.{operation}");
        let headers = request.headers_mut();
        headers.insert("x-amz-target", target);
        headers.insert("content-type", "application/x-amz-json-1.0");
        // Engines require a signature, but do not verify it.
        headers.insert("x-amz-date", "20260101T000000Z");
        headers.insert(
            "authorization",
            "AWS4-HMAC-SHA256 Credential=local/20260101/local/dynamodb/aws4_request, SignedHeaders=host;x-amz-date, Signature=0",
        );
        let answer = self.connector.call(request).await.expect("the engine runs");
        let (status, body) = wire::collected(answer)
            .await
            .expect("the answer is complete");
        (status, wire::parsed(&body))
    }
}
