//! Single runs of an agent, for whose target only the test makes commits.
#![cfg(unix)]

use std::fs;
use std::path::PathBuf;

use packcast_agent::event::Event;
use packcast_protocol::state::exchange::{UsedMandates, WaitWord};
use packcast_protocol::state::{StateEntry, Terms};
use packcast_protocol::{AgentId, Manifest, PackageId};

use crate::lab::{Lab, Package, Run};
use crate::packages::{execute, package};
use crate::publisher::{Content, StatePublisher};

/// One run of the agent: the codes of its reports, the reasons to wait, and its events.
pub(crate) struct Round {
    pub(crate) codes: Vec<String>,
    /// The mandates that each report names.
    pub(crate) mandates: Vec<UsedMandates>,
    pub(crate) waits: Vec<WaitWord>,
    pub(crate) events: Vec<Event>,
    pub(crate) stderr: String,
}

impl Round {
    pub(crate) fn refusals(&self) -> Vec<&str> {
        let refused = self.events.iter().filter_map(|event| match event {
            Event::DocumentRefused { detail } => Some(detail.as_str()),
            _ => None,
        });
        refused.collect()
    }
}

pub(crate) fn round(lab: &Lab) -> Round {
    let Run {
        code,
        events,
        stderr,
    } = lab.run();
    assert_eq!(code, 0, "{stderr}");
    let reports = std::mem::take(&mut lab.world().reports);
    let codes = reports.iter().map(|report| report.code.to_string());
    let waits = events.iter().filter_map(|event| match event {
        Event::Waits { reason, .. } => Some(*reason),
        _ => None,
    });
    Round {
        codes: codes.collect(),
        mandates: reports
            .iter()
            .map(|report| report.mandates.clone())
            .collect(),
        waits: waits.collect(),
        stderr,
        events,
    }
}

/// Runs the agent once, and expects these codes of reports.
pub(crate) fn expect(lab: &Lab, codes: &[&str]) {
    let round = round(lab);
    assert_eq!(round.codes, codes, "{:?}\n{}", round.events, round.stderr);
    assert!(round.waits.is_empty(), "{:?}", round.events);
}

/// Runs the agent once, and expects that its only package waits for this reason.
pub(crate) fn expect_wait(lab: &Lab, reason: WaitWord) {
    let round = round(lab);
    assert_eq!(
        round.waits,
        [reason],
        "{:?}\n{}",
        round.events,
        round.stderr
    );
    assert!(round.codes.is_empty(), "{:?}", round.events);
}

/// Publishes a package whose program adds a line to a file, and announces it.
pub(crate) fn counting(lab: &Lab, n: u32) -> PackageId {
    counting_with(lab, n, |_| {})
}

pub(crate) fn counting_with(lab: &Lab, n: u32, change: fn(&mut Manifest)) -> PackageId {
    let command = format!("echo {n} >> '{}'; exit 3", ran(lab).display());
    let content = package(n, None);
    lab.assign(execute(&command), Package { change, ..content })
}

fn ran(lab: &Lab) -> PathBuf {
    lab.state().join("ran")
}

/// Returns the packages that have run, in order.
pub(crate) fn runs(lab: &Lab) -> Vec<String> {
    let lines = fs::read_to_string(ran(lab)).unwrap_or_default();
    lines.lines().map(str::to_owned).collect()
}

/// Returns an entry of the announced package.
pub(crate) fn entry(lab: &Lab, id: PackageId, seq: u64) -> StateEntry {
    let world = lab.world();
    let task = world.tasks.iter().find(|task| task.id == id).unwrap();
    StateEntry {
        package: id,
        manifest: task.manifest_sha256,
        seq,
        assignee: None,
        force: false,
        terms: Terms::default(),
    }
}

pub(crate) fn forced(entry: StateEntry) -> StateEntry {
    StateEntry {
        force: true,
        ..entry
    }
}

/// Returns a content with the location of all packages.
pub(crate) fn content(lab: &Lab) -> Content {
    Content::default().with_location("main", lab.edge.location())
}

pub(crate) fn commit(lab: &Lab, content: Content) -> u64 {
    lab.world().target.as_mut().unwrap().commit(content)
}

/// Changes the publisher and the replies of the function.
pub(crate) fn set(lab: &Lab, change: impl FnOnce(&mut StatePublisher)) {
    change(lab.world().target.as_mut().unwrap());
}

pub(crate) fn next_attempt(lab: &Lab) {
    for task in &mut lab.world().tasks {
        task.attempt += 1;
    }
}

pub(crate) fn device(lab: &Lab) -> AgentId {
    let id = String::from_utf8(lab.agent(&["id"]).stdout).unwrap();
    let id = id.trim().strip_prefix("key:").unwrap();
    id.parse().unwrap()
}

pub(crate) fn status(lab: &Lab) -> String {
    let output = lab.agent(&["status"]);
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the folder with the state of the followed target.
pub(crate) fn state_folder(lab: &Lab) -> PathBuf {
    let target = lab.world().target.as_ref().unwrap().trust().target();
    lab.state().join(format!("target-{target}"))
}

/// Returns the numbers of check-ins since the last call.
pub(crate) fn check_ins(lab: &Lab) -> usize {
    let mut world = lab.world();
    std::mem::take(&mut world.target.as_mut().unwrap().held).len()
}
