//! Recording results: an open task becomes a finished one.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::TransactWriteItem;
use packcast_protocol::{DeviceId, PackageId};
use packcast_rollout::{FinishedTask, OpenTask, TaskState};

use super::commit::Commit;
use super::item;
use super::key::{Key, Range};
use super::names::{ANNOUNCED, ATTEMPT, STATE, WITHDRAWN};
use super::stored;
use super::write::{self, Terms};
use super::{Records, RecordsError};

/// Outcome of recording a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// The result is on record.
    Written,
    /// Nothing was written, because another result, or another change of the task, came first.
    Superseded,
}

impl Records {
    /// Returns the result of a device's latest finished attempt at a package.
    pub async fn finished(
        &self,
        device: &DeviceId,
        package: PackageId,
    ) -> Result<Option<FinishedTask>, RecordsError> {
        self.get(&Key::finished(device, package)).await
    }

    /// Returns the results of all packages that a device has finished, in the order of their ids.
    pub async fn finished_tasks(
        &self,
        device: &DeviceId,
    ) -> Result<Vec<FinishedTask>, RecordsError> {
        self.all(&Range::finished(device)).await
    }

    /// Returns the results of these devices' latest finished attempts at a package, in the order of
    /// the devices' ids. Devices without a result are left out.
    pub async fn results_of(
        &self,
        package: PackageId,
        devices: &[DeviceId],
    ) -> Result<BTreeMap<DeviceId, FinishedTask>, RecordsError> {
        let keys: Vec<Key> = devices
            .iter()
            .map(|device| Key::finished(device, package))
            .collect();
        let items = self.batch(&keys).await?.into_iter();
        items
            .filter_map(|item| Some((Key::device_of(&item)?, item)))
            .map(|(device, item)| Ok((device, item::read(item)?)))
            .collect()
    }

    /// Ends a task with its result, and counts the result once.
    ///
    /// Nothing is written unless the task on record is in the same state as `task`: a task that
    /// was withdrawn in the meantime is counted elsewhere, and must be read again. A pending task
    /// ends if the device has its package already, or runs another system.
    pub async fn record_result(
        &self,
        device: &DeviceId,
        task: &OpenTask,
        result: &FinishedTask,
    ) -> Result<Recorded, RecordsError> {
        let attempt = item::number(&task.attempt);
        let ended = (stored::outcome(result.outcome), 1);
        // Pending tasks have no count of their own: see `Tally::waiting`.
        let counts: &[_] = match task.state {
            TaskState::Pending => &[ended],
            TaskState::Announced { .. } => &[(ANNOUNCED, -1), ended],
            TaskState::Withdrawn { .. } => &[(WITHDRAWN, -1), ended],
        };
        let writes = vec![
            self.ending(device, task),
            write::put(
                self.table(),
                stored::finished(device, result),
                "attribute_not_exists(pk) OR #attempt < :attempt",
                &Terms::default().name(ATTEMPT).value("attempt", attempt),
            ),
            self.counting(device, task.package, counts),
        ];
        if self.commit(writes).await? == Commit::Done {
            return Ok(Recorded::Written);
        }
        // If the answer to an earlier, successful write was lost, exactly this result is on record.
        let finished = self.finished(device, task.package).await?;
        Ok(if finished.as_ref() == Some(result) {
            Recorded::Written
        } else {
            Recorded::Superseded
        })
    }

    /// Returns the removal of a task, on the condition that its state has not changed.
    fn ending(&self, device: &DeviceId, task: &OpenTask) -> TransactWriteItem {
        let state = stored::task_state(task.state);
        let terms = Terms::default()
            .name(ATTEMPT)
            .name(STATE)
            .value("attempt", item::number(&task.attempt))
            .value("state", item::text(state));
        write::delete(
            self.table(),
            &Key::task(device, task.priority, task.package),
            "#attempt = :attempt AND #state.#state = :state",
            &terms,
        )
    }
}
