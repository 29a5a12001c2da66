//! The plan of a round: the tasks and cancellations of a check-in, in order.

use std::collections::BTreeSet;

use packcast_protocol::PackageId;
use packcast_protocol::api::{Cancel, Task};

/// The number of tasks, and of cancellations, of one reply that are carried out.
///
/// The first ones in order count. The others come again with a later reply.
pub(crate) const MAX_ITEMS: usize = 1000;

/// The number of packages that the device holds at most: unfinished, or with an unaccepted result.
///
/// At the limit, a device begins no further package. Only a faulty or hostile server causes that.
pub(crate) const MAX_HELD_PACKAGES: usize = 2000;

/// One item of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WorkItem {
    Cancel(Cancel),
    Deploy(Task),
}

/// Orders the tasks and cancellations of a reply.
///
/// Cancellations come first, then tasks by priority, 0 first, and by id. `held` are the packages
/// that the device already holds.
pub(crate) fn plan(
    mut tasks: Vec<Task>,
    cancels: &[Cancel],
    held: &BTreeSet<PackageId>,
) -> Vec<WorkItem> {
    // The order must not depend on the reply: strict priority, and a stable order among equals.
    tasks.sort_by_key(|task| (task.priority, task.id));
    let mut seen = BTreeSet::new();
    tasks.retain(|task| !is_cancelled(task, cancels) && seen.insert(task.id));
    // If the reply announces and cancels a package, the announced attempt is a later one, and wins.
    let cancels = cancels.iter().filter(|cancel| seen.insert(cancel.id));
    let cancels = cancels
        .map(|cancel| WorkItem::Cancel(*cancel))
        .take(MAX_ITEMS);
    let tasks = tasks.into_iter().map(WorkItem::Deploy).take(MAX_ITEMS);
    let mut room = MAX_HELD_PACKAGES.saturating_sub(held.len());
    let has_room = |work: &WorkItem| {
        let begins = !held.contains(&work.package());
        let has_room = !begins || room > 0;
        room = room.saturating_sub(usize::from(begins));
        has_room
    };
    cancels.chain(tasks).filter(has_room).collect()
}

impl WorkItem {
    const fn package(&self) -> PackageId {
        match self {
            Self::Cancel(cancel) => cancel.id,
            Self::Deploy(task) => task.id,
        }
    }
}

/// Returns `true` if a task, or a later attempt at its package, is cancelled.
pub(crate) fn is_cancelled(task: &Task, cancels: &[Cancel]) -> bool {
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
            manifest_sha256: Sha256Digest::of(b""),
            locations: Vec::new(),
            folder: "d/package".parse().unwrap(),
        }
    }

    /// Checks the order, written as `<package>.<attempt>`, with a minus before cancellations.
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
                WorkItem::Cancel(Cancel { id, attempt }) => format!("-{}.{attempt}", id.get() % 10),
                WorkItem::Deploy(task) => format!("{}.{}", task.id.get() % 10, task.attempt),
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
    fn cancellations_come_first_and_their_tasks_are_not_deployed() {
        let tasks = || vec![task(1, 2, 0), task(2, 1, 5)];
        check(tasks(), &[(3, 1)], &["-3.1", "1.2", "2.1"]);
        check(tasks(), &[(2, 1), (2, 1)], &["-2.1", "1.2"]);
        // A cancellation of another attempt.
        check(tasks(), &[(1, 1)], &["1.2", "2.1"]);
    }

    #[test]
    fn a_reply_cannot_exceed_the_limits_of_a_device() {
        let count = |tasks: u32, cancels: u32, held: u32| {
            let tasks = (0..tasks).map(|n| task(n, 1, 5)).collect();
            let cancels = (10_000..10_000 + cancels).map(|n| Cancel {
                id: id(n),
                attempt: 1,
            });
            let cancels: Vec<Cancel> = cancels.collect();
            let held = (0..held).map(id).collect();
            let work = plan(tasks, &cancels, &held);
            let is_task = |work: &&WorkItem| matches!(work, WorkItem::Deploy(_));
            let tasks = work.iter().filter(is_task).count();
            (tasks, work.len() - tasks)
        };
        assert_eq!(count(5000, 5000, 0), (1000, 1000));
        assert_eq!(count(10, 10, 1995), (10, 5));
        assert_eq!(
            count(10, 10, 2000),
            (10, 0),
            "packages that the device holds continue"
        );
        assert_eq!(count(3000, 0, 1999), (1000, 0));
    }
}
