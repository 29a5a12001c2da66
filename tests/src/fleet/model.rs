//! A model of the records, which keeps everything in memory and shares no decision with the
//! system.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::Outcome;
use packcast_store::records::{DeploymentState, Tally};

/// The expected state after all acts, check-ins and reports.
///
/// Packages, groups and devices are numbers. Groups are in the order of their names; the last is
/// the group of all devices.
#[derive(Debug)]
pub(super) struct FleetModel {
    pub(super) packages: Vec<ModelPackage>,
    pub(super) groups: Vec<ModelGroup>,
    pub(super) devices: Vec<ModelDevice>,
    /// The number of assignments to groups so far.
    events: u64,
}

#[derive(Debug)]
pub(super) struct ModelPackage {
    pub(super) priority: u8,
    pub(super) is_active: bool,
}

/// The assignments of a group.
#[derive(Debug, Default)]
pub(super) struct ModelGroup(BTreeMap<usize, Assignment>);

#[derive(Clone, Copy, Debug)]
struct Assignment {
    event: u64,
    force: bool,
}

#[derive(Debug)]
pub(super) struct ModelDevice {
    pub(super) is_ocs: bool,
    /// The device's groups, each with the last event up to which the device is reconciled.
    groups: BTreeMap<usize, u64>,
    pub(super) deployments: BTreeMap<usize, ModelDeployment>,
}

/// The state of a package on a device.
#[derive(Clone, Debug, Default)]
pub(super) struct ModelDeployment {
    pub(super) open: Option<ModelTask>,
    pub(super) done: Option<ModelResult>,
    /// The assignment to a group from which the open task follows.
    follows: Option<GroupEvent>,
    /// The assignments to groups that the device has tried.
    used: BTreeSet<GroupEvent>,
}

/// A group, with the event that has assigned a package to it.
type GroupEvent = (usize, u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ModelTask {
    pub(super) state: DeploymentState,
    pub(super) attempt: u32,
    pub(super) is_direct: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ModelResult {
    pub(super) attempt: u32,
    pub(super) code: &'static str,
    pub(super) outcome: Outcome,
}

/// The expected reply to a check-in: packages with their attempts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ExpectedReply {
    pub(super) tasks: Vec<(usize, u32)>,
    pub(super) cancel: Vec<(usize, u32)>,
}

impl FleetModel {
    pub(super) fn new(packages: Vec<ModelPackage>, groups: usize, ocs: &[bool]) -> Self {
        let all = groups - 1;
        let device = |is_ocs: &bool| ModelDevice {
            is_ocs: *is_ocs,
            groups: BTreeMap::from([(all, 0)]),
            deployments: BTreeMap::new(),
        };
        Self {
            packages,
            groups: (0..groups).map(|_| ModelGroup::default()).collect(),
            devices: ocs.iter().map(device).collect(),
            events: 0,
        }
    }

    pub(super) fn join(&mut self, device: usize, group: usize) {
        self.devices[device].groups.entry(group).or_insert(0);
    }

    pub(super) fn leave(&mut self, device: usize, group: usize) {
        self.devices[device].groups.remove(&group);
    }

    /// Returns the groups that a device has joined.
    pub(super) fn joined(&self, device: usize) -> impl Iterator<Item = usize> {
        let all = self.groups.len() - 1;
        let groups = self.devices[device].groups.keys().copied();
        groups.filter(move |group| *group != all)
    }

    /// Returns the devices of a group.
    pub(super) fn members(&self, group: usize) -> BTreeSet<usize> {
        let devices = self.devices.iter().enumerate();
        let members = devices.filter(|(_, device)| device.groups.contains_key(&group));
        members.map(|(number, _)| number).collect()
    }

    /// Returns the groups that have a package.
    pub(super) fn having(&self, package: usize) -> Vec<usize> {
        let groups = self.groups.iter().enumerate();
        let having = groups.filter(|(_, group)| group.0.contains_key(&package));
        having.map(|(number, _)| number).collect()
    }

    pub(super) fn assign(&mut self, group: usize, package: usize, force: bool) {
        self.events += 1;
        let event = self.events;
        self.groups[group]
            .0
            .insert(package, Assignment { event, force });
    }

    pub(super) fn unassign(&mut self, group: usize, package: usize) {
        self.groups[group].0.remove(&package);
    }

    pub(super) fn assign_device(&mut self, device: usize, package: usize) {
        self.devices[device].begin(package, false, None);
    }

    pub(super) fn unassign_device(&mut self, device: usize, package: usize) {
        let device = &mut self.devices[device];
        let is_in_group = device.is_in_a_group_with(&self.groups, package);
        if let Some(deployment) = device.deployments.get_mut(&package) {
            if is_in_group {
                if let Some(open) = &mut deployment.open {
                    open.is_direct = false;
                }
            } else {
                deployment.withdraw();
            }
        }
    }

    /// Applies a check-in, and returns the expected reply.
    pub(super) fn check_in(&mut self, device: usize) -> ExpectedReply {
        let device = &mut self.devices[device];
        device.withdraw_lost_packages(&self.groups);
        device.start_new_packages(&self.groups, self.events);
        for (package, deployment) in &mut device.deployments {
            if let Some(open) = &mut deployment.open
                && open.state == DeploymentState::Pending
                && self.packages[*package].is_active
            {
                open.state = DeploymentState::Announced;
            }
        }
        device.reply(&self.packages)
    }

    /// Applies a report; OCS agents report no attempt.
    pub(super) fn report(&mut self, device: usize, package: usize, reported: ModelResult) {
        let device = &mut self.devices[device];
        let is_ocs = device.is_ocs;
        let Some(deployment) = device.deployments.get_mut(&package) else {
            return;
        };
        let Some(open) = deployment.open else {
            return;
        };
        if open.state != DeploymentState::Pending && (is_ocs || open.attempt == reported.attempt) {
            let attempt = open.attempt;
            // A task that was cancelled although it is assigned again gets another attempt.
            let is_assigned = open.state == DeploymentState::Announced;
            deployment.open =
                (is_assigned && reported.outcome == Outcome::Cancelled).then_some(ModelTask {
                    state: DeploymentState::Pending,
                    attempt: attempt + 1,
                    ..open
                });
            if reported.outcome != Outcome::Cancelled {
                deployment.used.extend(deployment.follows);
            }
            deployment.done = Some(ModelResult {
                attempt,
                ..reported
            });
        }
    }

    /// Returns the devices that have or had a package, with their states.
    pub(super) fn states(&self, package: usize) -> BTreeMap<usize, DeploymentState> {
        let devices = self.devices.iter().enumerate();
        let states = devices.filter_map(|(number, device)| {
            let state = device.deployments.get(&package)?.state()?;
            Some((number, state))
        });
        states.collect()
    }

    pub(super) fn tally(&self, package: usize) -> Tally {
        let mut tally = Tally::default();
        for state in self.states(package).into_values() {
            tally.assigned += 1;
            match state {
                DeploymentState::Announced => tally.announced += 1,
                DeploymentState::Withdrawn => tally.withdrawn += 1,
                DeploymentState::Succeeded => tally.succeeded += 1,
                DeploymentState::Failed => tally.failed += 1,
                DeploymentState::Cancelled => tally.cancelled += 1,
                DeploymentState::NotApplicable => tally.not_applicable += 1,
                DeploymentState::Pending | DeploymentState::Unreached => {}
            }
        }
        tally
    }
}

impl ModelDevice {
    fn is_in_a_group_with(&self, groups: &[ModelGroup], package: usize) -> bool {
        let mut joined = self.groups.keys();
        joined.any(|group| groups[*group].0.contains_key(&package))
    }

    fn withdraw_lost_packages(&mut self, groups: &[ModelGroup]) {
        let gone: Vec<usize> = self
            .deployments
            .keys()
            .copied()
            .filter(|package| !self.is_in_a_group_with(groups, *package))
            .collect();
        for package in gone {
            let deployment = self.deployments.entry(package).or_default();
            if deployment.open.is_some_and(|open| !open.is_direct) {
                deployment.withdraw();
            }
        }
    }

    fn start_new_packages(&mut self, groups: &[ModelGroup], events: u64) {
        let mut begun = BTreeSet::new();
        for (group, observed) in self.groups.clone() {
            let mut news: Vec<_> = groups[group].0.iter().collect();
            news.retain(|(_, assignment)| assignment.event > observed);
            news.sort_by_key(|(_, assignment)| assignment.event);
            for (package, assignment) in news {
                let follows = (group, assignment.event);
                let deployment = self.deployments.get(package);
                // The device has left the group and joined it again.
                let is_used = deployment.is_some_and(|it| it.used.contains(&follows));
                if !is_used && begun.insert(*package) {
                    self.begin(*package, assignment.force, Some(follows));
                }
            }
            self.groups.insert(group, events);
        }
    }

    /// Begins an attempt that follows from an assignment to a group, or to the device itself.
    fn begin(&mut self, package: usize, force: bool, follows: Option<GroupEvent>) {
        let is_direct = follows.is_none();
        let deployment = self.deployments.entry(package).or_default();
        match deployment.open.map(|open| open.state) {
            None => deployment.follows = follows,
            // A change of the device's own assignment keeps the assignment to the group.
            Some(DeploymentState::Withdrawn) => deployment.follows = follows.or(deployment.follows),
            Some(_) => {}
        }
        let ModelDeployment { open, done, .. } = deployment;
        *open = match (*open, *done) {
            (Some(open), _) if open.state == DeploymentState::Withdrawn => Some(ModelTask {
                state: DeploymentState::Announced,
                is_direct,
                ..open
            }),
            (Some(open), _) => Some(ModelTask {
                is_direct: open.is_direct || is_direct,
                ..open
            }),
            (None, Some(done)) if done.outcome == Outcome::Succeeded && !force => None,
            (None, done) => Some(ModelTask {
                state: DeploymentState::Pending,
                attempt: done.map_or(0, |done| done.attempt) + 1,
                is_direct,
            }),
        };
    }

    fn reply(&self, packages: &[ModelPackage]) -> ExpectedReply {
        let mut open: Vec<(usize, ModelTask)> = self
            .deployments
            .iter()
            .filter_map(|(package, deployment)| Some((*package, deployment.open?)))
            .collect();
        open.sort_by_key(|(package, _)| (packages[*package].priority, *package));
        let mut reply = ExpectedReply::default();
        for (package, open) in open {
            match open.state {
                DeploymentState::Announced => reply.tasks.push((package, open.attempt)),
                DeploymentState::Withdrawn if self.is_ocs => {
                    reply.tasks.push((package, open.attempt));
                }
                DeploymentState::Withdrawn => reply.cancel.push((package, open.attempt)),
                _ => {}
            }
        }
        reply
    }
}

impl ModelDeployment {
    fn withdraw(&mut self) {
        self.open = self.open.and_then(|open| match open.state {
            DeploymentState::Pending => None,
            _ => Some(ModelTask {
                state: DeploymentState::Withdrawn,
                is_direct: false,
                ..open
            }),
        });
    }

    /// Returns the state in which the device is counted in the package's tally.
    fn state(&self) -> Option<DeploymentState> {
        let outcome = |done: ModelResult| match done.outcome {
            Outcome::Succeeded => DeploymentState::Succeeded,
            Outcome::Failed => DeploymentState::Failed,
            Outcome::Cancelled => DeploymentState::Cancelled,
            Outcome::NotApplicable => DeploymentState::NotApplicable,
        };
        let open = self.open.map(|open| open.state);
        open.or_else(|| self.done.map(outcome))
    }
}
