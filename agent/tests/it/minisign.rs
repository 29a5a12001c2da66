//! Signatures of the standard tool.
#![cfg(unix)]

use std::process::Command;

use packcast_protocol::state::exchange::WaitWord;

use crate::lab::Lab;
use crate::publisher::StatePublisher;
use crate::rounds::{commit, content, counting, entry, expect, round};
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

/// Returns a device with an assigned package. The tool signs the state with these options.
fn lab_of_tool(options: &'static [&'static str]) -> Lab {
    let mut lab = Lab::with_commits();
    let target = StatePublisher::new(1, lab.signer.with_tool(options));
    lab.follow(target);
    let id = counting(&lab, 1);
    commit(&lab, content(&lab).with("all", &[entry(&lab, id, 1)]));
    lab
}

#[test]
fn a_signature_of_the_standard_tool_is_accepted() {
    if !is_installed() {
        return;
    }
    expect(&lab_of_tool(&["-t", "by hand"]), &["EXIT_CODE_3"]);
}

/// The tool wrote such signatures, over the bytes themselves, before 2022.
#[test]
fn a_legacy_signature_of_the_standard_tool_is_refused() {
    if !is_installed() {
        return;
    }
    let round = round(&lab_of_tool(&["-l"]));
    assert_eq!(round.waits, [WaitWord::NoKeyList], "{}", round.stderr);
    assert!(!round.refusals().is_empty());
}
