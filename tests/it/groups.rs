//! Groups, from the first package to the last device.

use packcast_agent::event::Event;
use packcast_tests::world::World;
use serde_json::Value;

use crate::PROGRAM;

fn join(world: &World, group: &str, device: &str) {
    let ran = world.ok(&["group", "add", group, "--device", device]);
    assert!(ran.stdout.contains("ADDED"), "{ran:?}");
}

#[test]
fn a_device_that_joins_a_group_gets_its_current_packages_only() {
    let mut world = World::start(PROGRAM);
    let devices = ["first", "late", "too-late"].map(|name| world.device(name));
    let [first, late, too_late] = &devices;
    world.execute("tool", "true");
    world.ok(&["group", "create", "lab"]);
    join(&world, "lab", first.id());
    let assigned = world.ok(&["assign", "tool@1", "--group", "lab"]);
    assert_eq!(
        assigned.stdout,
        "assigned to lab: 1 device, at its next check-in\n"
    );
    assert_eq!(first.announced(), 1);
    let progress = world.progress("tool@1");
    assert_eq!((progress.assigned, progress.succeeded), (1, 1));

    join(&world, "lab", late.id());
    assert_eq!(late.announced(), 1);

    world.ok(&["unassign", "tool@1", "--group", "lab"]);
    join(&world, "lab", too_late.id());
    assert_eq!(too_late.announced(), 0);
    let progress = world.progress("tool@1");
    assert_eq!((progress.assigned, progress.succeeded), (2, 2));

    world.restart();
    assert_eq!(world.progress("tool@1"), progress);
    let lab: Value = world.json(&["group", "show", "lab", "--devices"]);
    assert_eq!(lab["size"], 3);
    assert_eq!(lab["devices"].as_array().unwrap().len(), 3);
    assert_eq!(lab["assignments"].as_array().unwrap().len(), 0);
    assert_eq!(world.device_state(too_late).finished, []);
    assert_eq!(too_late.announced(), 0);
}

#[test]
fn a_package_for_all_reaches_old_and_new_devices() {
    let world = World::start(PROGRAM);
    let before = world.device("before");
    world.execute("tool", "true");
    world.ok(&["assign", "tool@1", "--all"]);
    assert_eq!(before.announced(), 1);
    let after = world.device("after");
    assert_eq!(world.progress("tool@1").succeeded, 2);
    assert_eq!(
        after.announced(),
        0,
        "the package came with its first check-in"
    );
    let groups: Value = world.json(&["group", "list"]);
    assert_eq!(groups[0]["group"], "all");
    assert_eq!(
        (&groups[0]["devices"], &groups[0]["packages"]),
        (&2.into(), &1.into())
    );
}

#[test]
fn a_group_with_devices_or_packages_is_deleted_only_with_force() {
    let world = World::start(PROGRAM);
    let device = world.device("pc");
    world.execute("tool", "true");
    world.ok(&["group", "create", "lab"]);
    join(&world, "lab", device.id());
    world.ok(&["assign", "tool@1", "--group", "lab"]);
    let refused = world.refused(3, &["group", "delete", "lab"]);
    assert!(refused.contains("1 device and 1 package"), "{refused}");
    world.ok(&["group", "delete", "lab", "--force"]);
    assert_eq!(device.announced(), 0);
    let unknown = world.refused(1, &["group", "show", "lab"]);
    assert!(unknown.contains("group lab does not exist"), "{unknown}");

    // A new group with the name of a deleted group has none of its packages.
    world.ok(&["group", "create", "lab"]);
    join(&world, "lab", device.id());
    assert_eq!(device.announced(), 0);
}

#[test]
fn devices_are_added_from_a_file_and_unknown_ones_are_named() {
    let world = World::start(PROGRAM);
    let devices = ["one", "two"].map(|name| world.device(name));
    world.ok(&["group", "create", "lab"]);
    let stranger = "ocs:pc9-2026-03-04-05-06-07";
    let list = format!(
        "# the lab\n{}\n{}\n{stranger}\n{}\n",
        devices[0].id(),
        devices[1].id(),
        devices[0].id()
    );
    let list = world.file("lab.txt", list.as_bytes());
    let add = ["group", "add", "lab", "--from", &list];
    let ran = packcast_tests::process::Ran::of(&mut world.command(&add)).expect_code(1);
    assert!(ran.stderr.contains(stranger), "{ran:?}");
    assert!(
        ran.stderr.contains("cannot change group lab for 1 device"),
        "{ran:?}"
    );
    let lab: Value = world.json(&["group", "show", "lab"]);
    assert_eq!(lab["size"], 2);
    let bad = world.file("bad.txt", b"one\nocs:two\n");
    let refused = world.refused(2, &["group", "add", "lab", "--from", &bad]);
    assert!(refused.contains("line 2 of"), "{refused}");
}

#[test]
fn every_device_is_in_all_and_cannot_leave_it() {
    let world = World::start(PROGRAM);
    let device = world.device("pc");
    for arguments in [
        &["group", "create", "all"][..],
        &["group", "add", "all", "--device", device.id()],
        &["group", "remove", "all", "--device", device.id()],
        &["group", "delete", "all", "--force"],
    ] {
        let refused = world.refused(2, arguments);
        assert!(
            refused.contains("every device is in the group 'all'"),
            "{refused}"
        );
    }
}

#[test]
fn assigning_to_others_than_the_audience_causes_a_warning_and_the_package_waits() {
    let world = World::start(PROGRAM);
    let [inside, outside] = ["inside", "outside"].map(|name| world.device(name));
    for group in ["lab", "office"] {
        world.ok(&["group", "create", group]);
    }
    world.ok(&["group", "add", "lab", "--device", inside.id()]);
    let refused = world.refused(2, &["publish", "--only-for-group", "all"]);
    assert!(refused.contains("leave out --only-for-group"), "{refused}");
    let execute = ["--action", "execute", "--command", "true", "--activate"];
    world.publish(
        "tool",
        &[&execute[..], &["--only-for-group", "lab"]].concat(),
    );
    let warning = "warning: the package is only for devices in group lab";
    let assign = |to: &[&str]| world.ok(&[&["assign", "tool@1"], to].concat()).stderr;
    assert!(!assign(&["--group", "lab"]).contains(warning));
    assert!(assign(&["--group", "office"]).contains(warning));
    assert!(!assign(&["--device", inside.id()]).contains(warning));
    assert!(assign(&["--device", outside.id()]).contains(warning));
    inside.run();
    assert_eq!(world.result(&inside).code.to_string(), "SUCCESS");
    let events = outside.run();
    let waits = |event: &Event| matches!(event, Event::Waits { detail, .. } if detail.contains("the package is for other devices"));
    assert!(events.iter().any(waits), "{events:#?}");
    assert_eq!(world.device_state(&outside).finished, []);

    // The device may join the audience later.
    world.ok(&["group", "add", "lab", "--device", outside.id()]);
    outside.run();
    assert_eq!(world.result(&outside).code.to_string(), "SUCCESS");
}

#[test]
fn a_renamed_group_runs_nothing_again() {
    let world = World::start(PROGRAM);
    let (device, late) = (world.device("pc"), world.device("late"));
    let runs = world.path("runs");
    let ran = || std::fs::read_to_string(&runs).unwrap_or_default();
    let publish = |name: &str, end: &str, options: &[&str]| {
        let command = format!("echo {name} >> '{runs}'{end}");
        let action = ["--action", "execute", "--command", &command, "--activate"];
        world.publish(name, &[&action[..], options].concat());
        world.ok(&["assign", &format!("{name}@1"), "--group", "lab"]);
    };
    world.ok(&["group", "create", "lab"]);
    for device in [&device, &late] {
        join(&world, "lab", device.id());
    }
    publish("good", "", &[]);
    publish("bad", "; exit 9", &[]);
    // Only a later name of the group is in the audience of this package.
    publish("open", "", &["--only-for-group", "hall"]);
    device.run();
    assert_eq!(ran(), "good\nbad\n");
    let open = |device| -> Vec<(bool, u32)> {
        let open = world.device_state(device).open;
        let task = |task: &packcast_rollout::OpenTask| {
            let is_announced = matches!(task.state, packcast_rollout::TaskState::Announced { .. });
            (is_announced, task.attempt)
        };
        open.iter().map(task).collect()
    };
    assert_eq!(open(&device), [(true, 1)]);
    let progress = ["good@1", "bad@1", "open@1"].map(|name| world.progress(name));

    // The manifest of this package keeps the earlier name.
    publish("kept", "", &["--only-for-group", "lab"]);
    let rename = ["group", "rename", "lab", "hall"];
    let refused = world.refused(3, &rename);
    assert!(
        refused.contains("kept@1") && refused.contains("--force"),
        "{refused}"
    );
    let renamed = world.ok(&[&rename[..], &["--force"]].concat());
    assert!(renamed.stdout.contains("devices   2"), "{renamed:?}");
    assert!(
        renamed
            .stderr
            .contains("kept@1 is only for devices in group lab"),
        "{renamed:?}"
    );
    world.refused(1, &["group", "show", "lab"]);
    let hall: Value = world.json(&["group", "show", "hall"]);
    assert_eq!(hall["size"], 2);
    let after = ["good@1", "bad@1", "open@1"].map(|name| world.progress(name));
    assert_eq!(after, progress);

    // The open package continues with the same attempt, and no other runs. The agent that has lost
    // the signed state has only its history.
    device.forget_state();
    device.run();
    device.run();
    assert_eq!(ran(), "good\nbad\nopen\n");
    assert_eq!(open(&device), [(true, 1)], "the kept package waits");
    assert_eq!(device.announced(), 1);
    assert_eq!(ran(), "good\nbad\nopen\n");

    // A device that has not checked in since gets everything.
    late.run();
    let mut of_late: Vec<String> = ran().lines().skip(3).map(str::to_owned).collect();
    of_late.sort_unstable();
    assert_eq!(of_late, ["bad", "good", "open"]);

    let runs_before = ran();
    world.ok(&["unassign", "kept@1", "--group", "hall"]);
    for device in [&device, &late] {
        device.run();
        assert_eq!(world.device_state(device).open, []);
    }
    let log = world.ok(&["log", "--group", "lab"]).stdout;
    assert!(log.contains("group lab: renamed to hall"), "{log}");
    let head: Value = world.json(&["log", "--limit", "20"]);
    let commits = head.as_array().unwrap();
    let is_rename = |it: &&Value| it.to_string().contains("group-renamed");
    let position = commits
        .iter()
        .position(|it| is_rename(&it))
        .expect("the log has the commit");
    let earlier = commits[position + 1]["number"].to_string();
    let plan = world.ok(&["revert", &earlier, "--dry-run"]).stdout;
    assert!(plan.contains("group hall: renamed to lab"), "{plan}");
    world.ok(&["revert", &earlier, "--yes"]);
    world.ok(&["audit"]);
    for device in [&device, &late] {
        device.run();
    }
    let again: Vec<String> = ran().lines().map(str::to_owned).collect();
    assert_eq!(again.len(), runs_before.lines().count() + 2, "{again:?}");
    assert!(
        again.ends_with(&["kept".to_owned(), "kept".to_owned()]),
        "{again:?}"
    );
}
