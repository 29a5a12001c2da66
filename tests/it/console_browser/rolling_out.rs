//! A rollout in waves: started in the browser, halted by failures, resumed, and complete.

use std::fs;

use packcast_tests::world::device::TestDevice;
use serde_json::Value;

use super::Desk;

/// Check-ins of each device that are enough for a wave.
const ROUNDS: usize = 8;

/// Lets devices check in until the page of the rollout, which nobody loads again, has a text.
fn until(desk: &Desk, devices: &[TestDevice], text: &str) {
    for _ in 0..ROUNDS {
        for device in devices {
            device.run();
            if desk.browser.text().contains(text) {
                return;
            }
        }
    }
    desk.browser.wait_for(text);
}

#[test]
fn a_rollout_goes_in_waves_halts_at_a_failure_and_is_resumed() {
    let Some(desk) = Desk::open_after(|world| {
        let broken = world.path("broken");
        let command =
            format!("if [ -e {broken} ]; then echo unpacking; echo 'E: disk full'; exit 7; fi");
        world.execute("tool", &command);
    }) else {
        return;
    };
    let (world, browser) = (&desk.world, &desk.browser);
    let devices = ["web01", "web02", "web03", "web04"].map(|name| world.device(name));
    for (group, members) in [("first", 0..1), ("second", 1..3), ("office", 0..4)] {
        world.ok(&["group", "create", group]);
        for device in &devices[members] {
            world.ok(&["group", "add", group, "--device", device.id()]);
        }
    }
    desk.go("/packages/tool@1");
    browser.follow("Choose the computers");
    browser.click("#to-groups");
    browser.choose("office");
    browser.press("Show how many and which");
    browser.wait_for("4 devices");
    assert_eq!(browser.faults_everywhere(), [""; 0]);
    browser.press("In waves");
    browser.fill("#pilots", "first, second");
    for (field, text) in [
        ("wait", "0s"),
        ("settle", "0s"),
        ("halt-at", "1"),
        ("tolerate", "0"),
    ] {
        browser.fill(&format!("#{field}"), text);
    }
    browser.fill("#days", "mon-sun");
    desk.confirm("Start the rollout");
    browser.follow("The rollout");
    browser.wait_for("Wave 1");
    // The first device settles before the failures begin.
    until(&desk, &devices[..1], "1 of");
    let broken = world.file("broken", b"");
    until(&desk, &devices, "halted");
    browser.wait_for("E: disk full");
    assert_eq!(browser.faults_everywhere(), [""; 0]);
    browser.follow("Now");
    browser.wait_for("Rollout of tool@1: halted");

    fs::remove_file(broken).unwrap();
    browser.follow("Show the rollout");
    browser.follow("Resume");
    desk.confirm("Resume the rollout");
    desk.go("/rollouts/tool@1?devices=1");
    let complete = complete(&desk, &devices);
    assert_eq!(
        (&complete["healthy"], &complete["failed"]),
        (&3.into(), &1.into())
    );
    browser.reload();
    browser.wait_for("complete");
    assert_eq!(browser.faults_everywhere(), [""; 0]);
    browser.follow("Finish");
    desk.confirm("Finish the rollout");
}

/// Lets devices check in until the rollout is complete.
fn complete(desk: &Desk, devices: &[TestDevice]) -> Value {
    let show = || -> Value { desk.world.json(&["rollout", "show", "tool@1"]) };
    for _ in 0..ROUNDS {
        for device in devices {
            device.run();
        }
        let shown = show();
        if shown["status"] == "complete" {
            return shown;
        }
    }
    panic!("the rollout is never complete: {:#}", show());
}
