//! Differences between two states, in an administrator's words.

mod line;

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::state::{Entries, GroupDocument, RolloutDocument, RolloutId, StateEntry};
use packcast_protocol::{DeviceId, GroupName, Location, LocationName};
use serde::Serialize;

use super::change::{EntryOwner, NewAssignment, StateChange};
use super::part::{NotLoaded, StatePart};
use super::project::renamed_groups;
use crate::pacing::{PacingChange, PacingOverride};

pub use line::StateNames;
pub(crate) use line::{NAMED_DEVICES, settings};

/// One difference between two states.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum StateDifference {
    LocationSet {
        location: LocationName,
        url: Location,
        /// The earlier address, or `None` for a new location.
        before: Option<Location>,
    },
    /// The rollout was ended or finished.
    RolloutRemoved {
        rollout: RolloutId,
        document: RolloutDocument,
    },
    RolloutSet {
        rollout: RolloutId,
        document: RolloutDocument,
        /// The earlier calendar, or `None` for a new rollout.
        before: Option<RolloutDocument>,
    },
    Unassigned {
        from: EntryOwner,
        entry: StateEntry,
    },
    GroupDeleted {
        group: GroupName,
    },
    GroupRenamed {
        /// The earlier name.
        group: GroupName,
        #[serde(rename = "new_name")]
        to: GroupName,
    },
    GroupCreated {
        group: GroupName,
        /// Number of the commit that created the group.
        created: u64,
    },
    Assigned {
        to: EntryOwner,
        entry: StateEntry,
        /// The earlier entry of the package, or `None` for a new package.
        replaced: Option<StateEntry>,
    },
    Preferred {
        group: GroupName,
        location: Option<LocationName>,
        before: Option<LocationName>,
    },
    Paced {
        group: GroupName,
        pacing: PacingOverride,
        before: PacingOverride,
    },
    Left {
        group: GroupName,
        devices: BTreeSet<DeviceId>,
    },
    Joined {
        group: GroupName,
        devices: BTreeSet<DeviceId>,
    },
    LocationRemoved {
        location: LocationName,
        url: Location,
    },
}

impl StateDifference {
    /// Returns the rollout that an entry has left without a new assignment, because the rollout was
    /// finished.
    pub(super) fn finished_rollout(&self) -> Option<RolloutId> {
        let Self::Assigned {
            entry,
            replaced: Some(replaced),
            ..
        } = self
        else {
            return None;
        };
        let finished = StateEntry {
            terms: replaced.terms.without_rollout(),
            ..replaced.clone()
        };
        replaced.terms.rollout().filter(|_| *entry == finished)
    }
}

/// Returns the differences that lead from one state to another, in an order in which they can be
/// made.
///
/// Both parts have the same leaves: those that differ, and the groups that
/// [`StatePart::named_groups`] returns for either part. The differences do not list the devices of a
/// deleted group as having left the group.
pub fn difference(
    before: &StatePart,
    after: &StatePart,
) -> Result<Vec<StateDifference>, NotLoaded> {
    before.all_loaded_in(after)?;
    let mut found = Vec::new();
    for (location, document) in after.locations() {
        let earlier = before.location(location)?;
        if let Some(document) = document
            && earlier != Some(document)
        {
            found.push(StateDifference::LocationSet {
                location: location.clone(),
                url: document.url.clone(),
                before: earlier.map(|document| document.url.clone()),
            });
        }
    }
    // Before the new names and rollouts: a rollout names its groups, and a package has at most one.
    for (rollout, document) in after.rollouts() {
        if let (Some(earlier), None) = (before.rollout(rollout)?, document) {
            found.push(StateDifference::RolloutRemoved {
                rollout,
                document: earlier.clone(),
            });
        }
    }
    let renamed = renames(before, after)?;
    for (group, document) in before.groups() {
        let is_renamed = renamed.iter().any(|(from, _)| from == group);
        if let Some(document) = document.filter(|_| !is_renamed && !group.is_all()) {
            let same = after
                .group(group)?
                .filter(|it| is_same(group, document, it));
            if same.is_none() {
                deleted_difference(group, document, &mut found);
            }
        }
    }
    found.extend(renamed.iter().map(|(group, to)| {
        let (group, to) = (group.clone(), to.clone());
        StateDifference::GroupRenamed { group, to }
    }));
    for (rollout, document) in after.rollouts() {
        let earlier = before.rollout(rollout)?;
        if let Some(document) = document
            && earlier != Some(document)
        {
            found.push(StateDifference::RolloutSet {
                rollout,
                document: document.clone(),
                before: earlier.cloned(),
            });
        }
    }
    for (group, document) in after.groups() {
        let from = renamed.iter().find(|(_, to)| to == group);
        let from = from.map_or(group, |(from, _)| from);
        let earlier = before.group(from)?;
        let earlier = earlier.map(|earlier| {
            // The entries are too large only if the later document has other ones.
            let renamed = earlier.renamed(from, group, earlier.created);
            renamed.unwrap_or_else(|_| earlier.clone())
        });
        group_difference(group, earlier.as_ref(), document, &mut found);
    }
    members_difference(before, after, &mut found)?;
    for (device, document) in after.devices() {
        let none = Entries::default();
        let earlier = before.device(device)?;
        let owner = EntryOwner::Device(device.clone());
        let earlier = earlier.map_or(&none, |document| &document.packages);
        let later = document.map_or(&none, |document| &document.packages);
        entries_difference(&owner, earlier, later, &mut found);
    }
    for (location, document) in after.locations() {
        if let (Some(earlier), None) = (before.location(location)?, document) {
            found.push(StateDifference::LocationRemoved {
                location: location.clone(),
                url: earlier.url.clone(),
            });
        }
    }
    Ok(found)
}

/// Returns the changes that make these differences in another state.
///
/// So a commit of another machine is adopted: its differences are made in the head, with its
/// entries as [`AdoptedEntries`](super::AdoptedEntries).
pub fn changes_of(differences: &[StateDifference]) -> Vec<StateChange> {
    let finished = differences.iter();
    let finished = finished
        .filter_map(StateDifference::finished_rollout)
        .collect();
    let differences = differences.iter();
    differences
        .flat_map(|it| {
            first_change_of(it)
                .into_iter()
                .chain([change_of(it, &finished)])
        })
        .collect()
}

/// Returns the change that goes before the change of a difference: an entry of a rollout is never
/// replaced, so it is removed first.
fn first_change_of(difference: &StateDifference) -> Option<StateChange> {
    let StateDifference::Assigned {
        to,
        entry,
        replaced,
    } = difference
    else {
        return None;
    };
    let left = replaced.as_ref()?.terms.rollout()?;
    let is_left = entry.terms.rollout() != Some(left) && difference.finished_rollout().is_none();
    is_left.then(|| StateChange::Unassign {
        from: to.clone(),
        package: entry.package,
    })
}

/// `finished` are the rollouts that some entry has left without a new assignment.
fn change_of(difference: &StateDifference, finished: &BTreeSet<RolloutId>) -> StateChange {
    if let Some(rollout) = difference.finished_rollout() {
        return StateChange::FinishRollout { rollout };
    }
    match difference.clone() {
        StateDifference::LocationSet { location, url, .. } => {
            StateChange::AddLocation { location, url }
        }
        StateDifference::RolloutSet {
            rollout, document, ..
        } => StateChange::SetRollout { rollout, document },
        StateDifference::RolloutRemoved { rollout, .. } if finished.contains(&rollout) => {
            StateChange::FinishRollout { rollout }
        }
        StateDifference::RolloutRemoved { rollout, .. } => StateChange::EndRollout { rollout },
        StateDifference::Unassigned { from, entry } => StateChange::Unassign {
            from,
            package: entry.package,
        },
        StateDifference::GroupDeleted { group } => StateChange::DeleteGroup { group },
        StateDifference::GroupRenamed { group, to } => StateChange::RenameGroup { group, to },
        StateDifference::GroupCreated { group, .. } => StateChange::CreateGroup { group },
        StateDifference::Assigned { to, entry, .. } => StateChange::Assign {
            to,
            assignment: NewAssignment::of(&entry),
        },
        StateDifference::Preferred {
            group, location, ..
        } => StateChange::Prefer { group, location },
        StateDifference::Paced { group, pacing, .. } => StateChange::Pace {
            group,
            pacing: PacingChange::Replace(pacing),
        },
        StateDifference::Left { group, devices } => StateChange::Leave { group, devices },
        StateDifference::Joined { group, devices } => StateChange::Join { group, devices },
        StateDifference::LocationRemoved { location, .. } => {
            StateChange::RemoveLocation { location }
        }
    }
}

/// Returns the groups that the later state has under another name, with both names, in an order in
/// which they can be renamed.
pub(super) fn renames(
    before: &StatePart,
    after: &StatePart,
) -> Result<Vec<(GroupName, GroupName)>, NotLoaded> {
    let origins = before.groups().filter_map(|(group, document)| {
        let origin = document?.origin(group);
        Some((group.clone(), origin))
    });
    renamed_groups(after, &origins.collect())
}

/// Returns true if two documents of one name are of the same group.
fn is_same(group: &GroupName, one: &GroupDocument, other: &GroupDocument) -> bool {
    one.origin(group) == other.origin(group)
}

fn deleted_difference(group: &GroupName, before: &GroupDocument, found: &mut Vec<StateDifference>) {
    let owner = EntryOwner::Group(group.clone());
    entries_difference(&owner, &before.packages, &Entries::default(), found);
    found.push(StateDifference::GroupDeleted {
        group: group.clone(),
    });
}

fn group_difference(
    group: &GroupName,
    before: Option<&GroupDocument>,
    after: Option<&GroupDocument>,
    found: &mut Vec<StateDifference>,
) {
    let owner = EntryOwner::Group(group.clone());
    let nothing = GroupDocument::empty(0, 0);
    // The group `all` always exists, with or without a document.
    if after.is_none() && !group.is_all() {
        return;
    }
    let before = before.filter(|before| {
        let is_same = |after| is_same(group, before, after);
        group.is_all() || after.is_some_and(is_same)
    });
    if let Some(document) = after.filter(|_| before.is_none() && !group.is_all()) {
        found.push(StateDifference::GroupCreated {
            group: group.clone(),
            created: document.created,
        });
    }
    let (before, after) = (before.unwrap_or(&nothing), after.unwrap_or(&nothing));
    entries_difference(&owner, &before.packages, &after.packages, found);
    if before.prefer != after.prefer {
        found.push(StateDifference::Preferred {
            group: group.clone(),
            location: after.prefer.clone(),
            before: before.prefer.clone(),
        });
    }
    if before.pace != after.pace {
        found.push(StateDifference::Paced {
            group: group.clone(),
            pacing: after.pace,
            before: before.pace,
        });
    }
}

/// Finds the packages that were unassigned, then those that were assigned. In this order, an
/// assignee never has more packages than before and after.
fn entries_difference(
    owner: &EntryOwner,
    before: &Entries,
    after: &Entries,
    found: &mut Vec<StateDifference>,
) {
    for entry in before.as_slice() {
        if after.of(entry.package).is_none() {
            found.push(StateDifference::Unassigned {
                from: owner.clone(),
                entry: entry.clone(),
            });
        }
    }
    for entry in after.as_slice() {
        let replaced = before.of(entry.package);
        if replaced != Some(entry) {
            found.push(StateDifference::Assigned {
                to: owner.clone(),
                entry: entry.clone(),
                replaced: replaced.cloned(),
            });
        }
    }
}

fn members_difference(
    before: &StatePart,
    after: &StatePart,
    found: &mut Vec<StateDifference>,
) -> Result<(), NotLoaded> {
    let mut left: BTreeMap<&GroupName, BTreeSet<DeviceId>> = BTreeMap::new();
    let mut joined = left.clone();
    let present = after.by_origin();
    for (device, _) in after.devices() {
        let (earlier, later) = (before.origins_of(device)?, after.origins_of(device)?);
        for origin in earlier.keys().filter(|it| !later.contains_key(*it)) {
            // The devices of a deleted group have not left the group.
            if let Some(group) = present.get(origin) {
                left.entry(group).or_default().insert(device.clone());
            }
        }
        for (origin, group) in later {
            if !earlier.contains_key(&origin) {
                joined.entry(group).or_default().insert(device.clone());
            }
        }
    }
    found.extend(left.into_iter().map(|(group, devices)| {
        let group = group.clone();
        StateDifference::Left { group, devices }
    }));
    found.extend(joined.into_iter().map(|(group, devices)| {
        let group = group.clone();
        StateDifference::Joined { group, devices }
    }));
    Ok(())
}

#[cfg(test)]
mod tests;
