//! `packcast device`: lists, shows, blocks and removes devices, and sends commands to OCS agents.

mod block;
pub(super) mod commands;
mod facts;
pub(super) mod list;
mod machine;
mod pacing;
mod remove;
mod replace;
pub(super) mod show;

use clap::Subcommand;
use packcast_publisher::Failure;
use packcast_publisher::device::exclusion::ExclusionChange;
use packcast_publisher::device_name::DeviceName;
use packcast_rollout::{DeviceCommand, ExclusionReason};

use crate::Globals;
use crate::confirm::ConfirmArgs;

/// List, show, block and remove devices, and send commands to OCS agents
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  packcast device list
  packcast device show web01
  packcast device block web01 --reason 'stolen on 2026-11-20'
  packcast device remove --not-seen 90d --dry-run
  packcast device drop web01")]
pub(crate) enum Args {
    /// List devices
    #[command(
        visible_alias = "ls",
        after_help = "\
Examples:
  packcast device list
  packcast device list --lacks vlc@3.0.21 --platform linux
  packcast device list --not-seen 30d --sort last-seen
  packcast device list --excluded"
    )]
    List(list::Args),
    /// Show a device with its packages and results
    #[command(after_help = "\
Examples:
  packcast device show web01
  packcast device show ocs:web01-2026-03-04-05-06-07 --format json")]
    Show(OneDevice),
    /// Refuse the requests of devices until they are unblocked
    ///
    /// Once the command has returned, no package is announced to the devices. They keep their
    /// groups, assignments and results. A Packcast agent finishes the package that it is working
    /// on, begins no other, keeps its results, and reports them after it is unblocked. An OCS agent
    /// stops its downloads at its next check-in.
    ///
    /// A stolen device may also hold an enrolment token, with which it can enrol under another id:
    /// replace the token as well.
    #[command(after_help = "\
Examples:
  packcast device block web01
  packcast device block web01 web02 --reason 'stolen on 2026-11-20'")]
    Block {
        #[command(flatten)]
        devices: SomeDevices,
        /// Reason to show to administrators: at most 120 bytes
        #[arg(long, value_name = "TEXT")]
        reason: Option<ExclusionReason>,
        #[command(flatten)]
        confirm: ConfirmArgs,
    },
    /// Admit blocked or removed devices again
    ///
    /// A blocked device continues with its groups, assignments and results. A removed device must be
    /// named by its id. It comes back as a new device at its next check-in.
    #[command(after_help = "\
Examples:
  packcast device unblock web01
  packcast device unblock ocs:web01-2026-03-04-05-06-07")]
    Unblock {
        #[command(flatten)]
        devices: SomeDevices,
        #[command(flatten)]
        confirm: ConfirmArgs,
    },
    /// Remove devices that no longer exist
    ///
    /// A removed device leaves its groups, all counts and all lists, and its results are deleted.
    /// Its requests are refused: its pass or its enrolment token may still be in a disk image, so it
    /// comes back only after 'packcast device unblock'. If the command is interrupted, run it again
    /// to complete the removal.
    #[command(
        visible_alias = "rm",
        after_help = "\
Examples:
  packcast device remove web01
  packcast device remove --not-seen 90d --dry-run
  packcast device remove --not-seen 90d --yes"
    )]
    Remove(remove::Args),
    /// Let a device take the place of another one, after a new installation
    ///
    /// A machine that was installed again checks in as a new device with the same host name. The new
    /// device joins the groups of the old one, and is assigned the packages that were assigned to the
    /// old one itself and that it has not finished. The old device is removed as with 'packcast
    /// device remove'. If the command is interrupted, run it again.
    ///
    /// Both devices must have the same host name. If both agents have reported the id of the hardware,
    /// it must be the same, too. The old device must not have checked in since the first check-in of
    /// the new one.
    #[command(after_help = "\
Examples:
  packcast device replace ocs:pc-2026-03-04-05-06-07 \\
    ocs:pc-2026-11-20-08-30-00 --dry-run
  packcast device replace ocs:pc-2026-03-04-05-06-07 ocs:pc-2026-11-20-08-30-00")]
    Replace(replace::Args),
    /// Restart the downloads of an OCS Unix agent
    ///
    /// Helps if the agent has stopped downloading, or waits for a command that does not end. At its
    /// next check-in the agent kills its download process, and at the check-in after that the agent
    /// resumes. A command that is already running keeps running, and the agent runs it again later.
    #[command(after_help = "\
Examples:
  packcast device restart-download web01")]
    RestartDownload(OneDevice),
    /// Make an OCS Unix agent drop the packages that it has not begun to deploy
    ///
    /// Dropped packages that are no longer assigned are recorded as cancelled. Packages that are
    /// still assigned are announced again. A Packcast agent needs no command: the agent cancels
    /// unassigned packages at its next check-in.
    #[command(after_help = "\
Examples:
  packcast device drop web01")]
    Drop(OneDevice),
    /// Set the pacing of a device with an OCS agent
    ///
    /// The settings replace those of the device's groups.
    #[command(after_help = "\
Examples:
  packcast device pacing web01 --fragment-pause 2s --cycle-pause 5s
  packcast device pacing web01 --reset")]
    Pacing(pacing::Args),
}

#[derive(Debug, clap::Args)]
pub(crate) struct OneDevice {
    /// Device id (key:<agent id> or ocs:<DEVICEID>), or a host name that no other device has
    device: DeviceName,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SomeDevices {
    /// Device id (key:<agent id> or ocs:<DEVICEID>), or a host name that no other device has
    #[arg(required = true)]
    device: Vec<DeviceName>,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let format = globals.format;
        match self {
            Self::List(args) => args.run(&target, globals).await,
            Self::Show(one) => show::print(&target, &one.device, format).await,
            Self::Block {
                devices,
                reason,
                confirm,
            } => {
                let change = ExclusionChange::Block { reason };
                block::change(&target, &devices.device, change, confirm, globals).await
            }
            Self::Unblock { devices, confirm } => {
                let change = ExclusionChange::Unblock;
                block::change(&target, &devices.device, change, confirm, globals).await
            }
            Self::Remove(args) => args.run(&target, format).await,
            Self::Replace(args) => args.run(&target, globals).await,
            Self::RestartDownload(one) => {
                let command = DeviceCommand::RestartDownload;
                commands::send(globals, &target, &one.device, command).await
            }
            Self::Drop(one) => {
                commands::send(globals, &target, &one.device, DeviceCommand::Drop).await
            }
            Self::Pacing(args) => args.run(&target, format).await,
        }
    }
}
