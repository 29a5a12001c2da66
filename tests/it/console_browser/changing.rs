//! Changes in the browser, while an agent follows them.

use std::fs;

use packcast_tests::console::crawl::crawl;

use super::Desk;

#[test]
fn a_package_is_activated_and_assigned_and_the_page_shows_its_installation() {
    let Some(desk) = Desk::open_after(|world| {
        let command = format!("echo installed > {}", world.path("installed"));
        world.publish("tool", &["--action", "execute", "--command", &command]);
    }) else {
        return;
    };
    let (world, browser) = (&desk.world, &desk.browser);
    let device = world.device("pc");
    desk.go("/packages/tool@1");
    browser.follow("Activate");
    desk.confirm("Activate the package");
    browser.follow("Choose the computers");
    browser.fill("#device", device.id());
    browser.press("Show how many and which");
    browser.press("All at once");
    desk.accept("Assign the package");
    assert_eq!(browser.faults_everywhere(), [""; 0]);
    browser.follow("Show the package");
    browser.wait_for("1 waiting");
    device.run();
    let installed = fs::read_to_string(world.path("installed"));
    assert_eq!(installed.unwrap(), "installed\n");
    browser.wait_for("1 succeeded");
}

#[test]
fn the_target_is_reverted_after_its_differences_were_read() {
    let Some(desk) = Desk::open_after(|world| {
        for group in ["lab", "office"] {
            world.ok(&["group", "create", group]);
        }
    }) else {
        return;
    };
    let (world, browser) = (&desk.world, &desk.browser);
    browser.follow("History");
    // The commit before the last one.
    browser.click(".history > li:nth-child(2) a[href^='/change/revert']");
    browser.press("Show the effect");
    browser.wait_for("office");
    assert_eq!(browser.faults_everywhere(), [""; 0]);
    browser.press("Revert the target");
    desk.wait_for_end();
    let groups = world.ok(&["group", "list"]).stdout;
    assert!(
        groups.contains("lab") && !groups.contains("office"),
        "{groups}"
    );
    browser.follow("Show the history");
    browser.wait_for("revert");
}

#[test]
fn a_read_only_console_offers_no_change() {
    let Some(desk) = Desk::open_read_only() else {
        return;
    };
    crawl(&desk.console, &desk.browser, |path| {
        assert!(!path.starts_with("/change"), "{path}");
        assert!(!path.starts_with("/publish"), "{path}");
    });
}
