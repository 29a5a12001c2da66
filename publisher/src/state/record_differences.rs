//! Comparing the records of a target with its head.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::state::{Document, LeafName};
use packcast_protocol::{DeviceId, GroupName, Location, LocationName, PackageId, UnixTime};
use packcast_rollout::state::{EarlierDevice, StatePart, has_records, project_group};
use packcast_rollout::{GroupState, LocationRecord};
use packcast_store::Records;
use packcast_store::records::{DeviceChanges, DeviceTarget};

use super::complete::{addresses, groups_of};
use super::error::StateError;
use super::reader::TargetState;
use super::trees::Trees;
use crate::concurrency::AT_ONCE;
use crate::progress::Progress;

/// A record that does not follow from the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordDifference {
    /// The leaf from which the record should follow.
    pub leaf: LeafName,
    pub kind: DifferenceKind,
}

/// The kind of a difference between a record and the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DifferenceKind {
    /// The group is on record, but not in the head, or the other way round.
    Presence,
    /// The packages or settings of the group differ.
    Settings,
    /// The revision on record, which announcements depend on, is not that of the state.
    Revision,
    /// The entry of the group under this package is missing or left over.
    Package(PackageId),
    /// The members on record are others.
    Members,
    /// The number of members on record is wrong.
    Size,
    /// The record of the device follows from another document.
    Document,
    /// The record of the device claims to follow from a later head than there is.
    Order,
    /// The record of the location has another address.
    Address { expected: Location, found: Location },
    /// The groups or the direct tasks of the device differ: these changes are lacking.
    Device(Box<DeviceChanges>),
}

impl fmt::Display for RecordDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let leaf = &self.leaf;
        match &self.kind {
            DifferenceKind::Presence => {
                write!(f, "{leaf}: only the head or only the records have it")
            }
            DifferenceKind::Settings => write!(f, "{leaf}: packages or settings differ"),
            DifferenceKind::Revision => write!(f, "{leaf}: the revision is not that of the state"),
            DifferenceKind::Package(package) => {
                write!(
                    f,
                    "{leaf}: its entry under package {package} is missing or left over"
                )
            }
            DifferenceKind::Members => write!(f, "{leaf}: other devices are members"),
            DifferenceKind::Size => write!(f, "{leaf}: the number of members is wrong"),
            DifferenceKind::Document => {
                write!(f, "{leaf}: the record follows from another document")
            }
            DifferenceKind::Order => {
                write!(
                    f,
                    "{leaf}: the record follows from a head that does not exist"
                )
            }
            DifferenceKind::Address { expected, found } => write!(
                f,
                "{leaf}: the record has another address: expected {expected}, found {found}"
            ),
            DifferenceKind::Device(_) => write!(f, "{leaf}: groups or assigned packages differ"),
        }
    }
}

/// Compares all records of groups, devices and locations with the head, and returns the differences
/// in the order of the leaves.
///
/// It reads the whole state and every device on record. Devices of the head without a record are
/// left out: they have never checked in, or were removed. The progress advances with each device.
pub async fn record_differences(
    records: &Records,
    state: &mut TargetState,
    now: UnixTime,
    progress: &Progress,
) -> Result<Vec<RecordDifference>, StateError> {
    let leaves = Trees::of(None)
        .difference(records, &mut state.trees)
        .await?;
    let leaves = leaves.into_iter().map(|leaf| leaf.name);
    let mut names: BTreeSet<LeafName> = leaves.filter(has_records).collect();
    let everyone = records.members(&GroupName::all()).await?;
    names.extend(everyone.iter().cloned().map(LeafName::Device));
    let mut part = state.trees.part(records, names).await?;
    let mut of_records = part.named_groups();
    let recorded = records.groups().await?;
    of_records.extend(recorded.iter().map(|it| LeafName::Group(it.group.clone())));
    of_records.retain(|name| !part.is_loaded(name));
    part.extend(state.trees.part(records, of_records).await?);

    let order = state.head.as_ref().map_or(0, |head| head.stored.order);
    let mut differences = differences_of_groups(records, &part, recorded, order).await?;
    differences.extend(differences_of_locations(&part, records.locations().await?));
    let members = wanted_members(&part, &everyone)?;
    for (group, document) in part.groups() {
        if document.is_some() && !group.is_all() {
            let none = BTreeSet::new();
            let wanted = members.get(group).unwrap_or(&none);
            let on_record = records.members(group).await?;
            if !on_record.iter().eq(wanted.iter().copied()) {
                differences.push(of_group(group, DifferenceKind::Members));
            }
            if records.size(group).await? != wanted.len() as u64 {
                differences.push(of_group(group, DifferenceKind::Size));
            }
        }
    }
    let of_devices: Vec<Option<RecordDifference>> = stream::iter(&everyone)
        .map(|device| difference_of_device(records, &part, device, order, now))
        .buffered(AT_ONCE)
        .inspect_ok(|_| progress.advance(1))
        .try_collect()
        .await?;
    differences.extend(of_devices.into_iter().flatten());
    differences.sort_by(|one, other| one.leaf.cmp(&other.leaf));
    Ok(differences)
}

async fn differences_of_groups(
    records: &Records,
    part: &StatePart,
    recorded: Vec<GroupState>,
    order: u64,
) -> Result<Vec<RecordDifference>, StateError> {
    let recorded: BTreeMap<GroupName, GroupState> = recorded
        .into_iter()
        .map(|state| (state.group.clone(), state))
        .collect();
    let names: Vec<GroupName> = part.groups().map(|(group, _)| group.clone()).collect();
    let revisions = records.revisions(&names).await?;
    let mut differences = Vec::new();
    let mut with_package: BTreeMap<PackageId, BTreeSet<GroupName>> = BTreeMap::new();
    for package in records.packages(usize::MAX).await? {
        with_package.entry(package.id).or_default();
    }
    for group in &names {
        let document = part.document_of_group(group);
        for entry in document.iter().flat_map(|it| it.packages.as_slice()) {
            let groups = with_package.entry(entry.package).or_default();
            groups.insert(group.clone());
        }
        let state = recorded.get(group);
        if revisions.get(group).copied() != state.map(|it| it.revision) {
            differences.push(of_group(group, DifferenceKind::Revision));
        }
        match (document, state) {
            (None, None) => {}
            (Some(document), Some(state)) => {
                let expected =
                    project_group(group, document, Some(state), |_| None, state.revision);
                let mut assignments = state.assignments.iter();
                let is_later = state.revision > order
                    || assignments.any(|assignment| assignment.seq > state.revision);
                if expected != *state || is_later {
                    differences.push(of_group(group, DifferenceKind::Settings));
                }
            }
            _ => differences.push(of_group(group, DifferenceKind::Presence)),
        }
    }
    for (package, wanted) in with_package {
        let on_record = records.groups_with(package).await?.into_iter().collect();
        for group in wanted.symmetric_difference(&on_record) {
            differences.push(of_group(group, DifferenceKind::Package(package)));
        }
    }
    Ok(differences)
}

fn differences_of_locations(
    part: &StatePart,
    recorded: Vec<LocationRecord>,
) -> Vec<RecordDifference> {
    let recorded = recorded.into_iter().map(|it| (it.name, it.location));
    let recorded: BTreeMap<LocationName, Location> = recorded.collect();
    let committed = addresses(part)
        .into_iter()
        .filter_map(|(name, url)| Some((name, url?)));
    let committed: BTreeMap<LocationName, Location> = committed.collect();
    let names: BTreeSet<&LocationName> = recorded.keys().chain(committed.keys()).collect();
    let difference = |name: &LocationName| {
        let kind = match (committed.get(name), recorded.get(name)) {
            (expected, found) if expected == found => return None,
            (Some(expected), Some(found)) => DifferenceKind::Address {
                expected: expected.clone(),
                found: found.clone(),
            },
            _ => DifferenceKind::Presence,
        };
        let leaf = LeafName::Location(name.clone());
        Some(RecordDifference { leaf, kind })
    };
    names.into_iter().filter_map(difference).collect()
}

/// Returns the members of each group at the head, of the devices that are on record.
fn wanted_members<'a>(
    part: &StatePart,
    everyone: &'a [DeviceId],
) -> Result<BTreeMap<GroupName, BTreeSet<&'a DeviceId>>, StateError> {
    let mut members: BTreeMap<GroupName, BTreeSet<&DeviceId>> = BTreeMap::new();
    for device in everyone {
        for group in groups_of(part, device)?.into_keys() {
            members.entry(group).or_default().insert(device);
        }
    }
    Ok(members)
}

async fn difference_of_device(
    records: &Records,
    part: &StatePart,
    device: &DeviceId,
    order: u64,
    now: UnixTime,
) -> Result<Option<RecordDifference>, StateError> {
    let document = part.document_of_device(device);
    // The tasks are compared, too.
    let earlier = EarlierDevice {
        has_other_entries: true,
        ..EarlierDevice::default()
    };
    let target = DeviceTarget {
        device,
        document,
        groups: &groups_of(part, device)?,
        earlier: &earlier,
    };
    let Some((leaf, lacking)) = records.lacking_changes(target, now).await? else {
        return Ok(None);
    };
    let kind = if leaf.digest != document.map(Document::digest) {
        DifferenceKind::Document
    } else if lacking != DeviceChanges::default() {
        DifferenceKind::Device(Box::new(lacking))
    } else if leaf.order > order && !records.has_reached(leaf.order).await? {
        DifferenceKind::Order
    } else {
        return Ok(None);
    };
    let leaf = LeafName::Device(device.clone());
    Ok(Some(RecordDifference { leaf, kind }))
}

fn of_group(group: &GroupName, kind: DifferenceKind) -> RecordDifference {
    let leaf = LeafName::Group(group.clone());
    RecordDifference { leaf, kind }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_text() {
        let package = "1795327754".parse().expect("it is a package id");
        let kinds = [
            DifferenceKind::Presence,
            DifferenceKind::Settings,
            DifferenceKind::Revision,
            DifferenceKind::Package(package),
            DifferenceKind::Members,
            DifferenceKind::Size,
            DifferenceKind::Document,
            DifferenceKind::Order,
            DifferenceKind::Address {
                expected: "a.example.net".parse().expect("it is a location"),
                found: "b.example.net".parse().expect("it is a location"),
            },
            DifferenceKind::Device(Box::default()),
        ];
        let group = "lab".parse().expect("it is a group");
        let lines = kinds.map(|kind| of_group(&group, kind).to_string());
        insta::assert_snapshot!(lines.join("\n"), @r"
        group/lab: only the head or only the records have it
        group/lab: packages or settings differ
        group/lab: the revision is not that of the state
        group/lab: its entry under package 1795327754 is missing or left over
        group/lab: other devices are members
        group/lab: the number of members is wrong
        group/lab: the record follows from another document
        group/lab: the record follows from a head that does not exist
        group/lab: the record has another address: expected a.example.net, found b.example.net
        group/lab: groups or assigned packages differ
        ");
    }
}
