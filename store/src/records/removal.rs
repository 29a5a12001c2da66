//! Removal of devices.
//!
//! A removal has three parts, and each may be repeated: [`Records::begin_removal`] excludes the
//! device, then its groups and assignments are withdrawn, and [`Records::erase`] takes the rest out
//! of the table. Because the device is excluded first, no check-in adds to the records meanwhile.

use std::ops::ControlFlow;

use aws_sdk_dynamodb::types::TransactWriteItem;
use packcast_protocol::{DeviceId, GroupName};
use packcast_rollout::exclusion::ExclusionKind;
use packcast_rollout::rollout::Settling;
use packcast_rollout::{
    ChangedBy, DeviceCommand, Exclusion, ExclusionReason, FinishedTask, OpenTask, TaskState,
    UnsignedChange,
};

use super::commit::Commit;
use super::exclusion::{Excludable, NoExcludable};
use super::item::{self, Item};
use super::key::{INDEX_PK, Key, Range};
use super::names::{ANNOUNCED, ASSIGNED, ATTEMPT, EXCLUDED, HOST_NAME, WITHDRAWN};
use super::stored::{self, Joining};
use super::task::unchanged;
use super::write::{self, PRESENT, Terms};
use super::{Records, RecordsError};

/// Number of tasks or results in one transaction, each with at most two writes.
const BATCH: usize = 25;

/// State of a removal after [`Records::begin_removal`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removing {
    /// The device is excluded, and is still in these groups.
    Begun { groups: Vec<GroupName> },
    /// The device was removed before.
    Complete,
    /// No device with this id has ever checked in.
    UnknownDevice,
    /// The record of the device cannot be read, so the device is not excluded.
    Unreadable,
}

impl Records {
    /// Returns true if a device has checked in once, so that it can be removed, or was removed.
    pub async fn is_removable(&self, device: &DeviceId) -> Result<bool, RecordsError> {
        Ok(self.excludable(device).await?.is_some())
    }

    /// Begins the removal of devices, all of them different, or continues an interrupted one.
    ///
    /// After this returns, no task is announced to the devices, and none is added to them. Returns
    /// the state of each removal, in the order of the devices.
    pub async fn begin_removal(
        &self,
        devices: &[DeviceId],
        reason: Option<&ExclusionReason>,
        by: &ChangedBy,
    ) -> Result<Vec<Removing>, RecordsError> {
        let exclusion = Exclusion {
            kind: ExclusionKind::Removed,
            since: by.at.second(),
            reason: reason.cloned(),
        };
        let decide = |device: &DeviceId, found: Result<&Excludable, NoExcludable>| {
            let present = found
                .ok()
                .filter(|it| it.host_name.is_some() && !it.joining.is_removed());
            let writes = present.map(|found| self.excluding(device, found, &exclusion));
            (writes.unwrap_or_default(), ())
        };
        let change = |devices| UnsignedChange::Removed {
            devices,
            reason: reason.cloned(),
        };
        self.change_devices(devices, by, &decide, &change).await?;
        // The groups are read again: from the exclusion on, a device joins no group.
        let found = self.excludables(devices).await?;
        let removing = devices.iter().map(|device| match found.of(device) {
            Ok(found) if found.joining.is_removed() => match found.host_name {
                None => Removing::Complete,
                Some(_) => Removing::Begun {
                    groups: found.joining.groups.joined().cloned().collect(),
                },
            },
            Err(NoExcludable::Unreadable) => Removing::Unreadable,
            Ok(_) | Err(NoExcludable::Unknown) => Removing::UnknownDevice,
        });
        Ok(removing.collect())
    }

    /// Erases a device whose removal has begun, and which is in no group any more.
    ///
    /// Its tasks and results leave the tallies. A tombstone and the signed device assignments
    /// remain: a publisher that remembers these assignments could otherwise not sign the next.
    pub async fn erase(&self, device: &DeviceId) -> Result<(), RecordsError> {
        self.retry_on_conflict((), |()| async move {
            let Some((found, host_name)) = self.begun(device).await? else {
                return Ok(ControlFlow::Break(()));
            };
            // Tasks come first: a report that arrives meanwhile turns a task into a result.
            let tasks: Vec<OpenTask> = self.all(&Range::open_tasks(device)).await?;
            let erasures = tasks.iter().map(|task| self.erasing_task(device, task));
            let mut is_done = self.erase_all(erasures.collect()).await?;
            let results = self.range(&Range::finished(device)).await?.items;
            let erasures: Result<Vec<_>, _> = results
                .into_iter()
                .map(|result| self.erasing_result(device, result))
                .collect();
            is_done = is_done && self.erase_all(erasures?).await?;
            // The places stay taken: nobody knows if the device is healthy.
            let settling: Vec<Settling> = self.all(&Range::settling(device)).await?;
            let erasures = settling.iter().map(|it| {
                let key = Key::settling(device, it.package);
                vec![write::remove(self.table(), &key)]
            });
            is_done = is_done && self.erase_all(erasures.collect()).await?;
            if is_done {
                let writes = self.burying(device, &found, &host_name);
                is_done = self.commit(writes).await? == Commit::Done;
            }
            Ok(if is_done {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        })
        .await
    }

    /// Reads a device whose removal has begun and is not complete, with its host name.
    async fn begun(&self, device: &DeviceId) -> Result<Option<(Joining, String)>, RecordsError> {
        let found = self.excludable(device).await?;
        Ok(found
            .filter(|found| found.joining.is_removed())
            .and_then(|found| Some((found.joining, found.host_name?))))
    }

    /// Returns false if another change came first.
    async fn erase_all(&self, erasures: Vec<Vec<TransactWriteItem>>) -> Result<bool, RecordsError> {
        for batch in erasures.chunks(BATCH) {
            if self.commit(batch.concat()).await? != Commit::Done {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn erasing_task(&self, device: &DeviceId, task: &OpenTask) -> Vec<TransactWriteItem> {
        let counts: &[_] = match task.state {
            TaskState::Pending => &[(ASSIGNED, -1)],
            TaskState::Announced { .. } => &[(ASSIGNED, -1), (ANNOUNCED, -1)],
            TaskState::Withdrawn { .. } => &[(ASSIGNED, -1), (WITHDRAWN, -1)],
        };
        let key = Key::task(device, task.priority, task.package);
        let (unchanged, terms) = unchanged(task);
        vec![
            write::delete(self.table(), &key, &unchanged, &terms),
            self.counting(device, task.package, counts),
        ]
    }

    /// Returns the writes that erase a result.
    ///
    /// A result that a later attempt has set aside is not in the index, and the task of that
    /// attempt was counted in its place.
    fn erasing_result(
        &self,
        device: &DeviceId,
        item: Item,
    ) -> Result<Vec<TransactWriteItem>, RecordsError> {
        let is_counted = item.contains_key(INDEX_PK);
        let result: FinishedTask = item::read(item)?;
        let same_place = if is_counted {
            "attribute_exists(#ipk)"
        } else {
            "attribute_not_exists(#ipk)"
        };
        let terms = Terms::default()
            .name(ATTEMPT)
            .name(INDEX_PK)
            .value("attempt", item::number(&result.attempt));
        let key = Key::finished(device, result.package);
        let condition = format!("#attempt = :attempt AND {same_place}");
        let mut writes = vec![write::delete(self.table(), &key, &condition, &terms)];
        if is_counted {
            let counts = [(ASSIGNED, -1), (stored::outcome(result.outcome), -1)];
            writes.push(self.counting(device, result.package, &counts));
        }
        Ok(writes)
    }

    /// Returns the writes that replace the record of a device with a tombstone.
    fn burying(
        &self,
        device: &DeviceId,
        found: &Joining,
        host_name: &str,
    ) -> Vec<TransactWriteItem> {
        let exclusion = item::attribute(&found.excluded);
        let terms = Terms::default()
            .name(EXCLUDED)
            .name(HOST_NAME)
            .value("exclusion", exclusion.clone())
            .value("host_name", item::text(host_name));
        let tombstone = stored::tombstone(device, found.round, exclusion);
        let catalogued = Key::catalogued_device(device);
        let mut writes = vec![
            write::put(
                self.table(),
                tombstone,
                "#excluded = :exclusion AND #host_name = :host_name",
                &terms,
            ),
            write::delete(self.table(), &catalogued, PRESENT, &Terms::default()),
            self.counting_device(device, -1),
        ];
        writes.extend(self.rename_writes(device, host_name, ""));
        let rest = [
            Key::history(device),
            Key::pace(device),
            Key::waits(device),
            Key::facts(device),
            Key::command(device, DeviceCommand::RestartDownload),
            Key::command(device, DeviceCommand::Drop),
        ];
        writes.extend(rest.iter().map(|key| write::remove(self.table(), key)));
        writes
    }
}
