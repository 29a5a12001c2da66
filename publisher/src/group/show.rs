//! Details of a group: its packages and its devices.

use packcast_protocol::{DeviceId, GroupName, PackageId, UnixTime};
use packcast_rollout::{GroupState, PackageRecord};
use serde::Serialize;

use super::{expires, expiry_warning, of_all_or_known};
use crate::failure::Failure;
use crate::target::Target;
use crate::warning::Warning;

/// A group with its packages and, on request, its devices.
#[derive(Debug, Serialize)]
pub struct GroupDetails {
    #[serde(flatten)]
    pub state: GroupState,
    pub size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub devices: Option<Vec<DeviceId>>,
    /// The records of its packages. Packages without a record are left out.
    #[serde(skip)]
    pub packages: Vec<PackageRecord>,
    #[serde(skip)]
    pub warnings: Vec<Warning>,
}

/// Returns a group, with its devices if `with_devices` is set.
pub async fn show(
    target: &Target,
    group: &GroupName,
    with_devices: bool,
) -> Result<GroupDetails, Failure> {
    let state = of_all_or_known(target, group).await?;
    let ids: Vec<PackageId> = state.assignments.iter().map(|a| a.package).collect();
    let devices = if with_devices {
        Some(target.records.members(group).await?)
    } else {
        None
    };
    Ok(GroupDetails {
        size: target.records.size(group).await?,
        packages: target.records.packages_of(&ids).await?,
        devices,
        warnings: expiry_warning(&state, &target.name).into_iter().collect(),
        state,
    })
}

impl GroupDetails {
    /// Returns the end of the validity of the group's signed assignments; `None` if they are not
    /// signed.
    pub fn expires(&self) -> Option<UnixTime> {
        expires(&self.state)
    }
}
