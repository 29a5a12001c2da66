//! The pacing of one device with an OCS agent.

use packcast_protocol::DeviceId;
use packcast_rollout::{PacingChange, PacingOverride};
use serde::Serialize;

use super::known;
use crate::device_name::DeviceName;
use crate::failure::Failure;
use crate::target::Target;

/// The pacing settings of one device, which replace the settings of its groups.
#[derive(Debug, Serialize)]
pub struct DevicePacing {
    pub device: DeviceId,
    pub pacing: PacingOverride,
}

/// Changes the pacing settings of a device, and returns its settings after the change.
pub async fn pace(
    target: &Target,
    name: &DeviceName,
    change: &PacingChange,
) -> Result<DevicePacing, Failure> {
    let device = name.find(target).await?;
    known(target, &device).await?;
    let by = target.changed_by();
    let pacing = target.records.set_device_pacing(&device, change, &by);
    let pacing = pacing.await?;
    Ok(DevicePacing { device, pacing })
}
