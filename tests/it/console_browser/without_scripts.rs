//! The console in a browser that runs no scripts.

use packcast_tests::browser::{Browser, is_installed};
use packcast_tests::console::RunningConsole;
use packcast_tests::console::crawl::crawl;
use packcast_tests::console::sample;
use packcast_tests::world::World;

use crate::PROGRAM;

/// Enough devices for several pages of a list.
const DEVICES: u32 = 60;

#[test]
fn every_page_can_be_read_and_searched_without_scripts() {
    if !is_installed() {
        return;
    }
    let mut world = World::start(PROGRAM);
    sample::fill(&mut world, DEVICES);
    let console = RunningConsole::start(&world);
    let browser = Browser::without_scripts(world.directory());
    console.sign_in_by_hand(&browser);
    crawl(&console, &browser, |path| {
        let text = browser.text();
        assert!(text.contains("Target: "), "{path}: {text}");
        // Buttons that only scripts can serve are not there.
        assert!(!text.contains("Copy"), "{path}: {text}");
    });
    browser.follow("Devices");
    browser.fill("input[name=name]", "kiosk-0");
    browser.press("Search");
    browser.wait_for("kiosk-004");
    let relative = browser.text();
    browser.choose("Exact times");
    assert_ne!(browser.text(), relative);
    browser.follow("Now");
    browser.press("Check the fleet");
    browser.wait_for("Check again");
}
