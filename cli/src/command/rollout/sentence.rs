//! The status of a rollout as a sentence: the reason for which it waits, and the next command.

use packcast_publisher::rollout::RolloutDetails;
use packcast_publisher::status::ExampleDevice;
use packcast_rollout::rollout::GateStatus;

use crate::confirm::{counted, names};
use crate::local_clock::LocalClock;
use crate::output::printable;

/// Writes the status of a rollout.
pub(super) fn sentence(details: &RolloutDetails, clock: &LocalClock) -> String {
    let name = &details.summary.name;
    let healthy = details.summary.healthy;
    let of = counted(details.summary.devices);
    let Some(status) = &details.summary.gate_status else {
        return format!(
            "no device begins: the table has lost the gate; 'packcast rollout end {name}' ends the rollout"
        );
    };
    match status {
        GateStatus::Running => format!("running: {healthy} of {of} are healthy"),
        GateStatus::Opens { wave, at } => format!("wave {wave} opens {}", clock.text(*at)),
        GateStatus::NoTime { wave } => {
            format!("wave {wave} is closed: it opens after 'packcast rollout promote {name}'")
        }
        GateStatus::NothingBegun { wave } => format!(
            "waits: no device of wave {wave} has begun; 'packcast rollout promote {name}' opens the next wave now"
        ),
        GateStatus::Unhealthy { failed, silent } => format!(
            "waits{}; 'packcast rollout promote {name}' opens the next wave now",
            for_devices(*failed, *silent, &details.silent)
        ),
        GateStatus::Full { failed, silent } => format!(
            "full: each place is taken, so it waits{}; 'packcast rollout resume {name}' frees the places",
            for_devices(*failed, *silent, &details.silent)
        ),
        GateStatus::Halted { failed } => format!(
            "halted: {}; 'packcast rollout resume {name} --after-halt' continues",
            halt(*failed, details)
        ),
        GateStatus::Paused => {
            format!("paused: 'packcast rollout resume {name}' continues")
        }
        GateStatus::Restored => format!(
            "paused, because the table was restored from a back-up: 'packcast rollout resume {name}' continues"
        ),
        GateStatus::Ended => format!(
            "ended: no device begins; if the package is still assigned, 'packcast rollout end {name}' withdraws it"
        ),
        GateStatus::Complete => format!(
            "complete: {healthy} of {of} are healthy; 'packcast rollout finish {name}' makes it a plain assignment"
        ),
    }
}

/// Writes the devices that a rollout waits for.
fn for_devices(failed: u32, silent: u32, named: &[ExampleDevice]) -> String {
    let silent_ones = match silent {
        0 => String::new(),
        _ => format!(" for {} to be heard from", counted(silent.into())),
    };
    let named = match named {
        [] => String::new(),
        named => format!(" ({})", names(named)),
    };
    let failed = match failed {
        0 => String::new(),
        _ => format!(", after {failed} failed"),
    };
    format!("{silent_ones}{named}{failed}")
}

/// Writes the failures that have halted a rollout, such as `3 of 12 devices failed, exit 1603`.
fn halt(failed: u32, details: &RolloutDetails) -> String {
    let begun = details.round.as_ref().map_or(0, |round| round.begun);
    // Faults of the package count without a place, so that more devices may have failed.
    let devices = counted(begun.max(failed).into());
    let code = details.first_failures.first().map(|failure| {
        let code = &failure.code;
        code.exit_code().map_or_else(
            || format!(", {}", printable(&code.to_string())),
            |code| format!(", exit {code}"),
        )
    });
    format!("{failed} of {devices} failed{}", code.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use packcast_protocol::UnixTime;

    use super::*;
    use crate::command::rollout::show::tests::{details, failure};
    use crate::fixtures::{AGENT, NOON};
    use crate::local_clock::tests::east;

    #[test]
    fn each_status_is_a_sentence() {
        let wave = 2.try_into().unwrap();
        let at = UnixTime(NOON);
        let statuses = [
            Some(GateStatus::Running),
            Some(GateStatus::Opens { wave, at }),
            Some(GateStatus::NoTime { wave }),
            Some(GateStatus::NothingBegun { wave }),
            Some(GateStatus::Unhealthy {
                failed: 0,
                silent: 3,
            }),
            Some(GateStatus::Unhealthy {
                failed: 2,
                silent: 0,
            }),
            Some(GateStatus::Full {
                failed: 1,
                silent: 2,
            }),
            Some(GateStatus::Halted { failed: 3 }),
            Some(GateStatus::Paused),
            Some(GateStatus::Restored),
            Some(GateStatus::Ended),
            Some(GateStatus::Complete),
            None,
        ];
        let sentences = statuses.map(|status| {
            let mut details = details();
            details.summary.gate_status = status;
            sentence(&details, &east())
        });
        assert_snapshot!(sentences.join("\n"), @"
        running: 14 of 205 devices are healthy
        wave 2 opens Wed 2026-11-18 13:06 +02 (2026-11-18 11:06 UTC)
        wave 2 is closed: it opens after 'packcast rollout promote vlc@3.0.21'
        waits: no device of wave 2 has begun; 'packcast rollout promote vlc@3.0.21' opens the next wave now
        waits for 3 devices to be heard from; 'packcast rollout promote vlc@3.0.21' opens the next wave now
        waits, after 2 failed; 'packcast rollout promote vlc@3.0.21' opens the next wave now
        full: each place is taken, so it waits for 2 devices to be heard from, after 1 failed; 'packcast rollout resume vlc@3.0.21' frees the places
        halted: 3 of 12 devices failed; 'packcast rollout resume vlc@3.0.21 --after-halt' continues
        paused: 'packcast rollout resume vlc@3.0.21' continues
        paused, because the table was restored from a back-up: 'packcast rollout resume vlc@3.0.21' continues
        ended: no device begins; if the package is still assigned, 'packcast rollout end vlc@3.0.21' withdraws it
        complete: 14 of 205 devices are healthy; 'packcast rollout finish vlc@3.0.21' makes it a plain assignment
        no device begins: the table has lost the gate; 'packcast rollout end vlc@3.0.21' ends the rollout
        ");
    }

    #[test]
    fn devices_and_failures_are_named() {
        let silent = [ExampleDevice {
            device: AGENT.parse().unwrap(),
            host_name: "web02".to_owned(),
        }];
        assert_snapshot!(format!("waits{}", for_devices(1, 1, &silent)), @"waits for 1 device to be heard from (web02), after 1 failed");
        let mut details = details();
        details.first_failures = vec![failure("EXIT_CODE_1603")];
        assert_snapshot!(halt(3, &details), @"
        3 of 12 devices failed, exit 1603
        ");
        details.first_failures = vec![failure("ERR_BAD_DIGEST")];
        assert_snapshot!(halt(90, &details), @"
        90 of 90 devices failed, ERR_BAD_DIGEST
        ");
    }
}
