//! The open connections of a console: those of the session, and those of strangers.
//!
//! Every user of the machine can connect. If connections had to wait for a free place, somebody could
//! hold all places and block the console. So a new connection always gets a place, and the oldest of
//! its kind is closed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The number of connections without a session, and of those with the session.
const STRANGERS: usize = 32;
const OWN: usize = 64;

/// The connections of a console. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connections(Arc<Mutex<Places>>);

#[derive(Debug, Default)]
struct Places {
    next: u64,
    /// A connection is closed when its value here is dropped. The oldest comes first.
    strangers: BTreeMap<u64, oneshot::Sender<()>>,
    own: BTreeMap<u64, oneshot::Sender<()>>,
}

/// One open connection. It leaves its place when the last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct OpenConnection(Arc<Place>);

#[derive(Debug)]
struct Place {
    number: u64,
    connections: Connections,
}

impl Connections {
    /// Gives a new connection a place among the strangers. The second value completes when the
    /// connection has to be closed.
    pub(crate) fn open(&self) -> (OpenConnection, oneshot::Receiver<()>) {
        let (sender, closed) = oneshot::channel();
        let mut places = self.lock();
        let number = places.next;
        places.next += 1;
        places.strangers.insert(number, sender);
        if places.strangers.len() > STRANGERS {
            places.strangers.pop_first();
        }
        drop(places);
        let connections = self.clone();
        let place = Place {
            number,
            connections,
        };
        (OpenConnection(Arc::new(place)), closed)
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenConnection {
    /// Moves the connection to those of the session.
    pub(crate) fn belongs_to_session(&self) {
        let Place {
            number,
            connections,
        } = &*self.0;
        let mut places = connections.lock();
        let Some(sender) = places.strangers.remove(number) else {
            return;
        };
        places.own.insert(*number, sender);
        if places.own.len() > OWN {
            places.own.pop_first();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.connections.lock();
        places.strangers.remove(&self.number);
        places.own.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_close_the_oldest_stranger_and_no_connection_of_the_session() {
        let connections = Connections::default();
        let (own, mut own_closed) = connections.open();
        own.belongs_to_session();
        let mut strangers: Vec<_> = (0..=STRANGERS).map(|_| connections.open()).collect();
        let is_closed = |closed: &mut oneshot::Receiver<()>| {
            matches!(closed.try_recv(), Err(oneshot::error::TryRecvError::Closed))
        };
        assert!(is_closed(&mut strangers[0].1));
        assert!(
            strangers[1..]
                .iter_mut()
                .all(|(_, closed)| !is_closed(closed))
        );
        assert!(!is_closed(&mut own_closed));
        // A place that was left is free again.
        strangers.pop();
        let (_last, _closed) = connections.open();
        assert!(!is_closed(&mut strangers[1].1));
        drop(own);
        assert!(is_closed(&mut own_closed));
    }
}
