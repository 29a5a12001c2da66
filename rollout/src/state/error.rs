//! Errors from changing a state.

use packcast_protocol::state::RolloutId;
use packcast_protocol::state::document::WavesError;
use packcast_protocol::state::document::{DeviceGroupsError, MAX_DEVICE_GROUPS, MAX_ENTRIES};
use packcast_protocol::state::held::MAX_HELD_ROLLOUTS;
use packcast_protocol::{DeviceId, GroupName, PackageId};

use super::change::EntryOwner;
use super::part::NotLoaded;

/// Largest number of rollouts of a target at a time. A device keeps the documents of as many.
pub const MAX_ROLLOUTS: usize = MAX_HELD_ROLLOUTS;

/// Errors from changing a state. Nothing of a change is signed if there is one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateChangeError {
    #[error("group {group} does not exist: create it with 'packcast group create {group}'")]
    NoGroup { group: GroupName },
    #[error("the group all contains every device: a device neither joins nor leaves it")]
    MembersOfAll,
    #[error("the group all cannot be deleted: unassign its packages instead")]
    DeleteAll,
    #[error("the group all cannot be renamed: every device is in it")]
    RenameAll,
    #[error(
        "group {group} cannot be renamed to {to}: rollout {rollout} names group {named}; finish or end the rollout first"
    )]
    NamedByRollout {
        group: GroupName,
        to: GroupName,
        /// One of both names.
        named: GroupName,
        rollout: RolloutId,
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
    #[error("rollout {rollout} does not exist: it was ended or finished")]
    NoRollout { rollout: RolloutId },
    #[error("rollout {rollout} exists already, for another package or other groups")]
    OtherRollout { rollout: RolloutId },
    #[error(
        "package {package} has rollout {rollout} already: a package has at most one rollout at a time"
    )]
    SecondRollout {
        package: PackageId,
        rollout: RolloutId,
    },
    #[error("the target has {MAX_ROLLOUTS} rollouts, which is the limit: finish or end one")]
    TooManyRollouts,
    #[error("{owner} has package {package} by rollout {rollout}: finish or end the rollout first")]
    InRollout {
        owner: EntryOwner,
        package: PackageId,
        rollout: RolloutId,
    },
    #[error("rollout {rollout} is not for package {package} of {owner}")]
    NotOfRollout {
        owner: EntryOwner,
        package: PackageId,
        rollout: RolloutId,
    },
    #[error("cannot open the wave of rollout {rollout}")]
    Waves {
        rollout: RolloutId,
        #[source]
        source: WavesError,
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
        let rollout = RolloutId::from_bytes([7; 16]);
        let errors = [
            StateChangeError::NoGroup {
                group: group("lab"),
            },
            StateChangeError::MembersOfAll,
            StateChangeError::DeleteAll,
            StateChangeError::RenameAll,
            StateChangeError::NamedByRollout {
                group: group("lab"),
                to: group("office"),
                named: group("office"),
                rollout,
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
            StateChangeError::NoRollout { rollout },
            StateChangeError::OtherRollout { rollout },
            StateChangeError::SecondRollout {
                package: id(1),
                rollout,
            },
            StateChangeError::TooManyRollouts,
            StateChangeError::InRollout {
                owner: of_group("lab"),
                package: id(1),
                rollout,
            },
            StateChangeError::NotOfRollout {
                owner: of_group("lab"),
                package: id(1),
                rollout,
            },
            StateChangeError::Waves {
                rollout,
                source: WavesError::Last,
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
        the group all cannot be renamed: every device is in it
        group lab cannot be renamed to office: rollout a4dqobyha4dqobyha4dqobyha4 names group office; finish or end the rollout first
        group office exists already: choose another name, or delete the group first
        ocs:web01-2026-03-04-05-06-07 is in 40 groups, which is the limit: remove it from one with 'packcast group remove'
        group lab has 1000 packages, which is the limit: unassign one, or use another group
        cannot change the groups of ocs:web01-2026-03-04-05-06-07: a device does not name the group all: every device is in it
        rollout a4dqobyha4dqobyha4dqobyha4 does not exist: it was ended or finished
        rollout a4dqobyha4dqobyha4dqobyha4 exists already, for another package or other groups
        package 1790000001 has rollout a4dqobyha4dqobyha4dqobyha4 already: a package has at most one rollout at a time
        the target has 64 rollouts, which is the limit: finish or end one
        group lab has package 1790000001 by rollout a4dqobyha4dqobyha4dqobyha4: finish or end the rollout first
        rollout a4dqobyha4dqobyha4dqobyha4 is not for package 1790000001 of group lab
        cannot open the wave of rollout a4dqobyha4dqobyha4dqobyha4: the last wave must have the bound 10000, so that each device has a wave
        the decision needs group/lab, which was not loaded
        ");
    }
}
