//! What a check-in brought, in the order in which to work on it.

use std::collections::BTreeSet;

use packcast_protocol::api::{Cancel, Task};

/// One thing that the device was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    CallOff(Cancel),
    Deploy(Task),
}

/// Orders what a device was told: what is called off, then the tasks, priority 0 first, then
/// by id.
pub(crate) fn plan(mut tasks: Vec<Task>, cancels: &[Cancel]) -> Vec<Work> {
    tasks.sort_by_key(|task| (task.priority, task.id));
    let mut seen = BTreeSet::new();
    tasks.retain(|task| !is_called_off(task, cancels) && seen.insert(task.id));
    // A package that is told and called off at once has a later attempt, which is what counts.
    let cancels = cancels.iter().filter(|cancel| seen.insert(cancel.id));
    let mut work: Vec<Work> = cancels.map(|cancel| Work::CallOff(*cancel)).collect();
    work.extend(tasks.into_iter().map(Work::Deploy));
    work
}

/// Whether a task, or a later attempt at its package, is among those that are called off.
pub(crate) fn is_called_off(task: &Task, cancels: &[Cancel]) -> bool {
    cancels
        .iter()
        .any(|cancel| cancel.id == task.id && cancel.attempt >= task.attempt)
}

#[cfg(test)]
mod tests {
    use packcast_protocol::{PackageId, Priority, Sha256Digest};

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
        let planned: Vec<String> = plan(tasks, &cancels)
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
}
