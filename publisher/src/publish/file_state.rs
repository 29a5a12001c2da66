//! The facts of a file that change when somebody writes to the file, or puts another one in its place.

use std::fs::Metadata;
use std::time::SystemTime;

/// The facts of a file at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileState {
    pub(super) bytes: u64,
    /// `None` on a system without this time.
    modified: Option<SystemTime>,
    /// Volume and number of the file; zero on a system without them.
    place: (u64, u64),
}

impl FileState {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
            place: place(metadata),
        }
    }
}

#[cfg(unix)]
fn place(metadata: &Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt as _;

    (metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
const fn place(_metadata: &Metadata) -> (u64, u64) {
    (0, 0)
}
