//! The output of `status` for the devices of a package's groups.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use packcast_tests::ocs::OcsDevice;
use packcast_tests::process::{Process, Ran};
use packcast_tests::world::World;
use serde_json::{Value, json};

use crate::PROGRAM;

/// Returns the state of each device of a package, by its host name.
fn states(world: &World, package: &str) -> BTreeMap<String, String> {
    let devices: Value = world.json(&["status", package, "--devices"]);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let devices = devices.as_array().unwrap().iter();
    devices
        .map(|at| {
            let id = text(&at["device"]);
            let host_name = id.trim_start_matches("ocs:").split('-').next().unwrap();
            (host_name.to_owned(), text(&at["state"]))
        })
        .collect()
}

fn expected(states: &[(&str, &str)]) -> BTreeMap<String, String> {
    let states = states.iter();
    states
        .map(|(host_name, state)| ((*host_name).to_owned(), (*state).to_owned()))
        .collect()
}

#[test]
fn devices_of_a_group_are_counted_from_their_first_check_in() {
    let world = World::start(PROGRAM);
    let id = world.execute("tool", "true");
    let devices = ["told", "late", "had", "alone"].map(|name| OcsDevice::new(&world, name));
    let [told, late, had, alone] = &devices;
    for device in &devices {
        device.check_in();
        device.inventory(&[]);
    }
    had.inventory(&[id]);
    world.ok(&["group", "create", "lab"]);
    for device in [told, late, had] {
        world.ok(&["group", "add", "lab", "--device", &device.id()]);
    }
    world.ok(&["assign", "tool@1", "--group", "lab"]);
    world.ok(&["assign", "tool@1", "--device", &alone.id()]);
    let nobody = [
        ("alone", "waiting"),
        ("had", "to-come"),
        ("late", "to-come"),
        ("told", "to-come"),
    ];
    assert_eq!(states(&world, "tool@1"), expected(&nobody));

    told.check_in();
    // This device is reached as well, but it already has the package.
    had.check_in();
    let one = [
        ("alone", "waiting"),
        ("late", "to-come"),
        ("told", "announced"),
    ];
    assert_eq!(states(&world, "tool@1"), expected(&one));
    let progress: Value = world.json(&["status", "tool@1"]);
    assert_eq!(
        progress[0]["groups"],
        json!([{"group": "lab", "devices": 3}])
    );
    let counts = ["to_come", "assigned", "waiting", "announced", "withdrawn"];
    let counts = counts.map(|count| progress[0][count].as_u64().unwrap());
    assert_eq!(counts, [1, 2, 1, 1, 0]);

    let text = world.ok(&["status"]).stdout;
    let groups = "tool@1 is assigned to lab (3 devices).\nA device of a group is counted as assigned from its first check-in";
    assert!(text.contains(groups), "{text}");
    let text = world.ok(&["status", "tool@1", "--devices"]).stdout;
    assert!(
        text.contains("not checked in since the assignment"),
        "{text}"
    );

    world.ok(&["unassign", "tool@1", "--group", "lab"]);
    told.check_in();
    let withdrawn = [("alone", "waiting"), ("told", "withdrawn")];
    assert_eq!(states(&world, "tool@1"), expected(&withdrawn));
    let progress: Value = world.json(&["status", "tool@1"]);
    assert_eq!(progress[0]["groups"], json!([]));
    assert_eq!(progress[0]["withdrawn"], 1);
}

#[test]
fn failures_are_listed_together_and_by_device() {
    let world = World::start(PROGRAM);
    world.execute("tool", "echo \"lock held by process $$\"; exit 100");
    let devices = ["web01", "web02", "web03", "web04"].map(|name| world.device(name));
    world.ok(&["assign", "tool@1", "--all"]);
    let progress: Value = world.json(&["status", "tool@1"]);
    assert_eq!(progress[0]["to_come"], 4);
    let text = world.ok(&["status", "tool@1"]).stdout;
    assert!(text.contains("4 devices: 100 % to come."), "{text}");

    for device in &devices[..3] {
        device.run();
    }
    let progress: Value = world.json(&["status", "tool@1"]);
    let failures = &progress[0]["failures"];
    assert_eq!(failures["read"], 3);
    let causes = failures["by_cause"].as_array().unwrap();
    assert_eq!(causes.len(), 1, "{failures}");
    assert_eq!(causes[0]["devices"], 3);
    assert_eq!(causes[0]["line"], "lock held by process <n>");
    assert_eq!(causes[0]["examples"].as_array().unwrap().len(), 3);
    let text = world.ok(&["status", "tool@1"]).stdout;
    assert!(
        text.contains("4 devices: 75 % failed, 25 % to come."),
        "{text}"
    );
    assert!(text.contains("lock held by process <n>"), "{text}");

    let failed: Value = world.json(&["status", "tool@1", "--devices", "--state", "failed"]);
    let lines = failed.as_array().unwrap().iter();
    let lines: Vec<&str> = lines.map(|at| at["line"].as_str().unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert!(
        lines
            .iter()
            .all(|line| line.starts_with("lock held by process "))
    );
    let to_come = ["status", "tool@1", "--devices", "--state", "to-come"];
    let to_come: Value = world.json(&to_come);
    assert_eq!(to_come[0]["device"], devices[3].id());
    assert_eq!(to_come.as_array().unwrap().len(), 1);
    let lacks: Value = world.json(&["device", "list", "--lacks", "tool@1", "--sort", "host"]);
    assert_eq!(lacks.as_array().unwrap().len(), 4);
    let seen: Value = world.json(&["device", "list", "--not-seen", "30d"]);
    assert_eq!(seen, json!([]));
}

#[test]
fn a_wait_ends_with_the_exit_code_of_the_package() {
    let world = World::start(PROGRAM);
    world.execute("good", "true");
    world.execute("bad", "exit 3");
    let [first, second] = ["web01", "web02"].map(|name| world.device(name));
    world.ok(&["group", "create", "lab"]);
    world.ok(&["group", "add", "lab", "--device", first.id()]);
    let wait = |code: i32, arguments: &[&str]| {
        let line = [&["wait"], arguments, &["--timeout", "0"]].concat();
        Ran::of(&mut world.command(&line)).expect_code(code).stderr
    };
    let unassigned = wait(3, &["good@1"]);
    assert!(
        unassigned.contains("assigned to none of the devices"),
        "{unassigned}"
    );

    world.ok(&["assign", "good@1", "--group", "lab"]);
    world.ok(&["assign", "good@1", "--device", second.id()]);
    let late = wait(75, &["good@1"]);
    assert!(
        late.contains("2 of 2 devices have not finished good@1"),
        "{late}"
    );
    first.run();
    wait(0, &["good@1", "--group", "lab"]);
    wait(0, &["good@1", "--device", first.id()]);
    wait(75, &["good@1"]);

    // A running wait ends with the last device.
    let mut command = world.command(&["wait", "good@1", "--format", "json"]);
    let running = std::thread::spawn(move || Ran::of(&mut command));
    second.run();
    let end = running.join().unwrap().expect_code(0);
    let end: Value = serde_json::from_str(&end.stdout).unwrap();
    assert_eq!((&end["succeeded"], &end["devices"]), (&json!(2), &json!(2)));

    world.ok(&["assign", "bad@1", "--all"]);
    first.run();
    second.run();
    let failed = wait(1, &["bad@1"]);
    assert!(
        failed.contains("bad@1 succeeded on 0 of 2 devices"),
        "{failed}"
    );
}

#[test]
fn a_watched_status_is_shown_again_after_a_change() {
    let world = World::start(PROGRAM);
    world.execute("tool", "true");
    let device = world.device("web01");
    world.ok(&["assign", "tool@1", "--device", device.id()]);
    let mut command = world.command(&["status", "tool@1", "--watch"]);
    let mut watch = Process::start(command.stdout(Stdio::piped()));
    let lines = BufReader::new(watch.stdout().unwrap()).lines();
    let mut shares = lines
        .map(Result::unwrap)
        .filter(|line| line.starts_with("1 device: "));
    assert_eq!(shares.next().unwrap(), "1 device: 100 % open.");
    device.run();
    // The status may be read between the announcement and the result, too.
    let after = shares.find(|line| line != "1 device: 100 % open.");
    assert_eq!(after.unwrap(), "1 device: 100 % succeeded.");
    watch.kill();
}
