//! What becomes of a task whose assignment is taken back.

use packcast_protocol::GroupName;

use crate::change::TaskChange;
use crate::record::{FinishedTask, OpenTask, TaskState};

/// What came of taking back the assignment to a device itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unassigned {
    /// The device was not told, and will not be.
    Dropped,
    /// The device was told: ours cancels at its next check-in, a stock agent goes on.
    Withdrawn,
    /// This group of the device has the package still.
    KeptByGroup(GroupName),
    /// It was taken back before.
    AlreadyWithdrawn,
    /// There is no open assignment to the device itself, but this group of it has the package.
    OnlyByGroup(GroupName),
    /// The device has no open task for the package.
    NotAssigned,
}

/// Decides what taking back the assignment to a device itself changes.
///
/// `wanted_by` is a group of the device that has the package, if one has.
pub fn unassign(
    open: Option<&OpenTask>,
    before: Option<&FinishedTask>,
    wanted_by: Option<&GroupName>,
) -> (Unassigned, Option<TaskChange>) {
    let Some(task) = open else {
        return (Unassigned::NotAssigned, None);
    };
    match wanted_by {
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
            let change = take_back(task, before);
            let what = match (&task.state, &change) {
                (TaskState::Held, _) => Unassigned::Dropped,
                (_, Some(_)) => Unassigned::Withdrawn,
                (_, None) => Unassigned::AlreadyWithdrawn,
            };
            (what, change)
        }
    }
}

/// Decides how a task ends that nothing wants any more; none if it was withdrawn before.
///
/// A task that the device was told of stays until the device says what became of it.
pub fn take_back(task: &OpenTask, before: Option<&FinishedTask>) -> Option<TaskChange> {
    match task.state {
        TaskState::Held => Some(TaskChange::Drop {
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

    const TOLD: TaskState = TaskState::Announced {
        announced_at: UnixTime(1_795_000_000),
    };
    const TAKEN_BACK: TaskState = TaskState::Withdrawn {
        announced_at: UnixTime(1_795_000_000),
    };

    #[test]
    fn what_becomes_of_each_state() {
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
            let (what, changed) = unassign(Some(&open), None, by_group.then_some(&lab));
            assert_eq!(what, expected, "{state:?} {direct} {by_group}");
            let changed = match changed {
                None => "none",
                Some(TaskChange::Drop { .. }) => "drop",
                Some(TaskChange::Alter { to, .. }) if to.state == state => "direct",
                Some(TaskChange::Alter { .. }) => "withdraw",
                Some(TaskChange::Open { .. } | TaskChange::Renew { .. }) => "begin",
            };
            assert_eq!(changed, change, "{state:?} {direct} {by_group}");
        };
        for direct in [true, false] {
            check(TaskState::Held, direct, false, Dropped, "drop");
            check(TOLD, direct, false, Withdrawn, "withdraw");
            check(TAKEN_BACK, direct, false, AlreadyWithdrawn, "none");
        }
        for state in [TaskState::Held, TOLD] {
            check(state, true, true, KeptByGroup(group("lab")), "direct");
            check(state, false, true, OnlyByGroup(group("lab")), "none");
        }
        assert_eq!(unassign(None, None, Some(&lab)), (NotAssigned, None));
    }
}
