//! The starter: runs the newest version of the agent, and tries updates.
//!
//! The installed program is the starter. Without an update it is the agent, too, in one process. An
//! updated version runs as a child process of the starter. So the version that works judges the one
//! on trial, and both systemd and the Windows service manager see one process that never changes.

mod parent;
mod reach;
mod version_process;

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use packcast_protocol::with_causes;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use self::version_process::VersionProcess;
use crate::command::version_role::VersionRole;
use crate::config::{Config, ConfigError, StarterConfig};
use crate::event::Observer;
use crate::run::{Agent, RunError};
use crate::service::{self, ServiceEnd};
use crate::signals::{Controls, Hangup};
use crate::state::{self, Lock, StateDir, StateError};
use crate::update::{
    Next, ProgramError, UpdateTask, VersionFiles, VersionMemory, installed_version,
};

/// The time between two looks at a version on trial that has not checked in.
const LOOK_S: u32 = 60;

/// The pause before a version on trial that has ended is started again.
const CRASH_PAUSE: Duration = Duration::from_secs(1);

/// The time that a version on trial has to end after the request to end.
const GRACE: Duration = Duration::from_secs(10);

/// The number of times that the starter looks again if another agent runs.
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
    loop {
        let ended = match starter.choose().await? {
            Choice::Own => {
                let ended = starter.run_own(None).await?;
                match ended {
                    ServiceEnd::Stopped => return Ok(ExitCode::SUCCESS),
                    ServiceEnd::StagedVersion => None,
                }
            }
            Choice::Other(version) => starter.supervise(*version).await,
        };
        if let Some(code) = ended {
            return Ok(code);
        }
    }
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

/// The program to run.
#[derive(Debug)]
enum Choice {
    /// This program is the newest version.
    Own,
    Other(Box<OtherVersion>),
}

/// Another program to run. Its digest is verified.
#[derive(Debug)]
struct OtherVersion {
    program: PathBuf,
    files: VersionFiles,
    memory: VersionMemory,
    role: VersionRole,
}

impl OtherVersion {
    /// Returns the trial of the version; `None` if the version has proved itself.
    fn trial(&self) -> Option<UpdateTask> {
        let trial = self.memory.trial.as_ref().map(|trial| trial.task);
        trial.filter(|_| self.role == VersionRole::Trial)
    }

    fn is_confirmed(&self) -> bool {
        let confirmed = self.files.confirmed().unwrap_or_else(|error| {
            let error = with_causes(&error);
            tracing::warn!(error, "cannot see if the version on trial has checked in");
            None
        });
        confirmed.is_some() && confirmed == self.trial()
    }

    /// Writes the memory. The next start repeats a decision that could not be written.
    fn note(&self) {
        note(&self.files, &self.memory);
    }
}

fn note(files: &VersionFiles, memory: &VersionMemory) {
    if let Err(error) = files.note(memory) {
        let error = with_causes(&error);
        tracing::error!(error, "cannot record the versions of the agent");
    }
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
        if self.lock.is_none() {
            self.lock = Some(files.lock()?);
        }
        self.expect_unused(&state).await?;
        Ok(choose(&files).map_or(Choice::Own, |version| Choice::Other(Box::new(version))))
    }

    /// Checks that no agent runs with the state folder.
    ///
    /// A version that finds the folder in use would count as one that fails. An agent whose starter
    /// was killed may be about to end.
    async fn expect_unused(&self, state: &StateDir) -> Result<(), RunError> {
        let mut tries = 0;
        loop {
            match state.lock() {
                Err(StateError::Locked { .. }) if tries < LOCK_TRIES => tries += 1,
                locked => return Ok(locked.map(drop)?),
            }
            tokio::time::sleep(LOCK_PAUSE).await;
        }
    }

    /// Runs this program as the agent.
    async fn run_own(&self, role: Option<VersionRole>) -> Result<ServiceEnd, RunError> {
        let is_on_trial = role == Some(VersionRole::Trial);
        let file = self.invocation.config_file.clone();
        let config = Config::load_unchangeable(&file)?;
        let (observer, controls) = (self.observer.clone(), self.controls.clone());
        if !self.invocation.once {
            return service::run(file, config, observer, controls, is_on_trial).await;
        }
        let agent = Agent::open(config, observer, controls.stop)?;
        if is_on_trial {
            agent.begin_trial();
        }
        agent.round().await?;
        Ok(if agent.has_staged_version() {
            ServiceEnd::StagedVersion
        } else {
            ServiceEnd::Stopped
        })
    }

    /// Runs another version. Returns the exit code of the starter; `None` if it has to choose again.
    async fn supervise(&self, mut version: OtherVersion) -> Option<ExitCode> {
        let started = VersionProcess::start(&version.program, &self.invocation, version.role).await;
        let mut process = match started {
            Ok(process) => process,
            Err(source) => {
                let path = version.program.clone();
                refuse(
                    &mut version.memory,
                    version.role,
                    &ProgramError::Start { path, source },
                );
                version.note();
                return None;
            }
        };
        let file = &self.invocation.config_file;
        let reach = async || reach::is_reachable(file).await;
        let watched = watch(&mut process, &mut version, &self.controls, reach);
        let status = match watched.await {
            Ok(status) => status,
            Err(error) => {
                tracing::error!(%error, "cannot wait for the agent");
                return Some(ExitCode::FAILURE);
            }
        };
        let is_on_trial = version.trial().is_some() && !version.is_confirmed();
        let is_stopped = self.controls.stop.is_cancelled();
        let is_late = self.invocation.once && status.code() == Some(TRY_LATER);
        if is_on_trial && (is_stopped || is_late) {
            version.memory.uncount_start();
            version.note();
        } else if is_on_trial {
            let program = version.program.display();
            tracing::warn!(%program, %status, "the version on trial has ended before it has checked in");
            let stopped = self.controls.stop.cancelled();
            if tokio::time::timeout(CRASH_PAUSE, stopped).await.is_err() {
                return None;
            }
        } else if !is_stopped && version.files.news().is_ok_and(|news| news.staged.is_some()) {
            return None;
        }
        Some(exit_code(status))
    }
}

/// Waits for the end of another version, and ends one on trial that does not check in.
///
/// `reach` asks if the server is reachable.
async fn watch(
    process: &mut VersionProcess,
    version: &mut OtherVersion,
    controls: &Controls,
    reach: impl AsyncFn() -> bool,
) -> io::Result<ExitStatus> {
    let period = Duration::from_secs(LOOK_S.into());
    let mut looks = interval_at(Instant::now() + period, period);
    // After a suspension of the computer, one look is enough.
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_stopping = false;
    let mut is_on_trial = version.trial().is_some();
    loop {
        tokio::select! {
            status = process.wait() => return status,
            () = controls.stop.cancelled(), if !is_stopping => {
                is_stopping = true;
                process.ask_to_stop();
            }
            () = controls.reload.notified() => process.ask_to_reload().await,
            _ = looks.tick(), if is_on_trial && !is_stopping => {
                is_on_trial = !version.is_confirmed();
                if is_on_trial && reach().await {
                    version.memory.count_reachable(LOOK_S);
                    version.note();
                }
                if is_on_trial && matches!(version.memory.next(), Next::GoBack(_)) {
                    return process.end(GRACE).await;
                }
            }
        }
    }
}

/// Chooses another version; `None` if the installed one runs.
///
/// No error leaves the device without an agent: the version before runs.
fn choose(files: &VersionFiles) -> Option<OtherVersion> {
    let read = files.memory().and_then(|read| Ok((read, files.news()?)));
    let ((stored, damaged), news) = match read {
        Ok(read) => read,
        Err(error) => {
            let error = with_causes(&error);
            tracing::error!(
                error,
                "cannot read the versions of the agent: the installed one runs"
            );
            return None;
        }
    };
    if let Some(damaged) = damaged {
        let (path, kept) = (damaged.path.display(), damaged.kept.display());
        tracing::error!(%path, %kept, "found a damaged state file: {}", damaged.effect);
    }
    let installed = installed_version();
    let before = stored.unwrap_or_else(|| VersionMemory::new(installed.clone()));
    let mut memory = before.with(news, installed);
    let mut may_try = true;
    loop {
        let next = if may_try {
            memory.next()
        } else {
            memory.working()
        };
        let (build, role) = match next {
            Next::Installed => break,
            Next::GoBack(reason) => {
                memory.go_back(&reason);
                continue;
            }
            Next::Kept(build) => (build, VersionRole::Kept),
            Next::Trial(build) => (build, VersionRole::Trial),
        };
        let program = match files.verified(&build) {
            Ok(program) => program,
            Err(error) => {
                refuse(&mut memory, role, &error);
                continue;
            }
        };
        let mut counted = memory.clone();
        if role == VersionRole::Trial {
            counted.count_start();
        }
        match files.remember(&counted) {
            // Nothing would end a trial whose starts are not counted.
            Err(error) if role == VersionRole::Trial => {
                let error = with_causes(&error);
                tracing::error!(
                    error,
                    "cannot record the start of a version on trial: the version before runs"
                );
                may_try = false;
            }
            recorded => {
                if let Err(error) = recorded {
                    let error = with_causes(&error);
                    tracing::error!(error, "cannot record the versions of the agent");
                }
                files.remove_unused(&counted);
                return Some(OtherVersion {
                    program,
                    files: files.clone(),
                    memory: counted,
                    role,
                });
            }
        }
    }
    if let Err(error) = files.remember(&memory) {
        let error = with_causes(&error);
        tracing::error!(error, "cannot record the versions of the agent");
    } else {
        files.remove_unused(&memory);
    }
    None
}

/// Goes back from a version that cannot be started.
fn refuse(memory: &mut VersionMemory, role: VersionRole, error: &ProgramError) {
    let error = with_causes(error);
    tracing::error!(
        error,
        "cannot start an updated version of the agent: the version before runs"
    );
    match role {
        VersionRole::Trial => memory.go_back(&error),
        VersionRole::Kept => memory.kept = None,
    }
}

fn exit_code(status: ExitStatus) -> ExitCode {
    match status.code() {
        Some(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        None => ExitCode::FAILURE,
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs;

    use packcast_protocol::Sha256Digest;

    use super::*;
    use crate::update::{News, StagedUpdate, StoredBuild};

    /// Returns a version on trial that is this script.
    fn on_trial(dir: &Path, script: &str) -> OtherVersion {
        let root = dir.canonicalize().unwrap();
        let files = VersionFiles::at(root.join("versions"));
        let program = root.join("program");
        fs::write(&program, script).unwrap();
        let staged = StagedUpdate {
            task: UpdateTask {
                package: "1795000000".parse().unwrap(),
                attempt: 1,
            },
            build: StoredBuild {
                version: "999.0.0".parse().unwrap(),
                sha256: Sha256Digest::of(script.as_bytes()),
            },
        };
        files.stage(&program, &staged).unwrap();
        choose(&files).unwrap()
    }

    async fn start(version: &OtherVersion) -> VersionProcess {
        let invocation = Invocation {
            config_file: "agent.toml".into(),
            is_json: true,
            once: false,
        };
        let started = VersionProcess::start(&version.program, &invocation, version.role);
        started.await.unwrap()
    }

    /// A program that runs until it is killed.
    const SILENT: &str = "#!/bin/sh\nexec sleep 1000\n";

    #[tokio::test(start_paused = true)]
    async fn a_silent_version_goes_back_after_ten_minutes_with_a_reachable_server() {
        let dir = tempfile::tempdir().unwrap();
        let mut version = on_trial(dir.path(), SILENT);
        let mut process = start(&version).await;
        let looks = Cell::new(0);
        // For two hours there is no network.
        let reach = async || {
            looks.set(looks.get() + 1);
            looks.get() > 120
        };
        let begun = Instant::now();
        let controls = Controls::default();
        let ended = watch(&mut process, &mut version, &controls, reach).await;
        assert_eq!(ended.unwrap().code(), None, "killed");
        assert_eq!(looks.get(), 130);
        assert!(begun.elapsed() >= Duration::from_mins(130));
        assert!(
            choose(&version.files).is_none(),
            "the installed version runs"
        );
        let memory = version.files.memory().unwrap().0.unwrap();
        assert!(memory.trial.is_none() && memory.kept.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_confirmed_version_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut version = on_trial(dir.path(), "#!/bin/sh\nread -r line\nexit 7\n");
        let mut process = start(&version).await;
        let task = version.trial().unwrap();
        let controls = Controls::default();
        let files = version.files.clone();
        let looks = Cell::new(0);
        let reach = async || {
            looks.set(looks.get() + 1);
            match looks.get() {
                9 => files.confirm(task).unwrap(),
                10.. => panic!("the version has checked in"),
                _ => {}
            }
            true
        };
        let stop = controls.stop.clone();
        let stopping = async {
            tokio::time::sleep(Duration::from_hours(1)).await;
            stop.cancel();
        };
        let watching = watch(&mut process, &mut version, &controls, reach);
        let (ended, ()) = tokio::join!(watching, stopping);
        // The end of its input has stopped the version.
        assert_eq!(ended.unwrap().code(), Some(7));
        let next = choose(&version.files).unwrap();
        assert_eq!(next.role, VersionRole::Kept);
    }

    #[test]
    fn a_version_on_trial_has_three_starts() {
        let dir = tempfile::tempdir().unwrap();
        let version = on_trial(dir.path(), SILENT);
        for _ in 0..2 {
            let again = choose(&version.files).unwrap();
            assert_eq!(again.role, VersionRole::Trial);
        }
        assert!(choose(&version.files).is_none());
    }

    #[test]
    fn a_trial_whose_start_cannot_be_recorded_is_not_started() {
        let dir = tempfile::tempdir().unwrap();
        let version = on_trial(dir.path(), SILENT);
        // A folder in the place of the temporary file makes every write of the memory fail.
        let obstacle = dir.path().join("versions/memory.new");
        fs::create_dir(&obstacle).unwrap();
        assert!(choose(&version.files).is_none());
        fs::remove_dir(&obstacle).unwrap();
        let news = version.files.news().unwrap();
        assert_eq!(news, News::default());
        assert_eq!(choose(&version.files).unwrap().role, VersionRole::Trial);
    }
}
