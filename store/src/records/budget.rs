//! The write budget of a device, and the write of a next attempt, which spends it.

use packcast_protocol::{DeviceId, UnixTime};
use packcast_rollout::{TaskChange, WriteBudget};

use super::commit::Commit;
use super::item;
use super::key::Key;
use super::names::{BUDGET, LAST_SEEN};
use super::report::Recorded;
use super::write::{self, PRESENT, Terms};
use super::{Records, RecordsError};

/// Returns the condition that no other write has spent the budget of a device.
pub(super) fn unspent(before: WriteBudget, terms: Terms) -> (&'static str, Terms) {
    let terms = terms.name(BUDGET);
    if before.is_untouched() {
        ("attribute_not_exists(#budget)", terms)
    } else {
        let terms = terms.value("known_budget", item::attribute(&before));
        ("#budget = :known_budget", terms)
    }
}

impl Records {
    /// Begins the next attempt at a task that the device has cancelled, and spends the budget of
    /// the device, which was seen at `now`.
    ///
    /// Nothing is written if another write has changed the task or spent the budget since they were
    /// read.
    pub async fn begin_next_attempt(
        &self,
        device: &DeviceId,
        change: &TaskChange,
        before: WriteBudget,
        after: WriteBudget,
        now: UnixTime,
    ) -> Result<Recorded, RecordsError> {
        let (unspent, terms) = unspent(before, Terms::default());
        let terms = terms
            .name(LAST_SEEN)
            .value("spent", item::attribute(&after))
            .value("now", item::number(&now));
        let spending = write::update(
            self.table(),
            &Key::device(device),
            "SET #budget = :spent, #last_seen = :now",
            Some(&format!("{PRESENT} AND {unspent}")),
            &terms,
        );
        let mut writes = self.changing(device, change);
        writes.push(spending);
        Ok(if self.commit(writes).await? == Commit::Done {
            Recorded::Written
        } else {
            Recorded::Superseded
        })
    }
}
