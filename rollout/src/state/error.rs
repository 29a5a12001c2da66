//! Errors from changing a state.

use packcast_protocol::state::document::{DeviceGroupsError, MAX_DEVICE_GROUPS, MAX_ENTRIES};
use packcast_protocol::{DeviceId, GroupName, PackageId};

use super::change::EntryOwner;
use super::part::NotLoaded;

/// Errors from changing a state. Nothing of a change is signed if there is one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateChangeError {
    #[error("group {group} does not exist: create it with 'packcast group create {group}'")]
    NoGroup { group: GroupName },
    #[error("the group all contains every device: a device neither joins nor leaves it")]
    MembersOfAll,
    #[error("the group all cannot be deleted: unassign its packages instead")]
    DeleteAll,
    #[error("the group all cannot be renamed: create another group, and add devices to it")]
    RenameAll,
    #[error(
        "package {package} of group {group} is in a rollout, which names the group: end the rollout before you rename the group"
    )]
    InRollout {
        group: GroupName,
        package: PackageId,
    },
    #[error("group {group} exists already: choose another name, or delete the group first")]
    Exists { group: GroupName },
    #[error(
        "{device} is in {MAX_DEVICE_GROUPS} groups, which is the limit: remove it from one with 'packcast group remove'"
    )]
    TooManyGroups { device: DeviceId },
    #[error(
        "{owner} has {MAX_ENTRIES} packages, which is the limit: unassign one, or use another group"
    )]
    TooManyPackages { owner: EntryOwner },
    #[error("cannot change the groups of {device}")]
    Groups {
        device: DeviceId,
        #[source]
        source: DeviceGroupsError,
    },
    #[error(transparent)]
    NotLoaded(#[from] NotLoaded),
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use packcast_protocol::state::LeafName;

    use super::*;
    use crate::record::tests::id;
    use crate::state::samples::{device, group, of_group};

    #[test]
    fn error_messages() {
        let errors = [
            StateChangeError::NoGroup {
                group: group("lab"),
            },
            StateChangeError::MembersOfAll,
            StateChangeError::DeleteAll,
            StateChangeError::RenameAll,
            StateChangeError::InRollout {
                group: group("lab"),
                package: id(1),
            },
            StateChangeError::Exists {
                group: group("office"),
            },
            StateChangeError::TooManyGroups {
                device: device("web01"),
            },
            StateChangeError::TooManyPackages {
                owner: of_group("lab"),
            },
            StateChangeError::Groups {
                device: device("web01"),
                source: DeviceGroupsError::NamesAll,
            },
            StateChangeError::NotLoaded(NotLoaded {
                name: LeafName::Group(group("lab")),
            }),
        ];
        let lines = errors.map(|error| {
            let source = error.source().map(|source| format!(": {source}"));
            format!("{error}{}", source.unwrap_or_default())
        });
        insta::assert_snapshot!(lines.join("\n"), @r"
        group lab does not exist: create it with 'packcast group create lab'
        the group all contains every device: a device neither joins nor leaves it
        the group all cannot be deleted: unassign its packages instead
        the group all cannot be renamed: create another group, and add devices to it
        package 1790000001 of group lab is in a rollout, which names the group: end the rollout before you rename the group
        group office exists already: choose another name, or delete the group first
        ocs:web01-2026-03-04-05-06-07 is in 40 groups, which is the limit: remove it from one with 'packcast group remove'
        group lab has 1000 packages, which is the limit: unassign one, or use another group
        cannot change the groups of ocs:web01-2026-03-04-05-06-07: a device does not name the group all: every device is in it
        the decision needs group/lab, which was not loaded
        ");
    }
}
