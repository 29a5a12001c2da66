//! The agent is killed while the program of a package runs.

use std::fs;

use packcast_agent::event::Event;
use packcast_protocol::Outcome;
use packcast_tests::archives::tar_gz;
use packcast_tests::process::eventually;
use packcast_tests::world::World;
use packcast_tests::world::device::TestDevice;

use crate::PROGRAM;

/// A package whose program records its run, and then waits for a file.
struct WaitingProgram {
    world: World,
    device: TestDevice,
    runs: String,
}

impl WaitingProgram {
    fn begin(action: &str, terms: &[&str]) -> Self {
        let world = World::start(PROGRAM);
        let (runs, go) = (world.path("runs"), world.path("go"));
        let line = format!("echo run >> {runs}; until [ -e {go} ]; do sleep 0.01; done");
        let script = format!("#!/bin/sh\n{line}\n");
        let source = world.file("tool.tar.gz", &tar_gz(&[("run.sh", script.as_bytes())]));
        let command = if action == "launch" { "run.sh" } else { &line };
        let action = ["--action", action, "--command", command, "--activate"];
        world.publish("tool", &[&action, terms, &[&source]].concat());
        let device = world.device("pc");
        world.assign("tool@1", &device);
        Self {
            world,
            device,
            runs,
        }
    }

    /// Kills the agent while the program runs, and lets the program end after another agent has
    /// found it.
    fn interrupt(&self) {
        let mut agent = self.device.start();
        while !matches!(agent.next_event(), Event::Started { .. }) {}
        eventually("the program runs", || (self.runs() > 0).then_some(()));
        agent.kill();
        let mut agent = self.device.start();
        while !matches!(agent.next_event(), Event::ProgramFound { .. }) {}
        assert_eq!(self.runs(), 1, "no second copy runs beside the first");
        self.world.file("go", b"");
        while agent.event().is_some() {}
    }

    fn runs(&self) -> usize {
        fs::read_to_string(&self.runs).map_or(0, |runs| runs.lines().count())
    }

    /// Expects a result, and that no task is left.
    fn expect(&self, runs: usize, outcome: Outcome, code: &str) {
        let result = self.world.result(&self.device);
        assert_eq!(
            (result.outcome, &result.code.to_string()[..]),
            (outcome, code)
        );
        assert_eq!(result.attempt, 1);
        assert_eq!(self.runs(), runs);
        assert_eq!(self.device.announced(), 0);
    }
}

#[test]
fn an_interrupted_program_is_reported_and_not_run_again() {
    for action in ["execute", "launch"] {
        let story = WaitingProgram::begin(action, &[]);
        story.interrupt();
        story.expect(1, Outcome::Failed, "ERR_INTERRUPTED");
    }
}

#[test]
fn a_repeatable_program_is_run_again_after_an_interruption() {
    for (action, code) in [("execute", "SUCCESS"), ("launch", "SUCCESS_0")] {
        let story = WaitingProgram::begin(action, &["--rerun-after-interruption"]);
        story.interrupt();
        story.expect(2, Outcome::Succeeded, code);
    }
}

#[test]
fn a_second_agent_on_the_same_state_exits_with_an_error() {
    let story = WaitingProgram::begin("launch", &[]);
    let mut agent = story.device.start();
    while !matches!(agent.next_event(), Event::Started { .. }) {}
    let second = story.device.attempt();
    assert_eq!(second.code, Some(1), "{second:#?}");
    assert!(
        second.stderr.contains("is in use by another agent"),
        "{second:#?}"
    );
    story.world.file("go", b"");
    while agent.event().is_some() {}
    story.expect(1, Outcome::Succeeded, "SUCCESS_0");
}
