//! Assigns a package to devices or groups.
//!
//! The signed state gets all assignments of a command in one commit. The records follow. If they
//! are incomplete, because the command was interrupted, the same command completes them.

mod decide;

use std::collections::BTreeMap;

use packcast_protocol::state::Terms;
use packcast_protocol::{DeviceId, GroupName, PackageRef};
use packcast_rollout::PackageRecord;
use packcast_rollout::assign::AssignOutcome;
use packcast_rollout::state::{EntryOwner, NewAssignment, StateChange};
use packcast_store::records::DeviceProjected;
use serde::Serialize;

use self::decide::{Decided, Plan};
use crate::assignees::{AssigneeNames, Assignees};
use crate::audience;
use crate::clock::now;
use crate::device_name::{KNOWN_DEVICES_HINT, host_names};
use crate::downgrade::{LaterPackages, assign_hint};
use crate::failure::Failure;
use crate::package::{find_kept, named, published, refuse_expired, warn_of_expiry};
use crate::preview::{Preview, named_groups};
use crate::progress::{Progress, Work};
use crate::rollout::warn_of_live;
use crate::signing::Signer;
use crate::signing::verify_record::AlsoAccept;
use crate::state::{Completed, complete_records};
use crate::target::Target;
use crate::text::count;
use crate::warning::Warning;

/// The parameters of [`assign`].
#[derive(Clone, Debug)]
pub struct AssignRequest {
    pub package: PackageRef,
    pub to: AssigneeNames,
    /// Devices deploy the package again although they have it already.
    pub force: bool,
    /// Devices deploy the package although they have a later package of the same name.
    pub allow_downgrade: bool,
    /// Additional keys that may have signed the package.
    pub also_accept: AlsoAccept,
}

/// The result of an assignment. It serializes as the list of its assignees.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct AssignResult {
    pub assigned: AssignedTo,
    /// The check-in function announces the package only while it is active.
    #[serde(skip)]
    pub is_active: bool,
}

/// The assignees of an assignment, each with its result.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum AssignedTo {
    Devices(Vec<DeviceAssigned>),
    Groups(Vec<GroupAssigned>),
}

/// The result of an assignment to one device.
#[derive(Debug, Serialize)]
pub struct DeviceAssigned {
    pub device: DeviceId,
    /// Empty if the device has no record, or reports none.
    pub host_name: String,
    /// The outcome in a word, for scripts.
    pub result: &'static str,
    pub attempt: Option<u32>,
    /// Number of the commit with the new assignment; `None` if there is no new one.
    pub commit: Option<u64>,
    #[serde(skip)]
    pub outcome: AssignOutcome,
}

/// The result of an assignment to one group.
#[derive(Debug, Serialize)]
pub struct GroupAssigned {
    pub group: GroupName,
    pub devices: u64,
    pub revision: u64,
    /// Number of the commit with the assignment; `None` if an interrupted command has made it.
    pub commit: Option<u64>,
}

/// An assignment that is decided. Nothing is changed yet.
#[derive(Debug)]
pub struct AssignPlan<'a> {
    assigning: Assigning<'a>,
    decided: DecidedAssignees,
    preview: Preview,
    warnings: Vec<Warning>,
}

/// The assignees of an assignment with the decision on each.
#[derive(Debug)]
enum DecidedAssignees {
    Devices {
        decided: Vec<Decided>,
        host_names: BTreeMap<DeviceId, String>,
    },
    Groups {
        groups: Vec<GroupName>,
        plans: BTreeMap<GroupName, Plan>,
    },
}

/// Decides on an assignment. Nothing is changed yet, and no key is read.
pub async fn plan<'a>(
    target: &'a Target,
    request: &'a AssignRequest,
    progress: &Progress,
) -> Result<AssignPlan<'a>, Failure> {
    let package = find_kept(target, &request.package).await?;
    refuse_expired(&package, now())?;
    warn_of_expiry(target, std::slice::from_ref(&package));
    let name = named(&package);
    let live = warn_of_live(target, &package).await?;
    let assigning = Assigning {
        target,
        assignment: NewAssignment {
            package: package.id,
            manifest: published(&package)?.manifest,
            force: request.force,
            terms: if request.allow_downgrade {
                Terms::allowing_downgrade()
            } else {
                Terms::default()
            },
        },
        package,
        also_accept: &request.also_accept,
        command: format!("packcast assign {name} {}", request.to),
    };
    let (decided, preview, mut warnings) = match request.to.find(target).await? {
        Assignees::Devices(devices) => {
            let warnings = audience::warn_of_devices(target, &assigning.package, &devices).await?;
            let host_names = host_names(target, &devices).await?;
            let decided = assigning.decide(devices, progress).await?;
            let changed = decided.iter().filter(|it| it.plan != Plan::Nothing);
            let changed: Vec<DeviceId> = changed.map(|it| it.device.clone()).collect();
            let preview = Preview::new(format!("Assigns {name}"));
            let preview = preview.with_devices(target, &changed).await?;
            let decided = DecidedAssignees::Devices {
                decided,
                host_names,
            };
            (decided, preview, warnings)
        }
        Assignees::Groups(groups) => {
            let package = &assigning.package;
            let mut warnings = audience::warn_of_groups(package, &groups);
            if !request.allow_downgrade {
                let later = LaterPackages::find(target, package).await?;
                let hint = assign_hint(package, &request.to, &target.name);
                let warning = later.warn_of_groups(target, package, &groups, &hint);
                warnings.extend(warning.await?);
            }
            let plans = decide::decide_groups(target, &assigning.assignment, &groups).await?;
            let effect = format!("Assigns {name} to {}", named_groups(&groups));
            let preview = Preview::new(effect).with_groups(target, &groups).await?;
            (
                DecidedAssignees::Groups { groups, plans },
                preview,
                warnings,
            )
        }
    };
    warnings.extend(live);
    Ok(AssignPlan {
        assigning,
        decided,
        preview: preview.with_packages([name]),
        warnings,
    })
}

/// Assigns a package to devices or groups, with one commit: decides with [`plan`], and makes the
/// change.
pub async fn assign(
    target: &Target,
    request: &AssignRequest,
    signer: Signer,
    progress: &Progress,
) -> Result<AssignResult, Failure> {
    let plan = plan(target, request, progress).await?;
    plan.perform(signer, progress).await
}

/// The outcome that an assignment would have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    /// The device needs a new entry in the signed state.
    pub(crate) is_new: bool,
    /// The outcome in a word, for scripts.
    pub(crate) result: &'static str,
}

/// Decides on an assignment to one device, without a change.
pub(crate) async fn expected(
    target: &Target,
    package: &PackageRecord,
    assignment: &NewAssignment,
    device: &DeviceId,
) -> Result<Expected, Failure> {
    let (devices, progress) = (vec![device.clone()], Progress::none());
    let decided = decide::decide(target, package, assignment, devices, &progress).await?;
    let decided = decided.first();
    Ok(Expected {
        is_new: decided.is_some_and(|decided| decided.plan == Plan::Commit),
        result: word(decided.map_or(&AssignOutcome::UnknownDevice, |decided| &decided.outcome)),
    })
}

impl AssignPlan<'_> {
    /// Returns the effect of the assignment.
    pub const fn preview(&self) -> &Preview {
        &self.preview
    }

    /// Returns warnings about the assignment.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Returns the changes of the signed state; empty if nothing has to be signed.
    pub fn state_changes(&self) -> Vec<StateChange> {
        let owners = match &self.decided {
            DecidedAssignees::Devices { decided, .. } => devices_to_commit(decided),
            DecidedAssignees::Groups { groups, plans } => groups_to_commit(groups, plans),
        };
        self.assigning.changes(owners)
    }

    /// Returns the error that the assignment will have if a device cannot be assigned the package.
    pub fn check(&self) -> Result<(), Failure> {
        match &self.decided {
            DecidedAssignees::Devices { decided, .. } => {
                complete(decided.iter().map(|decided| &decided.outcome))
            }
            DecidedAssignees::Groups { .. } => Ok(()),
        }
    }

    /// Makes the change with one commit.
    ///
    /// The function reads the key of `signer` unless every device has finished the package, or
    /// cannot be assigned it. A device that cannot be assigned the package does not stop the other
    /// assignments; see [`AssignResult::complete`].
    pub async fn perform(
        self,
        mut signer: Signer,
        progress: &Progress,
    ) -> Result<AssignResult, Failure> {
        let assigning = self.assigning;
        let is_active = assigning.package.active;
        let assigned = match self.decided {
            DecidedAssignees::Devices {
                decided,
                host_names,
            } => {
                let work = assigning.to_devices(decided, host_names, &mut signer, progress);
                AssignedTo::Devices(work.await?)
            }
            DecidedAssignees::Groups { groups, plans } => {
                let work = assigning.to_groups(&groups, &plans, &mut signer, progress);
                AssignedTo::Groups(work.await?)
            }
        };
        Ok(AssignResult {
            assigned,
            is_active,
        })
    }
}

/// An assignment whose package was found.
#[derive(Debug)]
struct Assigning<'a> {
    target: &'a Target,
    package: PackageRecord,
    assignment: NewAssignment,
    also_accept: &'a AlsoAccept,
    /// The command for the document about the commit.
    command: String,
}

impl Assigning<'_> {
    async fn to_groups(
        &self,
        groups: &[GroupName],
        plans: &BTreeMap<GroupName, Plan>,
        signer: &mut Signer,
        progress: &Progress,
    ) -> Result<Vec<GroupAssigned>, Failure> {
        let is_new = |group: &GroupName| plans.get(group) == Some(&Plan::Commit);
        let owners = groups_to_commit(groups, plans);
        let (commit, _) = self.change(owners, signer, progress).await?;
        let (records, mut assigned) = (&self.target.records, Vec::with_capacity(groups.len()));
        let states = records.group_states(groups).await?;
        for name in groups {
            let state = states.iter().find(|state| state.group == *name);
            assigned.push(GroupAssigned {
                group: name.clone(),
                devices: records.size(name).await?,
                revision: state.map_or(0, |state| state.revision),
                commit: commit.filter(|_| is_new(name)),
            });
        }
        Ok(assigned)
    }

    /// Decides on the assignment to each of these devices.
    async fn decide(
        &self,
        devices: Vec<DeviceId>,
        progress: &Progress,
    ) -> Result<Vec<Decided>, Failure> {
        progress.begin(Work::Assigning, devices.len() as u64);
        let (package, assignment) = (&self.package, &self.assignment);
        let decided = decide::decide(self.target, package, assignment, devices, progress).await?;
        progress.end();
        Ok(decided)
    }

    async fn to_devices(
        &self,
        decided: Vec<Decided>,
        mut host_names: BTreeMap<DeviceId, String>,
        signer: &mut Signer,
        progress: &Progress,
    ) -> Result<Vec<DeviceAssigned>, Failure> {
        let owners = devices_to_commit(&decided);
        let (commit, completed) = self.change(owners, signer, progress).await?;
        let assigned = decided.into_iter().map(|decided| {
            let host_name = host_names.remove(&decided.device).unwrap_or_default();
            self.assigned(decided, host_name, commit, &completed)
        });
        Ok(assigned.collect())
    }

    /// Returns the result for a device: the effect on its records, or the decision before the
    /// commit.
    fn assigned(
        &self,
        decided: Decided,
        host_name: String,
        commit: Option<u64>,
        completed: &Completed,
    ) -> DeviceAssigned {
        let Decided {
            device,
            outcome,
            plan,
        } = decided;
        if plan == Plan::Nothing {
            return DeviceAssigned::new(device, host_name, outcome, None);
        }
        let outcome = match completed.devices.get(&device) {
            Some(DeviceProjected::Written(changes)) => {
                let written = changes.assigned.get(&self.package.id);
                written.cloned().unwrap_or(outcome)
            }
            Some(DeviceProjected::Unknown) => AssignOutcome::UnknownDevice,
            _ => outcome,
        };
        let commit = commit.filter(|_| plan == Plan::Commit);
        DeviceAssigned::new(device, host_name, outcome, commit)
    }

    /// Makes the commit, after the manifest of the package was verified, and completes the records.
    /// Returns the number of the commit; `None` if nobody needs a new assignment.
    async fn change(
        &self,
        owners: Vec<EntryOwner>,
        signer: &mut Signer,
        progress: &Progress,
    ) -> Result<(Option<u64>, Completed), Failure> {
        let (target, package) = (self.target, &self.package);
        if owners.is_empty() {
            return Ok((None, complete_records(target, progress).await?));
        }
        signer.unlock()?;
        self.also_accept.verify(target, package, signer).await?;
        let changes = self.changes(owners);
        let done = signer
            .change(target, &changes, &self.command, progress)
            .await?;
        Ok((done.committed.number(), done.records))
    }

    fn changes(&self, owners: Vec<EntryOwner>) -> Vec<StateChange> {
        let changes = owners.into_iter().map(|to| StateChange::Assign {
            to,
            assignment: self.assignment.clone(),
        });
        changes.collect()
    }
}

/// Returns the devices that need a new entry in the signed state.
fn devices_to_commit(decided: &[Decided]) -> Vec<EntryOwner> {
    let to_commit = decided.iter().filter(|it| it.plan == Plan::Commit);
    to_commit
        .map(|decided| EntryOwner::Device(decided.device.clone()))
        .collect()
}

/// Returns the groups that need a new entry in the signed state.
fn groups_to_commit(groups: &[GroupName], plans: &BTreeMap<GroupName, Plan>) -> Vec<EntryOwner> {
    let to_commit = groups
        .iter()
        .filter(|group| plans.get(*group) == Some(&Plan::Commit));
    to_commit.cloned().map(EntryOwner::Group).collect()
}

impl AssignResult {
    /// Returns an error if a device cannot be assigned the package.
    pub fn complete(&self) -> Result<(), Failure> {
        match &self.assigned {
            AssignedTo::Devices(devices) => complete(devices.iter().map(|device| &device.outcome)),
            AssignedTo::Groups(_) => Ok(()),
        }
    }
}

/// Returns an error if one of the outcomes is a refusal.
fn complete<'a>(outcomes: impl Iterator<Item = &'a AssignOutcome>) -> Result<(), Failure> {
    let outcomes: Vec<&AssignOutcome> = outcomes.collect();
    let refused = outcomes
        .iter()
        .filter(|outcome| is_refused(outcome))
        .count();
    if refused == 0 {
        return Ok(());
    }
    let is_downgrade =
        |outcome: &&AssignOutcome| matches!(outcome, AssignOutcome::Downgrade { .. });
    Err(Failure::failed(format!(
        "cannot assign the package to {refused} of {}",
        count(outcomes.len() as u64, "device")
    ))
    .hint(if outcomes.iter().any(is_downgrade) {
        "pass --allow-downgrade to allow the downgrade"
    } else {
        KNOWN_DEVICES_HINT
    }))
}

const fn is_refused(outcome: &AssignOutcome) -> bool {
    matches!(
        outcome,
        AssignOutcome::UnknownDevice
            | AssignOutcome::NotForDevice
            | AssignOutcome::OtherSystem
            | AssignOutcome::Downgrade { .. }
            | AssignOutcome::NotPublished
            | AssignOutcome::Deleted
    )
}

/// Returns an outcome in a word, for scripts.
const fn word(outcome: &AssignOutcome) -> &'static str {
    match outcome {
        AssignOutcome::New { .. } => "assigned",
        AssignOutcome::AlreadyOpen { .. } => "already-open",
        AssignOutcome::AlreadyDone(_) => "already-done",
        AssignOutcome::InHistory => "in-history",
        AssignOutcome::Deleted => "deleted",
        AssignOutcome::NotPublished => "not-published",
        AssignOutcome::NotForDevice => "not-for-device",
        AssignOutcome::OtherSystem => "not-applicable",
        AssignOutcome::Downgrade { .. } => "downgrade",
        AssignOutcome::UnknownDevice => "unknown-device",
    }
}

impl DeviceAssigned {
    fn new(
        device: DeviceId,
        host_name: String,
        outcome: AssignOutcome,
        commit: Option<u64>,
    ) -> Self {
        let attempt = match &outcome {
            AssignOutcome::New { attempt } | AssignOutcome::AlreadyOpen { attempt } => {
                Some(*attempt)
            }
            AssignOutcome::AlreadyDone(finished) => Some(finished.attempt),
            _ => None,
        };
        Self {
            device,
            host_name,
            result: word(&outcome),
            attempt,
            commit,
            outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::failures;

    #[test]
    fn refused_devices_have_a_next_step() {
        let device: DeviceId = "ocs:web01-2026-03-04-05-06-07".parse().unwrap();
        let assigned = [
            AssignOutcome::UnknownDevice,
            AssignOutcome::New { attempt: 1 },
        ]
        .map(|outcome| DeviceAssigned::new(device.clone(), "web01".to_owned(), outcome, None));
        let result = AssignResult {
            assigned: AssignedTo::Devices(assigned.into()),
            is_active: true,
        };
        let failure = result.complete().unwrap_err();
        insta::assert_snapshot!(failures([failure]), @r"
        Failed: cannot assign the package to 1 of 2 devices
        hint: run 'packcast device list' to list the known devices: a device is known after its first check-in
        ");
    }
}
