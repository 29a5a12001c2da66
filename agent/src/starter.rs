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
use crate::run::{Agent, RunError, damage};
use crate::service::{self, ServiceEnd, ServiceManager};
use crate::signals::{Controls, Hangup};
use crate::state::{self, Lock, StateDir, StateError};
use crate::update::{
    Next, ProgramError, StoredBuild, UpdateTask, VersionFiles, VersionMemory, installed_version,
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
    build: StoredBuild,
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

    /// Returns `true` if the version has checked in since its start.
    fn has_checked_in(&self) -> bool {
        let checked_in = self.files.checked_in().unwrap_or_else(|error| {
            let error = with_causes(&error);
            tracing::warn!(error, "cannot see if the updated version has checked in");
            None
        });
        checked_in == Some(self.build.sha256) || self.is_confirmed()
    }

    fn is_confirmed(&self) -> bool {
        let confirmed = self.files.confirmed().unwrap_or_else(|error| {
            let error = with_causes(&error);
            tracing::warn!(error, "cannot see if the version on trial is confirmed");
            None
        });
        confirmed.is_some() && confirmed == self.trial()
    }

    /// Writes the memory. The next start repeats a decision that could not be written.
    fn note(&self) {
        note(&self.files, &self.memory);
    }
}

/// Keeps identity and pass during a trial, and restores them afterwards, as far as possible.
fn protect_identity(files: &VersionFiles, state: &StateDir, chosen: Option<&OtherVersion>) {
    let protected = match chosen {
        Some(version) if version.role == VersionRole::Trial => {
            files.keep_identity(state).map(|()| Vec::new())
        }
        // The updated version may keep its files in a form of its own.
        Some(version) if version.memory.has_succeeded() => {
            files.forget_identity(state).map(|()| Vec::new())
        }
        _ => files.restore_identity(state),
    };
    match protected {
        Ok(restored) => {
            for path in restored {
                let path = path.display();
                tracing::warn!(%path, "restored a file that only the version on trial could read");
            }
        }
        Err(error) => {
            let error = with_causes(&error);
            tracing::error!(error, "cannot keep or restore the identity of this device");
        }
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
    async fn lock_both(
        &mut self,
        state: &StateDir,
        files: &VersionFiles,
    ) -> Result<(), StateError> {
        if self.lock.is_none() {
            self.lock = Some(files.lock()?);
        }
        self.expect_unused(state).await
    }

    /// Waits, and returns `true` if the starter was asked to stop meanwhile.
    async fn is_stopped_in(&self, pause: Duration) -> bool {
        let stopped = self.controls.stop.cancelled();
        tokio::time::timeout(pause, stopped).await.is_ok()
    }

    /// Checks that no agent runs with the state folder.
    ///
    /// A version that finds the folder in use would count as one that fails. An agent whose starter
    /// was killed may be about to end.
    async fn expect_unused(&self, state: &StateDir) -> Result<(), StateError> {
        let mut tries = 0;
        loop {
            match state.lock() {
                Err(StateError::Locked { .. }) if tries < LOCK_TRIES => tries += 1,
                locked => return locked.map(drop),
            }
            tokio::time::sleep(LOCK_PAUSE).await;
        }
    }

    /// Runs this program as the agent.
    async fn run_own(&self, role: Option<VersionRole>) -> Result<ServiceEnd, RunError> {
        let file = self.invocation.config_file.clone();
        let config = Config::load_unchangeable(&file)?;
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
        let reach = async || match trial {
            Some(update) => reach::is_reachable(&self.invocation.config_file, update).await,
            None => true,
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
                version.memory.uncount_start();
                version.note();
                return ended;
            }
            let program = version.program.display();
            tracing::warn!(%program, %status, "the version on trial has ended before it was confirmed");
            return self.after_trial(&version, ended).await;
        }
        if !is_stopped && version.files.news().is_ok_and(|news| news.staged.is_some()) {
            return Supervised::ChoosesAgain;
        }
        if version.role == VersionRole::Kept && !is_stopped && !is_late {
            self.count_kept_end(&mut version, status);
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
            VersionRole::Kept => Supervised::NeedsOwn,
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

    /// Counts an end of the updated version, unless it had checked in.
    ///
    /// An invalid configuration is no fault of the version.
    fn count_kept_end(&self, version: &mut OtherVersion, status: ExitStatus) {
        // The next start forgets the earlier ends of a version that has checked in.
        let is_good = version.has_checked_in() || (self.invocation.once && status.success());
        if is_good || Config::load_unchangeable(&self.invocation.config_file).is_err() {
            return;
        }
        if version.memory.count_kept_end() {
            let version = &version.build.version;
            tracing::error!(%version, "the updated version of the agent has ended three times before it had checked in: the installed one runs from now on");
        }
        version.note();
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

/// Waits for the end of another version, and ends one on trial that does not check in.
///
/// `reach` asks if the server is reachable. Until a version on trial has checked in, the starter is its
/// judge, so it sends the signs of life that the service manager waits for.
async fn watch(
    process: &mut VersionProcess,
    version: &mut OtherVersion,
    controls: &Controls,
    manager: &ServiceManager,
    reach: impl AsyncFn() -> bool,
) -> io::Result<ExitStatus> {
    let period = Duration::from_secs(LOOK_S.into());
    let mut looks = interval_at(Instant::now() + period, period);
    // After a suspension of the computer, one look is enough.
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_stopping = false;
    let mut is_judged = version.trial().is_some();
    if is_judged {
        manager.ready().await;
    }
    loop {
        tokio::select! {
            status = process.wait() => return status,
            () = controls.stop.cancelled(), if !is_stopping => {
                is_stopping = true;
                manager.stopping().await;
                // A version begins no package before it has checked in.
                if is_judged && !version.has_checked_in() {
                    return process.end(GRACE).await;
                }
                process.ask_to_stop();
            }
            () = controls.reload.notified() => process.ask_to_reload().await,
            _ = looks.tick(), if is_judged && !is_stopping => {
                is_judged = !version.has_checked_in();
                if !is_judged {
                    continue;
                }
                manager.alive().await;
                let is_reached = controls.stop.run_until_cancelled(reach()).await == Some(true);
                // The version may have checked in while the starter asked.
                is_judged = !version.has_checked_in();
                if is_reached && is_judged {
                    version.memory.count_reachable(LOOK_S);
                    version.note();
                }
                if is_judged && matches!(version.memory.next(), Next::GoBack(_)) {
                    return process.end(GRACE).await;
                }
            }
        }
    }
}

/// Chooses another version; `None` if the installed one runs.
///
/// No error leaves the device without an agent: the version before runs.
fn choose(files: &VersionFiles, observer: &Observer) -> Option<OtherVersion> {
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
    damage::report(observer, damaged);
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
            Err(error) if error.is_final(role) => {
                refuse(&mut memory, role, &error);
                if let (VersionRole::Kept, ProgramError::Digest { .. }) = (role, &error) {
                    damage::report(observer, files.keep_damaged(&build));
                }
                continue;
            }
            Err(error) => {
                let error = with_causes(&error);
                tracing::error!(
                    error,
                    "cannot start an updated version of the agent for now"
                );
                if role == VersionRole::Trial {
                    may_try = false;
                    continue;
                }
                break;
            }
        };
        let mut counted = memory.clone();
        if role == VersionRole::Trial {
            counted.count_start();
        }
        let recorded = files.remember(&counted);
        match recorded.and_then(|()| files.forget_check_in()) {
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
                    build,
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
    use crate::update::{News, StagedUpdate};

    fn chosen(files: &VersionFiles) -> Option<OtherVersion> {
        let ignore: Observer = std::sync::Arc::new(|_| {});
        choose(files, &ignore)
    }

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
        chosen(&files).unwrap()
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
        let ended = watch(
            &mut process,
            &mut version,
            &controls,
            &ServiceManager::default(),
            reach,
        )
        .await;
        assert_eq!(ended.unwrap().code(), None, "killed");
        assert_eq!(looks.get(), 130);
        assert!(begun.elapsed() >= Duration::from_mins(130));
        assert!(
            chosen(&version.files).is_none(),
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
                // The version is slower than the tenth look, but checks in before its answer.
                10 => files.confirm(task).unwrap(),
                11.. => panic!("the version has checked in"),
                _ => {}
            }
            true
        };
        let stop = controls.stop.clone();
        let stopping = async {
            tokio::time::sleep(Duration::from_hours(1)).await;
            stop.cancel();
        };
        let begun = Instant::now();
        let manager = ServiceManager::default();
        let watching = watch(&mut process, &mut version, &controls, &manager, reach);
        let (ended, ()) = tokio::join!(watching, stopping);
        assert!(begun.elapsed() >= Duration::from_hours(1));
        // The end of its input has stopped the version.
        assert_eq!(ended.unwrap().code(), Some(7));
        let next = chosen(&version.files).unwrap();
        assert_eq!(next.role, VersionRole::Kept);
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_version_that_has_checked_in_gets_time_to_stop() {
        let dir = tempfile::tempdir().unwrap();
        for checks_in in [false, true] {
            let mut version = on_trial(dir.path(), SILENT);
            let mut process = start(&version).await;
            if checks_in {
                version.files.note_check_in(version.build.sha256).unwrap();
            }
            let controls = Controls::default();
            controls.stop.cancel();
            let manager = ServiceManager::default();
            let reach = async || panic!("the starter stops");
            let watching = watch(&mut process, &mut version, &controls, &manager, reach);
            // The version does not react to the request, so only a kill ends it.
            if checks_in {
                let ended = tokio::time::timeout(Duration::from_hours(1), watching).await;
                assert!(ended.is_err());
            } else {
                assert_eq!(watching.await.unwrap().code(), None);
            }
        }
    }

    #[test]
    fn identity_and_pass_are_restored_after_a_failed_trial_only() {
        use crate::state::{checked_file, identity};

        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(&dir.path().canonicalize().unwrap().join("state")).unwrap();
        let pass = "0123456789abcdef".parse().unwrap();
        let load = || identity::load_pass(&state).unwrap();
        for succeeds in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            identity::store_pass(&state, &pass).unwrap();
            let mut version = on_trial(dir.path(), SILENT);
            protect_identity(&version.files, &state, Some(&version));
            // The version on trial uses another form.
            checked_file::replace(&state.pass(), &["another form"]).unwrap();
            if succeeds {
                version.files.confirm(version.trial().unwrap()).unwrap();
            } else {
                version.memory.go_back("it ended");
                version.note();
            }
            let files = version.files;
            for _ in 0..2 {
                protect_identity(&files, &state, chosen(&files).as_ref());
                assert_eq!(load().is_some(), !succeeds);
            }
        }
    }

    #[test]
    fn a_version_on_trial_has_three_starts() {
        let dir = tempfile::tempdir().unwrap();
        let version = on_trial(dir.path(), SILENT);
        for _ in 0..2 {
            let again = chosen(&version.files).unwrap();
            assert_eq!(again.role, VersionRole::Trial);
        }
        assert!(chosen(&version.files).is_none());
    }

    #[test]
    fn a_trial_whose_start_cannot_be_recorded_is_not_started() {
        let dir = tempfile::tempdir().unwrap();
        let version = on_trial(dir.path(), SILENT);
        // A folder in the place of the temporary file makes every write of the memory fail.
        let obstacle = dir.path().join("versions/memory.new");
        fs::create_dir(&obstacle).unwrap();
        assert!(chosen(&version.files).is_none());
        fs::remove_dir(&obstacle).unwrap();
        let news = version.files.news().unwrap();
        assert_eq!(news, News::default());
        assert_eq!(chosen(&version.files).unwrap().role, VersionRole::Trial);
    }
}
