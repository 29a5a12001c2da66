//! The ways into the console.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use packcast_tests::browser::{Browser, is_installed};
use packcast_tests::console::RunningConsole;
use packcast_tests::world::World;

use crate::PROGRAM;

#[test]
fn the_private_file_opens_the_console_by_itself() {
    if !is_installed() {
        return;
    }
    let world = World::start(PROGRAM);
    let (mut console, file) = RunningConsole::open(&world);
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let browser = Browser::start(world.directory());
    browser.open(&format!("file://{}", file.display()));
    browser.wait_for("This target is empty");
    assert_eq!(browser.address(), console.at("/"));
    let cookies = browser.cookies();
    assert_eq!(cookies.len(), 1, "{cookies:?}");
    assert_eq!(cookies[0]["httpOnly"], true);
    assert_eq!(cookies[0]["sameSite"], "Strict");
    console.stop();
    assert!(!file.exists(), "the file ends with the console");
}

#[test]
fn the_printed_address_opens_the_console_once() {
    if !is_installed() {
        return;
    }
    let world = World::start(PROGRAM);
    let console = RunningConsole::start(&world);
    let browser = Browser::start(world.directory());
    browser.open(&console.link);
    browser.wait_for("This target is empty");
    // The token is neither in the address nor in the history.
    assert_eq!(browser.address(), console.at("/"));
    assert_eq!(browser.faults_everywhere(), [""; 0]);
    let other = tempfile::tempdir().unwrap();
    let second = Browser::start(other.path());
    second.open(&console.link);
    second.wait_for("This token was used before");
    assert_eq!(second.faults(), [""; 0]);
    browser.press("End session");
    browser.wait_for("The session has ended");
    assert_eq!(browser.faults_everywhere(), [""; 0]);
}

#[test]
fn a_browser_without_scripts_takes_the_token_by_hand() {
    if !is_installed() {
        return;
    }
    let world = World::start(PROGRAM);
    let console = RunningConsole::start(&world);
    let browser = Browser::without_scripts(world.directory());
    console.sign_in_by_hand(&browser);
    assert!(browser.text().contains("This target is empty"));
}
