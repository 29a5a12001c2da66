//! Uploads: cut ones, dropped files, and files that are refused.

use std::fs;
use std::path::Path;

use packcast_tests::archives::{noise, tar_gz};
use packcast_tests::browser::{Browser, is_installed};
use packcast_tests::console::RunningConsole;
use packcast_tests::world::World;

use super::Desk;
use crate::PROGRAM;

/// Begins a package until its step with the file.
fn until_file(desk: &Desk) {
    desk.go("/publish");
    desk.browser.press("Next");
    desk.browser.press("Next");
    desk.browser.wait_for("File of your browser");
}

/// Returns an archive with this many bytes that cannot be compressed.
fn archive(name: &str, world: &World, seed: u64, bytes: usize) -> String {
    let entries: [(&str, &[u8]); 2] = [("setup.sh", b"true"), ("data", &noise(seed, bytes))];
    world.file(name, &tar_gz(&entries))
}

/// Bytes of a file that is uploaded in four parts, and of a second at the speed at which it is cut: slow
/// enough that a busy machine finds the upload between two parts.
const LARGE: usize = 30 << 20;
const SLOW: u64 = 1 << 20;

#[test]
fn an_upload_continues_after_the_page_was_loaded_again() {
    let Some(desk) = Desk::open() else {
        return;
    };
    let (world, browser) = (&desk.world, &desk.browser);
    let file = archive("large.tar.gz", world, 8, LARGE);
    until_file(&desk);
    browser.slow_uploads(Some(SLOW));
    browser.choose_file("#file", Path::new(&file));
    browser.press("Upload");
    browser.wait_for("8.0 MiB of 30.0 MiB are uploaded");
    assert_eq!(browser.faults_everywhere(), [""; 0]);
    browser.reload();
    browser.wait_for("The upload of large.tar.gz is not complete");
    assert_eq!(browser.faults_everywhere(), [""; 0]);
    browser.slow_uploads(None);
    // A file with this name and length, and other bytes in its middle.
    let other = world.path("other");
    fs::create_dir(&other).unwrap();
    let other = Path::new(&other).join("large.tar.gz");
    let mut bytes = fs::read(&file).unwrap();
    bytes[1 << 20] ^= 1;
    fs::write(&other, bytes).unwrap();
    let modified = fs::metadata(&file).unwrap().modified().unwrap();
    let opened = fs::File::options().write(true).open(&other).unwrap();
    opened.set_modified(modified).unwrap();
    browser.choose_file("#file", &other);
    browser.press("Upload");
    browser.wait_for("cannot continue the upload of large.tar.gz with another file");
    assert_eq!(browser.faults_everywhere(), [""; 0]);
    browser.choose_file("#file", Path::new(&file));
    browser.press("Upload");
    browser.wait_for("Program at the top of the archive");
    assert_eq!(browser.value("#program"), "setup.sh");
}

#[test]
fn a_dropped_file_is_uploaded() {
    let Some(desk) = Desk::open() else {
        return;
    };
    let (world, browser) = (&desk.world, &desk.browser);
    let file = archive("dropped.tar.gz", world, 9, 10_000);
    until_file(&desk);
    let folder = world.path("folder");
    fs::create_dir(&folder).unwrap();
    browser.drop_files("#upload", &[Path::new(&folder)]);
    browser.wait_for("This is a folder");
    browser.drop_files("#upload", &[Path::new(&file), Path::new(&file)]);
    browser.wait_for("Drop one file at a time");
    assert_eq!(browser.faults_everywhere(), [""; 0]);
    browser.drop_files("#upload", &[Path::new(&file)]);
    browser.wait_for("Program at the top of the archive");
    assert_eq!(browser.value("#program"), "setup.sh");
}

#[test]
fn a_list_that_is_dropped_is_added_to_the_field() {
    let Some(desk) = Desk::open_after(|world| {
        world.ok(&["group", "create", "lab"]);
    }) else {
        return;
    };
    let (world, browser) = (&desk.world, &desk.browser);
    let list = world.file("list.txt", b"web02\nweb03\n");
    desk.go("/change/add-devices?group=lab");
    browser.fill("textarea", "web01");
    browser.drop_files("textarea", &[Path::new(&list)]);
    packcast_tests::process::eventually("the list is in the field", || {
        (browser.value("textarea") == "web01\nweb02\nweb03\n").then_some(())
    });
}

#[test]
fn a_file_is_uploaded_without_scripts() {
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
    let browser = &desk.browser;
    let file = archive("plain.tar.gz", &desk.world, 10, 100_000);
    until_file(&desk);
    let empty = desk.world.file("empty.zip", b"");
    browser.choose_file("#file", Path::new(&empty));
    browser.press("Upload");
    browser.wait_for("cannot upload empty.zip: the file is empty");
    browser.choose_file("#file", Path::new(&file));
    browser.press("Upload");
    browser.wait_for("Program at the top of the archive");
    assert_eq!(browser.value("#program"), "setup.sh");
}

#[test]
fn an_upload_survives_a_network_that_is_gone_for_a_while() {
    let Some(desk) = Desk::open() else {
        return;
    };
    let (world, browser) = (&desk.world, &desk.browser);
    let file = archive("large.tar.gz", world, 11, LARGE);
    until_file(&desk);
    browser.slow_uploads(Some(SLOW));
    browser.choose_file("#file", Path::new(&file));
    browser.press("Upload");
    browser.wait_for("8.0 MiB of 30.0 MiB are uploaded");
    browser.go_offline();
    browser.wait_for("The console does not answer. Trying again.");
    browser.slow_uploads(None);
    browser.wait_for("Program at the top of the archive");
}

#[test]
fn the_end_of_the_console_during_an_upload_is_reported() {
    let Some(mut desk) = Desk::open() else {
        return;
    };
    let file = archive("large.tar.gz", &desk.world, 12, LARGE);
    until_file(&desk);
    desk.browser.slow_uploads(Some(SLOW));
    desk.browser.choose_file("#file", Path::new(&file));
    desk.browser.press("Upload");
    desk.browser.wait_for("8.0 MiB of 30.0 MiB are uploaded");
    desk.console.stop();
    desk.browser
        .wait_for("The upload was cut: The console does not answer.");
    assert_eq!(desk.browser.faults_everywhere(), [""; 0]);
}
