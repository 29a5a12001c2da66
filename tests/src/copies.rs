//! Thousands of records in seconds: copies of some that the system itself has written.

use aws_smithy_http_client::Connector;
use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use packcast_protocol::{DeviceId, PackageId};
use packcast_rollout::PackageRecord;
use serde_json::{Value, json};

use crate::table::{NOW, Table};
use crate::wire;

/// The largest batch that the service takes.
const BATCH: usize = 25;

impl Table {
    /// Makes an active package whose name contains its id, so that no copy has the same.
    pub async fn package_to_copy(&self) -> PackageRecord {
        // No other time of the tests, which copies would change, too.
        let at = NOW.plus(1);
        let id = PackageId::at(at).expect("a time in range");
        let package = self.package_at(&format!("package-{id}"), 5, at).await;
        assert_eq!(package.id, id, "it is the first of its table");
        package
    }

    /// Writes each item with a package's id in its key once more for each of `ids`, which
    /// stand in the place of its own: the package itself, tasks, results, tallies.
    ///
    /// It scans, as no question of the system does, and so past the meter.
    pub async fn copy(&self, package: &PackageRecord, ids: impl IntoIterator<Item = PackageId>) {
        let ids = ids.into_iter().map(|id| id.to_string());
        self.copy_named(&package.id.to_string(), ids).await;
    }

    /// Writes each item with a device's id in its key once more for each of `devices`: the
    /// device itself, tasks, results, memberships. No counts change.
    ///
    /// It scans, as no question of the system does, and so past the meter.
    pub async fn copy_device(
        &self,
        device: &DeviceId,
        devices: impl IntoIterator<Item = DeviceId>,
    ) {
        let devices = devices.into_iter().map(|device| device.to_string());
        self.copy_named(&device.to_string(), devices).await;
    }

    async fn copy_named(&self, own: &str, others: impl Iterator<Item = String>) {
        let service = Service::at(&self.endpoint);
        let table = self.records.table();
        let models: Vec<String> = service
            .items(table)
            .await
            .iter()
            .filter(|item| [&item["pk"], &item["sk"]].iter().any(|key| names(key, own)))
            .map(Value::to_string)
            .collect();
        assert!(!models.is_empty(), "no key names {own}");
        let copies: Vec<Value> = others
            .flat_map(|other| {
                models
                    .iter()
                    .map(move |item| put(&item.replace(own, &other)))
                    .collect::<Vec<_>>()
            })
            .collect();
        for batch in copies.chunks(BATCH) {
            let writes = json!({ "RequestItems": { table: batch } });
            let written = service.ask("BatchWriteItem", &writes).await;
            assert_eq!(
                written["UnprocessedItems"],
                json!({}),
                "an engine takes all at once"
            );
        }
    }
}

fn names(key: &Value, id: &str) -> bool {
    key["S"].as_str().is_some_and(|key| key.contains(id))
}

fn put(item: &str) -> Value {
    let item: Value = serde_json::from_str(item).expect("digits for digits leave JSON as it is");
    json!({ "PutRequest": { "Item": item } })
}

/// An engine, asked in its own words.
struct Service<'a> {
    connector: Connector,
    endpoint: &'a str,
}

impl<'a> Service<'a> {
    fn at(endpoint: &'a str) -> Self {
        let connector = Connector::builder().build_http();
        Self {
            connector,
            endpoint,
        }
    }

    /// Returns everything in a table.
    async fn items(&self, table: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut question = json!({ "TableName": table });
        loop {
            let mut page = self.ask("Scan", &question).await;
            let found = page["Items"].as_array_mut();
            items.append(found.expect("a Scan gives items"));
            let last = page["LastEvaluatedKey"].take();
            if last.is_null() {
                return items;
            }
            question["ExclusiveStartKey"] = last;
        }
    }

    async fn ask(&self, operation: &str, question: &Value) -> Value {
        let mut request = HttpRequest::new(SdkBody::from(question.to_string()));
        request.set_method("POST").expect("a method");
        request.set_uri(self.endpoint).expect("an engine's address");
        let target = format!("DynamoDB_20120810.{operation}");
        let headers = request.headers_mut();
        headers.insert("x-amz-target", target);
        headers.insert("content-type", "application/x-amz-json-1.0");
        // Engines look for a signature, and not at it.
        headers.insert("x-amz-date", "20260101T000000Z");
        headers.insert(
            "authorization",
            "AWS4-HMAC-SHA256 Credential=local/20260101/local/dynamodb/aws4_request, SignedHeaders=host;x-amz-date, Signature=0",
        );
        let answer = self.connector.call(request).await.expect("the engine runs");
        let (status, body) = wire::collected(answer).await.expect("it answers whole");
        assert_eq!(
            status,
            200,
            "{operation}: {}",
            String::from_utf8_lossy(&body)
        );
        wire::parsed(&body)
    }
}
