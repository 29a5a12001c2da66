//! Announced packages with which a device does not begin, as the device reports them.

use packcast_protocol::state::exchange::WaitingPackage;

use crate::record::{OpenTask, TaskState};

/// The waiting packages of a device: on record, and in its check-in.
#[derive(Clone, Copy, Debug)]
pub struct ReportedWaits<'a> {
    pub known: &'a [WaitingPackage],
    pub reported: &'a [WaitingPackage],
    pub tasks: &'a [OpenTask],
}

impl ReportedWaits<'_> {
    /// Returns the waiting packages to record. `None` if those on record are still right.
    ///
    /// A device can report any packages, so only its announced tasks count, each once.
    pub fn change(&self) -> Option<Vec<WaitingPackage>> {
        let announced = self.tasks.iter().filter(|task| is_announced(task));
        let waits: Vec<WaitingPackage> = announced
            .filter_map(|task| wait_of(self.reported, task))
            .collect();
        let is_known = self.known.len() == waits.len()
            && waits.iter().all(|waiting| self.known.contains(waiting));
        (!is_known).then_some(waits)
    }
}

/// Returns the reason why a device does not begin with an announced task.
pub fn wait_of(waits: &[WaitingPackage], task: &OpenTask) -> Option<WaitingPackage> {
    let mut waits = waits.iter();
    waits
        .find(|waiting| waiting.package == task.package && waiting.attempt == task.attempt)
        .filter(|_| is_announced(task))
        .copied()
}

const fn is_announced(task: &OpenTask) -> bool {
    matches!(task.state, TaskState::Announced { .. })
}

#[cfg(test)]
mod tests {
    use packcast_protocol::UnixTime;
    use packcast_protocol::state::exchange::WaitWord;

    use super::*;
    use crate::record::tests::{id, task};

    const AT: UnixTime = UnixTime(1_795_000_000);

    fn second_attempt(number: u32, state: TaskState) -> OpenTask {
        OpenTask {
            attempt: 2,
            state,
            ..task(number, 5)
        }
    }

    fn waiting(number: u32, attempt: u32, reason: WaitWord) -> WaitingPackage {
        WaitingPackage {
            package: id(number),
            attempt,
            reason,
            until: None,
        }
    }

    #[test]
    fn only_changes_of_announced_tasks_count() {
        let announced = TaskState::Announced { announced_at: AT };
        let withdrawn = TaskState::Withdrawn { announced_at: AT };
        let tasks = [
            second_attempt(1, announced),
            second_attempt(2, announced),
            second_attempt(3, withdrawn),
            second_attempt(4, TaskState::Pending),
        ];
        let change = |known: &[WaitingPackage], reported: &[WaitingPackage]| {
            let tasks = &tasks;
            let waits = ReportedWaits {
                known,
                reported,
                tasks,
            };
            waits.change()
        };
        let expired = |number, attempt| waiting(number, attempt, WaitWord::CommitExpired);
        assert_eq!(change(&[], &[]), None);
        // Another attempt, tasks that are not announced, and unknown packages.
        let other = [expired(1, 1), expired(3, 2), expired(4, 2), expired(5, 2)];
        assert_eq!(change(&[], &other), None);
        let both = [expired(1, 2), expired(2, 2)];
        let repeated = [expired(2, 2), expired(1, 2), expired(2, 2), expired(5, 2)];
        assert_eq!(change(&[], &repeated), Some(both.to_vec()));
        assert_eq!(change(&both, &repeated), None);
        let used = [expired(1, 2), waiting(2, 2, WaitWord::Used)];
        assert_eq!(change(&both, &used), Some(used.to_vec()));
        assert_eq!(change(&both, &both[..1]), Some(vec![both[0]]));
        assert_eq!(change(&both, &[]), Some(vec![]));
        assert_eq!(wait_of(&both, &tasks[0]), Some(both[0]));
        assert_eq!(wait_of(&other, &tasks[2]), None);
    }
}
