//! Gates of rollouts: one item each, which the function may write.
//!
//! A gate is listed in the partition of its package, and is removed when the package is deleted. A
//! change of a gate is decided by `packcast_rollout`. This module writes it with its conditions, in
//! one transaction with the change of the task.

mod control;
mod expressions;
mod health;
mod place;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use aws_sdk_dynamodb::types::TransactWriteItem;
use packcast_protocol::PackageId;
use packcast_protocol::state::RolloutId;
use packcast_rollout::rollout::{Gate, GateChange};

pub use self::control::GateControlError;
use self::expressions::expressions;
pub use self::place::PlaceTaken;
use super::commit::Commit;
use super::item::{self, Item};
use super::key::{Key, Range};
use super::stored::{self, ListedRollout};
use super::write;
use super::{Records, RecordsError};

/// Number of gates that one transaction removes, with two writes each.
const REMOVED_AT_ONCE: usize = 50;

impl Records {
    /// Returns the gate of a rollout, strongly consistent; `None` if the rollout has no gate.
    pub async fn gate(&self, rollout: RolloutId) -> Result<Option<Gate>, RecordsError> {
        let found = self.get_item(&Key::gate(rollout)).await?;
        found.map(gate).transpose()
    }

    /// Returns the gates of these rollouts, strongly consistent. Rollouts without a gate are left
    /// out.
    pub async fn gates(
        &self,
        rollouts: &[RolloutId],
    ) -> Result<BTreeMap<RolloutId, Gate>, RecordsError> {
        let keys: Vec<Key> = rollouts.iter().copied().map(Key::gate).collect();
        let found = self.batch(&keys).await?.into_iter();
        found
            .map(|item| gate(item).map(|gate| (gate.rollout, gate)))
            .collect()
    }

    /// Returns the rollouts of a package that have had a gate, in the order of their ids.
    pub async fn rollouts_of(&self, package: PackageId) -> Result<Vec<RolloutId>, RecordsError> {
        let listed: Vec<ListedRollout> = self.all(&Range::rollouts_of(package)).await?;
        Ok(listed.iter().map(|listed| listed.rollout).collect())
    }

    /// Creates the gate of a new rollout of a package, and returns the gate on record: an existing
    /// gate of this rollout stays as it is. Returns `None`, and writes nothing, if the package is
    /// deleted or does not exist.
    pub async fn create_gate(
        &self,
        package: PackageId,
        gate: &Gate,
    ) -> Result<Option<Gate>, RecordsError> {
        let listed = stored::rollout_of(package, gate.rollout);
        let writes = &vec![
            self.not_deleted(package),
            write::create(self.table(), stored::gate(gate)),
            write::replace(self.table(), listed),
        ];
        self.retry_on_conflict((), |()| async move {
            let Commit::Refused(failed) = self.commit(writes.clone()).await? else {
                return Ok(ControlFlow::Break(Some(gate.clone())));
            };
            Ok(match self.gate(gate.rollout).await? {
                None if failed[0] => ControlFlow::Break(None),
                // The gate was removed since.
                None => ControlFlow::Continue(()),
                on_record => ControlFlow::Break(on_record),
            })
        })
        .await
    }

    /// Writes a change of a gate alone, such as the opening of a wave, with one request. Returns
    /// false, and writes nothing, if a condition of the change does not hold.
    pub async fn change_gate(
        &self,
        rollout: RolloutId,
        change: &GateChange,
    ) -> Result<bool, RecordsError> {
        let (condition, update, terms) = expressions(change);
        let key = Key::gate(rollout);
        let changed = self.change(&key, &update, Some(&condition), &terms).await?;
        Ok(changed.is_some())
    }

    /// Returns the write of a change of a gate, on the conditions of the change.
    pub(super) fn changing_gate(
        &self,
        rollout: RolloutId,
        change: &GateChange,
    ) -> TransactWriteItem {
        let (condition, update, terms) = expressions(change);
        let key = Key::gate(rollout);
        write::update(self.table(), &key, &update, Some(&condition), &terms)
    }

    /// Returns the gate of a rollout; `None` if the gate is gone or unreadable.
    pub(super) async fn readable_gate(
        &self,
        rollout: RolloutId,
    ) -> Result<Option<Gate>, RecordsError> {
        match self.gate(rollout).await {
            Err(RecordsError::Corrupt { .. }) => Ok(None),
            gate => gate,
        }
    }

    /// Removes the gates of all rollouts of a package.
    pub(super) async fn remove_gates(&self, package: PackageId) -> Result<(), RecordsError> {
        let rollouts = self.rollouts_of(package).await?;
        for rollouts in rollouts.chunks(REMOVED_AT_ONCE) {
            let keys = rollouts
                .iter()
                .flat_map(|it| [Key::gate(*it), Key::rollout_of(package, *it)]);
            let writes = keys.map(|key| write::remove(self.table(), &key)).collect();
            // Writes without conditions are never refused.
            self.commit(writes).await?;
        }
        Ok(())
    }
}

fn gate(item: Item) -> Result<Gate, RecordsError> {
    item::read_at(item, |gate: &Gate| Key::gate(gate.rollout))
}
