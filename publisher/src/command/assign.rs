//! `packcast assign`: a device is to have a package.

use packcast_protocol::{DeviceId, PackageRef};
use packcast_rollout::assign::Assigned;
use serde::Serialize;

use super::find;
use crate::Globals;
use crate::clock::now;
use crate::device_name::DeviceName;
use crate::failure::Failure;
use crate::output;

/// Assign a package to devices
///
/// They are told at their next check-in, if the package is active.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast assign vlc@3.0.21 --device web01
  packcast assign vlc@3.0.21 --device web01 --device ocs:web02-2026-03-04-05-06-07 --force")]
pub(crate) struct Args {
    /// The package: its id, or name@version
    #[arg(value_name = "PKG")]
    package: PackageRef,
    /// Assign to this device: its id, or its host name (repeatable)
    #[arg(long, required = true, value_name = "DEVICE")]
    device: Vec<DeviceName>,
    /// Deploy again although the device has the package
    #[arg(long)]
    force: bool,
}

/// What came of the assignment to one device.
#[derive(Serialize)]
struct Assignment {
    device: DeviceId,
    result: &'static str,
    attempt: Option<u32>,
    #[serde(skip)]
    text: String,
    #[serde(skip)]
    refused: bool,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let package = find(&target, &self.package).await?;
        // All are found before any is assigned: a name that is mistyped changes nothing.
        let mut devices = Vec::with_capacity(self.device.len());
        for name in &self.device {
            devices.push(name.find(&target).await?);
        }
        let mut assignments = Vec::with_capacity(devices.len());
        for device in devices {
            let assigned = target
                .records
                .assign(&device, &package, self.force, now())
                .await?;
            assignments.push(describe(device, &assigned));
        }
        output::result(globals.format, &assignments, |assignments| {
            output::table(
                ["DEVICE", "RESULT"],
                assignments
                    .iter()
                    .map(|a| [a.device.to_string(), a.text.clone()]),
            )
        });
        if !package.active {
            output::note("the package is not active: no device is told before 'packcast activate'");
        }
        let refused = assignments
            .iter()
            .filter(|assignment| assignment.refused)
            .count();
        if refused == 0 {
            return Ok(());
        }
        Err(Failure::failed(format!(
            "{refused} of {} devices cannot be assigned the package",
            assignments.len()
        ))
        .hint("a device is known from its first check-in on; 'packcast device' lists them"))
    }
}

fn describe(device: DeviceId, assigned: &Assigned) -> Assignment {
    let (result, attempt, text) = match assigned {
        Assigned::New { attempt: 1 } => ("assigned", Some(1), "assigned".to_owned()),
        Assigned::New { attempt } => (
            "assigned",
            Some(*attempt),
            format!("assigned again, attempt {attempt}"),
        ),
        Assigned::AlreadyOpen { attempt } => (
            "already-open",
            Some(*attempt),
            "was assigned already, and has not reported".to_owned(),
        ),
        Assigned::AlreadyDone(finished) => (
            "already-done",
            Some(finished.attempt),
            format!(
                "has it already ({} at {}); --force deploys again",
                finished.code,
                output::time(finished.finished_at)
            ),
        ),
        Assigned::InHistory => (
            "in-history",
            None,
            "has it in its history; --force deploys again".to_owned(),
        ),
        Assigned::Deleted => ("deleted", None, "the package was deleted".to_owned()),
        Assigned::NotForDevice => (
            "not-for-device",
            None,
            "is not among the devices that the package is meant for".to_owned(),
        ),
        Assigned::UnknownDevice => (
            "unknown-device",
            None,
            "not known: it has never checked in".to_owned(),
        ),
    };
    Assignment {
        device,
        result,
        attempt,
        text,
        refused: matches!(
            assigned,
            Assigned::UnknownDevice | Assigned::NotForDevice | Assigned::Deleted
        ),
    }
}
