//! Unassigns a package from devices or groups.
//!
//! The package leaves the signed state in one commit. The records follow. If they are incomplete,
//! because the command was interrupted, the same command completes them.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::state::LeafName;
use packcast_protocol::{DeviceId, GroupName, PackageRef};
use packcast_rollout::PackageRecord;
use packcast_rollout::reconcile::group_with;
use packcast_rollout::state::{ChangeOutcome, EntryOwner, StateChange};
use packcast_rollout::unassign::{self as decision, Unassigned};
use packcast_store::records::DeviceProjected;
use serde::Serialize;

use crate::assignees::{AssigneeNames, Assignees};
use crate::concurrency::AT_ONCE;
use crate::device_name::host_names;
use crate::failure::Failure;
use crate::known_group::GroupRefusal;
use crate::package::{find, named};
use crate::preview::{Preview, named_groups};
use crate::progress::Progress;
use crate::rollout::permitted_s;
use crate::signing::Signer;
use crate::state::{Completed, CompletedChange, current_part};
use crate::stopping::complete_in_s;
use crate::target::Target;
use crate::text::count;

/// The assignees of an unassignment, each with its result.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum UnassignedFrom {
    Devices(Vec<DeviceUnassigned>),
    Groups(Vec<GroupUnassigned>),
}

/// The result of an unassignment from one device.
#[derive(Debug, Serialize)]
pub struct DeviceUnassigned {
    pub device: DeviceId,
    /// Empty if the device has no record, or reports none.
    pub host_name: String,
    /// The outcome in a word, for scripts.
    pub result: &'static str,
    /// Number of the commit that removed the assignment; `None` if there was none to remove.
    pub commit: Option<u64>,
    #[serde(skip)]
    pub outcome: Unassigned,
}

/// The result of an unassignment from one group.
#[derive(Debug, Serialize)]
pub struct GroupUnassigned {
    pub group: GroupName,
    /// The outcome in a word, for scripts.
    pub result: &'static str,
    pub revision: u64,
    /// Number of the commit that removed the assignment; `None` if only the record had it.
    pub commit: Option<u64>,
    /// Number of devices, of all groups, that were told of the package, and have not reported.
    pub told: u64,
}

/// Returns the seconds for which a Packcast agent that was told of a package may still begin with it
/// after an unassignment.
pub fn may_begin_s(target: &Target, unassigned: &UnassignedFrom) -> u64 {
    match unassigned {
        // The function reads the tasks of a device for each answer.
        UnassignedFrom::Devices(_) => 0,
        UnassignedFrom::Groups(_) => complete_in_s(target),
    }
}

/// An unassignment whose package and assignees were found. Nothing is changed yet.
#[derive(Debug)]
pub struct UnassignPlan<'a> {
    unassigning: Unassigning<'a>,
    from: Assignees,
    preview: Preview,
    permitted_s: u64,
}

/// Plans an unassignment. Nothing is changed yet, and no key is read.
///
/// # Errors
/// A group that does not have the package.
pub async fn plan<'a>(
    target: &'a Target,
    package: &PackageRef,
    from: &AssigneeNames,
) -> Result<UnassignPlan<'a>, Failure> {
    let package = find(target, package).await?;
    let name = named(&package);
    let unassigning = Unassigning {
        target,
        command: format!("packcast unassign {name} {from}"),
        package,
    };
    let from = from.find(target).await?;
    let mut expire_in_s = 0;
    let preview = match &from {
        Assignees::Devices(devices) => {
            let preview = Preview::new(format!("Unassigns {name}"));
            preview.with_devices(target, devices).await?
        }
        Assignees::Groups(groups) => {
            if unassigning.check_groups(groups).await? {
                expire_in_s = permitted_s(target);
            }
            let preview = Preview::new(format!("Unassigns {name} from {}", named_groups(groups)));
            preview.with_groups(target, groups).await?
        }
    };
    Ok(UnassignPlan {
        unassigning,
        from,
        preview: preview.with_packages([name]),
        permitted_s: expire_in_s,
    })
}

impl UnassignPlan<'_> {
    /// Returns the effect of the unassignment.
    pub const fn preview(&self) -> &Preview {
        &self.preview
    }

    /// Returns the seconds after the change until no device begins with an earlier permission of the
    /// package's rollout; 0 if the assignment has no rollout.
    pub const fn permitted_s(&self) -> u64 {
        self.permitted_s
    }

    /// Returns the changes of the signed state.
    pub fn state_changes(&self) -> Vec<StateChange> {
        match &self.from {
            Assignees::Devices(devices) => {
                let owners = devices.iter().cloned().map(EntryOwner::Device);
                self.unassigning.changes(owners)
            }
            Assignees::Groups(groups) => {
                let owners = groups.iter().cloned().map(EntryOwner::Group);
                self.unassigning.changes(owners)
            }
        }
    }

    /// Returns the error that the unassignment will have if a device has no assignment of its own.
    /// Reads the record of each device.
    pub async fn check(&self) -> Result<(), Failure> {
        let Assignees::Devices(devices) = &self.from else {
            return Ok(());
        };
        let (this, package) = (&self.unassigning, self.unassigning.package.id);
        let names = devices.iter().cloned().map(LeafName::Device).collect();
        let state = current_part(this.target, names).await?;
        let (state, unchanged) = (&state, &Completed::default());
        let outcomes: Vec<Unassigned> = stream::iter(devices)
            .map(|device| {
                let document = state.device(device).ok().flatten();
                let has_entry = document.is_some_and(|it| it.packages.of(package).is_some());
                this.outcome(device, has_entry, unchanged)
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        complete(outcomes.iter())
    }

    /// Makes the change with one commit.
    ///
    /// A device without an assignment of its own does not stop the others; see
    /// [`UnassignedFrom::complete`].
    pub async fn perform(
        self,
        mut signer: Signer,
        progress: &Progress,
    ) -> Result<UnassignedFrom, Failure> {
        let unassigning = self.unassigning;
        match self.from {
            Assignees::Devices(devices) => unassigning
                .take_from_devices(devices, &mut signer, progress)
                .await
                .map(UnassignedFrom::Devices),
            Assignees::Groups(groups) => unassigning
                .take_from_groups(&groups, &mut signer, progress)
                .await
                .map(UnassignedFrom::Groups),
        }
    }
}

/// An unassignment whose package was found.
#[derive(Debug)]
struct Unassigning<'a> {
    target: &'a Target,
    package: PackageRecord,
    /// The command for the document about the commit.
    command: String,
}

impl Unassigning<'_> {
    async fn take_from_groups(
        &self,
        groups: &[GroupName],
        signer: &mut Signer,
        progress: &Progress,
    ) -> Result<Vec<GroupUnassigned>, Failure> {
        let owners = groups.iter().cloned().map(EntryOwner::Group);
        let done = self.change(owners, signer, progress).await?;
        let commit = done.committed.number();
        let states = self.target.records.group_states(groups).await?;
        let told = self.target.records.tally(self.package.id).await?.told();
        let unassigned = groups.iter().map(|name| {
            let state = states.iter().find(|state| state.group == *name);
            GroupUnassigned {
                group: name.clone(),
                result: "unassigned",
                revision: state.map_or(0, |state| state.revision),
                commit,
                told,
            }
        });
        Ok(unassigned.collect())
    }

    /// Checks that the state or the record of each group has the package. Returns true if a group has
    /// it by a rollout.
    async fn check_groups(&self, groups: &[GroupName]) -> Result<bool, Failure> {
        let package = self.package.id;
        let names = groups.iter().cloned().map(LeafName::Group).collect();
        let state = current_part(self.target, names).await?;
        let records = self.target.records.group_states(groups).await?;
        let has = |group: &GroupName| {
            let document = state.group(group).ok().flatten();
            let mut records = records.iter().filter(|record| record.group == *group);
            document.is_some_and(|document| document.packages.of(package).is_some())
                || records.any(|record| record.assignment(package).is_some())
        };
        let mut assignments = records.iter().filter_map(|it| it.assignment(package));
        match groups.iter().find(|group| !has(group)) {
            None => Ok(assignments.any(|assignment| assignment.rollout.is_some())),
            Some(group) => {
                let group = group.clone();
                Err(GroupRefusal::NotAssigned { group, package }.into())
            }
        }
    }

    async fn take_from_devices(
        &self,
        devices: Vec<DeviceId>,
        signer: &mut Signer,
        progress: &Progress,
    ) -> Result<Vec<DeviceUnassigned>, Failure> {
        let owners = devices.iter().cloned().map(EntryOwner::Device);
        let done = self.change(owners, signer, progress).await?;
        let CompletedChange { committed, records } = done;
        let changed = committed.outcomes().iter().cloned();
        let (commit, records) = (committed.number(), &records);
        let host_names: &BTreeMap<_, _> = &host_names(self.target, &devices).await?;
        stream::iter(devices.into_iter().zip(changed))
            .map(|(device, changed)| async move {
                let was_entry = changed == ChangeOutcome::Changed;
                let outcome = self.outcome(&device, was_entry, records).await?;
                let host_name = host_names.get(&device).cloned().unwrap_or_default();
                let commit = commit.filter(|_| was_entry);
                Ok::<_, Failure>(DeviceUnassigned::new(device, host_name, outcome, commit))
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await
    }

    /// Returns the outcome for one device. The state had an entry of the device if `was_entry` is
    /// set.
    async fn outcome(
        &self,
        device: &DeviceId,
        was_entry: bool,
        completed: &Completed,
    ) -> Result<Unassigned, Failure> {
        let (records, package) = (&self.target.records, self.package.id);
        let written = match completed.devices.get(device) {
            Some(DeviceProjected::Written(changes)) => changes.unassigned.get(&package),
            _ => None,
        };
        let unassigned = match written {
            Some(outcome) => outcome.clone(),
            None => self.outcome_on_record(device).await?,
        };
        Ok(match unassigned {
            // The record of the entry was never written.
            Unassigned::OnlyByGroup(group) if was_entry => Unassigned::KeptByGroup(group),
            Unassigned::NotAssigned
                if was_entry && records.finished(device, package).await?.is_none() =>
            {
                Unassigned::Dropped
            }
            unassigned => unassigned,
        })
    }

    /// Returns the outcome for a device whose records did not change.
    async fn outcome_on_record(&self, device: &DeviceId) -> Result<Unassigned, Failure> {
        let (records, package) = (&self.target.records, self.package.id);
        let recorded = records.device_state(device).await?;
        let groups: Vec<GroupName> = recorded.memberships.groups().collect();
        let states = records.group_states(&groups).await?;
        let group = group_with(&recorded.memberships, &states, package);
        let open = recorded.tasks.iter().find(|task| task.package == package);
        let (outcome, _) = decision::unassign(open, None, group.map(|state| &state.group));
        Ok(outcome)
    }

    async fn change(
        &self,
        owners: impl Iterator<Item = EntryOwner>,
        signer: &mut Signer,
        progress: &Progress,
    ) -> Result<CompletedChange, Failure> {
        let changes = self.changes(owners);
        signer
            .change(self.target, &changes, &self.command, progress)
            .await
    }

    fn changes(&self, owners: impl Iterator<Item = EntryOwner>) -> Vec<StateChange> {
        let package = self.package.id;
        owners
            .map(|from| StateChange::Unassign { from, package })
            .collect()
    }
}

impl UnassignedFrom {
    /// Returns the number of devices that were told of the package, and have not reported.
    ///
    /// For groups, devices that get the package through other groups or themselves are included.
    pub fn told(&self) -> u64 {
        match self {
            Self::Devices(devices) => {
                devices.iter().filter(|device| device.was_told()).count() as u64
            }
            Self::Groups(groups) => groups.first().map_or(0, |group| group.told),
        }
    }

    /// Returns an error if a device had no assignment of its own.
    pub fn complete(&self) -> Result<(), Failure> {
        match self {
            Self::Devices(devices) => complete(devices.iter().map(|device| &device.outcome)),
            Self::Groups(_) => Ok(()),
        }
    }
}

/// Returns an error if one of the outcomes is a refusal.
fn complete<'a>(outcomes: impl Iterator<Item = &'a Unassigned>) -> Result<(), Failure> {
    let outcomes: Vec<&Unassigned> = outcomes.collect();
    let is_refused = |outcome: &&&Unassigned| {
        matches!(
            outcome,
            Unassigned::OnlyByGroup(_) | Unassigned::NotAssigned
        )
    };
    let refused = outcomes.iter().filter(is_refused).count();
    if refused == 0 {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "cannot unassign the package from {refused} of {}: no assignment to the device itself",
        count(outcomes.len() as u64, "device")
    ))
    .hint("run 'packcast explain DEVICE PACKAGE' to see why a device has a package"))
}

impl DeviceUnassigned {
    fn new(device: DeviceId, host_name: String, outcome: Unassigned, commit: Option<u64>) -> Self {
        let result = match &outcome {
            Unassigned::Dropped => "dropped",
            Unassigned::Withdrawn => "withdrawn",
            Unassigned::KeptByGroup(_) => "kept-by-group",
            Unassigned::AlreadyWithdrawn => "already-withdrawn",
            Unassigned::OnlyByGroup(_) => "only-by-group",
            Unassigned::NotAssigned => "not-assigned",
        };
        Self {
            device,
            host_name,
            result,
            commit,
            outcome,
        }
    }

    const fn was_told(&self) -> bool {
        matches!(
            self.outcome,
            Unassigned::Withdrawn | Unassigned::AlreadyWithdrawn
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::failures;

    #[test]
    fn devices_without_their_own_assignment_have_a_next_step() {
        let device: DeviceId = "ocs:web01-2026-03-04-05-06-07".parse().unwrap();
        let unassigned = [Unassigned::NotAssigned, Unassigned::Dropped].map(|outcome| {
            DeviceUnassigned::new(device.clone(), "web01".to_owned(), outcome, None)
        });
        let result = UnassignedFrom::Devices(unassigned.into());
        insta::assert_snapshot!(failures([result.complete().unwrap_err()]), @r"
        Failed: cannot unassign the package from 1 of 2 devices: no assignment to the device itself
        hint: run 'packcast explain DEVICE PACKAGE' to see why a device has a package
        ");
    }
}
