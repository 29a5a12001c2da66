//! What a stock OCS agent makes of orders, as Debian has it.

use std::fs;
use std::path::PathBuf;

use packcast_protocol::{FragmentNumber, Outcome};
use packcast_rollout::{PackageRecord, TaskState};
use packcast_store::ObjectKey;
use packcast_tests::ocs_agent::Ongoing;
use packcast_tests::process::eventually;
use packcast_tests::world::World;

use crate::PROGRAM;
use crate::enrolled_agent::{EnrolledAgent, PROMPT};

/// A package whose command runs until its gate exists.
struct Waiting {
    package: PackageRecord,
    runs: String,
    gate: String,
    contact: Ongoing,
}

impl EnrolledAgent {
    /// Publishes a package `name@1` of one fragment that exits with a code, and assigns it.
    fn exits(&self, name: &str, priority: &str, code: u8) -> PackageRecord {
        let prompt = ["--priority", priority, "--activate"];
        self.launch_with(name, &format!("exit {code}"), &prompt)
    }

    /// Deploys a package that adds a line to a file for each run and waits for another file.
    /// Returns when its command runs.
    fn waiting(&self) -> Waiting {
        let (runs, gate) = (self.world.path("runs"), self.world.path("gate"));
        let script = format!("echo run >> {runs}; until test -e {gate}; do sleep 0.1; done");
        let package = self.launch_with("waits", &script, &PROMPT);
        let contact = self.agent.begin();
        eventually("the command runs", || {
            fs::exists(&runs).unwrap().then_some(())
        });
        Waiting {
            package,
            runs,
            gate,
            contact,
        }
    }

    /// Takes the only fragment of a package away, and returns it with its place.
    fn lose_fragment(&self, package: &PackageRecord) -> (PathBuf, Vec<u8>) {
        let first = FragmentNumber::from_index(0);
        let fragment = ObjectKey::fragment(&package.folder, package.id, first);
        let place = self.world.object(&fragment);
        let content = fs::read(&place).unwrap();
        fs::remove_file(&place).unwrap();
        (place, content)
    }

    /// Begins a contact, and returns when the agent misses a fragment.
    fn stuck(&self) -> Ongoing {
        let contact = self.agent.begin();
        contact.until("404 Not Found");
        contact
    }

    fn order(&self, order: &str) -> String {
        self.world.ok(&["device", self.agent.id(), order]).stdout
    }
}

#[test]
fn a_missing_fragment_holds_up_nothing_behind_it_and_a_stopped_agent_resumes() {
    let Some(story) = EnrolledAgent::begin() else {
        return;
    };
    let stuck = story.exits("stuck", "1", 7);
    let (place, content) = story.lose_fragment(&stuck);
    let first = story.stuck();
    let behind = story.exits("behind", "1", 0);
    let second = story.agent.begin().end();
    assert!(second.log.contains("locked. Cannot begin work"));
    assert_eq!(second.told().len(), 2);
    eventually("what is behind is deployed", || story.finished(behind.id));
    story.expect(behind.id, 1, "SUCCESS_0", Outcome::Succeeded);

    assert!(
        story
            .order("--restart-download")
            .contains("At its next contact")
    );
    let shown = story.world.ok(&["device", story.agent.id()]).stdout;
    assert!(shown.contains("unstick, asked"), "{shown}");
    let stopped = story.agent.begin().end();
    assert!(stopped.log.contains("Download is off"), "{}", stopped.log);
    assert!(!stopped.log.contains("download_end_handler"));
    assert!(first.end().log.contains("Exiting on signal"));

    fs::write(place, content).unwrap();
    story.agent.contact();
    // The agent reports the exit code itself: it has not lost its connection.
    story.expect(stuck.id, 1, "SUCCESS_7", Outcome::Failed);
}

#[test]
fn what_is_taken_back_while_stuck_is_cancelled_and_the_rest_is_deployed() {
    let Some(story) = EnrolledAgent::begin() else {
        return;
    };
    // At this priority, it does hold up what is behind it.
    let stuck = story.exits("stuck", "0", 0);
    story.lose_fragment(&stuck);
    let first = story.stuck();
    let behind = story.exits("behind", "1", 0);
    assert_eq!(story.agent.begin().end().told().len(), 2);

    let unassign = ["unassign", "stuck@1", "--device", story.agent.id()];
    story.world.ok(&unassign);
    let shown = story.world.ok(&["device", story.agent.id()]).stdout;
    assert!(shown.contains("withdrawn"), "{shown}");
    assert!(story.order("--drop").contains("ends as cancelled"));
    let told = story.agent.begin().end();
    assert!(told.log.contains("TIMEOUT=\"0\""), "{}", told.log);
    assert_eq!(told.told().len(), 0);
    assert!(first.end().log.contains("No more package to download"));

    story.expect(stuck.id, 1, "ERR_TIMEOUT", Outcome::Cancelled);
    let shown = story.world.ok(&["device", story.agent.id()]).stdout;
    assert!(shown.contains("cancelled: ERR_TIMEOUT"), "{shown}");
    let open = story.world.standing_of(story.agent.id()).open;
    assert_eq!(open.len(), 1, "{open:?}");
    assert_eq!(
        (open[0].package, open[0].state),
        (behind.id, TaskState::Pending)
    );

    let third = story.agent.contact();
    assert_eq!(third.told().into_keys().collect::<Vec<_>>(), [behind.id]);
    story.expect(behind.id, 1, "SUCCESS_0", Outcome::Succeeded);
}

#[test]
fn what_a_process_that_was_killed_left_behind_is_dropped_and_begun_anew() {
    let Some(story) = EnrolledAgent::begin() else {
        return;
    };
    let stuck = story.exits("stuck", "1", 0);
    let (place, content) = story.lose_fragment(&stuck);
    drop(story.stuck());

    story.order("--drop");
    let dropping = story.agent.contact();
    assert!(
        dropping.log.contains("code=ERR_TIMEOUT"),
        "{}",
        dropping.log
    );
    fs::write(place, content).unwrap();
    story.agent.contact();
    story.expect(stuck.id, 1, "SUCCESS_0", Outcome::Succeeded);
}

#[test]
fn a_command_that_runs_is_let_end_before_the_rest_is_dropped() {
    let Some(story) = EnrolledAgent::begin() else {
        return;
    };
    let Waiting {
        package,
        runs,
        gate,
        contact,
    } = story.waiting();

    story.order("--drop");
    let dropping = story.agent.begin().end();
    assert!(dropping.log.contains("locked. Cannot begin work"));
    fs::write(&gate, "").unwrap();
    contact.end();
    story.expect(package.id, 1, "SUCCESS_0", Outcome::Succeeded);
    assert_eq!(fs::read_to_string(&runs).unwrap(), "run\n");
}

/// What `--restart-download` warns of.
#[test]
fn a_command_that_runs_when_the_agent_is_stopped_is_run_again() {
    let Some(story) = EnrolledAgent::begin() else {
        return;
    };
    let Waiting {
        package,
        runs,
        gate,
        contact,
    } = story.waiting();

    story.order("--restart-download");
    story.agent.begin().end();
    contact.until("Exiting on signal");
    fs::write(&gate, "").unwrap();
    story.agent.contact();
    story.expect(package.id, 1, "SUCCESS_0", Outcome::Succeeded);
    assert_eq!(fs::read_to_string(&runs).unwrap(), "run\nrun\n");
}

#[test]
fn our_agent_takes_no_orders() {
    let world = World::start(PROGRAM);
    let device = world.device("ours");
    for order in ["--restart-download", "--drop"] {
        let why = world.refused(1, &["device", device.id(), order]);
        assert!(why.contains("takes no orders"), "{why}");
        assert!(why.contains("packcast unassign"), "{why}");
    }
    world.refused(2, &["device", device.id(), "--restart-download", "--drop"]);
    world.refused(2, &["device", "--drop"]);
}
