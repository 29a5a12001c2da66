//! The signed state of a target: read from the table, verified, and changed by commits.
//!
//! Nothing of the table is believed: the key lists lead from the root keys of the target to the
//! publisher keys, one of which has signed the head, and the head names all trees and documents by
//! their digests.

pub mod accept;
mod adopt;
mod changed;
mod changer;
mod clock_check;
mod commit;
mod committed;
mod compare;
mod complete;
mod current;
mod error;
mod expiry;
mod failed_records;
mod history;
mod key_list;
mod names;
mod read_limit;
mod reader;
mod record_differences;
mod removal;
pub mod renew;
pub(crate) mod replace;
pub mod restored;
pub(crate) mod rotate;
#[cfg(test)]
mod tests;
mod trees;
mod two_states;

pub(crate) use self::changed::complete_records;
pub use self::changed::{Changed, CompletedChange};
pub use self::changer::StateChanger;
pub(crate) use self::changer::check_clock;
pub use self::clock_check::ClockError;
pub(crate) use self::commit::Leaves;
pub use self::commit::{CommitRequest, Committed, Committer, OnHead};
pub(crate) use self::compare::check_lists;
pub(crate) use self::complete::RecordedUpTo;
pub use self::complete::{Completed, Completing, Scope, complete};
pub(crate) use self::current::{
    current_groups, current_groups_and_rollouts, current_part, current_rollouts,
    current_rollouts_within, warn_of_head, warn_of_state,
};
pub use self::error::StateError;
pub(crate) use self::expiry::WARNED_BEFORE_S;
pub use self::failed_records::FailedRecords;
pub use self::history::{CommitProblem, CommitStanding, History, KeyLists, PastCommit};
pub(crate) use self::key_list::{StateKey, names, planned_list};
pub(crate) use self::names::NeededNames;
pub use self::names::RecordedNames;
pub(crate) use self::read_limit::ReadLimit;
pub use self::reader::{TargetState, VerifiedHead};
pub use self::record_differences::{DifferenceKind, RecordDifference, record_differences};
pub use self::trees::Trees;
pub use self::two_states::ComparedStates;
