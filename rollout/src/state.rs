//! Decisions of a publisher on the signed state of a target.
//!
//! A change is decided in four steps, each a pure function:
//!
//! 1. [`needed`] names the leaves that the changes need.
//! 2. [`apply`] returns the documents after the changes, or all errors.
//! 3. [`names_to_project`] names the leaves whose records follow from the new head, and
//!    [`project_group`], [`project_packages`] and [`project_device`] decide these records.
//! 4. [`difference`] tells an administrator the differences between any two states.
//!
//! [`revert`] and [`AdoptedRemovals`] return changes for [`apply`].

mod adopted;
mod apply;
mod change;
mod difference;
mod error;
mod part;
mod project;
mod revert;
#[cfg(test)]
mod samples;

pub use adopted::{AdoptedEntries, AdoptedRemovals};
pub use apply::{ChangeOutcome, PlannedState, apply, check_rename};
pub use change::{
    EntryOwner, NewAssignment, StateChange, needed, needed_members, needs_all_rollouts,
};
pub(crate) use difference::{NAMED_DEVICES, settings};
pub use difference::{StateDifference, StateNames, changes_of, difference};
pub use error::{MAX_ROLLOUTS, StateChangeError};
pub use part::{NotLoaded, StatePart, StatePartError};
pub use project::{
    DeviceLeaf, DeviceProjection, EarlierDevice, EarlierDocuments, GroupPackages, RecordedDevice,
    has_records, names_to_project, project_all_packages, project_device, project_group,
    project_packages, renamed_groups,
};
pub use revert::{RevertOptions, Reverted, revert};
