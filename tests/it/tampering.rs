//! A changed byte of a published object prevents the deployment.

use std::fs;
use std::path::Path;

use packcast_protocol::{FragmentNumber, Outcome, PackageId};
use packcast_publisher::signing::key::read_public;
use packcast_rollout::PackageRecord;
use packcast_store::ObjectKey;
use packcast_tests::archives::{noise, tar_gz};
use packcast_tests::world::World;
use packcast_tests::world::device::TestDevice;

use crate::PROGRAM;

/// Flips one bit of a file.
fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn package(world: &World, marker: &str, key: &[&str]) -> PackageRecord {
    let script = format!("#!/bin/sh\ntouch {marker}\n");
    let archive = tar_gz(&[("run.sh", script.as_bytes()), ("noise", &noise(3, 3 << 20))]);
    let source = world.file("package.tar.gz", &archive);
    let action = ["--action", "launch", "--command", "run.sh"];
    let rest = ["--fragment-size", "1MiB", "--activate", &source];
    world
        .publish("tool", &[&action, &rest[..], key].concat())
        .package
}

/// Expects that a package changed by `tamper` does not run, and that its result has a reason.
fn check(
    tamper: impl FnOnce(&World, &PackageRecord),
    code: &str,
    named: impl Fn(PackageId) -> String,
) {
    let world = World::start(PROGRAM);
    let (device, marker) = (world.device("pc"), world.path("marker"));
    let package = package(&world, &marker, &[]);
    world.assign("tool@1", &device);
    tamper(&world, &package);
    assert_eq!(device.announced(), 1);
    expect(&world, &device, code, &named(package.id));
    assert!(!Path::new(&marker).exists(), "the program ran");
}

fn expect(world: &World, device: &TestDevice, code: &str, named: &str) {
    let result = world.result(device);
    assert_eq!(result.code.to_string(), code, "{result:?}");
    assert_eq!(result.outcome, Outcome::Failed);
    let shown = world.ok(&["device", "show", device.id()]).stdout;
    assert!(shown.contains(code), "{shown}");
    assert!(shown.contains(named), "{shown}");
    assert_eq!(world.progress("tool@1").failed, 1);
}

#[test]
fn a_changed_fragment_is_reported_and_nothing_runs() {
    check(
        |world, package| {
            let second = FragmentNumber::from_index(1);
            let key = ObjectKey::fragment(&package.folder, package.id, second);
            flip(&world.object(&key), 123_456);
        },
        "ERR_BAD_DIGEST",
        |id| format!("{id}-2"),
    );
}

#[test]
fn a_changed_manifest_is_reported_and_nothing_runs() {
    check(
        |world, package| {
            let key = ObjectKey::manifest(&package.folder, package.id);
            flip(&world.object(&key), 30);
        },
        "ERR_BAD_MANIFEST",
        |_| "manifest".to_owned(),
    );
}

#[test]
fn a_package_with_a_changed_signature_is_not_assigned() {
    let world = World::start(PROGRAM);
    let (device, marker) = (world.device("pc"), world.path("marker"));
    let package = package(&world, &marker, &[]);
    let path = world.object(&ObjectKey::signature(&package.folder, package.id));
    let text = fs::read_to_string(&path).unwrap();
    let second_line = text.find('\n').unwrap() + 1;
    flip(&path, second_line + 50);
    expect_not_assigned(&world, &device);
    flip(&path, second_line + 50);
    world.assign("tool@1", &device);
    device.run();
    assert!(Path::new(&marker).exists());
}

#[test]
fn a_package_signed_by_an_unknown_key_is_assigned_only_if_the_key_is_named() {
    let world = World::start(PROGRAM);
    let (device, marker) = (world.device("pc"), world.path("marker"));
    let key = world.path("other.key");
    world.ok(&["keys", "generate", "--unencrypted", "--key", &key]);
    package(&world, &marker, &["--key", &key]);
    expect_not_assigned(&world, &device);
    let public = read_public(Path::new(&key)).unwrap().to_string();
    let assign = ["assign", "tool@1", "--device", device.id()];
    world.ok(&[&assign[..], &["--accept-key", &public]].concat());
    device.run();
    assert_eq!(world.result(&device).outcome, Outcome::Succeeded);
    assert!(Path::new(&marker).exists());
}

/// Expects that the publisher refuses the package, and that no device hears of it.
fn expect_not_assigned(world: &World, device: &TestDevice) {
    let assign = ["assign", "tool@1", "--device", device.id()];
    let refusal = world.refused(3, &assign);
    assert!(
        refusal.contains("no signed manifest has the name tool@1"),
        "{refusal}"
    );
    assert_eq!(device.announced(), 0);
}

#[test]
fn an_unchanged_package_runs() {
    let world = World::start(PROGRAM);
    let (device, marker) = (world.device("pc"), world.path("marker"));
    package(&world, &marker, &[]);
    world.assign("tool@1", &device);
    device.run();
    assert_eq!(world.result(&device).outcome, Outcome::Succeeded);
    assert!(Path::new(&marker).exists());
}

#[test]
fn an_archive_larger_than_the_device_allows_is_not_unpacked() {
    let world = World::start(PROGRAM);
    let (device, marker) = (world.device("pc"), world.path("marker"));
    device.configure(&world, "max_unpacked_bytes = 1048576\n");
    package(&world, &marker, &[]);
    world.assign("tool@1", &device);
    device.run();
    expect(&world, &device, "ERR_UNSAFE_ARCHIVE", "1048576 bytes");
    assert!(!Path::new(&marker).exists(), "the program ran");
}
