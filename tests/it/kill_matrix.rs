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

/// The agent dies directly after it has let a program run, which then outlives it.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn the_programs_of_a_killed_agent_do_not_run_beside_others() {
    use packcast_tests::kill::{self, Choice, Kill};

    for program in 1..=3 {
        let at = format!("release:program#{program}:after").parse();
        let kill = Kill {
            at: at.unwrap(),
            then: None,
        };
        let report = kill::run(crate::PROGRAM, &Choice::Only(kill), 1, |_, _| {});
        assert!(report.is_good() && report.killed == 1, "{report:#?}");
    }
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn a_killed_self_update_leaves_a_working_agent() {
    use packcast_tests::kill::self_update;

    let report = self_update::run(crate::PROGRAM, 41, 1);
    assert!(report.is_good(), "{report:#?}");
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

#[test]
fn a_killed_command_leaves_a_whole_state_and_the_next_one_completes_the_records() {
    use packcast_tests::killed_commands::{self, KilledCommand};

    let commands = [
        KilledCommand::UnassignFromGroup,
        KilledCommand::GroupAdd,
        KilledCommand::GroupRename,
    ];
    let report = killed_commands::run(crate::PROGRAM, &commands, 13, 2);
    assert!(report.is_good(), "{report:#?}");
}
