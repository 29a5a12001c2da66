//! What a check-in brought, in the order in which to work on it.

use std::collections::BTreeSet;

use packcast_protocol::PackageId;
use packcast_protocol::api::{Cancel, Task};

/// How many tasks, and how many cancellations, of one reply are worked on, the first of each in
/// order. The others come again with a later one.
pub(crate) const MAX_TOLD: usize = 1000;

/// How many packages the device keeps at the most whose results wait to be accepted, or that are
/// not done. With as many it begins nothing new: somebody sends more than they want to hear of.
pub(crate) const MAX_KEPT: usize = 2000;

/// One thing that the device was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    CallOff(Cancel),
    Deploy(Task),
}

/// Orders what a device was told: what is called off, then the tasks, priority 0 first, then
/// by id. It has something of the packages in `kept`.
pub(crate) fn plan(
    mut tasks: Vec<Task>,
    cancels: &[Cancel],
    kept: &BTreeSet<PackageId>,
) -> Vec<Work> {
    tasks.sort_by_key(|task| (task.priority, task.id));
    let mut seen = BTreeSet::new();
    tasks.retain(|task| !is_called_off(task, cancels) && seen.insert(task.id));
    // A package that is told and called off at once has a later attempt, which is what counts.
    let cancels = cancels.iter().filter(|cancel| seen.insert(cancel.id));
    let cancels = cancels.map(|cancel| Work::CallOff(*cancel)).take(MAX_TOLD);
    let tasks = tasks.into_iter().map(Work::Deploy).take(MAX_TOLD);
    let mut room = MAX_KEPT.saturating_sub(kept.len());
    let has_room = |work: &Work| {
        let begins = !kept.contains(&work.package());
        let has_room = !begins || room > 0;
        room = room.saturating_sub(usize::from(begins));
        has_room
    };
    cancels.chain(tasks).filter(has_room).collect()
}

impl Work {
    const fn package(&self) -> PackageId {
        match self {
            Self::CallOff(cancel) => cancel.id,
            Self::Deploy(task) => task.id,
        }
    }
}

/// Whether a task, or a later attempt at its package, is among those that are called off.
pub(crate) fn is_called_off(task: &Task, cancels: &[Cancel]) -> bool {
    cancels
        .iter()
        .any(|cancel| cancel.id == task.id && cancel.attempt >= task.attempt)
}

#[cfg(test)]
mod tests {
    use packcast_protocol::{Priority, Sha256Digest};

    use super::*;

    fn id(n: u32) -> PackageId {
        PackageId::try_from(1_795_000_000 + n).unwrap()
    }

    fn task(n: u32, attempt: u32, priority: u8) -> Task {
        Task {
            id: id(n),
            attempt,
            priority: Priority::try_from(priority).unwrap(),
            locations: Vec::new(),
            manifest_sha256: Sha256Digest::of(b""),
            force: false,
        }
    }

    /// Holds the order, as `<package>.<attempt>`, those that are called off with a minus.
    fn check(tasks: Vec<Task>, cancels: &[(u32, u32)], expected: &[&str]) {
        let cancels: Vec<Cancel> = cancels
            .iter()
            .map(|(n, attempt)| Cancel {
                id: id(*n),
                attempt: *attempt,
            })
            .collect();
        let planned: Vec<String> = plan(tasks, &cancels, &BTreeSet::new())
            .into_iter()
            .map(|work| match work {
                Work::CallOff(Cancel { id, attempt }) => format!("-{}.{attempt}", id.get() % 10),
                Work::Deploy(task) => format!("{}.{}", task.id.get() % 10, task.attempt),
            })
            .collect();
        assert_eq!(planned, expected);
    }

    #[test]
    fn priority_0_comes_first_then_the_lower_id() {
        let tasks = vec![
            task(4, 1, 10),
            task(3, 1, 5),
            task(2, 1, 0),
            task(1, 1, 5),
            task(2, 1, 0),
        ];
        check(tasks, &[], &["2.1", "1.1", "3.1", "4.1"]);
    }

    #[test]
    fn what_is_called_off_comes_first_and_is_not_deployed() {
        let tasks = || vec![task(1, 2, 0), task(2, 1, 5)];
        check(tasks(), &[(3, 1)], &["-3.1", "1.2", "2.1"]);
        check(tasks(), &[(2, 1), (2, 1)], &["-2.1", "1.2"]);
        // Another attempt.
        check(tasks(), &[(1, 1)], &["1.2", "2.1"]);
    }

    #[test]
    fn nobody_makes_a_device_keep_more_than_it_has_room_for() {
        let count = |tasks: u32, cancels: u32, kept: u32| {
            let tasks = (0..tasks).map(|n| task(n, 1, 5)).collect();
            let cancels = (10_000..10_000 + cancels).map(|n| Cancel {
                id: id(n),
                attempt: 1,
            });
            let cancels: Vec<Cancel> = cancels.collect();
            let kept = (0..kept).map(id).collect();
            let work = plan(tasks, &cancels, &kept);
            let is_task = |work: &&Work| matches!(work, Work::Deploy(_));
            let tasks = work.iter().filter(is_task).count();
            (tasks, work.len() - tasks)
        };
        assert_eq!(count(5000, 5000, 0), (1000, 1000));
        assert_eq!(count(10, 10, 1995), (10, 5));
        assert_eq!(count(10, 10, 2000), (10, 0), "what is under way goes on");
        assert_eq!(count(3000, 0, 1999), (1000, 0));
    }
}
