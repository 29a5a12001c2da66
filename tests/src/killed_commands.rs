//! Kills changing commands of the publisher at each of their writes to the table, and checks the
//! target after the next command.
//!
//! A command is the real process. A proxy before the table holds all requests at one write, and then
//! the process is killed with SIGKILL. Between two writes to the table, a command only changes its
//! memory of commits.

mod site;
mod subject;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use self::site::{CommandSite, Trial};
pub use self::subject::KilledCommand;

/// The moment at which a command is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandKill {
    pub command: KilledCommand,
    /// The number of the write, counted from 1.
    pub write: usize,
    /// True if the write is performed before the kill.
    pub is_performed: bool,
}

/// The command that has made the change of a killed command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MadeBy {
    /// The killed command. Its records were not complete.
    Killed,
    /// The next command, which found the commit in the memory of the machine.
    Next,
    /// The killed command, started again.
    Repeated,
}

/// The results of all kills.
#[derive(Debug, Default)]
pub struct CommandReport {
    /// The number of kills for each command.
    pub kills: BTreeMap<KilledCommand, BTreeMap<MadeBy, usize>>,
    pub found: Vec<(CommandKill, String)>,
}

impl CommandReport {
    /// Returns the number of kills after which this command made the change.
    pub fn made_by(&self, command: MadeBy) -> usize {
        let kills = self.kills.values();
        kills.filter_map(|of| of.get(&command)).sum()
    }

    /// Returns true if no fault was found, and commands were killed before, during and after their
    /// commit.
    pub fn is_good(&self) -> bool {
        let made = [MadeBy::Killed, MadeBy::Next, MadeBy::Repeated];
        self.found.is_empty() && made.into_iter().all(|by| self.made_by(by) > 0)
    }

    fn add(&mut self, kill: CommandKill, made_by: MadeBy, faults: Vec<String>) {
        let of_command = self.kills.entry(kill.command).or_default();
        *of_command.entry(made_by).or_default() += 1;
        self.found
            .extend(faults.into_iter().map(|fault| (kill, fault)));
    }
}

impl fmt::Display for CommandKill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = if self.is_performed { "after" } else { "before" };
        let Self { command, write, .. } = self;
        write!(f, "{command} {moment} write {write}")
    }
}

/// Number of points before and shortly after the commit of each command.
const FIRST_POINTS: usize = 32;

/// Kills commands on several threads, each with a system of its own.
///
/// Each command is killed at one of `one_in` points, from the first on, until it completes. Its first
/// points, around the commit, are at least one in four.
///
/// # Panics
/// A command fails that is not killed.
pub fn run(
    program: &str,
    commands: &[KilledCommand],
    one_in: usize,
    threads: usize,
) -> CommandReport {
    let left = Mutex::new(commands.to_vec());
    let report = Mutex::new(CommandReport::default());
    let next = || {
        let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
        left.pop()
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.min(commands.len()) {
            scope.spawn(|| {
                while let Some(command) = next() {
                    kill_at_each_point(program, command, one_in, &report);
                }
            });
        }
    });
    report.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn kill_at_each_point(
    program: &str,
    command: KilledCommand,
    one_in: usize,
    report: &Mutex<CommandReport>,
) {
    let mut site = CommandSite::start(program);
    let first = (0..FIRST_POINTS).step_by(one_in.min(4));
    for point in first.chain((FIRST_POINTS..).step_by(one_in)) {
        let kill = CommandKill {
            command,
            write: point / 2 + 1,
            is_performed: point % 2 == 1,
        };
        match site.kill(kill) {
            Trial::Completed { faults } => {
                assert_eq!(faults, [] as [String; 0], "{command} without a kill");
                return;
            }
            Trial::Killed { made_by, faults } => {
                let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
                report.add(kill, made_by, faults);
            }
        }
    }
}
