//! Stored forms of records: each value with its key and its entry in the index.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use packcast_protocol::state::exchange::WaitingPackage;
use packcast_protocol::state::{GroupOrigin, RolloutId};
use packcast_protocol::{DeviceId, GroupName, Outcome, PackageId, Sha256Digest, UnixTime};
use packcast_rollout::rollout::{Gate, Settling};
use packcast_rollout::{
    CommandRecord, DeviceRecord, Exclusion, FactsRecord, FinishedTask, GroupState, LocationRecord,
    Memberships, OpenTask, PacingOverride, PackageRecord, ReconcileCount, TaskState,
};
use serde::{Deserialize, Serialize};

use super::item::{self, Item, PK, SK};
use super::key::{INDEX_PK, INDEX_SHARDS, INDEX_SK, Key, index_partition, index_sort, shard};
use super::names::{
    AT, CANCELLED, DEVICE_ID, EXCLUDED, FAILED, GROUPS, IDS, LEAF, NOT_APPLICABLE, ROUND, SUCCEEDED,
};

/// The package with a name and version.
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

/// The attributes of a package about its activation.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct ActivationItem {
    pub(super) active: bool,
    /// Number of changes of the activation.
    #[serde(default)]
    pub(super) activation: u64,
}

/// A group in the catalogue, or in the partition of a package that it has.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct CataloguedGroup {
    pub(super) group: GroupName,
}

/// A rollout in the partition of its package.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct ListedRollout {
    pub(super) rollout: RolloutId,
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
    pub(super) not_applicable: i64,
}

/// The revision of a group. It outlives the group, so that a group of the same name continues
/// from it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RevisionItem {
    pub(super) group: GroupName,
    pub(super) revision: u64,
    #[serde(default)]
    pub(super) deleted: bool,
    /// Number of the commit that created the group, or gave it its present name. `None` for a
    /// deleted group, and while the members of a renamed group move to its present name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) created: Option<u64>,
    /// First name of a group that was renamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) origin: Option<GroupOrigin>,
    /// Digest of the group's document. `None` for a deleted group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) document: Option<Sha256Digest>,
}

impl RevisionItem {
    /// Returns the origin of the group. `None` for a deleted group.
    pub(super) fn origin(&self) -> Option<GroupOrigin> {
        let present = |created| GroupOrigin {
            name: self.group.clone(),
            created,
        };
        let origin = self.origin.clone().or_else(|| self.created.map(present));
        origin.filter(|_| !self.deleted)
    }

    /// Returns true while the members of a renamed group move to its present name.
    pub(super) const fn is_moving(&self) -> bool {
        !self.deleted && self.created.is_none() && self.origin.is_some()
    }
}

/// The leaf of a device from which its records follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedLeaf {
    /// Order of the head with the leaf, or 0 if the records follow from no head.
    pub order: u64,
    /// Digest of the device's document. `None` if the head had no leaf for the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Sha256Digest>,
}

/// The attributes of a device about its groups.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Joining {
    pub(super) groups: Memberships,
    pub(super) round: ReconcileCount,
    pub(super) leaf: RecordedLeaf,
    pub(super) excluded: Option<Exclusion>,
}

impl Joining {
    /// Takes the attributes out of the item of a device. Its key stays, and is copied.
    pub(super) fn taken_from(item: &mut Item) -> Item {
        let key = [PK, SK].into_iter().filter_map(|name| {
            let (name, value) = item.get_key_value(name)?;
            Some((name.clone(), value.clone()))
        });
        let mut taken: Item = key.collect();
        taken.extend(
            [GROUPS, ROUND, LEAF, EXCLUDED]
                .iter()
                .filter_map(|name| item.remove_entry(*name)),
        );
        taken
    }

    /// Returns true if only a tombstone is left of the device, or if its removal has begun.
    pub(super) fn is_removed(&self) -> bool {
        self.excluded.as_ref().is_some_and(Exclusion::is_removed)
    }
}

/// A blocked or removed device in the catalogue. It serializes for scripts, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExcludedDevice {
    pub device: DeviceId,
    /// Host name at the time of the exclusion; empty if the device had none.
    pub host_name: String,
    #[serde(flatten)]
    pub exclusion: Exclusion,
}

/// Number of members in one shard of a group.
#[derive(Debug, Default, Deserialize)]
pub(super) struct CountItem {
    #[serde(default)]
    pub(super) members: i64,
}

/// Announced packages with which a device does not begin. A device without such packages has no
/// item.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct WaitsItem {
    pub(super) device: DeviceId,
    pub(super) packages: Vec<WaitingPackage>,
}

pub(super) fn device(record: &DeviceRecord) -> Item {
    Key::device(&record.device).item(record)
}

/// Returns the item of a device that is in no group yet.
pub(super) fn new_device(record: &DeviceRecord) -> Item {
    let mut item = device(record);
    item.insert(GROUPS.to_owned(), AttributeValue::M(HashMap::new()));
    item
}

pub(super) fn catalogued_device(device: &DeviceId) -> Item {
    let value = CataloguedDevice {
        device: device.clone(),
    };
    Key::catalogued_device(device).item(&value)
}

pub(super) fn excluded_device(entry: &ExcludedDevice) -> Item {
    Key::excluded_device(&entry.device).item(entry)
}

/// Returns the tombstone of a removed device: its exclusion, and its count of reconciliations. The
/// count prevents writes after the removal that were decided before it.
pub(super) fn tombstone(
    device: &DeviceId,
    round: ReconcileCount,
    exclusion: AttributeValue,
) -> Item {
    let mut item = Key::device(device).attributes();
    item.insert(DEVICE_ID.to_owned(), item::attribute(device));
    item.insert(ROUND.to_owned(), item::number(&round));
    item.insert(EXCLUDED.to_owned(), exclusion);
    item
}

pub(super) fn group(state: &GroupState) -> Item {
    Key::group_state(&state.group).item(state)
}

pub(super) fn group_revision(revision: &RevisionItem) -> Item {
    Key::group_revision(&revision.group).item(revision)
}

pub(super) fn catalogued_group(group: &GroupName) -> Item {
    let value = CataloguedGroup {
        group: group.clone(),
    };
    Key::catalogued_group(group).item(&value)
}

pub(super) fn group_with(package: PackageId, group: &GroupName) -> Item {
    let value = CataloguedGroup {
        group: group.clone(),
    };
    Key::group_with(package, group).item(&value)
}

pub(super) fn member(group: &GroupName, device: &DeviceId) -> Item {
    let value = CataloguedDevice {
        device: device.clone(),
    };
    Key::member(group, device).item(&value)
}

pub(super) fn host(name: &str, device: &DeviceId) -> Item {
    let value = CataloguedDevice {
        device: device.clone(),
    };
    Key::host(name, device).item(&value)
}

pub(super) fn task(device: &DeviceId, task: &OpenTask) -> Item {
    let mut item = Key::task(device, task.priority, task.package).item(task);
    item.extend(index(device, task.package, task_state(task.state)));
    item
}

pub(super) fn finished(device: &DeviceId, task: &FinishedTask) -> Item {
    let mut item = Key::finished(device, task.package).item(task);
    item.extend(index(device, task.package, outcome(task.outcome)));
    item
}

/// Returns the item of a result that another attempt has followed. The index does not list it.
pub(super) fn set_aside(device: &DeviceId, task: &FinishedTask) -> Item {
    Key::finished(device, task.package).item(task)
}

/// Returns the item of a package history: four bytes for each id, in order.
pub(super) fn history(device: &DeviceId, ids: Vec<u8>, at: UnixTime) -> Item {
    let mut item = Key::history(device).attributes();
    item.insert(IDS.to_owned(), AttributeValue::B(Blob::new(ids)));
    item.insert(AT.to_owned(), item::number(&at));
    item
}

pub(super) fn package(record: &PackageRecord) -> Item {
    Key::package(record.id).item(record)
}

pub(super) fn catalogued_package(record: &PackageRecord) -> Item {
    let value = CataloguedPackage { id: record.id };
    Key::catalogued_package(record.id).item(&value)
}

pub(super) fn catalogued_name(record: &PackageRecord) -> Item {
    let value = NameItem {
        package: record.id,
        content: record.content,
    };
    let key = Key::catalogued_name(&record.name, &record.version);
    key.item(&value)
}

pub(super) fn location(record: &LocationRecord) -> Item {
    Key::location(&record.name).item(record)
}

pub(super) fn gate(gate: &Gate) -> Item {
    Key::gate(gate.rollout).item(gate)
}

pub(super) fn rollout_of(package: PackageId, rollout: RolloutId) -> Item {
    Key::rollout_of(package, rollout).item(&ListedRollout { rollout })
}

pub(super) fn settling(device: &DeviceId, settling: &Settling) -> Item {
    Key::settling(device, settling.package).item(settling)
}

pub(super) fn command(device: &DeviceId, record: &CommandRecord) -> Item {
    Key::command(device, record.command).item(record)
}

pub(super) fn waits(device: &DeviceId, packages: &[WaitingPackage]) -> Item {
    let value = WaitsItem {
        device: device.clone(),
        packages: packages.to_vec(),
    };
    Key::waits(device).item(&value)
}

pub(super) fn facts(record: &FactsRecord) -> Item {
    Key::facts(&record.device).item(record)
}

pub(super) fn pace(device: &DeviceId, pace: &PacingOverride) -> Item {
    Key::pace(device).item(pace)
}

/// Returns the stored form of a task's state.
pub(super) const fn task_state(state: TaskState) -> &'static str {
    match state {
        TaskState::Pending => "held",
        TaskState::Announced { .. } => "announced",
        TaskState::Withdrawn { .. } => "withdrawn",
    }
}

/// Returns the stored form of an outcome, which is also the attribute that counts it.
pub(super) const fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => SUCCEEDED,
        Outcome::Failed => FAILED,
        Outcome::Cancelled => CANCELLED,
        Outcome::NotApplicable => NOT_APPLICABLE,
    }
}

/// Returns the ids in the item of a package history. Numbers that are not ids are left out.
pub(super) fn packed_ids(item: &Item) -> Vec<PackageId> {
    let Some(Ok(packed)) = item.get(IDS).map(|ids| ids.as_b()) else {
        return Vec::new();
    };
    let (ids, _) = packed.as_ref().as_chunks::<4>();
    ids.iter()
        .filter_map(|id| PackageId::try_from(u32::from_be_bytes(*id)).ok())
        .collect()
}

fn index(device: &DeviceId, package: PackageId, state: &str) -> Item {
    let partition = index_partition(package, shard(device, INDEX_SHARDS));
    HashMap::from([
        (INDEX_PK.to_owned(), item::text(partition)),
        (INDEX_SK.to_owned(), item::text(index_sort(state, device))),
    ])
}

#[cfg(test)]
mod tests;
