//! The agent as a service: rounds without end, the service manager, and the local socket.

mod activity;
pub(crate) mod client;
mod manager;
pub(crate) mod message;
mod shared;
mod socket;

use std::convert::Infallible;
use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use packcast_protocol::with_causes;
use tokio::sync::Notify;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

pub(crate) use self::activity::Activity;
pub(crate) use self::manager::ServiceManager;
use self::shared::{Settings, Shared};
use crate::clock::now;
use crate::command::version_role::VersionRole;
use crate::config::Config;
use crate::event::Observer;
use crate::platform::LocalListener;
use crate::run::{Agent, RunError};
use crate::signals::{Controls, Hangup};
use crate::{retry, state};

/// The reason why a service has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServiceEnd {
    /// The agent was asked to stop.
    Stopped,
    /// The agent has staged another version, which the starter has to run.
    StagedVersion,
}

/// Returns the effect of SIGHUP on a service.
pub(crate) fn on_hangup() -> Hangup {
    // Without a service manager, SIGHUP comes when the agent's terminal is closed.
    if ServiceManager::of_environment().is_present() {
        Hangup::Reloads
    } else {
        Hangup::Stops
    }
}

/// Runs rounds until the agent is asked to stop, or until it has staged another version.
///
/// `role` is the role in which a starter runs this process.
pub(crate) async fn run(
    config_file: PathBuf,
    config: Config,
    print: Observer,
    controls: Controls,
    role: Option<VersionRole>,
) -> Result<ServiceEnd, RunError> {
    let manager = ServiceManager::of_environment();
    let Controls { stop, reload } = controls;
    let shared = Arc::new(Shared::new(config_file, &config, stop.clone()));
    let socket = state::socket(&config.state_dir);
    let mut agent = Agent::open(config, shared.observer(print), stop)?;
    if let Some(role) = role {
        agent.run_as(role);
    }
    // The agent holds the lock, so an existing socket belongs to an agent that has ended.
    let serving = match LocalListener::bind(&socket) {
        Ok(listener) => Some(tokio::spawn(socket::serve(listener, Arc::clone(&shared)))),
        Err(error) => {
            tracing::warn!(socket = %socket.display(), %error, "cannot listen on the local socket: `packcast-agent check-in` does not work");
            None
        }
    };
    manager.ready().await;
    // All three run in this task. So the service manager gets a sign of life only while the task
    // that runs the rounds goes on.
    tokio::select! {
        () = rounds(&mut agent, &shared) => {}
        never = inform(&manager, &shared, role) => match never {},
        never = reload_on(&reload, &manager, &shared) => match never {},
    }
    // This process may go on as the starter of another version.
    if let Some(serving) = serving {
        serving.abort();
    }
    // The removal fails if there was no socket.
    let _ = std::fs::remove_file(socket);
    Ok(
        if agent.has_staged_version() && !shared.stop().is_cancelled() {
            ServiceEnd::StagedVersion
        } else {
            ServiceEnd::Stopped
        },
    )
}

async fn rounds(agent: &mut Agent, shared: &Shared) {
    while !shared.stop().is_cancelled() {
        if let Some(Settings {
            config,
            connections,
        }) = shared.take_settings()
        {
            agent.reconfigure(config, connections);
        }
        shared.begin_round();
        let ended = agent.round().await;
        agent.close_connections();
        // The loop never ends on an error, so that a server or a full disk cannot silence the
        // device for good.
        let next = match &ended {
            Ok(next) => *next,
            Err(error) => {
                let pause = error.pause_s();
                let error = with_causes(error);
                tracing::error!(error, "cannot complete the check-in");
                pause
            }
        };
        let pause = retry::spread(next, retry::random());
        shared.end_round(&ended, now().plus(pause.as_secs()));
        if agent.has_staged_version() {
            return;
        }
        let waited = tokio::time::timeout(pause, shared.woken());
        // The next round begins in both cases: the pause has ended, or somebody asks for a round.
        let _ = shared.stop().run_until_cancelled(waited).await;
    }
}

/// Keeps the service manager informed.
///
/// Under a starter, the end of this process is not the end of the service, so the starter announces
/// the end itself.
async fn inform(
    manager: &ServiceManager,
    shared: &Shared,
    role: Option<VersionRole>,
) -> Infallible {
    if !manager.is_present() {
        return pending().await;
    }
    let mut activity = shared.activity_changes();
    let mut heartbeat = manager.heartbeat().map(ticks);
    let mut is_stopping = role.is_some();
    loop {
        activity.mark_unchanged();
        let later = manager.status(&shared.status_line(), Instant::now());
        tokio::select! {
            // The sender is in `shared`, so there are always further changes.
            _ = activity.changed(), if later.is_none() => {}
            () = until(later) => {}
            () = tick(&mut heartbeat) => manager.alive().await,
            () = shared.stop().cancelled(), if !is_stopping => {
                is_stopping = true;
                manager.stopping().await;
            }
        }
    }
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

async fn tick(ticks: &mut Option<Interval>) {
    match ticks {
        Some(ticks) => drop(ticks.tick().await),
        None => pending().await,
    }
}

/// Reads the configuration again after each request.
async fn reload_on(reload: &Notify, manager: &ServiceManager, shared: &Shared) -> Infallible {
    loop {
        reload.notified().await;
        manager.reloading().await;
        // An error is in the log.
        let _ = shared.reload();
        manager.ready().await;
    }
}
