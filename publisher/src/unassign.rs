//! Withdraws the assignment of a package from devices or groups.

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

/// The assignees that lost a package, each with its result.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum UnassignedFrom {
    Devices(Vec<DeviceUnassigned>),
    Groups(Vec<GroupUnassigned>),
}

/// The result of a withdrawal from one device.
#[derive(Debug, Serialize)]
pub struct DeviceUnassigned {
    pub device: DeviceId,
    /// The outcome in a word, for scripts.
    pub result: &'static str,
    #[serde(skip)]
    pub outcome: Unassigned,
}

/// The result of a withdrawal from one group.
#[derive(Debug, Serialize)]
pub struct GroupUnassigned {
    pub group: GroupName,
    /// The outcome in a word, for scripts.
    pub result: &'static str,
    pub revision: u64,
}

/// Withdraws the assignment of a package. The key of `signer` is read if an assignee has a
/// Packcast agent.
///
/// Devices without an assignment of their own do not keep the others from losing theirs: see
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
            result: "taken-back",
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
            "{refused} of {} devices have no assignment of their own to take back",
            devices.len()
        ))
        .hint("'packcast explain DEVICE PKG' tells why a device has a package"))
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
