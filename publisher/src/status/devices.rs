//! The state of each device of a package.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::state::exchange::WaitingPackage;
use packcast_protocol::{DeviceId, GroupName, PackageId, PackageRef, ResultCode, UnixTime};
use packcast_rollout::explain::unreached;
use packcast_rollout::{Exclusion, FinishedTask, GroupState, PackageRecord};
use packcast_store::records::DeploymentState;
use serde::Serialize;

use super::failures::last_line;
use crate::concurrency::AT_ONCE;
use crate::failure::Failure;
use crate::known_group::devices_of;
use crate::package::{find, warn_of_packages};
use crate::target::Target;

/// The number of devices in one request.
const BATCH: usize = 100;

/// A device and its state with a package.
#[derive(Debug, Serialize)]
pub struct DeviceProgress {
    pub device: DeviceId,
    /// Empty if the device reports none, or has no record.
    pub host_name: String,
    pub state: DeploymentState,
    /// The result, if only devices with one outcome are listed.
    #[serde(flatten)]
    pub result: Option<DeviceResult>,
    /// The device is blocked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excluded: Option<Exclusion>,
    /// Reason why the device does not begin, by its own report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits: Option<WaitingPackage>,
}

/// Result of a device's latest attempt at a package.
#[derive(Debug, Serialize)]
pub struct DeviceResult {
    pub code: ResultCode,
    /// The last line of the output, or else the reason that the agent gives.
    pub line: Option<String>,
    /// Time of the result by the device's clock.
    pub finished_at: UnixTime,
}

/// Returns the devices of a package, sorted by their host names. Members of its groups that have not
/// checked in since the assignment are included. Changes of the last seconds may be missing.
///
/// If `only` is given, the list has the devices in that state; if the state is an outcome, with their
/// results. If `group` is given, the list has the devices of this group.
pub async fn devices(
    target: &Target,
    package: &PackageRef,
    only: Option<DeploymentState>,
    group: Option<&GroupName>,
) -> Result<Vec<DeviceProgress>, Failure> {
    let package = find(target, package).await?;
    warn_of_packages(target, std::slice::from_ref(&package)).await?;
    let mut states = states(target, &package, only).await?;
    if let Some(group) = group {
        keep(&mut states, &devices_of(target, group).await?);
    }
    let ids: Vec<DeviceId> = states.keys().cloned().collect();
    let mut results = match only {
        Some(state) if state.is_outcome() => target.records.results_of(package.id, &ids).await?,
        _ => BTreeMap::new(),
    };
    let records = target.records.device_records(&ids).await?;
    let mut host_names: BTreeMap<DeviceId, String> = records
        .into_iter()
        .map(|(record, _)| (record.device, record.host_name))
        .collect();
    let mut waits = waits(target, package.id, &states).await?;
    let mut all_excluded = target.records.excluded_devices().await?;
    let devices = states.into_iter().map(|(device, state)| DeviceProgress {
        host_name: host_names.remove(&device).unwrap_or_default(),
        excluded: all_excluded.remove(&device).map(|found| found.exclusion),
        waits: waits.remove(&device),
        result: results.remove(&device).map(DeviceResult::from),
        device,
        state,
    });
    let mut devices: Vec<DeviceProgress> = devices.collect();
    devices.sort_by_cached_key(|at| (at.host_name.to_lowercase(), at.device.clone()));
    Ok(devices)
}

impl From<FinishedTask> for DeviceResult {
    fn from(result: FinishedTask) -> Self {
        Self {
            line: last_line(&result).map(ToOwned::to_owned),
            code: result.code,
            finished_at: result.finished_at,
        }
    }
}

/// Returns the state of each device of a package, or of those in one state.
pub(crate) async fn states(
    target: &Target,
    package: &PackageRecord,
    only: Option<DeploymentState>,
) -> Result<BTreeMap<DeviceId, DeploymentState>, Failure> {
    if let Some(state) = only.filter(|state| *state != DeploymentState::Unreached) {
        let devices: BTreeSet<DeviceId> = target.records.devices_in(package.id, state).await?;
        return Ok(devices.into_iter().map(|device| (device, state)).collect());
    }
    let mut states = target.records.devices_of(package.id).await?;
    add_unreached(target, package, &mut states).await?;
    if only.is_some() {
        states.retain(|_, state| *state == DeploymentState::Unreached);
    }
    Ok(states)
}

/// Keeps the states of these devices, which are in the order of their ids.
pub(super) fn keep(states: &mut BTreeMap<DeviceId, DeploymentState>, devices: &[DeviceId]) {
    states.retain(|device, _| devices.binary_search(device).is_ok());
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
    let found = target.records.waits(&announced).await?;
    let of_package = found.into_iter().filter_map(|(device, waits)| {
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
    members.retain(|device| !states.contains_key(device) && package.is_for(device));
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
