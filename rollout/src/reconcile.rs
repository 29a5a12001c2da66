//! What a device's groups change for it: tasks that begin, and tasks that nothing wants any more.
//!
//! A device's mark says up to which revision of a group its tasks are reconciled. An
//! assignment above the mark begins a task; one that is gone ends it, whatever the mark.

use std::collections::BTreeSet;

use packcast_protocol::{DeviceId, GroupName, PackageId, UnixTime};

use crate::assign::{Assigning, Situation, assign};
use crate::change::TaskChange;
use crate::group::{GroupAssignment, GroupState};
use crate::membership::Memberships;
use crate::record::{OpenTask, PackageRecord, TaskState};
use crate::unassign::take_back;

/// A device beside what its groups have.
#[derive(Clone, Copy, Debug)]
pub struct Reconciling<'a> {
    pub device: &'a DeviceId,
    pub memberships: &'a Memberships,
    pub tasks: &'a [OpenTask],
    /// The states of the device's groups, no older than the device's marks; a group that does
    /// not exist has none. Where something is taken back, as they were after the tasks were
    /// read, as a package may have gone from one group to another: see [`takes_back`].
    pub states: &'a [GroupState],
}

/// Changes that are written together, at most [`Step::CHANGES`] of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    pub changes: Vec<TaskChange>,
    pub marks: Vec<Mark>,
}

/// How far a group's assignments have become tasks of the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    pub group: GroupName,
    pub from: u64,
    pub to: u64,
}

impl Step {
    /// Three writes each, and one for the marks, fit into a transaction of 100.
    pub const CHANGES: usize = 32;
}

/// Returns the group of the device that has a package, if one has.
pub fn wanting<'a>(
    memberships: &Memberships,
    states: &'a [GroupState],
    package: PackageId,
) -> Option<&'a GroupState> {
    states
        .iter()
        .filter(|state| memberships.includes(&state.group))
        .find(|state| state.assignment(package).is_some())
}

/// Returns the packages whose situation [`reconcile`] has to know; none if nothing changes.
pub fn candidates(reconciling: &Reconciling<'_>) -> BTreeSet<PackageId> {
    let new = joined(reconciling)
        .flat_map(|state| news(reconciling, state))
        .map(|assignment| assignment.package);
    new.chain(unwanted(reconciling).map(|task| task.package))
        .collect()
}

/// Tells whether a device's groups change nothing for it, marks included.
pub fn is_reconciled(reconciling: &Reconciling<'_>) -> bool {
    let moved = |state: &GroupState| reconciling.memberships.mark(&state.group) < state.revision;
    !joined(reconciling).any(moved) && !takes_back(reconciling)
}

/// Tells whether a task is to be taken back.
pub fn takes_back(reconciling: &Reconciling<'_>) -> bool {
    unwanted(reconciling).next().is_some()
}

/// Decides what a device's groups change, in steps to be written one after the other.
///
/// A mark moves with the step that holds the last of what it stands for, so that a
/// reconciliation that was interrupted goes on where it ended.
pub fn reconcile<'a>(
    reconciling: &Reconciling<'_>,
    situation: impl Fn(PackageId) -> Situation,
    package: impl Fn(PackageId) -> Option<&'a PackageRecord>,
    now: UnixTime,
) -> Vec<Step> {
    let mut steps = Steps::default();
    for task in unwanted(reconciling) {
        let before = situation(task.package).finished;
        steps.add(take_back(task, before.as_ref()));
    }
    let mut begun = BTreeSet::new();
    for state in joined(reconciling) {
        let mut from = reconciling.memberships.mark(&state.group);
        for assignment in news(reconciling, state) {
            let is_first = begun.insert(assignment.package);
            let change = package(assignment.package)
                .filter(|_| is_first)
                .and_then(|package| {
                    let by = Assigning {
                        direct: false,
                        force: assignment.force,
                    };
                    let situation = situation(assignment.package);
                    assign(reconciling.device, package, &situation, by, now).ok()
                });
            if steps.is_full() {
                steps.mark(&state.group, &mut from, assignment.seq - 1);
            }
            steps.add(change);
        }
        steps.mark(&state.group, &mut from, state.revision);
    }
    steps.0
}

/// Returns the states of the groups that the device is in.
fn joined<'a>(reconciling: &Reconciling<'a>) -> impl Iterator<Item = &'a GroupState> {
    let memberships = reconciling.memberships;
    reconciling
        .states
        .iter()
        .filter(move |state| memberships.includes(&state.group))
}

/// Returns what a group got since the device was last reconciled with it, oldest first.
fn news<'a>(reconciling: &Reconciling<'_>, state: &'a GroupState) -> Vec<&'a GroupAssignment> {
    let mark = reconciling.memberships.mark(&state.group);
    let mut news: Vec<&GroupAssignment> = state
        .assignments
        .iter()
        .filter(|assignment| assignment.seq > mark)
        .collect();
    news.sort_by_key(|assignment| assignment.seq);
    news
}

/// Returns the tasks that neither the device itself nor a group of it was assigned any more.
fn unwanted<'a>(reconciling: &Reconciling<'a>) -> impl Iterator<Item = &'a OpenTask> {
    let (memberships, states) = (reconciling.memberships, reconciling.states);
    reconciling
        .tasks
        .iter()
        .filter(|task| !task.direct && !matches!(task.state, TaskState::Withdrawn { .. }))
        .filter(move |task| wanting(memberships, states, task.package).is_none())
}

/// Steps in the making.
#[derive(Default)]
struct Steps(Vec<Step>);

impl Steps {
    fn is_full(&self) -> bool {
        self.0
            .last()
            .is_some_and(|step| step.changes.len() >= Step::CHANGES)
    }

    fn open(&mut self) -> &mut Step {
        if self.0.is_empty() || self.is_full() {
            self.0.push(Step::default());
        }
        self.0.last_mut().expect("a step was added")
    }

    fn add(&mut self, change: Option<TaskChange>) {
        if let Some(change) = change {
            self.open().changes.push(change);
        }
    }

    /// Moves a group's mark with the last step, never back.
    fn mark(&mut self, group: &GroupName, from: &mut u64, to: u64) {
        if *from >= to {
            return;
        }
        if self.0.is_empty() {
            self.0.push(Step::default());
        }
        let step = self.0.last_mut().expect("a step was added");
        match step.marks.iter_mut().find(|mark| mark.group == *group) {
            Some(mark) => mark.to = to,
            None => step.marks.push(Mark {
                group: group.clone(),
                from: *from,
                to,
            }),
        }
        *from = to;
    }
}

#[cfg(test)]
mod tests;
