//! The check-in function, whose caches end with the next change by an administrator.

use std::sync::{Arc, Mutex, PoisonError};

use packcast_check_in::CheckInFunction;

use crate::engine::Changes;

/// A check-in function that acts on each change of an administrator at once.
///
/// In the cloud, a warm function caches groups, packages and the head of the state for a minute,
/// because other writers cannot tell it of their changes. Here all changes pass through the engine of
/// this process.
#[derive(Debug)]
pub struct CheckIns {
    changes: Changes,
    current: Mutex<CurrentFunction>,
}

#[derive(Debug)]
struct CurrentFunction {
    function: Arc<CheckInFunction>,
    /// The number of changes that preceded everything that the function has cached.
    changes: u64,
}

impl CheckIns {
    pub fn new(function: CheckInFunction, changes: Changes) -> Self {
        let current = CurrentFunction {
            function: Arc::new(function),
            changes: changes.number(),
        };
        Self {
            changes,
            current: Mutex::new(current),
        }
    }

    /// Returns the function for one request: it has cached nothing that was read before the latest
    /// change.
    ///
    /// A request under way keeps its function, so an earlier read never enters the new caches.
    pub fn function(&self) -> Arc<CheckInFunction> {
        let changes = self.changes.number();
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        // Another request may have seen a later change.
        if current.changes < changes {
            current.function = Arc::new(current.function.with_empty_caches());
            current.changes = changes;
        }
        Arc::clone(&current.function)
    }
}
