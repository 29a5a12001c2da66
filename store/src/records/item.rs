//! How records are kept as items: the attributes of a value, with those of its key and its
//! index around them.
//!
//! A reader ignores attributes it does not know, so that a newer writer can add some.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use packcast_protocol::{DeviceId, GroupName, Outcome, PackageId, Sha256Digest, UnixTime};
use packcast_rollout::{
    DeviceRecord, FinishedTask, GroupState, LocationRecord, OpenTask, Order, PaceOverride,
    PackageRecord, TaskState,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::RecordsError;
use super::group::RevisionItem;
use super::key::{INDEX_SHARDS, Key, index_partition, index_sort, shard};
use super::keys::KeyListsItem;
use super::own::OwnItem;

pub(super) type Item = HashMap<String, AttributeValue>;

pub(super) const PK: &str = "pk";
pub(super) const SK: &str = "sk";
/// The index by package, and its keys.
pub(super) const INDEX: &str = "by-package";
pub(super) const INDEX_PK: &str = "ipk";
pub(super) const INDEX_SK: &str = "isk";

/// The attributes that conditions and updates name.
pub(super) const STATE: &str = "state";
pub(super) const ATTEMPT: &str = "attempt";
pub(super) const DIRECT: &str = "direct";
pub(super) const ACTIVE: &str = "active";
pub(super) const LOCATIONS: &str = "locations";
pub(super) const DEVICE_ID: &str = "device";
pub(super) const FIRST_SEEN: &str = "first_seen";

/// The state of a package that was deleted.
pub(super) const DELETED: &str = "deleted";
/// A device's groups, each with the revision up to which it is reconciled.
pub(super) const GROUPS: &str = "groups";
pub(super) const REVISION: &str = "revision";
/// The number of the last list of keys.
pub(super) const SERIAL: &str = "serial";
pub(super) const LISTS: &str = "lists";
/// When the assignments of a revision were signed.
pub(super) const ISSUED: &str = "issued";
/// Whether a group was deleted, beside its revision.
pub(super) const IS_DELETED: &str = "deleted";
/// How often a device's groups had a part in a change of its tasks.
pub(super) const ROUND: &str = "round";
pub(super) const MEMBERS: &str = "members";
/// Which state of a device's own assignments was signed last.
pub(super) const SIGNED: &str = "signed";

/// The attributes of an order.
pub(super) const ASKED_AT: &str = "asked_at";
pub(super) const TOLD_AT: &str = "told_at";

/// The attributes of a history.
pub(super) const IDS: &str = "ids";
const AT: &str = "at";

/// The attributes of a tally.
pub(super) const ASSIGNED: &str = "assigned";
pub(super) const ANNOUNCED: &str = "announced";
pub(super) const WITHDRAWN: &str = "withdrawn";
pub(super) const SUCCEEDED: &str = "succeeded";
pub(super) const FAILED: &str = "failed";
pub(super) const CANCELLED: &str = "cancelled";

/// Who has a name and version.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct NameItem {
    pub(super) package: PackageId,
    pub(super) content: Sha256Digest,
}

/// A package in the catalogue.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct CataloguedPackage {
    pub(super) id: PackageId,
}

/// A group in the catalogue, or beside a package that it has.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct CataloguedGroup {
    pub(super) group: GroupName,
}

/// A device in the catalogue, among a group's members, or under its host name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct CataloguedDevice {
    pub(super) device: DeviceId,
}

/// One shard of a tally.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TallyItem {
    pub(super) assigned: i64,
    pub(super) announced: i64,
    pub(super) withdrawn: i64,
    pub(super) succeeded: i64,
    pub(super) failed: i64,
    pub(super) cancelled: i64,
}

pub(super) fn device(record: &DeviceRecord) -> Item {
    item(&Key::device(&record.device), record)
}

/// A device that is in no group yet.
pub(super) fn new_device(record: &DeviceRecord) -> Item {
    let mut item = device(record);
    item.insert(GROUPS.to_owned(), AttributeValue::M(HashMap::new()));
    item
}

pub(super) fn catalogued_device(device: &DeviceId) -> Item {
    let value = CataloguedDevice {
        device: device.clone(),
    };
    item(&Key::catalogued_device(device), &value)
}

pub(super) fn group(state: &GroupState) -> Item {
    item(&Key::group_state(&state.group), state)
}

pub(super) fn group_revision(revision: &RevisionItem) -> Item {
    item(&Key::group_revision(&revision.group), revision)
}

pub(super) fn catalogued_group(group: &GroupName) -> Item {
    let value = CataloguedGroup {
        group: group.clone(),
    };
    item(&Key::catalogued_group(group), &value)
}

pub(super) fn key_lists(lists: &KeyListsItem) -> Item {
    item(&Key::keys(), lists)
}

pub(super) fn group_with(package: PackageId, group: &GroupName) -> Item {
    let value = CataloguedGroup {
        group: group.clone(),
    };
    item(&Key::group_with(package, group), &value)
}

pub(super) fn member(group: &GroupName, device: &DeviceId) -> Item {
    let value = CataloguedDevice {
        device: device.clone(),
    };
    item(&Key::member(group, device), &value)
}

pub(super) fn host(name: &str, device: &DeviceId) -> Item {
    let value = CataloguedDevice {
        device: device.clone(),
    };
    item(&Key::host(name, device), &value)
}

pub(super) fn task(device: &DeviceId, task: &OpenTask) -> Item {
    let mut item = item(&Key::task(device, task.priority, task.package), task);
    item.extend(index(device, task.package, task_state(task.state)));
    item
}

pub(super) fn finished(device: &DeviceId, task: &FinishedTask) -> Item {
    let mut item = item(&Key::finished(device, task.package), task);
    item.extend(index(device, task.package, outcome(task.outcome)));
    item
}

/// A result that another attempt has followed: its device is not listed with it.
pub(super) fn set_aside(device: &DeviceId, task: &FinishedTask) -> Item {
    item(&Key::finished(device, task.package), task)
}

/// What a stock agent says it has: four bytes for each id, in their order.
pub(super) fn history(device: &DeviceId, ids: Vec<u8>, at: UnixTime) -> Item {
    let mut item = Key::history(device).attributes();
    item.insert(IDS.to_owned(), AttributeValue::B(Blob::new(ids)));
    item.insert(AT.to_owned(), number(&at));
    item
}

pub(super) fn own(device: &DeviceId, own: &OwnItem) -> Item {
    item(&Key::own(device), own)
}

pub(super) fn package(record: &PackageRecord) -> Item {
    item(&Key::package(record.id), record)
}

pub(super) fn catalogued_package(record: &PackageRecord) -> Item {
    let value = CataloguedPackage { id: record.id };
    item(&Key::catalogued_package(record.id), &value)
}

pub(super) fn catalogued_name(record: &PackageRecord) -> Item {
    let value = NameItem {
        package: record.id,
        content: record.content,
    };
    let key = Key::catalogued_name(&record.name, &record.version);
    item(&key, &value)
}

pub(super) fn location(record: &LocationRecord) -> Item {
    item(&Key::location(&record.name), record)
}

pub(super) fn order(device: &DeviceId, order: &Order) -> Item {
    item(&Key::order(device, order.order), order)
}

pub(super) fn pace(device: &DeviceId, pace: &PaceOverride) -> Item {
    item(&Key::pace(device), pace)
}

/// The state of a task, as the records spell it.
pub(super) const fn task_state(state: TaskState) -> &'static str {
    match state {
        TaskState::Held => "held",
        TaskState::Announced { .. } => "announced",
        TaskState::Withdrawn { .. } => "withdrawn",
    }
}

/// The state of a finished task, and the attribute that counts it.
pub(super) const fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => SUCCEEDED,
        Outcome::Failed => FAILED,
        Outcome::Cancelled => CANCELLED,
    }
}

fn index(device: &DeviceId, package: PackageId, state: &str) -> Item {
    let partition = index_partition(package, shard(device, INDEX_SHARDS));
    HashMap::from([
        (INDEX_PK.to_owned(), text(partition)),
        (INDEX_SK.to_owned(), text(index_sort(state, device))),
    ])
}

/// What is absent has no attribute.
fn item<T: Serialize>(key: &Key, value: &T) -> Item {
    let mut item: Item = serde_dynamo::to_item(value).expect("our records are maps of attributes");
    item.retain(|_, value| !value.is_null());
    item.extend(key.attributes());
    item
}

/// Returns a value as the attribute it has in an item.
pub(super) fn attribute<T: Serialize>(value: &T) -> AttributeValue {
    serde_dynamo::to_attribute_value(value).expect("our values have the forms of attributes")
}

pub(super) fn text(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub(super) fn number(number: &impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// Reads a value back from its item.
pub(super) fn read<T: DeserializeOwned>(item: Item) -> Result<T, RecordsError> {
    let key = place(&item);
    serde_dynamo::from_item(item).map_err(|source| RecordsError::Corrupt {
        key,
        source: source.into(),
    })
}

/// Reads a value back that has to lie where its own name says: who can write to the table could
/// let one record speak for another.
pub(super) fn read_at<T: DeserializeOwned>(
    item: Item,
    key: impl Fn(&T) -> Key,
) -> Result<T, RecordsError> {
    let found = place(&item);
    let value = read(item)?;
    let own = key(&value).to_string();
    if found == own {
        return Ok(value);
    }
    let source = format!("it says that it is {own}").into();
    Err(RecordsError::Corrupt { key: found, source })
}

/// Names where an item lies.
fn place(item: &Item) -> String {
    let part = |name: &str| item.get(name).and_then(|value| value.as_s().ok());
    match (part(PK), part(SK)) {
        (Some(pk), Some(sk)) => format!("{pk} {sk}"),
        _ => "without a key".to_owned(),
    }
}

#[cfg(test)]
mod tests;
