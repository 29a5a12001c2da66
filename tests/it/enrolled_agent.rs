//! A world with an OCS agent.

use packcast_protocol::{Outcome, PackageId};
use packcast_rollout::{FinishedTask, PackageRecord};
use packcast_tests::archives::tar_gz;
use packcast_tests::ocs_agent::times::Times;
use packcast_tests::ocs_agent::{OcsAgent, OcsCheckIn, installed};
use packcast_tests::world::World;

use crate::PROGRAM;

/// A priority at which an OCS agent deploys a package in every cycle, so that stories are short.
pub(crate) const PROMPT: [&str; 3] = ["--priority", "1", "--activate"];

/// A world with an OCS agent that has checked in for the first time.
pub(crate) struct EnrolledAgent {
    pub(crate) world: World,
    pub(crate) agent: OcsAgent,
    pub(crate) first: OcsCheckIn,
    times: Times,
}

impl EnrolledAgent {
    /// Returns `None` if the agent is not installed; the test is then skipped.
    pub(crate) fn begin() -> Option<Self> {
        let program = installed()?;
        let world = World::start(PROGRAM);
        let (agent, first) = OcsAgent::enrol(&program, &world);
        Some(Self {
            world,
            agent,
            first,
            times: Times::default(),
        })
    }

    /// Lets the agent check in and complete the announced tasks.
    pub(crate) fn check_in(&self) -> OcsCheckIn {
        let check_in = self.agent.check_in();
        let announced = check_in.announced();
        if announced.is_empty() {
            return check_in;
        }
        let packages = self.world.packages();
        let announced = packages
            .iter()
            .filter(|package| announced.contains_key(&package.id));
        self.times.add(&check_in, announced);
        check_in
    }

    /// Publishes a package `name@1` that launches a script, and assigns it.
    pub(crate) fn launch(&self, name: &str, script: &str) -> PackageId {
        self.launch_with(name, script, &PROMPT).id
    }

    /// Launches and assigns a package like [`Self::launch`], with these arguments instead of
    /// [`PROMPT`].
    pub(crate) fn launch_with(&self, name: &str, script: &str, rest: &[&str]) -> PackageRecord {
        let source = self.script(name, script);
        let action = ["--action", "launch", "--command", "run.sh", &source];
        self.assigned(name, &[&action[..], rest].concat())
    }

    /// Writes an archive with a shell script `run.sh`, and returns its path.
    pub(crate) fn script(&self, name: &str, script: &str) -> String {
        let script = format!("#!/bin/sh\n{script}\n");
        let archive = tar_gz(&[("run.sh", script.as_bytes())]);
        self.world.file(&format!("{name}.tar.gz"), &archive)
    }

    /// Publishes a package `name@1` that runs a shell command, and assigns it.
    pub(crate) fn execute(&self, name: &str, command: &str) -> PackageId {
        let package = self.command(name, command);
        self.assign(name);
        package
    }

    /// Publishes a package `name@1` that runs a shell command.
    pub(crate) fn command(&self, name: &str, command: &str) -> PackageId {
        let action = ["--action", "execute", "--command", command];
        let arguments = [&action[..], &PROMPT].concat();
        self.world.publish(name, &arguments).package.id
    }

    /// Publishes a package `name@1`, and assigns it.
    pub(crate) fn assigned(&self, name: &str, arguments: &[&str]) -> PackageRecord {
        let package = self.world.publish(name, arguments).package;
        self.assign(name);
        package
    }

    pub(crate) fn assign(&self, name: &str) -> String {
        self.assign_with(name, &[])
    }

    pub(crate) fn assign_with(&self, name: &str, rest: &[&str]) -> String {
        let package = format!("{name}@1");
        let assign = ["assign", &package, "--device", self.agent.id()];
        self.world.ok(&[&assign[..], rest].concat()).stdout
    }

    pub(crate) fn join(&self, group: &str) {
        let add = ["group", "add", group, "--device", self.agent.id()];
        self.world.ok(&add);
    }

    /// Returns the latest result of a package, `None` if the device has not finished it.
    pub(crate) fn finished(&self, package: PackageId) -> Option<FinishedTask> {
        let finished = self.world.device_state_of(self.agent.id()).finished;
        finished.into_iter().find(|task| task.package == package)
    }

    pub(crate) fn expect(&self, package: PackageId, attempt: u32, code: &str, outcome: Outcome) {
        let result = self
            .finished(package)
            .expect("the device has finished the package");
        assert_eq!(result.code.to_string(), code);
        assert_eq!((result.attempt, result.outcome), (attempt, outcome));
    }
}
