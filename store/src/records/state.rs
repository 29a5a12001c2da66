//! The signed state of a target: its head, commits, pages, documents and key lists.
//!
//! Commits, pages, documents and key lists are found by their digests and never change. Only the
//! head changes, on the condition that it is still the parent of the new commit.

mod commits;
mod content;
mod documents;
mod head;
mod key_lists;
mod pages;
mod pause;
mod service_time;

pub use commits::{CommitRecord, OrderedCommit};
pub use head::{Head, HeadChange, HeadChanged, RecordedHead};
pub use pages::StoredPage;
pub use pause::Pause;
pub use service_time::ServiceTime;
