//! The state of a console.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use packcast_protocol::UnixTime;
use packcast_publisher::Target;
use packcast_publisher::shell::Shell;
use tokio::sync::watch;

use crate::access::Address;
use crate::change::ledger::{ChangeEnd, Ledger};
use crate::command::Commands;
use crate::fleet::Fleet;
use crate::key::{KeyState, SessionKey};
use crate::publish::wizards::Wizards;
use crate::session::{Door, Ended};
use crate::token::Token;
use crate::{Clock, ConsoleOptions};

/// The state of a console. Clones share it.
#[derive(Clone)]
pub(crate) struct App(Arc<AppState>);

struct AppState {
    target: Target,
    address: Address,
    clock: Clock,
    commands: Commands,
    door: Mutex<Door>,
    fleet: Fleet,
    wizards: Wizards,
    is_read_only: bool,
    key: SessionKey,
    ledger: Mutex<Ledger>,
    /// Tells of the end of each change.
    ends: watch::Sender<()>,
    /// `Some` once the console has ended.
    ended: watch::Sender<Option<Ended>>,
}

impl App {
    pub(crate) fn new(
        mut target: Target,
        address: Address,
        token: Token,
        options: ConsoleOptions,
    ) -> Self {
        let since = options.clock.now();
        let key = SessionKey::default();
        target.secrets = key.secrets(target.secrets, options.clock.clone());
        Self(Arc::new(AppState {
            target,
            address,
            clock: options.clock,
            commands: Commands::new(options.target_options, Shell::of_system()),
            door: Mutex::new(Door::Closed { token, since }),
            fleet: Fleet::default(),
            wizards: Wizards::new(options.uploads_dir),
            is_read_only: options.is_read_only,
            key,
            ledger: Mutex::default(),
            ends: watch::Sender::new(()),
            ended: watch::Sender::new(None),
        }))
    }

    pub(crate) fn target(&self) -> &Target {
        &self.0.target
    }

    pub(crate) fn address(&self) -> &Address {
        &self.0.address
    }

    pub(crate) fn now(&self) -> UnixTime {
        self.0.clock.now()
    }

    pub(crate) fn commands(&self) -> &Commands {
        &self.0.commands
    }

    pub(crate) fn fleet(&self) -> &Fleet {
        &self.0.fleet
    }

    pub(crate) fn wizards(&self) -> &Wizards {
        &self.0.wizards
    }

    /// Returns true if the console changes nothing.
    pub(crate) fn is_read_only(&self) -> bool {
        self.0.is_read_only
    }

    pub(crate) fn key(&self) -> &SessionKey {
        &self.0.key
    }

    pub(crate) fn key_state(&self) -> KeyState {
        if self.is_read_only() {
            KeyState::ReadOnly
        } else if self.key().is_unlocked(self.now()) {
            KeyState::Unlocked
        } else {
            KeyState::Locked
        }
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a change.
    pub(crate) fn end_change(&self, number: u64, end: ChangeEnd) {
        self.ledger().end(number, end);
        self.0.ends.send_replace(());
    }

    /// Returns the ends of changes, to wait for one.
    pub(crate) fn ends(&self) -> watch::Receiver<()> {
        self.0.ends.subscribe()
    }

    /// Completes the changes that were begun. Records that the next change can complete are left out.
    pub(crate) async fn complete_changes(&self) {
        self.ledger().close();
        let mut ends = self.ends();
        // The sender lives as long as this value.
        let _ = ends
            .wait_for(|()| self.ledger().running().next().is_none())
            .await;
    }

    pub(crate) fn door(&self) -> MutexGuard<'_, Door> {
        self.0.door.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the console.
    pub(crate) fn end(&self, ended: Ended) {
        self.0.ended.send_if_modified(|before| {
            let is_first = before.is_none();
            before.get_or_insert(ended);
            is_first
        });
    }

    /// Returns the end of the console, to wait for it.
    pub(crate) fn ended(&self) -> watch::Receiver<Option<Ended>> {
        self.0.ended.subscribe()
    }

    /// Ends the console if nobody has used it for too long. Locks a key that nobody has used for too
    /// long.
    pub(crate) fn end_if_idle(&self) {
        self.key().is_unlocked(self.now());
        let ended = self.door().end_if_idle(self.now());
        if let Some(ended) = ended {
            self.end(ended);
        }
    }
}
