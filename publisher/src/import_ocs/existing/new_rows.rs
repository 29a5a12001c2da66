//! The rows of a plan that are new: a pure function of the plan and of what exists here.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::state::Entries;
use packcast_protocol::{DeviceId, GroupName};
use packcast_rollout::state::NotLoaded;

use super::super::memory::{ImportedRow, is_imported};
use super::super::plan::{
    AssignmentImport, GroupImport, ImportPlan, ImportedOwner, IncludedRow, LeftOut, LeftOutKind,
    OwnGroup, ResultImport,
};
use super::Existing;

impl ImportPlan {
    /// Keeps the rows that the import adds. Packages stay, because assignments refer to them.
    pub(super) fn keep_new(&mut self, existing: &Existing) -> Result<(), NotLoaded> {
        self.keep_own_groups(existing)?;
        let mut groups = std::mem::take(&mut self.groups);
        for group in &mut groups {
            self.keep_new_members(group, existing)?;
        }
        self.groups = groups;
        self.keep_new_assignments(existing)?;
        let results = std::mem::take(&mut self.results).into_iter();
        self.results = results
            .filter(|result| self.is_new_result(result, existing))
            .collect();
        self.leave_out_excluded(existing);
        let lost = self.keep_within_limits(&existing.state)?;
        self.note_included(&lost, existing);
        self.leave_out_activations(existing);
        Ok(())
    }

    /// Keeps the devices that the remaining rows need, and notes all rows that are here afterwards.
    pub(super) fn conclude(&mut self, existing: Existing) {
        self.note_rows();
        self.leaves = existing.state.leaves();
        self.remembered = existing.remembered;
        let members = self.groups.iter().flat_map(|group| &group.members);
        let assigned = self.assignments.iter().filter_map(|it| match &it.to {
            ImportedOwner::Device(device) => Some(device),
            ImportedOwner::Group(_) => None,
        });
        let results = self.results.iter().map(|result| &result.device);
        let needed = members.chain(assigned).chain(results).cloned();
        let needed: BTreeSet<DeviceId> = needed.collect();
        self.devices
            .retain(|it| needed.contains(&it.device) && !existing.devices.contains(&it.device));
        self.groups
            .retain(|group| !group.exists || !group.members.is_empty());
        self.left_out.sort_by_key(|it| it.kind);
        self.skipped.sort_by_key(|it| it.kind);
    }

    /// Leaves out the groups here that do not belong to the import, and those that somebody has
    /// deleted or renamed since.
    fn keep_own_groups(&mut self, existing: &Existing) -> Result<(), NotLoaded> {
        let mut assigned: BTreeMap<GroupName, usize> = BTreeMap::new();
        for assignment in &self.assignments {
            if let ImportedOwner::Group(group) = &assignment.to {
                *assigned.entry(group.clone()).or_default() += 1;
            }
        }
        let (mut kept, mut names) = (Vec::new(), BTreeSet::new());
        for mut group in std::mem::take(&mut self.groups) {
            if let Some(document) = existing.state.group(&group.group)? {
                group.exists = true;
                group.origin = document.origin(&group.group).name;
            }
            let rows = group.members.len() + assigned.get(&group.group).unwrap_or(&0);
            let left_out = |reason: String| {
                LeftOut::new(LeftOutKind::Group, group.label(), reason).with_rows(rows)
            };
            let is_remembered = ImportedRow::group(group.ocs_group()).is_in(&existing.memory);
            if let Some(reason) = existing.foreign.get(&group.group) {
                self.left_out.push(left_out(reason.clone()));
            } else if !group.exists && is_remembered {
                self.skipped.push(left_out(deleted_here(&group)));
            } else {
                names.insert(group.group.clone());
                let own = OwnGroup::of(&group);
                self.own_groups.insert(group.group.clone(), own);
                kept.push(group);
            }
        }
        self.groups = kept;
        self.assignments.retain(|it| match &it.to {
            ImportedOwner::Group(group) => names.contains(group),
            ImportedOwner::Device(_) => true,
        });
        Ok(())
    }

    fn keep_new_members(
        &mut self,
        group: &mut GroupImport,
        existing: &Existing,
    ) -> Result<(), NotLoaded> {
        let document = existing.state.group(&group.group)?;
        let Some(created) = document.map(|document| document.created) else {
            return Ok(());
        };
        let mut new = BTreeSet::new();
        for device in std::mem::take(&mut group.members) {
            let document = existing.state.device(&device)?;
            let groups = document.map(|document| document.groups.as_map());
            let row = ImportedRow::member(group.ocs_group(), &device);
            if groups.and_then(|groups| groups.get(&group.group)) == Some(&created) {
                self.note(row);
            } else if row.is_in(&existing.memory) {
                let name = format!("{device} in {}", group.group);
                let reason = "the device was removed from the group here since an earlier import";
                self.skip(LeftOutKind::Membership, name, reason, 0);
            } else {
                new.insert(device);
            }
        }
        group.members = new;
        Ok(())
    }

    fn keep_new_assignments(&mut self, existing: &Existing) -> Result<(), NotLoaded> {
        let mut kept = Vec::new();
        for assignment in std::mem::take(&mut self.assignments) {
            let row = self.row_of(&assignment);
            let entries = existing.entries(&assignment.to)?;
            let is_assigned = entries.is_some_and(|it| it.of(assignment.package).is_some());
            let has_changed = is_assigned && row.has_changed_since(&existing.memory);
            if has_changed && matches!(assignment.to, ImportedOwner::Device(_)) {
                // The OCS server has assigned the package again after its result.
                kept.push(AssignmentImport {
                    is_again: true,
                    ..assignment
                });
            } else if has_changed {
                let name = format!("package {} to a group", assignment.package);
                let reason = "its force has changed on the OCS server: assign the package to the group with or without --force";
                self.skip(LeftOutKind::Assignment, name, reason, 0);
                self.note(row);
            } else if is_assigned {
                self.note(row);
            } else if !is_assigned && row.is_in(&existing.memory) {
                let to = match &assignment.to {
                    ImportedOwner::Group(group) => format!("group {group}"),
                    ImportedOwner::Device(device) => device.to_string(),
                };
                let name = format!("package {} to {to}", assignment.package);
                let reason = "the package was unassigned here since an earlier import";
                self.skip(LeftOutKind::Assignment, name, reason, 0);
            } else {
                kept.push(assignment);
            }
        }
        self.assignments = kept;
        Ok(())
    }

    fn is_new_result(&mut self, result: &ResultImport, existing: &Existing) -> bool {
        let row = result.row();
        if row.is_in(&existing.memory) {
            self.known_results.push(result.clone());
            return false;
        }
        let key = (result.device.clone(), result.package);
        match existing.results.get(&key) {
            Some(here) if !is_imported(here) => {
                // The device has reported to Packcast since: its latest result counts.
                self.note(row);
                false
            }
            Some(here) if here.code == result.code => {
                self.note(row);
                self.known_results.push(result.clone());
                self.unremembered.push(result.clone());
                false
            }
            Some(_) | None if existing.begun.contains(&key) => {
                let name = format!("package {} on {}", result.package, result.device);
                let reason = "the package was announced to the device here: its next report counts";
                self.skip(LeftOutKind::Result, name, reason, 0);
                false
            }
            Some(_) | None => true,
        }
    }

    /// Notes the open rows of devices that the assignments to their groups include. A row whose group
    /// or membership is left out is left out, too.
    fn note_included(&mut self, lost: &BTreeSet<(DeviceId, GroupName)>, existing: &Existing) {
        for included in std::mem::take(&mut self.included) {
            let IncludedRow {
                device,
                package,
                force,
                groups,
            } = included;
            let is_lost = |group: &GroupName| {
                existing.foreign.contains_key(group)
                    || lost.contains(&(device.clone(), group.clone()))
            };
            if groups.iter().all(is_lost) {
                let name = format!("package {package} to {device}");
                let groups: Vec<&str> = groups.iter().map(GroupName::as_str).collect();
                let groups = groups.join(", ");
                let reason = format!(
                    "the device has the package by group {groups}, which is left out for it"
                );
                let left_out = LeftOut::new(LeftOutKind::Assignment, name, reason);
                self.left_out.push(left_out);
            } else if !existing.excluded.contains(&device) {
                self.note(ImportedRow::open(&device, package, force));
            }
        }
    }

    /// Leaves out the new rows of devices that are blocked or removed here.
    fn leave_out_excluded(&mut self, existing: &Existing) {
        let excluded = &existing.excluded;
        let mut rows: BTreeMap<DeviceId, usize> = BTreeMap::new();
        let mut is_kept = |device: &DeviceId| {
            let is_kept = !excluded.contains(device);
            if !is_kept {
                *rows.entry(device.clone()).or_default() += 1;
            }
            is_kept
        };
        for group in &mut self.groups {
            group.members.retain(&mut is_kept);
        }
        self.assignments.retain(|it| match &it.to {
            ImportedOwner::Device(device) => is_kept(device),
            ImportedOwner::Group(_) => true,
        });
        self.results.retain(|it| is_kept(&it.device));
        for (device, number) in rows {
            let reason =
                "the device is blocked or removed here: run 'packcast device unblock' first";
            let left_out = LeftOut::new(LeftOutKind::Device, device.to_string(), reason);
            self.left_out.push(left_out.with_rows(number));
        }
    }

    /// Leaves out the activations of a target without locations.
    fn leave_out_activations(&mut self, existing: &Existing) {
        if existing.has_location {
            return;
        }
        for package in self.packages.iter_mut().filter(|it| it.activates) {
            package.activates = false;
            let name = format!("{}@{}", package.name, package.version);
            let reason =
                "the target has no location: run 'packcast location add', then 'packcast activate'";
            self.left_out
                .push(LeftOut::new(LeftOutKind::Activation, name, reason));
        }
    }

    /// Notes the rows that the import adds.
    fn note_rows(&mut self) {
        let groups = self.own_groups.values();
        let mut rows: Vec<ImportedRow> = groups
            .map(|group| ImportedRow::group(group.ocs_group()))
            .collect();
        for group in &self.groups {
            let members = group.members.iter();
            rows.extend(members.map(|device| ImportedRow::member(group.ocs_group(), device)));
        }
        rows.extend(self.assignments.iter().map(|it| self.row_of(it)));
        rows.extend(self.results.iter().map(ResultImport::row));
        for row in rows {
            self.note(row);
        }
    }

    fn note(&mut self, row: ImportedRow) {
        self.rows.insert(row.id, row.content);
    }
}

impl Existing {
    fn entries(&self, owner: &ImportedOwner) -> Result<Option<&Entries>, NotLoaded> {
        Ok(match owner {
            ImportedOwner::Group(group) => self.state.group(group)?.map(|it| &it.packages),
            ImportedOwner::Device(device) => self.state.device(device)?.map(|it| &it.packages),
        })
    }
}

fn deleted_here(group: &GroupImport) -> String {
    let GroupImport { group, ocs_id, .. } = group;
    format!(
        "group {group} was deleted or renamed here since an earlier import: to import into another group, write 'group {ocs_id} NAME' into the file of --names"
    )
}
