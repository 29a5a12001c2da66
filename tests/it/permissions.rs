//! People with the policies of the stack. Every other story runs under a publisher's policy.

use std::net::SocketAddr;

use packcast_local::LocalState;
use packcast_testing::policy::Policy;
use packcast_tests::front::Front;
use packcast_tests::process::text;
use packcast_tests::world::World;

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
        &["pause", "--all"],
        &["resume", "--all"],
    ] {
        let refusal = world.refused(1, &[writing, &["--target=theirs"]].concat());
        assert!(refusal.contains("denies access"), "{writing:?}: {refusal}");
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
