//! The effect of a device's result on the rollout of its package.

use std::collections::BTreeSet;

use packcast_protocol::api::BoundedText;
use packcast_protocol::result::NamedCode;
use packcast_protocol::state::RolloutId;
use packcast_protocol::{Outcome, PackageId, ResultCode, UnixTime};

use super::begin::Place;
use super::change::{GateChange, GateUpdate};
use super::gate::{DeviceFailure, Gate, GateState};
use super::health::{PlacedFailure, failed, faults_package};
use super::settling::{Settling, settling};

/// A result of a device whose package has a rollout.
#[derive(Clone, Debug)]
pub struct RolloutResult {
    pub rollout: RolloutId,
    pub package: PackageId,
    /// The device, with the code of its result.
    pub reported: DeviceFailure,
    pub outcome: Outcome,
    /// The place in the task of the attempt. `None` if the device had not begun.
    pub place: Option<Place>,
    /// The boot in which the program ran, if the result asks for a restart.
    pub restart_after: Option<BoundedText<64>>,
}

/// A write that is recorded in one transaction with a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResultEffect {
    /// The result is recorded by itself.
    None,
    /// The gate counts a failure.
    Gate {
        rollout: RolloutId,
        change: GateChange,
    },
    /// The device settles.
    Settles(Settling),
}

impl RolloutResult {
    /// Returns true if the gate decides on the effect. Otherwise the result is recorded by itself,
    /// and the gate need not be read.
    pub fn needs_gate(&self) -> bool {
        match self.outcome {
            Outcome::Succeeded => self.place.is_some(),
            Outcome::Failed => self.place.is_some() || faults_package(&self.reported.code),
            Outcome::Cancelled | Outcome::NotApplicable => false,
        }
    }

    /// Returns the effect of the result. `gate` is `None` if the gate is gone: then the result is
    /// recorded by itself, so that no result is lost because of a gate.
    pub fn effect(&self, gate: Option<&Gate>, now: UnixTime) -> ResultEffect {
        let gate = gate.filter(|gate| gate.rollout == self.rollout);
        match (self.outcome, self.place) {
            (Outcome::Succeeded, Some(place)) => {
                settling(gate, place, self.package, self.restart_after.clone(), now)
                    .map_or(ResultEffect::None, ResultEffect::Settles)
            }
            (Outcome::Failed, place) => {
                let failure = self.reported.clone();
                let change =
                    gate.and_then(|gate| failed(gate, &PlacedFailure { failure, place }, now));
                let rollout = self.rollout;
                change.map_or(ResultEffect::None, |change| ResultEffect::Gate {
                    rollout,
                    change,
                })
            }
            (Outcome::Succeeded | Outcome::Cancelled | Outcome::NotApplicable, _) => {
                ResultEffect::None
            }
        }
    }
}

impl ResultEffect {
    /// Returns true if the effect halts the rollout.
    pub fn halts(&self) -> bool {
        let halt = GateUpdate::State(GateState::Halted);
        matches!(self, Self::Gate { change, .. } if change.updates.contains(&halt))
    }
}

/// Returns true if a result asks for a restart of the device.
pub fn asks_restart(code: &ResultCode, reboot_codes: &BTreeSet<i32>) -> bool {
    match code {
        ResultCode::Exited(code) | ResultCode::ExitCode(code) => reboot_codes.contains(code),
        ResultCode::Named(code) => matches!(
            code,
            NamedCode::RebootInitiated | NamedCode::RebootRequired | NamedCode::RestartRequired
        ),
        ResultCode::Success | ResultCode::SuccessRepeated | ResultCode::Unknown(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::id;
    use crate::rollout::gate::tests::{NOW, failure, gate};

    fn result(outcome: Outcome, code: ResultCode, has_place: bool) -> RolloutResult {
        let rollout = gate().rollout;
        RolloutResult {
            rollout,
            package: id(1),
            reported: DeviceFailure { code, ..failure(1) },
            outcome,
            place: has_place.then_some(Place { rollout, round: 1 }),
            restart_after: None,
        }
    }

    #[test]
    fn only_results_that_count_change_the_gate_or_settle() {
        let fault = ResultCode::from(NamedCode::BadDigest);
        let exit = |code| ResultCode::ExitCode(code);
        for (outcome, code, has_place, expected) in [
            (Outcome::Succeeded, exit(0), true, "settles"),
            (Outcome::Succeeded, exit(0), false, "none"),
            (Outcome::Failed, exit(1), true, "gate"),
            (Outcome::Failed, exit(1), false, "none"),
            (Outcome::Failed, fault.clone(), false, "gate"),
            (Outcome::Cancelled, exit(1), true, "none"),
            (Outcome::NotApplicable, fault, true, "none"),
        ] {
            let result = result(outcome, code, has_place);
            let effect = match result.effect(Some(&gate()), NOW) {
                ResultEffect::None => "none",
                ResultEffect::Gate { .. } => "gate",
                ResultEffect::Settles(_) => "settles",
            };
            assert_eq!(effect, expected, "{result:?}");
            assert_eq!(result.needs_gate(), expected != "none", "{result:?}");
            assert_eq!(result.effect(None, NOW), ResultEffect::None);
            let other = Gate {
                rollout: RolloutId::from_bytes([8; 16]),
                ..gate()
            };
            assert_eq!(result.effect(Some(&other), NOW), ResultEffect::None);
        }
    }

    #[test]
    fn exit_codes_of_the_package_and_three_codes_ask_for_a_restart() {
        let codes = BTreeSet::from([3010]);
        for (code, asks) in [
            (ResultCode::ExitCode(3010), true),
            (ResultCode::Exited(3010), true),
            (ResultCode::ExitCode(0), false),
            (NamedCode::RebootRequired.into(), true),
            (NamedCode::RebootInitiated.into(), true),
            (NamedCode::RestartRequired.into(), true),
            (NamedCode::BadDigest.into(), false),
        ] {
            assert_eq!(asks_restart(&code, &codes), asks, "{code}");
        }
    }
}
