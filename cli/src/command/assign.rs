//! `packcast assign`: devices are to have a package.

use packcast_protocol::PackageRef;
use packcast_publisher::Failure;
use packcast_publisher::assign::{self, AssignRequest, AssignedTo, DeviceAssigned, GroupAssigned};
use packcast_rollout::assign::Assigned;

use super::assignees;
use super::key_arg::{AcceptArg, KeyArg};
use crate::Globals;
use crate::output;
use crate::progress::{Bar, until_interrupted};

/// Assign a package to devices, to groups of devices, or to all
///
/// They are told at their next check-in, if the package is active. An assignment to a group
/// costs the same whatever the group's size. Assigning again tries again where it failed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast assign vlc@3.0.21 --device web01
  packcast assign vlc@3.0.21 --device web01 --device ocs:web02-2026-03-04-05-06-07 --force
  packcast assign vlc@3.0.21 --group lab --group office
  packcast assign vlc@3.0.21 --all
  packcast assign vlc@3.0.21 --group lab --accept-key KEY_OF_ANOTHER_PUBLISHER")]
pub(crate) struct Args {
    /// The package: its id, or name@version
    #[arg(value_name = "PKG")]
    package: PackageRef,
    #[command(flatten)]
    assignees: assignees::Args,
    /// Deploy again where the package is
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    key: KeyArg,
    #[command(flatten)]
    accept: AcceptArg,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let request = AssignRequest {
            package: self.package,
            to: self.assignees.names()?,
            force: self.force,
            also_accept: self.accept.also_accept(),
        };
        let (signer, bar) = (self.key.signer(&target), Bar::new());
        let progress = bar.progress();
        let work = Box::pin(assign::assign(&target, &request, signer, &progress));
        let result = until_interrupted("devices", work, &bar).await?;
        output::warn(&result.warnings);
        output::result(globals.format, &result, |result| match &result.assigned {
            AssignedTo::Devices(devices) => devices_text(devices),
            AssignedTo::Groups(groups) => groups_text(groups),
        });
        if !result.is_active {
            output::note("the package is not active: no device is told before 'packcast activate'");
        }
        result.complete()
    }
}

fn groups_text(groups: &[GroupAssigned]) -> String {
    output::table(
        ["GROUP", "DEVICES", "WRITE UNITS"],
        groups.iter().map(|at| {
            [
                at.group.to_string(),
                at.devices.to_string(),
                at.consumed_units.to_string(),
            ]
        }),
    )
}

fn devices_text(devices: &[DeviceAssigned]) -> String {
    let rows = devices.iter().map(|at| [at.device.to_string(), text(at)]);
    output::table(["DEVICE", "RESULT"], rows)
}

fn text(assigned: &DeviceAssigned) -> String {
    match &assigned.outcome {
        Assigned::New { attempt: 1 } => "assigned".to_owned(),
        Assigned::New { attempt } => format!("assigned again, attempt {attempt}"),
        Assigned::AlreadyOpen { .. } => "was assigned already, and has not reported".to_owned(),
        Assigned::AlreadyDone(finished) => format!(
            "has it already ({} at {}); --force deploys again",
            finished.code,
            output::time(finished.finished_at)
        ),
        Assigned::InHistory => "has it in its history; --force deploys again".to_owned(),
        Assigned::Deleted => "the package was deleted".to_owned(),
        Assigned::NotPublished => "the package is not published yet".to_owned(),
        Assigned::NotForDevice => {
            "is not among the devices that the package is meant for".to_owned()
        }
        Assigned::UnknownDevice => "not known: it has never checked in".to_owned(),
    }
}
