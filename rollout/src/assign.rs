//! Whether an assignment gives a device a task, and which attempt it is.

use packcast_protocol::{DeviceId, Outcome, UnixTime};

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

/// Decides which task an assignment makes, or why it makes none.
///
/// A device that reported a failure gets the next attempt; one that has the package gets it
/// only with `force`. A next attempt is told with force: a stock agent keeps a program that
/// ran and failed in its history, and would not run it again without.
pub fn assign(
    device: &DeviceId,
    package: &PackageRecord,
    situation: &Situation,
    force: bool,
    now: UnixTime,
) -> Result<OpenTask, Assigned> {
    if !package.audience.includes_device(device) {
        return Err(Assigned::NotForDevice);
    }
    let attempt = next_attempt(situation, force)?;
    Ok(OpenTask {
        package: package.id,
        priority: package.priority,
        attempt,
        state: TaskState::Held,
        force: force || attempt > 1,
        assigned_at: now,
    })
}

fn next_attempt(situation: &Situation, force: bool) -> Result<u32, Assigned> {
    if !situation.is_known {
        return Err(Assigned::UnknownDevice);
    }
    if let Some(open) = &situation.open {
        return Err(Assigned::AlreadyOpen {
            attempt: open.attempt,
        });
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
            assign(&device, &package, &situation, true, UnixTime(0)).map(|task| task.attempt)
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
            let force = finished.is_none();
            assign(&device, &package(1), &situation, force, UnixTime(0))
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
    fn an_unknown_device_gets_nothing() {
        let nothing = Situation::default();
        assert_eq!(next_attempt(&nothing, true), Err(Assigned::UnknownDevice));
    }
}
