//! Rows that exceed a limit together with what is here. One such row would fail the whole commit.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::state::document::{MAX_DEVICE_GROUPS, MAX_ENTRIES};
use packcast_protocol::state::{Entries, LeafName, StateEntry, Terms};
use packcast_protocol::{DeviceId, GroupName, Sha256Digest};
use packcast_rollout::state::{NotLoaded, StatePart};

use super::super::plan::{AssignmentImport, ImportPlan, ImportedOwner, LeftOut, LeftOutKind};

/// A number of a commit for the size of an entry: no earlier one has more digits.
const NUMBER: u64 = 9_999_999_999;

/// Memberships that are left out.
type Lost = BTreeSet<(DeviceId, GroupName)>;

impl ImportPlan {
    /// Leaves out the rows that exceed a limit together with what is here. Returns the memberships
    /// among them.
    pub(super) fn keep_within_limits(&mut self, state: &StatePart) -> Result<Lost, NotLoaded> {
        let lost = self.keep_within_groups(state)?;
        let mut by_owner: BTreeMap<ImportedOwner, Vec<AssignmentImport>> = BTreeMap::new();
        for assignment in std::mem::take(&mut self.assignments) {
            let of_owner = by_owner.entry(assignment.to.clone()).or_default();
            of_owner.push(assignment);
        }
        for (owner, mut assigned) in by_owner {
            let entries = entries(state, &owner)?;
            let others = assigned.split_off(fitting(entries, &assigned));
            self.assignments.append(&mut assigned);
            let (owner, has) = match owner {
                ImportedOwner::Group(group) => (format!("group {group}"), "the group"),
                ImportedOwner::Device(device) => (device.to_string(), "the device"),
            };
            for assignment in others {
                let name = format!("package {} to {owner}", assignment.package);
                let reason = format!(
                    "{has} has {MAX_ENTRIES} packages, or their texts 248 KiB, which is the limit: unassign some here"
                );
                self.left_out
                    .push(LeftOut::new(LeftOutKind::Assignment, name, reason));
            }
        }
        Ok(lost)
    }

    fn keep_within_groups(&mut self, state: &StatePart) -> Result<Lost, NotLoaded> {
        let mut lost = Lost::new();
        let mut groups_of: BTreeMap<DeviceId, BTreeSet<GroupName>> = BTreeMap::new();
        for group in &mut self.groups {
            for device in std::mem::take(&mut group.members) {
                let groups = if let Some(groups) = groups_of.get_mut(&device) {
                    groups
                } else {
                    let groups = existing_groups(state, &device)?;
                    groups_of.entry(device.clone()).or_insert(groups)
                };
                if groups.len() < MAX_DEVICE_GROUPS {
                    groups.insert(group.group.clone());
                    group.members.insert(device);
                    continue;
                }
                let name = format!("{device} in {}", group.group);
                let reason = format!(
                    "the device is in {MAX_DEVICE_GROUPS} groups here, which is the limit: remove it from one with 'packcast group remove'"
                );
                self.left_out
                    .push(LeftOut::new(LeftOutKind::Membership, name, reason));
                lost.insert((device, group.group.clone()));
            }
        }
        Ok(lost)
    }
}

/// Returns the groups of a device, without those that were deleted since.
fn existing_groups(state: &StatePart, device: &DeviceId) -> Result<BTreeSet<GroupName>, NotLoaded> {
    let mut groups = BTreeSet::new();
    let document = state.device(device)?;
    for (group, created) in document.into_iter().flat_map(|it| it.groups.as_map()) {
        let is_loaded = state.is_loaded(&LeafName::Group(group.clone()));
        let exists = !is_loaded || state.group(group)?.is_some_and(|it| it.created == *created);
        if exists {
            groups.insert(group.clone());
        }
    }
    Ok(groups)
}

fn entries<'a>(state: &'a StatePart, owner: &ImportedOwner) -> Result<&'a [StateEntry], NotLoaded> {
    let entries: Option<&Entries> = match owner {
        ImportedOwner::Group(group) => state.group(group)?.map(|it| &it.packages),
        ImportedOwner::Device(device) => state.device(device)?.map(|it| &it.packages),
    };
    Ok(entries.map_or(&[], Entries::as_slice))
}

/// Returns how many of the assignments fit into a document with these entries.
fn fitting(entries: &[StateEntry], assigned: &[AssignmentImport]) -> usize {
    let is_other = |entry: &&StateEntry| assigned.iter().all(|it| it.package != entry.package);
    let others: Vec<&StateEntry> = entries.iter().filter(is_other).collect();
    let mut number = assigned.len().min(MAX_ENTRIES.saturating_sub(others.len()));
    while number > 0 {
        let new = assigned[..number].iter().map(entry);
        let all = others.iter().copied().cloned().chain(new).collect();
        if Entries::new(all).is_ok() {
            break;
        }
        number -= 1;
    }
    number
}

fn entry(assignment: &AssignmentImport) -> StateEntry {
    StateEntry {
        package: assignment.package,
        manifest: Sha256Digest::of(b""),
        seq: NUMBER,
        assignee: None,
        force: assignment.force,
        terms: Terms::default(),
    }
}

#[cfg(test)]
mod tests {
    use packcast_protocol::PackageId;

    use super::*;

    fn assigned(number: u32) -> AssignmentImport {
        AssignmentImport {
            package: PackageId::try_from(1_700_000_000 + number).unwrap(),
            to: ImportedOwner::Group("lab".parse().unwrap()),
            force: false,
            is_again: false,
        }
    }

    #[test]
    fn a_document_has_at_most_1000_packages() {
        let all: Vec<AssignmentImport> = (0..1_100).map(assigned).collect();
        let here: Vec<StateEntry> = all[..990].iter().map(entry).collect();
        assert_eq!(fitting(&here, &all[990..]), 10);
        assert_eq!(fitting(&[], &all), 1_000);
        assert_eq!(fitting(&here, &all[980..1_000]), 20);
    }
}
