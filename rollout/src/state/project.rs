//! Projections: the records that follow from the leaves of the head.
//!
//! Records follow the tree. They are decided from the document that a leaf has at the head, and
//! never from a difference alone: two publishers may complete the records of several commits at the
//! same time. Each record of a leaf carries the *order* of the head that it follows from, and a
//! record of a later order is never replaced.
//!
//! A membership on record always belongs to the group on record: a group that was deleted and
//! created again is written only after the members of the deleted group are off record.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::state::{
    DeviceDocument, Document, Entries, GroupDocument, GroupOrigin, LeafChange, LeafName, StateEntry,
};
use packcast_protocol::{GroupName, PackageId, Priority, Sha256Digest, UnixTime};

use super::part::{NotLoaded, StatePart};
use crate::group::{GroupAssignment, GroupState};
use crate::record::{FinishedTask, OpenTask, TaskState};

/// Packages in whose partitions a group is entered, or is not entered any more.
///
/// A store writes the state of the group first, and then the entries on the condition that the
/// state on record still has the same order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupPackages {
    /// Packages that the group has, and that may not be on record.
    pub added: BTreeSet<PackageId>,
    /// Packages that the group does not have, and that may be on record.
    pub removed: BTreeSet<PackageId>,
}

/// The part of a device's records that follows from its leaf, as the store has read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordedDevice {
    /// Order of the last projection, or 0 if there was none.
    pub order: u64,
    /// Groups in which the device is a member on record.
    pub groups: BTreeSet<GroupName>,
    /// Direct tasks that are open and not withdrawn, each with its mandate.
    pub open: BTreeMap<PackageId, Option<u64>>,
    /// Direct entries that finished tasks have used up: package and `seq`.
    pub used: BTreeSet<(PackageId, u64)>,
    /// The removal of the device has begun: it joins no group, and gets no task.
    pub is_removed: bool,
}

/// The wanted records of a device: its leaf at the head.
#[derive(Clone, Copy, Debug)]
pub struct DeviceLeaf<'a> {
    /// `None` if the device has no leaf.
    pub document: Option<&'a Document<DeviceDocument>>,
    /// The groups of the device, each with the number of the commit that created it. Groups that
    /// the document names and that do not exist any more are left out.
    pub groups: &'a BTreeMap<GroupName, u64>,
    /// Packages of the device's earlier documents.
    pub earlier: &'a BTreeSet<PackageId>,
    /// Order of the head.
    pub order: u64,
}

/// The effect of a device's earlier documents on the records to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EarlierDevice {
    /// Packages of the earlier documents.
    pub packages: BTreeSet<PackageId>,
    /// The direct entries have changed, so tasks may change. If false, the tasks of the device are
    /// not read.
    pub has_other_entries: bool,
    /// The device has lost a package or a group, so its records are urgent.
    pub has_lost: bool,
}

/// The changes of a device's records.
///
/// A store writes them on the condition that the part of the records that it has read is unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceProjection {
    /// Groups in which the device becomes a member, each with the number of the commit that created
    /// it.
    pub joined: BTreeMap<GroupName, u64>,
    /// Groups in which the device is a member on record only.
    pub left: BTreeSet<GroupName>,
    /// Direct entries that have neither an open task nor a finished one.
    /// [`assign`](crate::assign::assign) decides the task of each. If the task of an earlier entry
    /// is still open, it goes on, with the `seq` of the new entry.
    pub opened: Vec<StateEntry>,
    /// Packages without a direct entry that had one, or whose direct task is open.
    /// [`unassign`](crate::unassign::unassign) decides the task of each.
    pub withdrawn: BTreeSet<PackageId>,
}

impl RecordedDevice {
    /// Adds the tasks and results of the device.
    #[must_use]
    pub fn with_tasks<'a>(
        self,
        tasks: impl IntoIterator<Item = &'a OpenTask>,
        finished: impl IntoIterator<Item = &'a FinishedTask>,
    ) -> Self {
        let is_open =
            |task: &&OpenTask| task.direct && !matches!(task.state, TaskState::Withdrawn { .. });
        let open = tasks.into_iter().filter(is_open);
        let used = finished.into_iter();
        Self {
            open: open.map(|task| (task.package, task.mandate)).collect(),
            used: used
                .filter_map(|done| Some((done.package, done.mandate?)))
                .collect(),
            ..self
        }
    }
}

impl EarlierDevice {
    /// Returns the effect of unknown documents: everything may have changed.
    pub const fn unknown(is_urgent: bool) -> Self {
        Self {
            packages: BTreeSet::new(),
            has_other_entries: true,
            has_lost: is_urgent,
        }
    }

    /// Compares the device's earlier documents with the one at the head. `groups` are the groups of
    /// the device at the head.
    pub fn new<'a>(
        document: Option<&DeviceDocument>,
        groups: &BTreeMap<GroupName, u64>,
        earlier: impl IntoIterator<Item = Option<&'a DeviceDocument>>,
    ) -> Self {
        let none = Entries::default();
        let entries = document.map_or(&none, |document| &document.packages);
        let mut comparison = Self::default();
        for earlier in earlier {
            let before = earlier.map_or(&none, |earlier| &earlier.packages);
            let packages = before.as_slice().iter().map(|entry| entry.package);
            comparison.packages.extend(packages);
            comparison.has_other_entries |= before != entries;
            let mut groups_before = earlier.iter().flat_map(|it| it.groups.as_map());
            let has_left = groups_before.any(|(group, created)| groups.get(group) != Some(created));
            comparison.has_lost |= has_left;
        }
        let has_entry = |package: &PackageId| entries.of(*package).is_some();
        comparison.has_lost |= !comparison.packages.iter().all(has_entry);
        comparison
    }
}

/// Returns the leaves whose records must be projected, each with the digests of its earlier
/// documents.
///
/// Locations need no earlier documents.
///
/// `changes` are the differences of all commits whose records may be incomplete, each from its
/// replaced head. The union counts, not the difference between the first state and the last: if a
/// device joins in one commit and leaves in the next, the two states are equal, but the records of
/// the first commit may be half written.
pub fn names_to_project<'a>(
    changes: impl IntoIterator<Item = &'a LeafChange>,
) -> BTreeMap<LeafName, EarlierDocuments> {
    let mut names: BTreeMap<LeafName, EarlierDocuments> = BTreeMap::new();
    for change in changes {
        if has_records(&change.name) {
            let earlier = names.entry(change.name.clone()).or_default();
            earlier.0.extend([change.before, change.after]);
        }
    }
    names
}

/// Returns true for a leaf from which records follow.
pub const fn has_records(name: &LeafName) -> bool {
    matches!(
        name,
        LeafName::Group(_) | LeafName::Device(_) | LeafName::Location(_)
    )
}

/// Digests of the documents that a leaf has had since its records were complete, with the present
/// one. `None` stands for a time without a leaf.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct EarlierDocuments(BTreeSet<Option<Sha256Digest>>);

impl EarlierDocuments {
    /// Returns the digests, with `None` if the leaf was absent for some time.
    pub fn all(&self) -> impl Iterator<Item = Option<Sha256Digest>> {
        self.0.iter().copied()
    }

    /// Returns the digests to load.
    pub fn digests(&self) -> impl Iterator<Item = Sha256Digest> {
        self.all().flatten()
    }
}

/// Decides in which packages' partitions a group is entered, from its document at the head.
///
/// `earlier` has the documents of [`EarlierDocuments`], `None` for a time without a leaf.
pub fn project_packages<'a>(
    document: Option<&GroupDocument>,
    earlier: impl IntoIterator<Item = Option<&'a GroupDocument>>,
) -> GroupPackages {
    let packages = |document: Option<&GroupDocument>| -> BTreeSet<PackageId> {
        let entries = document.map(|document| document.packages.as_slice());
        let entries = entries.unwrap_or_default().iter();
        entries.map(|entry| entry.package).collect()
    };
    let wanted = packages(document);
    let (mut once, mut always) = (BTreeSet::new(), None);
    for earlier in earlier {
        let packages = packages(earlier);
        always = Some(match always {
            None => packages.clone(),
            Some(always) => &always & &packages,
        });
        once.extend(packages);
    }
    let always = always.unwrap_or_default();
    GroupPackages {
        added: &wanted - &always,
        removed: &once - &wanted,
    }
}

/// Decides in which packages' partitions a group is entered if its earlier documents are unknown.
///
/// `recorded` are the packages in whose partitions the group is entered on record.
pub fn project_all_packages(
    document: Option<&GroupDocument>,
    recorded: &BTreeSet<PackageId>,
) -> GroupPackages {
    let entries = document.map(|document| document.packages.as_slice());
    let entries = entries.unwrap_or_default().iter();
    let added: BTreeSet<PackageId> = entries.map(|entry| entry.package).collect();
    let removed = recorded - &added;
    GroupPackages { added, removed }
}

/// Decides the state of a group from its document at the head with this order.
///
/// `stored` is the state on record, under this name or an earlier one, or `None` for a group
/// without one. An assignment on record keeps its `seq`, so that a device that has observed it is
/// not told again. Any other assignment gets the order, which is above every observed revision. A
/// `seq` above the order was forged, and is replaced by the order. `priority` returns the priority
/// of a package on record; a package without a record has the default.
pub fn project_group(
    group: &GroupName,
    document: &Document<GroupDocument>,
    stored: Option<&GroupState>,
    priority: impl Fn(PackageId) -> Option<Priority>,
    order: u64,
) -> GroupState {
    let origin = document.origin(group);
    let stored = stored.filter(|stored| stored.origin().as_ref() == Some(&origin));
    let assignment = |entry: &StateEntry| {
        let known = stored.and_then(|stored| Some((stored, stored.assignment(entry.package)?)));
        let same = known.filter(|(stored, known)| {
            stored.mandate(known) == Some(entry.group_mandate(group))
                && known.manifest == entry.manifest
                && known.force == entry.force
        });
        let known = known.map(|(_, known)| known.priority);
        GroupAssignment {
            package: entry.package,
            manifest: entry.manifest,
            priority: known
                .or_else(|| priority(entry.package))
                .unwrap_or(Priority::DEFAULT),
            seq: same.map_or(order, |(_, same)| same.seq.min(order)),
            force: entry.force,
            mandate: Some(entry.seq),
            rollout: entry.terms.rollout(),
            assignee: entry.assignee.clone(),
            // The number of a commit is the time at which it was signed, or shortly after it.
            assigned_at: UnixTime(entry.seq),
        }
    };
    let entries = document.packages.as_slice().iter();
    GroupState {
        group: group.clone(),
        revision: order,
        assignments: entries.map(assignment).collect(),
        preferred: document.prefer.clone(),
        pace: document.pace,
        created_at: UnixTime(origin.created),
        created: Some(document.created),
        origin: document.origin.clone(),
        document: Some(document.digest()),
    }
}

/// Returns the groups that a state has under another name, with the earlier name and the present
/// one.
///
/// `earlier` are the origins of groups by their earlier names, which the state has loaded. The
/// renames are in an order in which they can be made: first those whose present name is no earlier
/// name of another renamed group. Groups that have exchanged their names come last.
pub fn renamed_groups(
    state: &StatePart,
    earlier: &BTreeMap<GroupName, GroupOrigin>,
) -> Result<Vec<(GroupName, GroupName)>, NotLoaded> {
    let present = state.by_origin();
    let mut left = BTreeMap::new();
    for (from, origin) in earlier {
        let document = state.group(from)?;
        let is_same = document.is_some_and(|it| it.origin(from) == *origin);
        if let Some(to) = present.get(origin).filter(|to| !is_same && **to != from) {
            left.insert(from.clone(), (*to).clone());
        }
    }
    let mut renames = Vec::with_capacity(left.len());
    while let Some(first) = left.keys().next().cloned() {
        let free = left.iter().find(|(_, to)| !left.contains_key(*to));
        let from = free.map_or(first, |(from, _)| from.clone());
        renames.extend(left.remove_entry(&from));
    }
    Ok(renames)
}

/// Decides the changes of a device's records.
///
/// Returns `None` if the records follow from this head or a later one already.
pub fn project_device(leaf: DeviceLeaf<'_>, recorded: &RecordedDevice) -> Option<DeviceProjection> {
    if recorded.order >= leaf.order {
        return None;
    }
    let entries = leaf.document.map(|document| document.packages.as_slice());
    let entries = entries.unwrap_or_default();
    let is_new = |entry: &&StateEntry| {
        let is_open = recorded.open.get(&entry.package) == Some(&Some(entry.seq));
        !is_open && !recorded.used.contains(&(entry.package, entry.seq))
    };
    let has_entry = |package: &PackageId| entries.iter().any(|entry| entry.package == *package);
    let known = recorded.open.keys().chain(leaf.earlier).copied();
    let wanted = leaf.groups.iter().filter(|_| !recorded.is_removed);
    let new = entries.iter().filter(|_| !recorded.is_removed);
    Some(DeviceProjection {
        joined: wanted
            .filter(|(group, _)| !recorded.groups.contains(*group))
            .map(|(group, created)| (group.clone(), *created))
            .collect(),
        left: recorded
            .groups
            .iter()
            .filter(|group| !leaf.groups.contains_key(*group))
            .cloned()
            .collect(),
        opened: new.filter(is_new).cloned().collect(),
        withdrawn: known.filter(|package| !has_entry(package)).collect(),
    })
}

#[cfg(test)]
mod tests;
