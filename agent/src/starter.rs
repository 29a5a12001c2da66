//! The starter: runs the newest version of the agent, and tries updates.
//!
//! The installed program is the starter. Without an update it is the agent, too, in one process. An
//! updated version runs as a child process of the starter. So the version that works judges the one
//! on trial, and both systemd and the Windows service manager see one process that never changes.

mod choice;
mod parent;
mod reach;
#[cfg(unix)]
#[cfg(test)]
mod tests;
mod version_process;
mod watch;

use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use packcast_protocol::with_causes;

use self::choice::{Choice, OtherVersion, choose, protect_identity, refuse};
use self::version_process::VersionProcess;
use self::watch::watch;
use crate::command::version_role::VersionRole;
use crate::config::{Config, ConfigError, StarterConfig};
use crate::event::Observer;
use crate::run::{Agent, RunError};
use crate::service::{self, ServiceEnd, ServiceManager};
use crate::signals::{Controls, Hangup};
use crate::state::{self, Lock, StateDir, StateError};
use crate::update::{Next, ProgramError, VersionFiles};

/// The pause before a version on trial that has ended is started again.
const CRASH_PAUSE: Duration = Duration::from_secs(1);

/// The number of times that the starter tries again if another agent runs.
const LOCK_TRIES: u32 = 20;

/// The pause between them.
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// The exit code of an agent that could not reach the server.
const TRY_LATER: i32 = 75;

/// The arguments of `packcast-agent run`.
#[derive(Clone, Debug)]
pub(crate) struct Invocation {
    pub(crate) config_file: PathBuf,
    /// Write events as JSON.
    pub(crate) is_json: bool,
    /// Run one round only.
    pub(crate) once: bool,
}

/// Checks the configuration of a starter, or of a version in this role.
///
/// The configuration may be for the updated version, so the starter of such a version reads only the
/// options that the starter needs. The installed version reads all options before it runs itself.
pub(crate) fn check_config(path: &Path, role: Option<VersionRole>) -> Result<(), ConfigError> {
    if role.is_none() {
        let config = StarterConfig::load_unchangeable(path)?;
        if state::versions(&config.state_dir).is_dir() {
            return Ok(());
        }
    }
    Config::load_unchangeable(path).map(drop)
}

/// The pause before the installed version runs again, after it has ended to run another version.
const OWN_PAUSE: Duration = Duration::from_secs(30);

/// Runs the newest version until it is asked to stop, or ends by itself.
pub(crate) async fn run(invocation: Invocation, observer: Observer) -> Result<ExitCode, RunError> {
    let config = StarterConfig::load_unchangeable(&invocation.config_file)?;
    let controls = controls(&invocation);
    let mut starter = Starter {
        state_dir: config.state_dir,
        invocation,
        observer,
        controls,
        lock: None,
    };
    let mut has_run_own = false;
    loop {
        let next = match starter.choose().await? {
            Choice::Own => Supervised::NeedsOwn,
            Choice::Other(version) => {
                has_run_own = false;
                starter.supervise(*version).await
            }
        };
        match next {
            Supervised::Ended(code) => return Ok(code),
            Supervised::ChoosesAgain => {}
            Supervised::NeedsOwn => {
                // The version that this one has staged cannot be started.
                let is_again = std::mem::replace(&mut has_run_own, true);
                if is_again && (starter.invocation.once || starter.is_stopped_in(OWN_PAUSE).await) {
                    return Ok(ExitCode::SUCCESS);
                }
                if starter.run_own(None).await? == ServiceEnd::Stopped {
                    return Ok(ExitCode::SUCCESS);
                }
            }
        }
    }
}

/// The next move of the starter after another version.
#[derive(Debug)]
enum Supervised {
    /// The starter ends, too.
    Ended(ExitCode),
    ChoosesAgain,
    /// The other version cannot be started for now, so the installed one runs.
    NeedsOwn,
}

/// Runs this program as a version that a starter has chosen.
pub(crate) async fn run_as(
    role: VersionRole,
    starter: Option<u32>,
    invocation: Invocation,
    observer: Observer,
) -> Result<(), RunError> {
    let controls = controls(&invocation);
    parent::follow(&controls, starter).map_err(RunError::Starter)?;
    let config = Config::load_unchangeable(&invocation.config_file)?;
    let version = Starter {
        state_dir: config.state_dir,
        invocation,
        observer,
        controls,
        lock: None,
    };
    version.run_own(Some(role)).await.map(drop)
}

fn controls(invocation: &Invocation) -> Controls {
    Controls::of_signals(if invocation.once {
        Hangup::Stops
    } else {
        service::on_hangup()
    })
}

struct Starter {
    state_dir: PathBuf,
    invocation: Invocation,
    observer: Observer,
    controls: Controls,
    /// Held from the first choice between several versions on.
    lock: Option<Lock>,
}

impl Starter {
    /// Chooses the version to run, and counts its start if it is on trial.
    ///
    /// # Errors
    /// Another agent runs with this state folder, or other users can change the folder.
    async fn choose(&mut self) -> Result<Choice, RunError> {
        if !state::versions(&self.state_dir).is_dir() {
            return Ok(Choice::Own);
        }
        let state = StateDir::open(&self.state_dir)?;
        let files = VersionFiles::of(&state);
        match self.lock_both(&state, &files).await {
            Ok(()) => {}
            Err(error @ StateError::Locked { .. }) => return Err(error.into()),
            Err(error) => {
                let error = with_causes(&error);
                tracing::error!(
                    error,
                    "cannot choose a version of the agent: the installed one runs"
                );
                return Ok(Choice::Own);
            }
        }
        let chosen = choose(&files, &self.observer);
        protect_identity(&files, &state, chosen.as_ref());
        Ok(chosen.map_or(Choice::Own, |version| Choice::Other(Box::new(version))))
    }

    /// Takes the lock of the starter, and checks that no agent runs.
    ///
    /// A version that finds the state folder in use would count as one that fails.
    async fn lock_both(
        &mut self,
        state: &StateDir,
        files: &VersionFiles,
    ) -> Result<(), StateError> {
        if self.lock.is_none() {
            self.lock = Some(when_free(|| files.lock()).await?);
        }
        when_free(|| state.lock()).await.map(drop)
    }

    /// Waits, and returns `true` if the starter was asked to stop meanwhile.
    async fn is_stopped_in(&self, pause: Duration) -> bool {
        let stopped = self.controls.stop.cancelled();
        tokio::time::timeout(pause, stopped).await.is_ok()
    }

    /// Runs this program as the agent.
    async fn run_own(&self, role: Option<VersionRole>) -> Result<ServiceEnd, RunError> {
        let file = self.invocation.config_file.clone();
        let config = Config::load_unchangeable(&file)?;
        if let Some(ignored) = config.ignored_options() {
            tracing::warn!("{ignored}");
        }
        let (observer, controls) = (self.observer.clone(), self.controls.clone());
        if !self.invocation.once {
            return service::run(file, config, observer, controls, role).await;
        }
        let agent = Agent::open(config, observer, controls.stop)?;
        if let Some(role) = role {
            agent.run_as(role);
        }
        agent.round().await?;
        Ok(if agent.has_staged_version() {
            ServiceEnd::StagedVersion
        } else {
            ServiceEnd::Stopped
        })
    }

    /// Runs another version to its end.
    async fn supervise(&self, mut version: OtherVersion) -> Supervised {
        if version.role == VersionRole::Trial {
            // A program that states no version fails below, where its start counts.
            let stated = version_process::stated_version(&version.program).await;
            if let Some(stated) = stated.filter(|stated| *stated != version.build.version) {
                version
                    .memory
                    .go_back(&format!("the program states version {stated}"));
                version.note();
                return Supervised::ChoosesAgain;
            }
        }
        let started = VersionProcess::start(&version.program, &self.invocation, version.role).await;
        let mut process = match started {
            Ok(process) => process,
            Err(source) => {
                let path = version.program.clone();
                return self
                    .not_started(version, ProgramError::Start { path, source })
                    .await;
            }
        };
        let trial = version.trial();
        let update = version.memory.ended.as_ref().map(|ended| ended.task);
        let reach = async || {
            let file = &self.invocation.config_file;
            match trial {
                Some(update) => reach::is_reachable(file, update).await,
                None => reach::answers(file, update).await,
            }
        };
        let manager = self.manager();
        let watched = watch(&mut process, &mut version, &self.controls, &manager, &reach);
        let status = match watched.await {
            Ok(status) => status,
            Err(error) => {
                tracing::error!(%error, "cannot wait for the agent");
                return Supervised::Ended(ExitCode::FAILURE);
            }
        };
        let is_stopped = self.controls.stop.is_cancelled();
        let is_late = self.invocation.once && status.code() == Some(TRY_LATER);
        let ended = Supervised::Ended(exit_code(status));
        if trial.is_some() && !version.is_confirmed() {
            if is_stopped || (is_late && !reach().await) {
                version.uncount_start();
                return ended;
            }
            let program = version.program.display();
            tracing::warn!(%program, %status, "the version on trial has ended before it was confirmed");
            return self.after_trial(&version, ended).await;
        }
        if version.role == VersionRole::Kept {
            self.after_kept(&mut version, status, is_late);
        }
        // A file that cannot be read may name a version that the ended one has staged.
        let has_news = || version.files.news().map_or(true, |it| it.staged.is_some());
        let is_silent = version.is_silent() && !self.invocation.once;
        if !is_stopped && (is_silent || has_news()) {
            return Supervised::ChoosesAgain;
        }
        ended
    }

    /// Returns the next move after a version that cannot be started.
    async fn not_started(&self, mut version: OtherVersion, error: ProgramError) -> Supervised {
        if error.is_final(version.role) {
            refuse(&mut version.memory, version.role, &error);
            version.note();
            return Supervised::ChoosesAgain;
        }
        let error = with_causes(&error);
        tracing::error!(
            error,
            "cannot start an updated version of the agent for now"
        );
        match version.role {
            // The start is counted, so the trial has an end.
            VersionRole::Trial => {
                let failed = Supervised::Ended(ExitCode::FAILURE);
                self.after_trial(&version, failed).await
            }
            VersionRole::Kept => {
                version.uncount_start();
                Supervised::NeedsOwn
            }
        }
    }

    /// Returns the next move after a counted start of a version on trial, which has ended with `ended`.
    ///
    /// A single round has one start only, so that the program which begins rounds sets the pace.
    async fn after_trial(&self, version: &OtherVersion, ended: Supervised) -> Supervised {
        let goes_back = matches!(version.memory.next(), Next::GoBack(_));
        let ends = if self.invocation.once {
            !goes_back
        } else {
            self.is_stopped_in(CRASH_PAUSE).await
        };
        if ends {
            ended
        } else {
            Supervised::ChoosesAgain
        }
    }

    /// Records the end of a version that has proved itself: a failure, unless it had checked in.
    ///
    /// An invalid configuration is no fault of the version.
    fn after_kept(&self, version: &mut OtherVersion, status: ExitStatus, is_late: bool) {
        let is_good = version.has_checked_in() || (self.invocation.once && status.success());
        if is_good {
            version.memory.forget_kept_starts();
            version.note();
        } else if is_late
            || self.controls.stop.is_cancelled()
            || Config::load_unchangeable(&self.invocation.config_file).is_err()
        {
            version.uncount_start();
        } else {
            let program = version.program.display();
            tracing::warn!(%program, %status, "the updated version has ended before it had checked in");
            version.memory.kept_has_failed();
            version.note();
        }
    }

    /// Returns the service manager that the starter informs.
    fn manager(&self) -> ServiceManager {
        if self.invocation.once {
            ServiceManager::default()
        } else {
            ServiceManager::of_environment()
        }
    }
}

/// Takes a lock. Tries again for a while, because a killed starter and its agent may be about to end.
async fn when_free(lock: impl Fn() -> Result<Lock, StateError>) -> Result<Lock, StateError> {
    let mut tries = 0;
    loop {
        match lock() {
            Err(StateError::Locked { .. }) if tries < LOCK_TRIES => tries += 1,
            locked => return locked,
        }
        tokio::time::sleep(LOCK_PAUSE).await;
    }
}

fn exit_code(status: ExitStatus) -> ExitCode {
    match status.code() {
        Some(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        None => ExitCode::FAILURE,
    }
}
