//! Reading pages while agents work.

use serde_json::json;

use super::Desk;

#[test]
fn numbers_change_by_themselves_while_an_agent_installs() {
    let Some(desk) = Desk::open_after(|world| {
        world.execute("tool", "true");
    }) else {
        return;
    };
    let (world, browser) = (&desk.world, &desk.browser);
    let device = world.device("pc");
    world.assign("tool@1", &device);
    desk.go("/packages/tool@1");
    browser.wait_for("1 waiting");
    // A mark that a new page would not have.
    browser.run("document.body.dataset.first = 'yes';", &json!([]));
    let mut agent = device.start();
    while agent.event().is_some() {}
    browser.wait_for("1 succeeded");
    assert!(
        browser.has("body[data-first=yes]"),
        "the page was loaded again"
    );
    assert_eq!(browser.faults_everywhere(), [""; 0]);
}

#[test]
fn the_output_of_a_failure_is_read_from_the_package_and_from_the_device() {
    let Some(desk) = Desk::open_after(|world| {
        world.execute("tool", "echo unpacking; echo 'E: <b>disk</b> full'; exit 7");
    }) else {
        return;
    };
    let (world, browser) = (&desk.world, &desk.browser);
    let device = world.device("pc");
    world.assign("tool@1", &device);
    device.run();
    let host = world.device_state(&device).device.host_name;
    browser.follow("Packages");
    browser.follow("tool@1");
    browser.follow("Failures");
    browser.wait_for("E: <b>disk</b> full");
    assert_eq!(browser.faults_everywhere(), [""; 0]);
    browser.follow(&host);
    browser.wait_for("unpacking\nE: <b>disk</b> full");
    assert_eq!(browser.faults_everywhere(), [""; 0]);
    browser.follow("Why?");
    browser.wait_for("tool@1");
    assert_eq!(browser.faults_everywhere(), [""; 0]);
    assert_eq!(browser.clicks(), 5);
}
