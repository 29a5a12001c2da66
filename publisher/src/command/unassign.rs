//! `packcast unassign`: devices are not to have a package any more.

use futures_util::{StreamExt as _, TryFutureExt as _, TryStreamExt as _, stream};
use packcast_protocol::{DeviceId, GroupName, PackageRef};
use packcast_rollout::PackageRecord;
use packcast_rollout::unassign::Unassigned;
use serde::Serialize;

use super::each::{AT_ONCE, until_interrupted};
use super::find;
use super::group;
use super::recipients::{self, Recipients};
use super::signer::{KeyArg, Signer};
use crate::Globals;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::target::Target;

/// Take the assignment of a package back
///
/// Once this has returned, no device that was not told is told. One of our agents that was
/// told cancels at its next check-in, unless it has begun to act; a stock agent that was told
/// goes on, as nothing can stop it but 'packcast device DEVICE --cancel'.
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
    recipients: recipients::Args,
    #[command(flatten)]
    key: KeyArg,
}

/// What came of it for one device.
#[derive(Serialize)]
struct TakenBack {
    device: DeviceId,
    result: &'static str,
    #[serde(skip)]
    text: String,
    #[serde(skip)]
    refused: bool,
}

/// What came of it for one group.
#[derive(Serialize)]
struct TakenFromGroup {
    group: GroupName,
    result: &'static str,
    revision: u64,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let package = find(&target, &self.package).await?;
        let mut signer = self.key.signer(&target);
        match self.recipients.find(&target).await? {
            Recipients::Devices(devices) => {
                signer.unlock_for(&devices)?;
                from_devices(&target, &package, &devices, &signer, globals.format).await
            }
            Recipients::Groups(groups) => {
                signer.unlock()?;
                from_groups(&target, &package, &groups, &signer, globals.format).await
            }
        }
    }
}

async fn from_groups(
    target: &Target,
    package: &PackageRecord,
    groups: &[GroupName],
    signer: &Signer,
    format: Format,
) -> Result<(), Failure> {
    let mut taken = Vec::with_capacity(groups.len());
    for name in groups {
        let (records, signing) = (&target.records, signer.signing());
        let changed = records.unassign_group(name, package.id, signing).await;
        taken.push(TakenFromGroup {
            group: name.clone(),
            result: "taken-back",
            revision: changed.map_err(group::failure)?.state.revision,
        });
    }
    output::result(format, &taken, |taken| {
        output::table(
            ["GROUP", "RESULT"],
            taken.iter().map(|at| {
                let text = "taken back: nobody is told for it any more".to_owned();
                [at.group.to_string(), text]
            }),
        )
    });
    Ok(())
}

async fn from_devices(
    target: &Target,
    package: &PackageRecord,
    devices: &[DeviceId],
    signer: &Signer,
    format: Format,
) -> Result<(), Failure> {
    let bar = output::counting("taking back", devices.len() as u64);
    let work = stream::iter(devices)
        .map(|device| {
            let bar = &bar;
            async move {
                let (records, signing) = (&target.records, signer.signing());
                let unassigned = records.unassign(device, package, signing).await;
                bar.inc(1);
                unassigned.map(|what| describe(device.clone(), &what))
            }
        })
        .buffered(AT_ONCE)
        .try_collect()
        .map_err(Failure::from);
    let taken: Vec<TakenBack> = until_interrupted("devices", work, &bar).await?;
    bar.finish_and_clear();
    output::result(format, &taken, |taken| {
        output::table(
            ["DEVICE", "RESULT"],
            taken
                .iter()
                .map(|at| [at.device.to_string(), at.text.clone()]),
        )
    });
    let refused = taken.iter().filter(|at| at.refused).count();
    if refused == 0 {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "{refused} of {} devices have no assignment of their own to take back",
        taken.len()
    ))
    .hint("'packcast explain DEVICE PKG' tells why a device has a package"))
}

fn describe(device: DeviceId, what: &Unassigned) -> TakenBack {
    let (result, text) = match what {
        Unassigned::Dropped => ("dropped", "taken back; it was not told".to_owned()),
        Unassigned::Withdrawn => (
            "withdrawn",
            match &device {
                DeviceId::Agent(_) => "withdrawn: it cancels at its next check-in".to_owned(),
                DeviceId::Ocs(_) => {
                    "withdrawn: it was told, and goes on until it reports".to_owned()
                }
            },
        ),
        Unassigned::KeptByGroup(group) => (
            "kept-by-group",
            format!("taken back, but its group {group} has the package too"),
        ),
        Unassigned::AlreadyWithdrawn => ("already-withdrawn", "was withdrawn before".to_owned()),
        Unassigned::OnlyByGroup(group) => (
            "only-by-group",
            format!("has it only for its group {group}: unassign it there"),
        ),
        Unassigned::NotAssigned => ("not-assigned", "has no open assignment".to_owned()),
    };
    let refused = matches!(what, Unassigned::OnlyByGroup(_) | Unassigned::NotAssigned);
    TakenBack {
        device,
        result,
        text,
        refused,
    }
}
