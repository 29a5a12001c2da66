//! The time after which a device that has to wait asks again.

use super::begin::Place;
use super::gate::{Closed, Gate};

/// Least estimate of the time until a place becomes free, in seconds.
const LEAST_TURN_S: u64 = 600;

/// Longest time until a device asks again, in seconds.
const LONGEST_S: u64 = 4 * 3_600;

/// Times after which a device asks about a rollout that a person has paused, or that a restored table
/// has closed, in seconds. The person often resumes the rollout on the same day.
const PAUSED_S: (u64, u64) = (300, 3_600);

/// Times after which a device asks about a halted rollout, in seconds: a person first looks for the
/// cause of the failures.
const HALTED_S: (u64, u64) = (3_600, 3 * 3_600);

/// Returns the time in which a Packcast agent that has to wait does not ask again, in seconds.
/// `None` if the device asks again after its next check-in, for example because it has a place
/// (`held`). `random` spreads the devices over the time.
///
/// A device that has settled frees its place, and adds another place while their number grows. So the
/// number of places doubles several times before most devices of a wave have a place. The longest
/// time contains the remaining doublings. Devices seldom ask about a rollout that only a person can
/// resume.
pub fn again_s(reason: Closed, gate: &Gate, held: Option<&Place>, random: u32) -> Option<u32> {
    if held.is_some_and(|held| held.is_of(gate)) {
        return None;
    }
    let (shortest_s, longest_s) = match reason {
        Closed::Full => {
            let turn_s = gate.limits.settle_s(gate.wave).max(LEAST_TURN_S);
            let places = gate.limits.places(gate.healthy);
            let doublings = (gate.limits.values().at_once / places).ilog2();
            let longest_s = turn_s * u64::from(doublings + 2);
            (turn_s / 2, longest_s.min(LONGEST_S.max(turn_s)))
        }
        Closed::Paused | Closed::Restored => PAUSED_S,
        Closed::Halted => HALTED_S,
        Closed::Wave | Closed::Ended => return None,
    };
    let spread = longest_s - shortest_s;
    let after_s = shortest_s + spread * u64::from(random) / u64::from(u32::MAX);
    u32::try_from(after_s).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::gate::tests::gate;

    /// Returns the shortest and the longest time.
    fn range(reason: Closed, gate: &Gate) -> Option<(u32, u32)> {
        let again = |random| again_s(reason, gate, None, random);
        let range = again(0).zip(again(u32::MAX));
        let middle = again(u32::MAX / 2);
        assert!(middle.is_none_or(|middle| range.is_some_and(|it| it.0 < middle && middle < it.1)));
        range
    }

    #[test]
    fn devices_ask_a_full_gate_later_while_few_places_exist() {
        // Ten places at once, and one doubling is left.
        assert_eq!(range(Closed::Full, &gate()), Some((3_600, 14_400)));
        let second = Gate {
            wave: 2.try_into().unwrap(),
            ..gate()
        };
        assert_eq!(range(Closed::Full, &second), Some((900, 5_400)));
        let grown = Gate {
            healthy: 7,
            ..second
        };
        assert_eq!(range(Closed::Full, &grown), Some((900, 3_600)));
    }

    #[test]
    fn a_paused_rollout_is_asked_more_often_than_a_halted_one() {
        for reason in [Closed::Paused, Closed::Restored] {
            assert_eq!(range(reason, &gate()), Some((300, 3_600)));
        }
        assert_eq!(range(Closed::Halted, &gate()), Some((3_600, 10_800)));
        // The next check-in brings a calendar, or withdraws the task.
        for reason in [Closed::Wave, Closed::Ended] {
            assert_eq!(range(reason, &gate()), None);
        }
    }

    #[test]
    fn a_device_with_a_place_asks_after_its_next_check_in() {
        let own = Place {
            rollout: gate().rollout,
            round: 1,
        };
        let earlier = Place { round: 0, ..own };
        assert_eq!(again_s(Closed::Paused, &gate(), Some(&own), 0), None);
        assert!(again_s(Closed::Paused, &gate(), Some(&earlier), 0).is_some());
    }
}
