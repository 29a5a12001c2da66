//! Who gets what, and when: pure decisions over records.
//!
//! Nothing here does I/O, reads a clock or draws a random number. The check-in function reads
//! records, asks this crate, and commits what it answers.

pub mod announce;
pub mod assign;
pub mod contact;
pub mod fold;
pub mod pace;
pub mod record;

pub use announce::{Announcement, NotAnnounced, Pick, Rules, announce};
pub use contact::{Contact, Introduction, contact};
pub use fold::{Fold, Ignored, ReportedBy, fold};
pub use record::{
    DeviceRecord, FinishedTask, LocationRecord, OpenTask, PackageRecord, PackageState, Published,
    TaskState,
};
