//! Device commands for an OCS agent: restart its download process, or drop its packages.
//!
//! The OCS protocol has no message for either, so the settings in the next replies to PROLOG
//! carry the command. The Unix agent 2.10.0, whose download module has not changed since 2.8.1,
//! behaves like this:
//!
//! - **`TIMEOUT="0"` drops.** The download process reads its configuration before each period.
//!   It removes every package that is older than TIMEOUT, and reports it with `ERR_TIMEOUT`: a
//!   package with a missing fragment, a package stuck at priority 0, and a package that an
//!   earlier process left behind. A package without files on disk is not reported. A running
//!   command ends first, and its result is reported first. A package whose success the server
//!   has not accepted yet is reported as timed out, too, but the history of the agent lists it.
//!   The agent sends `ERR_TIMEOUT` once, accepted or not.
//! - **`ON="0"` stops.** The agent kills the download process at once. A command that the process
//!   was running continues by itself, and runs again when the agent resumes. The agent then forks
//!   the next process, which has no connection: it waits for the next check-in, works, and dies
//!   at its first report, so that an exit code is lost. The agent forks no process if the reply
//!   also asks for an INVENTORY and the answer to the inventory is empty.
//!
//! A period lasts at least ten cycles, plus the time of the fragments and commands in it. A
//! missing fragment delays no other package, except at priority 0.

use std::collections::BTreeSet;

use packcast_protocol::result::NamedCode;
use packcast_protocol::{DeviceId, Outcome, ResultCode, UnixTime};
use serde::{Deserialize, Serialize};

use crate::change::TaskChange;
use crate::record::{OpenTask, TaskState};

/// Kind of a device command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceCommand {
    /// Restart the download process: kill it at the next check-in, and resume at the check-in
    /// after that.
    RestartDownload,
    /// Drop every announced package that the device has not begun to deploy.
    Drop,
}

/// A device command, with its progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandRecord {
    pub command: DeviceCommand,
    pub asked_at: UnixTime,
    /// Time at which a reply first carried the command. `None` before the next check-in.
    pub told_at: Option<UnixTime>,
}

/// Device commands for one device, at most one of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceCommands {
    pub restart_download: Option<CommandRecord>,
    pub drop: Option<CommandRecord>,
}

/// Reason for refusing a device command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandRefusal {
    /// The device runs a Packcast agent, which cancels withdrawn tasks by itself.
    OurAgent,
    /// The device runs an OCS agent that is not the Unix agent. Only the Unix agent is known to
    /// obey device commands.
    NotUnix,
}

/// Instruction to the agent's download process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Work on the packages.
    Work,
    /// End at once.
    Stop,
    /// Drop the packages.
    Drop,
}

/// Progress of a device command, to be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandProgress {
    Announced(CommandRecord),
    Done(CommandRecord),
}

/// Effect of the device commands on a reply to PROLOG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    pub mode: Mode,
    /// Ask for an inventory, even if none is due.
    ///
    /// The inventory lists packages that were deployed and not reported, before the device drops
    /// the rest. It also keeps a stopped agent from forking a process.
    pub ask_inventory: bool,
    /// Progress to record before the reply is sent, in this order.
    pub progress: Vec<CommandProgress>,
}

/// Time for which replies repeat the command to drop while reports are missing, in seconds.
///
/// All the while the configuration of the device says drop, and the device reads its
/// configuration at least once a period.
pub const PATIENCE_S: u64 = 3_600;

impl DeviceCommands {
    pub const fn is_empty(&self) -> bool {
        self.restart_download.is_none() && self.drop.is_none()
    }

    /// Returns true if the device was commanded to drop this task and the task is withdrawn.
    ///
    /// Such a task is not announced again, even without a report: an agent that has dropped it
    /// would start it from the beginning.
    pub fn told_to_drop(&self, task: &OpenTask) -> bool {
        matches!(task.state, TaskState::Withdrawn { .. }) && self.covers(task)
    }

    /// Returns true if the device was commanded to drop everything after this task was announced.
    fn covers(&self, task: &OpenTask) -> bool {
        let (TaskState::Announced { announced_at } | TaskState::Withdrawn { announced_at }) =
            task.state
        else {
            return false;
        };
        let told_at = self.drop.and_then(|drop| drop.told_at);
        told_at.is_some_and(|told_at| announced_at <= told_at)
    }
}

/// Decides whether a device accepts commands. `agent` is the name and version of its agent.
pub fn accepts_commands(device: &DeviceId, agent: &str) -> Result<(), CommandRefusal> {
    match device {
        DeviceId::Agent(_) => Err(CommandRefusal::OurAgent),
        DeviceId::Ocs(_) if agent.starts_with("OCS-NG_unified_unix_agent") => Ok(()),
        DeviceId::Ocs(_) => Err(CommandRefusal::NotUnix),
    }
}

/// Decides the effect of the device commands on the reply to PROLOG.
///
/// The command to stop comes first, and is sent once, because a stopped process drops nothing.
/// The command to drop is repeated until every task that was announced before has its report, or
/// until [`PATIENCE_S`] is over. If a withdrawn task has no report by then, the command stays on
/// record.
pub fn instruct(commands: &DeviceCommands, tasks: &[OpenTask], now: UnixTime) -> Instruction {
    let mut progress = Vec::new();
    let announced = |command: CommandRecord| {
        let told_at = Some(now);
        CommandProgress::Announced(CommandRecord { told_at, ..command })
    };
    if let Some(restart) = commands.restart_download {
        if restart.told_at.is_none() {
            return Instruction {
                mode: Mode::Stop,
                ask_inventory: true,
                progress: vec![announced(restart)],
            };
        }
        progress.push(CommandProgress::Done(restart));
    }
    let Some(drop) = commands.drop else {
        return Instruction {
            mode: Mode::Work,
            ask_inventory: false,
            progress,
        };
    };
    let Some(told_at) = drop.told_at else {
        progress.push(announced(drop));
        return Instruction {
            mode: Mode::Drop,
            ask_inventory: true,
            progress,
        };
    };
    let is_waited_for = now.since(told_at) < PATIENCE_S;
    let mode = if is_waited_for && tasks.iter().any(|task| commands.covers(task)) {
        Mode::Drop
    } else {
        Mode::Work
    };
    if mode == Mode::Work && !tasks.iter().any(|task| commands.told_to_drop(task)) {
        progress.push(CommandProgress::Done(drop));
    }
    Instruction {
        mode,
        ask_inventory: false,
        progress,
    }
}

/// Decides whether a report of an OCS agent returns a task to pending instead of ending it.
///
/// If the task is still assigned, the device dropped it because of the command, not because of
/// its age. The task is then pending again, with the same attempt, and is announced when the
/// device is instructed to work.
pub fn reopen(commands: &DeviceCommands, task: &OpenTask, code: &ResultCode) -> Option<TaskChange> {
    let is_assigned = matches!(task.state, TaskState::Announced { .. });
    let is_dropped = is_timeout(code) && is_assigned && commands.covers(task);
    is_dropped.then(|| TaskChange::Alter {
        from: task.clone(),
        to: OpenTask {
            state: TaskState::Pending,
            ..task.clone()
        },
    })
}

/// Returns the outcome of a task of an OCS agent.
///
/// A withdrawn task that the agent dropped for its age is cancelled, not failed.
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
    const ANNOUNCED: UnixTime = UnixTime(1_795_000_100);
    const SOON: UnixTime = UnixTime(ANNOUNCED.0 + PATIENCE_S - 1);
    const LATE: UnixTime = UnixTime(ANNOUNCED.0 + PATIENCE_S);

    fn record(command: DeviceCommand, told_at: Option<UnixTime>) -> CommandRecord {
        CommandRecord {
            command,
            asked_at: ASKED,
            told_at,
        }
    }

    fn drop_command(told_at: Option<UnixTime>) -> DeviceCommands {
        DeviceCommands {
            drop: Some(record(DeviceCommand::Drop, told_at)),
            restart_download: None,
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

    fn effect(
        commands: &DeviceCommands,
        tasks: &[OpenTask],
        now: UnixTime,
    ) -> (Mode, bool, Vec<CommandProgress>) {
        let instruction = instruct(commands, tasks, now);
        (
            instruction.mode,
            instruction.ask_inventory,
            instruction.progress,
        )
    }

    #[test]
    fn replies_without_a_command_are_unchanged() {
        let tasks = [announced(ASKED), withdrawn(ASKED), task(3, 5)];
        let nothing = (Mode::Work, false, Vec::new());
        assert_eq!(
            effect(&DeviceCommands::default(), &tasks, ANNOUNCED),
            nothing
        );
    }

    #[test]
    fn a_device_is_stopped_once_and_works_at_its_next_check_in() {
        let restart = |told_at| DeviceCommands {
            restart_download: Some(record(DeviceCommand::RestartDownload, told_at)),
            drop: None,
        };
        let sent = record(DeviceCommand::RestartDownload, Some(ANNOUNCED));
        let stop = (Mode::Stop, true, vec![CommandProgress::Announced(sent)]);
        assert_eq!(effect(&restart(None), &[announced(ASKED)], ANNOUNCED), stop);
        let work = (Mode::Work, false, vec![CommandProgress::Done(sent)]);
        assert_eq!(
            effect(&restart(Some(ANNOUNCED)), &[announced(ASKED)], SOON),
            work
        );
    }

    #[test]
    fn with_both_commands_the_device_stops_first_and_drops_afterwards() {
        let mut commands = drop_command(None);
        commands.restart_download = Some(record(DeviceCommand::RestartDownload, None));
        assert_eq!(instruct(&commands, &[], ANNOUNCED).mode, Mode::Stop);
        let stopped = record(DeviceCommand::RestartDownload, Some(ANNOUNCED));
        commands.restart_download = Some(stopped);
        let sent = record(DeviceCommand::Drop, Some(SOON));
        let progress = vec![
            CommandProgress::Done(stopped),
            CommandProgress::Announced(sent),
        ];
        assert_eq!(effect(&commands, &[], SOON), (Mode::Drop, true, progress));
    }

    #[test]
    fn the_command_to_drop_is_repeated_until_all_tasks_have_reports() {
        let sent = CommandProgress::Announced(record(DeviceCommand::Drop, Some(ANNOUNCED)));
        let first = (Mode::Drop, true, vec![sent]);
        assert_eq!(effect(&drop_command(None), &[], ANNOUNCED), first);
        let commands = drop_command(Some(ANNOUNCED));
        for expected in [announced(ASKED), withdrawn(ANNOUNCED)] {
            let again = (Mode::Drop, false, Vec::new());
            assert_eq!(effect(&commands, &[expected, task(3, 5)], SOON), again);
        }
        let done = (
            Mode::Work,
            false,
            vec![CommandProgress::Done(commands.drop.unwrap())],
        );
        assert_eq!(effect(&commands, &[task(3, 5)], SOON), done);
        assert_eq!(effect(&commands, &[announced(SOON)], SOON), done);
    }

    #[test]
    fn waiting_for_reports_of_dropped_tasks_ends() {
        let commands = drop_command(Some(ANNOUNCED));
        let done = (
            Mode::Work,
            false,
            vec![CommandProgress::Done(commands.drop.unwrap())],
        );
        assert_eq!(effect(&commands, &[announced(ASKED)], LATE), done);
        // The command stays as long as it keeps a withdrawn task from being announced again.
        let kept = (Mode::Work, false, Vec::new());
        assert_eq!(effect(&commands, &[withdrawn(ASKED)], LATE), kept);
        assert!(commands.told_to_drop(&withdrawn(ASKED)));
        assert!(!commands.told_to_drop(&withdrawn(SOON)));
        assert!(!commands.told_to_drop(&announced(ASKED)));
        assert!(!drop_command(None).told_to_drop(&withdrawn(ASKED)));
    }

    #[test]
    fn a_timeout_by_command_is_no_failure() {
        let timeout = ResultCode::from(NamedCode::Timeout);
        let build = ResultCode::from(NamedCode::Build);
        let commands = drop_command(Some(ANNOUNCED));
        let task = announced(ASKED);
        let Some(TaskChange::Alter { from, to }) = reopen(&commands, &task, &timeout) else {
            panic!("the task is still assigned");
        };
        assert_eq!((&from, to.state), (&task, TaskState::Pending));
        assert_eq!((to.attempt, to.direct), (task.attempt, task.direct));

        for (commands, task, code) in [
            (commands, announced(ASKED), &build),
            (commands, announced(SOON), &timeout),
            (commands, withdrawn(ASKED), &timeout),
            (drop_command(None), announced(ASKED), &timeout),
            (DeviceCommands::default(), announced(ASKED), &timeout),
        ] {
            assert_eq!(reopen(&commands, &task, code), None, "{task:?} {code}");
        }
    }

    #[test]
    fn a_withdrawn_task_that_times_out_is_cancelled() {
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
    fn only_unix_agents_accept_commands() {
        let check = |device: &str, agent, expected| {
            assert_eq!(accepts_commands(&device.parse().unwrap(), agent), expected);
        };
        let ocs = "ocs:web01-2026-03-04-05-06-07";
        check(ocs, "OCS-NG_unified_unix_agent_v2.10.0", Ok(()));
        let not_unix = Err(CommandRefusal::NotUnix);
        check(ocs, "OCS-NG_WINDOWS_AGENT_v2.11.0.1", not_unix);
        check(ocs, "", not_unix);
        let packcast = "key:aaaaaaaaaaaaaaaaaaaaaaaaaa";
        check(
            packcast,
            "packcast-agent/0.1.0",
            Err(CommandRefusal::OurAgent),
        );
    }
}
