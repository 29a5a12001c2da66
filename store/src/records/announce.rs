//! Writing down that a device is told of its tasks, before it is.

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use packcast_protocol::{DeviceId, PackageId, UnixTime};
use packcast_rollout::{OpenTask, TaskState};

use super::commit::Commit;
use super::item::{self, ACTIVE, ANNOUNCED, ATTEMPT, INDEX_SK, STATE};
use super::key::{Key, index_sort};
use super::write::{self, Terms};
use super::{Records, RecordsError};

/// Which tasks the device may be told of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// Written down, by this call or by another at the same time.
    pub told: Vec<PackageId>,
    /// The package is not active any more, or the task is gone: the device must not be told.
    pub refused: Vec<PackageId>,
}

/// How many writes announce one task.
const WRITES: usize = 3;
/// How many tasks one transaction of at most 100 writes announces.
const BATCH: usize = 100 / WRITES;

impl Records {
    /// Marks held tasks as announced, each only while its package is active.
    pub async fn announce(
        &self,
        device: &DeviceId,
        tasks: &[&OpenTask],
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
        tasks: Vec<&'a OpenTask>,
        now: UnixTime,
        announced: &mut Announced,
    ) -> Result<Vec<&'a OpenTask>, RecordsError> {
        let writes = tasks
            .iter()
            .flat_map(|task| self.announcing(device, task, now))
            .collect();
        let Commit::Refused(failed) = self.commit(writes).await? else {
            announced.told.extend(tasks.iter().map(|task| task.package));
            return Ok(Vec::new());
        };
        let mut left = Vec::new();
        for (task, failed) in tasks.into_iter().zip(failed.chunks(WRITES)) {
            let is_told = failed[0] && self.is_told(device, task).await?;
            if is_told {
                announced.told.push(task.package);
            } else if failed.contains(&true) {
                announced.refused.push(task.package);
            } else {
                left.push(task);
            }
        }
        Ok(left)
    }

    fn announcing(
        &self,
        device: &DeviceId,
        task: &OpenTask,
        now: UnixTime,
    ) -> [TransactWriteItem; WRITES] {
        let announced = TaskState::Announced { announced_at: now };
        let state = item::task_state(announced);
        let terms = Terms::default()
            .name(STATE)
            .name(ATTEMPT)
            .name(INDEX_SK)
            .value("announced", item::attribute(&announced))
            .value("held", item::text(item::task_state(TaskState::Held)))
            .value("attempt", item::number(&task.attempt))
            .value("isk", item::text(index_sort(state, device)));
        let active = Terms::default()
            .name(ACTIVE)
            .value("active", AttributeValue::Bool(true));
        [
            write::update(
                self.table(),
                &Key::task(device, task.priority, task.package),
                "SET #state = :announced, #isk = :isk",
                Some("#attempt = :attempt AND #state.#state = :held"),
                &terms,
            ),
            write::check(
                self.table(),
                &Key::package(task.package),
                "#active = :active",
                &active,
            ),
            self.counting(device, task.package, &[(ANNOUNCED, 1)]),
        ]
    }

    /// Tells whether the same attempt was announced by another.
    async fn is_told(&self, device: &DeviceId, task: &OpenTask) -> Result<bool, RecordsError> {
        let key = Key::task(device, task.priority, task.package);
        let found: Option<OpenTask> = self.get(&key).await?;
        Ok(found
            .is_some_and(|found| found.attempt == task.attempt && found.state != TaskState::Held))
    }
}
