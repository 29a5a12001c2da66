//! Assigns a package to devices or groups.

mod audience;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::{DeviceId, GroupName, PackageRef};
use packcast_rollout::PackageRecord;
use packcast_rollout::assign::AssignOutcome;
use serde::Serialize;

use crate::assignees::{AssigneeNames, Assignees};
use crate::concurrency::AT_ONCE;
use crate::device_name::KNOWN_DEVICES_HINT;
use crate::failure::Failure;
use crate::package::{find_kept, published};
use crate::progress::{Progress, Work};
use crate::signing::Signer;
use crate::signing::verify_record::AlsoAccept;
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
    #[serde(skip)]
    pub outcome: AssignOutcome,
}

/// The result of an assignment to one group.
#[derive(Debug, Serialize)]
pub struct GroupAssigned {
    pub group: GroupName,
    pub devices: u64,
    pub revision: u64,
    /// The write units that the assignment cost.
    pub consumed_units: f64,
}

/// Assigns a package to devices or groups.
///
/// The function reads the key of `signer` if an assignee is a group, or a device with a Packcast
/// agent. A device that cannot be assigned the package does not stop the other assignments; see
/// [`AssignResult::complete`].
pub async fn assign(
    target: &Target,
    request: &AssignRequest,
    mut signer: Signer,
    progress: &Progress,
) -> Result<AssignResult, Failure> {
    let package = find_kept(target, &request.package).await?;
    published(&package)?;
    let (assigned, warnings) = match request.to.find(target).await? {
        Assignees::Devices(devices) => {
            signer.unlock_for(&devices)?;
            // Assignments of OCS agents are not signed, so their record needs no verification.
            if !signer.keys().is_empty() {
                request
                    .also_accept
                    .verify(target, &package, &signer)
                    .await?;
            }
            let warnings = audience::warn_of_devices(target, &package, &devices).await?;
            let options = AssignOptions {
                signer: &signer,
                force: request.force,
            };
            let assigned = to_devices(target, &package, &devices, options, progress).await?;
            (AssignedTo::Devices(assigned), warnings)
        }
        Assignees::Groups(groups) => {
            signer.unlock()?;
            request
                .also_accept
                .verify(target, &package, &signer)
                .await?;
            let warnings = audience::warn_of_groups(&package, &groups);
            let options = AssignOptions {
                signer: &signer,
                force: request.force,
            };
            let assigned = to_groups(target, &package, &groups, options).await?;
            (AssignedTo::Groups(assigned), warnings)
        }
    };
    Ok(AssignResult {
        assigned,
        is_active: package.active,
        warnings,
    })
}

/// The options of an assignment that are the same for all assignees.
#[derive(Clone, Copy)]
struct AssignOptions<'a> {
    signer: &'a Signer,
    force: bool,
}

async fn to_groups(
    target: &Target,
    package: &PackageRecord,
    groups: &[GroupName],
    options: AssignOptions<'_>,
) -> Result<Vec<GroupAssigned>, Failure> {
    let mut assigned = Vec::with_capacity(groups.len());
    for name in groups {
        let changed = target
            .records
            .assign_group(name, package, options.force, options.signer.signing())
            .await?;
        assigned.push(GroupAssigned {
            group: name.clone(),
            devices: target.records.size(name).await?,
            revision: changed.state.revision,
            consumed_units: changed.consumed_units,
        });
    }
    Ok(assigned)
}

async fn to_devices(
    target: &Target,
    package: &PackageRecord,
    devices: &[DeviceId],
    options: AssignOptions<'_>,
    progress: &Progress,
) -> Result<Vec<DeviceAssigned>, Failure> {
    progress.begin(Work::Assigning, devices.len() as u64);
    let assigned = stream::iter(devices)
        .map(|device| async move {
            let signing = options.signer.signing();
            let assigned = target
                .records
                .assign(device, package, options.force, signing);
            let assigned = assigned.await;
            progress.advance(1);
            assigned.map(|outcome| DeviceAssigned::new(device.clone(), outcome))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    progress.end();
    Ok(assigned)
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
        .hint(KNOWN_DEVICES_HINT))
    }
}

impl DeviceAssigned {
    fn new(device: DeviceId, outcome: AssignOutcome) -> Self {
        let (result, attempt) = match &outcome {
            AssignOutcome::New { attempt } => ("assigned", Some(*attempt)),
            AssignOutcome::AlreadyOpen { attempt } => ("already-open", Some(*attempt)),
            AssignOutcome::AlreadyDone(finished) => ("already-done", Some(finished.attempt)),
            AssignOutcome::InHistory => ("in-history", None),
            AssignOutcome::Deleted => ("deleted", None),
            AssignOutcome::NotPublished => ("not-published", None),
            AssignOutcome::NotForDevice => ("not-for-device", None),
            AssignOutcome::UnknownDevice => ("unknown-device", None),
        };
        Self {
            device,
            result,
            attempt,
            outcome,
        }
    }

    fn is_refused(&self) -> bool {
        matches!(
            self.outcome,
            AssignOutcome::UnknownDevice
                | AssignOutcome::NotForDevice
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
        .map(|outcome| DeviceAssigned::new(device.clone(), outcome));
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
