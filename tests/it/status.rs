//! The output of `status` for the devices of a package's groups.

use std::collections::BTreeMap;

use packcast_tests::ocs::OcsDevice;
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
        ("alone", "held"),
        ("had", "unreached"),
        ("late", "unreached"),
        ("told", "unreached"),
    ];
    assert_eq!(states(&world, "tool@1"), expected(&nobody));

    told.check_in();
    // This device is reached as well, but it already has the package.
    had.check_in();
    let one = [
        ("alone", "held"),
        ("late", "unreached"),
        ("told", "announced"),
    ];
    assert_eq!(states(&world, "tool@1"), expected(&one));
    let progress: Value = world.json(&["status", "tool@1"]);
    assert_eq!(
        progress[0]["groups"],
        json!([{"group": "lab", "devices": 3}])
    );
    let counts = ["assigned", "waiting", "announced", "withdrawn"];
    let counts = counts.map(|count| progress[0][count].as_u64().unwrap());
    assert_eq!(counts, [2, 1, 1, 0]);

    let text = world.ok(&["status"]).stdout;
    let groups = "tool@1 is assigned to lab (3 devices).\nA device of a group is counted from its first check-in";
    assert!(text.contains(groups), "{text}");
    let text = world.ok(&["status", "tool@1", "--devices"]).stdout;
    assert!(
        text.contains("not checked in since the assignment"),
        "{text}"
    );

    world.ok(&["unassign", "tool@1", "--group", "lab"]);
    told.check_in();
    let withdrawn = [("alone", "held"), ("told", "withdrawn")];
    assert_eq!(states(&world, "tool@1"), expected(&withdrawn));
    let progress: Value = world.json(&["status", "tool@1"]);
    assert_eq!(progress[0]["groups"], json!([]));
    assert_eq!(progress[0]["withdrawn"], 1);
}
