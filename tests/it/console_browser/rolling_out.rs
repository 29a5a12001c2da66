//! A rollout in waves: started in the browser, halted by failures, resumed, and complete.

use std::fs;

use packcast_tests::process::eventually;
use packcast_tests::world::device::TestDevice;

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
    let devices = ["web01", "web02", "web03"].map(|name| world.device(name));
    for (group, members) in [("first", &devices[..1]), ("office", &devices[..])] {
        world.ok(&["group", "create", group]);
        for device in members {
            world.ok(&["group", "add", group, "--device", device.id()]);
        }
    }
    desk.go("/packages/tool@1");
    browser.follow("Choose the computers");
    browser.click("#to-groups");
    browser.choose("office");
    browser.press("Show how many and which");
    browser.wait_for("3 devices");
    assert_eq!(browser.faults(), [""; 0]);
    browser.follow("In waves");
    browser.fill("#pilots", "first");
    for (field, text) in [("wait", "0s"), ("settle", "0s"), ("halt-at", "1"), ("tolerate", "0")] {
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
    assert_eq!(browser.faults(), [""; 0]);
    browser.follow("Now");
    browser.wait_for("Rollout of tool@1: halted");

    fs::remove_file(broken).unwrap();
    browser.follow("Show the rollout");
    browser.follow("Resume");
    desk.confirm("Resume the rollout");
    desk.go("/rollouts/tool@1?devices=1");
    eventually("the rollout is complete", || {
        for device in &devices {
            device.run();
        }
        let shown: serde_json::Value = world.json(&["rollout", "show", "tool@1"]);
        (shown["status"] == "complete").then_some(())
    });
    browser.reload();
    browser.wait_for("complete");
    browser.follow("Finish");
    desk.confirm("Finish the rollout");
}
