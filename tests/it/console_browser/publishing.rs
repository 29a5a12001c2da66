//! The way of a newcomer, from an empty target to a package on a device.

use std::fs;
use std::path::Path;

use packcast_tests::archives::{noise, tar_gz};
use packcast_tests::browser::{Browser, is_installed};
use packcast_tests::console::RunningConsole;
use packcast_tests::world::World;

use super::pictures::{Camera, WIDE};
use super::{CLICKS, Desk};
use crate::PROGRAM;

/// An archive whose program notes that it has run.
fn archive(world: &World) -> String {
    let script = format!("#!/bin/sh\necho installed > {}\n", world.path("installed"));
    let entries: [(&str, &[u8]); 2] = [("setup.sh", script.as_bytes()), ("data", &noise(7, 4_096))];
    world.file("hello-1.0.tar.gz", &tar_gz(&entries))
}

#[test]
fn a_newcomer_brings_a_package_to_a_device_by_clicks_alone() {
    let Some(desk) = Desk::open() else {
        return;
    };
    let (world, browser) = (&desk.world, &desk.browser);
    let file = archive(world);
    let device = world.device("pc");
    browser.reload();
    browser.follow("Publish a package");
    browser.press("Next");
    browser.press("Next");
    browser.choose_file("#file", Path::new(&file));
    browser.press("Upload");
    browser.wait_for("Program at the top of the archive");
    Camera::new().take(browser, "publish", WIDE);
    publish(browser);
    browser.follow("Activate the package");
    desk.confirm("Activate the package");
    browser.follow("Choose the computers");
    browser.click("#to-all");
    browser.press("Show how many and which");
    browser.wait_for("1 device");
    assert_eq!(browser.faults_everywhere(), [""; 0]);
    browser.press("All at once");
    desk.accept("Assign the package");
    browser.follow("Show the package");
    device.run();
    let installed = fs::read_to_string(world.path("installed"));
    assert_eq!(installed.unwrap(), "installed\n");
    browser.wait_for("1 succeeded");
    assert_eq!(browser.clicks(), CLICKS, "docs/console.md has the number");
}

/// Goes from the program of the archive to the end of the publication.
fn publish(browser: &Browser) {
    browser.wait_for("Program at the top of the archive");
    assert_eq!(browser.value("#program"), "setup.sh");
    assert_eq!(browser.faults_everywhere(), [""; 0]);
    browser.press("Next");
    browser.wait_for("Priority");
    assert_eq!(browser.faults_everywhere(), [""; 0]);
    browser.fill("#name", "hello");
    browser.fill("#version", "1.0");
    browser.press("Next");
    browser.wait_for("Sign and publish");
    assert_eq!(browser.faults_everywhere(), [""; 0]);
    browser.press("Sign and publish");
    browser.wait_for("Next: activate");
    assert_eq!(browser.title(), "hello@1.0 · Packcast");
}

#[test]
fn a_package_is_published_and_assigned_without_scripts() {
    if !is_installed() {
        return;
    }
    let world = World::start(PROGRAM);
    let console = RunningConsole::start(&world);
    let browser = Browser::without_scripts(world.directory());
    console.sign_in_by_hand(&browser);
    let desk = Desk {
        browser,
        console,
        world,
    };
    let (world, browser) = (&desk.world, &desk.browser);
    let file = archive(world);
    let device = world.device("pc");
    desk.go("/publish");
    browser.press("Next");
    browser.press("Next");
    browser.fill("#path", &file);
    browser.press("Use this path");
    publish(browser);
    browser.follow("Activate the package");
    desk.confirm("Activate the package");
    browser.follow("Choose the computers");
    browser.fill("#device", device.id());
    browser.press("Show how many and which");
    browser.press("All at once");
    desk.accept("Assign the package");
    device.run();
    browser.follow("Show the package");
    browser.wait_for("1 succeeded");
}
