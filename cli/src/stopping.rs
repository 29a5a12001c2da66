//! Devices that were told of a package before it was stopped, and the wait for them.

use std::time::Duration;

use packcast_protocol::api::GO_VALID_S;
use packcast_publisher::{Failure, Kind};

use crate::output;

/// Returns the note on devices that were told of a package before it was stopped; `None` if there
/// are none. `may_begin_s` is the time for which they may still begin, in seconds.
pub(crate) fn told(devices: u64, may_begin_s: u64) -> Option<String> {
    let were_told = match devices {
        0 => return None,
        1 => "1 device was told of the package before, and has not reported".to_owned(),
        _ => format!("{devices} devices were told of the package before, and have not reported"),
    };
    let after = match may_begin_s {
        0 => String::new(),
        seconds => format!("after {seconds} s "),
    };
    Some(format!(
        "{were_told}: {after}no Packcast agent begins it any more, except with a permission of the last {GO_VALID_S} s; an OCS agent deploys it in any case"
    ))
}

/// Waits until a stop is complete, and tells a person so. Ctrl-C ends only the wait.
///
/// # Errors
/// The wait was interrupted.
pub(crate) async fn wait(seconds: u64) -> Result<(), Failure> {
    wait_until(seconds, "every function has read the change").await
}

/// Waits until the permissions of a rollout have expired, in the same way.
///
/// # Errors
/// The wait was interrupted.
pub(crate) async fn wait_for_permissions(seconds: u64) -> Result<(), Failure> {
    wait_until(seconds, "the permissions of devices to begin have expired").await
}

async fn wait_until(seconds: u64, event: &str) -> Result<(), Failure> {
    if seconds == 0 {
        return Ok(());
    }
    let wait = async {
        output::note(&format!("waiting {seconds} s, until {event}"));
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    };
    tokio::select! {
        // Ctrl-C has its handler before a person reads the note.
        biased;
        _ = tokio::signal::ctrl_c() => Err(interrupted(seconds)),
        () = wait => Ok(()),
    }
}

fn interrupted(seconds: u64) -> Failure {
    Failure::new(
        Kind::TryLater,
        format!("interrupted: the change is made, and complete {seconds} s after it"),
    )
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn devices_that_were_told_are_counted() {
        let notes = [told(0, 85), told(1, 0), told(2, 85)];
        assert_snapshot!(notes.map(Option::unwrap_or_default).join("\n"), @"
        1 device was told of the package before, and has not reported: no Packcast agent begins it any more, except with a permission of the last 60 s; an OCS agent deploys it in any case
        2 devices were told of the package before, and have not reported: after 85 s no Packcast agent begins it any more, except with a permission of the last 60 s; an OCS agent deploys it in any case
        ");
        assert_snapshot!(interrupted(85), @"interrupted: the change is made, and complete 85 s after it");
    }
}
