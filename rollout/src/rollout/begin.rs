//! Places: a device takes one before it begins.

use packcast_protocol::UnixTime;
use packcast_protocol::state::document::Waves;
use packcast_protocol::state::{RolloutId, WaveNumber};
use serde::{Deserialize, Serialize};

use super::change::{GateChange, GateCondition, GateNumber, GateUpdate};
use super::gate::{Closed, Gate, GateState};

/// Place of a device in a round of a rollout, recorded in the task of the attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub rollout: RolloutId,
    pub round: u32,
}

impl Place {
    /// Returns true if the place is one of the current round of a gate.
    pub fn is_of(&self, gate: &Gate) -> bool {
        self.rollout == gate.rollout && self.round == gate.round
    }
}

/// A gate that the function has read.
#[derive(Clone, Copy, Debug)]
pub struct GateRead<'a> {
    pub gate: &'a Gate,
    /// The gate was read for this request, with a consistent read after the request had arrived. If
    /// false, the gate is cached, and may be a minute old.
    pub is_fresh: bool,
}

/// Answer to a device that is about to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BeginDecision {
    /// The device takes this place. It may begin once the task with the place and the change of the
    /// gate are written, in one transaction which requires that the task is announced in this
    /// attempt.
    Take { place: Place, change: GateChange },
    /// The device has its place already, and may begin. Nothing is written.
    Begin,
    /// The device has a place by a cached gate. Read the gate, and decide again.
    ReadAgain,
    /// The device does not begin.
    Wait(Closed),
}

/// Returns the reason for which no device of a wave can take a place now. `table` is the table from
/// which the gate was read.
///
/// A task is announced for the first time only if there is no such reason. For a Packcast agent this
/// is a hint: a cached gate is enough, because the agent asks again before it begins. An OCS agent
/// does not ask, so its place is taken with the announcement.
pub fn closed(
    gate: &Gate,
    table: &str,
    waves: &Waves,
    wave: WaveNumber,
    now: UnixTime,
) -> Option<Closed> {
    let in_calendar = waves.get(wave).is_some_and(|wave| wave.is_open(now));
    let is_open = wave <= gate.wave && in_calendar;
    gate.closed(table)
        .or_else(|| (!is_open).then_some(Closed::Wave))
        .or_else(|| (gate.free == 0).then_some(Closed::Full))
}

/// Decides whether a device of a wave may begin. `held` is the place in the task of the attempt.
///
/// The change requires: state running, this round, at least one free place. A wave that is open stays
/// open, so no condition names it. A device that asks again, because the first answer was lost or its
/// program was interrupted, keeps its place of this round.
pub fn begin(
    read: GateRead<'_>,
    table: &str,
    waves: &Waves,
    wave: WaveNumber,
    held: Option<&Place>,
    now: UnixTime,
) -> BeginDecision {
    let gate = read.gate;
    let place = Place {
        rollout: gate.rollout,
        round: gate.round,
    };
    let held = held.filter(|held| held.rollout == gate.rollout);
    match closed(gate, table, waves, wave, now) {
        // Its own place may be the last one.
        None | Some(Closed::Full) if held == Some(&place) => {
            if read.is_fresh {
                BeginDecision::Begin
            } else {
                // A cached gate does not know of a pause or a halt, and nothing would be written
                // that depends on the gate.
                BeginDecision::ReadAgain
            }
        }
        Some(reason) => BeginDecision::Wait(reason),
        None => BeginDecision::Take {
            place,
            change: take(gate, held.is_none(), now),
        },
    }
}

/// Returns the change of the gate when a device takes a place. A device with a place of an earlier
/// round is counted once in all rounds.
fn take(gate: &Gate, is_first: bool, now: UnixTime) -> GateChange {
    let mut updates = vec![
        GateUpdate::Subtract(GateNumber::Free, 1),
        GateUpdate::Add(GateNumber::Begun, 1),
        GateUpdate::Set(GateNumber::Changed, now.0),
    ];
    updates.extend(is_first.then_some(GateUpdate::Add(GateNumber::AllBegun, 1)));
    GateChange {
        conditions: vec![
            GateCondition::State(GateState::Running),
            GateCondition::Is(GateNumber::Round, gate.round.into()),
            GateCondition::AtLeast(GateNumber::Free, 1),
        ],
        updates,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::gate::tests::{NOW, TABLE, gate, waves};

    fn ask(gate: &Gate, is_fresh: bool, wave: u8, held: Option<Place>) -> BeginDecision {
        let waves = waves(&[Some(0), Some(100)]);
        let wave = wave.try_into().unwrap();
        let read = GateRead { gate, is_fresh };
        begin(read, TABLE, &waves, wave, held.as_ref(), NOW)
    }

    fn place(round: u32) -> Place {
        let rollout = gate().rollout;
        Place { rollout, round }
    }

    #[test]
    fn each_place_is_taken_once() {
        let (cached, mut gate) = (gate(), gate());
        for free in [2, 1, 0] {
            let BeginDecision::Take {
                place: taken,
                change,
            } = ask(&cached, false, 1, None)
            else {
                panic!("a free place is taken");
            };
            assert_eq!(taken, place(1));
            assert!(change.apply(&mut gate));
            assert_eq!(
                (gate.free, gate.begun, gate.all_begun),
                (free, 3 - free, 3 - free)
            );
        }
        let BeginDecision::Take { change, .. } = ask(&cached, false, 1, None) else {
            panic!("the cached gate has free places");
        };
        assert!(!change.apply(&mut gate));
        assert_eq!(ask(&gate, true, 1, None), BeginDecision::Wait(Closed::Full));
    }

    #[test]
    fn a_device_with_a_place_begins_again_by_a_fresh_gate() {
        let full = Gate {
            free: 0,
            begun: 3,
            ..gate()
        };
        assert_eq!(ask(&full, true, 1, Some(place(1))), BeginDecision::Begin);
        assert_eq!(
            ask(&full, false, 1, Some(place(1))),
            BeginDecision::ReadAgain
        );
        let paused = Gate {
            state: GateState::Paused,
            ..full
        };
        let wait = BeginDecision::Wait(Closed::Paused);
        assert_eq!(ask(&paused, true, 1, Some(place(1))), wait);
    }

    #[test]
    fn a_place_of_an_earlier_round_or_another_rollout_does_not_count() {
        let later = Gate { round: 2, ..gate() };
        let other = Place {
            rollout: RolloutId::from_bytes([8; 16]),
            round: 2,
        };
        for (held, all_begun) in [(place(1), 0), (other, 1)] {
            let BeginDecision::Take {
                place: taken,
                change,
            } = ask(&later, true, 1, Some(held))
            else {
                panic!("the device takes a place in this round");
            };
            assert_eq!(taken, place(2));
            let mut after = later.clone();
            assert!(change.apply(&mut after));
            assert_eq!((after.begun, after.all_begun), (1, all_begun));
        }
    }

    #[test]
    fn a_closed_gate_or_wave_lets_nobody_begin() {
        let second = Gate {
            wave: 2.try_into().unwrap(),
            ..gate()
        };
        let state = |state| Gate { state, ..gate() };
        let restored = Gate {
            table: "before".to_owned(),
            ..gate()
        };
        for (gate, wave, reason) in [
            (gate(), 2, Closed::Wave),
            // The gate is open, and the calendar is not.
            (second, 2, Closed::Wave),
            (state(GateState::Paused), 1, Closed::Paused),
            (state(GateState::Halted), 1, Closed::Halted),
            (state(GateState::Ended), 1, Closed::Ended),
            (restored.clone(), 1, Closed::Restored),
            (
                Gate {
                    state: GateState::Paused,
                    ..restored
                },
                1,
                Closed::Restored,
            ),
        ] {
            assert_eq!(ask(&gate, true, wave, None), BeginDecision::Wait(reason));
        }
    }

    #[test]
    fn a_cached_gate_gives_no_place_after_a_pause_or_in_a_later_round() {
        let BeginDecision::Take { change, .. } = ask(&gate(), false, 1, None) else {
            panic!("the cached gate has free places");
        };
        for mut now in [
            Gate {
                state: GateState::Paused,
                ..gate()
            },
            Gate {
                state: GateState::Halted,
                ..gate()
            },
            Gate { round: 2, ..gate() },
        ] {
            assert!(!change.apply(&mut now), "{now:?}");
        }
    }
}
