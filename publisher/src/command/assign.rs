//! `packcast assign`: devices are to have a package.

mod audience;

use futures_util::{StreamExt as _, TryFutureExt as _, TryStreamExt as _, stream};
use packcast_protocol::{DeviceId, GroupName, PackageRef};
use packcast_rollout::PackageRecord;
use packcast_rollout::assign::Assigned;
use serde::Serialize;

use super::each::{AT_ONCE, until_interrupted};
use super::recipients::{self, Recipients};
use super::signer::{KeyArg, Signer};
use super::vouch::VouchArg;
use super::{find_kept, group, published};
use crate::Globals;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::target::Target;

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
  packcast assign vlc@3.0.21 --group lab --public-key KEY_OF_ANOTHER_PUBLISHER")]
pub(crate) struct Args {
    /// The package: its id, or name@version
    #[arg(value_name = "PKG")]
    package: PackageRef,
    #[command(flatten)]
    recipients: recipients::Args,
    /// Deploy again where the package is
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    key: KeyArg,
    #[command(flatten)]
    vouch: VouchArg,
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

/// What came of the assignment to one group.
#[derive(Serialize)]
struct GroupAssigned {
    group: GroupName,
    devices: u64,
    revision: u64,
    /// The write units that it has cost.
    consumed_units: f64,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let package = find_kept(&target, &self.package).await?;
        published(&package)?;
        let mut signer = self.key.signer(&target);
        let assigned = match self.recipients.find(&target).await? {
            Recipients::Devices(devices) => {
                signer.unlock_for(&devices)?;
                if !signer.keys().is_empty() {
                    self.vouch.vouch(&target, &package, &signer).await?;
                }
                audience::warn_of_devices(&target, &package, &devices).await?;
                let by = By {
                    signer: &signer,
                    force: self.force,
                };
                to_devices(&target, &package, &devices, by, globals.format).await
            }
            Recipients::Groups(groups) => {
                signer.unlock()?;
                self.vouch.vouch(&target, &package, &signer).await?;
                audience::warn_of_groups(&package, &groups);
                let by = By {
                    signer: &signer,
                    force: self.force,
                };
                to_groups(&target, &package, &groups, by, globals.format).await
            }
        };
        if !package.active {
            output::note("the package is not active: no device is told before 'packcast activate'");
        }
        assigned
    }
}

/// How it is assigned.
#[derive(Clone, Copy)]
struct By<'a> {
    signer: &'a Signer,
    force: bool,
}

async fn to_groups(
    target: &Target,
    package: &PackageRecord,
    groups: &[GroupName],
    by: By<'_>,
    format: Format,
) -> Result<(), Failure> {
    let mut assigned = Vec::with_capacity(groups.len());
    for name in groups {
        let changed = target
            .records
            .assign_group(name, package, by.force, by.signer.signing())
            .await
            .map_err(group::failure)?;
        assigned.push(GroupAssigned {
            group: name.clone(),
            devices: target.records.size(name).await?,
            revision: changed.state.revision,
            consumed_units: changed.consumed_units,
        });
    }
    output::result(format, &assigned, |assigned| {
        output::table(
            ["GROUP", "DEVICES", "WRITE UNITS"],
            assigned.iter().map(|at| {
                [
                    at.group.to_string(),
                    at.devices.to_string(),
                    at.consumed_units.to_string(),
                ]
            }),
        )
    });
    Ok(())
}

async fn to_devices(
    target: &Target,
    package: &PackageRecord,
    devices: &[DeviceId],
    by: By<'_>,
    format: Format,
) -> Result<(), Failure> {
    let bar = output::counting("assigning", devices.len() as u64);
    let work = stream::iter(devices)
        .map(|device| {
            let bar = &bar;
            async move {
                let signing = by.signer.signing();
                let assigned = target.records.assign(device, package, by.force, signing);
                let assigned = assigned.await;
                bar.inc(1);
                assigned.map(|what| describe(device.clone(), &what))
            }
        })
        .buffered(AT_ONCE)
        .try_collect()
        .map_err(Failure::from);
    let assignments: Vec<Assignment> = until_interrupted("devices", work, &bar).await?;
    bar.finish_and_clear();
    output::result(format, &assignments, |assignments| {
        output::table(
            ["DEVICE", "RESULT"],
            assignments
                .iter()
                .map(|a| [a.device.to_string(), a.text.clone()]),
        )
    });
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
        Assigned::NotPublished => (
            "not-published",
            None,
            "the package is not published yet".to_owned(),
        ),
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
            Assigned::UnknownDevice
                | Assigned::NotForDevice
                | Assigned::NotPublished
                | Assigned::Deleted
        ),
    }
}
