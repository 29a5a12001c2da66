//! `packcast wait`: waits until a package has ended on its devices.

use std::time::Duration;

use packcast_protocol::{GroupName, PackageRef};
use packcast_publisher::Failure;
use packcast_publisher::device_name::DeviceName;
use packcast_publisher::values::duration::{self, DAY_S};
use packcast_publisher::wait::{WaitCounts, WaitEnd, WaitRequest, wait};

use crate::Globals;
use crate::output::{self, Format};

/// Wait until a package has ended on its devices
///
/// Devices that run another system do not count. A blocked device, and a device that does not check
/// in, have not finished.
///
/// The exit code is 0 if the package succeeded on all devices, 1 if all devices have finished and the
/// package failed on some or was cancelled, 3 if the package is assigned to none of the devices, and
/// 75 after the timeout.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast wait vlc@3.0.21
  packcast wait vlc@3.0.21 --group lab --timeout 30min")]
pub(crate) struct Args {
    /// Package id, or name@version
    package: PackageRef,
    /// Wait for this device, by its id or host name (repeatable)
    ///
    /// By default, the command waits for all devices of the package, with the devices of its
    /// groups.
    #[arg(long, value_name = "DEVICE")]
    device: Vec<DeviceName>,
    /// Wait for the devices of this group (repeatable)
    #[arg(long, value_name = "GROUP")]
    group: Vec<GroupName>,
    /// Give up after this time
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "2h",
        value_parser = duration::seconds(0, 30 * DAY_S)
    )]
    timeout: u64,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let request = WaitRequest {
            package: self.package,
            devices: self.device,
            groups: self.group,
            timeout: Duration::from_secs(self.timeout),
        };
        let is_text = globals.format == Format::Text;
        let on_change = |counts: &WaitCounts| {
            if is_text && counts.unfinished > 0 {
                output::note(&progress(counts));
            }
        };
        let end = wait(&target, &request, on_change).await?;
        output::result(globals.format, &end, text);
        end.complete()
    }
}

fn progress(counts: &WaitCounts) -> String {
    let finished = counts.devices - counts.unfinished;
    let failed = match counts.failed {
        0 => String::new(),
        failed => format!(", {failed} failed"),
    };
    format!(
        "{finished} of {} devices have finished{failed}",
        counts.devices
    )
}

fn text(end: &WaitEnd) -> String {
    let counts = &end.counts;
    let number = |devices: u64| match devices {
        0 => String::new(),
        devices => devices.to_string(),
    };
    output::fields([
        ("package", format!("{} {}", end.package, end.name)),
        ("devices", counts.devices.to_string()),
        ("succeeded", counts.succeeded.to_string()),
        ("failed", number(counts.failed)),
        ("cancelled", number(counts.cancelled)),
        ("not applicable", number(counts.not_applicable)),
        ("unfinished", number(counts.unfinished)),
    ])
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn progress_names_failures() {
        let mut counts = WaitCounts {
            devices: 9,
            unfinished: 5,
            ..WaitCounts::default()
        };
        assert_snapshot!(progress(&counts), @"4 of 9 devices have finished");
        counts.failed = 2;
        assert_snapshot!(progress(&counts), @"4 of 9 devices have finished, 2 failed");
    }
}
