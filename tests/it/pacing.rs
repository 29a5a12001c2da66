//! Pacing of OCS agents, as an administrator sets it.

use packcast_tests::ocs::OcsDevice;
use packcast_tests::world::World;
use serde_json::{Value, json};

use crate::PROGRAM;

#[test]
fn groups_and_devices_have_their_own_pacing() {
    let world = World::start(PROGRAM);
    let device = OcsDevice::new(&world, "pc1");
    device.check_in();
    let id = device.id();
    for group in ["thin-line", "lab"] {
        world.ok(&["group", "create", group]);
        world.ok(&["group", "add", group, "--device", &id]);
    }
    let slow = ["--fragment-pause", "2s", "--cycle-pause", "1m", "--strict"];
    let pace = [&["group", "pacing", "thin-line"], &slow[..]].concat();
    let output = world.ok(&pace).stdout;
    assert!(
        output.contains("fragment pause 2s, cycle pause 60s, strict"),
        "{output}"
    );
    world.ok(&[
        "group",
        "pacing",
        "lab",
        "--cycle-pause",
        "5s",
        "--drop-after",
        "7d",
    ]);
    let shown: Value = world.json(&["group", "show", "thin-line"]);
    let expected = json!({ "fragment_pause_s": 2, "cycle_pause_s": 60, "strict": true });
    assert_eq!(shown["pacing"], expected);

    world.ok(&["device", "pacing", &id, "--fragment-pause", "1s"]);
    world.ok(&["device", "pacing", &id, "--no-strict"]);
    let shown: Value = world.json(&["device", "show", &id]);
    let own = json!({ "fragment_pause_s": 1, "strict": false });
    assert_eq!(shown["pacing"], own);
    let slowest = json!({
        "fragment_pause_s": 2, "cycle_pause_s": 60, "timeout_days": 7, "strict": true
    });
    assert_eq!(shown["pacing_of_groups"], slowest);
    let text = world.ok(&["device", "show", &id]).stdout;
    assert!(text.contains("fragment pause 1s, not strict"), "{text}");

    world.ok(&["device", "pacing", &id, "--reset", "--cycle-pause", "9s"]);
    world.ok(&["group", "pacing", "thin-line", "--reset"]);
    let shown: Value = world.json(&["device", "show", &id]);
    assert_eq!(shown["pacing"], json!({ "cycle_pause_s": 9 }));
    let left = json!({ "cycle_pause_s": 5, "timeout_days": 7 });
    assert_eq!(shown["pacing_of_groups"], left);
}

#[test]
fn invalid_pacing_is_refused() {
    let world = World::start(PROGRAM);
    world.ok(&["group", "create", "lab"]);
    let check = |code, arguments: &[&str], expected: &str| {
        let output = world.refused(code, arguments);
        assert!(output.contains(expected), "{output}");
    };
    let pace = ["group", "pacing", "lab"];
    let with = |rest: &[&'static str]| [&pace[..], rest].concat();
    check(2, &with(&["--cycle-pause", "0s"]), "from 1s to 1h");
    check(2, &with(&["--check-in-every", "90m"]), "whole hours");
    check(
        2,
        &with(&["--strict", "--no-strict"]),
        "cannot be used with",
    );
    check(2, &pace, "group show lab");
    check(
        1,
        &["group", "pacing", "elsewhere", "--strict"],
        "elsewhere",
    );
    check(2, &["device", "pacing", "pc1"], "device show pc1");
    check(1, &["device", "pacing", "pc1", "--strict"], "pc1");
}

#[test]
fn a_publication_mentions_ocs_agents_only_if_there_are_some() {
    let world = World::start(PROGRAM);
    world.device("pc");
    let publish = |name: &str, option: &str| {
        let action = ["--action", "execute", "--command", "true", option];
        let named = ["publish", "--name", name, "--version", "1"];
        world.ok(&[&named[..], &action].concat())
    };
    let mentions = |name: &str, option: &str| {
        let stderr = publish(name, option).stderr;
        stderr.contains("if an OCS agent has only this package")
    };
    assert!(!mentions("one", "--platform=any"));
    assert!(mentions("two", "--afterwards=reboot"));
    OcsDevice::new(&world, "old").check_in();
    assert!(mentions("three", "--platform=any"));
    let shown = publish("four", "--activate").stdout;
    assert!(shown.lines().count() < 8, "{shown}");
    assert!(!shown.contains("sha256"), "{shown}");
}
