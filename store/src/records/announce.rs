//! Writing down that a device is told of its tasks, before it is.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use packcast_protocol::{DeviceId, GroupName, PackageId, UnixTime};
use packcast_rollout::{OpenTask, TaskChange, TaskState};

use super::commit::Commit;
use super::key::Key;
use super::names::ACTIVE;
use super::write::{self, Terms};
use super::{Records, RecordsError};

/// A task to be announced, and why the device is to have it.
#[derive(Clone, Copy, Debug)]
pub struct Announcing<'a> {
    pub task: &'a OpenTask,
    /// For a task that is not the device's own: a group that has the package, and the revision
    /// at which it has.
    pub by_group: Option<(&'a GroupName, u64)>,
}

impl<'a> Announcing<'a> {
    /// A task that the device itself was assigned.
    pub const fn direct(task: &'a OpenTask) -> Self {
        Self {
            task,
            by_group: None,
        }
    }
}

/// Which tasks the device may be told of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// Written down, by this call or by another at the same time.
    pub told: Vec<PackageId>,
    /// The package is not active any more, the group does not have it or the device any more,
    /// or the task is gone: the device must not be told.
    pub refused: Vec<PackageId>,
}

/// How many writes announce one task.
const WRITES: usize = 3;
/// How many tasks one transaction of at most 100 writes announces, each for another group.
const BATCH: usize = 24;

impl Records {
    /// Marks held tasks as announced, each only while its package is active and, for a task of
    /// a group, while the group is at that revision and the device in it.
    pub async fn announce(
        &self,
        device: &DeviceId,
        tasks: &[Announcing<'_>],
        now: UnixTime,
    ) -> Result<Announced, RecordsError> {
        let mut announced = Announced::default();
        for batch in tasks.chunks(BATCH) {
            let mut left = batch.to_vec();
            while !left.is_empty() {
                left = self.announce_all(device, left, now, &mut announced).await?;
            }
        }
        Ok(announced)
    }

    /// Announces all tasks, or sorts out those that cannot be and returns the rest.
    async fn announce_all<'a>(
        &self,
        device: &DeviceId,
        tasks: Vec<Announcing<'a>>,
        now: UnixTime,
        announced: &mut Announced,
    ) -> Result<Vec<Announcing<'a>>, RecordsError> {
        let groups: BTreeMap<&GroupName, u64> =
            tasks.iter().filter_map(|task| task.by_group).collect();
        let mut writes: Vec<TransactWriteItem> = tasks
            .iter()
            .flat_map(|announcing| self.announcing(device, announcing.task, now))
            .collect();
        writes.extend(self.having(device, &groups));
        let Commit::Refused(failed) = self.commit(writes).await? else {
            let told = tasks.iter().map(|announcing| announcing.task.package);
            announced.told.extend(told);
            return Ok(Vec::new());
        };
        let (of_tasks, of_groups) = failed.split_at(tasks.len() * WRITES);
        let (of_revisions, of_device) = of_groups.split_at(groups.len());
        let has_left = of_device.contains(&true);
        let moved: Vec<&GroupName> = groups
            .keys()
            .zip(of_revisions)
            .filter_map(|(group, failed)| failed.then_some(*group))
            .collect();
        let mut left = Vec::new();
        for (announcing, failed) in tasks.into_iter().zip(of_tasks.chunks(WRITES)) {
            let is_unwanted = announcing
                .by_group
                .is_some_and(|(group, _)| has_left || moved.contains(&group));
            let package = announcing.task.package;
            if failed[0] && self.is_told(device, announcing.task).await? {
                announced.told.push(package);
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
        task: &OpenTask,
        now: UnixTime,
    ) -> Vec<TransactWriteItem> {
        let change = TaskChange::Alter {
            from: task.clone(),
            to: OpenTask {
                state: TaskState::Announced { announced_at: now },
                ..task.clone()
            },
        };
        let active = Terms::default()
            .name(ACTIVE)
            .value("active", AttributeValue::Bool(true));
        let mut writes = self.changing(device, &change);
        writes.push(write::check(
            self.table(),
            &Key::package(task.package),
            "#active = :active",
            &active,
        ));
        debug_assert_eq!(writes.len(), WRITES);
        writes
    }

    /// Checks that the groups have not changed, one each, and that the device is in them.
    fn having(
        &self,
        device: &DeviceId,
        groups: &BTreeMap<&GroupName, u64>,
    ) -> Vec<TransactWriteItem> {
        let mut writes: Vec<TransactWriteItem> = groups
            .iter()
            .map(|(group, revision)| self.at_revision(group, *revision))
            .collect();
        let joined: Vec<&GroupName> = groups
            .keys()
            .copied()
            .filter(|group| !group.is_all())
            .collect();
        if !joined.is_empty() {
            writes.push(self.in_groups(device, &joined));
        }
        writes
    }

    /// Tells whether the same attempt was announced by another.
    async fn is_told(&self, device: &DeviceId, task: &OpenTask) -> Result<bool, RecordsError> {
        let key = Key::task(device, task.priority, task.package);
        let found: Option<OpenTask> = self.get(&key).await?;
        Ok(found.is_some_and(|found| {
            found.attempt == task.attempt && matches!(found.state, TaskState::Announced { .. })
        }))
    }
}
