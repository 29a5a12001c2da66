//! Programs that outlive their agent.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use packcast_agent::event::Event;
use packcast_protocol::{Manifest, PackageId};

use crate::lab::{Lab, Package};
use crate::packages::{execute, package};
use crate::skip::{Missing, skip};

/// The way in which the agent holds the processes of a program together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// The agent's choice: a cgroup, if it may use one here.
    Found,
    /// A process group, because a mount hides the cgroups.
    ProcessGroup,
}

/// A device with a program that runs until a file appears, and another program after it.
struct Story {
    lab: Lab,
    way: Way,
    first: PackageId,
}

/// A running agent.
struct Agent {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Story {
    fn new(way: Way, change: fn(&mut Manifest)) -> Self {
        let lab = Lab::new();
        let (runs, go) = (lab.state().join("runs"), lab.state().join("go"));
        let (runs, go) = (runs.display(), go.display());
        let waits = format!(
            "echo begin first >> '{runs}'; until [ -e '{go}' ]; do sleep 0.01; done; echo end first >> '{runs}'"
        );
        let content = package(1, None);
        let first = lab.assign(execute(&waits), Package { change, ..content });
        let line = format!("echo begin second >> '{runs}'; echo end second >> '{runs}'");
        lab.assign(execute(&line), package(2, None));
        Self { lab, way, first }
    }

    fn start(&self) -> Agent {
        let agent = self.lab.command(&["run", "--once", "--format", "json"]);
        let mut command = match self.way {
            Way::Found => agent,
            Way::ProcessGroup => hidden_cgroups(&agent),
        };
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Agent { process, lines }
    }

    /// Kills an agent while the first program runs.
    fn interrupt(&self) {
        let mut agent = self.start();
        agent.until(|event| matches!(event, Event::Started { .. }));
        while self.runs() != ["begin first"] {
            std::thread::yield_now();
        }
        agent.process.kill().unwrap();
        agent.process.wait().unwrap();
        let journal = self
            .lab
            .state()
            .join(format!("packages/{}/journal", self.first));
        let has_cgroup = fs::read_to_string(journal).unwrap().contains("\"cgroup\"");
        if self.way == Way::ProcessGroup {
            assert!(!has_cgroup);
        } else if !has_cgroup {
            skip(Missing::Optional("a writable cgroup of version 2"));
        }
    }

    fn let_go(&self) {
        fs::write(self.lab.state().join("go"), "").unwrap();
    }

    fn runs(&self) -> Vec<String> {
        let runs = fs::read_to_string(self.lab.state().join("runs")).unwrap_or_default();
        runs.lines().map(str::to_owned).collect()
    }

    /// Returns the reported results of the first package. A result may arrive twice: the agent sends
    /// it until a reply has accepted it.
    fn results(&self) -> Vec<(String, String)> {
        let reports = std::mem::take(&mut self.lab.world().reports);
        let first = reports.into_iter().filter(|report| report.id == self.first);
        let results = first.map(|report| {
            let detail = report.detail.map(|detail| detail.to_string());
            (report.code.to_string(), detail.unwrap_or_default())
        });
        let mut results: Vec<_> = results.collect();
        results.dedup();
        results
    }
}

impl Agent {
    fn until(&mut self, is_reached: fn(&Event) -> bool) {
        let reached = self.lines.find(|line| {
            let event = serde_json::from_str(line.as_ref().unwrap()).unwrap();
            is_reached(&event)
        });
        assert!(reached.is_some(), "the agent has ended before");
    }

    fn ends(mut self) {
        self.lines.for_each(|line| drop(line.unwrap()));
        assert!(self.process.wait().unwrap().success());
    }
}

/// Returns a command that runs the agent where a mount hides all cgroups.
fn hidden_cgroups(agent: &Command) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-e", "-c"]);
    command.args([r#"mount -t tmpfs none /sys/fs/cgroup; exec "$@""#, "sh"]);
    command.arg(agent.get_program()).args(agent.get_args());
    command.env("NO_PROXY", "127.0.0.1").env_remove("RUST_LOG");
    command
}

/// Returns the ways that this machine allows.
fn ways() -> Vec<Way> {
    let probe = hidden_cgroups(&Command::new("true")).status();
    if probe.is_ok_and(|status| status.success()) {
        return vec![Way::Found, Way::ProcessGroup];
    }
    skip(Missing::Optional("mounting as a user"));
    vec![Way::Found]
}

#[test]
fn the_agent_waits_for_a_program_that_an_earlier_agent_started() {
    for way in ways() {
        let story = Story::new(way, |_| {});
        story.interrupt();
        let mut agent = story.start();
        agent.until(|event| matches!(event, Event::ProgramFound { .. }));
        assert_eq!(story.runs(), ["begin first"], "{way:?}");
        story.let_go();
        agent.ends();
        let expected = ["begin first", "end first", "begin second", "end second"];
        assert_eq!(story.runs(), expected, "{way:?}");
        let results = story.results();
        let [(code, detail)] = &results[..] else {
            panic!("the package has one result: {results:?}");
        };
        assert_eq!(code, "ERR_INTERRUPTED");
        assert!(detail.contains("ended later"), "{detail}");
    }
}

#[test]
fn a_program_that_may_run_again_does_not_run_twice_at_once() {
    for way in ways() {
        let story = Story::new(way, |manifest| manifest.rerun_after_interruption = true);
        story.interrupt();
        let mut agent = story.start();
        agent.until(|event| matches!(event, Event::ProgramFound { .. }));
        assert_eq!(story.runs(), ["begin first"], "{way:?}");
        story.let_go();
        agent.ends();
        let first = ["begin first", "end first"];
        let expected = [&first[..], &first[..], &["begin second", "end second"]].concat();
        assert_eq!(story.runs(), expected, "{way:?}");
        assert_eq!(story.results()[0].0, "SUCCESS");
    }
}

#[test]
fn the_next_agent_ends_a_program_at_its_time_limit() {
    for way in ways() {
        // With a limit of a minute, the agent that is killed does not end the program itself.
        let story = Story::new(way, |manifest| manifest.timeout_s = 60);
        story.interrupt();
        story.lab.program_began_earlier(story.first, 59);
        story.start().ends();
        let expected = ["begin first", "begin second", "end second"];
        assert_eq!(story.runs(), expected, "{way:?}");
        let results = story.results();
        let [(code, detail)] = &results[..] else {
            panic!("the package has one result: {results:?}");
        };
        assert_eq!(code, "ERR_INTERRUPTED");
        assert!(detail.contains("longer than its time limit"), "{detail}");
    }
}
