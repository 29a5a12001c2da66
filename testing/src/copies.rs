//! Thousands of records in seconds: copies of some that the system itself has written.

use packcast_protocol::{DeviceId, PackageId};
use packcast_rollout::PackageRecord;
use serde_json::{Value, json};

use crate::raw::RawEngine;
use crate::table::{NOW, Table};

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
        let engine = RawEngine::at(&self.endpoint);
        let table = self.records.table();
        let models: Vec<String> = engine
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
            let written = engine.ask("BatchWriteItem", &writes).await;
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
