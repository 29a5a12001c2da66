//! The engine as a service of this process, and the count of changes that others make.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dynoxide::Database;
use packcast_store::records::{ServiceAnswer, TableService};

use super::operations;

/// The number of requests of administrators that may have changed the records.
///
/// The check-in function is the only other writer, and knows its own changes. So it may cache what it
/// has read as long as this number stays the same. Clones share the number.
#[derive(Clone, Debug, Default)]
pub struct Changes(Arc<AtomicU64>);

impl Changes {
    /// Returns the present number.
    pub(crate) fn number(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    fn count(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// The engine, called directly.
#[derive(Clone)]
pub(super) struct EngineService {
    database: Database,
    /// Count of the changes through this service; `None` if they are not counted.
    changes: Option<Changes>,
}

impl fmt::Debug for EngineService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("EngineService");
        shown
            .field("changes", &self.changes)
            .finish_non_exhaustive()
    }
}

impl EngineService {
    /// Returns the service for the check-in function, whose changes are not counted.
    pub(super) const fn of_function(database: Database) -> Self {
        Self {
            database,
            changes: None,
        }
    }

    /// Returns the service for administrators, whose changes are counted.
    pub(super) const fn of_administrators(database: Database, changes: Changes) -> Self {
        Self {
            database,
            changes: Some(changes),
        }
    }
}

impl TableService for EngineService {
    fn perform(&self, operation: &str, body: &[u8]) -> ServiceAnswer {
        let answer = operations::perform(&self.database, operation, body);
        // After the change and before its answer: a check-in that begins after the answer reads the
        // new records.
        if let Some(changes) = self
            .changes
            .as_ref()
            .filter(|_| operations::changes(operation))
        {
            changes.count();
        }
        answer
    }
}
