//! Devices, their packages and results, and what stock agents are ordered to do.

mod order;
mod pace;

use std::collections::BTreeMap;

use packcast_protocol::assignments::{Assignments, SignedAssignments};
use packcast_protocol::{DeviceId, GroupName, PackageId, UnixTime};
use packcast_rollout::{
    DeviceCommands, DeviceRecord, FinishedTask, OpenTask, PacingOverride, PackageRecord,
};
use packcast_store::records::Standing;
use serde::Serialize;

pub use self::order::{Ordered, order};
pub use self::pace::{DevicePace, pace};
use crate::device_name::DeviceName;
use crate::failure::Failure;
use crate::package::named;
use crate::signing::expiry;
use crate::target::Target;
use crate::warning::Warning;

/// The first devices of a target. It serializes as the list of their records.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Devices {
    /// In the order of their ids.
    pub devices: Vec<DeviceRecord>,
    /// The number of devices in the target.
    #[serde(skip)]
    pub known: u64,
}

/// A device with its packages and results.
#[derive(Debug, Serialize)]
pub struct DeviceDetails {
    pub device: DeviceRecord,
    pub groups: Vec<GroupName>,
    pub orders: DeviceCommands,
    /// The device's own pace, which replaces the pace of its groups.
    pub pace: PacingOverride,
    /// The slowest pace of its groups, setting by setting.
    pub pace_of_groups: PacingOverride,
    /// The end of the signature over its own packages and its groups.
    pub expires: Option<UnixTime>,
    pub open: Vec<OpenTask>,
    pub finished: Vec<FinishedTask>,
    /// The names of the packages, deleted ones included.
    pub names: BTreeMap<PackageId, String>,
    #[serde(skip)]
    pub warnings: Vec<Warning>,
}

/// Returns the first `limit` devices by their ids.
pub async fn list(target: &Target, limit: usize) -> Result<Devices, Failure> {
    Ok(Devices {
        devices: target.records.devices(limit).await?,
        known: target.records.size(&GroupName::all()).await?,
    })
}

/// Returns a device with its packages and results.
pub async fn show(target: &Target, name: &DeviceName) -> Result<DeviceDetails, Failure> {
    let id = name.find(target).await?;
    let (device, standing) = known(target, &id).await?;
    let finished = target.records.finished_tasks(&id).await?;
    let own = target.records.device_assignments(&id).await?;
    let groups: Vec<GroupName> = standing.memberships.groups().collect();
    let states = target.records.group_states(&groups).await?;
    let ids: Vec<PackageId> = standing
        .tasks
        .iter()
        .map(|task| task.package)
        .chain(finished.iter().map(|task| task.package))
        .collect();
    let packages = target.records.packages_of(&ids).await?;
    let names = packages
        .into_iter()
        .map(|package| (package.id, lasting_name(&package)))
        .collect();
    let mut details = DeviceDetails {
        device,
        groups: standing.memberships.joined().cloned().collect(),
        orders: standing.orders,
        pace: standing.pace,
        pace_of_groups: PacingOverride::slowest(states.iter().map(|state| &state.pace)),
        expires: own.as_ref().and_then(expires),
        open: standing.tasks,
        finished,
        names,
        warnings: Vec::new(),
    };
    if details.needs_signature() {
        let warning = expiry::warning("the device", details.expires);
        details.warnings.extend(warning);
    }
    Ok(details)
}

impl DeviceDetails {
    /// Tells whether the device acts on its assignments only while their signature is valid,
    /// and has some.
    pub fn needs_signature(&self) -> bool {
        let has_some = !self.groups.is_empty() || self.open.iter().any(|task| task.direct);
        has_some && matches!(self.device.device, DeviceId::Agent(_))
    }
}

/// Reads a device that has checked in.
async fn known(target: &Target, id: &DeviceId) -> Result<(DeviceRecord, Standing), Failure> {
    let mut standing = target.records.standing(id).await?;
    let device = standing.device.take().ok_or_else(|| {
        Failure::failed(format!("device {id} is not known"))
            .hint("a device is known from its first check-in on; 'packcast device' lists them")
    })?;
    Ok((device, standing))
}

/// Reads the end of a signature, whoever has signed.
fn expires(signed: &SignedAssignments) -> Option<UnixTime> {
    let assignments: Option<Assignments> = serde_json::from_str(signed.document()).ok();
    assignments.map(|assignments| assignments.expires())
}

/// Names a package, also a deleted one: its results stay.
fn lasting_name(package: &PackageRecord) -> String {
    if package.is_deleted() {
        format!("{} (deleted)", named(package))
    } else {
        named(package)
    }
}
