//! The state of a console.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use packcast_protocol::UnixTime;
use packcast_publisher::Target;
use packcast_publisher::shell::Shell;
use tokio::sync::watch;

use crate::access::Address;
use crate::command::Commands;
use crate::fleet::Fleet;
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
    /// `Some` once the console has ended.
    ended: watch::Sender<Option<Ended>>,
}

impl App {
    pub(crate) fn new(
        target: Target,
        address: Address,
        token: Token,
        options: ConsoleOptions,
    ) -> Self {
        let since = options.clock.now();
        Self(Arc::new(AppState {
            target,
            address,
            clock: options.clock,
            commands: Commands::new(options.target_options, Shell::of_system()),
            door: Mutex::new(Door::Closed { token, since }),
            fleet: Fleet::default(),
            wizards: Wizards::new(options.uploads_dir),
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

    /// Ends the console if nobody has used it for too long.
    pub(crate) fn end_if_idle(&self) {
        let ended = self.door().end_if_idle(self.now());
        if let Some(ended) = ended {
            self.end(ended);
        }
    }
}
