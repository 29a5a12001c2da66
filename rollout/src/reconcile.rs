//! Reconciling a device with its groups: new tasks, and tasks without an assignment.
//!
//! A device's observed revision of a group is the revision up to which its tasks are reconciled.
//! An assignment above the observed revision creates a task. An assignment that is gone ends its
//! task, at any observed revision.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use packcast_protocol::state::{Mandate, RolloutId};
use packcast_protocol::{DeviceId, GroupName, PackageId, UnixTime};

use crate::assign::{AssignmentRequest, PackageOnDevice, assign};
use crate::change::TaskChange;
use crate::group::{GroupAssignment, GroupState};
use crate::membership::Memberships;
use crate::record::{OpenTask, PackageRecord, TaskState};
use crate::unassign::withdraw;

/// A device with its tasks, and the states of its groups.
#[derive(Clone, Copy, Debug)]
pub struct Reconciling<'a> {
    pub device: &'a DeviceId,
    pub memberships: &'a Memberships,
    pub tasks: &'a [OpenTask],
    /// The states of the device's groups, except groups that do not exist.
    ///
    /// They are no older than the observed revisions. If a task is withdrawn, they must have been
    /// read after the tasks, because a package may have moved from one group to another in the
    /// meantime: see [`withdraws`].
    pub states: &'a [GroupState],
    /// Groups of the device whose records may be incomplete: see
    /// [`follows_leaf`](crate::group::follows_leaf). The device gets none of their packages, and
    /// loses no task meanwhile, because any task may be of such a group.
    pub paused: &'a [GroupName],
}

/// Changes that are written together, at most [`Step::CHANGES`] of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    pub changes: Vec<TaskChange>,
    pub observed: Vec<ObservedRevision>,
}

/// A change of the observed revision of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedRevision {
    pub group: GroupName,
    pub from: u64,
    pub to: u64,
}

impl Step {
    /// Maximum number of changes: three writes for each change, and one for the observed revisions,
    /// fit into a transaction of 100 writes.
    pub const CHANGES: usize = 32;
}

/// Returns a group of the device that has a package, or `None` if no group has it.
pub fn group_with<'a>(
    memberships: &Memberships,
    states: impl IntoIterator<Item = &'a GroupState>,
    package: PackageId,
) -> Option<&'a GroupState> {
    states
        .into_iter()
        .filter(|state| memberships.includes(&state.group))
        .find(|state| state.assignment(package).is_some())
}

/// Returns the group through which a package is announced, and the rollout by which the device
/// begins. `None` if no group of the device has the package.
///
/// A group without a rollout comes first: its devices begin at once. Of several rollouts, the one
/// that was assigned last counts.
pub fn announcing_group<'a>(
    memberships: &Memberships,
    states: impl IntoIterator<Item = &'a GroupState>,
    package: PackageId,
) -> Option<(&'a GroupState, Option<RolloutId>)> {
    let states = states.into_iter();
    let own = states.filter(|state| memberships.includes(&state.group));
    own.filter_map(|state| Some((state, state.assignment(package)?)))
        .max_by_key(|(state, it)| (it.rollout.is_none(), it.mandate, Reverse(&state.group)))
        .map(|(state, assignment)| (state, assignment.rollout))
}

/// Returns the packages whose records [`reconcile`] needs. The set is empty if no task changes.
pub fn candidates(reconciling: &Reconciling<'_>) -> BTreeSet<PackageId> {
    let new = joined(reconciling)
        .flat_map(|state| new_assignments(reconciling, state))
        .map(|assignment| assignment.package);
    new.chain(unassigned(reconciling).map(|task| task.package))
        .collect()
}

/// Returns true if neither the tasks nor the observed revisions of the device change.
pub fn is_reconciled(reconciling: &Reconciling<'_>) -> bool {
    let has_changed = |state: &GroupState| {
        reconciling.memberships.observed_revision(&state.group) < state.revision
    };
    !joined(reconciling).any(has_changed) && !withdraws(reconciling)
}

/// Returns true if a task must be withdrawn or dropped.
pub fn withdraws(reconciling: &Reconciling<'_>) -> bool {
    unassigned(reconciling).next().is_some()
}

/// Decides the changes that bring a device's tasks in line with its groups, in steps to be
/// written one after the other.
///
/// An observed revision is raised in the step with the last change up to that revision, so that
/// an interrupted reconciliation continues where it stopped.
pub fn reconcile<'a>(
    reconciling: &Reconciling<'_>,
    on_device: impl Fn(PackageId) -> PackageOnDevice,
    package: impl Fn(PackageId) -> Option<&'a PackageRecord>,
    now: UnixTime,
) -> Vec<Step> {
    let mut steps = Steps::default();
    for task in unassigned(reconciling) {
        let before = on_device(task.package).finished;
        steps.add(withdraw(task, before.as_ref()));
    }
    let mut begun = BTreeSet::new();
    for state in joined(reconciling) {
        let mut from = reconciling.memberships.observed_revision(&state.group);
        for assignment in new_assignments(reconciling, state) {
            let mandate = state.mandate(assignment);
            let on_device = on_device(assignment.package);
            // The device has left the group since, and has joined it again.
            let is_used = used_up(&on_device, mandate.as_ref());
            let is_first = !is_used && begun.insert(assignment.package);
            let change = package(assignment.package)
                .filter(|_| is_first)
                .and_then(|package| {
                    let request = AssignmentRequest {
                        direct: false,
                        force: assignment.force,
                        mandate: None,
                    };
                    assign(reconciling.device, package, &on_device, request, now).ok()
                })
                .map(|change| following(change, mandate));
            // A full step may be the last one that is written: observe everything before this
            // assignment, and nothing of it.
            if steps.is_full() {
                steps.observe(&state.group, &mut from, assignment.seq - 1);
            }
            steps.add(change);
        }
        steps.observe(&state.group, &mut from, state.revision);
    }
    steps.0
}

/// Returns true if an attempt of the device has used up the mandate of a group.
fn used_up(on_device: &PackageOnDevice, mandate: Option<&Mandate>) -> bool {
    let finished = on_device.finished.as_ref();
    finished
        .zip(mandate)
        .is_some_and(|(finished, mandate)| finished.used.contains(mandate))
}

/// Returns a change whose attempt follows from the entry of a group.
fn following(mut change: TaskChange, mandate: Option<Mandate>) -> TaskChange {
    if let TaskChange::Open { task: to, .. }
    | TaskChange::Alter { to, .. }
    | TaskChange::NextAttempt { to, .. } = &mut change
    {
        to.group_mandate = mandate;
    }
    change
}

/// Returns the states of the device's groups that are not paused.
fn joined<'a>(reconciling: &Reconciling<'a>) -> impl Iterator<Item = &'a GroupState> {
    let (memberships, paused) = (reconciling.memberships, reconciling.paused);
    reconciling
        .states
        .iter()
        .filter(move |state| memberships.includes(&state.group) && !paused.contains(&state.group))
}

/// Returns the assignments of a group above the observed revision, oldest first.
fn new_assignments<'a>(
    reconciling: &Reconciling<'_>,
    state: &'a GroupState,
) -> Vec<&'a GroupAssignment> {
    let observed = reconciling.memberships.observed_revision(&state.group);
    let mut assignments: Vec<&GroupAssignment> = state
        .assignments
        .iter()
        .filter(|assignment| assignment.seq > observed)
        .collect();
    assignments.sort_by_key(|assignment| assignment.seq);
    assignments
}

/// Returns the tasks that are assigned neither to the device itself nor to a group of it.
fn unassigned<'a>(reconciling: &Reconciling<'a>) -> impl Iterator<Item = &'a OpenTask> {
    let (memberships, states) = (reconciling.memberships, reconciling.states);
    let is_paused = reconciling
        .memberships
        .groups()
        .any(|group| reconciling.paused.contains(&group));
    reconciling
        .tasks
        .iter()
        .filter(move |_| !is_paused)
        .filter(|task| !task.direct && !matches!(task.state, TaskState::Withdrawn { .. }))
        .filter(move |task| group_with(memberships, states, task.package).is_none())
}

/// Steps that are being built.
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

    /// Raises the observed revision of a group in the last step, and never lowers it.
    fn observe(&mut self, group: &GroupName, from: &mut u64, to: u64) {
        if *from >= to {
            return;
        }
        if self.0.is_empty() {
            self.0.push(Step::default());
        }
        let step = self.0.last_mut().expect("a step was added");
        match step
            .observed
            .iter_mut()
            .find(|observed| observed.group == *group)
        {
            Some(observed) => observed.to = to,
            None => step.observed.push(ObservedRevision {
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
