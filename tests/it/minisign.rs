//! Compatibility with minisign: each program verifies the signatures of the other.
#![cfg(unix)]

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use packcast_protocol::signature::verify;
use packcast_publisher::signing::key::{public_file, read_public};
use packcast_publisher::signing::{NoSecrets, PASSPHRASE_VARIABLE, SigningKey};
use packcast_store::ObjectKey;
use packcast_testing::skip::{Missing, skip};
use packcast_tests::process::{Ran, text};
use packcast_tests::world::{PublishOutput, World, local_dir};

use crate::PROGRAM;

const DOCUMENT: &str = "document";
const PASSPHRASE: &str = "correct horse";

/// Runs minisign over the document in a folder, and returns whether it succeeds. `None` if minisign
/// is missing; the test is then skipped.
fn minisign(folder: &Path, arguments: &[&str]) -> Option<bool> {
    let arguments = [arguments, &["-m", DOCUMENT]].concat();
    minisign_asks(folder, &arguments)
}

/// Runs minisign, which reads the passphrase as often as it asks.
///
/// # Panics
/// As [`skip`] does.
fn minisign_asks(folder: &Path, arguments: &[&str]) -> Option<bool> {
    let mut command = Command::new("minisign");
    command
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let Ok(mut tool) = command.spawn() else {
        skip(Missing::Provided("minisign"));
        return None;
    };
    // A minisign that asks for nothing may have ended already.
    let mut stdin = tool.stdin.take().unwrap();
    let _ = writeln!(stdin, "{PASSPHRASE}\n{PASSPHRASE}");
    drop(stdin);
    Some(tool.wait().unwrap().success())
}

/// Creates a key without a passphrase with minisign. `None` if minisign is missing.
fn make_key(folder: &Path) -> Option<()> {
    let makes = ["-G", "-W", "-p", "packcast.pub", "-s", "packcast.key"];
    let made = minisign(folder, &makes)?;
    assert!(made);
    Some(())
}

#[test]
fn minisign_verifies_a_publishers_signature() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let key = SigningKey::generate(&path("packcast.key"), None).unwrap();
    fs::write(path(DOCUMENT), "signed").unwrap();
    let signature = key.sign(b"signed", "by a publisher").unwrap();
    fs::write(path("document.minisig"), signature).unwrap();
    let public = public_file(&path("packcast.key"));
    let checks = ["-V", "-p", public.to_str().unwrap()];
    let Some(agrees) = minisign(folder.path(), &checks) else {
        return;
    };
    assert!(agrees);
    fs::write(path(DOCUMENT), "Signed").unwrap();
    assert_eq!(minisign(folder.path(), &checks), Some(false));
}

#[test]
fn a_signature_by_minisign_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path(DOCUMENT), "signed").unwrap();
    if make_key(folder.path()).is_none() {
        return;
    }
    let signs = ["-S", "-s", "packcast.key"];
    assert_eq!(minisign(folder.path(), &signs), Some(true));
    let public = [read_public(&path("packcast.key")).unwrap()];
    let theirs = fs::read_to_string(path("document.minisig")).unwrap();
    assert_eq!(verify(b"signed", &theirs, &public), Ok(()));
}

#[test]
fn a_publisher_signs_with_a_key_of_minisign() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path(DOCUMENT), "signed").unwrap();
    if make_key(folder.path()).is_none() {
        return;
    }
    let key = SigningKey::read(&path("packcast.key"), &NoSecrets).unwrap();
    assert_eq!(*key.public(), read_public(&path("packcast.key")).unwrap());
    let signature = key.sign(b"signed", "by a publisher").unwrap();
    fs::write(path("document.minisig"), signature).unwrap();
    let checks = ["-V", "-p", "packcast.pub"];
    assert_eq!(minisign(folder.path(), &checks), Some(true));
}

#[test]
fn minisign_signs_with_a_publishers_encrypted_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let ours = SigningKey::generate(&path("packcast.key"), Some(PASSPHRASE.to_owned()));
    let public = [ours.unwrap().public().clone()];
    fs::write(path(DOCUMENT), "signed").unwrap();
    let Some(signs) = minisign(folder.path(), &["-S", "-s", "packcast.key"]) else {
        return;
    };
    assert!(signs);
    let theirs = fs::read_to_string(path("document.minisig")).unwrap();
    assert_eq!(verify(b"signed", &theirs, &public), Ok(()));
}

/// The key signs a manifest, a key list and commits.
#[test]
fn a_target_with_an_encrypted_key_of_minisign_deploys() {
    let makes = ["-G", "-f", "-p", "packcast.pub", "-s", "packcast.key"];
    let passphrase = [(PASSPHRASE_VARIABLE, PASSPHRASE)];
    let place = tempfile::tempdir().unwrap();
    if minisign_asks(place.path(), &makes) != Some(true) {
        return;
    }
    let world = World::start_with(PROGRAM, &passphrase, |folder| {
        let local = local_dir(folder);
        fs::create_dir_all(&local).unwrap();
        for file in ["packcast.key", "packcast.pub"] {
            fs::rename(place.path().join(file), local.join(file)).unwrap();
        }
    });
    let ok = |arguments: &[&str]| {
        let mut command = world.command(arguments);
        Ran::of(command.env(PASSPHRASE_VARIABLE, PASSPHRASE)).expect_code(0)
    };
    let device = world.device("pc");
    let publish = ["publish", "--name", "tool", "--version", "1", "--activate"];
    let action = ["--action", "execute", "--command", "true"];
    let published = ok(&[&publish[..], &action, &["--format", "json"]].concat());
    let PublishOutput { package, .. } = serde_json::from_str(&published.stdout).unwrap();
    ok(&["assign", "tool@1", "--device", device.id()]);
    device.run();
    assert_eq!(world.result(&device).code.to_string(), "SUCCESS");

    let [manifest, signature] = [ObjectKey::manifest, ObjectKey::signature]
        .map(|key| world.object(&key(&package.folder, package.id)));
    let checks = ["-V", "-p", "packcast.pub", "-m", text(&manifest)];
    let checks = [&checks[..], &["-x", text(&signature)]].concat();
    assert_eq!(minisign_asks(&world.local_dir(), &checks), Some(true));
}
