//! The opening of the next wave.

use packcast_protocol::UnixTime;
use packcast_protocol::state::document::Waves;
use packcast_protocol::state::{Wave, WaveNumber};

use super::change::{GateChange, GateCondition, GateNumber, GateUpdate};
use super::gate::{Closed, Gate, GateState};

/// Reason for which the next wave does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotNext {
    /// No device passes the gate.
    Closed(Closed),
    /// The latest open wave is the last.
    Last,
    /// The next wave has no time: a person promotes it.
    NoTime,
    /// The time has not come, by the calendar or by `wait`.
    NotBefore(UnixTime),
    /// The round has not gone well.
    NotGood(NotGood),
}

/// Reason for which a round has not gone well yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotGood {
    /// No device has begun in this round.
    NothingBegun,
    /// More devices are not healthy than may be left behind, or no device is healthy.
    Unhealthy { unhealthy: u32, may_be: u32 },
}

/// Decides whether the next wave opens, at a check-in of a device that waits for it. `table` is the
/// table from which the gate was read.
///
/// The change begins a round. It requires that nothing has changed since the gate was read: state
/// running, and the same round, wave, time of the latest opening or resume, and numbers of devices that
/// have begun, are healthy and have failed.
pub fn next_wave(
    gate: &Gate,
    table: &str,
    waves: &Waves,
    now: UnixTime,
) -> Result<GateChange, NotNext> {
    if let Some(closed) = gate.closed(table) {
        return Err(NotNext::Closed(closed));
    }
    let (next, wave) = after(gate.wave, waves).ok_or(NotNext::Last)?;
    let from = wave.from.ok_or(NotNext::NoTime)?;
    let not_before = from.max(waits_until(gate, waves));
    if now < not_before {
        return Err(NotNext::NotBefore(not_before));
    }
    is_good(gate).map_err(NotNext::NotGood)?;
    let conditions = vec![
        GateCondition::State(GateState::Running),
        GateCondition::Is(GateNumber::Round, gate.round.into()),
        GateCondition::Wave(gate.wave),
        // A pause and a resume in the meantime begin no round.
        GateCondition::Is(GateNumber::Since, gate.since.0),
        GateCondition::Is(GateNumber::Begun, gate.begun.into()),
        GateCondition::Is(GateNumber::Healthy, gate.healthy.into()),
        GateCondition::Is(GateNumber::Failed, gate.failed.into()),
    ];
    let mut change = GateChange::new_round(gate, conditions, now);
    change.updates.push(GateUpdate::Wave(next));
    Ok(change)
}

/// Returns the wave after another, with its number; `None` after the last.
pub(super) fn after(wave: WaveNumber, waves: &Waves) -> Option<(WaveNumber, &Wave)> {
    let next = wave.next()?;
    Some((next, waves.get(next)?))
}

/// Returns the end of the least time that the latest open wave is observed.
///
/// The first wave opens with the calendar, which may be later than the creation of the gate.
pub(super) fn waits_until(gate: &Gate, waves: &Waves) -> UnixTime {
    let opened = waves.get(gate.wave).and_then(|wave| wave.from);
    let wait_s = gate.limits.values().wait_s.into();
    opened.unwrap_or(gate.since).max(gate.since).plus(wait_s)
}

/// Checks that the round has gone well: at least one device is healthy, and all but a few are.
pub(super) fn is_good(gate: &Gate) -> Result<(), NotGood> {
    if gate.begun == 0 {
        return Err(NotGood::NothingBegun);
    }
    let (unhealthy, may_be) = (gate.unhealthy(), gate.limits.left_behind(gate.begun));
    if gate.healthy == 0 || unhealthy > may_be {
        return Err(NotGood::Unhealthy { unhealthy, may_be });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::gate::tests::{NOW, TABLE, failure, gate, waves};

    const LATE: UnixTime = UnixTime(NOW.0 + 200_000);

    fn good() -> Gate {
        Gate {
            begun: 20,
            healthy: 18,
            failed: 1,
            evidence: vec![failure(1)],
            ..gate()
        }
    }

    fn number(wave: u8) -> WaveNumber {
        wave.try_into().unwrap()
    }

    fn next(gate: &Gate, now: UnixTime) -> Result<GateChange, NotNext> {
        next_wave(gate, TABLE, &waves(&[Some(100), Some(90_000), None]), now)
    }

    #[test]
    fn the_next_wave_begins_a_round() {
        let mut gate = good();
        assert!(next(&gate, LATE).unwrap().apply(&mut gate));
        let expected = Gate {
            round: 2,
            wave: number(2),
            since: LATE,
            ..super::super::gate::tests::gate()
        };
        assert_eq!(gate, expected);
    }

    #[test]
    fn a_wave_waits_for_its_time_and_for_the_wave_before_it() {
        let not_before = |at| Err(NotNext::NotBefore(at));
        assert_eq!(next(&good(), NOW), not_before(NOW.plus(90_000)));
        let resumed = Gate {
            since: NOW.plus(50_000),
            ..good()
        };
        assert_eq!(
            next(&resumed, NOW.plus(90_000)),
            not_before(NOW.plus(136_400))
        );
        assert!(next(&good(), NOW.plus(90_000)).is_ok());
        // `wait` counts from the calendar's time of the first wave.
        let calendar = waves(&[Some(10_000), Some(20_000)]);
        let early = next_wave(&good(), TABLE, &calendar, NOW.plus(20_000));
        assert_eq!(early, not_before(NOW.plus(96_400)));
        let second = Gate {
            wave: number(2),
            ..good()
        };
        assert_eq!(next(&second, LATE), Err(NotNext::NoTime));
        let third = Gate {
            wave: number(3),
            ..good()
        };
        assert_eq!(next(&third, LATE), Err(NotNext::Last));
    }

    #[test]
    fn a_wave_waits_for_health() {
        let unfit = |why| Err(NotNext::NotGood(why));
        assert_eq!(next(&gate(), LATE), unfit(NotGood::NothingBegun));
        for (begun, healthy, may_be) in [(1, 0, 1), (20, 17, 2), (3, 1, 1), (100, 93, 6)] {
            let unhealthy = begun - healthy;
            let gate = Gate {
                begun,
                healthy,
                ..gate()
            };
            assert_eq!(
                next(&gate, LATE),
                unfit(NotGood::Unhealthy { unhealthy, may_be })
            );
        }
        for (begun, healthy) in [(1, 1), (2, 1), (20, 18), (100, 94)] {
            assert!(
                next(
                    &Gate {
                        begun,
                        healthy,
                        ..gate()
                    },
                    LATE
                )
                .is_ok()
            );
        }
    }

    #[test]
    fn a_closed_gate_opens_no_wave() {
        for state in [GateState::Paused, GateState::Halted, GateState::Ended] {
            let closed = next(&Gate { state, ..good() }, LATE);
            assert!(matches!(closed, Err(NotNext::Closed(_))), "{closed:?}");
        }
        let restored = Gate {
            table: "before".to_owned(),
            ..good()
        };
        assert_eq!(
            next(&restored, LATE),
            Err(NotNext::Closed(Closed::Restored))
        );
    }

    #[test]
    fn a_wave_opens_only_if_nothing_has_changed() {
        let change = next(&good(), LATE).unwrap();
        for mut now in [
            Gate {
                state: GateState::Paused,
                ..good()
            },
            Gate {
                since: LATE,
                ..good()
            },
            Gate { round: 2, ..good() },
            Gate {
                wave: number(2),
                ..good()
            },
            Gate {
                begun: 21,
                ..good()
            },
            Gate {
                healthy: 19,
                ..good()
            },
            Gate {
                failed: 2,
                ..good()
            },
        ] {
            assert!(!change.apply(&mut now), "{now:?}");
        }
    }
}
