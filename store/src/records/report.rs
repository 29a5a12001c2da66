//! Recording results: an open task becomes a finished one.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::TransactWriteItem;
use packcast_protocol::{DeviceId, PackageId, Priority, UnixTime};
use packcast_rollout::rollout::{Gate, ResultEffect, RolloutResult};
use packcast_rollout::{FinishedTask, OpenTask, TaskState};

use super::backoff::Backoff;
use super::commit::Commit;
use super::item;
use super::key::{Key, Range};
use super::names::{ANNOUNCED, ASSIGNED, ATTEMPT, CODE, WITHDRAWN};
use super::stored;
use super::task::in_same_state;
use super::write::{self, ABSENT, Terms};
use super::{Records, RecordsError};

/// Outcome of recording a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// The result is on record.
    Written,
    /// Nothing was written, because another result, or another change of the task, came first.
    Superseded,
}

/// Outcome of recording a result together with its effect on a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RolloutRecorded {
    pub recorded: Recorded,
    /// The same transaction has halted the rollout.
    pub has_halted: bool,
}

/// Outcome of one try to record a result with its effect on a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ResultWritten {
    Written,
    Superseded,
    /// Only the gate has changed since it was read.
    GateChanged,
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
        let items = self.listed_batch(&keys).await?.into_iter();
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
        let written = self.write_result(device, task, result, &ResultEffect::None);
        Ok(match written.await? {
            ResultWritten::Written => Recorded::Written,
            ResultWritten::Superseded | ResultWritten::GateChanged => Recorded::Superseded,
        })
    }

    /// Records the result of an attempt that a device has made for another server, and counts it.
    ///
    /// Nothing is written if the device has a result of the package here, or if it has the open task
    /// with this priority.
    pub async fn import_result(
        &self,
        device: &DeviceId,
        priority: Priority,
        result: &FinishedTask,
    ) -> Result<Recorded, RecordsError> {
        let counts = [(ASSIGNED, 1), (stored::outcome(result.outcome), 1)];
        let task = Key::task(device, priority, result.package);
        let writes = vec![
            write::create(self.table(), stored::finished(device, result)),
            write::check(self.table(), &task, ABSENT, &Terms::default()),
            self.counting(device, result.package, &counts),
        ];
        Ok(match self.commit(writes).await? {
            Commit::Done => Recorded::Written,
            Commit::Refused(_) => Recorded::Superseded,
        })
    }

    /// Replaces the result of an attempt that a device has made for another server.
    ///
    /// Nothing is written if the result on record has another attempt or code than `before`, or if
    /// the device has the open task with this priority.
    pub async fn correct_result(
        &self,
        device: &DeviceId,
        priority: Priority,
        before: &FinishedTask,
        after: &FinishedTask,
    ) -> Result<Recorded, RecordsError> {
        let same = Terms::default()
            .name(ATTEMPT)
            .name(CODE)
            .value("attempt", item::number(&before.attempt))
            .value("code", item::attribute(&before.code));
        let task = Key::task(device, priority, after.package);
        let mut writes = vec![
            write::put(
                self.table(),
                stored::finished(device, after),
                "#attempt = :attempt AND #code = :code",
                &same,
            ),
            write::check(self.table(), &task, ABSENT, &Terms::default()),
        ];
        if before.outcome != after.outcome {
            let counts = [
                (stored::outcome(before.outcome), -1),
                (stored::outcome(after.outcome), 1),
            ];
            writes.push(self.counting(device, after.package, &counts));
        }
        Ok(match self.commit(writes).await? {
            Commit::Done => Recorded::Written,
            Commit::Refused(_) => Recorded::Superseded,
        })
    }

    /// Ends a task with its result, as [`Records::record_result`] does, together with the effect of
    /// the result on a rollout.
    ///
    /// The effect is decided from `cached`, an earlier read of the gate, or from a read if it is
    /// `None`. If the gate has changed since, it is read, and the effect is decided again, after a
    /// pause with jitter. A gate that is gone or unreadable has no effect: a result is recorded in
    /// any case.
    ///
    /// # Errors
    /// [`RecordsError::Conflict`] if the gate changed in each of ten tries. The device then sends
    /// its result again.
    pub async fn record_rollout_result(
        &self,
        device: &DeviceId,
        task: &OpenTask,
        result: &FinishedTask,
        of_rollout: &RolloutResult,
        cached: Option<&Gate>,
        now: UnixTime,
    ) -> Result<RolloutRecorded, RecordsError> {
        let mut read = cached.cloned().map(Some);
        let mut backoff = Backoff::default();
        loop {
            let gate = match read.take() {
                Some(gate) => gate,
                None => self.readable_gate(of_rollout.rollout).await?,
            };
            let effect = of_rollout.effect(gate.as_ref(), now);
            match self.write_result(device, task, result, &effect).await? {
                ResultWritten::Written => {
                    return Ok(RolloutRecorded {
                        recorded: Recorded::Written,
                        has_halted: effect.halts(),
                    });
                }
                ResultWritten::Superseded => {
                    return Ok(RolloutRecorded {
                        recorded: Recorded::Superseded,
                        has_halted: false,
                    });
                }
                ResultWritten::GateChanged if backoff.pause().await => {}
                ResultWritten::GateChanged => return Err(self.conflict()),
            }
        }
    }

    async fn write_result(
        &self,
        device: &DeviceId,
        task: &OpenTask,
        result: &FinishedTask,
        effect: &ResultEffect,
    ) -> Result<ResultWritten, RecordsError> {
        let attempt = item::number(&task.attempt);
        let ended = (stored::outcome(result.outcome), 1);
        // Pending tasks have no count of their own: see `Tally::waiting`.
        let counts: &[_] = match task.state {
            TaskState::Pending => &[ended],
            TaskState::Announced { .. } => &[(ANNOUNCED, -1), ended],
            TaskState::Withdrawn { .. } => &[(WITHDRAWN, -1), ended],
        };
        let mut writes = vec![
            self.ending(device, task),
            write::put(
                self.table(),
                stored::finished(device, result),
                "attribute_not_exists(pk) OR #attempt < :attempt",
                &Terms::default().name(ATTEMPT).value("attempt", attempt),
            ),
            self.counting(device, task.package, counts),
        ];
        writes.extend(self.effect_write(device, effect));
        let Commit::Refused(failed) = self.commit(writes).await? else {
            return Ok(ResultWritten::Written);
        };
        // If the answer to an earlier, successful write was lost, exactly this result is on record.
        let finished = self.finished(device, task.package).await?;
        Ok(if finished.as_ref() == Some(result) {
            ResultWritten::Written
        } else if failed[..2].contains(&true) {
            ResultWritten::Superseded
        } else {
            ResultWritten::GateChanged
        })
    }

    /// Returns the removal of a task, on the condition that its state has not changed.
    fn ending(&self, device: &DeviceId, task: &OpenTask) -> TransactWriteItem {
        let (same_state, terms) = in_same_state(task);
        write::delete(
            self.table(),
            &Key::task(device, task.priority, task.package),
            &same_state,
            &terms,
        )
    }

    fn effect_write(&self, device: &DeviceId, effect: &ResultEffect) -> Option<TransactWriteItem> {
        match effect {
            ResultEffect::None => None,
            ResultEffect::Gate { rollout, change } => Some(self.changing_gate(*rollout, change)),
            ResultEffect::Settles(settling) => {
                let item = stored::settling(device, settling);
                Some(write::replace(self.table(), item))
            }
        }
    }
}
