//! Devices that were told of packages, and administrators who stop them.

use std::fs;

use packcast_agent::event::Event;
use packcast_protocol::PackageId;
use packcast_protocol::state::exchange::WaitWord;
use packcast_tests::process::{Ran, eventually};
use packcast_tests::world::World;
use packcast_tests::world::device::{RunningAgent, TestDevice};

use crate::PROGRAM;

/// A device that was told of two packages. The program of the first waits for a file.
struct TwoPackages {
    world: World,
    device: TestDevice,
    agent: RunningAgent,
    ids: [PackageId; 2],
    runs: String,
}

impl TwoPackages {
    /// Assigns both packages, and returns while the program of the first runs.
    fn begin(assignee: impl Fn(&TestDevice) -> Vec<String>) -> Self {
        let world = World::start(PROGRAM);
        let (runs, go) = (world.path("runs"), world.path("go"));
        let slow = format!("echo slow >> {runs}; until [ -e {go} ]; do sleep 0.01; done");
        let after = format!("echo after >> {runs}");
        let publish = |name, priority, command: &str| {
            let action = ["--action=execute", "--command", command, "--activate"];
            let priority = format!("--priority={priority}");
            let published = world.publish(name, &[&action[..], &[&priority]].concat());
            published.package.id
        };
        let ids = [publish("slow", 1, &slow), publish("after", 2, &after)];
        let device = world.device("pc");
        for package in ["slow@1", "after@1"] {
            let assignee = assignee(&device);
            let assignee: Vec<&str> = assignee.iter().map(String::as_str).collect();
            world.ok(&[&["assign", package], &assignee[..]].concat());
        }
        let mut agent = device.start();
        while !matches!(agent.next_event(), Event::Started { .. }) {}
        eventually("the program runs", || fs::read_to_string(&runs).ok());
        assert_eq!(world.progress("after@1").announced, 1);
        Self {
            world,
            device,
            agent,
            ids,
            runs,
        }
    }

    fn of_device() -> Self {
        Self::begin(|device| vec!["--device".to_owned(), device.id().to_owned()])
    }

    /// Lets the first program end, and expects that the second package waits without a result.
    fn expect_stopped(&mut self) {
        self.world.file("go", b"");
        let mut waits = Vec::new();
        let mut started = Vec::new();
        while let Some(event) = self.agent.event() {
            match event {
                Event::Waits { id, reason, .. } => waits.push((id, reason)),
                Event::Started { id } => started.push(id),
                _ => {}
            }
        }
        assert_eq!(waits, [(self.ids[1], WaitWord::Held)]);
        assert_eq!(started, [], "only the first package had begun");
        self.expect_runs(&["slow"]);
        assert_eq!(self.world.progress("slow@1").succeeded, 1);
    }

    fn expect_runs(&self, expected: &[&str]) {
        let runs = fs::read_to_string(&self.runs).unwrap();
        assert_eq!(runs.lines().collect::<Vec<_>>(), expected);
    }
}

fn says(ran: &Ran, text: &str) {
    assert!(ran.stderr.contains(text), "{ran:?}");
}

const ONE_TOLD: &str = "1 device was told of the package before, and has not reported";

#[test]
fn a_device_does_not_begin_a_package_after_deactivate_has_returned() {
    let mut story = TwoPackages::of_device();
    let ran = story.world.ok(&["deactivate", "after@1"]);
    says(&ran, ONE_TOLD);
    story.expect_stopped();
    // The package comes again when it is active again.
    story.device.run();
    story.world.ok(&["activate", "after@1"]);
    story.device.run();
    story.expect_runs(&["slow", "after"]);
    let nobody = story.world.ok(&["deactivate", "after@1"]);
    assert!(!nobody.stderr.contains("told"), "{nobody:?}");
}

#[test]
fn a_device_does_not_begin_a_package_after_unassign_has_returned() {
    let mut story = TwoPackages::of_device();
    let id = story.device.id().to_owned();
    let ran = story.world.ok(&["unassign", "after@1", "--device", &id]);
    says(&ran, ONE_TOLD);
    story.expect_stopped();

    let mut story = TwoPackages::begin(|_| vec!["--all".to_owned()]);
    let ran = story.world.ok(&["unassign", "after@1", "--all"]);
    says(&ran, ONE_TOLD);
    story.expect_stopped();
}

#[test]
fn a_paused_target_stops_devices_until_it_is_resumed() {
    let mut story = TwoPackages::of_device();
    let paused = story.world.ok(&["pause", "--all"]);
    assert!(
        paused.stdout.contains("the target is paused since"),
        "{paused:?}"
    );
    // A commit keeps the pause.
    story.world.ok(&["group", "create", "lab"]);
    story.expect_stopped();
    assert_eq!(story.device.announced(), 0);
    let device = story.device.id().to_owned();
    for command in [&["status"][..], &["explain", &device, "after@1"]] {
        says(&story.world.ok(command), "the target is paused since");
    }
    let audit = story.world.ok(&["audit"]);
    assert!(audit.stdout.contains("\npaused "), "{audit:?}");
    let again = story.world.ok(&["pause", "--all"]);
    assert!(again.stdout.contains("already paused"), "{again:?}");

    story.world.ok(&["resume", "--all"]);
    assert_eq!(story.device.announced(), 1);
    story.expect_runs(&["slow", "after"]);
    for command in [&["status"][..], &["explain", &device, "after@1"]] {
        let ran = story.world.ok(command);
        assert!(!ran.stderr.contains("paused"), "{ran:?}");
    }
}
