//! Devices that are blocked or removed.

use std::fs;

use packcast_agent::event::Event;
use packcast_protocol::Outcome;
use packcast_testing::raw::RawEngine;
use packcast_tests::process::{Ran, eventually};
use packcast_tests::world::World;
use packcast_tests::world::device::TestDevice;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::PROGRAM;

/// Expects that the function refuses the device's check-in, and that nothing is deployed.
fn refused(device: &TestDevice, why: &str) {
    let ran = device.attempt();
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains(why), "{ran:?}");
    assert_eq!(ran.stdout, "", "the agent reports no event");
}

#[test]
fn a_blocked_device_keeps_its_result_and_reports_it_after_it_is_unblocked() {
    let world = World::start(PROGRAM);
    let (runs, go) = (world.path("runs"), world.path("go"));
    let line = format!("echo run >> {runs}; until [ -e {go} ]; do sleep 0.01; done");
    world.execute("slow", &line);
    world.execute("second", "true");
    let device = world.device("pc");
    world.assign("slow@1", &device);
    world.assign("second@1", &device);
    let mut agent = device.start();
    while !matches!(agent.next_event(), Event::Started { .. }) {}
    eventually("the program runs", || fs::read_to_string(&runs).ok());
    let id = device.id();
    world.ok(&["device", "block", id, "--reason", "lost in a train"]);
    world.file("go", b"");
    while agent.event().is_some() {}
    // The report of the result was refused, so the agent has not begun the second package.
    for package in ["slow@1", "second@1"] {
        let progress = world.progress(package);
        assert_eq!(
            (progress.announced, progress.succeeded),
            (1, 0),
            "{package}"
        );
    }
    refused(&device, "this device is blocked");
    for command in [
        &["device", "list"][..],
        &["device", "list", "--excluded"],
        &["device", "show", id],
        &["explain", id, "slow@1"],
        &["status", "slow@1", "--devices"],
    ] {
        let shown = world.ok(command).stdout;
        assert!(shown.contains("blocked since"), "{command:?}: {shown}");
        assert!(shown.contains("lost in a train"), "{command:?}: {shown}");
    }
    let noted = world.ok(&["status"]).stderr;
    assert!(noted.contains("1 device is blocked"), "{noted}");

    world.ok(&["device", "unblock", id]);
    device.run();
    for package in ["slow@1", "second@1"] {
        let progress = world.progress(package);
        assert_eq!(
            (progress.announced, progress.succeeded),
            (0, 1),
            "{package}"
        );
    }
    assert_eq!(fs::read_to_string(&runs).unwrap(), "run\n");
    let shown = world.ok(&["device", "show", id]).stdout;
    assert!(!shown.contains("blocked"), "{shown}");
}

#[test]
fn a_removed_device_comes_back_only_after_it_is_unblocked_and_as_a_new_one() {
    let world = World::start(PROGRAM);
    world.ok(&["group", "create", "lab"]);
    world.execute("tool", "true");
    world.execute("extra", "true");
    world.ok(&["assign", "tool@1", "--group", "lab"]);
    let device = world.device("pc");
    let id = device.id();
    world.ok(&["group", "add", "lab", "--device", id]);
    device.run();
    world.assign("extra@1", &device);
    assert_eq!(world.progress("tool@1").succeeded, 1);

    let host_name = world.device_state(&device).device.host_name;
    world.ok(&["device", "remove", &host_name]);
    for package in ["tool@1", "extra@1"] {
        let progress = world.progress(package);
        assert_eq!((progress.assigned, progress.waiting), (0, 0), "{package}");
    }
    let devices: Vec<Value> = world.json(&["device", "list"]);
    assert_eq!(devices, [] as [Value; 0]);
    let groups = world.ok(&["group", "show", "lab"]).stdout;
    assert!(groups.contains("devices    0"), "{groups}");
    let gone = world.refused(1, &["device", "show", id]);
    assert!(gone.contains("removed since"), "{gone}");
    assert!(gone.contains(&format!("device unblock {id}")), "{gone}");
    let explained = world.ok(&["explain", id, "tool@1"]).stdout;
    assert!(explained.contains("removed since"), "{explained}");
    for command in [
        &["assign", "extra@1", "--device", id][..],
        &["group", "add", "lab", "--device", id],
    ] {
        let ran = Ran::of(&mut world.command(command)).expect_code(1);
        let told = ran.stdout + &ran.stderr;
        assert!(told.contains("or was removed"), "{told}");
    }
    refused(&device, "this device was removed");
    // A second removal changes nothing.
    let again = world.ok(&["device", "remove", id]).stdout;
    assert!(again.contains("removed before"), "{again}");

    let unblocked = world.ok(&["device", "unblock", id]).stdout;
    assert!(unblocked.contains("as a new device"), "{unblocked}");
    assert_eq!(device.announced(), 0);
    assert_eq!(world.device_state(&device).finished, []);
    // The next assignment follows those before the removal.
    world.assign("extra@1", &device);
    device.run();
    let result = world.result(&device);
    assert_eq!((result.attempt, result.outcome), (1, Outcome::Succeeded));
}

/// Writes that a device was last seen this number of days ago.
fn last_seen(world: &World, id: &str, days: u64) {
    let state = world.state();
    Runtime::new().unwrap().block_on(async {
        let engine = RawEngine::at(&state.endpoint);
        for mut item in engine.items(&state.table).await {
            if item["pk"]["S"] == format!("DEVICE#{id}") && item["sk"]["S"] == "0#DEVICE" {
                let seen: u64 = item["last_seen"]["N"].as_str().unwrap().parse().unwrap();
                let seen = seen - days * 24 * 3600;
                item["last_seen"]["N"] = seen.to_string().into();
                let put = json!({ "TableName": state.table, "Item": item });
                engine.ask("PutItem", &put).await;
            }
        }
    });
}

#[test]
fn devices_that_were_not_seen_are_removed_after_a_question() {
    let world = World::start(PROGRAM);
    let devices = ["old", "blocked", "new"].map(|name| world.device(name));
    let [old, blocked, new] = &devices;
    last_seen(&world, old.id(), 100);
    last_seen(&world, blocked.id(), 100);
    last_seen(&world, new.id(), 90);
    world.ok(&["device", "block", blocked.id()]);

    let remove = ["device", "remove", "--not-seen", "90d"];
    let with = |option| [&remove[..], &[option]].concat();
    let listed: Vec<Value> = world.json(&with("--dry-run"));
    let ids: Vec<&str> = listed
        .iter()
        .map(|found| found["device"].as_str().unwrap())
        .collect();
    assert_eq!(ids, [old.id()]);
    let question = world.refused(2, &remove);
    assert!(question.contains("pass --dry-run"), "{question}");
    assert_eq!(new.announced(), 0);
    refused(blocked, "this device is blocked");

    let removed = world.ok(&with("--yes")).stdout;
    assert!(removed.contains(old.id()), "{removed}");
    refused(old, "this device was removed");
    assert_eq!(new.announced(), 0);
    let none: Vec<Value> = world.json(&with("--yes"));
    assert_eq!(none, [] as [Value; 0]);
    world.refused(2, &["device", "remove"]);
    world.refused(2, &[&with("--yes")[..], &["pc"]].concat());
}

#[test]
fn a_removal_that_cannot_be_signed_leaves_the_device_as_it_is() {
    let world = World::start(PROGRAM);
    world.execute("tool", "true");
    let device = world.device("pc");
    world.assign("tool@1", &device);
    let file = world.path("other.key");
    world.ok(&["keys", "generate", "--unencrypted", "--key", &file]);
    let refused = world.refused(1, &["device", "remove", device.id(), "--key", &file]);
    assert!(
        refused.contains("the newest key list does not name your key"),
        "{refused}"
    );
    let excluded: Value = world.json(&["device", "list", "--excluded"]);
    assert_eq!(excluded, json!([]));
    device.run();
    assert_eq!(world.result(&device).outcome, Outcome::Succeeded);
}

#[test]
fn a_machine_that_was_installed_again_takes_the_place_of_its_old_device() {
    let world = World::start(PROGRAM);
    world.ok(&["group", "create", "lab"]);
    world.execute("tool", "true");
    world.execute("extra", "true");
    world.ok(&["assign", "tool@1", "--group", "lab"]);
    let old = world.device("old");
    world.ok(&["group", "add", "lab", "--device", old.id()]);
    old.run();
    world.assign("extra@1", &old);
    last_seen(&world, old.id(), 1);
    // The disk is erased, and the agent enrols again under the same host name.
    let new = world.device("new");
    let host_name = world.device_state(&new).device.host_name;
    let ambiguous = world.refused(1, &["device", "show", &host_name]);
    assert!(ambiguous.contains(old.id()), "{ambiguous}");

    let replace = ["device", "replace", old.id(), new.id()];
    let swapped = world.refused(3, &["device", "replace", new.id(), old.id()]);
    assert!(swapped.contains("both are in use"), "{swapped}");
    let preview: Value = world.json(&[&replace[..], &["--dry-run"]].concat());
    assert_eq!(preview["packages"], json!(["extra@1"]));
    assert_eq!(preview["groups"], json!([{ "group": "lab", "devices": 1 }]));
    assert_eq!(new.announced(), 0);
    let replaced: Value = world.json(&replace);
    assert_eq!(replaced["groups"], json!(["lab"]));
    assert_eq!(replaced["result"], "removed");

    refused(&old, "this device was removed");
    new.run();
    for package in ["tool@1", "extra@1"] {
        let progress = world.progress(package);
        assert_eq!((progress.assigned, progress.succeeded), (1, 1), "{package}");
    }
    let shown = world.ok(&["device", "show", &host_name]).stdout;
    assert!(shown.contains(new.id()), "{shown}");
    let logged = world.ok(&["log"]).stdout;
    assert!(logged.contains("device replace"), "{logged}");
    assert!(
        logged.contains(&format!("replaced by {}", new.id())),
        "{logged}"
    );
    let again: Value = world.json(&replace);
    assert_eq!(
        (&again["result"], &again["commit"]),
        (&json!("already-removed"), &Value::Null)
    );
}
