//! Rounds: the changes of a device's tasks that its groups have a part in.

use aws_sdk_dynamodb::types::TransactWriteItem;
use packcast_protocol::DeviceId;
use packcast_rollout::ReconcileCount;
use packcast_rollout::reconcile::{ObservedRevision, Step};

use super::commit::Commit;
use super::item;
use super::key::Key;
use super::names::{GROUPS, ROUND};
use super::signing::{NextDeviceAssignments, signed};
use super::write::{self, PRESENT, Terms};
use super::{Records, RecordsError};

impl Records {
    /// Writes one step of a reconciliation that was decided in a round, and ends the round;
    /// false if the records have changed meanwhile.
    pub async fn write_step(
        &self,
        device: &DeviceId,
        round: ReconcileCount,
        step: &Step,
    ) -> Result<bool, RecordsError> {
        let mut writes: Vec<TransactWriteItem> = step
            .changes
            .iter()
            .flat_map(|change| self.changing(device, change))
            .collect();
        writes.push(self.ending_round(device, round, &step.marks, None));
        Ok(self.commit(writes).await? == Commit::Done)
    }

    /// Ends a device's round, and moves marks with it, or notes down what was signed.
    pub(super) fn ending_round(
        &self,
        device: &DeviceId,
        round: ReconcileCount,
        marks: &[ObservedRevision],
        next: Option<&NextDeviceAssignments>,
    ) -> TransactWriteItem {
        let after = item::number(&round.next());
        let mut terms = Terms::default().name(ROUND).value("next", after);
        let mut sets = vec!["#round = :next".to_owned()];
        let mut conditions = vec![PRESENT.to_owned()];
        if round == ReconcileCount::FIRST {
            conditions.push("attribute_not_exists(#round)".to_owned());
        } else {
            terms = terms.value("round", item::number(&round));
            conditions.push("#round = :round".to_owned());
        }
        if !marks.is_empty() {
            terms = terms.name(GROUPS);
        }
        for (n, mark) in marks.iter().enumerate() {
            let (from, to) = (format!("from{n}"), format!("to{n}"));
            terms = terms
                .named(&format!("g{n}"), mark.group.as_str())
                .value(&to, item::number(&mark.to));
            sets.push(format!("#groups.#g{n} = :{to}"));
            if mark.group.is_all() && mark.from == 0 {
                conditions.push(format!("attribute_not_exists(#groups.#g{n})"));
            } else {
                terms = terms.value(&from, item::number(&mark.from));
                conditions.push(format!("#groups.#g{n} = :{from}"));
            }
        }
        let expression = format!("SET {}", sets.join(", "));
        let (expression, terms) = signed(next, expression, ", ", terms);
        write::update(
            self.table(),
            &Key::device(device),
            &expression,
            Some(&conditions.join(" AND ")),
            &terms,
        )
    }
}
