//! A sample of the kill matrix; `just kill-matrix` runs all of it.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn a_killed_agent_runs_nothing_twice_and_loses_nothing() {
    use packcast_tests::kill::{self, Choice};

    let report = kill::run(crate::PROGRAM, &Choice::OneIn(ONE_IN), 2, |_, _| {});
    assert!(report.is_good(), "{report:#?}");
    assert!(
        report.killed >= 20 && report.killed_again >= 20,
        "{report:#?}"
    );
}

/// A prime number, so that the sample contains points of all kinds.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
const ONE_IN: usize = 11;

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
#[test]
fn a_killed_agent_runs_nothing_twice_and_loses_nothing() {
    use packcast_testing::skip::{Missing, skip};

    skip(Missing::Optional("stopping an agent at its system calls"));
}
