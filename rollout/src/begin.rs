//! The answer to a device that is about to begin with a package, by the records.

use packcast_protocol::api::{BeginRequest, HoldWord};
use packcast_protocol::state::{Mandate, RolloutId};
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
    let is_assigned = mandates.any(|mandate| entry(mandate, records).is_some());
    (!is_assigned).then_some(HoldWord::Withdrawn)
}

/// Returns the rollout by which the device begins with an announced task; `None` if it begins at
/// once.
///
/// The device begins at once by its own assignment, and by one of a group without a rollout. Of
/// several rollouts, the one that was assigned last counts.
pub fn rollout(asked: &BeginRequest, records: &BeginRecords<'_>) -> Option<RolloutId> {
    let mandates = asked.mandates.as_slice().iter();
    mandates
        .filter_map(|mandate| Some((mandate.seq, entry(mandate, records)?.rollout)))
        .max_by_key(|(seq, rollout)| (rollout.is_none(), *seq))
        .and_then(|(_, rollout)| rollout)
}

/// An assignment on record of the package of a task.
#[derive(Clone, Copy, Debug)]
struct RecordedEntry {
    rollout: Option<RolloutId>,
}

/// Returns the assignment of the package of the task to the assignee of a mandate.
fn entry(mandate: &Mandate, records: &BeginRecords<'_>) -> Option<RecordedEntry> {
    let task = records.task;
    match &mandate.assignee {
        Assignee::Device(agent) => {
            let is_own = task.direct && *records.device == DeviceId::Agent(agent.clone());
            is_own.then_some(RecordedEntry { rollout: None })
        }
        Assignee::Group(group) => {
            let groups = records.groups.iter();
            let mut groups = groups.filter(|it| records.memberships.includes(&it.group));
            // A mandate names the group as it was called when the package was assigned.
            groups.find_map(|it| {
                let assignment = it.assignment(task.package);
                let assignment = assignment.filter(|one| it.assignee(one) == group)?;
                let rollout = assignment.rollout;
                Some(RecordedEntry { rollout })
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
    fn a_device_begins_at_once_or_by_the_latest_rollout() {
        let active = package(1);
        let of = |name: &str, rollout: Option<u8>| {
            let mut state = group(name.parse().unwrap(), true);
            state.assignments[0].rollout = rollout.map(|byte| RolloutId::from_bytes([byte; 16]));
            state
        };
        let groups = [of("all", Some(1)), of("late", Some(2)), of("plain", None)];
        let joined = ["late", "plain"].map(|name| (name.parse().unwrap(), 1));
        let memberships: Memberships = joined.into_iter().collect();
        let task = announced(true);
        let records = BeginRecords {
            device: &DeviceId::Agent(agent(1)),
            task: &task,
            package: Some(&active),
            memberships: &memberships,
            groups: &groups,
        };
        let own = Assignee::Device(agent(1));
        for (assignees, expected) in [
            (&[of_group("all")][..], Some(1)),
            (&[of_group("all"), of_group("late")], Some(2)),
            (&[of_group("late"), of_group("all")], Some(2)),
            (&[of_group("all"), of_group("plain")], None),
            (&[of_group("all"), own], None),
        ] {
            let mut asked = asked(1, assignees);
            let mandate = |(seq, assignee): (u64, &Assignee)| Mandate {
                assignee: assignee.clone(),
                seq: if *assignee == of_group("late") {
                    9
                } else {
                    seq
                },
            };
            asked.mandates = UsedMandates::first((1..).zip(assignees).map(mandate));
            assert_eq!(hold(&asked, &records), None);
            let expected = expected.map(|byte| RolloutId::from_bytes([byte; 16]));
            assert_eq!(rollout(&asked, &records), expected, "{assignees:?}");
        }
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
