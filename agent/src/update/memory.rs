//! The memory of the starter, and its decisions: pure functions.

#[cfg(test)]
mod tests;

use packcast_protocol::agent_build::AgentVersion;
use packcast_protocol::{PackageId, Sha256Digest};
use serde::{Deserialize, Serialize};

/// The number of starts after which a version on trial that is not confirmed goes back.
///
/// A start that ended because somebody stopped the agent does not count.
pub(crate) const MAX_STARTS: u32 = 3;

/// The time with a reachable server in which a version on trial has to check in, in seconds.
pub(crate) const PATIENCE_S: u32 = 600;

/// The attempt at a package that updates the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UpdateTask {
    pub(crate) package: PackageId,
    pub(crate) attempt: u32,
}

/// A build of the agent in the folder of versions. The digest is its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredBuild {
    pub(crate) version: AgentVersion,
    pub(crate) sha256: Sha256Digest,
}

/// A build that an agent has stored, for the starter to try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StagedUpdate {
    pub(crate) task: UpdateTask,
    pub(crate) build: StoredBuild,
}

/// A version on trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trial {
    pub(crate) task: UpdateTask,
    pub(crate) build: StoredBuild,
    /// The number of starts, except those that somebody has stopped.
    starts: u32,
    /// The time in which the version ran, and the starter reached the server, in seconds.
    reachable_s: u32,
}

/// The end of a trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TrialEnd {
    Succeeded,
    Failed {
        reason: String,
    },
    /// The package manager has installed this version, which is not below that of the trial.
    Overtaken {
        installed: AgentVersion,
    },
}

/// The end of the latest trial. The agent reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EndedTrial {
    pub(crate) task: UpdateTask,
    pub(crate) end: TrialEnd,
}

/// The memory of the starter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VersionMemory {
    /// The installed version at the latest start.
    pub(crate) installed: AgentVersion,
    /// The updated version that works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kept: Option<StoredBuild>,
    /// The number of starts in a row after which the updated version has not checked in, without those
    /// that somebody or a power failure has ended.
    #[serde(default)]
    kept_ends: u32,
    /// The run of the system in which the updated version was started last, until the starter has seen
    /// the end of the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kept_boot: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trial: Option<Trial>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<EndedTrial>,
}

/// Files that agents have written since the starter looked last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// The trial that an agent has confirmed: the version on trial has checked in.
    pub(crate) confirmed: Option<UpdateTask>,
    /// The updated version that has checked in, at its latest start.
    pub(crate) checked_in: Option<Sha256Digest>,
    pub(crate) staged: Option<StagedUpdate>,
}

/// The version to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Installed,
    /// The updated version that works.
    Kept(StoredBuild),
    Trial(StoredBuild),
    /// The version on trial has failed.
    GoBack(String),
}

/// Returns the version of this program.
pub(crate) fn installed_version() -> AgentVersion {
    let version = env!("CARGO_PKG_VERSION").parse();
    version.expect("the version of a Cargo package has three numbers")
}

impl VersionMemory {
    /// Returns the memory of a device without updates.
    pub(crate) const fn new(installed: AgentVersion) -> Self {
        Self {
            installed,
            kept: None,
            kept_ends: 0,
            kept_boot: None,
            trial: None,
            ended: None,
        }
    }

    /// Returns the memory with the news, at a start with this installed version.
    ///
    /// News that the memory has already change nothing, so the starter may remove their files after
    /// it has written the memory.
    ///
    /// The newest version runs. An upgrade by the package manager to the same or a later version ends
    /// an update, and so does every downgrade: an administrator has asked for it.
    #[must_use]
    pub(crate) fn with(mut self, news: News, installed: AgentVersion) -> Self {
        if let Some(trial) = &self.trial
            && news.confirmed == Some(trial.task)
        {
            self.kept = Some(trial.build.clone());
            self.forget_kept_starts();
            self.end(TrialEnd::Succeeded);
        }
        let kept = self.kept.as_ref().map(|kept| kept.sha256);
        if kept.is_some() && news.checked_in == kept {
            self.forget_kept_starts();
        }
        if let Some(StagedUpdate { task, build }) = news.staged
            && !self.knows(task)
        {
            self.go_back("another version was staged before the trial was complete");
            self.trial = Some(Trial {
                task,
                build,
                starts: 0,
                reachable_s: 0,
            });
        }
        let is_downgrade = installed < self.installed;
        let is_over = |build: &StoredBuild| is_downgrade || build.version <= installed;
        if self.kept.as_ref().is_some_and(is_over) {
            self.kept = None;
        }
        if self.trial.as_ref().is_some_and(|it| is_over(&it.build)) {
            if is_downgrade {
                self.go_back(&format!(
                    "version {installed} was installed before the trial was complete"
                ));
            } else {
                let installed = installed.clone();
                self.end(TrialEnd::Overtaken { installed });
            }
        }
        self.installed = installed;
        self
    }

    fn knows(&self, task: UpdateTask) -> bool {
        let trial = self.trial.as_ref().map(|trial| trial.task);
        let ended = self.ended.as_ref().map(|ended| ended.task);
        [trial, ended].contains(&Some(task))
    }

    /// Decides which version runs.
    pub(crate) fn next(&self) -> Next {
        match (&self.trial, &self.kept) {
            (Some(trial), _) if trial.starts >= MAX_STARTS => Next::GoBack(format!(
                "the program ended {MAX_STARTS} times before its first round was complete"
            )),
            (Some(trial), _) if trial.reachable_s >= PATIENCE_S => Next::GoBack(format!(
                "it did not check in within {} minutes, in which the server was reachable",
                PATIENCE_S / 60
            )),
            (Some(trial), _) => Next::Trial(trial.build.clone()),
            (None, Some(kept)) => Next::Kept(kept.clone()),
            (None, None) => Next::Installed,
        }
    }

    /// Returns the version to run without the trial.
    pub(crate) fn working(&self) -> Next {
        self.kept.clone().map_or(Next::Installed, Next::Kept)
    }

    /// Counts a start of the version on trial. The memory is on disk before the start.
    pub(crate) const fn count_start(&mut self) {
        if let Some(trial) = &mut self.trial {
            trial.starts += 1;
        }
    }

    /// Does not count the latest start, because somebody has stopped the agent.
    pub(crate) const fn uncount_start(&mut self) {
        if let Some(trial) = &mut self.trial {
            trial.starts = trial.starts.saturating_sub(1);
        }
    }

    /// Counts a start of the updated version in this run of the system. The memory is on disk before
    /// the start, because a watchdog may end the starter together with a version that hangs.
    pub(crate) fn count_kept_start(&mut self, boot: Option<String>) {
        self.kept_ends = self.kept_ends.saturating_add(1);
        self.kept_boot = boot;
    }

    /// Does not count the latest start of the updated version, which is not the cause of its end.
    pub(crate) fn uncount_kept_start(&mut self) {
        self.kept_ends = self.kept_ends.saturating_sub(1);
        self.kept_boot = None;
    }

    /// Keeps the count of the latest start: the starter has seen that the version has failed.
    pub(crate) fn kept_has_failed(&mut self) {
        self.kept_boot = None;
    }

    /// Forgets the starts of the updated version, because it has checked in.
    pub(crate) fn forget_kept_starts(&mut self) {
        self.kept_ends = 0;
        self.kept_boot = None;
    }

    /// Does not count a start of the updated version that the end of the system has interrupted.
    pub(crate) fn runs_in(&mut self, boot: Option<&str>) {
        if self.kept_boot.is_some() && self.kept_boot.as_deref() != boot {
            self.uncount_kept_start();
        }
    }

    /// Gives up an updated version that does not check in, and returns its version. The installed
    /// version runs from now on.
    pub(crate) fn give_up_kept(&mut self) -> Option<AgentVersion> {
        if self.kept_ends < MAX_STARTS {
            return None;
        }
        self.forget_kept_starts();
        self.kept.take().map(|kept| kept.version)
    }

    /// Returns `true` if the latest trial was a success.
    pub(crate) fn has_succeeded(&self) -> bool {
        let ended = self.ended.as_ref();
        ended.is_some_and(|ended| ended.end == TrialEnd::Succeeded)
    }

    /// Counts a time in which the version on trial ran, and the server was reachable.
    pub(crate) const fn count_reachable(&mut self, seconds: u32) {
        if let Some(trial) = &mut self.trial {
            trial.reachable_s = trial.reachable_s.saturating_add(seconds);
        }
    }

    /// Ends the trial, if there is one, as a failure.
    pub(crate) fn go_back(&mut self, reason: &str) {
        let Some(trial) = &self.trial else { return };
        let version = &trial.build.version;
        let reason = format!("went back from version {version} of the agent: {reason}");
        self.end(TrialEnd::Failed { reason });
    }

    fn end(&mut self, end: TrialEnd) {
        if let Some(Trial { task, .. }) = self.trial.take() {
            self.ended = Some(EndedTrial { task, end });
        }
    }

    /// Returns the builds that the device needs.
    pub(crate) fn builds(&self) -> impl Iterator<Item = &StoredBuild> {
        let trial = self.trial.as_ref().map(|trial| &trial.build);
        self.kept.iter().chain(trial)
    }
}
