//! Updates as the agent sees them: it stages a version, confirms one, and learns the end of a trial.

use std::cell::Cell;
use std::fs::File;
use std::path::{Path, PathBuf};

use packcast_protocol::agent_build::{AgentVersion, BuildPlatform};
use packcast_protocol::result::NamedCode;
use packcast_protocol::{PackageId, PackageVersion};

use super::files::VersionFiles;
use super::memory::{StagedUpdate, StoredBuild, TrialEnd, UpdateTask, installed_version};
use crate::command::version_role::VersionRole;
use crate::failure::DeploymentFailure;
use crate::platform;
use crate::stage;
use crate::state::{StateDir, StateError};

/// The updates of one agent process.
#[derive(Debug)]
pub(crate) struct Updates {
    files: VersionFiles,
    /// The role in which a starter runs this process; `None` if it is its own starter.
    role: Cell<Option<VersionRole>>,
    /// The starter knows that this process has checked in.
    has_checked_in: Cell<bool>,
    /// This process has confirmed its trial.
    is_confirmed: Cell<bool>,
    /// This process has staged a version, which the starter runs after it.
    has_staged: Cell<bool>,
}

/// A verified program that can be staged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StagedProgram {
    path: PathBuf,
    build: StoredBuild,
}

/// The state of an attempt at an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UpdateState {
    /// The trial is under way, or will be.
    OnTrial,
    Ended(TrialEnd),
}

impl Updates {
    pub(crate) fn of(state: &StateDir) -> Self {
        Self {
            files: VersionFiles::of(state),
            role: Cell::new(None),
            has_checked_in: Cell::new(false),
            is_confirmed: Cell::new(false),
            has_staged: Cell::new(false),
        }
    }

    /// Declares the role of this process.
    pub(crate) fn run_as(&self, role: VersionRole) {
        self.role.set(Some(role));
    }

    /// Tells the starter that this process has checked in.
    pub(crate) fn note_check_in(&self) -> Result<(), StateError> {
        let Some(role) = self.role.get() else {
            return Ok(());
        };
        if self.has_checked_in.get() {
            return Ok(());
        }
        let memory = self.files.memory_if_whole()?;
        let build = memory.and_then(|memory| match role {
            VersionRole::Kept => memory.kept,
            VersionRole::Trial => memory.trial.map(|trial| trial.build),
        });
        if let Some(build) = build {
            self.files.note_check_in(build.sha256)?;
        }
        self.has_checked_in.set(true);
        Ok(())
    }

    /// Returns `true` if this process ends, so that the starter runs the staged version.
    pub(crate) fn has_staged(&self) -> bool {
        self.has_staged.get()
    }

    /// Returns the state of an attempt; `None` if no file names it.
    pub(crate) fn state(
        &self,
        package: PackageId,
        attempt: u32,
    ) -> Result<Option<UpdateState>, StateError> {
        if !self.files.exist() {
            return Ok(None);
        }
        let task = UpdateTask { package, attempt };
        let memory = self.files.memory_if_whole()?;
        let ended = memory.as_ref().and_then(|memory| memory.ended.clone());
        if let Some(ended) = ended.filter(|ended| ended.task == task) {
            return Ok(Some(UpdateState::Ended(ended.end)));
        }
        let trial = memory.and_then(|memory| memory.trial);
        if trial.is_some_and(|trial| trial.task == task) {
            let is_confirmed = self.files.confirmed()? == Some(task);
            return Ok(Some(if is_confirmed {
                UpdateState::Ended(TrialEnd::Succeeded)
            } else {
                UpdateState::OnTrial
            }));
        }
        let staged = self.files.staged()?;
        Ok(staged
            .filter(|staged| staged.task == task)
            .map(|_| UpdateState::OnTrial))
    }

    /// Confirms the trial, if this process is the version on trial, and has checked in.
    ///
    /// Returns the attempt that has succeeded.
    pub(crate) fn confirm(&self) -> Result<Option<UpdateTask>, StateError> {
        let is_on_trial = self.role.get() == Some(VersionRole::Trial);
        if !is_on_trial || !self.has_checked_in.get() || self.is_confirmed.get() {
            return Ok(None);
        }
        let trial = self.files.memory_if_whole()?.and_then(|it| it.trial);
        let task = trial.map(|trial| trial.task);
        if let Some(task) = task {
            self.files.confirm(task)?;
        }
        self.is_confirmed.set(true);
        Ok(task)
    }

    /// Returns the staging of a program, which blocks the thread.
    pub(crate) fn staging(
        &self,
        program: StagedProgram,
        task: UpdateTask,
    ) -> impl FnOnce() -> Result<(), StateError> + Send + 'static {
        let files = self.files.clone();
        move || {
            let StagedProgram { path, build } = program;
            files.stage(&path, &StagedUpdate { task, build })
        }
    }

    /// Ends this process after the round, because it has staged a version.
    pub(crate) fn staged(&self) {
        self.has_staged.set(true);
    }
}

impl VersionFiles {
    /// Returns the version of an update if it is newer than the installed version.
    ///
    /// # Errors
    /// The device has this version already, or a later one; or the text is no version.
    pub(crate) fn newer_version(
        &self,
        version: &PackageVersion,
    ) -> Result<AgentVersion, DeploymentFailure> {
        let version = version.to_string().parse::<AgentVersion>();
        let version =
            version.map_err(|error| DeploymentFailure::of(NamedCode::BadManifest, &error))?;
        // Without an update so far, this program is the installed one.
        let memory = self.memory_if_whole().ok().flatten();
        let installed = memory.map_or_else(installed_version, |memory| memory.installed);
        if version <= installed {
            let reason = format!("version {installed} of the agent is installed");
            return Err(DeploymentFailure::new(NamedCode::AlreadySetup, &reason));
        }
        Ok(version)
    }
}

impl StagedProgram {
    /// Finds the program for this device in the unpacked archive of an update.
    ///
    /// # Errors
    /// The update has no program for this platform, or the program cannot start here.
    pub(crate) fn find(folder: &Path, version: AgentVersion) -> Result<Self, DeploymentFailure> {
        let platform = own_platform();
        let wrong = || {
            let platform = platform
                .as_ref()
                .map_or_else(String::new, ToString::to_string);
            let reason = format!("the update has no program for {platform}");
            DeploymentFailure::new(NamedCode::WrongPlatform, &reason)
        };
        let path = folder.join(platform.as_ref().ok_or_else(wrong)?.path());
        let is_program = path.symlink_metadata().is_ok_and(|found| found.is_file());
        if !is_program {
            return Err(wrong());
        }
        platform::check_startable(&path).map_err(|reason| {
            let reason = format!("cannot start the program of the update: {reason}");
            DeploymentFailure::new(NamedCode::Execute, &reason)
        })?;
        let sha256 = File::open(&path).and_then(stage::digest);
        let sha256 = sha256.map_err(|error| DeploymentFailure::of(NamedCode::Build, &error))?;
        let build = StoredBuild { version, sha256 };
        Ok(Self { path, build })
    }
}

/// Returns the platform of this program.
fn own_platform() -> Option<BuildPlatform> {
    let name = format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH);
    name.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use packcast_protocol::Sha256Digest;

    use super::*;
    use crate::update::memory::VersionMemory;

    fn version(text: &str) -> PackageVersion {
        text.parse().unwrap()
    }

    #[test]
    fn the_program_for_this_platform_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("work");
        let find = || StagedProgram::find(&folder, "999.0.0".parse().unwrap());
        let code = || find().unwrap_err().code;
        assert_eq!(code(), NamedCode::WrongPlatform);
        let path = folder.join(own_platform().unwrap().path());
        fs::create_dir_all(&path).unwrap();
        assert_eq!(code(), NamedCode::WrongPlatform);
        fs::remove_dir(&path).unwrap();
        fs::write(&path, "program").unwrap();
        assert_eq!(find().unwrap().path, path);
    }

    #[test]
    fn an_update_is_newer_than_the_installed_version() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(&dir.path().canonicalize().unwrap().join("state")).unwrap();
        let files = VersionFiles::of(&state);
        let code = |version| {
            files
                .newer_version(&self::version(version))
                .unwrap_err()
                .code
        };
        assert_eq!(code("x"), NamedCode::BadManifest);
        assert_eq!(
            code(&installed_version().to_string()),
            NamedCode::AlreadySetup
        );
        assert!(files.newer_version(&version("999.0.0")).is_ok());
    }

    #[test]
    fn a_staged_version_is_on_trial_until_its_agent_confirms_it() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(&dir.path().canonicalize().unwrap().join("state")).unwrap();
        let updates = Updates::of(&state);
        let path = dir.path().join("program");
        fs::write(&path, "program").unwrap();
        let build = StoredBuild {
            version: "999.0.0".parse().unwrap(),
            sha256: Sha256Digest::of(b"program"),
        };
        let task = UpdateTask {
            package: "1795000000".parse().unwrap(),
            attempt: 2,
        };
        let state_of = |attempt| updates.state(task.package, attempt).unwrap();
        assert_eq!(state_of(2), None);
        updates.staging(StagedProgram { path, build }, task)().unwrap();
        assert_eq!(state_of(2), Some(UpdateState::OnTrial));
        let files = &updates.files;
        let own = installed_version();
        let memory = VersionMemory::new(own.clone()).with(files.news().unwrap(), own);
        files.remember(&memory).unwrap();
        assert_eq!(state_of(2), Some(UpdateState::OnTrial));
        assert_eq!(state_of(1), None);
        // An agent that is not on trial confirms nothing.
        updates.note_check_in().unwrap();
        assert_eq!(updates.confirm().unwrap(), None);
        updates.run_as(VersionRole::Trial);
        assert_eq!(updates.confirm().unwrap(), None);
        updates.note_check_in().unwrap();
        let checked_in = files.checked_in().unwrap();
        assert_eq!(checked_in, Some(Sha256Digest::of(b"program")));
        assert_eq!(state_of(2), Some(UpdateState::OnTrial));
        assert_eq!(updates.confirm().unwrap(), Some(task));
        let succeeded = Some(UpdateState::Ended(TrialEnd::Succeeded));
        assert_eq!(state_of(2), succeeded);
        assert_eq!(updates.confirm().unwrap(), None);
        let memory = memory.with(files.news().unwrap(), installed_version());
        files.remember(&memory).unwrap();
        assert_eq!(state_of(2), succeeded);
    }
}
