//! The memory of a publisher's machine: rollback protection for signed assignments.
//!
//! The records cannot show whether somebody replaced them with older ones.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use packcast_protocol::assignments::{Assignee, Held};

/// The latest state of each assignee's assignments that a publisher has signed or seen.
///
/// Anyone who can write to the table could put an earlier state back, whose signature is still
/// valid.
#[derive(Debug, Default)]
pub struct PublisherMemory(Mutex<BTreeMap<Assignee, Held>>);

impl PublisherMemory {
    pub fn latest(&self, recipient: &Assignee) -> Option<Held> {
        self.states().get(recipient).copied()
    }

    /// Remembers a state, unless a later state is remembered already.
    pub fn advance(&self, recipient: &Assignee, held: Held) {
        let mut states = self.states();
        let latest = states.entry(recipient.clone()).or_insert(held);
        *latest = held.max(*latest);
    }

    /// Returns all remembered states, in the order of the assignees.
    pub fn all(&self) -> Vec<(Assignee, Held)> {
        let states = self.states();
        states
            .iter()
            .map(|(recipient, held)| (recipient.clone(), *held))
            .collect()
    }

    fn states(&self) -> MutexGuard<'_, BTreeMap<Assignee, Held>> {
        // A panic cannot leave a state half written, because each state is one value.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FromIterator<(Assignee, Held)> for PublisherMemory {
    fn from_iter<T: IntoIterator<Item = (Assignee, Held)>>(states: T) -> Self {
        let memory = Self::default();
        for (recipient, held) in states {
            memory.advance(&recipient, held);
        }
        memory
    }
}
