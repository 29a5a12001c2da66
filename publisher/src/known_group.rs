//! Groups by their names, and the refusal of those that do not exist.

use packcast_protocol::{DeviceId, GroupName, PackageId};
use packcast_rollout::GroupState;

use crate::clock::now;
use crate::failure::{Failure, NameKind};
use crate::target::Target;

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

/// Refuses a group that does not exist. The group `all` always exists.
pub(crate) async fn not_unknown(target: &Target, group: &GroupName) -> Result<(), Failure> {
    if !group.is_all() {
        known(target, group).await?;
    }
    Ok(())
}

/// Reads a group, which must exist.
pub(crate) async fn known(target: &Target, group: &GroupName) -> Result<GroupState, Failure> {
    let state = target.records.group(group).await?;
    state.ok_or_else(|| unknown(group))
}

pub(crate) fn unknown(group: &GroupName) -> Failure {
    let group = group.clone();
    GroupRefusal::NoGroup { group }.into()
}

/// Reads a group. The group `all` may have no record.
pub(crate) async fn of_all_or_known(
    target: &Target,
    group: &GroupName,
) -> Result<GroupState, Failure> {
    if group.is_all() {
        let state = target.records.group(group).await?;
        return Ok(state.unwrap_or_else(|| GroupState::new(group.clone(), 0, now())));
    }
    known(target, group).await
}

/// Returns the devices of a group, which must exist, in the order of their ids.
pub(crate) async fn devices_of(
    target: &Target,
    group: &GroupName,
) -> Result<Vec<DeviceId>, Failure> {
    of_all_or_known(target, group).await?;
    Ok(target.records.members(group).await?)
}

impl From<GroupRefusal> for Failure {
    fn from(error: GroupRefusal) -> Self {
        let (GroupRefusal::NoGroup { group }
        | GroupRefusal::Exists { group }
        | GroupRefusal::NotAssigned { group, .. }) = &error;
        let group = group.clone();
        let failure = match error {
            GroupRefusal::NoGroup { .. } => {
                Self::failed(error).hint("run 'packcast group list' to see the groups")
            }
            GroupRefusal::Exists { .. } => Self::conflict(error),
            GroupRefusal::NotAssigned { .. } => Self::failed(error),
        };
        failure.refuses(NameKind::Group, group)
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
    }
}
