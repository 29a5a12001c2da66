//! The agent is killed at some of its effects; `just kill-matrix` kills it at all of them.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn an_agent_that_is_killed_anywhere_runs_nothing_twice_and_loses_nothing() {
    use packcast_tests::kill::{self, Choice};

    let report = kill::run(crate::PROGRAM, &Choice::OneIn(ONE_IN), 2, |_, _| {});
    assert!(report.is_good(), "{report:#?}");
    assert!(
        report.killed >= 20 && report.killed_again >= 20,
        "{report:#?}"
    );
}

/// Prime, so that points of all kinds are among them.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
const ONE_IN: usize = 11;

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
#[test]
fn an_agent_that_is_killed_anywhere_runs_nothing_twice_and_loses_nothing() {
    use packcast_testing::skip::{Missing, skip};

    skip(Missing::Optional("stopping an agent at its system calls"));
}
