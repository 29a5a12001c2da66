//! `packcast device pacing`: the pacing of one device with an OCS agent.

use packcast_protocol::DeviceId;
use packcast_publisher::device::{self, DevicePacing};
use packcast_publisher::device_name::DeviceName;
use packcast_publisher::{Failure, Target};

use crate::command::pacing;
use crate::output::{self, Format};

const NO_PAUSES: &str =
    "the device has a Packcast agent, which makes no pauses: only --strict has an effect";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Device id (key:<agent id> or ocs:<DEVICEID>), or a host name that no other device has
    device: DeviceName,
    #[command(flatten)]
    settings: pacing::Settings,
    /// Remove the device's other pacing settings
    #[arg(long)]
    reset: bool,
}

impl Args {
    pub(crate) async fn run(self, target: &Target, format: Format) -> Result<(), Failure> {
        let Some(change) = self.settings.change(self.reset) else {
            return Err(nothing_to_change(&self.device));
        };
        let changed = device::pace(target, &self.device, &change).await?;
        output::result(format, &changed, text);
        if matches!(changed.device, DeviceId::Agent(_)) {
            output::note(NO_PAUSES);
        }
        Ok(())
    }
}

fn nothing_to_change(device: &DeviceName) -> Failure {
    Failure::usage(format!(
        "cannot set the pacing of device {device}: no pacing option is given"
    ))
    .hint(format!(
        "run 'packcast device show {device}' to see the pacing of the device"
    ))
}

fn text(changed: &DevicePacing) -> String {
    let DevicePacing { device, pacing } = changed;
    if pacing.is_empty() {
        return format!("device {device} uses the pacing of its groups, or of the target");
    }
    let words = pacing::words(pacing);
    format!("device {device}: {words}; takes effect at its next check-in")
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use packcast_rollout::PacingOverride;
    use serde_json::json;

    use super::*;
    use crate::fixtures::{self, OCS};

    fn changed(pacing: PacingOverride) -> DevicePacing {
        DevicePacing {
            device: OCS.parse().unwrap(),
            pacing,
        }
    }

    #[test]
    fn the_new_pacing_is_printed() {
        let pacing = fixtures::read(json!({ "fragment_pause_s": 2, "cycle_pause_s": 60 }));
        assert_snapshot!(text(&changed(pacing)), @"device ocs:web01-2026-03-04-05-06-07: fragment pause 2s, cycle pause 60s; takes effect at its next check-in");
        assert_snapshot!(text(&changed(PacingOverride::default())), @"device ocs:web01-2026-03-04-05-06-07 uses the pacing of its groups, or of the target");
        assert_snapshot!(NO_PAUSES, @"the device has a Packcast agent, which makes no pauses: only --strict has an effect");
    }

    #[test]
    fn a_command_without_a_setting_names_the_command_that_shows_them() {
        let failure = nothing_to_change(&"web01".parse().unwrap());
        assert_snapshot!(failure, @"
        cannot set the pacing of device web01: no pacing option is given
        hint: run 'packcast device show web01' to see the pacing of the device
        ");
    }
}
