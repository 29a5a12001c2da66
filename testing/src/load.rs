//! Loads the records of many devices straight into an embedded engine: 100,000 in seconds.
//!
//! A check-in of a new device is a transaction of its own, which the engine receives over HTTP, checks
//! and synchronises to disk: milliseconds for each device. Here the store makes the same transactions,
//! but their items are collected in memory and inserted many at a time.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_smithy_runtime_api::client::http::SharedHttpConnector;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use dynoxide::actions::delete_item::DeleteItemRequest;
use dynoxide::actions::get_item::GetItemRequest;
use dynoxide::{AttributeValue, Database, ImportOptions, Item};
use packcast_store::{Records, RecordsConfig};
use serde_json::Value;

use crate::layer::{Layer, layered};
use crate::wire;

/// Number of items that are inserted at a time.
const BATCH: usize = 50_000;

/// Loads records into the file of an engine that does not run.
///
/// See `load_into`.
///
/// # Panics
/// If the file is not that of an engine, or if the engine still runs.
pub async fn load(file: &Path, table: &str, write: impl AsyncFnOnce(&Records)) {
    let path = file.to_str().expect("the path of a test is UTF-8");
    let database = Database::new(path).expect("the file is that of an engine");
    // The loading need not survive a power cut.
    database
        .enable_bulk_loading()
        .expect("an engine can load many items");
    load_into(database, table, write).await;
}

/// Loads the records that `write` writes.
///
/// The store that `write` gets performs only changes that are one transaction and read nothing,
/// such as the first check-in of a device. The loader assumes that all conditions of the
/// transactions hold.
///
/// # Panics
/// If `write` reads, or makes any other change.
pub(crate) async fn load_into(database: Database, table: &str, write: impl AsyncFnOnce(&Records)) {
    let loader = Loader {
        database,
        table: table.to_owned(),
        items: Arc::default(),
    };
    let unused = aws_smithy_http_client::Builder::new().build_http();
    let records = Records::connect(RecordsConfig {
        table: table.to_owned(),
        region: None,
        endpoint: Some("http://127.0.0.1:1".to_owned()),
        http_client: Some(layered(loader.clone(), unused)),
    })
    .await;
    write(&records).await;
    loader.insert(&mut loader.items());
}

/// An engine, and the items that are still to be inserted into it. Clones share both.
#[derive(Clone)]
struct Loader {
    database: Database,
    table: String,
    items: Arc<Mutex<BTreeMap<ItemKey, Item>>>,
}

type ItemKey = (String, String);

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Loader");
        shown.field("table", &self.table).finish_non_exhaustive()
    }
}

impl Loader {
    fn items(&self) -> MutexGuard<'_, BTreeMap<ItemKey, Item>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, items: &mut BTreeMap<ItemKey, Item>) {
        let items: Vec<Item> = std::mem::take(items).into_values().collect();
        let inserted = self
            .database
            .import_items(&self.table, items, ImportOptions::default());
        inserted.expect("an engine takes the items of the store");
    }

    /// Performs the writes of a transaction. It assumes that the conditions hold.
    fn perform(&self, writes: &[Value]) {
        let mut items = self.items();
        for write in writes {
            if let Some(put) = write.get("Put") {
                let item = item_of(&put["Item"]);
                items.insert(key_of(&item), item);
            } else if let Some(delete) = write.get("Delete") {
                let key = item_of(&delete["Key"]);
                if items.remove(&key_of(&key)).is_none() {
                    self.delete_stored(key);
                }
            } else if let Some(update) = write.get("Update") {
                self.update(&mut items, update);
            } else {
                assert!(
                    write.get("ConditionCheck").is_some(),
                    "unknown write: {write}"
                );
            }
        }
        if items.len() >= BATCH {
            self.insert(&mut items);
        }
    }

    fn update(&self, items: &mut BTreeMap<ItemKey, Item>, update: &Value) {
        let key = item_of(&update["Key"]);
        let item = items
            .entry(key_of(&key))
            .or_insert_with(|| self.stored(key));
        let expression = update["UpdateExpression"].as_str().unwrap_or_default();
        let value = |word: &str| attribute_of(&update["ExpressionAttributeValues"][word]);
        let name = |word: &str| {
            let name = update["ExpressionAttributeNames"][word].as_str();
            name.unwrap_or_else(|| panic!("no name for {word}"))
                .to_owned()
        };
        if let Some(additions) = expression.strip_prefix("ADD ") {
            for addition in additions.split(", ") {
                let (word, by) = addition.split_once(' ').expect("a name and a value");
                let count = item.entry(name(word)).or_insert_with(|| number(0));
                *count = number(integer(count) + integer(&value(by)));
            }
        } else if let Some(settings) = expression.strip_prefix("SET ") {
            for setting in settings.split(", ") {
                let (path, to) = setting.split_once(" = ").expect("a path and a value");
                match path.split_once('.') {
                    None => {
                        item.insert(name(path), value(to));
                    }
                    Some((outer, inner)) => match item.get_mut(&name(outer)) {
                        Some(AttributeValue::M(map)) => {
                            map.insert(name(inner), value(to));
                        }
                        other => panic!("no map at {path}: {other:?}"),
                    },
                }
            }
        } else {
            panic!("a loader does not perform this update: {expression}");
        }
    }

    /// Deletes an item that the engine stores already.
    fn delete_stored(&self, key: Item) {
        let deleted = self.database.delete_item(DeleteItemRequest {
            table_name: self.table.clone(),
            key,
            return_values: Some("ALL_OLD".to_owned()),
            ..DeleteItemRequest::default()
        });
        let deleted = deleted.expect("an engine can be written");
        assert!(
            deleted.attributes.is_some(),
            "a loader deletes only what it has put"
        );
    }

    /// Returns the item as the engine stores it, or an item with the key alone.
    fn stored(&self, key: Item) -> Item {
        let found = self.database.get_item(GetItemRequest {
            table_name: self.table.clone(),
            key: key.clone(),
            ..GetItemRequest::default()
        });
        found.expect("an engine can be read").item.unwrap_or(key)
    }
}

impl Layer for Loader {
    async fn answer(
        self,
        request: HttpRequest,
        _inner: SharedHttpConnector,
    ) -> Result<HttpResponse, ConnectorError> {
        let operation = wire::operation(&request);
        assert_eq!(
            operation, "TransactWriteItems",
            "a loader performs only transactions"
        );
        let body = wire::parsed(request.body().bytes().unwrap_or_default());
        self.perform(body["TransactItems"].as_array().expect("a list of writes"));
        Ok(wire::answer(200, "{}"))
    }
}

fn item_of(value: &Value) -> Item {
    serde_json::from_value(value.clone()).expect("an item of the store")
}

fn attribute_of(value: &Value) -> AttributeValue {
    serde_json::from_value(value.clone()).expect("an attribute of the store")
}

fn key_of(item: &Item) -> ItemKey {
    let part = |name: &str| match item.get(name) {
        Some(AttributeValue::S(text)) => text.clone(),
        other => panic!("no text in {name}: {other:?}"),
    };
    (part("pk"), part("sk"))
}

fn number(value: i64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn integer(value: &AttributeValue) -> i64 {
    match value {
        AttributeValue::N(digits) => digits.parse().expect("a count is a whole number"),
        other => panic!("no number: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use packcast_protocol::GroupName;
    use packcast_rollout::reconcile::{ObservedRevision, Step};
    use packcast_rollout::{OpenTask, ReconcileCount, TaskChange, TaskState};

    use super::*;
    use crate::raw::RawEngine;
    use crate::table::{NOW, Table, device, result};

    /// Lets devices check in; some have an open task or a result.
    async fn write(records: &Records) {
        for number in 0..12 {
            let record = device(number);
            let device = &record.device;
            records.write_check_in(&record, None).await.unwrap();
            if number % 4 == 3 {
                continue;
            }
            let task = OpenTask {
                package: "1795327754".parse().unwrap(),
                priority: packcast_protocol::Priority::DEFAULT,
                attempt: 1,
                state: TaskState::Pending,
                force: false,
                direct: false,
                mandate: None,
                group_mandate: None,
                used: std::collections::BTreeSet::new(),
                place: None,
                assigned_at: NOW,
            };
            let step = Step {
                changes: vec![TaskChange::Open {
                    task: task.clone(),
                    before: None,
                }],
                observed: vec![ObservedRevision {
                    group: GroupName::all(),
                    from: 0,
                    to: 7,
                }],
            };
            let count = ReconcileCount::FIRST;
            assert!(records.write_step(device, count, &step).await.unwrap());
            let finished = result(&task, "ERR_EXIT_CODE_3");
            if number % 4 == 0 {
                let recorded = records.record_result(device, &task, &finished).await;
                recorded.unwrap();
            }
        }
    }

    async fn items(table: &Table) -> BTreeMap<String, Value> {
        let engine = RawEngine::at(&table.endpoint);
        let items = engine.items(table.records.table()).await.into_iter();
        items
            .map(|item| (format!("{} {}", item["pk"], item["sk"]), item))
            .collect()
    }

    #[tokio::test]
    async fn loaded_records_are_those_of_real_check_ins() {
        let real = Table::without_target(390).await;
        write(&real.records).await;
        let loaded = Table::without_target(391).await;
        loaded.load(write).await;
        let expected = items(&real).await;
        assert_eq!(items(&loaded).await, expected);
        assert!(expected.len() > 50, "{expected:#?}");
        let package = "1795327754".parse().unwrap();
        let states = real.records.devices_of(package).await.unwrap();
        assert_eq!(loaded.records.devices_of(package).await.unwrap(), states);
        assert_eq!(states.len(), 9);
    }

    #[tokio::test]
    async fn records_are_added_to_those_of_the_engine() {
        let table = Table::without_target(392).await;
        table.device(100).await;
        table.load(write).await;
        let all = GroupName::all();
        assert_eq!(table.records.size(&all).await.unwrap(), 13);
        assert_eq!(table.records.members(&all).await.unwrap().len(), 13);
    }
}
