//! `packcast device D --fragment-pause …`: the pacing of one device with an OCS agent.

use packcast_protocol::DeviceId;
use packcast_publisher::device::{self, DevicePacing};
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

fn text(changed: &DevicePacing) -> String {
    let DevicePacing { device, pace } = changed;
    if pace.is_empty() {
        return format!("device {device} uses the pacing of its groups, or of the target");
    }
    let words = pacing::words(pace);
    format!("device {device}: {words}; takes effect at its next check-in")
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use packcast_rollout::PacingOverride;
    use serde_json::json;

    use super::*;
    use crate::fixtures::{self, OCS};

    fn changed(pace: PacingOverride) -> DevicePacing {
        DevicePacing {
            device: OCS.parse().unwrap(),
            pace,
        }
    }

    #[test]
    fn the_new_pacing_is_printed() {
        let pacing = fixtures::read(json!({ "fragment_pause_s": 2, "cycle_pause_s": 60 }));
        assert_snapshot!(text(&changed(pacing)), @"device ocs:web01-2026-03-04-05-06-07: fragment pause 2s, cycle pause 60s; takes effect at its next check-in");
        assert_snapshot!(text(&changed(PacingOverride::default())), @"device ocs:web01-2026-03-04-05-06-07 uses the pacing of its groups, or of the target");
        assert_snapshot!(NO_PAUSES, @"the device has a Packcast agent, which makes no pauses: only --strict has an effect");
    }
}
