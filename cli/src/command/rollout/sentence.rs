//! The status of a rollout as a sentence: the reason for which it waits, and the next command.

use packcast_publisher::local_clock::LocalClock;
use packcast_publisher::rollout::{Awaited, RolloutDetails, RolloutSummary, SilentDevice};
use packcast_rollout::rollout::GateStatus;

use crate::confirm::{counted, names};
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
        GateStatus::Working { unhealthy } => {
            let work = if *unhealthy == 1 {
                "works or settles"
            } else {
                "work or settle"
            };
            format!("running: {healthy} of {of} are healthy, and {unhealthy} {work}")
        }
        GateStatus::Opens { wave, at } => format!("wave {wave} opens {}", clock.text(*at)),
        GateStatus::NoTime { wave } => {
            format!("wave {wave} is closed: it opens after 'packcast rollout promote {name}'")
        }
        GateStatus::NothingBegun { wave } => format!(
            "waits: no device of wave {wave} has begun; {}",
            next_step(details)
        ),
        GateStatus::Unhealthy { failed, silent } => format!(
            "waits{}; {}",
            for_devices(*failed, *silent, &details.silent),
            next_step(details)
        ),
        GateStatus::NotBegun { devices } => format!(
            "waits for {} that {} not begun; {}",
            counted((*devices).into()),
            if *devices == 1 { "has" } else { "have" },
            next_step(details)
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

/// Writes the command that goes on without the devices that a rollout waits for. No wave follows the
/// last one.
fn next_step(details: &RolloutDetails) -> String {
    let RolloutSummary {
        name, wave, waves, ..
    } = &details.summary;
    if wave.is_some_and(|wave| usize::from(wave.get()) >= *waves) {
        return format!(
            "'packcast rollout finish {name}' gives the package to all other devices without the gate"
        );
    }
    format!("'packcast rollout promote {name}' opens the next wave now")
}

/// Writes the devices that a rollout waits for.
fn for_devices(failed: u32, silent: u32, named: &[SilentDevice]) -> String {
    let silent_ones = match silent {
        0 => String::new(),
        _ => format!(" for {} to be heard from", counted(silent.into())),
    };
    let named = match named {
        [] => String::new(),
        named => {
            let named: Vec<String> = named.iter().map(silent_device).collect();
            format!(" ({})", named.join(", "))
        }
    };
    let failed = match failed {
        0 => String::new(),
        _ => format!(", after {failed} failed"),
    };
    format!("{silent_ones}{named}{failed}")
}

/// Names a device that a rollout waits for, with the reason if the device has reported.
fn silent_device(silent: &SilentDevice) -> String {
    let name = names(std::slice::from_ref(&silent.device));
    match silent.waits_for {
        Awaited::Report => name,
        Awaited::CheckIn => format!("{name} settles"),
        Awaited::Restart => format!("{name} to be restarted"),
    }
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
    use packcast_publisher::status::ExampleDevice;

    use super::*;
    use crate::command::rollout::show::tests::{details, failure};
    use crate::fixtures::east;
    use crate::fixtures::{AGENT, NOON};

    #[test]
    fn each_status_is_a_sentence() {
        let wave = 2.try_into().unwrap();
        let at = UnixTime(NOON);
        let statuses = [
            Some(GateStatus::Running),
            Some(GateStatus::Working { unhealthy: 1 }),
            Some(GateStatus::Working { unhealthy: 2 }),
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
        running: 14 of 205 devices are healthy, and 1 works or settles
        running: 14 of 205 devices are healthy, and 2 work or settle
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
    fn after_the_last_wave_the_next_step_is_no_promotion() {
        let mut details = details();
        details.summary.wave = Some(4.try_into().unwrap());
        let sentences = [
            GateStatus::NotBegun { devices: 1 },
            GateStatus::NotBegun { devices: 2 },
            GateStatus::Unhealthy {
                failed: 0,
                silent: 3,
            },
        ]
        .map(|status| {
            details.summary.gate_status = Some(status);
            sentence(&details, &east())
        });
        assert_snapshot!(sentences.join("\n"), @"
        waits for 1 device that has not begun; 'packcast rollout finish vlc@3.0.21' gives the package to all other devices without the gate
        waits for 2 devices that have not begun; 'packcast rollout finish vlc@3.0.21' gives the package to all other devices without the gate
        waits for 3 devices to be heard from; 'packcast rollout finish vlc@3.0.21' gives the package to all other devices without the gate
        ");
    }

    #[test]
    fn devices_and_failures_are_named() {
        let device = ExampleDevice {
            device: AGENT.parse().unwrap(),
            host_name: "web02".to_owned(),
        };
        let silent = [Awaited::Report, Awaited::CheckIn, Awaited::Restart].map(|waits_for| {
            let device = device.clone();
            SilentDevice { device, waits_for }
        });
        assert_snapshot!(format!("waits{}", for_devices(1, 3, &silent)), @"waits for 3 devices to be heard from (web02, web02 settles, web02 to be restarted), after 1 failed");
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
