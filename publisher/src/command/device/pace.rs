//! `packcast device D --fragment-pause …`: how fast one device with a stock agent works.

use packcast_protocol::DeviceId;
use packcast_rollout::{PaceChange, PaceOverride};
use serde::Serialize;

use crate::Globals;
use crate::command::pace;
use crate::failure::Failure;
use crate::output;
use crate::target::Target;

#[derive(Serialize)]
struct Paced<'a> {
    device: &'a DeviceId,
    pace: PaceOverride,
}

/// Changes a device's own pace, and says what it is from here on.
pub(super) async fn change(
    globals: &Globals,
    target: &Target,
    device: &DeviceId,
    change: &PaceChange,
) -> Result<(), Failure> {
    target.records.pace_device(device, change).await?;
    let pace = target.records.standing(device).await?.pace;
    let paced = Paced { device, pace };
    output::result(globals.format, &paced, |_| text(device, &pace));
    if matches!(device, DeviceId::Agent(_)) {
        output::note(
            "it runs packcast-agent, which does not pause: only strict makes a difference",
        );
    }
    Ok(())
}

fn text(device: &DeviceId, pace: &PaceOverride) -> String {
    if pace.is_empty() {
        return format!("device {device} goes at the pace of its groups, or of its target");
    }
    let words = pace::words(pace);
    format!("device {device}: {words}; it heeds that from its next contact on")
}
