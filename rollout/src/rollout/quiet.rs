//! Gates that have stopped by themselves: an administrator must learn of them.

use packcast_protocol::UnixTime;

use super::gate::{Gate, GateState};

/// Least time after the time to settle in which a program ends and its device checks in, in seconds.
const LEAST_REST_S: u64 = 3_600;

/// Time in which each request that meets a halted gate counts it, in seconds.
const HALT_NEWS_S: u64 = 3_600;

/// Returns true if each place of a running gate is taken, and nothing has changed for so long that the
/// devices with places should be healthy by now. `table` is the table from which the gate was read.
pub fn is_quiet(gate: &Gate, table: &str, now: UnixTime) -> bool {
    gate.closed(table).is_none() && gate.free == 0 && !has_news(gate, now)
}

/// Returns true if a gate has changed so lately that each device with a place may still become healthy.
///
/// A device becomes healthy when its program has ended, its time to settle has passed, and it has
/// checked in. So a gate has no news after twice the time to settle. If the time to settle is less than
/// an hour, the gate has no news one hour after it.
pub fn has_news(gate: &Gate, now: UnixTime) -> bool {
    let settle_s = gate.limits.settle_s(gate.wave);
    now.since(last_change(gate)) < settle_s + settle_s.max(LEAST_REST_S)
}

/// Returns true if a gate is halted, and has changed within an hour.
///
/// The request that stores the halt also counts it. This request may time out after the write, and
/// then no other request stores the halt.
pub fn is_halt_recent(gate: &Gate, now: UnixTime) -> bool {
    gate.state == GateState::Halted && now.since(last_change(gate)) < HALT_NEWS_S
}

fn last_change(gate: &Gate) -> UnixTime {
    gate.changed.map_or(gate.since, |at| at.max(gate.since))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::gate::tests::{NOW, TABLE, failure, gate};
    use crate::rollout::health::{PlacedFailure, failed, healthy};
    use crate::rollout::{BeginDecision, GateRead, Place, begin};

    const HOUR_S: u64 = 3_600;

    fn full() -> Gate {
        Gate {
            free: 0,
            begun: 3,
            changed: Some(NOW),
            ..gate()
        }
    }

    fn quiet_after(gate: &Gate, seconds: u64) -> bool {
        is_quiet(gate, TABLE, NOW.plus(seconds))
    }

    #[test]
    fn a_full_gate_is_quiet_after_twice_the_time_to_settle() {
        let first: u64 = full().limits.values().first_settle_s.into();
        assert!(first > HOUR_S);
        assert!(!quiet_after(&full(), 2 * first - 1) && quiet_after(&full(), 2 * first));
        let second = Gate {
            wave: 2.try_into().unwrap(),
            ..full()
        };
        let settle: u64 = full().limits.values().settle_s.into();
        assert!(settle < HOUR_S);
        let after = settle + HOUR_S;
        assert!(!quiet_after(&second, after - 1) && quiet_after(&second, after));
    }

    #[test]
    fn only_a_running_gate_without_free_places_is_quiet() {
        let late = 100 * HOUR_S;
        assert!(!quiet_after(&Gate { free: 1, ..full() }, late));
        for state in [GateState::Paused, GateState::Halted, GateState::Ended] {
            assert!(!quiet_after(&Gate { state, ..full() }, late), "{state:?}");
        }
        let table = "before".to_owned();
        assert!(!quiet_after(&Gate { table, ..full() }, late));
        // A gate from before this attribute.
        let changed = None;
        assert!(quiet_after(&Gate { changed, ..full() }, late));
        let since = NOW.plus(late);
        assert!(!quiet_after(&Gate { since, ..full() }, late));
    }

    #[test]
    fn a_halt_is_recent_for_an_hour_after_the_last_change() {
        let halted = Gate {
            state: GateState::Halted,
            ..full()
        };
        let recent_after = |gate: &Gate, seconds| is_halt_recent(gate, NOW.plus(seconds));
        assert!(recent_after(&halted, 0) && recent_after(&halted, HOUR_S - 1));
        assert!(!recent_after(&halted, HOUR_S));
        // The clock of another instance is behind.
        assert!(is_halt_recent(&halted, UnixTime(NOW.0 - 60)));
        for state in [GateState::Running, GateState::Paused, GateState::Ended] {
            assert!(!recent_after(&Gate { state, ..full() }, 0), "{state:?}");
        }
    }

    #[test]
    fn each_change_of_the_round_is_news() {
        let late = NOW.plus(100 * HOUR_S);
        let (place, table) = (
            Place {
                rollout: gate().rollout,
                round: 1,
            },
            TABLE,
        );
        let waves = crate::rollout::gate::tests::waves(&[Some(0)]);
        let report = PlacedFailure {
            failure: failure(1),
            place: Some(place),
        };
        let last = Gate { free: 1, ..full() };
        let read = GateRead {
            gate: &last,
            is_fresh: true,
        };
        let BeginDecision::Take { change: taken, .. } =
            begin(read, table, &waves, last.wave, None, late)
        else {
            panic!("one place is free");
        };
        for (mut gate, change) in [
            (last, taken),
            (full(), failed(&full(), &report, late).unwrap()),
            (full(), healthy(&full(), &place, late).unwrap()),
        ] {
            assert!(change.apply(&mut gate));
            assert_eq!(gate.changed, Some(late));
        }
        // A result of an earlier round releases no place.
        let mut later = Gate { round: 2, ..full() };
        let of_earlier = healthy(&later, &place, late).unwrap();
        assert!(of_earlier.apply(&mut later) && later.changed == Some(NOW));
    }
}
