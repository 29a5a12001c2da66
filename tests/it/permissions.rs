//! People with the policies of the stack. Every other story runs under a publisher's policy.

use std::fs;
use std::net::SocketAddr;

use packcast_local::LocalState;
use packcast_testing::policy::Policy;
use packcast_tests::front::Front;
use packcast_tests::process::{Ran, text};
use packcast_tests::world::World;
use packcast_tests::world::device::TestDevice;
use serde_json::Value;

use crate::PROGRAM;

/// Adds a target `theirs` to a world: its table behind a policy, and its objects.
fn configure(world: &World, policy: Policy) -> Front {
    let state = world.state();
    let engine = state.endpoint.strip_prefix("http://").unwrap();
    let table = Front::under(policy, engine.parse::<SocketAddr>().unwrap());
    world.configure(&format!(
        "[target.theirs]\ntable = {:?}\nendpoint = \"http://{}\"\nregion = \"us-east-1\"\n\
         directory = {:?}\nca_file = {:?}\nkey_file = {:?}\n",
        state.table,
        table.address(),
        text(&state.objects_dir),
        text(&state.ca_file),
        text(&world.local_dir().join("packcast.key")),
    ));
    table
}

#[test]
fn a_reader_sees_everything_and_changes_nothing() {
    let world = World::start(PROGRAM);
    let device = world.device("pc");
    world.execute("tool", "true");
    world.ok(&["group", "create", "lab"]);
    world.ok(&["group", "add", "lab", "--device", device.id()]);
    world.ok(&["assign", "tool@1", "--group", "lab"]);
    world.execute("waves", "true");
    world.ok(&["rollout", "start", "waves@1", "--group", "lab"]);
    device.run();
    let host = world.device_state(&device).device.host_name;
    let _table = configure(&world, Policy::of_reader());

    for reading in [
        &["list"][..],
        &["show", "tool@1"],
        &["status"],
        &["status", "tool@1", "--devices"],
        &["status", "tool@1"],
        &["device", "list", "--lacks", "tool@1"],
        &["device", "list"],
        &["device", "show", &host],
        &["device", "show", device.id()],
        &["explain", &host, "tool@1"],
        &["group", "list"],
        &["group", "show", "lab", "--devices"],
        &["location", "list"],
        &["location", "check"],
        &["keys", "list"],
        &["rollout", "list"],
        &["rollout", "show", "waves@1"],
        &["verify", "tool@1"],
        &["log"],
        &["diff", "head"],
        &["audit"],
    ] {
        let ran = world.ok(&[reading, &["--target=theirs"]].concat());
        assert!(!ran.stdout.is_empty(), "{ran:?}");
    }
    let execute = ["--action=execute", "--command=true"];
    for writing in [
        &[&["publish", "--name=other", "--version=1"][..], &execute].concat()[..],
        &["activate", "tool@1"],
        &["deactivate", "tool@1"],
        &["assign", "tool@1", "--device", device.id(), "--force"],
        &["unassign", "tool@1", "--group=lab"],
        &["delete", "tool@1", "--unassign"],
        &["group", "create", "other"],
        &["group", "remove", "lab", "--device", device.id()],
        &["group", "prefer", "lab", "--location=local"],
        &["group", "delete", "lab", "--force"],
        &["location", "remove", "local"],
        &["rollout", "start", "tool@1", "--group=lab"],
        &["rollout", "pause", "waves@1"],
        &["rollout", "end", "waves@1"],
        &["pause", "--all"],
        &["resume", "--all"],
    ] {
        let refusal = world.refused(1, &[writing, &["--target=theirs"]].concat());
        assert!(refusal.contains("denies access"), "{writing:?}: {refusal}");
    }
}

#[test]
fn a_dry_run_needs_no_permission_to_write_and_no_key() {
    let world = World::start(PROGRAM);
    let devices = ["pc", "desk"].map(|name| world.device(name));
    let [first, second] = devices.each_ref().map(TestDevice::id);
    world.execute("tool", "true");
    world.execute("other", "true");
    world.ok(&["group", "create", "lab"]);
    world.ok(&["group", "add", "lab", "--device", first, "--device", second]);
    world.ok(&["assign", "tool@1", "--group", "lab"]);
    world.ok(&["assign", "other@1", "--device", first]);
    world.execute("waves", "true");
    world.ok(&["rollout", "start", "waves@1", "--group", "lab"]);
    let commit = world.json::<Vec<Value>>(&["log"])[0]["number"].to_string();
    let key = world.local_dir().join("packcast.key");
    let _table = configure(&world, Policy::of_reader());
    fs::rename(&key, key.with_extension("away")).unwrap();

    let dry_run = |line: &[&str]| {
        let options = ["--dry-run", "--target=theirs", "--format=json"];
        Ran::of(&mut world.command(&[line, &options].concat()))
    };
    let both = ["--device", first, "--device", second];
    for (line, devices) in [
        (&["assign", "tool@1", "--group", "lab"][..], 2),
        (&["assign", "other@1", "--all"], 2),
        (&[&["assign", "other@1"], &both[..]].concat(), 2),
        (&["unassign", "tool@1", "--group", "lab"], 2),
        (&["unassign", "other@1", "--device", first], 1),
        (&["activate", "tool@1"], 2),
        (&["deactivate", "tool@1"], 2),
        (&["delete", "tool@1", "--unassign"], 2),
        (&["group", "add", "lab", "--device", first], 0),
        (&[&["group", "remove", "lab"], &both[..]].concat(), 2),
        (&["group", "prefer", "lab", "--location=local"], 2),
        (&["group", "pacing", "all", "--strict"], 2),
        (&["group", "delete", "lab", "--force"], 2),
        (&["device", "block", first, second], 2),
        (&["device", "unblock", first], 0),
        (&["location", "add", "mirror", "mirror.example.net"], 0),
        (&["location", "add", "local", "mirror.example.net"], 2),
        (&["location", "remove", "local"], 2),
        (&["rollout", "start", "other@1", "--group", "lab"], 2),
        (&["rollout", "pause", "waves@1"], 2),
        (&["rollout", "resume", "waves@1"], 0),
        (&["rollout", "promote", "waves@1"], 1),
        (&["rollout", "end", "waves@1"], 2),
        (&["rollout", "finish", "waves@1"], 2),
        (&["pause", "--all"], 2),
        (&["resume", "--all"], 0),
    ] {
        let ran = dry_run(line).expect_code(0);
        let preview: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(preview["devices"], devices, "{line:?}: {preview}");
        let change = preview["next"][0].as_str().unwrap();
        assert_eq!(
            change,
            format!("packcast --target theirs {}", line.join(" "))
        );
    }
    for line in [
        &["device", "remove", first][..],
        &["device", "remove", "--not-seen=90d"],
        &["revert", &commit],
    ] {
        let _ = dry_run(line).expect_code(0);
    }
    // The exit code is that of the command itself.
    let unknown = "ocs:nobody-2026-03-04-05-06-07";
    for (line, code) in [
        (&["assign", "tool@1", "--device", unknown][..], 1),
        (&["unassign", "tool@1", "--device", first], 1),
        (&["group", "add", "lab", "--device", unknown], 1),
        (&["group", "add", "all", "--device", first], 2),
        (&["group", "delete", "lab"], 3),
        (&["delete", "tool@1"], 3),
        (&["location", "remove", "mirror"], 1),
        (&["device", "block", unknown], 1),
        (&["device", "remove", unknown], 1),
    ] {
        let refused = dry_run(line).expect_code(code);
        fs::rename(key.with_extension("away"), &key).unwrap();
        let real = Ran::of(&mut world.command(&[line, &["--format=json"]].concat()));
        fs::rename(&key, key.with_extension("away")).unwrap();
        let error = |ran: &Ran| {
            let errors = ran
                .stderr
                .lines()
                .filter(|line| line.starts_with("{\"error\""));
            errors.map(|it| it.replace("--target theirs ", "")).next()
        };
        assert_eq!(error(&refused), error(&real.expect_code(code)), "{line:?}");
    }
}

#[test]
fn a_key_holder_reads_no_records() {
    let world = World::start(PROGRAM);
    let _table = configure(&world, Policy::of_key_holder());
    let refusal = world.refused(1, &["list", "--target=theirs"]);
    assert!(refusal.contains("denies access"), "{refusal}");
}

#[test]
fn commands_reach_the_table_through_the_policy_of_a_publisher() {
    let world = World::start(PROGRAM);
    let seen_by_commands = LocalState::load(&world.local_dir()).unwrap();
    assert_ne!(seen_by_commands.endpoint, world.state().endpoint);
}
