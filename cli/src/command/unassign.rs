//! `packcast unassign`: devices are not to have a package any more.

use packcast_protocol::{DeviceId, PackageRef};
use packcast_publisher::Failure;
use packcast_publisher::unassign::{self, DeviceUnassigned, GroupUnassigned, UnassignedFrom};
use packcast_rollout::unassign::Unassigned;

use super::assignees;
use super::key_arg::KeyArg;
use crate::Globals;
use crate::output;
use crate::progress::{Bar, until_interrupted};

/// Take the assignment of a package back
///
/// Once this has returned, no device that was not told is told. One of our agents that was
/// told cancels at its next check-in, unless it has begun to act; a stock agent that was told
/// goes on, as nothing can stop it but 'packcast device DEVICE --drop'.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast unassign vlc@3.0.21 --group lab
  packcast unassign vlc@3.0.21 --device web01")]
pub(crate) struct Args {
    /// The package: its id, or name@version
    #[arg(value_name = "PKG")]
    package: PackageRef,
    #[command(flatten)]
    assignees: assignees::Args,
    #[command(flatten)]
    key: KeyArg,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let from = self.assignees.names()?;
        let (signer, bar) = (self.key.signer(&target), Bar::new());
        let progress = bar.progress();
        let work = Box::pin(unassign::unassign(
            &target,
            &self.package,
            &from,
            signer,
            &progress,
        ));
        let result = until_interrupted("devices", work, &bar).await?;
        output::result(globals.format, &result, |result| match result {
            UnassignedFrom::Devices(devices) => devices_text(devices),
            UnassignedFrom::Groups(groups) => groups_text(groups),
        });
        result.complete()
    }
}

fn groups_text(groups: &[GroupUnassigned]) -> String {
    let rows = groups.iter().map(|at| {
        let text = "taken back: nobody is told for it any more".to_owned();
        [at.group.to_string(), text]
    });
    output::table(["GROUP", "RESULT"], rows)
}

fn devices_text(devices: &[DeviceUnassigned]) -> String {
    let rows = devices.iter().map(|at| [at.device.to_string(), text(at)]);
    output::table(["DEVICE", "RESULT"], rows)
}

fn text(unassigned: &DeviceUnassigned) -> String {
    match &unassigned.outcome {
        Unassigned::Dropped => "taken back; it was not told".to_owned(),
        Unassigned::Withdrawn => match &unassigned.device {
            DeviceId::Agent(_) => "withdrawn: it cancels at its next check-in".to_owned(),
            DeviceId::Ocs(_) => "withdrawn: it was told, and goes on until it reports".to_owned(),
        },
        Unassigned::KeptByGroup(group) => {
            format!("taken back, but its group {group} has the package too")
        }
        Unassigned::AlreadyWithdrawn => "was withdrawn before".to_owned(),
        Unassigned::OnlyByGroup(group) => {
            format!("has it only for its group {group}: unassign it there")
        }
        Unassigned::NotAssigned => "has no open assignment".to_owned(),
    }
}
