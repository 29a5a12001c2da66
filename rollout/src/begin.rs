//! The answer to a device that is about to begin with a package, by the records.

use packcast_protocol::api::{BeginRequest, HoldWord};
use packcast_protocol::state::Mandate;
use packcast_protocol::{Assignee, DeviceId};

use crate::group::GroupState;
use crate::membership::Memberships;
use crate::record::{OpenTask, PackageRecord, TaskState};

/// The records that decide if a device may begin with a package.
#[derive(Clone, Copy, Debug)]
pub struct BeginRecords<'a> {
    pub device: &'a DeviceId,
    /// The task of the attempt, from [`announced_task`].
    pub task: &'a OpenTask,
    /// The package; `None` if it has no record.
    pub package: Option<&'a PackageRecord>,
    pub memberships: &'a Memberships,
    /// States of the device's groups.
    pub groups: &'a [GroupState],
}

/// Returns the announced task of an attempt. A device begins only with such a task.
pub fn announced_task<'a>(asked: &BeginRequest, tasks: &'a [OpenTask]) -> Option<&'a OpenTask> {
    tasks.iter().find(|task| {
        let is_announced = matches!(task.state, TaskState::Announced { .. });
        task.package == asked.id && task.attempt == asked.attempt && is_announced
    })
}

/// Returns the reason for which the device does not begin with an announced task; `None` if it may
/// begin.
///
/// The device begins if the package is active, and the device itself or one of its groups still has
/// the package. The device compares the numbers of the assignments with the signed state, so the
/// records decide on the assignees only.
pub fn hold(asked: &BeginRequest, records: &BeginRecords<'_>) -> Option<HoldWord> {
    let is_active = |package: &PackageRecord| {
        package.active && package.published().is_some() && !package.is_deleted()
    };
    if !records.package.is_some_and(is_active) {
        return Some(HoldWord::Inactive);
    }
    let mut mandates = asked.mandates.as_slice().iter();
    let is_assigned = mandates.any(|mandate| has(mandate, records));
    (!is_assigned).then_some(HoldWord::Withdrawn)
}

/// Returns true if the assignee of a mandate has the package of the task.
fn has(mandate: &Mandate, records: &BeginRecords<'_>) -> bool {
    let task = records.task;
    match &mandate.assignee {
        Assignee::Device(agent) => task.direct && *records.device == DeviceId::Agent(agent.clone()),
        Assignee::Group(group) => {
            let groups = records.groups.iter();
            let mut groups = groups.filter(|it| records.memberships.includes(&it.group));
            // A mandate names the group as it was called when the package was assigned.
            groups.any(|it| {
                let assignment = it.assignment(task.package);
                assignment.is_some_and(|assignment| it.assignee(assignment) == group)
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use packcast_protocol::state::CommitId;
    use packcast_protocol::state::exchange::UsedMandates;
    use packcast_protocol::{AgentId, GroupName, Sha256Digest, UnixTime};

    use super::*;
    use crate::group::GroupAssignment;
    use crate::record::tests::{package, task};

    const NOW: UnixTime = UnixTime(1_795_000_000);

    fn agent(n: u8) -> AgentId {
        AgentId::of_public_key(&[n; 32])
    }

    fn of_group(name: &str) -> Assignee {
        Assignee::Group(name.parse().unwrap())
    }

    fn asked(attempt: u32, assignees: &[Assignee]) -> BeginRequest {
        let mandate = |assignee: &Assignee| Mandate {
            assignee: assignee.clone(),
            seq: 7,
        };
        BeginRequest {
            id: package(1).id,
            attempt,
            commit: CommitId {
                number: 9,
                digest: Sha256Digest::of(b""),
            },
            mandates: UsedMandates::first(assignees.iter().map(mandate)),
        }
    }

    fn announced(direct: bool) -> OpenTask {
        OpenTask {
            direct,
            state: TaskState::Announced { announced_at: NOW },
            ..task(1, 5)
        }
    }

    /// Returns a group, with the package if `has` is set.
    fn group(name: GroupName, has: bool) -> GroupState {
        let mut state = GroupState::new(name, 3, NOW);
        let package = package(1);
        state.assignments.extend(has.then(|| GroupAssignment {
            package: package.id,
            manifest: Sha256Digest::of(b""),
            priority: package.priority,
            seq: 3,
            force: false,
            mandate: Some(7),
            rollout: None,
            assignee: None,
            assigned_at: NOW,
        }));
        state
    }

    fn answer(
        asked: &BeginRequest,
        tasks: &[OpenTask],
        package: Option<&PackageRecord>,
        groups: &[GroupState],
    ) -> Option<HoldWord> {
        let Some(task) = announced_task(asked, tasks) else {
            return Some(HoldWord::Withdrawn);
        };
        let records = BeginRecords {
            device: &DeviceId::Agent(agent(1)),
            task,
            package,
            memberships: &Memberships::default(),
            groups,
        };
        hold(asked, &records)
    }

    #[test]
    fn a_device_begins_with_an_announced_active_assigned_package() {
        let own = Assignee::Device(agent(1));
        let (asked, active) = (asked(1, &[own]), package(1));
        let check = |tasks: &[OpenTask], package: Option<&PackageRecord>, expected| {
            assert_eq!(answer(&asked, tasks, package, &[]), expected, "{tasks:?}");
        };
        check(&[announced(true)], Some(&active), None);
        let (withdrawn, inactive) = (Some(HoldWord::Withdrawn), Some(HoldWord::Inactive));
        check(&[], Some(&active), withdrawn);
        let later = OpenTask {
            attempt: 2,
            ..announced(true)
        };
        check(&[later], Some(&active), withdrawn);
        let states = [
            TaskState::Pending,
            TaskState::Withdrawn { announced_at: NOW },
        ];
        for state in states {
            let task = OpenTask {
                state,
                ..announced(true)
            };
            check(&[task], Some(&active), withdrawn);
        }
        check(&[announced(true)], None, inactive);
        let deactivated = PackageRecord {
            active: false,
            ..active.clone()
        };
        check(&[announced(true)], Some(&deactivated), inactive);
    }

    #[test]
    fn a_mandate_names_a_renamed_group_as_it_was_called() {
        let mut hall = group("hall".parse().unwrap(), true);
        hall.assignments[0].assignee = Some("lab".parse().unwrap());
        let (device, package) = (DeviceId::Agent(agent(1)), package(1));
        let held = |group: &str, memberships: &Memberships| {
            let records = BeginRecords {
                device: &device,
                task: &announced(false),
                package: Some(&package),
                memberships,
                groups: std::slice::from_ref(&hall),
            };
            hold(&asked(1, &[of_group(group)]), &records)
        };
        let member = Memberships::from_iter([(hall.group.clone(), 3)]);
        assert_eq!(held("lab", &member), None);
        assert_eq!(held("hall", &member), Some(HoldWord::Withdrawn));
        assert_eq!(
            held("lab", &Memberships::default()),
            Some(HoldWord::Withdrawn)
        );
    }

    #[test]
    fn the_assignee_still_has_the_package() {
        let active = package(1);
        let all = |has| group(GroupName::all(), has);
        let lab = || group("lab".parse().unwrap(), true);
        let check = |direct, assignee: Assignee, groups: &[GroupState], may: bool| {
            let asked = asked(1, std::slice::from_ref(&assignee));
            let held = answer(&asked, &[announced(direct)], Some(&active), groups);
            let expected = (!may).then_some(HoldWord::Withdrawn);
            assert_eq!(held, expected, "{assignee} {groups:?}");
        };
        check(true, Assignee::Device(agent(1)), &[], true);
        check(false, Assignee::Device(agent(1)), &[all(true)], false);
        check(true, Assignee::Device(agent(2)), &[all(true)], false);
        check(false, of_group("all"), &[all(true)], true);
        check(false, of_group("all"), &[all(false)], false);
        check(false, of_group("all"), &[], false);
        // The device is not in this group.
        check(false, of_group("lab"), &[lab()], false);
        let none = asked(1, &[]);
        let held = answer(&none, &[announced(true)], Some(&active), &[all(true)]);
        assert_eq!(held, Some(HoldWord::Withdrawn));
    }
}
