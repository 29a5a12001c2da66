//! Failures and health of the devices that have begun.

use packcast_protocol::result::NamedCode;
use packcast_protocol::{ResultCode, UnixTime};

use super::begin::Place;
use super::change::{GateChange, GateCondition, GateNumber, GateUpdate};
use super::gate::{DeviceFailure, Gate, GateState};

/// A failure of a device whose assignment has the rollout.
#[derive(Clone, Debug)]
pub struct PlacedFailure {
    pub failure: DeviceFailure,
    /// The place in the task of the attempt. `None` if the device had not begun.
    pub place: Option<Place>,
}

/// Returns true if a result shows a fault of the package itself, and not of the device.
pub fn faults_package(code: &ResultCode) -> bool {
    use NamedCode::{BadDigest, BadManifest, BadSignature, UnsafeArchive};
    let faults = [BadDigest, BadManifest, BadSignature, UnsafeArchive];
    matches!(code, ResultCode::Named(code) if faults.contains(code))
}

/// Decides how a failure changes the gate. `None` if the gate does not change.
///
/// Only a device with a place can fail a rollout. Without a place, a fault of the package itself
/// counts in the current round. The place stays taken.
///
/// The change of the current round requires this round and the same number of failures. If it
/// halts, it also requires the same state, and too few healthy devices to tolerate the failures. A
/// change of an earlier round requires another round, and changes only the total.
pub fn failed(gate: &Gate, report: &PlacedFailure, now: UnixTime) -> Option<GateChange> {
    let round = match report.place {
        Some(place) if place.rollout == gate.rollout => place.round,
        None if faults_package(&report.failure.code) && gate.state != GateState::Ended => {
            gate.round
        }
        Some(_) | None => return None,
    };
    if round != gate.round {
        return Some(of_earlier_round(round, GateNumber::AllFailed));
    }
    let failed = gate.failed.saturating_add(1);
    let mut conditions = vec![
        GateCondition::Is(GateNumber::Round, round.into()),
        GateCondition::Is(GateNumber::Failed, gate.failed.into()),
    ];
    let mut updates = vec![
        GateUpdate::Add(GateNumber::Failed, 1),
        GateUpdate::Add(GateNumber::AllFailed, 1),
        GateUpdate::Evidence(gate.evidence_with(report.failure.clone())),
        GateUpdate::Set(GateNumber::Changed, now.0),
    ];
    // Healthy devices never become fewer in a round, so a decision not to halt stays right.
    let can_halt = matches!(gate.state, GateState::Running | GateState::Paused);
    if can_halt && gate.limits.halts(failed, gate.healthy) {
        conditions.push(GateCondition::State(gate.state));
        if let Some(enough) = gate.limits.enough_healthy(failed) {
            conditions.push(GateCondition::Below(GateNumber::Healthy, enough.into()));
        }
        updates.push(GateUpdate::State(GateState::Halted));
    }
    Some(GateChange {
        conditions,
        updates,
    })
}

/// Decides how a device that has settled changes the gate. The same transaction deletes the item
/// [`Settling`](super::Settling), and requires that it is there. `None` if the gate is of another
/// rollout.
///
/// The place becomes free, and while the number of places may grow, one more.
pub fn healthy(gate: &Gate, place: &Place, now: UnixTime) -> Option<GateChange> {
    if place.rollout != gate.rollout {
        return None;
    }
    if place.round != gate.round {
        return Some(of_earlier_round(place.round, GateNumber::AllHealthy));
    }
    let growing_until = gate.limits.growing_until();
    let (free, of_healthy) = if gate.healthy < growing_until {
        (
            2,
            GateCondition::Below(GateNumber::Healthy, growing_until.into()),
        )
    } else {
        (
            1,
            GateCondition::AtLeast(GateNumber::Healthy, growing_until.into()),
        )
    };
    Some(GateChange {
        conditions: vec![
            GateCondition::Is(GateNumber::Round, place.round.into()),
            of_healthy,
        ],
        updates: vec![
            GateUpdate::Add(GateNumber::Healthy, 1),
            GateUpdate::Add(GateNumber::AllHealthy, 1),
            GateUpdate::Add(GateNumber::Free, free),
            GateUpdate::Set(GateNumber::Changed, now.0),
        ],
    })
}

/// Returns the change by a result of another round than the current one.
fn of_earlier_round(round: u32, total: GateNumber) -> GateChange {
    GateChange {
        conditions: vec![GateCondition::IsNot(GateNumber::Round, round.into())],
        updates: vec![GateUpdate::Add(total, 1)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::gate::tests::{NOW, failure, gate};

    fn place(round: u32) -> Place {
        let rollout = gate().rollout;
        Place { rollout, round }
    }

    fn fail(gate: &mut Gate, n: u8, place: Option<Place>) -> bool {
        let failure = failure(n);
        let change = failed(gate, &PlacedFailure { failure, place }, NOW);
        change.is_some_and(|change| change.apply(gate))
    }

    #[test]
    fn the_third_failure_halts_and_no_place_is_released() {
        let mut gate = Gate {
            free: 0,
            begun: 3,
            ..gate()
        };
        for n in 1..=3 {
            assert_eq!(gate.state, GateState::Running);
            assert!(fail(&mut gate, n, Some(place(1))));
        }
        assert_eq!(
            (gate.state, gate.failed, gate.free),
            (GateState::Halted, 3, 0)
        );
        assert_eq!(gate.evidence, [failure(1), failure(2), failure(3)]);
        assert!(fail(&mut gate, 4, Some(place(1))));
        assert_eq!((gate.failed, gate.all_failed), (4, 4));
    }

    #[test]
    fn failures_halt_a_paused_gate_and_no_ended_gate() {
        for (state, after) in [
            (GateState::Paused, GateState::Halted),
            (GateState::Ended, GateState::Ended),
        ] {
            let mut gate = Gate {
                state,
                failed: 2,
                ..gate()
            };
            assert!(fail(&mut gate, 1, Some(place(1))));
            assert_eq!(gate.state, after);
        }
    }

    #[test]
    fn two_failures_at_the_same_time_are_decided_one_after_the_other() {
        let read = Gate {
            failed: 1,
            ..gate()
        };
        let report = |n| PlacedFailure {
            failure: failure(n),
            place: Some(place(1)),
        };
        let (second, third) = (
            failed(&read, &report(2), NOW).unwrap(),
            failed(&read, &report(3), NOW).unwrap(),
        );
        let mut gate = read.clone();
        assert!(second.apply(&mut gate) && !third.apply(&mut gate));
        assert!(failed(&gate, &report(3), NOW).unwrap().apply(&mut gate));
        assert_eq!(gate.state, GateState::Halted);
    }

    #[test]
    fn a_halt_is_decided_again_if_enough_devices_have_become_healthy() {
        let read = Gate {
            failed: 2,
            healthy: 19,
            begun: 30,
            ..gate()
        };
        let report = PlacedFailure {
            failure: failure(3),
            place: Some(place(1)),
        };
        let halt = failed(&read, &report, NOW).unwrap();
        let mut healthier = Gate {
            healthy: 20,
            ..read.clone()
        };
        assert!(!halt.apply(&mut healthier));
        assert!(
            failed(&healthier, &report, NOW)
                .unwrap()
                .apply(&mut healthier)
        );
        assert_eq!(healthier.state, GateState::Running);
        let mut paused = Gate {
            state: GateState::Paused,
            ..read
        };
        assert!(!halt.apply(&mut paused));
    }

    #[test]
    fn results_of_earlier_rounds_change_totals_only() {
        let mut gate = Gate { round: 2, ..gate() };
        assert!(fail(&mut gate, 1, Some(place(1))));
        assert!(healthy(&gate, &place(1), NOW).unwrap().apply(&mut gate));
        let counts = (gate.failed, gate.healthy, gate.free, gate.evidence.len());
        assert_eq!(counts, (0, 0, 3, 0));
        assert_eq!((gate.all_failed, gate.all_healthy), (1, 1));
        // A gate that was read before the round began.
        let stale = Gate {
            round: 1,
            ..gate.clone()
        };
        assert!(!healthy(&stale, &place(1), NOW).unwrap().apply(&mut gate));
        assert!(!healthy(&stale, &place(2), NOW).unwrap().apply(&mut gate));
    }

    #[test]
    fn without_a_place_only_faults_of_the_package_count() {
        let mut gate = gate();
        assert!(!fail(&mut gate, 1, None));
        let report = |code: NamedCode| PlacedFailure {
            failure: DeviceFailure {
                code: code.into(),
                ..failure(2)
            },
            place: None,
        };
        for (code, counts) in [
            (NamedCode::BadDigest, true),
            (NamedCode::BadSignature, true),
            (NamedCode::BadManifest, true),
            (NamedCode::UnsafeArchive, true),
            (NamedCode::OutOfSpace, false),
            (NamedCode::DownloadPack, false),
        ] {
            assert_eq!(
                failed(&gate, &report(code), NOW).is_some(),
                counts,
                "{code:?}"
            );
        }
        let ended = Gate {
            state: GateState::Ended,
            ..gate.clone()
        };
        assert_eq!(failed(&ended, &report(NamedCode::BadDigest), NOW), None);
        assert!(
            failed(&gate, &report(NamedCode::BadDigest), NOW)
                .unwrap()
                .apply(&mut gate)
        );
        assert_eq!((gate.failed, gate.free), (1, 3));
    }

    #[test]
    fn a_healthy_device_releases_its_place_and_one_more_while_places_grow() {
        let mut gate = Gate {
            free: 0,
            begun: 3,
            ..gate()
        };
        for n in 1..=12 {
            assert!(healthy(&gate, &place(1), NOW).unwrap().apply(&mut gate));
            gate.begun += 1;
            gate.free -= 1;
            let expected = gate.limits.places(n) - gate.unhealthy();
            assert_eq!((gate.healthy, gate.free), (n, expected));
        }
        let before = Gate {
            healthy: 6,
            ..gate.clone()
        };
        let at_the_limit = Gate { healthy: 7, ..gate };
        for (read, mut now) in [
            (before.clone(), at_the_limit.clone()),
            (at_the_limit, before),
        ] {
            assert!(!healthy(&read, &place(1), NOW).unwrap().apply(&mut now));
        }
    }

    #[test]
    fn results_of_another_rollout_change_nothing() {
        let mut other = place(1);
        other.rollout = packcast_protocol::state::RolloutId::from_bytes([8; 16]);
        assert_eq!(healthy(&gate(), &other, NOW), None);
        assert!(!fail(&mut gate(), 1, Some(other)));
    }
}
