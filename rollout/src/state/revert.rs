//! Reverts a state to an earlier one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use packcast_protocol::state::number::MAX_NUMBER;
use packcast_protocol::state::{Entries, GroupDocument, LeafName, RolloutId, StateEntry};
use packcast_protocol::{DeviceId, GroupName};

use super::adopted::AdoptedEntries;
use super::apply::apply;
use super::change::{EntryOwner, NewAssignment, StateChange};
use super::difference::renames;
use super::error::StateChangeError;
use super::part::{NotLoaded, StatePart};
use crate::pacing::PacingChange;

/// Options of a revert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RevertOptions {
    /// Restore packages with force, if they were assigned with force. Devices that have such a
    /// package deploy it again.
    pub force: bool,
    /// Restore the devices of groups that were deleted since. Both parts then need all devices of
    /// the earlier state.
    pub members: bool,
}

/// The changes of a revert.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reverted {
    /// Changes that lead to the earlier state.
    pub changes: Vec<StateChange>,
    /// Devices that the earlier state had in groups which were deleted since, and that do not
    /// return to the groups of these names.
    pub left_out: BTreeMap<GroupName, BTreeSet<DeviceId>>,
    /// Rollouts of the earlier state that were ended or finished since, and do not begin again. The
    /// packages of their entries stay as they are.
    pub ended_rollouts: BTreeSet<RolloutId>,
}

/// Returns the changes that revert a state to an earlier one.
///
/// Both parts have the same leaves: those that differ, and the groups that
/// [`StatePart::named_groups`] returns for either part. A package that both states have stays as it
/// is. A package that was assigned again since with the same manifest, force and terms stays, too.
///
/// A group that was renamed since gets its earlier name again, and a group of another origin with
/// that name is deleted before. A group that was deleted since is created again, without its devices
/// unless [`RevertOptions::members`] is set. If it was deleted and created again, its packages and
/// settings are restored in the present group.
///
/// A rollout that has begun since is ended. A rollout that was ended or finished since does not begin
/// again: the packages of its entries stay as they are.
pub fn revert(
    current: &StatePart,
    earlier: &StatePart,
    options: RevertOptions,
) -> Result<Reverted, NotLoaded> {
    current.all_loaded_in(earlier)?;
    // A group that a rollout names cannot be renamed, so the rollouts end first.
    let mut reverted = Reverted {
        changes: end_rollouts(current, earlier)?,
        ..Reverted::default()
    };
    let names = renaming(current, earlier)?;
    let with_rollouts = current;
    let current = &with_names(current, &names)?;
    reverted.changes.extend(names);
    let mut removed_locations = Vec::new();
    for (location, document) in earlier.locations() {
        let now = current.location(location)?;
        let location = location.clone();
        match document {
            Some(document) if now != Some(document) => {
                let url = document.url.clone();
                reverted
                    .changes
                    .push(StateChange::AddLocation { location, url });
            }
            None if now.is_some() => {
                removed_locations.push(StateChange::RemoveLocation { location });
            }
            _ => {}
        }
    }
    revert_rollouts(with_rollouts, earlier, &mut reverted)?;
    for (group, document) in earlier.groups() {
        let now = current.group(group)?;
        revert_group(group, now, document, options, &mut reverted);
    }
    revert_members(current, earlier, options, &mut reverted)?;
    for (device, document) in earlier.devices() {
        let none = Entries::default();
        let now = current.device(device)?;
        let owner = EntryOwner::Device(device.clone());
        let now = now.map_or(&none, |document| &document.packages);
        let then = document.map_or(&none, |document| &document.packages);
        revert_entries(&owner, now, then, options, &mut reverted);
    }
    reverted.changes.extend(removed_locations);
    Ok(reverted)
}

/// Ends the rollouts that have begun since.
fn end_rollouts(current: &StatePart, earlier: &StatePart) -> Result<Vec<StateChange>, NotLoaded> {
    let mut changes = Vec::new();
    for (rollout, document) in earlier.rollouts() {
        if document.is_none() && current.rollout(rollout)?.is_some() {
            changes.push(StateChange::EndRollout { rollout });
        }
    }
    Ok(changes)
}

/// Restores the times of the rollouts that both states have.
///
/// A rollout that was removed since stays removed, because an id is never used again.
fn revert_rollouts(
    current: &StatePart,
    earlier: &StatePart,
    reverted: &mut Reverted,
) -> Result<(), NotLoaded> {
    for (rollout, document) in earlier.rollouts() {
        match (current.rollout(rollout)?, document) {
            (Some(now), Some(then)) if now != then => {
                reverted.changes.push(StateChange::SetRollout {
                    rollout,
                    document: then.clone(),
                });
            }
            (None, Some(_)) => {
                reverted.ended_rollouts.insert(rollout);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Returns the changes that give groups their earlier names.
///
/// Of groups that have exchanged their names, one gets a free name in between.
fn renaming(current: &StatePart, earlier: &StatePart) -> Result<Vec<StateChange>, NotLoaded> {
    let mut left: VecDeque<(GroupName, GroupName)> = renames(current, earlier)?.into();
    let mut taken: BTreeSet<GroupName> = current
        .groups()
        .filter(|(_, document)| document.is_some())
        .map(|(group, _)| group.clone())
        .collect();
    let mut changes = Vec::new();
    while let Some((group, to)) = left.pop_front() {
        if taken.remove(&to) {
            let group = to.clone();
            changes.push(
                if let Some((from, _)) = left.iter_mut().find(|(from, _)| *from == to) {
                    let free = free_name(&taken, earlier);
                    taken.insert(free.clone());
                    from.clone_from(&free);
                    StateChange::RenameGroup { group, to: free }
                } else {
                    StateChange::DeleteGroup { group }
                },
            );
        }
        taken.remove(&group);
        taken.insert(to.clone());
        changes.push(StateChange::RenameGroup { group, to });
    }
    Ok(changes)
}

/// Returns a name that no group has.
fn free_name(taken: &BTreeSet<GroupName>, earlier: &StatePart) -> GroupName {
    let names = (1_u32..).map(|n| format!("renamed-{n}"));
    let mut names = names.filter_map(|name| name.parse::<GroupName>().ok());
    let is_free = |name: &GroupName| {
        let in_earlier = earlier.group(name).ok().flatten();
        in_earlier.is_none() && !taken.contains(name)
    };
    names
        .find(is_free)
        .expect("a state has fewer groups than names")
}

/// Returns a state with the earlier names of its groups, and without its rollouts.
///
/// A group that a rollout names keeps its name, and the commit refuses to rename it. So the rollouts
/// do not matter here.
fn with_names(current: &StatePart, changes: &[StateChange]) -> Result<StatePart, NotLoaded> {
    let mut loaded = current.without_rollouts();
    for change in changes {
        if let StateChange::RenameGroup { group, to } = change {
            // The document of a device that names the group differs, so it is loaded.
            loaded.set_whole(group.clone());
            if !loaded.is_loaded(&LeafName::Group(to.clone())) {
                loaded.set_group(to.clone(), None);
            }
        }
    }
    match apply(&loaded, changes, MAX_NUMBER, &AdoptedEntries::default()) {
        Ok(planned) => Ok(planned.documents),
        Err(errors) => {
            let mut errors = errors.into_iter();
            let missing = errors.find_map(|error| match error {
                StateChangeError::NotLoaded(missing) => Some(missing),
                _ => None,
            });
            // Any other error is also the error of the commit.
            missing.map_or(Ok(loaded), Err)
        }
    }
}

fn revert_group(
    group: &GroupName,
    current: Option<&GroupDocument>,
    earlier: Option<&GroupDocument>,
    options: RevertOptions,
    reverted: &mut Reverted,
) {
    let changes = &mut reverted.changes;
    let nothing = GroupDocument::empty(0, 0);
    if !group.is_all() {
        let group = group.clone();
        match (current, earlier) {
            (Some(_), None) => return changes.push(StateChange::DeleteGroup { group }),
            (None, Some(_)) => changes.push(StateChange::CreateGroup { group }),
            _ => {}
        }
    }
    let (current, earlier) = (current.unwrap_or(&nothing), earlier.unwrap_or(&nothing));
    let owner = EntryOwner::Group(group.clone());
    let (now, then) = (&current.packages, &earlier.packages);
    revert_entries(&owner, now, then, options, reverted);
    let changes = &mut reverted.changes;
    if current.prefer != earlier.prefer {
        changes.push(StateChange::Prefer {
            group: group.clone(),
            location: earlier.prefer.clone(),
        });
    }
    if current.pace != earlier.pace {
        changes.push(StateChange::Pace {
            group: group.clone(),
            pacing: PacingChange::Replace(earlier.pace),
        });
    }
}

fn revert_entries(
    owner: &EntryOwner,
    current: &Entries,
    earlier: &Entries,
    options: RevertOptions,
    reverted: &mut Reverted,
) {
    let Reverted {
        changes,
        ended_rollouts,
        ..
    } = reverted;
    for entry in current.as_slice() {
        if earlier.of(entry.package).is_none() {
            changes.push(StateChange::Unassign {
                from: owner.clone(),
                package: entry.package,
            });
        }
    }
    for entry in earlier.as_slice() {
        let rollout = entry.terms.rollout();
        // Without its rollout, the entry would let every device begin at once.
        if rollout.is_some_and(|rollout| ended_rollouts.contains(&rollout)) {
            continue;
        }
        let now = current.of(entry.package);
        if !now.is_some_and(|now| is_restored(now, entry, options)) {
            let assignment = NewAssignment {
                force: entry.force && options.force,
                ..NewAssignment::of(entry)
            };
            let present = now.and_then(|now| now.terms.rollout());
            if present.is_some() && present != rollout {
                changes.push(StateChange::Unassign {
                    from: owner.clone(),
                    package: entry.package,
                });
            }
            let to = owner.clone();
            changes.push(StateChange::Assign { to, assignment });
        }
    }
}

/// Returns true if an entry means the same as the earlier one.
fn is_restored(now: &StateEntry, earlier: &StateEntry, options: RevertOptions) -> bool {
    // Without the option, an entry that a revert has restored without force counts as restored.
    let force = now.force == earlier.force || (earlier.force && !options.force);
    force && now.manifest == earlier.manifest && now.terms == earlier.terms
}

fn revert_members(
    current: &StatePart,
    earlier: &StatePart,
    options: RevertOptions,
    reverted: &mut Reverted,
) -> Result<(), NotLoaded> {
    let mut left: BTreeMap<&GroupName, BTreeSet<DeviceId>> = BTreeMap::new();
    let mut joined = left.clone();
    for (device, _) in earlier.devices() {
        let (now, then) = (current.groups_of(device)?, earlier.groups_of(device)?);
        for group in now.keys().filter(|group| !then.contains_key(*group)) {
            // The devices of a group that is deleted again need no change.
            if earlier.group(group)?.is_some() {
                left.entry(group).or_default().insert(device.clone());
            }
        }
        for group in then.into_keys() {
            if now.contains_key(group) {
                continue;
            }
            let origin = |part: &StatePart| -> Result<_, NotLoaded> {
                Ok(part.group(group)?.map(|it| it.origin(group)))
            };
            let is_same = origin(current)? == origin(earlier)?;
            if is_same || options.members {
                joined.entry(group).or_default().insert(device.clone());
            } else {
                let left_out = reverted.left_out.entry(group.clone());
                left_out.or_default().insert(device.clone());
            }
        }
    }
    reverted
        .changes
        .extend(left.into_iter().map(|(group, devices)| {
            let group = group.clone();
            StateChange::Leave { group, devices }
        }));
    reverted
        .changes
        .extend(joined.into_iter().map(|(group, devices)| {
            let group = group.clone();
            StateChange::Join { group, devices }
        }));
    Ok(())
}

#[cfg(test)]
mod tests;
