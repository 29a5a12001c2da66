//! Progress of long operations, for interfaces that show it.

use std::fmt;
use std::sync::Arc;

use tokio::sync::Notify;

/// The kinds of work that report progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Packs a directory; counted in bytes.
    Packing,
    /// Reads an archive before the first upload; counted in bytes.
    Checking,
    /// Uploads fragments; counted in bytes.
    Publishing,
    /// Fetches a package from its locations; counted in bytes.
    Verifying,
    /// Looks at the records of devices before a package is assigned to them.
    Assigning,
    /// Withdraws the tasks of a package from devices.
    Unassigning,
    /// Looks for devices to add to a group.
    Adding,
    /// Looks for devices to remove from a group, or removes devices.
    Removing,
    /// Writes the records that follow from commits; counted in devices. The result of the operation
    /// is decided before.
    Recording,
    /// Compares the records of devices with the signed state.
    Auditing,
    /// Writes the records of imported devices, and their results.
    Importing,
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
pub struct Progress {
    on_step: Arc<dyn Fn(Step) + Send + Sync>,
    stop: Arc<Notify>,
}

impl Progress {
    /// Creates a progress that calls `on_step` for each step. The calls come from any thread.
    pub fn new(on_step: impl Fn(Step) + Send + Sync + 'static) -> Self {
        Self {
            on_step: Arc::new(on_step),
            stop: Arc::new(Notify::new()),
        }
    }

    /// Creates a progress that ignores all steps.
    pub fn none() -> Self {
        Self::new(|_| {})
    }

    /// Asks the operation to end early, with its result. An operation that has begun
    /// [`Work::Recording`] ends soon; others go on.
    pub fn stop(&self) {
        self.stop.notify_one();
    }

    /// Waits until the interface asks the operation to end early.
    pub(crate) async fn stopped(&self) {
        self.stop.notified().await;
    }

    pub(crate) fn begin(&self, work: Work, total: u64) {
        (self.on_step)(Step::Begin { work, total });
    }

    pub(crate) fn advance(&self, units: u64) {
        (self.on_step)(Step::Advance(units));
    }

    pub(crate) fn end(&self) {
        (self.on_step)(Step::End);
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}
