//! The parts of a service that its loop, its clients and its signals share.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use packcast_https::TlsError;
use packcast_protocol::{UnixTime, with_causes};
use tokio::sync::{Notify, broadcast, watch};
use tokio_util::sync::CancellationToken;

use super::activity::Activity;
use super::message::Reply;
use crate::clock::now;
use crate::config::{Config, ConfigError, FixedOptions, FixedOptionsChanged};
use crate::event::Event;
use crate::event::Observer;
use crate::run::{Connections, RunError};

/// The number of events that a slow client may be behind.
const EVENT_BACKLOG: usize = 256;

/// The shared parts of a service.
#[derive(Debug)]
pub(super) struct Shared {
    config_file: PathBuf,
    fixed: FixedOptions,
    activity: watch::Sender<Activity>,
    events: broadcast::Sender<Event>,
    rounds: watch::Sender<Rounds>,
    /// Ends the pause between two rounds.
    wake: Notify,
    /// The configuration from the next round on.
    next: Mutex<Option<Settings>>,
    stop: CancellationToken,
}

/// A configuration, with the connections that it describes.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) config: Config,
    pub(super) connections: Connections,
}

/// Errors from reading the configuration again.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReloadError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Fixed(#[from] FixedOptionsChanged),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl ReloadError {
    /// Returns the exit code of a command that asks for a reload.
    pub(super) const fn exit_code(&self) -> u8 {
        match self {
            Self::Fixed(_) => 1,
            Self::Config(_) | Self::Tls(_) => 2,
        }
    }
}

/// The numbers of rounds of this process.
#[derive(Debug, Default)]
struct Rounds {
    begun: u64,
    ended: u64,
    /// The error of the latest round, with the exit code of a command.
    failure: Option<(String, u8)>,
}

/// A round that a client waits for.
#[derive(Debug)]
pub(super) struct AskedRound {
    number: u64,
    rounds: watch::Receiver<Rounds>,
    /// `true` if another round is under way.
    pub(super) has_to_wait: bool,
}

impl Shared {
    pub(super) fn new(config_file: PathBuf, config: &Config, stop: CancellationToken) -> Self {
        Self {
            config_file,
            fixed: FixedOptions::of(config),
            activity: watch::Sender::default(),
            events: broadcast::Sender::new(EVENT_BACKLOG),
            rounds: watch::Sender::default(),
            wake: Notify::new(),
            next: Mutex::default(),
            stop,
        }
    }

    /// Returns an observer that passes each event to `print`, to the activity and to clients.
    pub(super) fn observer(self: &Arc<Self>, print: Observer) -> Observer {
        let shared = Arc::clone(self);
        Arc::new(move |event: Event| {
            shared
                .activity
                .send_modify(|activity| activity.observe(&event, now()));
            // An error means that no client listens.
            let _ = shared.events.send(event.clone());
            print(event);
        })
    }

    pub(super) fn activity(&self) -> Activity {
        Activity {
            is_stopping: self.stop.is_cancelled(),
            ..self.activity.borrow().clone()
        }
    }

    /// Returns the activity in one line, for the service manager.
    pub(super) fn status_line(&self) -> String {
        self.activity.borrow().line(self.stop.is_cancelled())
    }

    /// Returns a receiver of changes of the activity.
    pub(super) fn activity_changes(&self) -> watch::Receiver<Activity> {
        self.activity.subscribe()
    }

    pub(super) fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    pub(super) const fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    pub(super) fn begin_round(&self) {
        self.activity.send_modify(Activity::begin);
        self.rounds.send_modify(|rounds| rounds.begun += 1);
    }

    /// Notes the end of a round, and the time of the next one.
    pub(super) fn end_round(&self, ended: &Result<u32, RunError>, next: UnixTime) {
        let failure = match ended {
            Err(error) => Some((with_causes(error), error.exit_code())),
            Ok(_) if self.stop.is_cancelled() => Some(("the service stops".to_owned(), 1)),
            Ok(_) => None,
        };
        let detail = failure.as_ref().map(|(detail, _)| detail.clone());
        self.activity
            .send_modify(|activity| activity.end(detail, next));
        self.rounds.send_modify(|rounds| {
            rounds.ended = rounds.begun;
            rounds.failure = failure;
        });
    }

    /// Begins a round at once, or after the round under way.
    pub(super) fn ask_for_round(&self) -> AskedRound {
        let rounds = self.rounds.subscribe();
        let (number, has_to_wait) = {
            let rounds = rounds.borrow();
            (rounds.begun + 1, rounds.begun > rounds.ended)
        };
        // The notification is kept until the round under way has ended.
        self.wake.notify_one();
        AskedRound {
            number,
            rounds,
            has_to_wait,
        }
    }

    /// Waits until a client asks for a round, or until there is another configuration.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Reads the configuration again, for the next round, which begins as soon as possible.
    ///
    /// # Errors
    /// The configuration is invalid, or needs a new process. The present one stays as a whole.
    pub(super) fn reload(&self) -> Result<(), ReloadError> {
        self.try_reload().inspect_err(|error| {
            let error = with_causes(error);
            tracing::error!(
                error,
                "cannot use the new configuration: the present one stays"
            );
        })
    }

    fn try_reload(&self) -> Result<(), ReloadError> {
        let config = Config::load_unchangeable(&self.config_file)?;
        if let Some(ignored) = config.ignored_options() {
            tracing::warn!("{ignored}");
        }
        self.fixed.expect_same(&config)?;
        let connections = Connections::new(&config)?;
        let settings = Settings {
            config,
            connections,
        };
        self.next_settings().replace(settings);
        self.wake.notify_one();
        tracing::info!("read the configuration again");
        Ok(())
    }

    /// Takes the configuration that was read since the last call.
    pub(super) fn take_settings(&self) -> Option<Settings> {
        self.next_settings().take()
    }

    fn next_settings(&self) -> std::sync::MutexGuard<'_, Option<Settings>> {
        // A panic cannot leave the value half-changed.
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AskedRound {
    /// Waits for the end of the round, and returns the last reply to the client.
    pub(super) async fn ended(&mut self) -> Reply {
        let number = self.number;
        match self.rounds.wait_for(|rounds| rounds.ended >= number).await {
            Ok(rounds) => match &rounds.failure {
                None => Reply::Done,
                Some((detail, exit_code)) => Reply::Failed {
                    detail: detail.clone(),
                    exit_code: *exit_code,
                },
            },
            Err(_) => Reply::Failed {
                detail: "the service stops".to_owned(),
                exit_code: 1,
            },
        }
    }
}
