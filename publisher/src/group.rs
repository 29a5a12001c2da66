//! Groups of devices: a package that is assigned to a group is assigned to all its devices.

mod members;
mod pacing;
mod show;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::{GroupName, LocationName, UnixTime};
use packcast_rollout::GroupState;
use packcast_store::records::GroupError;
use serde::Serialize;

pub use self::members::{MembersChanged, add, remove};
pub use self::pacing::{GroupPacing, pace};
pub use self::show::{GroupDetails, show};
use crate::clock::now;
use crate::concurrency::AT_ONCE;
use crate::failure::Failure;
use crate::location::choose;
use crate::progress::Progress;
use crate::signing::{Signer, expiry};
use crate::target::Target;
use crate::text::count;
use crate::warning::Warning;

/// The groups of a target. It serializes as their list.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Groups {
    pub groups: Vec<GroupSummary>,
    #[serde(skip)]
    pub warnings: Vec<Warning>,
}

/// A group in a list.
#[derive(Debug, Serialize)]
pub struct GroupSummary {
    pub group: GroupName,
    pub devices: u64,
    pub packages: usize,
    pub preferred: Option<LocationName>,
    /// The end of the validity of its signed assignments.
    pub expires: Option<UnixTime>,
}

/// The result of the deletion of a group.
#[derive(Debug, Serialize)]
pub struct GroupDeleted {
    pub group: GroupName,
}

/// Creates a group without devices and packages.
pub async fn create(
    target: &Target,
    group: &GroupName,
    signer: &Signer,
) -> Result<GroupState, Failure> {
    not_all(group)?;
    let created = target.records.create_group(group, signer.signing()).await;
    Ok(created?)
}

/// Sets the location that the devices of a group try first; `None` removes the preference.
pub async fn prefer(
    target: &Target,
    group: &GroupName,
    location: Option<&LocationName>,
    signer: &Signer,
) -> Result<GroupState, Failure> {
    if let Some(name) = location {
        choose(target, std::slice::from_ref(name)).await?;
    }
    let signing = signer.signing();
    let changed = target.records.prefer(group, location, signing).await?;
    Ok(changed.state)
}

/// Lists the groups with their sizes. The group `all` always exists.
pub async fn list(target: &Target) -> Result<Groups, Failure> {
    let mut states = target.records.groups().await?;
    if !states.iter().any(|state| state.group.is_all()) {
        states.insert(0, GroupState::new(GroupName::all(), 0, now()));
    }
    let warnings = states
        .iter()
        .filter_map(|state| expiry_warning(state, &target.name))
        .collect();
    let groups = stream::iter(states)
        .map(|state| async move {
            Ok::<_, Failure>(GroupSummary {
                devices: target.records.size(&state.group).await?,
                packages: state.assignments.len(),
                expires: expires(&state),
                group: state.group,
                preferred: state.preferred,
            })
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    Ok(Groups { groups, warnings })
}

/// Deletes a group. With a signer, the function first withdraws the packages of the group and
/// removes its devices.
///
/// # Errors
/// A group that has devices or packages is a conflict.
pub async fn delete(
    target: &Target,
    group: &GroupName,
    signer: Option<&Signer>,
    progress: &Progress,
) -> Result<GroupDeleted, Failure> {
    not_all(group)?;
    let state = known(target, group).await?;
    if let Some(signer) = signer {
        // The packages come first: from here on no package is announced for this group.
        for assignment in &state.assignments {
            target
                .records
                .unassign_group(group, assignment.package, signer.signing())
                .await?;
        }
        members::empty(target, group, signer, progress).await?;
    }
    if target.records.delete_group(group).await? {
        let group = group.clone();
        return Ok(GroupDeleted { group });
    }
    let state = known(target, group).await?;
    let devices = target.records.size(group).await?;
    Err(not_empty(group, devices, state.assignments.len() as u64))
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

/// Reads a group, which must exist.
async fn known(target: &Target, group: &GroupName) -> Result<GroupState, Failure> {
    let state = target.records.group(group).await?;
    state.ok_or_else(|| {
        let group = group.clone();
        GroupError::NoGroup { group }.into()
    })
}

/// Returns the end of the validity of a group's signed assignments.
fn expires(state: &GroupState) -> Option<UnixTime> {
    state.signature.as_ref().map(|signature| signature.expires)
}

/// Returns a warning if the signed assignments of a group expire soon.
fn expiry_warning(state: &GroupState, target: &str) -> Option<Warning> {
    if state.assignments.is_empty() {
        return None;
    }
    expiry::warning(&format!("group {}", state.group), expires(state), target)
}

impl From<GroupError> for Failure {
    fn from(error: GroupError) -> Self {
        match error {
            GroupError::Records(error) => error.into(),
            GroupError::Signing(error) => error.into(),
            GroupError::NoGroup { .. } => {
                Self::failed(error).hint("run 'packcast group list' to see the groups")
            }
            GroupError::Exists { .. } => Self::conflict(error),
            GroupError::NotAssigned { .. } | GroupError::Deleted { .. } | GroupError::Assign(_) => {
                Self::failed(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::{failures, next_steps};

    #[test]
    fn errors_of_groups_have_next_steps() {
        let (group, package) = (|| "lab".parse().unwrap(), "1795000000".parse().unwrap());
        let errors = [
            GroupError::NoGroup { group: group() },
            GroupError::Exists { group: group() },
            GroupError::NotAssigned {
                group: group(),
                package,
            },
            GroupError::Deleted { package },
        ];
        insta::assert_snapshot!(next_steps(errors), @r"
        NoGroup: Failed
          hint: run 'packcast group list' to see the groups
        Exists: Conflict
        NotAssigned: Failed
        Deleted: Failed
        ");
        let all = not_all(&GroupName::all()).unwrap_err();
        insta::assert_snapshot!(failures([all, not_empty(&group(), 1, 2)]), @r"
        Usage: cannot change group all: every device is in the group 'all'
        Conflict: cannot delete group lab: the group has 1 device and 2 packages
        hint: run 'packcast group delete lab --force' to unassign its packages and remove its devices first
        ");
    }
}
