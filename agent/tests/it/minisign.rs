//! Signatures of the standard tool.
#![cfg(unix)]

use std::path::Path;
use std::process::Command;

use packcast_protocol::PackageId;

use crate::lab::Lab;
use crate::packages::{execute, package};
use crate::skip::{Missing, skip};

/// Returns `true` if the tool is installed. Without the tool, the test is skipped.
///
/// # Panics
/// Like [`skip`].
fn is_installed() -> bool {
    let here = Command::new("minisign").arg("-v").output().is_ok();
    if !here {
        skip(Missing::Provided("minisign"));
    }
    here
}

/// Signs the manifest of a package again, with the tool and the publisher's key.
fn sign(lab: &Lab, id: PackageId, options: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let manifest = lab.edge.get(&format!("{id}/manifest.json"));
    std::fs::write(path("manifest.json"), manifest).unwrap();
    std::fs::write(path("secret"), lab.signer.secret_file()).unwrap();
    let made = run(folder.path(), &[&["-S", "-s", "secret"], options].concat());
    assert!(made, "minisign cannot sign with the publisher's key");
    let signature = std::fs::read(path("manifest.json.minisig")).unwrap();
    lab.edge
        .put(&format!("{id}/manifest.json.minisig"), &[&signature]);
}

fn run(folder: &Path, arguments: &[&str]) -> bool {
    let mut command = Command::new("minisign");
    let command = command.args(arguments).args(["-m", "manifest.json"]);
    let output = command.current_dir(folder).output().unwrap();
    output.status.success()
}

#[test]
fn a_signature_of_the_standard_tool_is_accepted() {
    if !is_installed() {
        return;
    }
    let lab = Lab::new();
    let id = lab.assign(execute("true"), package(1, None));
    sign(&lab, id, &["-t", "by hand"]);
    assert_eq!(lab.result().code.to_string(), "SUCCESS");
}

/// The tool wrote such signatures, over the bytes themselves, before 2022.
#[test]
fn a_legacy_signature_of_the_standard_tool_is_refused() {
    if !is_installed() {
        return;
    }
    let lab = Lab::new();
    let id = lab.assign(execute("true"), package(1, None));
    sign(&lab, id, &["-l"]);
    assert_eq!(lab.result().code.to_string(), "ERR_BAD_SIGNATURE");
}
