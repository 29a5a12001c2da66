//! `packcast delete`: a package goes; its name and its results stay.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::{DeviceId, GroupName, PackageId, PackageRef};
use packcast_rollout::PackageRecord;
use packcast_store::objects::DeleteError;
use packcast_store::records::{DeviceState, GroupError};
use serde::Serialize;

use super::each::AT_ONCE;
use super::signer::{KeyArg, Signer};
use super::{deactivate, find, group, named};
use crate::Globals;
use crate::clock::now;
use crate::failure::{Failure, Kind, kind};
use crate::output;
use crate::target::Target;

/// Delete a package and its objects
///
/// Refused while the package is assigned. Its name, version and id are never used again, and the
/// results of devices stay, with its name. A deletion that was interrupted is completed by the
/// same command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast delete vlc@3.0.21
  packcast delete vlc@3.0.21 --unassign")]
pub(crate) struct Args {
    /// The package: its id, or name@version
    #[arg(value_name = "PKG")]
    package: PackageRef,
    /// Take it back from all groups and from all devices that have not finished it first
    #[arg(long)]
    unassign: bool,
    #[command(flatten)]
    key: KeyArg,
}

/// What was removed.
#[derive(Serialize)]
struct Deleted {
    package: PackageId,
    name: String,
    objects: u64,
    bytes: u64,
}

/// Who is still to have a package.
struct Assigned {
    groups: Vec<GroupName>,
    /// How many devices have not finished it.
    devices: u64,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let package = find(&target, &self.package).await?;
        if self.unassign {
            let mut signer = self.key.signer(&target);
            take_back(&target, &package, &mut signer).await?;
        }
        if !package.is_deleted() {
            self.refuse_assigned(&target, &package).await?;
        }
        // The tombstone comes first: from here on no device is sent where objects go missing.
        let package = target
            .records
            .delete(package.id, now())
            .await
            .map_err(deactivate::failure)?;
        let deleted = remove_objects(&target, &package).await?;
        output::result(globals.format, &deleted, text);
        warn_of_told_devices(&target, &package).await
    }

    async fn refuse_assigned(
        &self,
        target: &Target,
        package: &PackageRecord,
    ) -> Result<(), Failure> {
        let assigned = Assigned::read(target, package.id).await?;
        let Some(to) = assigned.to() else {
            return Ok(());
        };
        let why = format!(
            "package {} {} is assigned to {to}",
            package.id,
            named(package)
        );
        Err(if self.unassign {
            Failure::new(Kind::TryLater, why).hint(
                "it was assigned meanwhile, or the list of its devices lags behind: run the same command again in a minute",
            )
        } else {
            Failure::conflict(why).hint(format!(
                "'packcast delete {} --unassign' takes it back from all of them first",
                named(package)
            ))
        })
    }
}

impl Assigned {
    async fn read(target: &Target, package: PackageId) -> Result<Self, Failure> {
        let groups = target.records.groups_with(package).await?;
        let tally = target.records.tally(package).await?;
        Ok(Self {
            groups,
            devices: tally.waiting() + tally.announced,
        })
    }

    /// Names them; none if there are none.
    fn to(&self) -> Option<String> {
        let names: Vec<&str> = self.groups.iter().map(GroupName::as_str).collect();
        let groups = match names.as_slice() {
            [] => None,
            [name] => Some(format!("group {name}")),
            names => Some(format!("groups {}", names.join(", "))),
        };
        let devices = match self.devices {
            0 => None,
            1 => Some("1 device that has not finished it".to_owned()),
            n => Some(format!("{n} devices that have not finished it")),
        };
        let to: Vec<String> = groups.into_iter().chain(devices).collect();
        (!to.is_empty()).then(|| to.join(", and to "))
    }
}

/// Takes the package back from its groups, and then from every device with an open task.
async fn take_back(
    target: &Target,
    package: &PackageRecord,
    signer: &mut Signer,
) -> Result<(), Failure> {
    let records = &target.records;
    for name in records.groups_with(package.id).await? {
        signer.unlock()?;
        let signing = signer.signing();
        match records.unassign_group(&name, package.id, signing).await {
            // Another has taken it back meanwhile.
            Ok(_) | Err(GroupError::NotAssigned { .. } | GroupError::NoGroup { .. }) => {}
            Err(error) => return Err(group::failure(error)),
        }
    }
    let states = records.devices_of(package.id).await?;
    let open: Vec<DeviceId> = states
        .into_iter()
        .filter(|(_, state)| matches!(state, DeviceState::Held | DeviceState::Announced))
        .map(|(device, _)| device)
        .collect();
    signer.unlock_for(&open)?;
    let signer = &*signer;
    let bar = output::counting("taking back", open.len() as u64);
    stream::iter(&open)
        .map(|device| records.unassign(device, package, signer.signing()))
        .buffer_unordered(AT_ONCE)
        .try_for_each(|_| {
            bar.inc(1);
            std::future::ready(Ok(()))
        })
        .await?;
    bar.finish_and_clear();
    Ok(())
}

async fn remove_objects(target: &Target, package: &PackageRecord) -> Result<Deleted, Failure> {
    let objects = target.objects.list(&package.folder).await?;
    let removed = target.objects.delete(&package.folder).await;
    Ok(Deleted {
        package: package.id,
        name: named(package),
        objects: removed.map_err(failure)?,
        bytes: objects.values().sum(),
    })
}

fn failure(error: DeleteError) -> Failure {
    Failure::new(kind(error.is_retryable()), error)
        .hint("no device is told of the package any more: run the same command again to remove the rest of its objects")
}

fn text(deleted: &Deleted) -> String {
    format!(
        "package {} {} is deleted; {} objects ({}) were removed",
        deleted.package,
        deleted.name,
        deleted.objects,
        output::bytes(deleted.bytes)
    )
}

/// Says what is left to the devices that were told of the package.
async fn warn_of_told_devices(target: &Target, package: &PackageRecord) -> Result<(), Failure> {
    let told = match target.records.tally(package.id).await?.withdrawn {
        0 => return Ok(()),
        1 => "1 device was told of it and has not reported".to_owned(),
        n => format!("{n} devices were told of it and have not reported"),
    };
    output::note(&format!(
        "warning: {told}: our agents cancel at their next check-in
hint: a stock agent that has not fetched it all cannot any more; 'packcast device DEVICE --cancel' lets it drop it"
    ));
    Ok(())
}
