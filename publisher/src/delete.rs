//! Deletes a package and its objects. Its name and its results stay on record.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::state::GroupDocument;
use packcast_protocol::{DeviceId, GroupName, PackageId, PackageRef};
use packcast_rollout::PackageRecord;
use packcast_rollout::state::{EntryOwner, StateChange};
use packcast_store::objects::DeleteError;
use packcast_store::records::DeploymentState;
use serde::Serialize;

use crate::concurrency::AT_ONCE;
use crate::failure::{Failure, Kind, kind};
use crate::package::{find, named};
use crate::preview::Preview;
use crate::progress::{Progress, Work};
use crate::signing::signer::Signer;
use crate::state::{complete_records, current_groups};
use crate::target::Target;
use crate::text::for_target;
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

/// The groups and devices to which a package is still assigned.
struct OpenAssignments {
    groups: Vec<GroupName>,
    /// The number of devices that have not finished the package.
    devices: u64,
}

/// A deletion whose package and assignments were found. Nothing is changed yet.
#[derive(Debug)]
pub struct DeletePlan<'a> {
    target: &'a Target,
    package: PackageRecord,
    /// The assignments to withdraw first; `None` if the package must have none.
    withdrawal: Option<Withdrawal>,
    preview: Preview,
}

/// The assignments of a package that a deletion withdraws first.
#[derive(Debug)]
struct Withdrawal {
    groups: Vec<GroupName>,
    /// The devices that have not finished the package.
    devices: Vec<DeviceId>,
}

/// Plans to delete a package and its objects. Nothing is changed yet, and no key is read.
///
/// With `unassign`, the deletion first withdraws the package from all groups, and from all devices
/// that have not finished it. The signed state decides on the groups, and the tally on the devices.
///
/// # Errors
/// Without `unassign`, a package that is still assigned is a conflict.
pub async fn plan<'a>(
    target: &'a Target,
    reference: &PackageRef,
    unassign: bool,
) -> Result<DeletePlan<'a>, Failure> {
    let package = find(target, reference).await?;
    let name = named(&package);
    let preview = Preview::new(format!("Deletes {name}")).with_packages([name]);
    let (withdrawal, preview) = if unassign {
        let found = Withdrawal::find(target, package.id).await?;
        let preview = preview.with_groups(target, &found.groups).await?;
        let has_groups = !found.groups.is_empty();
        let mut preview = preview.with_devices(target, &found.devices).await?;
        // The devices may be members of the groups.
        preview.at_most |= has_groups;
        (Some(found), preview)
    } else {
        if !package.is_deleted() {
            refuse_assigned(target, &package, unassign).await?;
        }
        (None, preview)
    };
    Ok(DeletePlan {
        target,
        package,
        withdrawal,
        preview,
    })
}

impl DeletePlan<'_> {
    /// Returns the effect of the deletion: the devices and groups that lose the package.
    pub const fn preview(&self) -> &Preview {
        &self.preview
    }

    /// Returns the id of the package.
    pub const fn package(&self) -> PackageId {
        self.package.id
    }

    /// Returns the changes of the signed state before the deletion; empty if nothing has to be signed.
    pub fn state_changes(&self) -> Vec<StateChange> {
        let withdrawal = self.withdrawal.as_ref();
        withdrawal.map_or_else(Vec::new, |it| it.changes(self.package.id))
    }

    /// Deletes the package and its objects, after it was withdrawn with one commit.
    ///
    /// The function reads the key of `signer` if there is an assignment to withdraw. A second call
    /// completes an interrupted deletion.
    pub async fn perform(self, signer: Signer, progress: &Progress) -> Result<Deleted, Failure> {
        let (target, package) = (self.target, &self.package);
        if let Some(withdrawal) = self.withdrawal {
            withdrawal.make(target, package, signer, progress).await?;
            if !package.is_deleted() {
                refuse_assigned(target, package, true).await?;
            }
        }
        // The record is deleted before the objects: from here on the package is announced to
        // no device, so no device misses an object.
        let by = target.changed_by();
        let package = target.records.delete(package.id, &by).await?;
        remove_objects(target, &package).await
    }
}

/// Returns a warning if a deleted package was announced to devices that have not reported.
pub async fn announced_devices(
    target: &Target,
    package: PackageId,
) -> Result<Option<Warning>, Failure> {
    let withdrawn = target.records.tally(package).await?.withdrawn;
    Ok(unreported_warning(withdrawn, &target.name))
}

fn unreported_warning(devices: u64, target: &str) -> Option<Warning> {
    let unreported = match devices {
        0 => return None,
        1 => "1 device that has not reported".to_owned(),
        n => format!("{n} devices that have not reported"),
    };
    let warning = Warning::new(format!(
        "the package was announced to {unreported}: Packcast agents cancel at their next check-in"
    ));
    Some(warning.hint(for_target(
        "run 'packcast device drop DEVICE' for each OCS Unix agent that has not downloaded the whole archive: the rest of the archive is deleted",
        target,
    )))
}

async fn refuse_assigned(
    target: &Target,
    package: &PackageRecord,
    unassign: bool,
) -> Result<(), Failure> {
    let unfinished = OpenAssignments::read(target, package.id).await?;
    let Some(to) = unfinished.named() else {
        return Ok(());
    };
    Err(still_assigned(&to, package.id, &named(package), unassign))
}

fn still_assigned(to: &str, id: PackageId, name: &str, unassign: bool) -> Failure {
    let why = format!("cannot delete package {id} {name}: the package is assigned to {to}");
    if unassign {
        Failure::new(Kind::TryLater, why).hint(
            "run the same command again in a minute: the package was assigned meanwhile, or the list of its devices lags behind",
        )
    } else {
        Failure::conflict(why).hint(format!(
            "run 'packcast delete {name} --unassign' to unassign the package first"
        ))
    }
}

impl OpenAssignments {
    async fn read(target: &Target, package: PackageId) -> Result<Self, Failure> {
        let tally = target.records.tally(package).await?;
        Ok(Self {
            groups: with(target, package).await?,
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

/// Returns the groups of the signed state that have a package.
async fn with(target: &Target, package: PackageId) -> Result<Vec<GroupName>, Failure> {
    let state = current_groups(target).await?;
    let has = |document: &GroupDocument| document.packages.of(package).is_some();
    let groups = state.groups();
    let groups = groups.filter(|(_, document)| document.is_some_and(has));
    Ok(groups.map(|(group, _)| group.clone()).collect())
}

impl Withdrawal {
    /// Finds the groups of a package, and every device with an open task.
    async fn find(target: &Target, package: PackageId) -> Result<Self, Failure> {
        let states = target.records.devices_of(package).await?;
        let is_open =
            |state| matches!(state, DeploymentState::Pending | DeploymentState::Announced);
        let open = states.into_iter().filter(|(_, state)| is_open(*state));
        Ok(Self {
            groups: with(target, package).await?,
            devices: open.map(|(device, _)| device).collect(),
        })
    }

    fn changes(&self, package: PackageId) -> Vec<StateChange> {
        let devices = self.devices.iter().cloned().map(EntryOwner::Device);
        let groups = self.groups.iter().cloned().map(EntryOwner::Group);
        groups
            .chain(devices)
            .map(|from| StateChange::Unassign { from, package })
            .collect()
    }

    /// Withdraws the package, with one commit.
    async fn make(
        self,
        target: &Target,
        package: &PackageRecord,
        mut signer: Signer,
        progress: &Progress,
    ) -> Result<(), Failure> {
        let changes = self.changes(package.id);
        let (records, open) = (&target.records, self.devices);
        if changes.is_empty() {
            complete_records(target, progress).await?;
            return Ok(());
        }
        let command = format!("packcast delete {} --unassign", named(package));
        signer.change(target, &changes, &command, progress).await?;
        // Tasks that devices had through their groups would stay until the next check-in.
        progress.begin(Work::Unassigning, open.len() as u64);
        stream::iter(&open)
            .map(|device| records.withdraw_task(device, package.id))
            .buffer_unordered(AT_ONCE)
            .try_for_each(|()| {
                progress.advance(1);
                std::future::ready(Ok(()))
            })
            .await?;
        progress.end();
        Ok(())
    }
}

async fn remove_objects(target: &Target, package: &PackageRecord) -> Result<Deleted, Failure> {
    // Listed before the deletion, because the deletion returns no sizes.
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
            .hint("run the same command again to remove the remaining objects: the package is announced to no more devices")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::{failures, next_steps};

    #[test]
    fn errors_of_a_deletion_have_next_steps() {
        let open = OpenAssignments {
            groups: vec!["lab".parse().unwrap(), "office".parse().unwrap()],
            devices: 2,
        };
        let (to, id) = (open.named().unwrap(), "1795000000".parse().unwrap());
        let refused = [false, true].map(|unassign| still_assigned(&to, id, "tool@1", unassign));
        insta::assert_snapshot!(failures(refused), @r"
        Conflict: cannot delete package 1795000000 tool@1: the package is assigned to groups lab, office, and to 2 devices that have not finished it
        hint: run 'packcast delete tool@1 --unassign' to unassign the package first
        TryLater: cannot delete package 1795000000 tool@1: the package is assigned to groups lab, office, and to 2 devices that have not finished it
        hint: run the same command again in a minute: the package was assigned meanwhile, or the list of its devices lags behind
        ");
        let error = DeleteError::Io {
            path: "p".to_owned(),
            place: "d".to_owned(),
            source: std::io::Error::other("cause"),
        };
        insta::assert_snapshot!(next_steps([error]), @r"
        Io: Failed
          hint: run the same command again to remove the remaining objects: the package is announced to no more devices
        ");
    }

    #[test]
    fn a_deletion_warns_of_devices_that_have_not_reported() {
        assert_eq!(unreported_warning(0, "local"), None);
        let warnings = [
            unreported_warning(1, "local"),
            unreported_warning(2, "prod"),
        ];
        let warnings = warnings.map(|warning| warning.unwrap().to_string());
        insta::assert_snapshot!(warnings.join("\n"), @r"
        warning: the package was announced to 1 device that has not reported: Packcast agents cancel at their next check-in
        hint: run 'packcast device drop DEVICE' for each OCS Unix agent that has not downloaded the whole archive: the rest of the archive is deleted
        warning: the package was announced to 2 devices that have not reported: Packcast agents cancel at their next check-in
        hint: run 'packcast --target prod device drop DEVICE' for each OCS Unix agent that has not downloaded the whole archive: the rest of the archive is deleted
        ");
    }
}
