//! Commands of a person: pause, resume, promote, end.

use packcast_protocol::UnixTime;
use packcast_protocol::state::WaveNumber;
use packcast_protocol::state::document::Waves;

use super::change::{GateChange, GateCondition, GateNumber, GateUpdate};
use super::gate::{Closed, Gate, GateState};
use super::wave::after;

/// Errors from commands on a rollout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    #[error("cannot change the rollout: it has ended")]
    Ended,
    #[error(
        "cannot resume the rollout: {failed} failures have halted it; look at them, then add --after-halt"
    )]
    Halted { failed: u32 },
    #[error("cannot promote the rollout: it does not run; resume it first")]
    NotRunning,
    #[error("cannot promote the rollout: wave {wave} is the last")]
    LastWave { wave: WaveNumber },
}

/// Decides how the gate changes when a person pauses the rollout. `None` if it is paused or halted
/// already.
///
/// The change requires the state running.
pub fn pause(gate: &Gate) -> Result<Option<GateChange>, ControlError> {
    match gate.state {
        GateState::Ended => Err(ControlError::Ended),
        GateState::Paused | GateState::Halted => Ok(None),
        GateState::Running => Ok(Some(GateChange {
            conditions: vec![GateCondition::State(GateState::Running)],
            updates: vec![GateUpdate::State(GateState::Paused)],
        })),
    }
}

/// Decides how the gate changes when a person resumes the rollout. `table` is the table from which
/// the gate was read. `None` if the rollout runs and has free places.
///
/// After a halt, with a full gate, and in a restored table, a round begins: all places are free
/// again. A restored table lacks the devices that have begun since the back-up, so its counters are
/// too low. A paused gate continues its round.
///
/// The change requires the same state, table and round. If the gate is full, it also requires that
/// no place is free.
pub fn resume(
    gate: &Gate,
    table: &str,
    after_halt: bool,
    now: UnixTime,
) -> Result<Option<GateChange>, ControlError> {
    let mut conditions = vec![
        GateCondition::State(gate.state),
        GateCondition::Table(gate.table.clone()),
        GateCondition::Is(GateNumber::Round, gate.round.into()),
    ];
    let is_restored = gate.closed(table) == Some(Closed::Restored);
    let begins_round = match gate.state {
        GateState::Ended => return Err(ControlError::Ended),
        GateState::Halted if !after_halt => {
            let failed = gate.failed;
            return Err(ControlError::Halted { failed });
        }
        GateState::Halted => true,
        GateState::Paused => is_restored,
        GateState::Running if is_restored => true,
        GateState::Running if gate.free == 0 => {
            conditions.push(GateCondition::Below(GateNumber::Free, 1));
            true
        }
        GateState::Running => return Ok(None),
    };
    let mut change = if begins_round {
        GateChange::new_round(gate, conditions, now)
    } else {
        GateChange {
            conditions,
            updates: vec![GateUpdate::Set(GateNumber::Since, now.0)],
        }
    };
    change.updates.push(GateUpdate::State(GateState::Running));
    change.updates.push(GateUpdate::Table(table.to_owned()));
    Ok(Some(change))
}

/// Decides how the gate changes when a person opens the next wave now, even if the wave before it
/// has not gone well. Before the change is written, the signed document must have a time for the
/// next wave that has come.
///
/// The change begins a round. It requires the same round and the state running.
pub fn promote(
    gate: &Gate,
    table: &str,
    waves: &Waves,
    now: UnixTime,
) -> Result<GateChange, ControlError> {
    match gate.closed(table) {
        Some(Closed::Ended) => return Err(ControlError::Ended),
        Some(_) => return Err(ControlError::NotRunning),
        None => {}
    }
    let wave = gate.wave;
    let (next, _) = after(wave, waves).ok_or(ControlError::LastWave { wave })?;
    let conditions = vec![
        GateCondition::State(GateState::Running),
        GateCondition::Is(GateNumber::Round, gate.round.into()),
    ];
    let mut change = GateChange::new_round(gate, conditions, now);
    change.updates.push(GateUpdate::Wave(next));
    Ok(change)
}

/// Decides how the gate changes when a person ends or finishes the rollout. `None` if it has ended
/// already.
///
/// No condition is needed, because the state is final. Finishing removes the rollout from the
/// signed entries first, so that no device depends on the ended gate.
pub fn end(gate: &Gate) -> Option<GateChange> {
    (gate.state != GateState::Ended).then(|| GateChange {
        conditions: Vec::new(),
        updates: vec![GateUpdate::State(GateState::Ended)],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::gate::tests::{NOW, TABLE, failure, gate, waves};

    const LATER: UnixTime = UnixTime(NOW.0 + 9_000);

    fn in_state(state: GateState) -> Gate {
        let evidence = vec![failure(1)];
        Gate {
            state,
            free: 1,
            begun: 5,
            healthy: 3,
            failed: 1,
            evidence,
            ..gate()
        }
    }

    fn resumed(gate: &Gate, after_halt: bool) -> Option<Gate> {
        let change = resume(gate, TABLE, after_halt, LATER).unwrap()?;
        let mut after = gate.clone();
        assert!(change.apply(&mut after));
        Some(after)
    }

    fn new_round() -> Gate {
        Gate {
            round: 2,
            since: LATER,
            ..gate()
        }
    }

    #[test]
    fn a_pause_stops_a_running_gate_only() {
        let mut running = in_state(GateState::Running);
        assert!(pause(&running).unwrap().unwrap().apply(&mut running));
        assert_eq!(running, in_state(GateState::Paused));
        assert_eq!(pause(&running), Ok(None));
        assert_eq!(pause(&in_state(GateState::Halted)), Ok(None));
        assert_eq!(pause(&in_state(GateState::Ended)), Err(ControlError::Ended));
    }

    #[test]
    fn a_paused_gate_continues_its_round() {
        let paused = in_state(GateState::Paused);
        let after = resumed(&paused, false).unwrap();
        assert_eq!(
            after,
            Gate {
                since: LATER,
                ..in_state(GateState::Running)
            }
        );
        assert_eq!(resumed(&in_state(GateState::Running), false), None);
    }

    #[test]
    fn a_resume_after_a_halt_or_of_a_full_gate_begins_a_round() {
        let halted = in_state(GateState::Halted);
        let refused = resume(&halted, TABLE, false, LATER);
        assert_eq!(refused, Err(ControlError::Halted { failed: 1 }));
        assert_eq!(resumed(&halted, true), Some(new_round()));
        let full = Gate {
            free: 0,
            ..in_state(GateState::Running)
        };
        assert_eq!(resumed(&full, false), Some(new_round()));
        // A repeated change, and a place that was released in the meantime.
        let change = resume(&full, TABLE, false, LATER).unwrap().unwrap();
        assert!(!change.apply(&mut new_round()));
        assert!(!change.apply(&mut in_state(GateState::Running)));
    }

    #[test]
    fn a_gate_of_a_restored_table_runs_after_a_resume_in_a_new_round() {
        for state in [GateState::Running, GateState::Paused] {
            let restored = Gate {
                table: "before".to_owned(),
                ..in_state(state)
            };
            assert_eq!(resumed(&restored, false), Some(new_round()));
        }
        let restored = Gate {
            table: "before".to_owned(),
            ..in_state(GateState::Halted)
        };
        assert!(resume(&restored, TABLE, false, LATER).is_err());
        assert_eq!(resumed(&restored, true), Some(new_round()));
    }

    #[test]
    fn a_person_opens_the_next_wave_in_a_new_round() {
        let waves = waves(&[Some(0), None]);
        let promoted = |gate: &Gate| promote(gate, TABLE, &waves, LATER);
        let second = 2.try_into().unwrap();
        let mut gate = in_state(GateState::Running);
        assert!(promoted(&gate).unwrap().apply(&mut gate));
        assert_eq!(
            gate,
            Gate {
                wave: second,
                ..new_round()
            }
        );
        assert_eq!(
            promoted(&gate),
            Err(ControlError::LastWave { wave: second })
        );
        for state in [GateState::Paused, GateState::Halted] {
            assert_eq!(promoted(&in_state(state)), Err(ControlError::NotRunning));
        }
        assert_eq!(
            promoted(&in_state(GateState::Ended)),
            Err(ControlError::Ended)
        );
    }

    #[test]
    fn an_ended_gate_stays_ended() {
        for state in [GateState::Running, GateState::Paused, GateState::Halted] {
            let mut gate = in_state(state);
            assert!(end(&gate).unwrap().apply(&mut gate));
            assert_eq!(gate, in_state(GateState::Ended));
            assert_eq!(end(&gate), None);
            assert_eq!(resume(&gate, TABLE, true, LATER), Err(ControlError::Ended));
        }
    }

    #[test]
    fn error_messages() {
        let errors = [
            ControlError::Ended,
            ControlError::Halted { failed: 3 },
            ControlError::NotRunning,
            ControlError::LastWave {
                wave: 4.try_into().unwrap(),
            },
        ];
        insta::assert_snapshot!(errors.map(|it| it.to_string()).join("\n"), @r"
        cannot change the rollout: it has ended
        cannot resume the rollout: 3 failures have halted it; look at them, then add --after-halt
        cannot promote the rollout: it does not run; resume it first
        cannot promote the rollout: wave 4 is the last
        ");
    }
}
