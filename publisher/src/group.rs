//! Groups of devices: a package that is assigned to a group is assigned to all its devices.

mod members;
mod pacing;
mod show;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::state::{GroupDocument, LeafName};
use packcast_protocol::{GroupName, LocationName, UnixTime};
use packcast_rollout::GroupState;
use packcast_rollout::state::StateChange;
use packcast_store::records::GroupError;
use serde::Serialize;

pub use self::members::{MembersChanged, add, remove};
pub use self::pacing::{GroupPacing, pace};
pub use self::show::{GroupDetails, show};
use crate::clock::now;
use crate::concurrency::AT_ONCE;
use crate::failure::{Failure, Kind, RETRY_HINT};
use crate::location::choose;
use crate::progress::Progress;
use crate::signing::{Signer, expiry};
use crate::state::current_part;
use crate::target::Target;
use crate::text::count;
use crate::warning::Warning;

/// Maximum number of attempts at erasing a group that gets devices or packages meanwhile.
const ATTEMPTS: u32 = 8;

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
    /// Number of the commit; `None` if only the record of the group was left.
    pub commit: Option<u64>,
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
    // Read before the state: a group that the state lacks after its record was read is deleted.
    let is_recorded = target.records.group(group).await?.is_some();
    let is_deleted = is_recorded && committed(target, group).await?.is_none();
    if is_deleted {
        // The command that deleted the group was interrupted.
        signer.unlock()?;
        erase(target, group, &signer, progress).await?;
    }
    let change = StateChange::CreateGroup {
        group: group.clone(),
    };
    let command = format!("packcast group create {group}");
    signer
        .changer(target)
        .await?
        .change(&[change], &command)
        .await?;
    Ok(target.records.create_group(group, signer.signing()).await?)
}

/// Sets the location that the devices of a group try first; `None` removes the preference. The
/// change is one commit.
pub async fn prefer(
    target: &Target,
    group: &GroupName,
    location: Option<&LocationName>,
    mut signer: Signer,
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
    signer
        .changer(target)
        .await?
        .change(&[change], &command)
        .await?;
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
        let assigned = document.map_or(0, |document| document.packages.as_slice().len());
        let recorded = record.map_or(0, |record| record.assignments.len());
        let packages = assigned.max(recorded) as u64;
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
    let committed = signer
        .changer(target)
        .await?
        .change(&[change], &command)
        .await?;
    // The state does not have the group any more, so its record goes, too: even if the group got
    // devices or packages meanwhile.
    erase(target, group, &signer, progress).await?;
    Ok(GroupDeleted {
        group: group.clone(),
        commit: committed.number(),
    })
}

/// Erases the record of a group that the signed state does not have.
async fn erase(
    target: &Target,
    group: &GroupName,
    signer: &Signer,
    progress: &Progress,
) -> Result<(), Failure> {
    let records = &target.records;
    for _ in 0..ATTEMPTS {
        let Some(state) = records.group(group).await? else {
            return Ok(());
        };
        // The packages come first: from here on no package is announced for this group.
        for assignment in &state.assignments {
            let (package, signing) = (assignment.package, signer.signing());
            records.unassign_group(group, package, signing).await?;
        }
        members::empty(target, group, signer, progress).await?;
        if records.delete_group(group).await? {
            return Ok(());
        }
    }
    Err(Failure::new(Kind::TryLater, not_erased(group)).hint(RETRY_HINT))
}

fn not_erased(group: &GroupName) -> String {
    format!("cannot erase the record of the deleted group {group}: it gets devices or packages")
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
    GroupError::NoGroup { group }.into()
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
        assert_eq!(
            not_erased(&group()),
            "cannot erase the record of the deleted group lab: it gets devices or packages"
        );
        insta::assert_snapshot!(failures([all, not_empty(&group(), 1, 2)]), @r"
        Usage: cannot change group all: every device is in the group 'all'
        Conflict: cannot delete group lab: the group has 1 device and 2 packages
        hint: run 'packcast group delete lab --force' to unassign its packages and remove its devices first
        ");
    }
}
