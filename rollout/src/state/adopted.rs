//! Adopted commits: signed commits that are not in the head's history.
//!
//! A machine may have signed a commit whose change the table refused, or lost with its head. A
//! device may have seen that commit. So the next commit of the machine adopts it: its assignments
//! do not count twice, and the packages that it withdrew do not come back.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::state::{DeviceDocument, Entries, GroupDocument, StateEntry};
use packcast_protocol::{DeviceId, GroupName, LocationName, PackageId};

use super::change::{EntryOwner, NewAssignment, StateChange};
use super::part::{NotLoaded, StatePart};

/// Entries that adopted commits have added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdoptedEntries(BTreeMap<(EntryOwner, PackageId), Vec<StateEntry>>);

impl AdoptedEntries {
    /// Adds the entries that the commit with this number has added.
    ///
    /// `after` has the documents of the leaves that the commit has changed.
    pub fn add(&mut self, number: u64, after: &StatePart) {
        for (owner, entries) in owners(after) {
            for entry in entries.as_slice().iter().filter(|it| it.seq == number) {
                let key = (owner.clone(), entry.package);
                self.0.entry(key).or_default().push(entry.clone());
            }
        }
    }

    /// Returns the highest `seq` of an entry with the same assignment, or `None` if there is none.
    ///
    /// Devices that have acted on the entry do not act again. An assignment with other terms, or
    /// with another `force`, is a new one.
    pub(super) fn seq(&self, owner: &EntryOwner, assignment: &NewAssignment) -> Option<u64> {
        let entries = self.0.get(&(owner.clone(), assignment.package))?;
        let repeated = entries
            .iter()
            .filter(|entry| NewAssignment::of(entry) == *assignment);
        repeated.map(|entry| entry.seq).max()
    }
}

fn owners(part: &StatePart) -> impl Iterator<Item = (EntryOwner, &Entries)> {
    let groups = part.groups().filter_map(|(group, document)| {
        Some((EntryOwner::Group(group.clone()), &document?.packages))
    });
    let devices = part.devices().filter_map(|(device, document)| {
        Some((EntryOwner::Device(device.clone()), &document?.packages))
    });
    groups.chain(devices)
}

/// Returns the changes that repeat the removals of a lost commit: the packages, memberships, groups
/// and locations that the commit removed and that the head still has.
///
/// `before` and `after` have the leaves that the lost commit changed. `head` has the same leaves, and
/// the groups that [`StatePart::named_groups`] returns for it. A commit that adopts the lost one
/// makes these changes first. A removed part that was added again since stays, because the addition
/// is the later decision.
pub fn removals(
    before: &StatePart,
    after: &StatePart,
    head: &StatePart,
) -> Result<Vec<StateChange>, NotLoaded> {
    let mut changes = Vec::new();
    for (group, document) in before.groups() {
        if let (Some(before), Some(head)) = (document, head.group(group)?)
            && before.created == head.created
        {
            removed_from_group(group, before, after.group(group)?, head, &mut changes);
        }
    }
    let mut left: BTreeMap<&GroupName, BTreeSet<DeviceId>> = BTreeMap::new();
    for (device, document) in before.devices() {
        let (Some(before), Some(head_device)) = (document, head.device(device)?) else {
            continue;
        };
        let after = after.device(device)?;
        for (group, created) in removed_groups(before, after, head_device) {
            if head.group(group)?.is_some_and(|it| it.created == created) {
                left.entry(group).or_default().insert(device.clone());
            }
        }
        let owner = EntryOwner::Device(device.clone());
        let after = after.map(|document| &document.packages);
        removed_entries(
            &owner,
            &before.packages,
            after,
            &head_device.packages,
            &mut changes,
        );
    }
    changes.extend(left.into_iter().map(|(group, devices)| StateChange::Leave {
        group: group.clone(),
        devices,
    }));
    for (location, document) in before.locations() {
        let is_same = document.is_some() && head.location(location)? == document;
        if is_same && after.location(location)?.is_none() {
            changes.push(remove_location(location));
        }
    }
    Ok(changes)
}

fn removed_from_group(
    group: &GroupName,
    before: &GroupDocument,
    after: Option<&GroupDocument>,
    head: &GroupDocument,
    changes: &mut Vec<StateChange>,
) {
    match after {
        Some(after) if after.created == before.created => {
            let owner = EntryOwner::Group(group.clone());
            let after = Some(&after.packages);
            removed_entries(&owner, &before.packages, after, &head.packages, changes);
        }
        _ => changes.push(StateChange::DeleteGroup {
            group: group.clone(),
        }),
    }
}

fn removed_entries(
    owner: &EntryOwner,
    before: &Entries,
    after: Option<&Entries>,
    head: &Entries,
    changes: &mut Vec<StateChange>,
) {
    let is_removed =
        |entry: &&StateEntry| after.is_none_or(|after| after.of(entry.package).is_none());
    let is_in_head = |entry: &&StateEntry| head.of(entry.package) == Some(*entry);
    let removed = before.as_slice().iter().filter(is_removed);
    changes.extend(
        removed
            .filter(is_in_head)
            .map(|entry| StateChange::Unassign {
                from: owner.clone(),
                package: entry.package,
            }),
    );
}

fn removed_groups<'a>(
    before: &'a DeviceDocument,
    after: Option<&'a DeviceDocument>,
    head: &'a DeviceDocument,
) -> impl Iterator<Item = (&'a GroupName, u64)> {
    let groups = before.groups.as_map().iter();
    groups
        .filter(move |(group, created)| {
            let is_in =
                |document: &DeviceDocument| document.groups.as_map().get(*group) == Some(*created);
            !after.is_some_and(is_in) && is_in(head)
        })
        .map(|(group, created)| (group, *created))
}

fn remove_location(location: &LocationName) -> StateChange {
    StateChange::RemoveLocation {
        location: location.clone(),
    }
}
