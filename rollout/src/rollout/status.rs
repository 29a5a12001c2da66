//! The state of a rollout, for the display to an administrator.

use packcast_protocol::UnixTime;
use packcast_protocol::state::WaveNumber;
use packcast_protocol::state::document::Waves;

use super::gate::{Closed, Gate};
use super::quiet::has_news;
use super::wave::{NotGood, after, is_good, waits_until};

/// State of a rollout, with the reason for which it waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GateStatus {
    /// Devices begin, or the next wave opens at the next check-in of a device that waits for it.
    Running,
    /// The rollout waits for `unhealthy` devices that work or settle: a device has begun, failed or
    /// become healthy so lately that each of them may still be heard from.
    Working { unhealthy: u32 },
    /// The wave opens at this time, by the calendar or by `wait`. All devices of the wave before it
    /// that have begun are healthy or have failed.
    Opens { wave: WaveNumber, at: UnixTime },
    /// The wave has no time: a person promotes it.
    NoTime { wave: WaveNumber },
    /// No device of this open wave has begun, although it is time for the next wave.
    NothingBegun { wave: WaveNumber },
    /// It is time for the next wave, and too many devices are not healthy: `failed` of them have
    /// failed, and `silent` should have been heard from by now.
    Unhealthy { failed: u32, silent: u32 },
    /// Each place is taken: by `failed` devices that have failed, and by `silent` devices that should
    /// have been heard from by now.
    Full { failed: u32, silent: u32 },
    /// The last wave has gone well for the time of `wait`, but this number of devices has never begun.
    NotBegun { devices: u32 },
    /// This number of failures has halted the rollout.
    Halted { failed: u32 },
    /// A person has paused the rollout.
    Paused,
    /// The table was restored from a back-up: a person resumes.
    Restored,
    /// A person has ended the rollout.
    Ended,
    /// Each device is healthy. Or the last wave has gone well for the time of `wait`, and all devices
    /// have begun, except a few.
    Complete,
}

/// Returns the state of a rollout. `devices` is the number of all present members of its groups.
///
/// The gate also counts devices that have left the groups since they began. So a rollout that members
/// have left may be complete although as many others have not begun.
pub fn status(gate: &Gate, table: &str, waves: &Waves, devices: u32, now: UnixTime) -> GateStatus {
    match gate.closed(table) {
        Some(Closed::Ended) => return GateStatus::Ended,
        Some(Closed::Halted) => {
            let failed = gate.failed;
            return GateStatus::Halted { failed };
        }
        Some(Closed::Restored) => return GateStatus::Restored,
        Some(Closed::Paused) => return GateStatus::Paused,
        Some(Closed::Wave | Closed::Full) | None => {}
    }
    if devices > 0 && gate.all_healthy >= devices {
        return GateStatus::Complete;
    }
    // Failures without a place are counted, too, so there may be more failures than places.
    let failed = gate.failed.min(gate.unhealthy());
    let silent = gate.unhealthy() - failed;
    let unhealthy = gate.unhealthy();
    let works = silent > 0 && has_news(gate, now);
    if gate.free == 0 {
        return if works {
            GateStatus::Working { unhealthy }
        } else {
            GateStatus::Full { failed, silent }
        };
    }
    let wave = gate.wave;
    let from = waves.get(wave).and_then(|wave| wave.from);
    if from.is_none_or(|from| now < from) {
        return opens(wave, from);
    }
    let next = after(wave, waves);
    let time = match next {
        Some((_, wave)) => wave.from,
        None => Some(now),
    };
    let waits_until = time.map(|from| from.max(waits_until(gate, waves)));
    let is_time = waits_until.is_some_and(|until| until <= now);
    match (is_time, is_good(gate), next) {
        (true, Ok(()), None) => last_wave(gate, devices),
        (true, Err(NotGood::NothingBegun), None) if gate.all_begun < devices => {
            let devices = devices - gate.all_begun;
            GateStatus::NotBegun { devices }
        }
        (true, Err(NotGood::NothingBegun), _) => GateStatus::NothingBegun { wave },
        (true, Err(NotGood::Unhealthy { .. }), _) if works => GateStatus::Working { unhealthy },
        (true, Err(NotGood::Unhealthy { .. }), _) => GateStatus::Unhealthy { failed, silent },
        (false, _, Some((next, _))) if gate.begun > 0 && silent == 0 => opens(next, waits_until),
        (true, Ok(()), Some(_)) | (false, ..) => GateStatus::Running,
    }
}

/// Returns the state of a rollout whose last wave has gone well: of the devices, no more may be
/// missing than may be left behind.
///
/// Otherwise a rollout that most devices have not begun would be complete, and `finish` would give
/// them the package without the gate.
fn last_wave(gate: &Gate, devices: u32) -> GateStatus {
    let missing = devices.saturating_sub(gate.all_begun);
    if missing > gate.limits.left_behind(devices) {
        return GateStatus::NotBegun { devices: missing };
    }
    GateStatus::Complete
}

fn opens(wave: WaveNumber, at: Option<UnixTime>) -> GateStatus {
    at.map_or(GateStatus::NoTime { wave }, |at| GateStatus::Opens {
        wave,
        at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::gate::GateState;
    use crate::rollout::gate::tests::{NOW, TABLE, gate, waves};

    const DAY_S: u64 = 24 * 3600;

    fn number(wave: u8) -> WaveNumber {
        wave.try_into().unwrap()
    }

    /// Returns the state so many seconds after [`NOW`], of 100 devices.
    fn at(after: u64, gate: &Gate) -> GateStatus {
        let waves = waves(&[Some(100), Some(2 * DAY_S), None]);
        status(gate, TABLE, &waves, 100, NOW.plus(after))
    }

    fn counts(wave: u8, begun: u32, healthy: u32, failed: u32) -> Gate {
        let free = 10 - (begun - healthy).min(10);
        Gate {
            wave: number(wave),
            begun,
            healthy,
            failed,
            free,
            all_begun: begun,
            ..gate()
        }
    }

    #[test]
    fn a_wave_is_shown_from_its_opening_to_the_next_one() {
        let opens = |wave, after| GateStatus::Opens {
            wave: number(wave),
            at: NOW.plus(after),
        };
        for (after, gate, expected) in [
            (99, counts(1, 0, 0, 0), opens(1, 100)),
            (100, counts(1, 0, 0, 0), GateStatus::Running),
            (200, counts(1, 3, 1, 1), GateStatus::Running),
            (200, counts(1, 3, 2, 1), opens(2, 2 * DAY_S)),
            (2 * DAY_S, counts(1, 3, 2, 1), GateStatus::Running),
            (
                2 * DAY_S,
                counts(1, 0, 0, 0),
                GateStatus::NothingBegun { wave: number(1) },
            ),
            (
                2 * DAY_S,
                counts(1, 5, 1, 1),
                GateStatus::Unhealthy {
                    failed: 1,
                    silent: 3,
                },
            ),
            (
                9 * DAY_S,
                counts(2, 5, 5, 0),
                GateStatus::NoTime { wave: number(3) },
            ),
            (9 * DAY_S, counts(2, 5, 4, 0), GateStatus::Running),
        ] {
            assert_eq!(at(after, &gate), expected, "{after} {gate:?}");
        }
    }

    #[test]
    fn the_last_wave_completes_a_rollout() {
        let waves = waves(&[Some(0)]);
        let check = |after, gate: &Gate, expected| {
            assert_eq!(status(gate, TABLE, &waves, 100, NOW.plus(after)), expected);
        };
        check(DAY_S - 1, &counts(1, 94, 94, 0), GateStatus::Running);
        check(DAY_S, &counts(1, 94, 94, 0), GateStatus::Complete);
        check(
            DAY_S,
            &counts(1, 10, 5, 2),
            GateStatus::Unhealthy {
                failed: 2,
                silent: 3,
            },
        );
        let all = Gate {
            all_healthy: 100,
            ..counts(1, 90, 90, 0)
        };
        check(9, &all, GateStatus::Complete);
    }

    #[test]
    fn a_rollout_that_many_devices_have_not_begun_is_not_complete() {
        let waves = waves(&[Some(0)]);
        let check = |devices, gate: &Gate, expected| {
            let later = NOW.plus(9 * DAY_S);
            assert_eq!(status(gate, TABLE, &waves, devices, later), expected);
        };
        let not_begun = |devices| GateStatus::NotBegun { devices };
        // 5 % and one device more may be missing.
        check(100, &counts(1, 93, 93, 0), not_begun(7));
        check(100, &counts(1, 1, 1, 0), not_begun(99));
        // Two waves of a rollout to three devices, of which nothing of the last one has begun.
        let nothing = Gate {
            all_begun: 1,
            all_healthy: 1,
            ..counts(1, 0, 0, 0)
        };
        check(3, &nothing, not_begun(2));
        check(2, &nothing, not_begun(1));
        // A device of an earlier round has failed, so that nothing is left to begin.
        let all_begun = Gate {
            all_begun: 2,
            ..nothing
        };
        let wave = number(1);
        check(2, &all_begun, GateStatus::NothingBegun { wave });
        // More devices have begun than there are members now.
        check(90, &counts(1, 95, 94, 0), GateStatus::Complete);
    }

    #[test]
    fn devices_that_may_still_be_heard_from_are_not_silent() {
        // One of three devices is in the first wave. It has succeeded a second before, and settles.
        let settle: u64 = gate().limits.values().first_settle_s.into();
        let first = Gate {
            free: 0,
            begun: 1,
            all_begun: 1,
            changed: Some(NOW.plus(200)),
            ..gate()
        };
        let working = GateStatus::Working { unhealthy: 1 };
        let (failed, silent) = (0, 1);
        assert_eq!(at(201, &first), working);
        assert_eq!(at(199 + 2 * settle, &first), working);
        let full = GateStatus::Full { failed, silent };
        assert_eq!(at(200 + 2 * settle, &first), full);
        // If each place has failed, no device is on the way.
        let failed = Gate {
            failed: 1,
            ..first.clone()
        };
        let (failures, silent) = (1, 0);
        let full = GateStatus::Full {
            failed: failures,
            silent,
        };
        assert_eq!(at(201, &failed), full);
        // The last places are free, and it is time for the next wave.
        let late = Gate {
            free: 1,
            changed: Some(NOW.plus(2 * DAY_S)),
            ..first
        };
        let (failed, silent) = (0, 1);
        assert_eq!(at(1 + 2 * DAY_S, &late), working);
        assert_eq!(
            at(2 * DAY_S + 2 * settle, &late),
            GateStatus::Unhealthy { failed, silent }
        );
    }

    #[test]
    fn a_gate_that_nobody_passes_shows_the_reason() {
        let full = Gate {
            free: 0,
            begun: 4,
            healthy: 1,
            failed: 2,
            ..gate()
        };
        let silent = GateStatus::Full {
            failed: 2,
            silent: 1,
        };
        assert_eq!(at(DAY_S, &full), silent);
        let more = Gate {
            failed: 9,
            ..full.clone()
        };
        assert_eq!(
            at(200, &more),
            GateStatus::Full {
                failed: 3,
                silent: 0
            }
        );
        for (state, expected) in [
            (GateState::Paused, GateStatus::Paused),
            (GateState::Halted, GateStatus::Halted { failed: 2 }),
            (GateState::Ended, GateStatus::Ended),
        ] {
            assert_eq!(
                at(
                    200,
                    &Gate {
                        state,
                        ..full.clone()
                    }
                ),
                expected
            );
        }
        let restored = Gate {
            table: "before".to_owned(),
            ..full
        };
        assert_eq!(at(200, &restored), GateStatus::Restored);
    }
}
