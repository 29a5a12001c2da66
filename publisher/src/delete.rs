//! Deletion: a package and its objects are removed; its name and its results stay.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::{DeviceId, GroupName, PackageId, PackageRef};
use packcast_rollout::PackageRecord;
use packcast_store::objects::DeleteError;
use packcast_store::records::{DeviceState, GroupError};
use serde::Serialize;

use crate::clock::now;
use crate::concurrency::AT_ONCE;
use crate::failure::{Failure, Kind, kind};
use crate::package::{find, named};
use crate::progress::{Progress, Work};
use crate::signing::signer::Signer;
use crate::target::Target;
use crate::warning::Warning;

/// The objects that a deletion removed.
#[derive(Debug, Serialize)]
pub struct Deleted {
    pub package: PackageId,
    /// The package, as `name@version`.
    pub name: String,
    pub objects: u64,
    pub bytes: u64,
}

/// The groups and devices that a package is still assigned to.
struct Unfinished {
    groups: Vec<GroupName>,
    /// The number of devices that have not finished the package.
    devices: u64,
}

/// Deletes a package and its objects; a package that is assigned is a conflict.
///
/// With `unassign` the package is first withdrawn from all groups, and from all devices that have
/// not finished it; the key of `signer` is read if one of them has a Packcast agent. A second call
/// completes a deletion that was interrupted.
pub async fn delete(
    target: &Target,
    reference: &PackageRef,
    unassign: bool,
    mut signer: Signer,
    progress: &Progress,
) -> Result<Deleted, Failure> {
    let package = find(target, reference).await?;
    if unassign {
        withdraw(target, &package, &mut signer, progress).await?;
    }
    if !package.is_deleted() {
        refuse_assigned(target, &package, unassign).await?;
    }
    // The tombstone comes first: from here on no device is sent where objects go missing.
    let package = target.records.delete(package.id, now()).await?;
    remove_objects(target, &package).await
}

/// Returns a warning if devices were told of a deleted package and have not reported.
pub async fn told_devices(target: &Target, package: PackageId) -> Result<Option<Warning>, Failure> {
    let told = match target.records.tally(package).await?.withdrawn {
        0 => return Ok(None),
        1 => "1 device was told of it and has not reported".to_owned(),
        n => format!("{n} devices were told of it and have not reported"),
    };
    let warning = Warning::new(format!("{told}: our agents cancel at their next check-in"));
    Ok(Some(warning.hint(
        "a stock agent that has not fetched it all cannot any more; 'packcast device DEVICE --drop' lets it drop it",
    )))
}

async fn refuse_assigned(
    target: &Target,
    package: &PackageRecord,
    unassign: bool,
) -> Result<(), Failure> {
    let unfinished = Unfinished::read(target, package.id).await?;
    let Some(to) = unfinished.named() else {
        return Ok(());
    };
    let why = format!(
        "package {} {} is assigned to {to}",
        package.id,
        named(package)
    );
    Err(if unassign {
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

impl Unfinished {
    async fn read(target: &Target, package: PackageId) -> Result<Self, Failure> {
        let groups = target.records.groups_with(package).await?;
        let tally = target.records.tally(package).await?;
        Ok(Self {
            groups,
            devices: tally.waiting() + tally.announced,
        })
    }

    /// Names the assignees; `None` if there are none.
    fn named(&self) -> Option<String> {
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

/// Withdraws a package from its groups, and then from every device with an open task.
async fn withdraw(
    target: &Target,
    package: &PackageRecord,
    signer: &mut Signer,
    progress: &Progress,
) -> Result<(), Failure> {
    let records = &target.records;
    for name in records.groups_with(package.id).await? {
        signer.unlock()?;
        let signing = signer.signing();
        match records.unassign_group(&name, package.id, signing).await {
            // Another publisher has withdrawn the package meanwhile.
            Ok(_) | Err(GroupError::NotAssigned { .. } | GroupError::NoGroup { .. }) => {}
            Err(error) => return Err(error.into()),
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
    progress.begin(Work::Unassigning, open.len() as u64);
    stream::iter(&open)
        .map(|device| records.unassign(device, package, signer.signing()))
        .buffer_unordered(AT_ONCE)
        .try_for_each(|_| {
            progress.advance(1);
            std::future::ready(Ok(()))
        })
        .await?;
    progress.end();
    Ok(())
}

async fn remove_objects(target: &Target, package: &PackageRecord) -> Result<Deleted, Failure> {
    let objects = target.objects.list(&package.folder).await?;
    let removed = target.objects.delete(&package.folder).await?;
    Ok(Deleted {
        package: package.id,
        name: named(package),
        objects: removed,
        bytes: objects.values().sum(),
    })
}

impl From<DeleteError> for Failure {
    fn from(error: DeleteError) -> Self {
        Self::new(kind(error.is_retryable()), error)
            .hint("no device is told of the package any more: run the same command again to remove the rest of its objects")
    }
}
