//! Errors from changing a state.

use packcast_protocol::state::document::{MAX_DEVICE_GROUPS, MAX_ENTRIES};
use packcast_protocol::{DeviceId, GroupName};

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
    #[error(
        "{device} is in {MAX_DEVICE_GROUPS} groups, which is the limit: remove it from one with 'packcast group remove'"
    )]
    TooManyGroups { device: DeviceId },
    #[error(
        "{owner} has {MAX_ENTRIES} packages, which is the limit: unassign one, or use another group"
    )]
    TooManyPackages { owner: EntryOwner },
    #[error(transparent)]
    NotLoaded(#[from] NotLoaded),
}
