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
fn an_updated_version_that_is_started_three_times_and_does_not_check_in_is_given_up() {
    let checked_in = |version: &str| News {
        checked_in: Some(build(version).sha256),
        ..News::default()
    };
    let start = |memory: &mut VersionMemory| {
        memory.runs_in(Some("boot"));
        assert_eq!(memory.give_up_kept(), None);
        assert_eq!(memory.next(), Next::Kept(build("1.1.0")));
        memory.count_kept_start(Some("boot".to_owned()));
    };
    let mut memory = updated("1.1.0");
    for _ in 0..3 {
        start(&mut memory);
        start(&mut memory);
        memory = memory.with(checked_in("1.1.0"), version("1.0.0"));
    }
    start(&mut memory);
    start(&mut memory);
    // A stop is no failure.
    memory.uncount_kept_start();
    // The check-in of another version does not count.
    memory = memory.with(checked_in("1.2.0"), version("1.0.0"));
    start(&mut memory);
    start(&mut memory);
    memory.runs_in(Some("boot"));
    assert_eq!(memory.give_up_kept(), Some(version("1.1.0")));
    assert_eq!(memory.next(), Next::Installed);
    assert_eq!(memory.give_up_kept(), None);
}

#[test]
fn a_power_failure_is_no_failure_of_the_updated_version() {
    let mut memory = updated("1.1.0");
    for boot in ["1", "2", "3", "4"] {
        memory.runs_in(Some(boot));
        assert_eq!(memory.give_up_kept(), None, "{boot}");
        memory.count_kept_start(Some(boot.to_owned()));
    }
    // The starter sees these ends, so they count, even before a restart of the system.
    for boot in ["5", "6", "7"] {
        memory.runs_in(Some(boot));
        assert_eq!(memory.give_up_kept(), None, "{boot}");
        memory.count_kept_start(Some(boot.to_owned()));
        memory.kept_has_failed();
    }
    memory.runs_in(Some("8"));
    assert_eq!(memory.give_up_kept(), Some(version("1.1.0")));
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
    StartKept(u8),
    StopKept,
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        1 => (0_u32..4, 0_u8..4).prop_map(|(attempt, n)| Move::Stage(attempt, n)),
        1 => (0_u32..4).prop_map(Move::Confirm),
        1 => (0_u8..4).prop_map(Move::Install),
        3 => Just(Move::Start),
        1 => Just(Move::Stop),
        3 => Just(Move::Minute),
        3 => (0_u8..3).prop_map(Move::StartKept),
        1 => Just(Move::StopKept),
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
                Move::StartKept(boot) => {
                    memory.runs_in(Some(&boot.to_string()));
                    memory.give_up_kept();
                    memory.count_kept_start(Some(boot.to_string()));
                }
                Move::StopKept => memory.uncount_kept_start(),
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
