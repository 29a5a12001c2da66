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

pub use self::members::{MembersChanged, MembersPlan, add, plan_addition, plan_removal, remove};
pub use self::pacing::{GroupPacing, pace, plan_pacing};
pub use self::rename::{GroupRenamed, RenamePlan, plan_rename, rename};
pub use self::show::{GroupDetails, GroupMember, GroupPackage, show};
use crate::clock::now;
use crate::concurrency::AT_ONCE;
use crate::failure::{Failure, NameKind};
use crate::known_group::{GroupRefusal, known, not_unknown, of_all_or_known, unknown};
use crate::location::choose;
use crate::package::named;
use crate::preview::Preview;
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

/// Plans to create a group. [`create`] makes the change.
///
/// # Errors
/// A group of this name exists.
pub async fn plan_creation<'a>(
    target: &'a Target,
    group: &GroupName,
) -> Result<GroupPlan<'a>, Failure> {
    to_create(target, group).await?;
    Ok(creation(target, group))
}

fn creation<'a>(target: &'a Target, group: &GroupName) -> GroupPlan<'a> {
    GroupPlan {
        target,
        group: group.clone(),
        change: StateChange::CreateGroup {
            group: group.clone(),
        },
        command: format!("packcast group create {group}"),
        preview: Preview::new(format!("Creates group {group}")),
    }
}

/// Creates a group without devices and packages, with one commit.
///
/// # Errors
/// A group of this name exists.
pub async fn create(
    target: &Target,
    group: &GroupName,
    signer: Signer,
    progress: &Progress,
) -> Result<GroupState, Failure> {
    let is_committed = to_create(target, group).await?;
    let commit = creation(target, group).perform(signer, progress).await?;
    // Without its record, the group is from a command that was interrupted.
    if commit.is_none() && !is_committed {
        return Err(exists(group));
    }
    known(target, group).await
}

/// Returns true if the signed state has the group already, and only its record is missing.
async fn to_create(target: &Target, group: &GroupName) -> Result<bool, Failure> {
    not_all(group)?;
    let is_recorded = target.records.group(group).await?.is_some();
    let is_committed = committed(target, group).await?.is_some();
    if is_recorded && is_committed {
        return Err(exists(group));
    }
    Ok(is_committed)
}

fn exists(group: &GroupName) -> Failure {
    let group = group.clone();
    GroupRefusal::Exists { group }.into()
}

/// A change of a group whose conditions hold. Nothing is changed yet.
#[derive(Debug)]
pub struct GroupPlan<'a> {
    target: &'a Target,
    group: GroupName,
    change: StateChange,
    /// The command for the document about the commit.
    command: String,
    preview: Preview,
}

impl GroupPlan<'_> {
    /// Returns the effect of the change.
    pub const fn preview(&self) -> &Preview {
        &self.preview
    }

    /// Returns the changes of the signed state.
    pub fn state_changes(&self) -> Vec<StateChange> {
        vec![self.change.clone()]
    }

    /// Makes the change with one commit. Returns the number of the commit; `None` if the signed
    /// state has not changed.
    async fn perform(
        &self,
        mut signer: Signer,
        progress: &Progress,
    ) -> Result<Option<u64>, Failure> {
        let changes = std::slice::from_ref(&self.change);
        let done = signer
            .change(self.target, changes, &self.command, progress)
            .await?;
        Ok(done.committed.number())
    }
}

/// Plans to set the location that the devices of a group try first; `None` removes the preference.
pub async fn plan_preference<'a>(
    target: &'a Target,
    group: &GroupName,
    location: Option<&LocationName>,
) -> Result<GroupPlan<'a>, Failure> {
    let (command, effect) = match location {
        Some(name) => {
            choose(target, std::slice::from_ref(name)).await?;
            (
                format!("packcast group prefer {group} --location {name}"),
                format!("Lets group {group} download from {name} first"),
            )
        }
        None => (
            format!("packcast group prefer {group} --none"),
            format!("Removes the preferred location of group {group}"),
        ),
    };
    not_unknown(target, group).await?;
    Ok(GroupPlan {
        target,
        group: group.clone(),
        change: StateChange::Prefer {
            group: group.clone(),
            location: location.cloned(),
        },
        command,
        preview: Preview::new(effect)
            .with_groups(target, std::slice::from_ref(group))
            .await?,
    })
}

/// Sets the preferred location of a group, as [`plan_preference`] has planned.
pub async fn prefer(
    plan: GroupPlan<'_>,
    signer: Signer,
    progress: &Progress,
) -> Result<GroupState, Failure> {
    plan.perform(signer, progress).await?;
    of_all_or_known(plan.target, &plan.group).await
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

/// Plans to delete a group. If `force` is set, its packages are withdrawn and its devices removed.
///
/// # Errors
/// Without `force`, a group that has devices or packages is a conflict.
pub async fn plan_deletion<'a>(
    target: &'a Target,
    group: &GroupName,
    force: bool,
) -> Result<GroupPlan<'a>, Failure> {
    let document = to_delete(target, group).await?;
    deletion(target, group, document.as_ref(), force).await
}

/// Finds a group to delete: its document, or `None` if only the record of the group is left.
async fn to_delete(target: &Target, group: &GroupName) -> Result<Option<GroupDocument>, Failure> {
    not_all(group)?;
    let document = committed(target, group).await?;
    let record = target.records.group(group).await?;
    if document.is_none() && record.is_none() {
        return Err(unknown(group));
    }
    Ok(document)
}

/// Decides on the deletion of a group.
async fn deletion<'a>(
    target: &'a Target,
    group: &GroupName,
    document: Option<&GroupDocument>,
    force: bool,
) -> Result<GroupPlan<'a>, Failure> {
    let entries = document.into_iter().flat_map(|it| it.packages.as_slice());
    let packages: Vec<PackageId> = entries.map(|entry| entry.package).collect();
    let preview = Preview::new(format!("Deletes group {group}"));
    let preview = preview
        .with_groups(target, std::slice::from_ref(group))
        .await?;
    if !force && (preview.devices > 0 || !packages.is_empty()) {
        return Err(not_empty(group, preview.devices, packages.len() as u64));
    }
    let options = if force { " --force" } else { "" };
    let records = target.records.packages_of(&packages).await?;
    Ok(GroupPlan {
        target,
        group: group.clone(),
        change: StateChange::DeleteGroup {
            group: group.clone(),
        },
        command: format!("packcast group delete {group}{options}"),
        preview: preview.with_packages(records.iter().map(named)),
    })
}

/// Deletes a group, with one commit: decides with [`plan_deletion`], and makes the change.
pub async fn delete(
    target: &Target,
    group: &GroupName,
    force: bool,
    signer: Signer,
    progress: &Progress,
) -> Result<GroupDeleted, Failure> {
    let document = to_delete(target, group).await?;
    if !force {
        // Devices of an interrupted command are counted, too.
        complete_records(target, progress).await?;
    }
    let plan = deletion(target, group, document.as_ref(), force).await?;
    Ok(GroupDeleted {
        commit: plan.perform(signer, progress).await?,
        group: plan.group,
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
        return Err(Failure::usage(why).refuses(NameKind::Group, group));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::failures;

    #[test]
    fn refused_changes_of_groups_have_next_steps() {
        let all = not_all(&GroupName::all()).unwrap_err();
        let group: GroupName = "lab".parse().unwrap();
        insta::assert_snapshot!(failures([all, not_empty(&group, 1, 2)]), @r"
        Usage: cannot change group all: every device is in the group 'all'
        Conflict: cannot delete group lab: the group has 1 device and 2 packages
        hint: run 'packcast group delete lab --force' to unassign its packages and remove its devices first
        ");
    }
}
