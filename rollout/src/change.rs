//! Changes of a device's open tasks. This crate decides them, and the store writes them.

use crate::record::{FinishedTask, OpenTask};

/// One change of one task. The change is valid only for the records from which it was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskChange {
    /// Creates a task.
    Open {
        task: OpenTask,
        /// Result of the previous attempt, which is not counted any more.
        before: Option<FinishedTask>,
    },
    /// Changes a task without changing its attempt.
    Alter { from: OpenTask, to: OpenTask },
    /// Begins the next attempt: the device cancelled a withdrawn task, and the package was
    /// assigned again in the meantime.
    NextAttempt {
        from: OpenTask,
        to: OpenTask,
        /// Result of the previous attempt, which is not counted any more.
        before: FinishedTask,
    },
    /// Removes a task that was not announced.
    Drop {
        task: OpenTask,
        /// Result of the previous attempt, which is counted again.
        before: Option<FinishedTask>,
    },
}

impl TaskChange {
    /// Makes this change in a device's tasks.
    pub fn apply(&self, tasks: &mut Vec<OpenTask>) {
        match self {
            Self::Open { task, .. } => tasks.push(task.clone()),
            Self::Alter { from, to } | Self::NextAttempt { from, to, .. } => {
                for task in tasks.iter_mut().filter(|task| *task == from) {
                    *task = to.clone();
                }
            }
            Self::Drop { task, .. } => tasks.retain(|open| open != task),
        }
    }
}
