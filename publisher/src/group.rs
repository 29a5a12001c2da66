//! Groups of devices: a package that is assigned to a group is assigned to all its devices.

mod members;
mod pacing;
mod rename;
mod show;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::state::{GroupDocument, LeafName};
use packcast_protocol::{GroupName, LocationName, PackageId};
use packcast_rollout::GroupState;
use packcast_rollout::state::StateChange;
use serde::Serialize;

pub use self::members::{MembersChanged, add, remove};
pub use self::pacing::{GroupPacing, pace};
pub use self::rename::{GroupRenamed, rename};
pub use self::show::{GroupDetails, show};
use crate::clock::now;
use crate::concurrency::AT_ONCE;
use crate::failure::Failure;
use crate::location::choose;
use crate::progress::Progress;
use crate::signing::Signer;
use crate::state::{complete_records, current_part};
use crate::target::Target;
use crate::text::count;

/// A group in a list.
#[derive(Debug, Serialize)]
pub struct GroupSummary {
    pub group: GroupName,
    pub devices: u64,
    pub packages: usize,
    pub preferred: Option<LocationName>,
}

/// The result of the deletion of a group.
#[derive(Debug, Serialize)]
pub struct GroupDeleted {
    pub group: GroupName,
    /// Number of the commit; `None` if only the record of the group was left.
    pub commit: Option<u64>,
}

/// Errors of commands on groups.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GroupRefusal {
    #[error("group {group} does not exist")]
    NoGroup { group: GroupName },
    #[error("group {group} already exists")]
    Exists { group: GroupName },
    #[error("group {group} does not have package {package}")]
    NotAssigned {
        group: GroupName,
        package: PackageId,
    },
}

/// Creates a group without devices and packages, with one commit.
///
/// # Errors
/// A group of this name exists.
pub async fn create(
    target: &Target,
    group: &GroupName,
    mut signer: Signer,
    progress: &Progress,
) -> Result<GroupState, Failure> {
    not_all(group)?;
    let exists = || GroupRefusal::Exists {
        group: group.clone(),
    };
    let is_recorded = target.records.group(group).await?.is_some();
    let is_committed = committed(target, group).await?.is_some();
    if is_recorded && is_committed {
        return Err(exists().into());
    }
    let change = StateChange::CreateGroup {
        group: group.clone(),
    };
    let command = format!("packcast group create {group}");
    let done = signer.change(target, &[change], &command, progress).await?;
    // Without its record, the group is from a command that was interrupted.
    if done.committed.number().is_none() && !is_committed {
        return Err(exists().into());
    }
    known(target, group).await
}

/// Sets the location that the devices of a group try first; `None` removes the preference. The
/// change is one commit.
pub async fn prefer(
    target: &Target,
    group: &GroupName,
    location: Option<&LocationName>,
    mut signer: Signer,
    progress: &Progress,
) -> Result<GroupState, Failure> {
    let command = match location {
        Some(name) => {
            choose(target, std::slice::from_ref(name)).await?;
            format!("packcast group prefer {group} --location {name}")
        }
        None => format!("packcast group prefer {group} --none"),
    };
    not_unknown(target, group).await?;
    let change = StateChange::Prefer {
        group: group.clone(),
        location: location.cloned(),
    };
    signer.change(target, &[change], &command, progress).await?;
    of_all_or_known(target, group).await
}

/// Lists the groups with their sizes. The group `all` always exists.
pub async fn list(target: &Target) -> Result<Vec<GroupSummary>, Failure> {
    let mut states = target.records.groups().await?;
    if !states.iter().any(|state| state.group.is_all()) {
        states.insert(0, GroupState::new(GroupName::all(), 0, now()));
    }
    stream::iter(states)
        .map(|state| async move {
            Ok::<_, Failure>(GroupSummary {
                devices: target.records.size(&state.group).await?,
                packages: state.assignments.len(),
                group: state.group,
                preferred: state.preferred,
            })
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await
}

/// Deletes a group, with one commit. If `force` is set, its packages are withdrawn and its devices
/// removed.
///
/// # Errors
/// Without `force`, a group that has devices or packages is a conflict.
pub async fn delete(
    target: &Target,
    group: &GroupName,
    force: bool,
    mut signer: Signer,
    progress: &Progress,
) -> Result<GroupDeleted, Failure> {
    not_all(group)?;
    let (document, record) = (
        committed(target, group).await?,
        target.records.group(group).await?,
    );
    if document.is_none() && record.is_none() {
        return Err(unknown(group));
    }
    if !force {
        // Devices of an interrupted command are counted, too.
        complete_records(target, progress).await?;
        let packages = document.map_or(0, |document| document.packages.as_slice().len()) as u64;
        let devices = target.records.size(group).await?;
        if packages > 0 || devices > 0 {
            return Err(not_empty(group, devices, packages));
        }
    }
    let change = StateChange::DeleteGroup {
        group: group.clone(),
    };
    let options = if force { " --force" } else { "" };
    let command = format!("packcast group delete {group}{options}");
    let done = signer.change(target, &[change], &command, progress).await?;
    Ok(GroupDeleted {
        group: group.clone(),
        commit: done.committed.number(),
    })
}

/// Returns the document of a group in the signed state; `None` if the state does not have the group.
async fn committed(target: &Target, group: &GroupName) -> Result<Option<GroupDocument>, Failure> {
    let state = current_part(target, [LeafName::Group(group.clone())].into()).await?;
    let document = state.group(group).map_err(Failure::failed)?;
    Ok(document.cloned())
}

fn not_empty(group: &GroupName, devices: u64, packages: u64) -> Failure {
    Failure::conflict(format!(
        "cannot delete group {group}: the group has {} and {}",
        count(devices, "device"),
        count(packages, "package")
    ))
    .hint(format!(
        "run 'packcast group delete {group} --force' to unassign its packages and remove its devices first"
    ))
}

/// Refuses to change the members of the group `all`, which has every device.
fn not_all(group: &GroupName) -> Result<(), Failure> {
    if group.is_all() {
        let why = "cannot change group all: every device is in the group 'all'";
        return Err(Failure::usage(why));
    }
    Ok(())
}

/// Refuses a group that does not exist. The group `all` always exists.
async fn not_unknown(target: &Target, group: &GroupName) -> Result<(), Failure> {
    if !group.is_all() {
        known(target, group).await?;
    }
    Ok(())
}

/// Reads a group, which must exist.
async fn known(target: &Target, group: &GroupName) -> Result<GroupState, Failure> {
    let state = target.records.group(group).await?;
    state.ok_or_else(|| unknown(group))
}

fn unknown(group: &GroupName) -> Failure {
    let group = group.clone();
    GroupRefusal::NoGroup { group }.into()
}

/// Reads a group. The group `all` may have no record.
async fn of_all_or_known(target: &Target, group: &GroupName) -> Result<GroupState, Failure> {
    if group.is_all() {
        let state = target.records.group(group).await?;
        return Ok(state.unwrap_or_else(|| GroupState::new(group.clone(), 0, now())));
    }
    known(target, group).await
}

impl From<GroupRefusal> for Failure {
    fn from(error: GroupRefusal) -> Self {
        match error {
            GroupRefusal::NoGroup { .. } => {
                Self::failed(error).hint("run 'packcast group list' to see the groups")
            }
            GroupRefusal::Exists { .. } => Self::conflict(error),
            GroupRefusal::NotAssigned { .. } => Self::failed(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::failures;

    #[test]
    fn errors_of_groups_have_next_steps() {
        let (group, package) = (|| "lab".parse().unwrap(), "1795000000".parse().unwrap());
        let errors = [
            GroupRefusal::NoGroup { group: group() },
            GroupRefusal::Exists { group: group() },
            GroupRefusal::NotAssigned {
                group: group(),
                package,
            },
        ];
        insta::assert_snapshot!(failures(errors.map(Failure::from)), @r"
        Failed: group lab does not exist
        hint: run 'packcast group list' to see the groups
        Conflict: group lab already exists
        Failed: group lab does not have package 1795000000
        ");
        let all = not_all(&GroupName::all()).unwrap_err();
        insta::assert_snapshot!(failures([all, not_empty(&group(), 1, 2)]), @r"
        Usage: cannot change group all: every device is in the group 'all'
        Conflict: cannot delete group lab: the group has 1 device and 2 packages
        hint: run 'packcast group delete lab --force' to unassign its packages and remove its devices first
        ");
    }
}
