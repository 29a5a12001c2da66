//! The effect of an assignment on a device: a new attempt, or the reason for none.

use std::collections::BTreeSet;

use packcast_protocol::{DeviceId, Outcome, PackageVersion, UnixTime};

use crate::change::TaskChange;
use crate::record::{FinishedTask, OpenTask, PackageRecord, TaskState};
use crate::system::DeviceSystem;

/// Outcome of an assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AssignOutcome {
    /// The device has a new open task.
    New { attempt: u32 },
    /// The device has this open task already, and has not reported on it.
    AlreadyOpen { attempt: u32 },
    /// The device has reported success, and the assignment was not forced.
    AlreadyDone(Box<FinishedTask>),
    /// The package history of the device lists the package, and the assignment was not forced.
    InHistory,
    /// The package was deleted.
    Deleted,
    /// The package is a draft.
    NotPublished,
    /// The audience of the package does not include the device.
    NotForDevice,
    /// The device runs another system than the package is for.
    OtherSystem,
    /// The Packcast agent has deployed a later version, and the assignment allows no downgrade. Only
    /// the publisher finds this out, before it makes the assignment.
    Downgrade { deployed: PackageVersion },
    /// No device with this id has ever checked in.
    UnknownDevice,
}

/// Records of one package on one device, before an assignment.
#[derive(Clone, Debug, Default)]
pub struct PackageOnDevice {
    /// The device has checked in at least once.
    pub is_known: bool,
    pub system: DeviceSystem,
    pub open: Option<OpenTask>,
    pub finished: Option<FinishedTask>,
    /// The package history of an OCS agent lists the package.
    pub in_history: bool,
}

/// Properties of an assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssignmentRequest {
    /// The package is assigned to the device itself, not to a group of the device.
    pub direct: bool,
    /// Deploy the package even if the device has it already.
    pub force: bool,
    /// `seq` of the device's own entry. `None` for an assignment of a group.
    pub mandate: Option<u64>,
}

/// Decides which change an assignment makes.
///
/// A device that reported a failure gets the next attempt. A device that has the package gets
/// the next attempt only with `force`. Every attempt after the first is announced with force: an
/// OCS agent keeps a program that ran and failed in its history, and would not run it again
/// without force.
///
/// A withdrawn task continues as the same attempt.
///
/// # Errors
/// The assignment changes nothing, for the reason that is returned.
pub fn assign(
    device: &DeviceId,
    package: &PackageRecord,
    on_device: &PackageOnDevice,
    request: AssignmentRequest,
    now: UnixTime,
) -> Result<TaskChange, AssignOutcome> {
    if package.is_deleted() {
        return Err(AssignOutcome::Deleted);
    }
    if package.published().is_none() {
        return Err(AssignOutcome::NotPublished);
    }
    if !package.is_for(device) {
        return Err(AssignOutcome::NotForDevice);
    }
    // A group may have devices of several systems. There, the device gets a task, which ends without
    // an announcement: so the device is counted.
    if request.direct && on_device.system.is_other_than(package.platform) {
        return Err(AssignOutcome::OtherSystem);
    }
    if let Some(open) = on_device.open.as_ref().filter(|_| on_device.is_known) {
        return change_open(open, request, now);
    }
    let attempt = next_attempt(on_device, request.force)?;
    let task = OpenTask {
        package: package.id,
        priority: package.priority,
        attempt,
        state: TaskState::Pending,
        force: request.force || attempt > 1,
        direct: request.direct,
        // The result of an attempt for a group must not hide that the device's own entry was used.
        mandate: request
            .mandate
            .or_else(|| on_device.finished.as_ref().and_then(|done| done.mandate)),
        group_mandate: None,
        used: on_device
            .finished
            .as_ref()
            .map_or_else(BTreeSet::new, |done| done.used.clone()),
        place: None,
        assigned_at: now,
    };
    let before = on_device.finished.clone();
    Ok(TaskChange::Open { task, before })
}

fn change_open(
    open: &OpenTask,
    request: AssignmentRequest,
    now: UnixTime,
) -> Result<TaskChange, AssignOutcome> {
    let to = match open.state {
        TaskState::Withdrawn { announced_at } => restored(open, announced_at, request, now),
        TaskState::Pending | TaskState::Announced { .. } if is_other_entry(open, request) => {
            OpenTask {
                direct: true,
                mandate: request.mandate.or(open.mandate),
                ..open.clone()
            }
        }
        TaskState::Pending | TaskState::Announced { .. } => {
            let attempt = open.attempt;
            return Err(AssignOutcome::AlreadyOpen { attempt });
        }
    };
    let from = open.clone();
    Ok(TaskChange::Alter { from, to })
}

/// Returns true if the device's own entry is not the one from which the task follows.
fn is_other_entry(open: &OpenTask, request: AssignmentRequest) -> bool {
    let is_same = request.mandate.is_none() || request.mandate == open.mandate;
    request.direct && !(open.direct && is_same)
}

/// Returns a withdrawn task as an announced one, because its package was assigned again.
///
/// The attempt stays the same: the task was announced, and the device may be deploying it. If the
/// device has cancelled it already, its report begins the next attempt (see
/// [`crate::apply::next_attempt`]).
fn restored(
    open: &OpenTask,
    announced_at: UnixTime,
    request: AssignmentRequest,
    now: UnixTime,
) -> OpenTask {
    OpenTask {
        state: TaskState::Announced { announced_at },
        force: open.force || request.force,
        direct: request.direct,
        mandate: request.mandate.or(open.mandate),
        assigned_at: now,
        ..open.clone()
    }
}

fn next_attempt(on_device: &PackageOnDevice, force: bool) -> Result<u32, AssignOutcome> {
    if !on_device.is_known {
        return Err(AssignOutcome::UnknownDevice);
    }
    match &on_device.finished {
        Some(done) if done.outcome == Outcome::Succeeded && !force => {
            Err(AssignOutcome::AlreadyDone(Box::new(done.clone())))
        }
        Some(done) => Ok(done.attempt.saturating_add(1)),
        None if on_device.in_history && !force => Err(AssignOutcome::InHistory),
        None => Ok(1),
    }
}

#[cfg(test)]
mod tests {
    use packcast_protocol::manifest::{Audience, Platform};
    use packcast_protocol::{AgentId, PackageId, ResultCode};

    use super::*;
    use crate::record::tests::package;

    const DIRECT: AssignmentRequest = AssignmentRequest {
        direct: true,
        force: false,
        mandate: None,
    };
    const DIRECT_FORCED: AssignmentRequest = AssignmentRequest {
        direct: true,
        force: true,
        mandate: None,
    };

    fn opened(change: Result<TaskChange, AssignOutcome>) -> Result<OpenTask, AssignOutcome> {
        change.map(|change| match change {
            TaskChange::Open { task, .. } | TaskChange::Alter { to: task, .. } => task,
            TaskChange::Drop { .. } | TaskChange::NextAttempt { .. } => {
                panic!("an assignment neither drops a task nor ends an attempt")
            }
        })
    }

    fn on_device(finished: Option<Outcome>, in_history: bool) -> PackageOnDevice {
        PackageOnDevice {
            is_known: true,
            system: DeviceSystem::Unknown,
            open: None,
            finished: finished.map(|outcome| FinishedTask {
                package: PackageId::at(UnixTime(1_795_000_000)).unwrap(),
                attempt: 4,
                code: ResultCode::Success,
                outcome,
                detail: None,
                output_tail: None,
                mandate: None,
                used: BTreeSet::new(),
                finished_at: UnixTime(1_795_000_000),
            }),
            in_history,
        }
    }

    #[test]
    fn no_ocs_agent_gets_an_update_of_the_packcast_agent() {
        let package = PackageRecord {
            action: crate::record::tests::update(),
            ..package(1)
        };
        let assigned = |device: DeviceId| {
            let on_device = on_device(None, false);
            let assigned = assign(&device, &package, &on_device, DIRECT_FORCED, UnixTime(0));
            opened(assigned).map(|task| task.attempt)
        };
        let ocs = "ocs:web01-2026-03-04-05-06-07".parse().unwrap();
        assert_eq!(assigned(ocs), Err(AssignOutcome::NotForDevice));
        let agent = DeviceId::Agent(AgentId::of_public_key(&[1; 32]));
        assert_eq!(assigned(agent), Ok(1));
    }

    #[test]
    fn force_does_not_assign_a_package_outside_its_audience() {
        let mut package = package(1);
        let meant = AgentId::of_public_key(&[1; 32]);
        package.audience = Audience::Devices(BTreeSet::from([meant.clone()]));
        let assigned = |device| {
            let on_device = on_device(None, false);
            opened(assign(
                &device,
                &package,
                &on_device,
                DIRECT_FORCED,
                UnixTime(0),
            ))
            .map(|task| task.attempt)
        };
        assert_eq!(assigned(DeviceId::Agent(meant)), Ok(1));
        let other = DeviceId::Agent(AgentId::of_public_key(&[2; 32]));
        let ocs = "ocs:web01-2026-03-04-05-06-07".parse().unwrap();
        for device in [other, ocs] {
            assert_eq!(assigned(device), Err(AssignOutcome::NotForDevice));
        }
    }

    #[test]
    fn only_a_group_assigns_a_package_for_another_system() {
        let device = "ocs:web01-2026-03-04-05-06-07".parse().unwrap();
        let mut package = package(1);
        package.platform = Platform::Windows;
        let assigned = |system, request| {
            let on_device = PackageOnDevice {
                system,
                ..on_device(None, false)
            };
            let assigned = assign(&device, &package, &on_device, request, UnixTime(0));
            opened(assigned).map(|task| task.attempt)
        };
        let by_group = AssignmentRequest {
            direct: false,
            ..DIRECT
        };
        let other = Err(AssignOutcome::OtherSystem);
        assert_eq!(assigned(DeviceSystem::Linux, DIRECT), other);
        assert_eq!(assigned(DeviceSystem::Linux, DIRECT_FORCED), other);
        assert_eq!(assigned(DeviceSystem::Linux, by_group), Ok(1));
        assert_eq!(assigned(DeviceSystem::Windows, DIRECT), Ok(1));
        assert_eq!(assigned(DeviceSystem::Unknown, DIRECT), Ok(1));
    }

    #[test]
    fn every_attempt_after_the_first_is_announced_with_force() {
        let device = "ocs:web01-2026-03-04-05-06-07".parse().unwrap();
        let is_forced = |finished| {
            let on_device = on_device(finished, true);
            let request = AssignmentRequest {
                direct: false,
                force: finished.is_none(),
                mandate: None,
            };
            opened(assign(
                &device,
                &package(1),
                &on_device,
                request,
                UnixTime(0),
            ))
            .unwrap()
            .force
        };
        assert!(is_forced(None) && is_forced(Some(Outcome::Failed)));
    }

    #[test]
    fn force_is_needed_only_if_the_device_has_the_package() {
        use Outcome::{Failed, Succeeded};
        let check = |finished, in_history, force, expected: Result<u32, &str>| {
            let got = next_attempt(&on_device(finished, in_history), force);
            let got = got.map_err(|answer| match answer {
                AssignOutcome::AlreadyDone(_) => "done",
                AssignOutcome::InHistory => "in history",
                _ => "other",
            });
            assert_eq!(got, expected, "{finished:?} {in_history} {force}");
        };
        check(None, false, false, Ok(1));
        check(None, false, true, Ok(1));
        check(None, true, false, Err("in history"));
        check(None, true, true, Ok(1));
        check(Some(Failed), false, false, Ok(5));
        check(Some(Failed), true, false, Ok(5));
        check(Some(Failed), true, true, Ok(5));
        check(Some(Succeeded), false, false, Err("done"));
        check(Some(Succeeded), true, false, Err("done"));
        check(Some(Succeeded), true, true, Ok(5));
    }

    #[test]
    fn a_withdrawn_task_continues_as_the_same_attempt() {
        let announced_at = UnixTime(1_795_000_000);
        let again = |state| {
            let open = OpenTask {
                state,
                ..crate::record::tests::task(1, 5)
            };
            let on_device = PackageOnDevice {
                open: Some(open),
                ..on_device(None, false)
            };
            let device = "ocs:web01-2026-03-04-05-06-07".parse().unwrap();
            opened(assign(
                &device,
                &package(1),
                &on_device,
                DIRECT,
                UnixTime(9),
            ))
            .map(|task| (task.attempt, task.state, task.direct))
        };
        let announced = TaskState::Announced { announced_at };
        let withdrawn = TaskState::Withdrawn { announced_at };
        assert_eq!(again(withdrawn), Ok((1, announced, true)));
        let open = Err(AssignOutcome::AlreadyOpen { attempt: 1 });
        assert_eq!(again(announced), open);
        assert_eq!(again(TaskState::Pending), open);
    }

    #[test]
    fn assigning_to_the_device_makes_the_task_of_a_group_direct() {
        let device = "ocs:web01-2026-03-04-05-06-07".parse().unwrap();
        let open = OpenTask {
            direct: false,
            ..crate::record::tests::task(1, 5)
        };
        let on_device = PackageOnDevice {
            open: Some(open.clone()),
            ..on_device(None, false)
        };
        let change = assign(&device, &package(1), &on_device, DIRECT, UnixTime(9));
        let to = OpenTask {
            direct: true,
            ..open.clone()
        };
        assert_eq!(change, Ok(TaskChange::Alter { from: open, to }));
    }

    #[test]
    fn an_open_task_continues_under_a_later_entry() {
        let device = "ocs:web01-2026-03-04-05-06-07".parse().unwrap();
        let by_entry = |mandate| AssignmentRequest {
            mandate: Some(mandate),
            ..DIRECT
        };
        let open = OpenTask {
            mandate: Some(7),
            ..crate::record::tests::task(1, 5)
        };
        let on_device = PackageOnDevice {
            open: Some(open.clone()),
            ..on_device(None, false)
        };
        let again = |mandate| {
            let request = by_entry(mandate);
            assign(&device, &package(1), &on_device, request, UnixTime(9))
        };
        assert_eq!(again(7), Err(AssignOutcome::AlreadyOpen { attempt: 1 }));
        let to = OpenTask {
            mandate: Some(8),
            ..open.clone()
        };
        assert_eq!(again(8), Ok(TaskChange::Alter { from: open, to }));
    }

    #[test]
    fn an_attempt_for_a_group_keeps_the_mandate_of_the_device() {
        let device = "ocs:web01-2026-03-04-05-06-07".parse().unwrap();
        let mut on_device = on_device(Some(Outcome::Failed), false);
        on_device.finished.as_mut().unwrap().mandate = Some(7);
        let by_group = AssignmentRequest {
            direct: false,
            ..DIRECT
        };
        let task = opened(assign(
            &device,
            &package(1),
            &on_device,
            by_group,
            UnixTime(9),
        ));
        let task = task.unwrap();
        assert_eq!((task.direct, task.mandate), (false, Some(7)));
    }

    #[test]
    fn an_unknown_device_gets_no_task() {
        let nothing = PackageOnDevice::default();
        assert_eq!(
            next_attempt(&nothing, true),
            Err(AssignOutcome::UnknownDevice)
        );
    }
}
