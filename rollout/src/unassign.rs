//! The effect of unassigning a package: a task is dropped, withdrawn or kept.

use packcast_protocol::GroupName;

use crate::change::TaskChange;
use crate::record::{FinishedTask, OpenTask, TaskState};

/// Outcome of unassigning a package from a device itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unassigned {
    /// The task was not announced, and never will be.
    Dropped,
    /// The task was announced. A Packcast agent cancels it at its next check-in; an OCS agent
    /// finishes it.
    Withdrawn,
    /// The task stays because this group of the device has the package.
    KeptByGroup(GroupName),
    /// The task was withdrawn already.
    AlreadyWithdrawn,
    /// The device itself has no open assignment, but this group of the device has the package.
    OnlyByGroup(GroupName),
    /// The device has no open task for the package.
    NotAssigned,
}

/// Decides which change of a task follows if a package is unassigned from the device itself.
///
/// `kept_by` is a group of the device that has the package, if there is one.
pub fn unassign(
    open: Option<&OpenTask>,
    before: Option<&FinishedTask>,
    kept_by: Option<&GroupName>,
) -> (Unassigned, Option<TaskChange>) {
    let Some(task) = open else {
        return (Unassigned::NotAssigned, None);
    };
    match kept_by {
        Some(group) if task.direct => {
            let to = OpenTask {
                direct: false,
                ..task.clone()
            };
            let from = task.clone();
            let change = TaskChange::Alter { from, to };
            (Unassigned::KeptByGroup(group.clone()), Some(change))
        }
        Some(group) => (Unassigned::OnlyByGroup(group.clone()), None),
        None => {
            let change = withdraw(task, before);
            let outcome = match (&task.state, &change) {
                (TaskState::Pending, _) => Unassigned::Dropped,
                (_, Some(_)) => Unassigned::Withdrawn,
                (_, None) => Unassigned::AlreadyWithdrawn,
            };
            (outcome, change)
        }
    }
}

/// Decides how a task changes that neither the device nor a group of it is assigned any more.
///
/// An announced task stays until the device reports. Returns `None` if the task was withdrawn
/// already.
pub fn withdraw(task: &OpenTask, before: Option<&FinishedTask>) -> Option<TaskChange> {
    match task.state {
        TaskState::Pending => Some(TaskChange::Drop {
            task: task.clone(),
            before: before.cloned(),
        }),
        TaskState::Announced { announced_at } => Some(TaskChange::Alter {
            from: task.clone(),
            to: OpenTask {
                state: TaskState::Withdrawn { announced_at },
                direct: false,
                ..task.clone()
            },
        }),
        TaskState::Withdrawn { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use packcast_protocol::UnixTime;

    use super::*;
    use crate::group::tests::group;
    use crate::record::tests::task;

    const ANNOUNCED: TaskState = TaskState::Announced {
        announced_at: UnixTime(1_795_000_000),
    };
    const WITHDRAWN: TaskState = TaskState::Withdrawn {
        announced_at: UnixTime(1_795_000_000),
    };

    #[test]
    fn each_state_has_its_outcome() {
        use Unassigned::{
            AlreadyWithdrawn, Dropped, KeptByGroup, NotAssigned, OnlyByGroup, Withdrawn,
        };
        let lab = group("lab");
        let check = |state, direct, by_group: bool, expected: Unassigned, change: &str| {
            let open = OpenTask {
                state,
                direct,
                ..task(1, 5)
            };
            let (outcome, changed) = unassign(Some(&open), None, by_group.then_some(&lab));
            assert_eq!(outcome, expected, "{state:?} {direct} {by_group}");
            let changed = match changed {
                None => "none",
                Some(TaskChange::Drop { .. }) => "drop",
                Some(TaskChange::Alter { to, .. }) if to.state == state => "direct",
                Some(TaskChange::Alter { .. }) => "withdraw",
                Some(TaskChange::Open { .. } | TaskChange::NextAttempt { .. }) => "begin",
            };
            assert_eq!(changed, change, "{state:?} {direct} {by_group}");
        };
        for direct in [true, false] {
            check(TaskState::Pending, direct, false, Dropped, "drop");
            check(ANNOUNCED, direct, false, Withdrawn, "withdraw");
            check(WITHDRAWN, direct, false, AlreadyWithdrawn, "none");
        }
        for state in [TaskState::Pending, ANNOUNCED] {
            check(state, true, true, KeptByGroup(group("lab")), "direct");
            check(state, false, true, OnlyByGroup(group("lab")), "none");
        }
        assert_eq!(unassign(None, None, Some(&lab)), (NotAssigned, None));
    }
}
