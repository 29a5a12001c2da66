use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::{Outcome, ResultCode};
use proptest::prelude::*;

use super::*;
use crate::group::tests::group;
use crate::record::FinishedTask;
use crate::record::tests::{id, package};

const NOW: UnixTime = UnixTime(1_795_000_000);

/// A device with its groups, as they would be on record.
#[derive(Clone, Debug)]
struct DeviceModel {
    memberships: BTreeMap<GroupName, u64>,
    states: Vec<GroupState>,
    tasks: Vec<OpenTask>,
    finished: BTreeMap<PackageId, FinishedTask>,
    paused: Vec<GroupName>,
}

impl DeviceModel {
    fn new(groups: &[&str]) -> Self {
        Self {
            memberships: BTreeMap::new(),
            states: groups
                .iter()
                .map(|name| GroupState::new(group(name), 0, NOW))
                .collect(),
            tasks: Vec::new(),
            finished: BTreeMap::new(),
            paused: Vec::new(),
        }
    }

    fn join(&mut self, name: &str) {
        self.memberships.entry(group(name)).or_insert(0);
    }

    fn assign(&mut self, index: usize, n: u32, force: bool) {
        self.states[index] = self.states[index].assigning(&package(n), force);
    }

    fn unassign(&mut self, index: usize, n: u32) {
        if self.states[index].assignment(id(n)).is_some() {
            self.states[index] = self.states[index].without(id(n));
        }
    }

    fn steps(&self) -> Vec<Step> {
        let device = "ocs:web01-2026-03-04-05-06-07".parse().unwrap();
        let memberships: Memberships = self.memberships.clone().into_iter().collect();
        let reconciling = Reconciling {
            device: &device,
            memberships: &memberships,
            tasks: &self.tasks,
            states: &self.states,
            paused: &self.paused,
        };
        let known: Vec<PackageRecord> = (0..200).map(package).collect();
        let on_device = |package| PackageOnDevice {
            is_known: true,
            system: crate::DeviceSystem::Unknown,
            open: self.open(package).cloned(),
            finished: self.finished.get(&package).cloned(),
            in_history: false,
        };
        let find = |id| known.iter().find(|package| package.id == id);
        let steps = reconcile(&reconciling, on_device, find, NOW);
        let touched = candidates(&reconciling);
        let changes = steps.iter().flat_map(|step| &step.changes);
        for change in changes {
            assert!(touched.contains(&package_of(change)));
        }
        assert_eq!(is_reconciled(&reconciling), steps.is_empty());
        steps
    }

    fn apply(&mut self, step: &Step) {
        assert!(step.changes.len() <= Step::CHANGES);
        for change in &step.changes {
            if let TaskChange::Open { task, .. } = change {
                assert_eq!(self.open(task.package), None);
            }
            change.apply(&mut self.tasks);
        }
        for observed in &step.observed {
            let now = self.memberships.insert(observed.group.clone(), observed.to);
            assert_eq!(now.unwrap_or_default(), observed.from);
        }
    }

    fn reconcile(&mut self) {
        for step in self.steps() {
            self.apply(&step);
        }
        assert_eq!(self.steps(), []);
    }

    fn open(&self, package: PackageId) -> Option<&OpenTask> {
        self.tasks.iter().find(|task| task.package == package)
    }

    fn finish(&mut self, n: u32, outcome: Outcome) {
        let Some(task) = self.open(id(n)).cloned() else {
            return;
        };
        self.tasks.retain(|open| open.package != id(n));
        let result = FinishedTask {
            package: id(n),
            attempt: task.attempt,
            code: ResultCode::Success,
            outcome,
            detail: None,
            output_tail: None,
            mandate: None,
            used: BTreeSet::new(),
            finished_at: NOW,
        };
        self.finished.insert(id(n), result);
    }

    fn announce(&mut self) {
        for task in &mut self.tasks {
            if task.state == TaskState::Pending {
                task.state = TaskState::Announced { announced_at: NOW };
            }
        }
    }

    fn attempts(&self) -> Vec<(u32, u32)> {
        let mut attempts: Vec<(u32, u32)> = self
            .tasks
            .iter()
            .map(|task| (task.package.get() - id(0).get(), task.attempt))
            .collect();
        attempts.sort_unstable();
        attempts
    }
}

fn package_of(change: &TaskChange) -> PackageId {
    match change {
        TaskChange::Open { task, .. }
        | TaskChange::Drop { task, .. }
        | TaskChange::Alter { from: task, .. }
        | TaskChange::NextAttempt { from: task, .. } => task.package,
    }
}

#[test]
fn a_paused_group_brings_no_task_and_takes_none_away() {
    let mut world = DeviceModel::new(&["lab", "site"]);
    world.join("lab");
    world.join("site");
    world.assign(0, 1, false);
    world.reconcile();
    world.assign(0, 2, false);
    world.unassign(0, 1);
    world.assign(1, 3, false);
    world.paused = vec![group("lab")];
    world.reconcile();
    assert_eq!(world.attempts(), [(1, 1), (3, 1)]);
    world.unassign(1, 3);
    world.reconcile();
    assert_eq!(
        world.attempts(),
        [(1, 1), (3, 1)],
        "any task may be of the group"
    );
    world.paused.clear();
    world.reconcile();
    assert_eq!(world.attempts(), [(2, 1)]);
}

#[test]
fn a_device_that_joins_late_gets_the_packages_of_the_group() {
    let mut world = DeviceModel::new(&["lab", "all"]);
    world.assign(0, 1, false);
    world.assign(1, 2, false);
    world.reconcile();
    assert_eq!(world.attempts(), [(2, 1)]);
    world.join("lab");
    world.reconcile();
    assert_eq!(world.attempts(), [(1, 1), (2, 1)]);
}

#[test]
fn tasks_without_an_assignment_are_dropped_or_withdrawn() {
    let mut world = DeviceModel::new(&["lab"]);
    world.join("lab");
    world.assign(0, 1, false);
    world.reconcile();
    world.announce();
    world.assign(0, 2, false);
    world.reconcile();
    world.unassign(0, 1);
    world.unassign(0, 2);
    world.reconcile();
    let states: Vec<TaskState> = world.tasks.iter().map(|task| task.state).collect();
    assert_eq!(states, [TaskState::Withdrawn { announced_at: NOW }]);
}

#[test]
fn a_device_that_leaves_a_group_keeps_the_packages_of_its_other_groups() {
    let mut world = DeviceModel::new(&["lab", "site"]);
    world.join("lab");
    world.join("site");
    for (index, n) in [(0, 1), (0, 2), (1, 2)] {
        world.assign(index, n, false);
    }
    world.reconcile();
    assert_eq!(world.attempts(), [(1, 1), (2, 1)]);
    world.memberships.remove(&group("lab"));
    world.reconcile();
    assert_eq!(world.attempts(), [(2, 1)]);
}

#[test]
fn direct_tasks_stay() {
    let mut world = DeviceModel::new(&["lab"]);
    world.tasks.push(crate::record::tests::task(1, 5));
    world.reconcile();
    assert_eq!(world.attempts(), [(1, 1)]);
}

#[test]
fn assigning_again_creates_the_next_attempt_only_after_a_failure_or_with_force() {
    for (outcome, force, expected) in [
        (Outcome::Failed, false, vec![(1, 2)]),
        (Outcome::Succeeded, false, vec![]),
        (Outcome::Succeeded, true, vec![(1, 2)]),
    ] {
        let mut world = DeviceModel::new(&["all"]);
        world.assign(0, 1, false);
        world.reconcile();
        world.finish(1, outcome);
        world.reconcile();
        assert_eq!(world.attempts(), []);
        world.assign(0, 1, force);
        world.reconcile();
        assert_eq!(world.attempts(), expected, "{outcome:?} {force}");
    }
}

#[test]
fn an_observed_revision_is_never_lowered() {
    let mut world = DeviceModel::new(&["lab"]);
    world.join("lab");
    world.assign(0, 1, false);
    let older = world.states.clone();
    world.assign(0, 2, false);
    world.reconcile();
    world.states = older;
    world.tasks.retain(|task| task.package == id(1));
    assert_eq!(world.steps(), []);
}

#[test]
fn an_interrupted_reconciliation_continues_where_it_stopped() {
    let mut world = DeviceModel::new(&["lab", "all"]);
    world.join("lab");
    for n in 0..150 {
        world.assign((n % 2) as usize, n, false);
    }
    let steps = world.steps();
    assert_eq!(steps.len(), 5);
    world.apply(&steps[0]);
    // A new task may fail before the remaining steps are written.
    world.finish(0, Outcome::Failed);
    world.reconcile();
    let opened: BTreeSet<u32> = world.attempts().into_iter().map(|(n, _)| n).collect();
    assert_eq!(opened, (1..150).collect());
}

#[derive(Clone, Debug)]
enum Event {
    Assign(usize, u32, bool),
    Unassign(usize, u32),
    Join(usize),
    Leave(usize),
    Announce,
    Finish(u32, bool),
    Reconcile,
}

const GROUPS: [&str; 3] = ["lab", "site", "all"];

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..3usize, 0..4u32, any::<bool>()).prop_map(|(g, n, force)| Event::Assign(g, n, force)),
        (0..3usize, 0..4u32).prop_map(|(g, n)| Event::Unassign(g, n)),
        (0..2usize).prop_map(Event::Join),
        (0..2usize).prop_map(Event::Leave),
        Just(Event::Announce),
        (0..4u32, any::<bool>()).prop_map(|(n, ok)| Event::Finish(n, ok)),
        Just(Event::Reconcile),
    ]
}

proptest! {
    /// After any sequence of events, a reconciled device has a task or a result for each package
    /// of its groups, and no pending or announced task without an assignment.
    #[test]
    fn a_reconciled_device_agrees_with_its_groups(events in prop::collection::vec(event(), 0..40)) {
        let mut world = DeviceModel::new(&GROUPS);
        for event in events {
            match event {
                Event::Assign(g, n, force) => world.assign(g, n, force),
                Event::Unassign(g, n) => world.unassign(g, n),
                Event::Join(g) => world.join(GROUPS[g]),
                Event::Leave(g) => {
                    world.memberships.remove(&group(GROUPS[g]));
                }
                Event::Announce => world.announce(),
                Event::Finish(n, ok) => {
                    let outcome = if ok { Outcome::Succeeded } else { Outcome::Failed };
                    world.finish(n, outcome);
                }
                Event::Reconcile => world.reconcile(),
            }
        }
        world.reconcile();
        let memberships: Memberships = world.memberships.clone().into_iter().collect();
        for n in 0..4 {
            let is_assigned = group_with(&memberships, &world.states, id(n)).is_some();
            let open = world.open(id(n)).filter(|task| !matches!(task.state, TaskState::Withdrawn { .. }));
            prop_assert!(is_assigned || open.is_none());
            prop_assert!(!is_assigned || open.is_some() || world.finished.contains_key(&id(n)));
        }
    }
}

#[test]
fn a_package_is_announced_by_a_group_without_a_rollout_or_by_the_latest_rollout() {
    let (first, second) = (
        RolloutId::from_bytes([1; 16]),
        RolloutId::from_bytes([2; 16]),
    );
    let state = |name: &str, mandate: u64, rollout: Option<RolloutId>| {
        let mut state = GroupState::new(group(name), 0, NOW).assigning(&package(1), false);
        state.assignments[0].mandate = Some(mandate);
        state.assignments[0].rollout = rollout;
        state
    };
    let states = [
        state("early", 5, Some(first)),
        state("late", 7, Some(second)),
        state("plain", 3, None),
        state("other", 9, None),
    ];
    for (joined, expected) in [
        (&["early"][..], Some(("early", Some(first)))),
        (&["early", "late"], Some(("late", Some(second)))),
        (&["early", "late", "plain"], Some(("plain", None))),
        (&[], None),
    ] {
        let joined = joined.iter().map(|name| (group(name), 0));
        let memberships: Memberships = joined.collect();
        let found = announcing_group(&memberships, &states, id(1));
        let found = found.map(|(state, rollout)| (state.group.clone(), rollout));
        let expected = expected.map(|(name, rollout)| (group(name), rollout));
        assert_eq!(found, expected);
        assert_eq!(announcing_group(&memberships, &states, id(2)), None);
    }
}
