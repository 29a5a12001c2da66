//! Details of a group: its packages and its devices.

use packcast_protocol::{DeviceId, GroupName, PackageId};
use packcast_rollout::{GroupState, PackageRecord};
use serde::Serialize;

use super::of_all_or_known;
use crate::failure::Failure;
use crate::package::warn_of_packages;
use crate::target::Target;

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
    let packages = target.records.packages_of(&ids).await?;
    warn_of_packages(target, &packages).await?;
    Ok(GroupDetails {
        size: target.records.size(group).await?,
        packages,
        devices,
        state,
    })
}
