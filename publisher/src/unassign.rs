//! Unassigns a package from devices or groups.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::{DeviceId, GroupName, PackageRef};
use packcast_rollout::PackageRecord;
use packcast_rollout::unassign::Unassigned;
use serde::Serialize;

use crate::assignees::{AssigneeNames, Assignees};
use crate::concurrency::AT_ONCE;
use crate::failure::Failure;
use crate::package::find;
use crate::progress::{Progress, Work};
use crate::signing::Signer;
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
    /// The outcome in a word, for scripts.
    pub result: &'static str,
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
}

/// Unassigns a package from devices or groups.
///
/// The function reads the key of `signer` if an assignee is a group, or a device with a Packcast
/// agent. A device without an assignment of its own does not stop the others; see
/// [`UnassignedFrom::complete`].
pub async fn unassign(
    target: &Target,
    package: &PackageRef,
    from: &AssigneeNames,
    mut signer: Signer,
    progress: &Progress,
) -> Result<UnassignedFrom, Failure> {
    let package = find(target, package).await?;
    match from.find(target).await? {
        Assignees::Devices(devices) => {
            signer.unlock_for(&devices)?;
            from_devices(target, &package, &devices, &signer, progress)
                .await
                .map(UnassignedFrom::Devices)
        }
        Assignees::Groups(groups) => {
            signer.unlock()?;
            from_groups(target, &package, &groups, &signer)
                .await
                .map(UnassignedFrom::Groups)
        }
    }
}

async fn from_groups(
    target: &Target,
    package: &PackageRecord,
    groups: &[GroupName],
    signer: &Signer,
) -> Result<Vec<GroupUnassigned>, Failure> {
    let mut unassigned = Vec::with_capacity(groups.len());
    for name in groups {
        let (records, signing) = (&target.records, signer.signing());
        let changed = records.unassign_group(name, package.id, signing).await?;
        unassigned.push(GroupUnassigned {
            group: name.clone(),
            result: "unassigned",
            revision: changed.state.revision,
        });
    }
    Ok(unassigned)
}

async fn from_devices(
    target: &Target,
    package: &PackageRecord,
    devices: &[DeviceId],
    signer: &Signer,
    progress: &Progress,
) -> Result<Vec<DeviceUnassigned>, Failure> {
    progress.begin(Work::Unassigning, devices.len() as u64);
    let unassigned = stream::iter(devices)
        .map(|device| async move {
            let (records, signing) = (&target.records, signer.signing());
            let unassigned = records.unassign(device, package, signing).await;
            progress.advance(1);
            unassigned.map(|outcome| DeviceUnassigned::new(device.clone(), outcome))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    progress.end();
    Ok(unassigned)
}

impl UnassignedFrom {
    /// Returns an error if a device had no assignment of its own.
    pub fn complete(&self) -> Result<(), Failure> {
        let Self::Devices(devices) = self else {
            return Ok(());
        };
        let refused = devices.iter().filter(|device| device.is_refused()).count();
        if refused == 0 {
            return Ok(());
        }
        Err(Failure::failed(format!(
            "cannot unassign the package from {refused} of {}: no assignment to the device itself",
            count(devices.len() as u64, "device")
        ))
        .hint("run 'packcast explain DEVICE PACKAGE' to see why a device has a package"))
    }
}

impl DeviceUnassigned {
    fn new(device: DeviceId, outcome: Unassigned) -> Self {
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
            result,
            outcome,
        }
    }

    const fn is_refused(&self) -> bool {
        matches!(
            self.outcome,
            Unassigned::OnlyByGroup(_) | Unassigned::NotAssigned
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
        let unassigned = [Unassigned::NotAssigned, Unassigned::Dropped]
            .map(|outcome| DeviceUnassigned::new(device.clone(), outcome));
        let result = UnassignedFrom::Devices(unassigned.into());
        insta::assert_snapshot!(failures([result.complete().unwrap_err()]), @r"
        Failed: cannot unassign the package from 1 of 2 devices: no assignment to the device itself
        hint: run 'packcast explain DEVICE PACKAGE' to see why a device has a package
        ");
    }
}
