//! The standard tool checks what this program signs, and the other way round.
#![cfg(unix)]

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use packcast::keys::{SigningKey, public_file, read_public};
use packcast_protocol::signature::verify;

const DOCUMENT: &str = "document";

/// Runs the tool over the document in a folder, and tells whether it agrees; none where there
/// is no tool, which is said.
fn minisign(folder: &Path, arguments: &[&str]) -> Option<bool> {
    let mut command = Command::new("minisign");
    command.args(arguments).args(["-m", DOCUMENT]);
    let Ok(output) = command.current_dir(folder).output() else {
        let _ = writeln!(std::io::stderr(), "skipped: there is no minisign");
        return None;
    };
    Some(output.status.success())
}

#[test]
fn the_standard_tool_verifies_what_a_publisher_signs() {
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
fn what_the_standard_tool_signs_with_a_key_of_its_own_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path(DOCUMENT), "signed").unwrap();
    let makes = ["-G", "-W", "-p", "packcast.pub", "-s", "packcast.key"];
    let Some(made) = minisign(folder.path(), &makes) else {
        return;
    };
    assert!(made);
    let signs = ["-S", "-s", "packcast.key"];
    assert_eq!(minisign(folder.path(), &signs), Some(true));
    let public = [read_public(&path("packcast.key")).unwrap()];
    let theirs = fs::read_to_string(path("document.minisig")).unwrap();
    assert_eq!(verify(b"signed", &theirs, &public), Ok(()));
}

#[test]
fn a_publisher_signs_with_a_key_that_the_standard_tool_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path(DOCUMENT), "signed").unwrap();
    let makes = ["-G", "-W", "-p", "packcast.pub", "-s", "packcast.key"];
    let Some(made) = minisign(folder.path(), &makes) else {
        return;
    };
    assert!(made);
    let key = SigningKey::read(&path("packcast.key")).unwrap();
    assert_eq!(*key.public(), read_public(&path("packcast.key")).unwrap());
    let signature = key.sign(b"signed", "by a publisher").unwrap();
    fs::write(path("document.minisig"), signature).unwrap();
    let checks = ["-V", "-p", "packcast.pub"];
    assert_eq!(minisign(folder.path(), &checks), Some(true));
}
