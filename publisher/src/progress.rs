//! Progress of long operations, for interfaces that show it.

use std::fmt;
use std::sync::Arc;

/// The kinds of work that report progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Reads an archive before the first upload; counted in bytes.
    Checking,
    /// Uploads fragments; counted in bytes.
    Publishing,
    /// Fetches a package from its locations; counted in bytes.
    Verifying,
    /// Assigns a package to devices.
    Assigning,
    /// Withdraws a package from devices.
    Unassigning,
    /// Adds devices to a group.
    Adding,
    /// Removes devices from a group.
    Removing,
    /// Signs the assignments of groups and devices again.
    Signing,
    /// Writes the records that follow from commits; counted in devices.
    Recording,
    /// Compares the records of devices with the signed state.
    Auditing,
}

/// A change of the progress of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Work with `total` units begins.
    Begin { work: Work, total: u64 },
    /// This number of further units is done.
    Advance(u64),
    /// The work is complete.
    End,
}

/// Reports the progress of an operation to an interface.
///
/// An operation that fails or is dropped sends no [`Step::End`].
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(Step) + Send + Sync>);

impl Progress {
    /// Creates a progress that calls `on_step` for each step. The calls come from any thread.
    pub fn new(on_step: impl Fn(Step) + Send + Sync + 'static) -> Self {
        Self(Arc::new(on_step))
    }

    /// Creates a progress that ignores all steps.
    pub fn none() -> Self {
        Self::new(|_| {})
    }

    pub(crate) fn begin(&self, work: Work, total: u64) {
        (self.0)(Step::Begin { work, total });
    }

    pub(crate) fn advance(&self, units: u64) {
        (self.0)(Step::Advance(units));
    }

    pub(crate) fn end(&self) {
        (self.0)(Step::End);
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}
