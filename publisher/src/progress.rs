//! Progress of long operations, for whoever shows it.

use std::fmt;
use std::sync::Arc;

/// The kinds of work that take long enough to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// An archive is read before anything is uploaded; counted in bytes.
    Checking,
    /// Fragments are uploaded; counted in bytes.
    Publishing,
    /// A package is fetched back; counted in bytes.
    Verifying,
    /// Devices are assigned a package.
    Assigning,
    /// Assignments of devices are withdrawn.
    Unassigning,
    /// Devices are added to a group.
    Adding,
    /// Devices are removed from a group.
    Removing,
    /// Groups and devices get new signatures.
    Signing,
}

/// A change of an operation's progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A piece of work begins that has `total` units.
    Begin { work: Work, total: u64 },
    /// So many more units are done.
    Advance(u64),
    /// The piece of work is complete.
    End,
}

/// Passes the progress of an operation on. An operation that fails or is dropped sends no
/// [`Step::End`].
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(Step) + Send + Sync>);

impl Progress {
    /// Creates a progress that calls `on_step` for each step, from any thread.
    pub fn new(on_step: impl Fn(Step) + Send + Sync + 'static) -> Self {
        Self(Arc::new(on_step))
    }

    /// Creates a progress that nobody sees.
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
