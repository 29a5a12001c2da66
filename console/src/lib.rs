//! The administration console: pages over the operations of `publisher`, for one person on this
//! machine.
//!
//! The console listens on loopback only. A one-time token opens its only session, and the console ends
//! with the session. It reads and changes the target with the credentials of the person who started it.
//! Each change shows its effect before somebody confirms it, and the signing key stays locked until a
//! change needs it. A read-only console has no addresses that change the target.

mod access;
mod answer;
mod app;
mod assets;
mod bar;
mod calendar;
mod change;
mod command;
mod connections;
mod fleet;
mod handoff;
mod key;
mod layout;
mod listen;
mod live;
mod page;
mod page_error;
mod progress;
mod publish;
mod routes;
mod server;
mod session;
mod terminal_options;
mod token;
mod visit;
mod words;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use packcast_protocol::UnixTime;
use packcast_publisher::Target;

use crate::access::Address;
use crate::app::App;
pub use crate::handoff::{Handoff, HandoffError};
use crate::listen::Listeners;
pub use crate::session::{Ended, IDLE_S};
use crate::token::Token;

/// The clock of a console.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> UnixTime + Send + Sync>);

/// The settings of a console.
#[derive(Clone, Debug)]
pub struct ConsoleOptions {
    /// The port of both addresses of loopback; 0 chooses a port that is free on both.
    pub port: u16,
    /// The options that name the target in command lines, quoted for the shell; empty for the default
    /// target.
    pub target_options: String,
    /// The folder in which the console creates a private folder for uploads.
    pub uploads_dir: PathBuf,
    /// The console has no pages that change the target.
    pub is_read_only: bool,
    pub clock: Clock,
}

/// A console that listens, and does not answer yet.
pub struct Console {
    listeners: Listeners,
    app: App,
    /// The token that opens the session, once.
    token: Token,
}

/// Errors from starting a console.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    #[error("cannot listen on {address}")]
    Listen {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("cannot create a token: the system has no random numbers")]
    Random { source: getrandom::Error },
}

impl Clock {
    /// Creates a clock from a function that returns the time.
    pub fn new(now: impl Fn() -> UnixTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Returns the clock of the system.
    pub fn system() -> Self {
        Self::new(packcast_publisher::clock::now)
    }

    fn now(&self) -> UnixTime {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console")
            .field("address", self.app.address())
            .finish_non_exhaustive()
    }
}

impl Console {
    /// Listens on both addresses of loopback for a target. The secrets of the target must ask nobody:
    /// the pages ask for the passphrase of its key.
    pub async fn bind(target: Target, options: ConsoleOptions) -> Result<Self, ConsoleError> {
        let listeners = Listeners::bind(options.port).await?;
        let random = |source| ConsoleError::Random { source };
        let label = Token::random().map_err(random)?;
        let token = Token::random().map_err(random)?;
        let address = Address::new(&label.host_label(), listeners.port);
        let app = App::new(target, address, token.clone(), options);
        Ok(Self {
            listeners,
            app,
            token,
        })
    }

    /// Returns the address of the console, such as `http://k5v2….localhost:8470`.
    pub fn address(&self) -> &str {
        self.app.address().origin()
    }

    /// Returns the address with the one-time token in its fragment, which browsers do not send: the
    /// page itself posts the token. Anybody who reads this text first can open the session.
    pub fn sign_in_link(&self) -> String {
        format!("{}/sign-in#{}", self.address(), self.token.reveal())
    }

    /// Writes a file that only its owner can read, with a page that posts the one-time token.
    pub fn handoff(&self, folder: &Path) -> Result<Handoff, HandoffError> {
        Handoff::write(folder, self.address(), &self.token)
    }

    /// Answers requests until the session ends, or until `stop` completes.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Ended {
        server::serve(self.listeners, self.app, stop).await
    }
}
