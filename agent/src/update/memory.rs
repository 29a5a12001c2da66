//! The memory of the starter, and its decisions: pure functions.

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
    /// The number of times in a row that the updated version ended with an error before it had
    /// checked in.
    #[serde(default)]
    kept_ends: u32,
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
            self.kept_ends = 0;
            self.end(TrialEnd::Succeeded);
        }
        let kept = self.kept.as_ref().map(|kept| kept.sha256);
        if kept.is_some() && news.checked_in == kept {
            self.kept_ends = 0;
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

    /// Counts an end of the updated version with an error, before it had checked in.
    ///
    /// Returns `true` if it was the last one, so that the installed version runs from now on.
    pub(crate) fn count_kept_end(&mut self) -> bool {
        self.kept_ends = self.kept_ends.saturating_add(1);
        let is_last = self.kept_ends >= MAX_STARTS;
        if is_last {
            self.kept = None;
            self.kept_ends = 0;
        }
        is_last
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> AgentVersion {
        text.parse().unwrap()
    }

    fn build(text: &str) -> StoredBuild {
        StoredBuild {
            version: version(text),
            sha256: Sha256Digest::of(text.as_bytes()),
        }
    }

    fn task(attempt: u32) -> UpdateTask {
        UpdateTask {
            package: "1795000000".parse().unwrap(),
            attempt,
        }
    }

    fn staged(attempt: u32, version: &str) -> News {
        News {
            staged: Some(StagedUpdate {
                task: task(attempt),
                build: build(version),
            }),
            ..News::default()
        }
    }

    fn confirmed(attempt: u32) -> News {
        News {
            confirmed: Some(task(attempt)),
            ..News::default()
        }
    }

    fn memory() -> VersionMemory {
        VersionMemory::new(version("1.0.0"))
    }

    fn installed(memory: VersionMemory, text: &str) -> VersionMemory {
        memory.with(News::default(), version(text))
    }

    fn failure(memory: &VersionMemory) -> &str {
        match &memory.ended.as_ref().unwrap().end {
            TrialEnd::Failed { reason } => reason,
            TrialEnd::Succeeded | TrialEnd::Overtaken { .. } => panic!("{memory:?}"),
        }
    }

    /// Returns a device that runs an updated version.
    fn updated(text: &str) -> VersionMemory {
        let memory = memory().with(staged(1, text), version("1.0.0"));
        memory.with(confirmed(1), version("1.0.0"))
    }

    #[test]
    fn a_confirmed_version_is_kept() {
        let trial = memory().with(staged(1, "1.1.0"), version("1.0.0"));
        assert_eq!(trial.next(), Next::Trial(build("1.1.0")));
        assert_eq!(trial.working(), Next::Installed);
        let kept = trial.clone().with(confirmed(1), version("1.0.0"));
        assert_eq!(kept.next(), Next::Kept(build("1.1.0")));
        assert_eq!(kept.ended.as_ref().unwrap().end, TrialEnd::Succeeded);
        // The confirmation of another attempt does not count.
        let other = trial.with(confirmed(2), version("1.0.0"));
        assert_eq!(other.next(), Next::Trial(build("1.1.0")));
    }

    #[test]
    fn news_count_once() {
        let trial = memory().with(staged(1, "1.1.0"), version("1.0.0"));
        let again = trial.clone().with(staged(1, "1.1.0"), version("1.0.0"));
        assert_eq!(again, trial);
        let mut failed = trial;
        failed.go_back("");
        let again = failed.clone().with(staged(1, "1.1.0"), version("1.0.0"));
        assert_eq!(again, failed);
        let next_attempt = failed.with(staged(2, "1.1.0"), version("1.0.0"));
        assert_eq!(next_attempt.next(), Next::Trial(build("1.1.0")));
    }

    #[test]
    fn a_version_that_ends_three_times_goes_back() {
        let mut memory = updated("1.1.0").with(staged(2, "1.2.0"), version("1.0.0"));
        for _ in 0..MAX_STARTS {
            assert_eq!(memory.next(), Next::Trial(build("1.2.0")));
            memory.count_start();
            // A stop is no failure.
            memory.uncount_start();
            memory.count_start();
        }
        let Next::GoBack(reason) = memory.next() else {
            panic!("{memory:?}");
        };
        memory.go_back(&reason);
        assert_eq!(memory.next(), Next::Kept(build("1.1.0")));
        insta::assert_snapshot!(failure(&memory), @"went back from version 1.2.0 of the agent: the program ended 3 times before its first round was complete");
    }

    #[test]
    fn only_time_with_a_reachable_server_counts() {
        let mut memory = memory().with(staged(1, "1.1.0"), version("1.0.0"));
        for _ in 0..9 {
            memory.count_reachable(60);
            // The count continues after a restart of the computer.
            memory = installed(memory, "1.0.0");
        }
        assert_eq!(memory.next(), Next::Trial(build("1.1.0")));
        memory.count_reachable(60);
        let Next::GoBack(reason) = memory.next() else {
            panic!("{memory:?}");
        };
        memory.go_back(&reason);
        assert_eq!(memory.next(), Next::Installed);
        insta::assert_snapshot!(failure(&memory), @"went back from version 1.1.0 of the agent: it did not check in within 10 minutes, in which the server was reachable");
    }

    #[test]
    fn the_newest_of_the_installed_and_the_updated_version_runs() {
        let check = |then: &str, expected: Next| {
            assert_eq!(installed(updated("1.1.0"), then).next(), expected, "{then}");
        };
        check("1.0.0", Next::Kept(build("1.1.0")));
        check("1.0.5", Next::Kept(build("1.1.0")));
        check("1.1.0", Next::Installed);
        check("2.0.0", Next::Installed);
        // An administrator has downgraded the package.
        check("0.9.0", Next::Installed);
        let later = installed(updated("1.1.0"), "1.0.5");
        assert_eq!(installed(later, "1.0.0").next(), Next::Installed);
    }

    #[test]
    fn an_upgrade_by_the_package_manager_ends_a_trial() {
        let trial = memory().with(staged(1, "1.1.0"), version("1.0.0"));
        for later in ["1.1.0", "1.2.0"] {
            let upgraded = installed(trial.clone(), later);
            assert_eq!(upgraded.next(), Next::Installed);
            let installed = version(later);
            let end = upgraded.ended.unwrap().end;
            assert_eq!(end, TrialEnd::Overtaken { installed });
        }
        let downgraded = installed(trial.clone(), "0.9.0");
        assert_eq!(downgraded.next(), Next::Installed);
        insta::assert_snapshot!(failure(&downgraded), @"went back from version 1.1.0 of the agent: version 0.9.0 was installed before the trial was complete");
        assert_eq!(
            installed(trial, "1.0.9").next(),
            Next::Trial(build("1.1.0"))
        );
    }

    #[test]
    fn an_updated_version_that_ends_three_times_before_it_checks_in_is_given_up() {
        let checked_in = || News {
            checked_in: Some(build("1.1.0").sha256),
            ..News::default()
        };
        let mut memory = updated("1.1.0");
        for _ in 0..3 {
            assert!(!memory.count_kept_end());
            assert!(!memory.count_kept_end());
            assert_eq!(memory.next(), Next::Kept(build("1.1.0")));
            memory = memory.with(checked_in(), version("1.0.0"));
        }
        assert!(!memory.count_kept_end() && !memory.count_kept_end());
        // The check-in of another version does not count.
        let other = News {
            checked_in: Some(build("1.2.0").sha256),
            ..News::default()
        };
        memory = memory.with(other, version("1.0.0"));
        assert!(memory.count_kept_end());
        assert_eq!(memory.next(), Next::Installed);
    }

    #[test]
    fn an_update_may_replace_an_update() {
        let memory = updated("1.2.0").with(staged(2, "1.1.0"), version("1.0.0"));
        assert_eq!(memory.next(), Next::Trial(build("1.1.0")));
        assert_eq!(memory.working(), Next::Kept(build("1.2.0")));
        let builds: Vec<_> = memory.builds().cloned().collect();
        assert_eq!(builds, [build("1.2.0"), build("1.1.0")]);
        let memory = memory.with(confirmed(2), version("1.0.0"));
        assert_eq!(memory.next(), Next::Kept(build("1.1.0")));
    }

    #[derive(Clone, Debug)]
    enum Move {
        Stage(u32, u8),
        Confirm(u32),
        Install(u8),
        Start,
        Stop,
        Minute,
    }

    fn any_move() -> impl Strategy<Value = Move> {
        prop_oneof![
            1 => (0_u32..4, 0_u8..4).prop_map(|(attempt, n)| Move::Stage(attempt, n)),
            1 => (0_u32..4).prop_map(Move::Confirm),
            1 => (0_u8..4).prop_map(Move::Install),
            3 => Just(Move::Start),
            1 => Just(Move::Stop),
            3 => Just(Move::Minute),
        ]
    }

    proptest! {
        /// There is always a version to run, and no version runs unless it is newer than the
        /// installed one and either on a trial with an end, or confirmed.
        #[test]
        fn some_version_always_runs(moves in prop::collection::vec(any_move(), 0..60)) {
            let name = |n: u8| format!("1.{n}.0");
            let mut memory = memory();
            let mut own = version("1.0.0");
            let mut worked: Vec<StoredBuild> = Vec::new();
            for next in moves {
                let mut news = News::default();
                match next {
                    Move::Stage(attempt, n) => news = staged(attempt, &name(n)),
                    Move::Confirm(attempt) => {
                        let trial = memory.trial.iter().filter(|it| it.task == task(attempt));
                        worked.extend(trial.map(|it| it.build.clone()));
                        news = confirmed(attempt);
                    }
                    Move::Install(n) => own = version(&name(n)),
                    Move::Start => memory.count_start(),
                    Move::Stop => memory.uncount_start(),
                    Move::Minute => memory.count_reachable(60),
                }
                memory = memory.with(news, own.clone());
                if let Next::GoBack(reason) = memory.next() {
                    memory.go_back(&reason);
                    prop_assert!(memory.trial.is_none());
                }
                match memory.next() {
                    Next::Installed => {}
                    Next::Kept(kept) => {
                        prop_assert!(kept.version > own);
                        prop_assert!(worked.contains(&kept));
                    }
                    Next::Trial(build) => {
                        prop_assert!(build.version > own);
                        let trial = memory.trial.as_ref().unwrap();
                        prop_assert!(trial.starts < MAX_STARTS && trial.reachable_s < PATIENCE_S);
                    }
                    Next::GoBack(reason) => prop_assert!(false, "{reason}"),
                }
            }
        }
    }
}
