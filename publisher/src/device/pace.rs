//! The pace of one device with a stock agent.

use packcast_protocol::DeviceId;
use packcast_rollout::{PacingChange, PacingOverride};
use serde::Serialize;

use super::known;
use crate::device_name::DeviceName;
use crate::failure::Failure;
use crate::target::Target;

/// A device's own pace.
#[derive(Debug, Serialize)]
pub struct DevicePace {
    pub device: DeviceId,
    pub pace: PacingOverride,
}

/// Changes a device's own pace, and returns the pace after the change.
pub async fn pace(
    target: &Target,
    name: &DeviceName,
    change: &PacingChange,
) -> Result<DevicePace, Failure> {
    let device = name.find(target).await?;
    known(target, &device).await?;
    target.records.set_device_pacing(&device, change).await?;
    let pace = target.records.standing(&device).await?.pace;
    Ok(DevicePace { device, pace })
}
