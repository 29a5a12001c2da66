//! Recording the changes that a device's groups make to its tasks.

use aws_sdk_dynamodb::types::TransactWriteItem;
use packcast_protocol::DeviceId;
use packcast_rollout::ReconcileCount;
use packcast_rollout::reconcile::{ObservedRevision, Step};

use super::commit::Commit;
use super::item;
use super::key::Key;
use super::names::{GROUPS, ROUND};
use super::write::{self, PRESENT, Terms};
use super::{Records, RecordsError};

impl Records {
    /// Writes one step of a reconciliation.
    ///
    /// `count` is the number of reconciliations at which the step was decided. Returns false,
    /// without writing, if the records have changed since.
    pub async fn write_step(
        &self,
        device: &DeviceId,
        count: ReconcileCount,
        step: &Step,
    ) -> Result<bool, RecordsError> {
        let mut writes: Vec<TransactWriteItem> = step
            .changes
            .iter()
            .flat_map(|change| self.changing(device, change))
            .collect();
        writes.push(self.counting_reconciliation(device, count, &step.observed));
        Ok(self.commit(writes).await? == Commit::Done)
    }

    /// Returns the update of a device that counts a reconciliation.
    ///
    /// The update also raises observed revisions.
    pub(super) fn counting_reconciliation(
        &self,
        device: &DeviceId,
        count: ReconcileCount,
        observed: &[ObservedRevision],
    ) -> TransactWriteItem {
        let after = item::number(&count.next());
        let mut terms = Terms::default().name(ROUND).value("next", after);
        let mut sets = vec!["#round = :next".to_owned()];
        let mut conditions = vec![PRESENT.to_owned()];
        if count == ReconcileCount::FIRST {
            conditions.push("attribute_not_exists(#round)".to_owned());
        } else {
            terms = terms.value("round", item::number(&count));
            conditions.push("#round = :round".to_owned());
        }
        if !observed.is_empty() {
            terms = terms.name(GROUPS);
        }
        for (n, one) in observed.iter().enumerate() {
            let (from, to) = (format!("from{n}"), format!("to{n}"));
            terms = terms
                .named(&format!("g{n}"), one.group.as_str())
                .value(&to, item::number(&one.to));
            sets.push(format!("#groups.#g{n} = :{to}"));
            if one.group.is_all() && one.from == 0 {
                conditions.push(format!("attribute_not_exists(#groups.#g{n})"));
            } else {
                terms = terms.value(&from, item::number(&one.from));
                conditions.push(format!("#groups.#g{n} = :{from}"));
            }
        }
        let expression = format!("SET {}", sets.join(", "));
        write::update(
            self.table(),
            &Key::device(device),
            &expression,
            Some(&conditions.join(" AND ")),
            &terms,
        )
    }
}
