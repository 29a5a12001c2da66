//! Records tasks as announced, before the reply announces them to the device.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::TransactWriteItem;
use packcast_protocol::{DeviceId, GroupName, PackageId, UnixTime};
use packcast_rollout::rollout::{GateChange, Place};
use packcast_rollout::{OpenTask, TaskState};

use super::commit::Commit;
use super::key::Key;
use super::{Records, RecordsError};

/// A task to announce, with the group through which it is assigned.
#[derive(Clone, Copy, Debug)]
pub struct Announcing<'a> {
    pub task: &'a OpenTask,
    /// A group that has the package, with the revision of the group. `None` if the package is
    /// assigned to the device itself.
    pub by_group: Option<(&'a GroupName, u64)>,
    /// The place that an OCS agent takes in a rollout when it is told, with the change of the gate.
    /// `None` for a Packcast agent, which asks before it begins, and for a task without a rollout.
    pub place: Option<(Place, &'a GateChange)>,
}

impl<'a> Announcing<'a> {
    /// Returns a task that is assigned to the device itself.
    pub const fn direct(task: &'a OpenTask) -> Self {
        Self {
            task,
            by_group: None,
            place: None,
        }
    }
}

/// Tasks that the reply may announce, and tasks that it must not announce.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// Packages whose tasks are on record as announced, by this call or by a simultaneous one.
    pub on_record: Vec<PackageId>,
    /// Packages whose tasks must not be announced: the package is not active any more, the group
    /// has lost the package or the device, the groups or direct assignments of the device have
    /// changed, the gate has changed, the device is excluded, or the task is gone.
    pub refused: Vec<PackageId>,
}

/// Number of writes that announce one task without a place.
const WRITES: usize = 2;
/// Number of tasks in one transaction. If each task has a different group and takes a place, the
/// transaction has 97 of at most 100 writes.
const BATCH: usize = 24;

impl Records {
    /// Records pending tasks as announced.
    ///
    /// Each task is recorded only while its package is active and the device is not excluded. A task
    /// of a group is recorded only while the device is a member, and no revision of the group after
    /// the given one is complete. No task is recorded if the records of the device follow from
    /// another leaf than at their read: `leaf_order` is the order of
    /// [`DeviceState::leaf`](super::DeviceState::leaf).
    pub async fn announce(
        &self,
        device: &DeviceId,
        leaf_order: u64,
        tasks: &[Announcing<'_>],
        now: UnixTime,
    ) -> Result<Announced, RecordsError> {
        let mut announced = Announced::default();
        for batch in tasks.chunks(BATCH) {
            let mut left = batch.to_vec();
            while !left.is_empty() {
                left = self
                    .announce_all(device, leaf_order, left, now, &mut announced)
                    .await?;
            }
        }
        Ok(announced)
    }

    /// Announces all tasks, or none of them.
    ///
    /// If a condition fails, this function adds the tasks that are already announced, and the tasks
    /// that must not be announced, to `announced`. It returns the other tasks for the next try.
    async fn announce_all<'a>(
        &self,
        device: &DeviceId,
        leaf_order: u64,
        tasks: Vec<Announcing<'a>>,
        now: UnixTime,
        announced: &mut Announced,
    ) -> Result<Vec<Announcing<'a>>, RecordsError> {
        let groups: BTreeMap<&GroupName, u64> =
            tasks.iter().filter_map(|task| task.by_group).collect();
        let mut writes: Vec<TransactWriteItem> = tasks
            .iter()
            .flat_map(|announcing| self.announcing(device, announcing, now))
            .collect();
        let count = writes.len();
        writes.extend(self.having(device, leaf_order, &groups));
        let Commit::Refused(failed) = self.commit(writes).await? else {
            let packages = tasks.iter().map(|announcing| announcing.task.package);
            announced.on_record.extend(packages);
            return Ok(Vec::new());
        };
        // The results are in the order of the writes: tasks, then revisions, then memberships.
        let (of_tasks, of_groups) = failed.split_at(count);
        let (of_revisions, of_device) = of_groups.split_at(groups.len());
        // The device is excluded, has left a group, or has another leaf. In either case all tasks are decided again.
        let is_device_changed = of_device.contains(&true);
        let moved: Vec<&GroupName> = groups
            .keys()
            .zip(of_revisions)
            .filter_map(|(group, failed)| failed.then_some(*group))
            .collect();
        let mut left = Vec::new();
        let mut of_tasks = of_tasks;
        for announcing in tasks {
            let writes = WRITES + usize::from(announcing.place.is_some());
            let failed;
            (failed, of_tasks) = of_tasks.split_at(writes);
            let is_unwanted = is_device_changed
                || announcing
                    .by_group
                    .is_some_and(|(group, _)| moved.contains(&group));
            let package = announcing.task.package;
            // The first write of a task fails if a simultaneous check-in has announced it. The
            // device may then get the task in both replies.
            if failed[0] && self.is_announced(device, announcing.task).await? {
                announced.on_record.push(package);
            } else if failed.contains(&true) || is_unwanted {
                announced.refused.push(package);
            } else {
                left.push(announcing);
            }
        }
        Ok(left)
    }

    fn announcing(
        &self,
        device: &DeviceId,
        announcing: &Announcing<'_>,
        now: UnixTime,
    ) -> Vec<TransactWriteItem> {
        let task = announcing.task;
        let announced = OpenTask {
            state: TaskState::Announced { announced_at: now },
            place: announcing
                .place
                .map_or(task.place, |(place, _)| Some(place)),
            ..task.clone()
        };
        let mut writes = vec![
            self.replacing_task(device, task, &announced),
            self.counting_announced(device, task.package),
        ];
        debug_assert_eq!(writes.len(), WRITES);
        let taking = announcing.place;
        writes.extend(taking.map(|(place, change)| self.changing_gate(place.rollout, change)));
        writes
    }

    /// Returns the condition checks for the groups and the device.
    ///
    /// One check for each group requires that no later change of the group is complete. One more
    /// check requires that the device is not excluded, has the same leaf, and is a member of the
    /// groups.
    fn having(
        &self,
        device: &DeviceId,
        leaf_order: u64,
        groups: &BTreeMap<&GroupName, u64>,
    ) -> Vec<TransactWriteItem> {
        let mut writes: Vec<TransactWriteItem> = groups
            .iter()
            .map(|(group, revision)| self.not_later(device, group, *revision))
            .collect();
        let joined: Vec<&GroupName> = groups
            .keys()
            .copied()
            .filter(|group| !group.is_all())
            .collect();
        writes.push(self.in_groups(device, leaf_order, &joined));
        writes
    }

    /// Returns true if another check-in has recorded the same attempt as announced.
    async fn is_announced(&self, device: &DeviceId, task: &OpenTask) -> Result<bool, RecordsError> {
        let key = Key::task(device, task.priority, task.package);
        let found: Option<OpenTask> = self.get(&key).await?;
        Ok(found.is_some_and(|found| {
            found.attempt == task.attempt && matches!(found.state, TaskState::Announced { .. })
        }))
    }
}
