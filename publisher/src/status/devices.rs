//! The state of each device of a package.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::state::exchange::WaitingPackage;
use packcast_protocol::{DeviceId, PackageId, PackageRef};
use packcast_rollout::explain::unreached;
use packcast_rollout::{Exclusion, GroupState, PackageRecord};
use packcast_store::records::DeploymentState;
use serde::Serialize;

use crate::concurrency::AT_ONCE;
use crate::failure::Failure;
use crate::package::{find, warn_of_packages};
use crate::target::Target;

/// The number of devices in one request.
const BATCH: usize = 100;

/// A device and its state with a package.
#[derive(Debug, Serialize)]
pub struct DeviceProgress {
    pub device: DeviceId,
    pub state: DeploymentState,
    /// The device is blocked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excluded: Option<Exclusion>,
    /// Reason why the device does not begin, by its own report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits: Option<WaitingPackage>,
}

/// Returns the devices of a package. Members of its groups that have not checked in since the
/// assignment are included. Changes of the last seconds may be missing.
pub async fn devices(
    target: &Target,
    package: &PackageRef,
) -> Result<Vec<DeviceProgress>, Failure> {
    let package = find(target, package).await?;
    warn_of_packages(target, std::slice::from_ref(&package)).await?;
    let mut states = target.records.devices_of(package.id).await?;
    add_unreached(target, &package, &mut states).await?;
    let mut waits = waits(target, package.id, &states).await?;
    let mut all_excluded = target.records.excluded_devices().await?;
    let devices = states.into_iter().map(|(device, state)| DeviceProgress {
        excluded: all_excluded.remove(&device).map(|found| found.exclusion),
        waits: waits.remove(&device),
        device,
        state,
    });
    Ok(devices.collect())
}

/// Returns the reason of each device with which the announced package waits.
async fn waits(
    target: &Target,
    package: PackageId,
    states: &BTreeMap<DeviceId, DeploymentState>,
) -> Result<BTreeMap<DeviceId, WaitingPackage>, Failure> {
    let announced = states
        .iter()
        .filter(|(_, state)| **state == DeploymentState::Announced);
    let announced: Vec<DeviceId> = announced.map(|(device, _)| device.clone()).collect();
    let found: Vec<_> = stream::iter(announced.chunks(BATCH))
        .map(|devices| target.records.waits(devices))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let of_package = found.into_iter().flatten().filter_map(|(device, waits)| {
        let waiting = waits
            .into_iter()
            .find(|waiting| waiting.package == package)?;
        Some((device, waiting))
    });
    Ok(of_package.collect())
}

/// Adds the members of the package's groups that have not checked in since the assignment.
async fn add_unreached(
    target: &Target,
    package: &PackageRecord,
    states: &mut BTreeMap<DeviceId, DeploymentState>,
) -> Result<(), Failure> {
    let names = target.records.groups_with(package.id).await?;
    let groups = target.records.group_states(&names).await?;
    let mut members = Vec::new();
    for state in &groups {
        members.extend(target.records.members(&state.group).await?);
    }
    members.sort_unstable();
    // A device may be a member of several groups that have the package.
    members.dedup();
    members
        .retain(|device| !states.contains_key(device) && package.audience.includes_device(device));
    let found: Vec<Vec<DeviceId>> = stream::iter(members.chunks(BATCH))
        .map(|devices| unreached_among(target, package, &groups, devices))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let found = found.into_iter().flatten();
    states.extend(found.map(|device| (device, DeploymentState::Unreached)));
    Ok(())
}

async fn unreached_among(
    target: &Target,
    package: &PackageRecord,
    groups: &[GroupState],
    devices: &[DeviceId],
) -> Result<Vec<DeviceId>, Failure> {
    let memberships = target.records.memberships(devices).await?;
    let unreached = memberships
        .into_iter()
        .filter(|(_, memberships)| unreached(memberships, groups, package.id).is_some());
    Ok(unreached.map(|(device, _)| device).collect())
}
