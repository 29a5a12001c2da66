//! Writes for a change of an open task, on the condition that the task has not changed since the
//! decision.

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use packcast_protocol::DeviceId;
use packcast_rollout::{FinishedTask, OpenTask, TaskChange, TaskState};

use super::Records;
use super::item;
use super::key::Key;
use super::key::{INDEX_PK, INDEX_SK};
use super::names::{ANNOUNCED, ASSIGNED, ATTEMPT, DIRECT, PLACE, STATE, WITHDRAWN};
use super::stored;
use super::write::{self, ABSENT, Terms};

impl Records {
    /// Returns the writes for a change: at most three.
    pub(super) fn changing(
        &self,
        device: &DeviceId,
        change: &TaskChange,
    ) -> Vec<TransactWriteItem> {
        match change {
            TaskChange::Open { task, before } => self.opening(device, task, before.as_ref()),
            TaskChange::Alter { from, to } => self.altering(device, from, to),
            TaskChange::NextAttempt { from, to, before } => self.renewing(device, from, to, before),
            TaskChange::Drop { task, before } => self.dropping(device, task, before.as_ref()),
        }
    }

    fn opening(
        &self,
        device: &DeviceId,
        task: &OpenTask,
        before: Option<&FinishedTask>,
    ) -> Vec<TransactWriteItem> {
        let counts = before.map_or((ASSIGNED, 1), |before| {
            (stored::outcome(before.outcome), -1)
        });
        vec![
            write::create(self.table(), stored::task(device, task)),
            self.setting_aside(device, task, before),
            self.counting(device, task.package, &[counts]),
        ]
    }

    fn altering(
        &self,
        device: &DeviceId,
        from: &OpenTask,
        to: &OpenTask,
    ) -> Vec<TransactWriteItem> {
        let mut writes = vec![self.replacing_task(device, from, to)];
        if counted(from.state) != counted(to.state) {
            let leaves = counted(from.state).map(|count| (count, -1));
            let enters = counted(to.state).map(|count| (count, 1));
            let changes: Vec<_> = leaves.into_iter().chain(enters).collect();
            writes.push(self.counting(device, from.package, &changes));
        }
        writes
    }

    /// Returns the write that replaces a task, on the condition that it has not changed.
    pub(super) fn replacing_task(
        &self,
        device: &DeviceId,
        from: &OpenTask,
        to: &OpenTask,
    ) -> TransactWriteItem {
        let (unchanged, terms) = unchanged(from);
        // The key does not change: a task keeps its device, its priority and its package.
        write::put(self.table(), stored::task(device, to), &unchanged, &terms)
    }

    fn renewing(
        &self,
        device: &DeviceId,
        from: &OpenTask,
        to: &OpenTask,
        before: &FinishedTask,
    ) -> Vec<TransactWriteItem> {
        let mut writes = self.altering(device, from, to);
        writes.push(write::put(
            self.table(),
            stored::set_aside(device, before),
            "attribute_not_exists(pk) OR #attempt < :attempt",
            &same_attempt(before),
        ));
        writes
    }

    fn dropping(
        &self,
        device: &DeviceId,
        task: &OpenTask,
        before: Option<&FinishedTask>,
    ) -> Vec<TransactWriteItem> {
        let key = Key::task(device, task.priority, task.package);
        let (unchanged, terms) = unchanged(task);
        let counts = before.map_or((ASSIGNED, -1), |before| {
            (stored::outcome(before.outcome), 1)
        });
        vec![
            write::delete(self.table(), &key, &unchanged, &terms),
            self.counting_again(device, task, before),
            self.counting(device, task.package, &[counts]),
        ]
    }

    /// Returns the write that removes the previous result from the index, where the new task
    /// replaces it.
    fn setting_aside(
        &self,
        device: &DeviceId,
        task: &OpenTask,
        before: Option<&FinishedTask>,
    ) -> TransactWriteItem {
        let key = Key::finished(device, task.package);
        let Some(before) = before else {
            return write::check(self.table(), &key, ABSENT, &Terms::default());
        };
        let terms = same_attempt(before).name(INDEX_PK).name(INDEX_SK);
        write::update(
            self.table(),
            &key,
            "REMOVE #ipk, #isk",
            Some(SAME_ATTEMPT),
            &terms,
        )
    }

    /// Returns the write that puts the previous result back into the index.
    fn counting_again(
        &self,
        device: &DeviceId,
        task: &OpenTask,
        before: Option<&FinishedTask>,
    ) -> TransactWriteItem {
        let Some(before) = before else {
            let key = Key::finished(device, task.package);
            return write::check(self.table(), &key, ABSENT, &Terms::default());
        };
        let item = stored::finished(device, before);
        write::put(self.table(), item, SAME_ATTEMPT, &same_attempt(before))
    }
}

const SAME_ATTEMPT: &str = "#attempt = :attempt";

fn same_attempt(finished: &FinishedTask) -> Terms {
    Terms::default()
        .name(ATTEMPT)
        .value("attempt", item::number(&finished.attempt))
}

/// Returns the condition that a task has not changed since it was read.
pub(super) fn unchanged(task: &OpenTask) -> (String, Terms) {
    let (same_attempt, terms) = in_same_state(task);
    let terms = terms
        .name(DIRECT)
        .value("direct", AttributeValue::Bool(task.direct));
    (format!("{same_attempt} AND #direct = :direct"), terms)
}

/// Returns the condition that a task is in the same attempt, with the same state and the same place
/// in a rollout.
///
/// Without the place, a change that was decided before the device has taken its place would write
/// the task without it.
pub(super) fn in_same_state(task: &OpenTask) -> (String, Terms) {
    let terms = Terms::default()
        .name(ATTEMPT)
        .name(STATE)
        .name(PLACE)
        .value("attempt", item::number(&task.attempt))
        .value("state", item::text(stored::task_state(task.state)));
    let (same_place, terms) = match &task.place {
        None => ("attribute_not_exists(#place)", terms),
        Some(place) => (
            "#place = :place",
            terms.value("place", item::attribute(place)),
        ),
    };
    let same = "#attempt = :attempt AND #state.#state = :state";
    (format!("{same} AND {same_place}"), terms)
}

/// Returns the count for a task in this state. Pending tasks are not counted: their number is the
/// rest.
const fn counted(state: TaskState) -> Option<&'static str> {
    match state {
        TaskState::Pending => None,
        TaskState::Announced { .. } => Some(ANNOUNCED),
        TaskState::Withdrawn { .. } => Some(WITHDRAWN),
    }
}
