//! Assigning a package to a device.

use aws_sdk_dynamodb::types::TransactWriteItem;
use packcast_protocol::{DeviceId, UnixTime};
use packcast_rollout::assign::{Assigned, Situation, assign};
use packcast_rollout::{FinishedTask, OpenTask, PackageRecord};

use super::commit::Commit;
use super::device::packed_ids;
use super::item::{self, ASSIGNED, ATTEMPT, INDEX_PK, INDEX_SK, SK};
use super::key::Key;
use super::write::{self, ABSENT, PRESENT, Terms};
use super::{Records, RecordsError};

/// How often an assignment is decided anew when something changed meanwhile.
const TRIES: usize = 8;

impl Records {
    /// Gives a device a task to deploy a package, if [`assign`] decides so.
    pub async fn assign(
        &self,
        device: &DeviceId,
        package: &PackageRecord,
        force: bool,
        now: UnixTime,
    ) -> Result<Assigned, RecordsError> {
        for _ in 0..TRIES {
            let situation = self.situation(device, package).await?;
            let task = match assign(device, package, &situation, force, now) {
                Ok(task) => task,
                Err(answer) => return Ok(answer),
            };
            let writes = self.assigning(device, &task, situation.finished.as_ref());
            if self.commit(writes).await? == Commit::Done {
                return Ok(Assigned::New {
                    attempt: task.attempt,
                });
            }
        }
        Err(RecordsError::Conflict {
            table: self.table.to_string(),
        })
    }

    async fn situation(
        &self,
        device: &DeviceId,
        package: &PackageRecord,
    ) -> Result<Situation, RecordsError> {
        let task = Key::task(device, package.priority, package.id);
        let finished = Key::finished(device, package.id);
        let history = Key::history(device);
        let keys = [
            Key::device(device),
            task.clone(),
            finished.clone(),
            history.clone(),
        ];
        let mut situation = Situation::default();
        for item in self.batch(&keys).await? {
            let sk = item.get(SK).and_then(|sk| sk.as_s().ok());
            match sk.map(String::as_str) {
                Some(sk) if sk == task.sk => situation.open = Some(item::read(item)?),
                Some(sk) if sk == finished.sk => situation.finished = Some(item::read(item)?),
                Some(sk) if sk == history.sk => {
                    situation.in_history = packed_ids(&item).contains(&package.id);
                }
                _ => situation.is_known = true,
            }
        }
        Ok(situation)
    }

    /// The writes of a new task, which hold only for what they were decided from.
    fn assigning(
        &self,
        device: &DeviceId,
        task: &OpenTask,
        finished: Option<&FinishedTask>,
    ) -> Vec<TransactWriteItem> {
        let key = Key::finished(device, task.package);
        let none = Terms::default();
        let (before, counts) = match finished {
            None => (
                write::check(self.table(), &key, ABSENT, &none),
                (ASSIGNED, 1),
            ),
            Some(finished) => (
                self.setting_aside(&key, finished),
                (item::outcome(finished.outcome), -1),
            ),
        };
        vec![
            write::create(self.table(), item::task(device, task)),
            write::check(self.table(), &Key::device(device), PRESENT, &none),
            before,
            self.counting(device, task.package, &[counts]),
        ]
    }

    /// Takes a finished task out of the index: its device is in the new task's state.
    fn setting_aside(&self, key: &Key, finished: &FinishedTask) -> TransactWriteItem {
        let terms = Terms::default()
            .name(ATTEMPT)
            .name(INDEX_PK)
            .name(INDEX_SK)
            .value("attempt", item::number(&finished.attempt));
        write::update(
            self.table(),
            key,
            "REMOVE #ipk, #isk",
            Some("#attempt = :attempt"),
            &terms,
        )
    }
}
