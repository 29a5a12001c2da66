//! Assigning a package to a device.

use aws_sdk_dynamodb::types::TransactWriteItem;
use packcast_protocol::{DeviceId, Outcome, UnixTime};
use packcast_rollout::{FinishedTask, OpenTask, PackageRecord, TaskState};

use super::commit::Commit;
use super::device::packed_ids;
use super::item::{self, ASSIGNED, ATTEMPT, INDEX_PK, INDEX_SK, SK};
use super::key::Key;
use super::write::{self, ABSENT, PRESENT, Terms};
use super::{Records, RecordsError};

/// What came of an assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assigned {
    /// The device has a new open task.
    New { attempt: u32 },
    /// The device has this task, and has not reported on it.
    AlreadyOpen { attempt: u32 },
    /// The device has reported success, and the assignment was not forced.
    AlreadyDone(FinishedTask),
    /// The device's own history has the package, and the assignment was not forced.
    InHistory,
    /// The package is meant for other devices.
    NotForDevice,
    /// No such device was ever in contact.
    UnknownDevice,
}

/// What is known of a device and a package before an assignment.
#[derive(Debug, Default)]
struct Situation {
    is_known: bool,
    open: Option<OpenTask>,
    finished: Option<FinishedTask>,
    in_history: bool,
}

/// How often an assignment is decided anew when something changed meanwhile.
const TRIES: usize = 8;

/// Decides which attempt an assignment makes, or why it makes none.
fn next_attempt(situation: &Situation, force: bool) -> Result<u32, Assigned> {
    if !situation.is_known {
        return Err(Assigned::UnknownDevice);
    }
    if let Some(open) = &situation.open {
        return Err(Assigned::AlreadyOpen {
            attempt: open.attempt,
        });
    }
    match &situation.finished {
        Some(done) if done.outcome == Outcome::Succeeded && !force => {
            Err(Assigned::AlreadyDone(done.clone()))
        }
        Some(done) => Ok(done.attempt.saturating_add(1)),
        None if situation.in_history && !force => Err(Assigned::InHistory),
        None => Ok(1),
    }
}

impl Records {
    /// Gives a device a task to deploy a package.
    ///
    /// A device that reported a failure gets the next attempt; one that has the package
    /// gets it only with `force`. A next attempt is told with force: a stock agent keeps a
    /// program that ran and failed in its history, and would not run it again without.
    pub async fn assign(
        &self,
        device: &DeviceId,
        package: &PackageRecord,
        force: bool,
        now: UnixTime,
    ) -> Result<Assigned, RecordsError> {
        if !package.audience.includes_device(device) {
            return Ok(Assigned::NotForDevice);
        }
        for _ in 0..TRIES {
            let situation = self.situation(device, package).await?;
            let attempt = match next_attempt(&situation, force) {
                Ok(attempt) => attempt,
                Err(answer) => return Ok(answer),
            };
            let task = OpenTask {
                package: package.id,
                priority: package.priority,
                attempt,
                state: TaskState::Held,
                force: force || attempt > 1,
                assigned_at: now,
            };
            let writes = self.assigning(device, &task, situation.finished.as_ref());
            if self.commit(writes).await? == Commit::Done {
                return Ok(Assigned::New { attempt });
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

#[cfg(test)]
mod tests {
    use packcast_protocol::{PackageId, ResultCode};

    use super::*;

    fn situation(finished: Option<Outcome>, in_history: bool) -> Situation {
        Situation {
            is_known: true,
            open: None,
            finished: finished.map(|outcome| FinishedTask {
                package: PackageId::at(UnixTime(1_795_000_000)).unwrap(),
                attempt: 4,
                code: ResultCode::Success,
                outcome,
                detail: None,
                output_tail: None,
                finished_at: UnixTime(1_795_000_000),
            }),
            in_history,
        }
    }

    #[test]
    fn force_is_needed_only_where_the_package_is() {
        use Outcome::{Failed, Succeeded};
        let check = |finished, in_history, force, expected: Result<u32, &str>| {
            let got = next_attempt(&situation(finished, in_history), force);
            let got = got.map_err(|answer| match answer {
                Assigned::AlreadyDone(_) => "done",
                Assigned::InHistory => "in history",
                _ => "other",
            });
            assert_eq!(got, expected, "{finished:?} {in_history} {force}");
        };
        check(None, false, false, Ok(1));
        check(None, false, true, Ok(1));
        check(None, true, false, Err("in history"));
        check(None, true, true, Ok(1));
        check(Some(Failed), false, false, Ok(5));
        check(Some(Failed), true, false, Ok(5));
        check(Some(Failed), true, true, Ok(5));
        check(Some(Succeeded), false, false, Err("done"));
        check(Some(Succeeded), true, false, Err("done"));
        check(Some(Succeeded), true, true, Ok(5));
    }

    #[test]
    fn an_unknown_device_gets_nothing() {
        let nothing = Situation::default();
        assert_eq!(next_attempt(&nothing, true), Err(Assigned::UnknownDevice));
    }
}
