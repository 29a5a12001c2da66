//! Device commands for the OCS agent of Debian.

use std::fs;
use std::path::PathBuf;

use packcast_protocol::{FragmentNumber, Outcome};
use packcast_rollout::{PackageRecord, TaskState};
use packcast_store::ObjectKey;
use packcast_tests::ocs_agent::OngoingCheckIn;
use packcast_tests::process::eventually;
use packcast_tests::world::World;

use crate::PROGRAM;
use crate::enrolled_agent::{EnrolledAgent, PROMPT};

/// A package whose command runs until its gate exists.
struct Waiting {
    package: PackageRecord,
    runs: String,
    gate: String,
    check_in: OngoingCheckIn,
}

impl EnrolledAgent {
    /// Publishes and assigns a package of one fragment whose program exits with this code.
    fn exits(&self, name: &str, priority: &str, code: u8) -> PackageRecord {
        let prompt = ["--priority", priority, "--activate"];
        self.launch_with(name, &format!("exit {code}"), &prompt)
    }

    /// Deploys a package whose program records its run and waits for a file. Returns when the
    /// program runs.
    fn waiting(&self) -> Waiting {
        let (runs, gate) = (self.world.path("runs"), self.world.path("gate"));
        let script = format!("echo run >> {runs}; until test -e {gate}; do sleep 0.1; done");
        let package = self.launch_with("waits", &script, &PROMPT);
        let check_in = self.agent.begin();
        eventually("the command runs", || {
            fs::exists(&runs).unwrap().then_some(())
        });
        Waiting {
            package,
            runs,
            gate,
            check_in,
        }
    }

    /// Removes the only fragment of a package, and returns its path and content.
    fn lose_fragment(&self, package: &PackageRecord) -> (PathBuf, Vec<u8>) {
        let first = FragmentNumber::from_index(0);
        let fragment = ObjectKey::fragment(&package.folder, package.id, first);
        let place = self.world.object(&fragment);
        let content = fs::read(&place).unwrap();
        fs::remove_file(&place).unwrap();
        (place, content)
    }

    /// Begins a check-in, and returns when a fragment is missing.
    fn stuck(&self) -> OngoingCheckIn {
        let check_in = self.agent.begin();
        check_in.until("404 Not Found");
        check_in
    }

    fn give(&self, command: &str) -> String {
        self.world.ok(&["device", command, self.agent.id()]).stdout
    }
}

#[test]
fn a_missing_fragment_delays_no_other_package_and_a_restarted_download_resumes() {
    let Some(story) = EnrolledAgent::begin() else {
        return;
    };
    let stuck = story.exits("stuck", "1", 7);
    let (place, content) = story.lose_fragment(&stuck);
    let first = story.stuck();
    let behind = story.exits("behind", "1", 0);
    let second = story.agent.begin().end();
    assert!(second.log.contains("locked. Cannot begin work"));
    assert_eq!(second.announced().len(), 2);
    eventually("the package behind is deployed", || {
        story.finished(behind.id)
    });
    story.expect(behind.id, 1, "SUCCESS_0", Outcome::Succeeded);

    assert!(
        story
            .give("restart-download")
            .contains("At its next check-in")
    );
    let shown = story.world.ok(&["device", "show", story.agent.id()]).stdout;
    assert!(shown.contains("restart download, requested"), "{shown}");
    let stopped = story.agent.begin().end();
    assert!(stopped.log.contains("Download is off"), "{}", stopped.log);
    assert!(!stopped.log.contains("download_end_handler"));
    assert!(first.end().log.contains("Exiting on signal"));

    fs::write(place, content).unwrap();
    story.agent.check_in();
    // The exit code shows that the agent deployed the package and reported it over its connection.
    story.expect(stuck.id, 1, "SUCCESS_7", Outcome::Failed);
}

#[test]
fn a_stuck_package_that_is_withdrawn_and_dropped_is_cancelled() {
    let Some(story) = EnrolledAgent::begin() else {
        return;
    };
    // At this priority, a stuck package delays the packages behind it.
    let stuck = story.exits("stuck", "0", 0);
    story.lose_fragment(&stuck);
    let first = story.stuck();
    let behind = story.exits("behind", "1", 0);
    assert_eq!(story.agent.begin().end().announced().len(), 2);

    let unassign = ["unassign", "stuck@1", "--device", story.agent.id()];
    story.world.ok(&unassign);
    let shown = story.world.ok(&["device", "show", story.agent.id()]).stdout;
    assert!(shown.contains("withdrawn"), "{shown}");
    assert!(story.give("drop").contains("ends as cancelled"));
    let dropping = story.agent.begin().end();
    assert!(dropping.log.contains("TIMEOUT=\"0\""), "{}", dropping.log);
    assert_eq!(dropping.announced().len(), 0);
    assert!(first.end().log.contains("No more package to download"));

    story.expect(stuck.id, 1, "ERR_TIMEOUT", Outcome::Cancelled);
    let shown = story.world.ok(&["device", "show", story.agent.id()]).stdout;
    assert!(shown.contains("cancelled: ERR_TIMEOUT"), "{shown}");
    let open = story.world.device_state_of(story.agent.id()).open;
    assert_eq!(open.len(), 1, "{open:?}");
    assert_eq!(
        (open[0].package, open[0].state),
        (behind.id, TaskState::Pending)
    );

    let third = story.agent.check_in();
    assert_eq!(
        third.announced().into_keys().collect::<Vec<_>>(),
        [behind.id]
    );
    story.expect(behind.id, 1, "SUCCESS_0", Outcome::Succeeded);
}

#[test]
fn a_package_of_a_killed_process_is_dropped_and_started_again() {
    let Some(story) = EnrolledAgent::begin() else {
        return;
    };
    let stuck = story.exits("stuck", "1", 0);
    let (place, content) = story.lose_fragment(&stuck);
    drop(story.stuck());

    story.give("drop");
    let dropping = story.agent.check_in();
    assert!(
        dropping.log.contains("code=ERR_TIMEOUT"),
        "{}",
        dropping.log
    );
    fs::write(place, content).unwrap();
    story.agent.check_in();
    story.expect(stuck.id, 1, "SUCCESS_0", Outcome::Succeeded);
}

#[test]
fn a_running_command_ends_before_other_packages_are_dropped() {
    let Some(story) = EnrolledAgent::begin() else {
        return;
    };
    let Waiting {
        package,
        runs,
        gate,
        check_in,
    } = story.waiting();

    story.give("drop");
    let dropping = story.agent.begin().end();
    assert!(dropping.log.contains("locked. Cannot begin work"));
    fs::write(&gate, "").unwrap();
    check_in.end();
    story.expect(package.id, 1, "SUCCESS_0", Outcome::Succeeded);
    assert_eq!(fs::read_to_string(&runs).unwrap(), "run\n");
}

/// The case that `--restart-download` warns of.
#[test]
fn a_command_that_is_running_at_a_restart_of_the_download_runs_again() {
    let Some(story) = EnrolledAgent::begin() else {
        return;
    };
    let Waiting {
        package,
        runs,
        gate,
        check_in,
    } = story.waiting();

    story.give("restart-download");
    story.agent.begin().end();
    check_in.until("Exiting on signal");
    fs::write(&gate, "").unwrap();
    story.agent.check_in();
    story.expect(package.id, 1, "SUCCESS_0", Outcome::Succeeded);
    assert_eq!(fs::read_to_string(&runs).unwrap(), "run\nrun\n");
}

#[test]
fn a_blocked_agent_stops_and_resumes_after_it_is_unblocked() {
    let Some(story) = EnrolledAgent::begin() else {
        return;
    };
    let stuck = story.exits("stuck", "1", 7);
    let (place, content) = story.lose_fragment(&stuck);
    let first = story.stuck();
    let device = |command| story.world.ok(&["device", command, story.agent.id()]);
    device("block");
    let stopped = story.agent.begin().end();
    assert!(stopped.log.contains("Download is off"), "{}", stopped.log);
    assert!(!stopped.log.contains("download_end_handler"));
    assert!(first.end().log.contains("Exiting on signal"));

    fs::write(place, content).unwrap();
    let idle = story.agent.begin().end();
    assert!(!idle.log.contains("download_end_handler"), "{}", idle.log);
    assert_eq!(idle.announced().len(), 0);
    assert!(story.finished(stuck.id).is_none());
    device("unblock");
    story.agent.check_in();
    story.expect(stuck.id, 1, "SUCCESS_7", Outcome::Failed);
}

#[test]
fn a_removed_agent_drops_its_packages_and_comes_back_without_them() {
    let Some(story) = EnrolledAgent::begin() else {
        return;
    };
    let stuck = story.exits("stuck", "1", 0);
    let (place, content) = story.lose_fragment(&stuck);
    let first = story.stuck();
    let device = |command| story.world.ok(&["device", command, story.agent.id()]);
    device("remove");
    let dropping = story.agent.begin().end();
    assert!(dropping.log.contains("TIMEOUT=\"0\""), "{}", dropping.log);
    assert_eq!(dropping.announced().len(), 0);
    assert!(first.end().log.contains("No more package to download"));

    fs::write(place, content).unwrap();
    device("unblock");
    assert_eq!(story.agent.check_in().announced().len(), 0);
    let device = story.world.device_state_of(story.agent.id());
    assert_eq!((device.open.len(), device.finished.len()), (0, 0));
    assert_eq!(story.agent.history(), []);
}

#[test]
fn packcast_agents_accept_no_device_commands() {
    let world = World::start(PROGRAM);
    let device = world.device("packcast");
    for command in ["restart-download", "drop"] {
        let why = world.refused(1, &["device", command, device.id()]);
        assert!(why.contains("take no device commands"), "{why}");
        assert!(why.contains("packcast unassign"), "{why}");
    }
    world.refused(2, &["device", "drop"]);
}
