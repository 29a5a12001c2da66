//! Assigns a package to devices or groups.
//!
//! The signed state gets all assignments of a command in one commit. The records follow. If they
//! are incomplete, because the command was interrupted, the same command completes them.

mod audience;
mod decide;
mod downgrade;

use packcast_protocol::state::Terms;
use packcast_protocol::{DeviceId, GroupName, PackageRef};
use packcast_rollout::PackageRecord;
use packcast_rollout::assign::AssignOutcome;
use packcast_rollout::state::{EntryOwner, NewAssignment, StateChange};
use packcast_store::records::DeviceProjected;
use serde::Serialize;

use self::decide::{Decided, Plan};
use self::downgrade::LaterPackages;
use crate::assignees::{AssigneeNames, Assignees};
use crate::clock::now;
use crate::device_name::KNOWN_DEVICES_HINT;
use crate::failure::Failure;
use crate::package::{find_kept, named, published, refuse_expired, warn_of_expiry};
use crate::progress::{Progress, Work};
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
    #[serde(skip)]
    pub warnings: Vec<Warning>,
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

/// Assigns a package to devices or groups, with one commit.
///
/// The function reads the key of `signer` unless every device has finished the package, or cannot be
/// assigned it. A device that cannot be assigned the package does not stop the other assignments;
/// see [`AssignResult::complete`].
pub async fn assign(
    target: &Target,
    request: &AssignRequest,
    mut signer: Signer,
    progress: &Progress,
) -> Result<AssignResult, Failure> {
    let package = find_kept(target, &request.package).await?;
    refuse_expired(&package, now())?;
    warn_of_expiry(target, std::slice::from_ref(&package));
    let assignment = NewAssignment {
        package: package.id,
        manifest: published(&package)?.manifest,
        force: request.force,
        terms: if request.allow_downgrade {
            Terms::allowing_downgrade()
        } else {
            Terms::default()
        },
    };
    let assigning = Assigning {
        target,
        package: &package,
        assignment,
        also_accept: &request.also_accept,
        command: format!("packcast assign {} {}", named(&package), request.to),
    };
    let (assigned, warnings) = match request.to.find(target).await? {
        Assignees::Devices(devices) => {
            let warnings = audience::warn_of_devices(target, &package, &devices).await?;
            let assigned = assigning.to_devices(devices, &mut signer, progress).await?;
            (AssignedTo::Devices(assigned), warnings)
        }
        Assignees::Groups(groups) => {
            let mut warnings = audience::warn_of_groups(&package, &groups);
            if !request.allow_downgrade {
                let later = LaterPackages::find(target, &package).await?;
                let warning = later.warn_of_groups(target, &package, &groups, &request.to);
                warnings.extend(warning.await?);
            }
            let assigned = assigning.to_groups(&groups, &mut signer, progress).await?;
            (AssignedTo::Groups(assigned), warnings)
        }
    };
    Ok(AssignResult {
        assigned,
        is_active: package.active,
        warnings,
    })
}

/// An assignment whose package was found.
struct Assigning<'a> {
    target: &'a Target,
    package: &'a PackageRecord,
    assignment: NewAssignment,
    also_accept: &'a AlsoAccept,
    /// The command for the document about the commit.
    command: String,
}

impl Assigning<'_> {
    async fn to_groups(
        &self,
        groups: &[GroupName],
        signer: &mut Signer,
        progress: &Progress,
    ) -> Result<Vec<GroupAssigned>, Failure> {
        let plans = decide::decide_groups(self.target, &self.assignment, groups).await?;
        let is_new = |group: &&GroupName| plans.get(*group) == Some(&Plan::Commit);
        let owners: Vec<EntryOwner> = groups
            .iter()
            .filter(is_new)
            .cloned()
            .map(EntryOwner::Group)
            .collect();
        let (commit, _) = self.change(owners, signer, progress).await?;
        let (records, mut assigned) = (&self.target.records, Vec::with_capacity(groups.len()));
        let states = records.group_states(groups).await?;
        for name in groups {
            let state = states.iter().find(|state| state.group == *name);
            assigned.push(GroupAssigned {
                group: name.clone(),
                devices: records.size(name).await?,
                revision: state.map_or(0, |state| state.revision),
                commit: commit.filter(|_| is_new(&name)),
            });
        }
        Ok(assigned)
    }

    async fn to_devices(
        &self,
        devices: Vec<DeviceId>,
        signer: &mut Signer,
        progress: &Progress,
    ) -> Result<Vec<DeviceAssigned>, Failure> {
        progress.begin(Work::Assigning, devices.len() as u64);
        let decided = decide::decide(
            self.target,
            self.package,
            &self.assignment,
            devices,
            progress,
        );
        let decided = decided.await?;
        progress.end();
        let to_commit = decided.iter().filter(|it| it.plan == Plan::Commit);
        let owners: Vec<EntryOwner> = to_commit
            .map(|decided| EntryOwner::Device(decided.device.clone()))
            .collect();
        let (commit, completed) = self.change(owners, signer, progress).await?;
        let assigned = decided
            .into_iter()
            .map(|decided| self.assigned(decided, commit, &completed));
        Ok(assigned.collect())
    }

    /// Returns the result for a device: the effect on its records, or the decision before the
    /// commit.
    fn assigned(
        &self,
        decided: Decided,
        commit: Option<u64>,
        completed: &Completed,
    ) -> DeviceAssigned {
        let Decided {
            device,
            outcome,
            plan,
        } = decided;
        if plan == Plan::Nothing {
            return DeviceAssigned::new(device, outcome, None);
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
        DeviceAssigned::new(device, outcome, commit)
    }

    /// Makes the commit, after the manifest of the package was verified, and completes the records.
    /// Returns the number of the commit; `None` if nobody needs a new assignment.
    async fn change(
        &self,
        owners: Vec<EntryOwner>,
        signer: &mut Signer,
        progress: &Progress,
    ) -> Result<(Option<u64>, Completed), Failure> {
        let (target, package) = (self.target, self.package);
        if owners.is_empty() {
            return Ok((None, complete_records(target, progress).await?));
        }
        signer.unlock()?;
        self.also_accept.verify(target, package, signer).await?;
        let changes: Vec<StateChange> = owners
            .into_iter()
            .map(|to| StateChange::Assign {
                to,
                assignment: self.assignment.clone(),
            })
            .collect();
        let done = signer
            .change(target, &changes, &self.command, progress)
            .await?;
        Ok((done.committed.number(), done.records))
    }
}

impl AssignResult {
    /// Returns an error if a device cannot be assigned the package.
    pub fn complete(&self) -> Result<(), Failure> {
        let AssignedTo::Devices(devices) = &self.assigned else {
            return Ok(());
        };
        let refused = devices.iter().filter(|device| device.is_refused()).count();
        if refused == 0 {
            return Ok(());
        }
        Err(Failure::failed(format!(
            "cannot assign the package to {refused} of {}",
            count(devices.len() as u64, "device")
        ))
        .hint(if devices.iter().any(DeviceAssigned::is_downgrade) {
            "pass --allow-downgrade to allow the downgrade"
        } else {
            KNOWN_DEVICES_HINT
        }))
    }
}

impl DeviceAssigned {
    fn new(device: DeviceId, outcome: AssignOutcome, commit: Option<u64>) -> Self {
        let (result, attempt) = match &outcome {
            AssignOutcome::New { attempt } => ("assigned", Some(*attempt)),
            AssignOutcome::AlreadyOpen { attempt } => ("already-open", Some(*attempt)),
            AssignOutcome::AlreadyDone(finished) => ("already-done", Some(finished.attempt)),
            AssignOutcome::InHistory => ("in-history", None),
            AssignOutcome::Deleted => ("deleted", None),
            AssignOutcome::NotPublished => ("not-published", None),
            AssignOutcome::NotForDevice => ("not-for-device", None),
            AssignOutcome::OtherSystem => ("not-applicable", None),
            AssignOutcome::Downgrade { .. } => ("downgrade", None),
            AssignOutcome::UnknownDevice => ("unknown-device", None),
        };
        Self {
            device,
            result,
            attempt,
            commit,
            outcome,
        }
    }

    fn is_downgrade(&self) -> bool {
        matches!(self.outcome, AssignOutcome::Downgrade { .. })
    }

    fn is_refused(&self) -> bool {
        matches!(
            self.outcome,
            AssignOutcome::UnknownDevice
                | AssignOutcome::NotForDevice
                | AssignOutcome::OtherSystem
                | AssignOutcome::Downgrade { .. }
                | AssignOutcome::NotPublished
                | AssignOutcome::Deleted
        )
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
        .map(|outcome| DeviceAssigned::new(device.clone(), outcome, None));
        let result = AssignResult {
            assigned: AssignedTo::Devices(assigned.into()),
            is_active: true,
            warnings: Vec::new(),
        };
        let failure = result.complete().unwrap_err();
        insta::assert_snapshot!(failures([failure]), @r"
        Failed: cannot assign the package to 1 of 2 devices
        hint: run 'packcast device list' to list the known devices: a device is known after its first check-in
        ");
    }
}
