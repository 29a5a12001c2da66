//! How a device's open tasks change: what is decided here and written by the store.

use crate::record::{FinishedTask, OpenTask};

/// One change of one task. It holds only for the records that it was decided from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskChange {
    /// A task begins.
    Open {
        task: OpenTask,
        /// The result of the attempt before, which does not count any more.
        before: Option<FinishedTask>,
    },
    /// A task of the same package goes on in another way.
    Alter { from: OpenTask, to: OpenTask },
    /// A device has dropped a task that is wanted again since: the next attempt begins.
    Renew {
        from: OpenTask,
        to: OpenTask,
        /// How the attempt before ended, which does not count any more.
        before: FinishedTask,
    },
    /// A task that no device was told of goes.
    Drop {
        task: OpenTask,
        /// The result of the attempt before, which counts again.
        before: Option<FinishedTask>,
    },
}

impl TaskChange {
    /// Returns the tasks as they are after this change.
    pub fn apply(&self, tasks: &mut Vec<OpenTask>) {
        match self {
            Self::Open { task, .. } => tasks.push(task.clone()),
            Self::Alter { from, to } | Self::Renew { from, to, .. } => {
                for task in tasks.iter_mut().filter(|task| *task == from) {
                    *task = to.clone();
                }
            }
            Self::Drop { task, .. } => tasks.retain(|open| open != task),
        }
    }
}
