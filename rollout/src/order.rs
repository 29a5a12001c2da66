//! Orders for one device with a stock agent: to stop its download process, or to drop what it
//! has not deployed.
//!
//! There is no message for either, so an order is carried out by what the next replies to
//! PROLOG say. Seen with the Unix agent 2.10.0, whose download module has not changed since
//! 2.8.1:
//!
//! - **`TIMEOUT="0"` drops.** The download process reads its configuration before each period,
//!   and a package older than TIMEOUT is removed and reported with `ERR_TIMEOUT`: one that is
//!   stuck on a missing fragment, one that is stuck at priority 0, and one that an earlier
//!   process left behind. Nothing on disk is nothing reported. A command that runs is let end
//!   and is reported first. One whose success was not accepted yet is reported as timed out,
//!   too, but it is in the history. `ERR_TIMEOUT` is sent once, accepted or not.
//! - **`ON="0"` stops.** The download process is killed at once. A command that it was running
//!   goes on by itself, and runs again when the agent resumes. The agent then forks the next
//!   process, which has no connection: it waits for the next contact, works, and dies at its
//!   first report, so that an exit code is lost. It forks none if the reply also asks for an
//!   INVENTORY, and that is answered with nothing.
//!
//! A period lasts at least ten cycles, and as long as the fragments and commands in it. Missing
//! fragments hold up no package behind them, as `info` says where those are; only at priority 0
//! do they.

use std::collections::BTreeSet;

use packcast_protocol::result::NamedCode;
use packcast_protocol::{DeviceId, Outcome, ResultCode, UnixTime};
use serde::{Deserialize, Serialize};

use crate::change::TaskChange;
use crate::record::{OpenTask, TaskState};

/// What a device can be ordered to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceCommand {
    /// To kill its download process, and to resume at the contact after.
    Unstick,
    /// To drop every package that it was told of and has not begun to deploy.
    Cancel,
}

/// An order, and how far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandRecord {
    pub order: DeviceCommand,
    pub asked_at: UnixTime,
    /// When the device was first told; none before its next contact.
    pub told_at: Option<UnixTime>,
}

/// The orders for one device, at most one of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceCommands {
    pub unstick: Option<CommandRecord>,
    pub cancel: Option<CommandRecord>,
}

/// Why a device cannot be given an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandRefusal {
    /// It runs our agent, which cancels by itself what was taken back.
    OurAgent,
    /// Its stock agent is not the Unix one, the only one that was seen to obey.
    NotUnix,
}

/// What a reply tells the agent's download process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// To work on its packages.
    Work,
    /// To end at once.
    Stop,
    /// To drop its packages.
    Drop,
}

/// What becomes of an order in the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    Told(CommandRecord),
    Done(CommandRecord),
}

/// What the reply to PROLOG says because of the orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    pub mode: Mode,
    /// Whether to ask for an inventory, be it due or not: it tells what was deployed and not
    /// reported before the rest is dropped, and keeps a stopped agent from forking.
    pub ask_inventory: bool,
    /// To be written before the reply is sent, in this order.
    pub notes: Vec<Note>,
}

/// How long a device is told to drop its packages while reports are missing, in seconds.
///
/// Its configuration says so all the time, and it looks at least once a period.
pub const PATIENCE_S: u64 = 3_600;

impl DeviceCommands {
    pub const fn is_empty(&self) -> bool {
        self.unstick.is_none() && self.cancel.is_none()
    }

    /// Tells whether the device was told to drop this task, which nothing wants any more.
    ///
    /// It is not announced again, report or not: an agent that has dropped it would begin anew.
    pub fn have_dropped(&self, task: &OpenTask) -> bool {
        matches!(task.state, TaskState::Withdrawn { .. }) && self.covers(task)
    }

    /// Tells whether the device was told to drop everything after it was told of this task.
    fn covers(&self, task: &OpenTask) -> bool {
        let (TaskState::Announced { announced_at } | TaskState::Withdrawn { announced_at }) =
            task.state
        else {
            return false;
        };
        let told_at = self.cancel.and_then(|cancel| cancel.told_at);
        told_at.is_some_and(|told_at| announced_at <= told_at)
    }
}

/// Decides whether a device can be given orders. `agent` is its agent's name and version.
pub fn orderable(device: &DeviceId, agent: &str) -> Result<(), CommandRefusal> {
    match device {
        DeviceId::Agent(_) => Err(CommandRefusal::OurAgent),
        DeviceId::Ocs(_) if agent.starts_with("OCS-NG_unified_unix_agent") => Ok(()),
        DeviceId::Ocs(_) => Err(CommandRefusal::NotUnix),
    }
}

/// Decides what the reply to PROLOG says because of the orders for the device.
///
/// To stop comes first, once: a process that was stopped drops nothing. To drop is repeated
/// until every task that the device was told of before has its report, or [`PATIENCE_S`] is
/// over. A withdrawn task that has none by then keeps the order on record.
pub fn instruct(orders: &DeviceCommands, tasks: &[OpenTask], now: UnixTime) -> Instruction {
    let mut notes = Vec::new();
    let told = |order: CommandRecord| {
        let told_at = Some(now);
        Note::Told(CommandRecord { told_at, ..order })
    };
    if let Some(unstick) = orders.unstick {
        if unstick.told_at.is_none() {
            return Instruction {
                mode: Mode::Stop,
                ask_inventory: true,
                notes: vec![told(unstick)],
            };
        }
        notes.push(Note::Done(unstick));
    }
    let Some(cancel) = orders.cancel else {
        return Instruction {
            mode: Mode::Work,
            ask_inventory: false,
            notes,
        };
    };
    let Some(told_at) = cancel.told_at else {
        notes.push(told(cancel));
        return Instruction {
            mode: Mode::Drop,
            ask_inventory: true,
            notes,
        };
    };
    let is_waited_for = now.since(told_at) < PATIENCE_S;
    let mode = if is_waited_for && tasks.iter().any(|task| orders.covers(task)) {
        Mode::Drop
    } else {
        Mode::Work
    };
    if mode == Mode::Work && !tasks.iter().any(|task| orders.have_dropped(task)) {
        notes.push(Note::Done(cancel));
    }
    Instruction {
        mode,
        ask_inventory: false,
        notes,
    }
}

/// Decides whether a report of a stock agent puts a task back instead of ending it.
///
/// A task that is still wanted was dropped by order, not by its age: it is held again, with the
/// same attempt, and announced when the device is told to work.
pub fn put_back(orders: &DeviceCommands, task: &OpenTask, code: &ResultCode) -> Option<TaskChange> {
    let is_wanted = matches!(task.state, TaskState::Announced { .. });
    let is_dropped = is_timeout(code) && is_wanted && orders.covers(task);
    is_dropped.then(|| TaskChange::Alter {
        from: task.clone(),
        to: OpenTask {
            state: TaskState::Held,
            ..task.clone()
        },
    })
}

/// Returns how a task of a stock agent ended.
///
/// One that nothing wants any more, and that was dropped for its age, was called off.
pub fn outcome(task: &OpenTask, code: &ResultCode, success_codes: &BTreeSet<i32>) -> Outcome {
    match task.state {
        TaskState::Withdrawn { .. } if is_timeout(code) => Outcome::Cancelled,
        _ => code.outcome(success_codes),
    }
}

fn is_timeout(code: &ResultCode) -> bool {
    *code == ResultCode::Named(NamedCode::Timeout)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::task;

    const ASKED: UnixTime = UnixTime(1_795_000_000);
    const TOLD: UnixTime = UnixTime(1_795_000_100);
    const SOON: UnixTime = UnixTime(TOLD.0 + PATIENCE_S - 1);
    const LATE: UnixTime = UnixTime(TOLD.0 + PATIENCE_S);

    fn order(order: DeviceCommand, told_at: Option<UnixTime>) -> CommandRecord {
        CommandRecord {
            order,
            asked_at: ASKED,
            told_at,
        }
    }

    fn cancel(told_at: Option<UnixTime>) -> DeviceCommands {
        DeviceCommands {
            cancel: Some(order(DeviceCommand::Cancel, told_at)),
            unstick: None,
        }
    }

    fn announced(at: UnixTime) -> OpenTask {
        OpenTask {
            state: TaskState::Announced { announced_at: at },
            ..task(1, 5)
        }
    }

    fn withdrawn(at: UnixTime) -> OpenTask {
        OpenTask {
            state: TaskState::Withdrawn { announced_at: at },
            ..task(2, 5)
        }
    }

    fn says(orders: &DeviceCommands, tasks: &[OpenTask], now: UnixTime) -> (Mode, bool, Vec<Note>) {
        let instruction = instruct(orders, tasks, now);
        (
            instruction.mode,
            instruction.ask_inventory,
            instruction.notes,
        )
    }

    #[test]
    fn without_an_order_nothing_is_different() {
        let tasks = [announced(ASKED), withdrawn(ASKED), task(3, 5)];
        let nothing = (Mode::Work, false, Vec::new());
        assert_eq!(says(&DeviceCommands::default(), &tasks, TOLD), nothing);
    }

    #[test]
    fn a_device_is_stopped_once_and_works_at_the_contact_after() {
        let unstick = |told_at| DeviceCommands {
            unstick: Some(order(DeviceCommand::Unstick, told_at)),
            cancel: None,
        };
        let told = order(DeviceCommand::Unstick, Some(TOLD));
        let stop = (Mode::Stop, true, vec![Note::Told(told)]);
        assert_eq!(says(&unstick(None), &[announced(ASKED)], TOLD), stop);
        let work = (Mode::Work, false, vec![Note::Done(told)]);
        assert_eq!(says(&unstick(Some(TOLD)), &[announced(ASKED)], SOON), work);
    }

    #[test]
    fn what_is_ordered_twice_is_stopped_first_and_dropped_then() {
        let mut orders = cancel(None);
        orders.unstick = Some(order(DeviceCommand::Unstick, None));
        assert_eq!(instruct(&orders, &[], TOLD).mode, Mode::Stop);
        let stopped = order(DeviceCommand::Unstick, Some(TOLD));
        orders.unstick = Some(stopped);
        let told = order(DeviceCommand::Cancel, Some(SOON));
        let notes = vec![Note::Done(stopped), Note::Told(told)];
        assert_eq!(says(&orders, &[], SOON), (Mode::Drop, true, notes));
    }

    #[test]
    fn to_drop_is_said_until_all_have_reported() {
        let told = Note::Told(order(DeviceCommand::Cancel, Some(TOLD)));
        let first = (Mode::Drop, true, vec![told]);
        assert_eq!(says(&cancel(None), &[], TOLD), first);
        let orders = cancel(Some(TOLD));
        for waited_for in [announced(ASKED), withdrawn(TOLD)] {
            let again = (Mode::Drop, false, Vec::new());
            assert_eq!(says(&orders, &[waited_for, task(3, 5)], SOON), again);
        }
        let done = (Mode::Work, false, vec![Note::Done(orders.cancel.unwrap())]);
        assert_eq!(says(&orders, &[task(3, 5)], SOON), done);
        assert_eq!(says(&orders, &[announced(SOON)], SOON), done);
    }

    #[test]
    fn a_device_that_does_not_report_is_not_waited_for_for_ever() {
        let orders = cancel(Some(TOLD));
        let done = (Mode::Work, false, vec![Note::Done(orders.cancel.unwrap())]);
        assert_eq!(says(&orders, &[announced(ASKED)], LATE), done);
        // The order stays as long as it keeps a withdrawn task from being announced again.
        let kept = (Mode::Work, false, Vec::new());
        assert_eq!(says(&orders, &[withdrawn(ASKED)], LATE), kept);
        assert!(orders.have_dropped(&withdrawn(ASKED)));
        assert!(!orders.have_dropped(&withdrawn(SOON)));
        assert!(!orders.have_dropped(&announced(ASKED)));
        assert!(!cancel(None).have_dropped(&withdrawn(ASKED)));
    }

    #[test]
    fn a_timeout_by_order_is_no_failure() {
        let timeout = ResultCode::from(NamedCode::Timeout);
        let build = ResultCode::from(NamedCode::Build);
        let orders = cancel(Some(TOLD));
        let task = announced(ASKED);
        let Some(TaskChange::Alter { from, to }) = put_back(&orders, &task, &timeout) else {
            panic!("the task is wanted");
        };
        assert_eq!((&from, to.state), (&task, TaskState::Held));
        assert_eq!((to.attempt, to.direct), (task.attempt, task.direct));

        for (orders, task, code) in [
            (orders, announced(ASKED), &build),
            (orders, announced(SOON), &timeout),
            (orders, withdrawn(ASKED), &timeout),
            (cancel(None), announced(ASKED), &timeout),
            (DeviceCommands::default(), announced(ASKED), &timeout),
        ] {
            assert_eq!(put_back(&orders, &task, code), None, "{task:?} {code}");
        }
    }

    #[test]
    fn what_is_withdrawn_and_too_old_was_called_off() {
        let check = |task: &OpenTask, code: &str, expected| {
            let code = code.parse().unwrap();
            assert_eq!(outcome(task, &code, &BTreeSet::from([0])), expected);
        };
        check(&withdrawn(ASKED), "ERR_TIMEOUT", Outcome::Cancelled);
        check(&withdrawn(ASKED), "ERR_BUILD", Outcome::Failed);
        check(&withdrawn(ASKED), "SUCCESS_0", Outcome::Succeeded);
        check(&announced(ASKED), "ERR_TIMEOUT", Outcome::Failed);
    }

    #[test]
    fn only_unix_agents_are_known_to_obey() {
        let check = |device: &str, agent, expected| {
            assert_eq!(orderable(&device.parse().unwrap(), agent), expected);
        };
        let stock = "ocs:web01-2026-03-04-05-06-07";
        check(stock, "OCS-NG_unified_unix_agent_v2.10.0", Ok(()));
        let not_unix = Err(CommandRefusal::NotUnix);
        check(stock, "OCS-NG_WINDOWS_AGENT_v2.11.0.1", not_unix);
        check(stock, "", not_unix);
        let ours = "key:aaaaaaaaaaaaaaaaaaaaaaaaaa";
        check(ours, "packcast-agent/0.1.0", Err(CommandRefusal::OurAgent));
    }
}
