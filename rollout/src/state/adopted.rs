//! Adopted commits: signed commits that are not in the head's history.
//!
//! A machine may have signed a commit whose change the table refused, or lost with its head. A
//! device may have seen that commit. So the next commit of the machine adopts it: its assignments
//! do not count twice, and the packages that it withdrew do not come back.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::state::{
    Entries, GroupOrigin, LocationDocument, RolloutDocument, RolloutId, StateEntry,
};
use packcast_protocol::{DeviceId, GroupName, LocationName, PackageId};

use super::change::{EntryOwner, NewAssignment, StateChange};
use super::part::{NotLoaded, StatePart};

/// Entries that adopted commits have added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdoptedEntries(BTreeMap<PackageId, Vec<AdoptedEntry>>);

/// An entry that an adopted commit has added.
#[derive(Clone, Debug, PartialEq, Eq)]
struct AdoptedEntry {
    /// The owner after that commit.
    owner: EntryOwner,
    /// `None` for an entry of a device.
    origin: Option<GroupOrigin>,
    entry: StateEntry,
}

impl AdoptedEntries {
    /// Adds the entries that the commit with this number has added.
    ///
    /// `after` has the documents of the leaves that the commit has changed.
    pub fn add(&mut self, number: u64, after: &StatePart) {
        for (owner, origin, entries) in owners(after) {
            for entry in entries.as_slice().iter().filter(|it| it.seq == number) {
                self.0.entry(entry.package).or_default().push(AdoptedEntry {
                    owner: owner.clone(),
                    origin: origin.clone(),
                    entry: entry.clone(),
                });
            }
        }
    }

    /// Returns the entry with the same assignment and the highest `seq`, as this owner has it, or
    /// `None` if there is none.
    ///
    /// Devices that have acted on the entry do not act again. An assignment with other terms, or
    /// with another `force`, is a new one. `state` has the owner: a group is recognised under a later
    /// name. A group that the state does not have may have been created again by its name.
    pub(super) fn entry(
        &self,
        owner: &EntryOwner,
        state: &StatePart,
        assignment: &NewAssignment,
    ) -> Option<StateEntry> {
        let entries = self.0.get(&assignment.package)?.iter();
        let groups = state.by_origin();
        let is_of_owner = |it: &&AdoptedEntry| {
            let present = it.origin.as_ref().and_then(|origin| groups.get(origin));
            match (present, owner) {
                (Some(present), EntryOwner::Group(group)) => *present == group,
                _ => it.owner == *owner,
            }
        };
        let repeated = entries
            .filter(is_of_owner)
            .filter(|it| NewAssignment::of(&it.entry) == *assignment);
        let latest = repeated.max_by_key(|it| it.entry.seq)?;
        Some(match (&latest.owner, owner) {
            (EntryOwner::Group(from), EntryOwner::Group(to)) => latest.entry.renamed(from, to),
            _ => latest.entry.clone(),
        })
    }
}

/// Returns the owners of entries, each with its origin if it is a group.
fn owners(part: &StatePart) -> impl Iterator<Item = (EntryOwner, Option<GroupOrigin>, &Entries)> {
    let groups = part.groups().filter_map(|(group, document)| {
        let document = document?;
        let origin = document.origin(group);
        let owner = EntryOwner::Group(group.clone());
        Some((owner, Some(origin), &document.packages))
    });
    let devices = part.devices().filter_map(|(device, document)| {
        Some((
            EntryOwner::Device(device.clone()),
            None,
            &document?.packages,
        ))
    });
    groups.chain(devices)
}

/// Removals of adopted commits: the packages, memberships, groups, rollouts and locations that the
/// commits removed and that the head still has.
///
/// A removed part that was added again since stays, because the addition is the later decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdoptedRemovals {
    changes: Vec<StateChange>,
    locations: BTreeMap<LocationName, AdoptedLocation>,
}

/// A location that adopted commits have changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct AdoptedLocation {
    /// The addresses before each of the commits. None of them is newer than the removal.
    earlier: Vec<LocationDocument>,
    in_head: Option<LocationDocument>,
    is_removed: bool,
}

impl AdoptedRemovals {
    /// Adds the removals of a commit.
    ///
    /// `before` and `after` have the leaves that the commit changed, and `head` has the same leaves.
    /// All have the groups that [`StatePart::named_groups`] returns for any of them, and the head has
    /// all groups if one of them has another name there. The head is the same in each call.
    pub fn add(
        &mut self,
        before: &StatePart,
        after: &StatePart,
        head: &StatePart,
    ) -> Result<(), NotLoaded> {
        for change in removals(before, after, head)? {
            if !self.changes.contains(&change) {
                self.changes.push(change);
            }
        }
        for (name, document) in before.locations() {
            let in_head = head.location(name)?.cloned();
            let is_removed = after.location(name)?.is_none();
            let location = self.locations.entry(name.clone()).or_default();
            location.earlier.extend(document.cloned());
            location.in_head = in_head;
            location.is_removed |= is_removed;
        }
        Ok(())
    }

    /// Returns the changes that repeat the removals, each once. A commit that adopts the others
    /// makes these changes first.
    ///
    /// Groups go last: the other removals are of entries and members that a group must have.
    pub fn changes(&self) -> Vec<StateChange> {
        let mut changes = self.changes.clone();
        let removed = self.locations.iter().filter(|(_, it)| it.is_to_remove());
        changes.extend(removed.map(|(name, _)| StateChange::RemoveLocation {
            location: name.clone(),
        }));
        changes.sort_by_key(|change| matches!(change, StateChange::DeleteGroup { .. }));
        changes
    }
}

impl AdoptedLocation {
    fn is_to_remove(&self) -> bool {
        let in_head = self.in_head.as_ref();
        self.is_removed && in_head.is_some_and(|address| self.earlier.contains(address))
    }
}

/// Returns the changes that repeat the removals of one commit, without locations.
///
/// A group is the same one under any name: the commit, or the head, may have another name for it.
fn removals(
    before: &StatePart,
    after: &StatePart,
    head: &StatePart,
) -> Result<Vec<StateChange>, NotLoaded> {
    let mut changes = Vec::new();
    let (later, in_head) = (after.by_origin(), head.by_origin());
    for (origin, group) in before.by_origin() {
        let Some(name) = in_head.get(&origin) else {
            continue;
        };
        let (before, head) = (before.group(group)?, head.group(name)?);
        let (Some(before), Some(head)) = (before, head) else {
            continue;
        };
        let after = match later.get(&origin) {
            Some(group) => after.group(group)?,
            None => None,
        };
        let group = (*name).clone();
        if after.is_some() || group.is_all() {
            let owner = EntryOwner::Group(group);
            let after = after.map(|document| &document.packages);
            removed_entries(
                &owner,
                &before.packages,
                after,
                &head.packages,
                &mut changes,
            );
        } else {
            changes.push(StateChange::DeleteGroup { group });
        }
    }
    let mut left: BTreeMap<&GroupName, BTreeSet<DeviceId>> = BTreeMap::new();
    for (device, document) in before.devices() {
        let (Some(document), Some(head_device)) = (document, head.device(device)?) else {
            continue;
        };
        let groups = head.origins_of(device)?;
        let later = after.origins_of(device)?;
        for origin in before.origins_of(device)?.keys() {
            if let Some(group) = groups.get(origin).filter(|_| !later.contains_key(origin)) {
                left.entry(group).or_default().insert(device.clone());
            }
        }
        let owner = EntryOwner::Device(device.clone());
        let after = after.device(device)?.map(|document| &document.packages);
        removed_entries(
            &owner,
            &document.packages,
            after,
            &head_device.packages,
            &mut changes,
        );
    }
    changes.extend(left.into_iter().map(|(group, devices)| StateChange::Leave {
        group: group.clone(),
        devices,
    }));
    for (rollout, document) in before.rollouts() {
        if let Some(document) = document
            && after.rollout(rollout)?.is_none()
            && head.rollout(rollout)?.is_some()
            && !is_finished(rollout, document, before, &later, after)
        {
            changes.push(StateChange::EndRollout { rollout });
        }
    }
    Ok(changes)
}

/// Returns true if a commit has finished a rollout, so that its entries are plain assignments.
///
/// A finished rollout goes on in a head that leaves the commit out: the devices that began at once
/// do not act again, and the others wait for their waves.
fn is_finished(
    rollout: RolloutId,
    document: &RolloutDocument,
    before: &StatePart,
    later: &BTreeMap<GroupOrigin, &GroupName>,
    after: &StatePart,
) -> bool {
    let entry = |state: &'_ StatePart, group: &GroupName| {
        let document_of_group = state.group(group).ok().flatten()?;
        document_of_group.packages.of(document.package).cloned()
    };
    document.groups.as_set().iter().any(|group| {
        let named = entry(before, group).filter(|it| it.terms.rollout() == Some(rollout));
        let of_group = before.group(group).ok().flatten();
        // The commit may also have renamed the group.
        let name = of_group.and_then(|it| later.get(&it.origin(group)));
        let later = name.and_then(|name| entry(after, name));
        named.is_some_and(|named| later.is_some_and(|later| later.seq == named.seq))
    })
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
    // An entry that was added again after the removed one has a higher `seq`. A lower one is older:
    // another adopted commit may have assigned the package again before this one removed it.
    let is_in_head = |entry: &&StateEntry| {
        let in_head = head.of(entry.package);
        in_head.is_some_and(|in_head| in_head.seq <= entry.seq)
    };
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
