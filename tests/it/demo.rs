//! `packcast demo`, run as a new user would.

use std::fs;
use std::path::Path;

use packcast_tests::archives::{tar_gz, zip};
use packcast_tests::process::Ran;
use packcast_tests::world::clean;

use crate::PROGRAM;

/// Runs the demo in a folder with nothing but `files`, and returns its output.
fn demo(files: &[(&str, &[u8])], arguments: &[&str]) -> String {
    demo_ending(0, files, arguments)
}

/// Runs the demo like [`demo`], and expects this exit code.
fn demo_ending(code: i32, files: &[(&str, &[u8])], arguments: &[&str]) -> String {
    let place = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = place.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let temporary = place.path().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let mut command = clean(Path::new(PROGRAM), place.path());
    command.arg("demo").args(arguments);
    let shown = Ran::of(&mut command).expect_code(code).stdout;
    assert_eq!(
        fs::read_dir(&temporary).unwrap().count(),
        0,
        "the demo leaves no files behind"
    );
    let expected = [
        "built",
        "published",
        "activated",
        "enrolled",
        "assigned",
        "checked in",
    ];
    for step in [&expected[..], &["verified", "reported", "total"]].concat() {
        assert!(shown.contains(step), "{step}: {shown}");
    }
    shown
}

#[test]
fn the_demo_has_a_package_of_its_own() {
    let shown = demo(&[], &[]);
    assert!(
        shown.contains("the device's result: succeeded: ran, exit code 0"),
        "{shown}"
    );
    assert!(shown.contains("downloaded"), "{shown}");
}

#[test]
fn a_users_zip_is_stored() {
    let archive = zip(&[("a/one", b"1"), ("two", b"2")]);
    let shown = demo(&[("mine.zip", &archive)], &["mine.zip"]);
    assert!(shown.contains("succeeded: SUCCESS"), "{shown}");
}

#[test]
fn the_exit_code_of_a_launched_program_is_shown() {
    let archive = tar_gz(&[("run.sh", b"#!/bin/sh\necho seven\nexit 7\n")]);
    let arguments = ["x.tar.gz", "--action", "launch", "--command", "run.sh"];
    let shown = demo_ending(1, &[("x.tar.gz", &archive)], &arguments);
    assert!(shown.contains("failed: ran, exit code 7"), "{shown}");
    assert!(shown.contains("| seven"), "{shown}");
}

#[test]
fn a_users_directory_is_packed() {
    let files: [(&str, &[u8]); 2] = [("mine/one", b"1"), ("mine/a/two", b"2")];
    let shown = demo(
        &files,
        &["mine", "--action", "execute", "--command", "cat one a/two"],
    );
    assert!(shown.contains("succeeded: SUCCESS"), "{shown}");
    assert!(shown.contains("| 12"), "{shown}");
}
