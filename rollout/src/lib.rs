//! Who gets what, and when: pure decisions over records.
//!
//! Nothing here does I/O, reads a clock or draws a random number. The check-in function reads
//! records, asks this crate, and commits what it answers.

pub mod announce;
pub mod assign;
pub mod assignments;
pub mod change;
pub mod contact;
pub mod explain;
pub mod fold;
pub mod group;
mod group_document;
pub mod keys;
pub mod locations;
pub mod membership;
pub mod order;
pub mod pace;
pub mod reconcile;
pub mod record;
pub mod unassign;
pub mod validity;

pub use announce::{Announcement, NotAnnounced, Pick, Rules, announce};
pub use change::TaskChange;
pub use contact::{Contact, ReportedFacts, contact};
pub use explain::{Evidence, Explanation, Reason, explain};
pub use fold::{Fold, Ignored, ReportedBy, fold};
pub use group::GroupState;
pub use membership::{Memberships, Round};
pub use order::{CommandRecord, DeviceCommand, DeviceCommands};
pub use pace::{Pacing, PacingChange, PacingOverride};
pub use record::{
    DeviceRecord, FinishedTask, LocationRecord, OpenTask, PackageRecord, PackageState, Published,
    TaskState,
};
