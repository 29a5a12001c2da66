//! Assigns a package to devices or groups.

mod audience;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::{DeviceId, GroupName, PackageRef};
use packcast_rollout::PackageRecord;
use packcast_rollout::assign::Assigned;
use serde::Serialize;

use crate::assignees::{AssigneeNames, Assignees};
use crate::concurrency::AT_ONCE;
use crate::failure::Failure;
use crate::package::{find_kept, published};
use crate::progress::{Progress, Work};
use crate::signing::Signer;
use crate::signing::verify_record::AlsoAccept;
use crate::target::Target;
use crate::warning::Warning;

/// An assignment as it is asked for.
#[derive(Clone, Debug)]
pub struct AssignRequest {
    pub package: PackageRef,
    pub to: AssigneeNames,
    /// Deploys again where the package is already.
    pub force: bool,
    /// Keys that may have signed the package.
    pub also_accept: AlsoAccept,
}

/// The result of an assignment. It serializes as the list of its assignees.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct AssignResult {
    pub assigned: AssignedTo,
    /// No device is told of an inactive package.
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
    pub outcome: Assigned,
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

/// Assigns a package to devices or groups. The key of `signer` is read if an assignee has a
/// Packcast agent.
///
/// Devices that cannot be assigned the package do not keep the others from it: see
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
            if !signer.keys().is_empty() {
                request.also_accept.vouch(target, &package, &signer).await?;
            }
            let warnings = audience::warn_of_devices(target, &package, &devices).await?;
            let by = By {
                signer: &signer,
                force: request.force,
            };
            let assigned = to_devices(target, &package, &devices, by, progress).await?;
            (AssignedTo::Devices(assigned), warnings)
        }
        Assignees::Groups(groups) => {
            signer.unlock()?;
            request.also_accept.vouch(target, &package, &signer).await?;
            let warnings = audience::warn_of_groups(&package, &groups);
            let by = By {
                signer: &signer,
                force: request.force,
            };
            let assigned = to_groups(target, &package, &groups, by).await?;
            (AssignedTo::Groups(assigned), warnings)
        }
    };
    Ok(AssignResult {
        assigned,
        is_active: package.active,
        warnings,
    })
}

/// The signer and the terms of an assignment.
#[derive(Clone, Copy)]
struct By<'a> {
    signer: &'a Signer,
    force: bool,
}

async fn to_groups(
    target: &Target,
    package: &PackageRecord,
    groups: &[GroupName],
    by: By<'_>,
) -> Result<Vec<GroupAssigned>, Failure> {
    let mut assigned = Vec::with_capacity(groups.len());
    for name in groups {
        let changed = target
            .records
            .assign_group(name, package, by.force, by.signer.signing())
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
    by: By<'_>,
    progress: &Progress,
) -> Result<Vec<DeviceAssigned>, Failure> {
    progress.begin(Work::Assigning, devices.len() as u64);
    let assigned = stream::iter(devices)
        .map(|device| async move {
            let signing = by.signer.signing();
            let assigned = target.records.assign(device, package, by.force, signing);
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
            "{refused} of {} devices cannot be assigned the package",
            devices.len()
        ))
        .hint("a device is known from its first check-in on; 'packcast device' lists them"))
    }
}

impl DeviceAssigned {
    fn new(device: DeviceId, outcome: Assigned) -> Self {
        let (result, attempt) = match &outcome {
            Assigned::New { attempt } => ("assigned", Some(*attempt)),
            Assigned::AlreadyOpen { attempt } => ("already-open", Some(*attempt)),
            Assigned::AlreadyDone(finished) => ("already-done", Some(finished.attempt)),
            Assigned::InHistory => ("in-history", None),
            Assigned::Deleted => ("deleted", None),
            Assigned::NotPublished => ("not-published", None),
            Assigned::NotForDevice => ("not-for-device", None),
            Assigned::UnknownDevice => ("unknown-device", None),
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
            Assigned::UnknownDevice
                | Assigned::NotForDevice
                | Assigned::NotPublished
                | Assigned::Deleted
        )
    }
}
