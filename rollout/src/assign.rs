//! What an assignment changes for a device: which attempt it is, or why there is none.

use packcast_protocol::{DeviceId, Outcome, UnixTime};

use crate::change::TaskChange;
use crate::record::{FinishedTask, OpenTask, PackageRecord, TaskState};

/// What came of an assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assigned {
    /// The device has a new open task.
    New { attempt: u32 },
    /// The device has this task, and has not reported on it.
    AlreadyOpen { attempt: u32 },
    /// The device has reported success, and the assignment was not forced.
    AlreadyDone(FinishedTask),
    /// The device's own history has the package, and the assignment was not forced.
    InHistory,
    /// The package was deleted.
    Deleted,
    /// The package is a draft.
    NotPublished,
    /// The package is meant for other devices.
    NotForDevice,
    /// No such device was ever in contact.
    UnknownDevice,
}

/// What is known of a device and a package before an assignment.
#[derive(Clone, Debug, Default)]
pub struct Situation {
    /// Whether the device was ever in contact.
    pub is_known: bool,
    pub open: Option<OpenTask>,
    pub finished: Option<FinishedTask>,
    /// Whether a stock agent's own history lists the package.
    pub in_history: bool,
}

/// Which assignment it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assigning {
    /// To the device itself, not to a group of it.
    pub direct: bool,
    /// Whether to deploy although the device has the package.
    pub force: bool,
}

/// Decides what an assignment changes, or why it changes nothing.
///
/// A device that reported a failure gets the next attempt; one that has the package gets it
/// only with `force`. A next attempt is told with force: a stock agent keeps a program that
/// ran and failed in its history, and would not run it again without.
///
/// A task that was withdrawn goes on as the same attempt.
pub fn assign(
    device: &DeviceId,
    package: &PackageRecord,
    situation: &Situation,
    by: Assigning,
    now: UnixTime,
) -> Result<TaskChange, Assigned> {
    if package.is_deleted() {
        return Err(Assigned::Deleted);
    }
    if package.published().is_none() {
        return Err(Assigned::NotPublished);
    }
    if !package.audience.includes_device(device) {
        return Err(Assigned::NotForDevice);
    }
    if let Some(open) = situation.open.as_ref().filter(|_| situation.is_known) {
        return change_open(open, by, now);
    }
    let attempt = next_attempt(situation, by.force)?;
    let task = OpenTask {
        package: package.id,
        priority: package.priority,
        attempt,
        state: TaskState::Held,
        force: by.force || attempt > 1,
        direct: by.direct,
        assigned_at: now,
    };
    let before = situation.finished.clone();
    Ok(TaskChange::Open { task, before })
}

fn change_open(open: &OpenTask, by: Assigning, now: UnixTime) -> Result<TaskChange, Assigned> {
    let to = match open.state {
        TaskState::Withdrawn { announced_at } => restored(open, announced_at, by, now),
        TaskState::Held | TaskState::Announced { .. } if by.direct && !open.direct => OpenTask {
            direct: true,
            ..open.clone()
        },
        TaskState::Held | TaskState::Announced { .. } => {
            let attempt = open.attempt;
            return Err(Assigned::AlreadyOpen { attempt });
        }
    };
    let from = open.clone();
    Ok(TaskChange::Alter { from, to })
}

/// Returns a withdrawn task that is wanted again.
///
/// It is the same attempt still: the device was told of it, and may be at work on it. One that
/// has dropped it says so, and begins the next (see [`crate::fold::renew`]).
fn restored(open: &OpenTask, announced_at: UnixTime, by: Assigning, now: UnixTime) -> OpenTask {
    OpenTask {
        state: TaskState::Announced { announced_at },
        force: open.force || by.force,
        direct: by.direct,
        assigned_at: now,
        ..open.clone()
    }
}

fn next_attempt(situation: &Situation, force: bool) -> Result<u32, Assigned> {
    if !situation.is_known {
        return Err(Assigned::UnknownDevice);
    }
    match &situation.finished {
        Some(done) if done.outcome == Outcome::Succeeded && !force => {
            Err(Assigned::AlreadyDone(done.clone()))
        }
        Some(done) => Ok(done.attempt.saturating_add(1)),
        None if situation.in_history && !force => Err(Assigned::InHistory),
        None => Ok(1),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use packcast_protocol::manifest::Audience;
    use packcast_protocol::{AgentId, PackageId, ResultCode};

    use super::*;
    use crate::record::tests::package;

    const DIRECT: Assigning = Assigning {
        direct: true,
        force: false,
    };
    const DIRECT_FORCED: Assigning = Assigning {
        direct: true,
        force: true,
    };

    fn opened(change: Result<TaskChange, Assigned>) -> Result<OpenTask, Assigned> {
        change.map(|change| match change {
            TaskChange::Open { task, .. } | TaskChange::Alter { to: task, .. } => task,
            TaskChange::Drop { .. } | TaskChange::Renew { .. } => {
                panic!("an assignment drops and renews nothing")
            }
        })
    }

    fn situation(finished: Option<Outcome>, in_history: bool) -> Situation {
        Situation {
            is_known: true,
            open: None,
            finished: finished.map(|outcome| FinishedTask {
                package: PackageId::at(UnixTime(1_795_000_000)).unwrap(),
                attempt: 4,
                code: ResultCode::Success,
                outcome,
                detail: None,
                output_tail: None,
                finished_at: UnixTime(1_795_000_000),
            }),
            in_history,
        }
    }

    #[test]
    fn a_package_for_others_is_not_assigned_whatever_is_forced() {
        let mut package = package(1);
        let meant = AgentId::of_public_key(&[1; 32]);
        package.audience = Audience::Devices(BTreeSet::from([meant.clone()]));
        let assigned = |device| {
            let situation = situation(None, false);
            opened(assign(
                &device,
                &package,
                &situation,
                DIRECT_FORCED,
                UnixTime(0),
            ))
            .map(|task| task.attempt)
        };
        assert_eq!(assigned(DeviceId::Agent(meant)), Ok(1));
        let other = DeviceId::Agent(AgentId::of_public_key(&[2; 32]));
        let stock = "ocs:web01-2026-03-04-05-06-07".parse().unwrap();
        for device in [other, stock] {
            assert_eq!(assigned(device), Err(Assigned::NotForDevice));
        }
    }

    #[test]
    fn a_next_attempt_is_told_with_force() {
        let device = "ocs:web01-2026-03-04-05-06-07".parse().unwrap();
        let told = |finished| {
            let situation = situation(finished, true);
            let by = Assigning {
                direct: false,
                force: finished.is_none(),
            };
            opened(assign(&device, &package(1), &situation, by, UnixTime(0)))
                .unwrap()
                .force
        };
        assert!(told(None) && told(Some(Outcome::Failed)));
    }

    #[test]
    fn force_is_needed_only_where_the_package_is() {
        use Outcome::{Failed, Succeeded};
        let check = |finished, in_history, force, expected: Result<u32, &str>| {
            let got = next_attempt(&situation(finished, in_history), force);
            let got = got.map_err(|answer| match answer {
                Assigned::AlreadyDone(_) => "done",
                Assigned::InHistory => "in history",
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
    fn what_was_withdrawn_goes_on_as_the_same_attempt() {
        let announced_at = UnixTime(1_795_000_000);
        let again = |state| {
            let open = OpenTask {
                state,
                ..crate::record::tests::task(1, 5)
            };
            let situation = Situation {
                open: Some(open),
                ..situation(None, false)
            };
            let device = "ocs:web01-2026-03-04-05-06-07".parse().unwrap();
            opened(assign(
                &device,
                &package(1),
                &situation,
                DIRECT,
                UnixTime(9),
            ))
            .map(|task| (task.attempt, task.state, task.direct))
        };
        let announced = TaskState::Announced { announced_at };
        let withdrawn = TaskState::Withdrawn { announced_at };
        assert_eq!(again(withdrawn), Ok((1, announced, true)));
        let open = Err(Assigned::AlreadyOpen { attempt: 1 });
        assert_eq!(again(announced), open);
        assert_eq!(again(TaskState::Held), open);
    }

    #[test]
    fn a_task_of_a_group_becomes_the_devices_own() {
        let device = "ocs:web01-2026-03-04-05-06-07".parse().unwrap();
        let open = OpenTask {
            direct: false,
            ..crate::record::tests::task(1, 5)
        };
        let situation = Situation {
            open: Some(open.clone()),
            ..situation(None, false)
        };
        let change = assign(&device, &package(1), &situation, DIRECT, UnixTime(9));
        let to = OpenTask {
            direct: true,
            ..open.clone()
        };
        assert_eq!(change, Ok(TaskChange::Alter { from: open, to }));
    }

    #[test]
    fn an_unknown_device_gets_nothing() {
        let nothing = Situation::default();
        assert_eq!(next_attempt(&nothing, true), Err(Assigned::UnknownDevice));
    }
}
