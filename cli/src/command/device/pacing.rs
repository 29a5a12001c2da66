//! `packcast device D --fragment-pause …`: the pacing of one device with an OCS agent.

use packcast_protocol::DeviceId;
use packcast_publisher::device::{self, DevicePace};
use packcast_publisher::device_name::DeviceName;
use packcast_publisher::{Failure, Target};
use packcast_rollout::PacingChange;

use crate::Globals;
use crate::command::pacing;
use crate::output;

const NO_PAUSES: &str =
    "the device has a Packcast agent, which makes no pauses: only --strict has an effect";

/// Changes the device's own pacing, and prints the result.
pub(super) async fn change(
    globals: &Globals,
    target: &Target,
    name: &DeviceName,
    change: &PacingChange,
) -> Result<(), Failure> {
    let changed = device::pace(target, name, change).await?;
    output::result(globals.format, &changed, text);
    if matches!(changed.device, DeviceId::Agent(_)) {
        output::note(NO_PAUSES);
    }
    Ok(())
}

fn text(changed: &DevicePace) -> String {
    let DevicePace { device, pace } = changed;
    if pace.is_empty() {
        return format!("device {device} uses the pacing of its groups, or of the target");
    }
    let words = pacing::words(pace);
    format!("device {device}: {words}; in force from its next check-in on")
}
