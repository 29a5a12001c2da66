//! The choice between the installed version of the agent and updated ones.

use std::path::PathBuf;

use packcast_protocol::with_causes;

use crate::command::version_role::VersionRole;
use crate::event::Observer;
use crate::platform;
use crate::run::damage;
use crate::state::StateDir;
use crate::update::{
    Next, PATIENCE_S, ProgramError, StoredBuild, UpdateTask, VersionFiles, VersionMemory,
    installed_version,
};

/// The program to run.
#[derive(Debug)]
pub(super) enum Choice {
    /// This program is the newest version.
    Own,
    Other(Box<OtherVersion>),
}

/// Another program to run. Its digest is verified.
#[derive(Debug)]
pub(super) struct OtherVersion {
    pub(super) build: StoredBuild,
    pub(super) program: PathBuf,
    pub(super) files: VersionFiles,
    pub(super) memory: VersionMemory,
    pub(super) role: VersionRole,
    /// The memory counts this start.
    is_counted: bool,
    /// The time in which a version that has proved itself ran without a check-in, and the starter
    /// reached the server, in seconds.
    silent_s: u32,
}

impl OtherVersion {
    /// Does not count this start, because the version is not the cause of its end.
    pub(super) fn uncount_start(&mut self) {
        if !std::mem::take(&mut self.is_counted) {
            return;
        }
        match self.role {
            VersionRole::Trial => self.memory.uncount_start(),
            VersionRole::Kept => self.memory.uncount_kept_start(),
        }
        self.note();
    }

    /// Counts a time in which the version did not check in, and the server was reachable.
    pub(super) fn count_reachable(&mut self, seconds: u32) {
        match self.role {
            VersionRole::Trial => {
                self.memory.count_reachable(seconds);
                self.note();
            }
            VersionRole::Kept => self.silent_s += seconds,
        }
    }

    /// Returns `true` if the version has not checked in, although it had time.
    pub(super) fn is_silent(&self) -> bool {
        match self.role {
            VersionRole::Trial => matches!(self.memory.next(), Next::GoBack(_)),
            VersionRole::Kept => self.silent_s >= PATIENCE_S,
        }
    }

    /// Returns the trial of the version; `None` if the version has proved itself.
    pub(super) fn trial(&self) -> Option<UpdateTask> {
        let trial = self.memory.trial.as_ref().map(|trial| trial.task);
        trial.filter(|_| self.role == VersionRole::Trial)
    }

    /// Returns `true` if the version has checked in since its start.
    pub(super) fn has_checked_in(&self) -> bool {
        let checked_in = self.files.checked_in().unwrap_or_else(|error| {
            let error = with_causes(&error);
            tracing::warn!(error, "cannot see if the updated version has checked in");
            None
        });
        checked_in == Some(self.build.sha256) || self.is_confirmed()
    }

    pub(super) fn is_confirmed(&self) -> bool {
        let confirmed = self.files.confirmed().unwrap_or_else(|error| {
            let error = with_causes(&error);
            tracing::warn!(error, "cannot see if the version on trial is confirmed");
            None
        });
        confirmed.is_some() && confirmed == self.trial()
    }

    /// Writes the memory. The next start repeats a decision that could not be written.
    pub(super) fn note(&self) {
        note(&self.files, &self.memory);
    }
}

/// Keeps identity and pass during a trial, and restores them afterwards, as far as possible.
pub(super) fn protect_identity(
    files: &VersionFiles,
    state: &StateDir,
    chosen: Option<&OtherVersion>,
) {
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

/// Chooses another version; `None` if the installed one runs.
///
/// No error leaves the device without an agent: the version before runs.
pub(super) fn choose(files: &VersionFiles, observer: &Observer) -> Option<OtherVersion> {
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
    let boot = platform::boot_id();
    memory.runs_in(boot.as_deref());
    if let Some(version) = memory.give_up_kept() {
        tracing::error!(%version, "the updated version of the agent was started three times and has not checked in: the installed one runs from now on");
    }
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
        match role {
            VersionRole::Trial => counted.count_start(),
            VersionRole::Kept => counted.count_kept_start(boot.clone()),
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
                    is_counted: true,
                    silent_s: 0,
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
pub(super) fn refuse(memory: &mut VersionMemory, role: VersionRole, error: &ProgramError) {
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
