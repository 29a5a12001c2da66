//! Repeated assignments, and the counts of their results.

use std::fs;

use packcast_protocol::Outcome;
use packcast_tests::process::Ran;
use packcast_tests::world::{StatusOutput, World};
use serde_json::Value;

use crate::PROGRAM;

fn progress(succeeded: u64, failed: u64, waiting: u64) -> StatusOutput {
    StatusOutput {
        state: "active".to_owned(),
        assigned: succeeded + failed + waiting,
        waiting,
        announced: 0,
        succeeded,
        failed,
        cancelled: 0,
    }
}

#[test]
fn assigning_again_after_a_failure_is_another_attempt() {
    let world = World::start(PROGRAM);
    let (device, gate) = (world.device("pc"), world.path("gate"));
    world.execute("tool", &format!("test -e {gate}"));
    world.assign("tool@1", &device);
    assert_eq!(world.progress("tool@1"), progress(0, 0, 1));
    device.run();
    assert_eq!(world.progress("tool@1"), progress(0, 1, 0));
    assert_eq!(
        device.announced(),
        0,
        "a failure is not retried without a new assignment"
    );

    fs::write(&gate, "").unwrap();
    let again = world.ok(&["assign", "tool@1", "--device", device.id()]);
    assert!(again.stdout.contains("attempt 2"), "{again:?}");
    assert_eq!(world.progress("tool@1"), progress(0, 0, 1));
    device.run();
    assert_eq!(world.progress("tool@1"), progress(1, 0, 0));
    let result = world.result(&device);
    assert_eq!((result.attempt, result.outcome), (2, Outcome::Succeeded));
}

#[test]
fn going_back_to_an_earlier_version_is_refused_unless_it_is_allowed() {
    let world = World::start(PROGRAM);
    let (device, runs) = (world.device("pc"), world.path("runs"));
    let publish = |version: &str| {
        let command = format!("echo {version} >> {runs}");
        let named = ["publish", "--name", "tool", "--version", version];
        let action = ["--action", "execute", "--command", &command, "--activate"];
        world.ok(&[&named[..], &action].concat());
    };
    publish("1.0");
    publish("2.0");
    world.assign("tool@2.0", &device);
    device.run();
    let back = ["assign", "tool@1.0", "--device", device.id(), "--force"];
    let refused = Ran::of(&mut world.command(&back)).expect_code(1);
    assert!(refused.stdout.contains("version 2.0"), "{refused:?}");
    assert!(refused.stderr.contains("--allow-downgrade"), "{refused:?}");
    assert_eq!(device.announced(), 0);
    let to_all = world.ok(&["assign", "tool@1.0", "--all"]);
    assert!(to_all.stderr.contains("--allow-downgrade"), "{to_all:?}");
    let start = ["rollout", "start", "tool@1.0", "--all", "--dry-run"];
    let planned = world.ok(&start).stderr;
    let hint = "hint: add --allow-downgrade to the same command";
    assert!(planned.contains(hint), "{planned}");
    let allowed = world.ok(&[&start[..], &["--allow-downgrade"]].concat());
    assert!(!allowed.stderr.contains("warning:"), "{allowed:?}");
    world.ok(&[&back[..], &["--allow-downgrade"]].concat());
    device.run();
    assert_eq!(fs::read_to_string(&runs).unwrap(), "2.0\n1.0\n");

    let of_group = || world.json::<Value>(&["group", "show", "all"])["assignments"].clone();
    assert_eq!(of_group()[0]["downgrade"], false);
    world.ok(&["assign", "tool@1.0", "--all", "--allow-downgrade"]);
    assert_eq!(of_group()[0]["downgrade"], true);
    let shown = world.ok(&["group", "show", "all"]).stdout;
    assert!(shown.contains("downgrade"), "{shown}");
}

#[test]
fn a_package_is_deployed_again_only_with_force() {
    let world = World::start(PROGRAM);
    let (device, runs) = (world.device("pc"), world.path("runs"));
    world.execute("tool", &format!("echo run >> {runs}"));
    let count = || fs::read_to_string(&runs).unwrap().lines().count();
    let assign = |more: &[&str]| {
        let ran = world.ok(&[&["assign", "tool@1", "--device", device.id()], more].concat());
        ran.stdout
    };
    assign(&[]);
    assert!(assign(&[]).contains("already assigned"));
    device.run();
    assert!(assign(&[]).contains("--force deploys again"));
    assert_eq!((device.announced(), count()), (0, 1));

    assert!(assign(&["--force"]).contains("attempt 2"));
    assert_eq!((device.announced(), count()), (1, 2));
    assert_eq!(world.progress("tool@1"), progress(1, 0, 0));
}

#[test]
fn a_device_that_never_checked_in_cannot_be_assigned_to() {
    let world = World::start(PROGRAM);
    let device = world.device("pc");
    world.execute("tool", "true");
    let stranger = "ocs:pc9-2026-03-04-05-06-07";
    let both = [
        "assign",
        "tool@1",
        "--device",
        stranger,
        "--device",
        device.id(),
    ];
    let refused = Ran::of(&mut world.command(&both)).expect_code(1);
    assert!(refused.stdout.contains(stranger), "{refused:?}");
    assert!(refused.stdout.contains("never checked in"), "{refused:?}");
    assert!(refused.stderr.contains("1 of 2 devices"), "{refused:?}");
    // The other device is assigned nevertheless.
    assert_eq!(world.progress("tool@1"), progress(0, 0, 1));
    let unknown = world.refused(1, &["device", "show", stranger]);
    assert!(unknown.contains(stranger), "{unknown}");
}
