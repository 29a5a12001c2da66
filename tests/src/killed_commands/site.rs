//! A system with one device, on which commands are killed one after the other.

use std::fs;
use std::process::Stdio;

use packcast_protocol::PackageId;

use super::subject::TrialNames;
use super::{CommandKill, KilledCommand, MadeBy};
use crate::front::{HeldWrite, Hold};
use crate::process::{Process, Ran, eventually};
use crate::tree::Tree;
use crate::world::World;
use crate::world::device::TestDevice;

pub(super) struct CommandSite {
    device: TestDevice,
    tree: Tree,
    world: World,
    /// Number of trials.
    number: usize,
}

/// The result of one trial.
pub(super) enum Trial {
    /// The command has ended before the point.
    Completed { faults: Vec<String> },
    Killed {
        made_by: MadeBy,
        faults: Vec<String>,
    },
}

/// The package of one trial, and the faults so far.
struct TrialCheck<'a> {
    site: &'a CommandSite,
    command: KilledCommand,
    renamed: String,
    package: PackageId,
    /// A file with a line for each run of the package.
    runs: String,
    faults: Vec<String>,
}

impl CommandSite {
    pub(super) fn start(program: &str) -> Self {
        let world = World::start(program);
        Self {
            device: world.device("pc"),
            tree: Tree::of(&world),
            world,
            number: 0,
        }
    }

    /// Runs a command on a new group and a new package, and kills it at a point.
    pub(super) fn kill(&mut self, kill: CommandKill) -> Trial {
        self.number += 1;
        let command = kill.command;
        let names = TrialNames {
            group: format!("group-{}", self.number),
            renamed: format!("renamed-{}", self.number),
            package: format!("package-{}@1", self.number),
        };
        let runs = self.world.path(&format!("runs-{}", self.number));
        let name = names.package.trim_end_matches("@1");
        let package = self.world.execute(name, &format!("echo x >> '{runs}'"));
        command.prepare(&self.world, &names, &self.device);
        let arguments = command.arguments(&names, &self.device);
        let before = self.tree.order();
        let is_killed = self.run_and_kill(&arguments, kill);
        let mut check = TrialCheck {
            site: self,
            command,
            renamed: names.renamed.clone(),
            package,
            runs,
            faults: Vec::new(),
        };
        if !is_killed {
            check.audit("the command");
            check.device();
            return Trial::Completed {
                faults: check.faults,
            };
        }
        let is_committed = self.tree.order() > before;
        if is_committed {
            check.device_before_the_next_command();
        }
        check.succeeds(&["group", "create", &format!("next-{}", self.number)]);
        check.audit("the next command");
        let made_by = match (is_committed, check.is_made()) {
            (true, is_made) => {
                check.expect(is_made, "the next command has undone the commit");
                MadeBy::Killed
            }
            (false, true) => MadeBy::Next,
            (false, false) => {
                check.succeeds(&arguments);
                check.audit("the repeated command");
                check.expect(check.is_made(), "the repeated command has no effect");
                MadeBy::Repeated
            }
        };
        check.device();
        Trial::Killed {
            made_by,
            faults: check.faults,
        }
    }

    /// Returns false if the command has ended before the point. Then it has to succeed.
    fn run_and_kill(&self, arguments: &[&str], kill: CommandKill) -> bool {
        let table = self.world.table();
        table.hold(Hold {
            write: HeldWrite::Number(kill.write),
            is_performed: kill.is_performed,
        });
        let mut process = Process::start(
            self.world
                .command(arguments)
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        );
        let ended = eventually("the command ends or is held", || {
            if table.is_holding() {
                return Some(None);
            }
            process.ended().map(Some)
        });
        if let Some(status) = ended {
            assert!(status.success(), "{kill}: {status}");
        } else {
            process.kill();
        }
        table.release();
        ended.is_none()
    }
}

impl TrialCheck<'_> {
    fn expect(&mut self, is_so: bool, otherwise: &str) {
        if !is_so {
            self.faults.push(otherwise.to_owned());
        }
    }

    fn succeeds(&mut self, arguments: &[&str]) {
        let ran = Ran::of(&mut self.site.world.command(arguments));
        if ran.code != Some(0) {
            self.faults.push(format!("{arguments:?} failed: {ran:?}"));
        }
    }

    /// Compares chain, signatures, manifests and all records with the signed state.
    fn audit(&mut self, after: &str) {
        let ran = Ran::of(&mut self.site.world.command(&["audit"]));
        if ran.code != Some(0) {
            self.faults.push(format!("after {after}: {}", ran.stdout));
        }
    }

    /// Returns true if the state is as after the command.
    fn is_made(&self) -> bool {
        if self.command == KilledCommand::GroupRename {
            return self.site.tree.has_group(&self.renamed);
        }
        let assigned = self.site.tree.assigned(self.site.device.id());
        assigned.contains(&self.package) == self.command.assigns()
    }

    /// The commit is the head, and its records may be incomplete.
    fn device_before_the_next_command(&mut self) {
        self.site.device.run();
        let most = usize::from(self.command.assigns());
        let runs = self.runs();
        self.expect(
            runs <= most,
            &format!("{runs} runs before the next command"),
        );
    }

    /// The device has exactly the packages of the state, and is told of no other.
    fn device(&mut self) {
        let announced = self.site.device.announced();
        let (runs, expected) = (self.runs(), usize::from(self.command.assigns()));
        self.expect(runs == expected, &format!("{runs} runs, not {expected}"));
        self.expect(
            announced <= expected,
            &format!("{announced} packages announced, not {expected}"),
        );
        let again = self.site.device.announced();
        self.expect(again == 0, &format!("{again} packages announced again"));
    }

    fn runs(&self) -> usize {
        fs::read_to_string(&self.runs).map_or(0, |runs| runs.lines().count())
    }
}
