//! Renders errors and failures for snapshots in tests.
//!
//! Snapshots of a type from another crate leave out its message: that crate has a snapshot of it.

use std::collections::BTreeSet;
use std::error::Error;

use packcast_protocol::manifest::{Audience, Platform};
use packcast_protocol::signature::PublicKey;
use packcast_protocol::{Action, Priority, Sha256Digest, UnixTime, WindowsTerms};
use packcast_rollout::PackageRecord;
use packcast_rollout::record::{PackageState, Published};

use crate::failure::Failure;

/// Renders the message of each error in a line, without causes.
pub(crate) fn messages<E: Error>(errors: impl IntoIterator<Item = E>) -> String {
    let lines = errors.into_iter().map(|error| error.to_string());
    lines.collect::<Vec<_>>().join("\n")
}

/// Renders each failure: its kind, its message with causes, and its hints.
pub(crate) fn failures(failures: impl IntoIterator<Item = Failure>) -> String {
    let lines = failures
        .into_iter()
        .map(|failure| format!("{:?}: {failure}", failure.kind()));
    lines.collect::<Vec<_>>().join("\n")
}

/// Renders each error of this crate as the failure that it becomes: its kind, its message without
/// causes, and its hints.
pub(crate) fn converted<E: Error + Into<Failure>>(errors: impl IntoIterator<Item = E>) -> String {
    let lines = errors.into_iter().map(|error| {
        let message = error.to_string();
        let failure = error.into();
        format!("{:?}: {message}{}", failure.kind(), hints(&failure))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Renders each error of another crate as the failure that it becomes: the name of its variant, its
/// kind, and its hints.
pub(crate) fn next_steps<E: Error + Into<Failure>>(errors: impl IntoIterator<Item = E>) -> String {
    let lines = errors.into_iter().map(|error| {
        let debug = format!("{error:?}");
        let variant = debug.split([' ', '"']).next().unwrap_or_default();
        let variant = variant.trim_end_matches(['(', ')']).replace('(', " ");
        let failure = error.into();
        format!("{variant}: {:?}{}", failure.kind(), hints(&failure))
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn hints(failure: &Failure) -> String {
    let hints = failure.hints().iter();
    hints.map(|hint| format!("\n  hint: {hint}")).collect()
}

/// Returns the key that has signed the packages of these tests.
pub(crate) fn key() -> PublicKey {
    "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
        .parse()
        .unwrap()
}

/// Returns the record of package `tool@1`, which is active.
pub(crate) fn expiring(expires: Option<UnixTime>) -> PackageRecord {
    let digest = Sha256Digest::of(b"");
    let published = Published {
        manifest: digest,
        signature: digest,
        signer: key(),
        md5: None,
        fragments: 0,
        expires,
        published_at: UnixTime(1_795_000_000),
    };
    PackageRecord {
        active: true,
        ..package_record(PackageState::Published(published))
    }
}

/// Returns the record of package `tool@1`.
pub(crate) fn package_record(state: PackageState) -> PackageRecord {
    PackageRecord {
        id: "1795000000".parse().unwrap(),
        name: "tool".parse().unwrap(),
        version: "1".parse().unwrap(),
        priority: Priority::DEFAULT,
        action: Action::Execute {
            archive: None,
            command: "true".parse().unwrap(),
        },
        platform: Platform::Any,
        success_codes: BTreeSet::from([0]),
        reboot_codes: BTreeSet::new(),
        timeout_s: 60,
        rerun_after_interruption: false,
        audience: Audience::Any,
        windows: WindowsTerms::default(),
        content: Sha256Digest::of(b""),
        folder: "d/x".parse().unwrap(),
        created_at: UnixTime(1_795_000_000),
        state,
        active: false,
        locations: Vec::new(),
    }
}
