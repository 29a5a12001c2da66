//! Changes of gates as conditions and updates of an item.

use packcast_rollout::rollout::{GateChange, GateCondition, GateUpdate};

use super::super::item::{attribute, number, text};
use super::super::write::{PRESENT, Terms};

/// Returns the condition, the update and the terms of a change.
///
/// The condition requires that the gate exists: an update of a missing item would create it.
pub(super) fn expressions(change: &GateChange) -> (String, String, Terms) {
    let (mut conditions, mut updates) = (vec![PRESENT.to_owned()], Vec::new());
    let mut terms = Terms::default();
    for (index, condition) in change.conditions.iter().enumerate() {
        let (name, comparison, value) = match condition {
            GateCondition::State(state) => ("state", "=", text(state.as_str())),
            GateCondition::Table(table) => ("table", "=", text(table)),
            GateCondition::Wave(wave) => ("wave", "=", attribute(wave)),
            GateCondition::Is(count, value) => (count.as_str(), "=", number(value)),
            GateCondition::IsNot(count, value) => (count.as_str(), "<>", number(value)),
            GateCondition::AtLeast(count, value) => (count.as_str(), ">=", number(value)),
            GateCondition::Below(count, value) => (count.as_str(), "<", number(value)),
        };
        terms = terms.name(name).value(&format!("if{index}"), value);
        conditions.push(format!("#{name} {comparison} :if{index}"));
    }
    for (index, update) in change.updates.iter().enumerate() {
        let (name, before, value) = match update {
            GateUpdate::State(state) => ("state", "", text(state.as_str())),
            GateUpdate::Table(table) => ("table", "", text(table)),
            GateUpdate::Wave(wave) => ("wave", "", attribute(wave)),
            GateUpdate::Evidence(evidence) => ("evidence", "", attribute(evidence)),
            GateUpdate::Set(count, value) => (count.as_str(), "", number(value)),
            GateUpdate::Add(count, value) => (count.as_str(), "+", number(value)),
            GateUpdate::Subtract(count, value) => (count.as_str(), "-", number(value)),
        };
        terms = terms.name(name).value(&format!("to{index}"), value);
        updates.push(if before.is_empty() {
            format!("#{name} = :to{index}")
        } else {
            format!("#{name} = #{name} {before} :to{index}")
        });
    }
    let condition = conditions.join(" AND ");
    (condition, format!("SET {}", updates.join(", ")), terms)
}
