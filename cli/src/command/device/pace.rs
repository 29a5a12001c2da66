//! `packcast device D --fragment-pause …`: how fast one device with a stock agent works.

use packcast_protocol::DeviceId;
use packcast_publisher::device::{self, DevicePace};
use packcast_publisher::device_name::DeviceName;
use packcast_publisher::{Failure, Target};
use packcast_rollout::PacingChange;

use crate::Globals;
use crate::command::pace;
use crate::output;

/// Changes a device's own pace, and says what it is from here on.
pub(super) async fn change(
    globals: &Globals,
    target: &Target,
    name: &DeviceName,
    change: &PacingChange,
) -> Result<(), Failure> {
    let paced = device::pace(target, name, change).await?;
    output::result(globals.format, &paced, text);
    if matches!(paced.device, DeviceId::Agent(_)) {
        output::note(
            "it runs packcast-agent, which does not pause: only strict makes a difference",
        );
    }
    Ok(())
}

fn text(paced: &DevicePace) -> String {
    let DevicePace { device, pace } = paced;
    if pace.is_empty() {
        return format!("device {device} goes at the pace of its groups, or of its target");
    }
    let words = pace::words(pace);
    format!("device {device}: {words}; it heeds that from its next contact on")
}
