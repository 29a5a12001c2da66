//! Copies of records that the system itself has written: thousands of records in seconds.

use packcast_protocol::{DeviceId, PackageId};
use packcast_rollout::PackageRecord;
use serde_json::{Value, json};

use crate::raw::RawEngine;
use crate::table::{NOW, Table};

/// The largest batch that the service takes.
const BATCH: usize = 25;

impl Table {
    /// Creates an active package whose name contains its id, so that each copy has its own name.
    pub async fn package_to_copy(&self) -> PackageRecord {
        // The tests use this time nowhere else: the id is this time, and copying replaces every
        // occurrence of it.
        let at = NOW.plus(1);
        let id = PackageId::at(at).expect("a time in range");
        let package = self.package_at(&format!("package-{id}"), 5, at).await;
        assert_eq!(package.id, id, "the package is the first of its table");
        package
    }

    /// Copies each item whose key contains the package's id, once for each of `ids`.
    ///
    /// The copies include the package itself, tasks and results, but not the 64 shards of its tally:
    /// no copy can be announced. The copying scans the table, unlike every query of the system, and
    /// therefore bypasses the meter.
    pub async fn copy(&self, package: &PackageRecord, ids: impl IntoIterator<Item = PackageId>) {
        let ids = ids.into_iter().map(|id| id.to_string());
        self.copy_named(&package.id.to_string(), ids).await;
    }

    /// Copies each item whose key contains the device's id, once for each of `devices`.
    ///
    /// The copies include the device itself, tasks, results and memberships; no counts change. The
    /// copying scans the table, unlike every query of the system, and therefore bypasses the meter.
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
        let templates: Vec<String> = engine
            .items(table)
            .await
            .iter()
            .filter(|item| {
                let keys = [&item["pk"], &item["sk"]];
                keys.iter().any(|key| has_id(key, own)) && !is_shard(&item["pk"])
            })
            .map(Value::to_string)
            .collect();
        assert!(!templates.is_empty(), "no key contains {own}");
        let copies: Vec<Value> = others
            .flat_map(|other| {
                templates
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
                "an engine takes a whole batch"
            );
        }
    }
}

fn is_shard(key: &Value) -> bool {
    key["S"]
        .as_str()
        .is_some_and(|key| key.starts_with("TALLY#"))
}

fn has_id(key: &Value, id: &str) -> bool {
    key["S"].as_str().is_some_and(|key| key.contains(id))
}

fn put(item: &str) -> Value {
    let item: Value = serde_json::from_str(item).expect("JSON with other ids is still JSON");
    json!({ "PutRequest": { "Item": item } })
}
