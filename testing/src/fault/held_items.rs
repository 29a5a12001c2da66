//! A model of conflicts between writes of one item, which the engines on a developer's machine lack.
//!
//! DynamoDB cancels a transaction while another transaction, or another write, is in progress on one
//! of its items. It also refuses a single write while a transaction is in progress on the item. In
//! this model, a write is in progress from its arrival until its answer, and the answer comes after a
//! fixed time at the earliest. A check of a condition in a transaction counts as a write. A refused
//! write is answered at once, and is in progress on no item.
//!
//! `BatchWriteItem` is not part of the model: the store uses it only for pages and documents, which
//! are in no transaction.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use serde_json::{Value, json};

use crate::wire;

/// Times from the arrival of a write until its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldTimes {
    pub transaction: Duration,
    /// Time of a write of one item outside a transaction.
    pub single: Duration,
}

impl HoldTimes {
    /// The assumption of `docs/scale-and-cost.md`. Nobody has measured these times on AWS.
    pub const ASSUMED: Self = Self {
        transaction: Duration::from_millis(10),
        single: Duration::from_millis(5),
    };

    /// Short times, for tests in which a real clock runs.
    pub const SHORT: Self = Self {
        transaction: Duration::from_millis(2),
        single: Duration::from_millis(1),
    };
}

/// Numbers of writes that were refused because of another write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RefusedWrites {
    pub transactions: u64,
    /// Writes of one item outside a transaction.
    pub singles: u64,
    /// The items of all refused writes on which another write was in progress, by the first part of
    /// their partition keys, such as `TALLY`.
    pub items: BTreeMap<String, u64>,
}

/// The items on which writes are in progress.
#[derive(Debug, Default)]
pub(super) struct HeldItems {
    items: HashMap<ItemKey, Holders>,
    pub(super) refused: RefusedWrites,
}

/// Table, partition key and sort key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ItemKey(String, String, String);

/// The writes in progress on one item.
#[derive(Debug, Default)]
struct Holders {
    /// The token of the transaction; empty if it has none.
    transaction: Option<String>,
    singles: u32,
}

/// A write in progress.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) is_transaction: bool,
    items: Vec<ItemKey>,
}

/// The refusal of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A transaction, with the presence of a conflict for each of its items.
    Cancelled(Vec<bool>),
    /// A repeated transaction, whose first try is still in progress.
    InProgress,
    /// A write of one item.
    Single,
}

impl HeldItems {
    /// Begins a request. Returns `None` for a request that holds no item, such as a read.
    pub(super) fn begin(&mut self, operation: &str, body: &[u8]) -> Result<Option<Held>, Refusal> {
        match operation {
            "TransactWriteItems" => self.begin_transaction(&wire::parsed(body)).map(Some),
            "PutItem" | "UpdateItem" | "DeleteItem" => self.begin_single(&wire::parsed(body)),
            _ => Ok(None),
        }
    }

    fn begin_transaction(&mut self, body: &Value) -> Result<Held, Refusal> {
        let token = body["ClientRequestToken"].as_str().unwrap_or_default();
        let writes = body["TransactItems"].as_array().into_iter().flatten();
        let writes = writes.filter_map(|write| write.as_object()?.values().next());
        let items: Vec<ItemKey> = writes.filter_map(ItemKey::of).collect();
        let of_others: Vec<bool> = items
            .iter()
            .map(|item| self.items.contains_key(item))
            .collect();
        let is_same = |item: &ItemKey| {
            let holders = self.items.get(item);
            let other = holders.and_then(|holders| holders.transaction.as_deref());
            !token.is_empty() && other == Some(token)
        };
        if items.iter().any(is_same) {
            return Err(Refusal::InProgress);
        }
        if of_others.contains(&true) {
            for (item, _) in items.iter().zip(&of_others).filter(|(_, held)| **held) {
                self.refused.note(item);
            }
            self.refused.transactions += 1;
            return Err(Refusal::Cancelled(of_others));
        }
        for item in &items {
            let holders = self.items.entry(item.clone()).or_default();
            holders.transaction = Some(token.to_owned());
        }
        Ok(Held {
            is_transaction: true,
            items,
        })
    }

    fn begin_single(&mut self, body: &Value) -> Result<Option<Held>, Refusal> {
        let Some(item) = ItemKey::of(body) else {
            return Ok(None);
        };
        let holders = self.items.entry(item.clone()).or_default();
        if holders.transaction.is_some() {
            self.refused.note(&item);
            self.refused.singles += 1;
            return Err(Refusal::Single);
        }
        holders.singles += 1;
        Ok(Some(Held {
            is_transaction: false,
            items: vec![item],
        }))
    }

    /// Ends a write.
    pub(super) fn end(&mut self, held: &Held) {
        for item in &held.items {
            let Some(holders) = self.items.get_mut(item) else {
                continue;
            };
            if held.is_transaction {
                holders.transaction = None;
            } else {
                holders.singles = holders.singles.saturating_sub(1);
            }
            if holders.transaction.is_none() && holders.singles == 0 {
                self.items.remove(item);
            }
        }
    }
}

impl RefusedWrites {
    fn note(&mut self, item: &ItemKey) {
        let ItemKey(_, partition, _) = item;
        let (kind, _) = partition.split_once('#').unwrap_or((partition, ""));
        *self.items.entry(kind.to_owned()).or_default() += 1;
    }
}

impl ItemKey {
    /// Returns the key of a write; `None` if the write is malformed.
    fn of(write: &Value) -> Option<Self> {
        let item = write.get("Key").or_else(|| write.get("Item"))?;
        let part = |name: &str| Some(item[name]["S"].as_str()?.to_owned());
        let table = write["TableName"].as_str()?;
        Some(Self(table.to_owned(), part("pk")?, part("sk")?))
    }
}

impl Refusal {
    pub(super) fn answer(&self) -> HttpResponse {
        let refusal = match self {
            Self::Cancelled(conflicts) => cancelled(conflicts),
            Self::InProgress => json!({
                "__type": "com.amazonaws.dynamodb.v20120810#TransactionInProgressException",
                "Message": "The transaction with the given request token is already in progress.",
            }),
            Self::Single => json!({
                "__type": "com.amazonaws.dynamodb.v20120810#TransactionConflictException",
                "message": "Transaction is ongoing for the item",
            }),
        };
        wire::answer(400, refusal.to_string())
    }
}

/// DynamoDB lists a reason for each item of a cancelled transaction, `None` for those in order.
fn cancelled(conflicts: &[bool]) -> Value {
    let reason = |is_conflict: &bool| {
        if *is_conflict {
            json!({
                "Code": "TransactionConflict",
                "Message": "Transaction is ongoing for the item",
            })
        } else {
            json!({ "Code": "None" })
        }
    };
    let reasons: Vec<Value> = conflicts.iter().map(reason).collect();
    json!({
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": "Transaction cancelled, please refer cancellation reasons for specific reasons",
        "CancellationReasons": reasons,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSACTION: &str = "TransactWriteItems";

    fn key(name: &str) -> Value {
        json!({ "pk": { "S": format!("TALLY#{name}") }, "sk": { "S": "TALLY" } })
    }

    /// Returns a transaction that checks the first item, and writes the others.
    fn transaction(token: &str, names: &[&str]) -> Vec<u8> {
        let write = |(number, name): (usize, &&str)| match number {
            0 => json!({ "ConditionCheck": { "TableName": "t", "Key": key(name) } }),
            1 => json!({ "Put": { "TableName": "t", "Item": key(name) } }),
            _ => json!({ "Update": { "TableName": "t", "Key": key(name) } }),
        };
        let writes: Vec<Value> = names.iter().enumerate().map(write).collect();
        let body = json!({ "TransactItems": writes, "ClientRequestToken": token });
        body.to_string().into_bytes()
    }

    fn update(name: &str) -> Vec<u8> {
        let body = json!({ "TableName": "t", "Key": key(name) });
        body.to_string().into_bytes()
    }

    #[test]
    fn a_transaction_is_cancelled_while_another_is_in_progress_on_one_of_its_items() {
        let mut items = HeldItems::default();
        let held = items.begin(TRANSACTION, &transaction("1", &["a", "b", "c"]));
        let held = held.unwrap().unwrap();
        for (names, conflicts) in [
            (&["x", "c", "y"][..], [false, true, false]),
            (&["a", "x", "b"], [true, false, true]),
        ] {
            let refused = items.begin(TRANSACTION, &transaction("2", names));
            assert_eq!(refused.unwrap_err(), Refusal::Cancelled(conflicts.into()));
        }
        let refused = RefusedWrites {
            transactions: 2,
            singles: 0,
            items: BTreeMap::from([("TALLY".to_owned(), 3)]),
        };
        assert_eq!(items.refused, refused);
        items.end(&held);
        let later = items.begin(TRANSACTION, &transaction("2", &["a", "b", "c"]));
        assert!(later.is_ok());
    }

    #[test]
    fn a_cancelled_transaction_holds_no_item() {
        let mut items = HeldItems::default();
        let first = items.begin(TRANSACTION, &transaction("1", &["a"]));
        assert!(first.is_ok());
        let second = items.begin(TRANSACTION, &transaction("2", &["a", "b"]));
        assert!(second.is_err());
        let third = items.begin(TRANSACTION, &transaction("3", &["b"]));
        assert!(third.is_ok());
    }

    #[test]
    fn a_repeated_transaction_is_told_that_its_first_try_is_in_progress() {
        let mut items = HeldItems::default();
        let first = items.begin(TRANSACTION, &transaction("1", &["a", "b"]));
        assert!(first.is_ok());
        let again = items.begin(TRANSACTION, &transaction("1", &["a", "b"]));
        assert_eq!(again.unwrap_err(), Refusal::InProgress);
    }

    #[test]
    fn a_single_write_and_a_transaction_on_one_item_refuse_each_other() {
        let mut items = HeldItems::default();
        let held = items.begin(TRANSACTION, &transaction("1", &["a"]));
        let held = held.unwrap().unwrap();
        for operation in ["PutItem", "UpdateItem", "DeleteItem"] {
            let refused = items.begin(operation, &update("a"));
            assert_eq!(refused.unwrap_err(), Refusal::Single, "{operation}");
        }
        items.end(&held);
        let single = items.begin("UpdateItem", &update("a"));
        let single = single.unwrap().unwrap();
        let refused = items.begin(TRANSACTION, &transaction("2", &["a"]));
        assert_eq!(refused.unwrap_err(), Refusal::Cancelled(vec![true]));
        items.end(&single);
        assert!(items.begin(TRANSACTION, &transaction("2", &["a"])).is_ok());
    }

    #[test]
    fn single_writes_of_one_item_wait_for_each_other() {
        let mut items = HeldItems::default();
        let first = items.begin("UpdateItem", &update("a")).unwrap().unwrap();
        let second = items.begin("UpdateItem", &update("a")).unwrap().unwrap();
        items.end(&first);
        let refused = items.begin(TRANSACTION, &transaction("1", &["a"]));
        assert!(refused.is_err(), "the second write is in progress");
        items.end(&second);
        assert!(items.items.is_empty());
    }

    #[test]
    fn reads_hold_no_item() {
        let mut items = HeldItems::default();
        for operation in ["GetItem", "Query", "BatchGetItem"] {
            assert!(items.begin(operation, &update("a")).unwrap().is_none());
        }
    }
}
