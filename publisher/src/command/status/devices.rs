//! `packcast status PKG --devices`: each device and how far it is.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::DeviceId;
use packcast_rollout::explain::unreached;
use packcast_rollout::{GroupState, PackageRecord};
use packcast_store::records::DeviceState;
use serde::Serialize;

use crate::Globals;
use crate::command::each::AT_ONCE;
use crate::failure::Failure;
use crate::output;
use crate::target::Target;

/// How many devices are asked for in one request.
const BATCH: usize = 100;

/// A device and how far it is with the package.
#[derive(Serialize)]
struct DeviceProgress {
    device: DeviceId,
    state: DeviceState,
}

pub(super) async fn list(
    globals: &Globals,
    target: &Target,
    package: &PackageRecord,
) -> Result<(), Failure> {
    let mut states = target.records.devices_of(package.id).await?;
    add_unreached(target, package, &mut states).await?;
    let devices: Vec<DeviceProgress> = states
        .into_iter()
        .map(|(device, state)| DeviceProgress { device, state })
        .collect();
    output::result(globals.format, &devices, |devices| {
        output::table(
            ["DEVICE", "STATE"],
            devices
                .iter()
                .map(|at| [at.device.to_string(), at.state.to_string()]),
        )
    });
    Ok(())
}

/// Adds the members of the package's groups that have not checked in since they were to have it.
async fn add_unreached(
    target: &Target,
    package: &PackageRecord,
    states: &mut BTreeMap<DeviceId, DeviceState>,
) -> Result<(), Failure> {
    let names = target.records.groups_with(package.id).await?;
    let groups = target.records.group_states(&names).await?;
    let mut members = Vec::new();
    for state in &groups {
        members.extend(target.records.members(&state.group).await?);
    }
    members.sort_unstable();
    members.dedup();
    members
        .retain(|device| !states.contains_key(device) && package.audience.includes_device(device));
    let found: Vec<Vec<DeviceId>> = stream::iter(members.chunks(BATCH))
        .map(|devices| unreached_among(target, package, &groups, devices))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let found = found.into_iter().flatten();
    states.extend(found.map(|device| (device, DeviceState::Unreached)));
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
