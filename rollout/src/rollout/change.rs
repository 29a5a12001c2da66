//! Changes of a gate. This module's values decide nothing: the store writes them as they are.

use packcast_protocol::UnixTime;
use packcast_protocol::state::WaveNumber;

use super::gate::{DeviceFailure, Gate, GateState};

/// A change of a gate: updates that are written together if each condition holds.
///
/// The store writes the change in the same transaction as the change of the device's task. If a
/// condition fails, nothing is written, and the decision is made again from the present gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateChange {
    pub conditions: Vec<GateCondition>,
    pub updates: Vec<GateUpdate>,
}

/// A number of a gate that conditions and updates can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateNumber {
    Round,
    Since,
    Changed,
    Free,
    Begun,
    Healthy,
    Failed,
    AllBegun,
    AllHealthy,
    AllFailed,
}

/// A comparison of one attribute of a gate with a value. None needs arithmetic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GateCondition {
    State(GateState),
    Table(String),
    /// The latest open wave is this one.
    Wave(WaveNumber),
    /// The number has this value.
    Is(GateNumber, u64),
    /// The number has another value.
    IsNot(GateNumber, u64),
    /// The number is at least this value.
    AtLeast(GateNumber, u64),
    /// The number is below this value.
    Below(GateNumber, u64),
}

/// A change of one attribute of a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GateUpdate {
    State(GateState),
    Table(String),
    Wave(WaveNumber),
    Evidence(Vec<DeviceFailure>),
    Set(GateNumber, u64),
    Add(GateNumber, u64),
    /// Conditions ensure that the number is at least as large.
    Subtract(GateNumber, u64),
}

impl GateNumber {
    /// Returns the name of the attribute, which is the name of the field of [`Gate`].
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Round => "round",
            Self::Since => "since",
            Self::Changed => "changed",
            Self::Free => "free",
            Self::Begun => "begun",
            Self::Healthy => "healthy",
            Self::Failed => "failed",
            Self::AllBegun => "all_begun",
            Self::AllHealthy => "all_healthy",
            Self::AllFailed => "all_failed",
        }
    }

    fn of(self, gate: &Gate) -> u64 {
        match self {
            Self::Round => gate.round.into(),
            Self::Since => gate.since.0,
            Self::Changed => gate.changed.map_or(0, |changed| changed.0),
            Self::Free => gate.free.into(),
            Self::Begun => gate.begun.into(),
            Self::Healthy => gate.healthy.into(),
            Self::Failed => gate.failed.into(),
            Self::AllBegun => gate.all_begun.into(),
            Self::AllHealthy => gate.all_healthy.into(),
            Self::AllFailed => gate.all_failed.into(),
        }
    }

    fn set(self, gate: &mut Gate, value: u64) {
        let number = u32::try_from(value).unwrap_or(u32::MAX);
        match self {
            Self::Round => gate.round = number,
            Self::Since => gate.since = UnixTime(value),
            Self::Changed => gate.changed = Some(UnixTime(value)),
            Self::Free => gate.free = number,
            Self::Begun => gate.begun = number,
            Self::Healthy => gate.healthy = number,
            Self::Failed => gate.failed = number,
            Self::AllBegun => gate.all_begun = number,
            Self::AllHealthy => gate.all_healthy = number,
            Self::AllFailed => gate.all_failed = number,
        }
    }
}

impl GateCondition {
    /// Returns true if the condition holds.
    pub fn holds(&self, gate: &Gate) -> bool {
        match self {
            Self::State(state) => gate.state == *state,
            Self::Table(table) => gate.table == *table,
            Self::Wave(wave) => gate.wave == *wave,
            Self::Is(number, value) => number.of(gate) == *value,
            Self::IsNot(number, value) => number.of(gate) != *value,
            Self::AtLeast(number, value) => number.of(gate) >= *value,
            Self::Below(number, value) => number.of(gate) < *value,
        }
    }
}

impl GateChange {
    /// Returns a change that begins a round of a running gate: all places are free, and the counters
    /// of the round are zero.
    pub(super) fn new_round(gate: &Gate, conditions: Vec<GateCondition>, now: UnixTime) -> Self {
        let round = u64::from(gate.round).saturating_add(1);
        let updates = vec![
            GateUpdate::Set(GateNumber::Round, round),
            GateUpdate::Set(GateNumber::Since, now.0),
            GateUpdate::Set(GateNumber::Free, gate.limits.values().halt_at.into()),
            GateUpdate::Set(GateNumber::Begun, 0),
            GateUpdate::Set(GateNumber::Healthy, 0),
            GateUpdate::Set(GateNumber::Failed, 0),
            GateUpdate::Evidence(Vec::new()),
        ];
        Self {
            conditions,
            updates,
        }
    }

    /// Returns true if each condition holds.
    pub fn applies_to(&self, gate: &Gate) -> bool {
        self.conditions
            .iter()
            .all(|condition| condition.holds(gate))
    }

    /// Makes the change, and returns true, if each condition holds.
    pub fn apply(&self, gate: &mut Gate) -> bool {
        let applies = self.applies_to(gate);
        for update in self.updates.iter().filter(|_| applies) {
            match update {
                GateUpdate::State(state) => gate.state = *state,
                GateUpdate::Table(table) => gate.table.clone_from(table),
                GateUpdate::Wave(wave) => gate.wave = *wave,
                GateUpdate::Evidence(evidence) => gate.evidence.clone_from(evidence),
                GateUpdate::Set(number, value) => number.set(gate, *value),
                GateUpdate::Add(number, more) => {
                    number.set(gate, number.of(gate).saturating_add(*more));
                }
                GateUpdate::Subtract(number, less) => {
                    number.set(gate, number.of(gate).saturating_sub(*less));
                }
            }
        }
        applies
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::gate::tests::gate;

    const NUMBERS: [GateNumber; 9] = [
        GateNumber::Round,
        GateNumber::Since,
        GateNumber::Free,
        GateNumber::Begun,
        GateNumber::Healthy,
        GateNumber::Failed,
        GateNumber::AllBegun,
        GateNumber::AllHealthy,
        GateNumber::AllFailed,
    ];

    #[test]
    fn names_of_numbers_are_fields_of_the_gate() {
        for (value, number) in (100..).zip(NUMBERS) {
            let mut gate = gate();
            number.set(&mut gate, value);
            assert_eq!(number.of(&gate), value);
            assert_eq!(serde_json::to_value(&gate).unwrap()[number.as_str()], value);
        }
    }

    #[test]
    fn nothing_changes_unless_each_condition_holds() {
        let before = gate();
        let change = |conditions| GateChange {
            conditions,
            updates: vec![
                GateUpdate::Subtract(GateNumber::Free, 1),
                GateUpdate::Add(GateNumber::Begun, 1),
            ],
        };
        let free = before.free.into();
        for (condition, holds) in [
            (GateCondition::Is(GateNumber::Free, free), true),
            (GateCondition::Is(GateNumber::Free, free + 1), false),
            (GateCondition::IsNot(GateNumber::Free, free), false),
            (GateCondition::IsNot(GateNumber::Free, free + 1), true),
            (GateCondition::AtLeast(GateNumber::Free, free), true),
            (GateCondition::AtLeast(GateNumber::Free, free + 1), false),
            (GateCondition::Below(GateNumber::Free, free), false),
            (GateCondition::Below(GateNumber::Free, free + 1), true),
            (GateCondition::State(GateState::Running), true),
            (GateCondition::State(GateState::Paused), false),
            (GateCondition::Table(before.table.clone()), true),
            (GateCondition::Table("other".to_owned()), false),
            (GateCondition::Wave(before.wave), true),
            (GateCondition::Wave(before.wave.next().unwrap()), false),
        ] {
            let mut after = before.clone();
            let first = GateCondition::State(GateState::Running);
            assert_eq!(change(vec![first, condition]).apply(&mut after), holds);
            let expected = (before.free - u32::from(holds), u32::from(holds));
            assert_eq!((after.free, after.begun), expected);
        }
    }
}
