//! What a publisher remembers of what is signed: the records cannot show that they are older.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use packcast_protocol::assignments::{Assignee, Held};

/// The latest state of each recipient's assignments that a publisher has signed or added to.
///
/// Whoever owns the table could put an earlier one back, whose signature holds as well as ever.
#[derive(Debug, Default)]
pub struct PublisherMemory(Mutex<BTreeMap<Assignee, Held>>);

impl PublisherMemory {
    pub fn latest(&self, recipient: &Assignee) -> Option<Held> {
        self.states().get(recipient).copied()
    }

    /// Remembers a state, unless a later one is known.
    pub fn advance(&self, recipient: &Assignee, held: Held) {
        let mut states = self.states();
        let latest = states.entry(recipient.clone()).or_insert(held);
        *latest = held.max(*latest);
    }

    /// Returns all that is known, in the order of the recipients.
    pub fn all(&self) -> Vec<(Assignee, Held)> {
        let states = self.states();
        states
            .iter()
            .map(|(recipient, held)| (recipient.clone(), *held))
            .collect()
    }

    fn states(&self) -> MutexGuard<'_, BTreeMap<Assignee, Held>> {
        // No state is half written: each is one value.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FromIterator<(Assignee, Held)> for PublisherMemory {
    fn from_iter<T: IntoIterator<Item = (Assignee, Held)>>(states: T) -> Self {
        let known = Self::default();
        for (recipient, held) in states {
            known.advance(&recipient, held);
        }
        known
    }
}
