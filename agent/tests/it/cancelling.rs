//! Cancelled attempts.
#![cfg(unix)]

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, channel};

use packcast_agent::event::Event;
use packcast_protocol::PackageId;
use packcast_protocol::api::Cancel;
use packcast_protocol::state::exchange::WaitWord;

use crate::lab::Lab;
use crate::packages::{execute, launch, noise, package, script};
use crate::rounds::set;
use crate::signer::Signer;

/// Withdraws the assignment, and lets the next reply cancel the attempt.
fn cancel(lab: &Lab, id: PackageId, attempt: u32) {
    let mut world = lab.world();
    world.tasks.retain(|task| task.id != id);
    world.cancel = vec![Cancel { id, attempt }];
}

/// Assigns a package whose second fragment is unavailable, and runs the agent.
///
/// Returns the package, the file that its program creates, and the missing fragment.
fn stuck(lab: &Lab) -> (PackageId, std::path::PathBuf, Vec<u8>) {
    let ran = lab.state().join("ran");
    let text = format!("#!/bin/sh\ntouch '{}'\n", ran.display());
    let id = lab.assign(launch("run.sh"), package(1, Some(script(&text))));
    let fragment = lab.edge.get(&format!("{id}/{id}-2"));
    lab.edge.put_status(&format!("{id}/{id}-2"), 503);
    let run = lab.run();
    assert!(matches!(run.events.last(), Some(Event::Deferred { .. })));
    (id, ran, fragment)
}

#[test]
fn a_cancelled_download_is_removed_and_reported() {
    let lab = Lab::new();
    let (id, ran, fragment) = stuck(&lab);
    let folder = lab.state().join(format!("packages/{id}"));
    assert!(folder.join("fragments/1").exists());
    lab.edge.put(&format!("{id}/{id}-2"), &[&fragment]);
    cancel(&lab, id, 1);
    let report = lab.result();
    assert_eq!(
        (report.code.to_string().as_str(), report.attempt),
        ("CANCELLED", 1)
    );
    assert!(!folder.exists() && !ran.exists());
    let status = String::from_utf8(lab.agent(&["status"]).stdout).unwrap();
    assert!(
        status.contains("cancelled") && status.contains("CANCELLED"),
        "{status}"
    );
}

#[test]
fn a_later_attempt_runs_after_a_cancelled_one() {
    let lab = Lab::new();
    let (id, ran, fragment) = stuck(&lab);
    let mut task = lab.world().tasks[0].clone();
    cancel(&lab, id, 1);
    assert_eq!(lab.result().code.to_string(), "CANCELLED");
    lab.edge.put(&format!("{id}/{id}-2"), &[&fragment]);
    task.attempt = 2;
    lab.world().tasks = vec![task];
    let report = lab.result();
    assert_eq!(
        (report.code.to_string().as_str(), report.attempt),
        ("SUCCESS_0", 2)
    );
    assert!(ran.exists());
}

#[test]
fn a_cancellation_of_an_unknown_attempt_is_reported() {
    let lab = Lab::new();
    let id = PackageId::try_from(1_795_000_001).unwrap();
    cancel(&lab, id, 3);
    let report = lab.result();
    assert_eq!((report.id, report.attempt), (id, 3));
    assert_eq!(report.code.to_string(), "CANCELLED");
}

#[test]
fn an_unaccepted_cancellation_is_reported_again() {
    let lab = Lab::new();
    let (id, ..) = stuck(&lab);
    cancel(&lab, id, 1);
    lab.world().refuse_reports = true;
    assert_eq!(lab.run().code, 0);
    let package = lab.state().join(format!("packages/{id}"));
    assert!(
        !package.join("fragments").exists(),
        "space is freed at once"
    );
    lab.world().cancel.clear();
    assert_eq!(lab.result().code.to_string(), "CANCELLED");
    assert!(!package.exists());
}

#[test]
fn a_finished_attempt_keeps_its_result() {
    let lab = Lab::new();
    let id = lab.assign(execute("exit 9"), package(1, None));
    lab.world().refuse_reports = true;
    assert_eq!(lab.run().code, 0);
    // The function cancels the attempt before it knows the result, and again after that.
    cancel(&lab, id, 1);
    lab.world().refuse_reports = false;
    assert_eq!(lab.run().code, 0);
    assert_eq!(lab.run().code, 0);
    let reports = std::mem::take(&mut lab.world().reports);
    assert!(!reports.is_empty());
    for report in reports {
        assert_eq!(
            (report.code.to_string().as_str(), report.attempt),
            ("EXIT_CODE_9", 1)
        );
    }
}

#[test]
fn an_interrupted_attempt_is_not_cancelled() {
    for may_repeat in [true, false] {
        let lab = Lab::new();
        let id = PackageId::try_from(1_795_000_001).unwrap();
        lab.write_acting(id, may_repeat);
        cancel(&lab, id, 1);
        assert_eq!(lab.run().code, 0);
        let reports = std::mem::take(&mut lab.world().reports);
        assert!(!reports.is_empty());
        for report in reports {
            assert_eq!(report.code.to_string(), "ERR_INTERRUPTED");
        }
    }
}

/// A running agent that checks in every second.
struct Working<'a> {
    lab: &'a Lab,
    agent: Child,
    lines: Lines<BufReader<ChildStdout>>,
    check_ins: Receiver<()>,
}

impl<'a> Working<'a> {
    /// Starts the agent, and waits for an event.
    fn until(lab: &'a Lab, is_reached: fn(&Event) -> bool) -> Self {
        let (sender, check_ins) = channel();
        lab.world().checked_in = Some(sender);
        lab.world().next_check_in_s = Some(1);
        let mut agent = lab.command(&["run", "--once", "--format", "json"]);
        let mut agent = agent.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(agent.stdout.take().unwrap()).lines();
        let reached = lines.find(|line| is_reached(&event(line)));
        assert!(reached.is_some());
        Self {
            lab,
            agent,
            lines,
            check_ins,
        }
    }

    /// Waits until the agent has received a reply with the current state of the world.
    ///
    /// The second check-in begins only after the agent has received the reply to the first.
    fn wait_for_reply(&self) {
        while self.check_ins.try_recv().is_ok() {}
        for _ in 0..2 {
            self.check_ins.recv().unwrap();
        }
    }

    /// Waits for the agent to exit, and returns its reports.
    fn reports(self) -> Vec<(PackageId, String)> {
        self.outcomes().0
    }

    /// Waits for the agent to exit, and returns its reports, and the reasons of waiting packages.
    fn outcomes(mut self) -> (Vec<(PackageId, String)>, Vec<WaitWord>) {
        let events = self.lines.by_ref().map(|line| event(&line));
        let waits = events.filter_map(|event| match event {
            Event::Waits { reason, .. } => Some(reason),
            _ => None,
        });
        let waits = waits.collect();
        assert!(self.agent.wait().unwrap().success());
        let reports = std::mem::take(&mut self.lab.world().reports);
        let report = |report: packcast_protocol::api::Report| (report.id, report.code.to_string());
        (reports.into_iter().map(report).collect(), waits)
    }
}

fn event(line: &std::io::Result<String>) -> Event {
    serde_json::from_str(line.as_ref().unwrap()).unwrap()
}

#[test]
fn a_cancellation_stops_a_download() {
    let lab = Lab::new();
    let id = lab.assign(launch("run.sh"), package(1, Some(script("#!/bin/sh\n"))));
    lab.edge.silence(&format!("{id}/{id}-2"));
    let agent = Working::until(&lab, |event| {
        matches!(event, Event::ManifestVerified { .. })
    });
    cancel(&lab, id, 1);
    assert_eq!(agent.reports(), [(id, "CANCELLED".to_owned())]);
    assert!(!lab.state().join(format!("packages/{id}")).exists());
}

/// Without the rate limit, the package would be complete before the next check-in.
#[test]
fn a_cancellation_stops_a_rate_limited_download() {
    let lab = Lab::new();
    lab.configure("max_download_rate = \"1KiB/s\"\n");
    let archive = script("#!/bin/sh\n").file("more", &noise(200 << 10));
    let id = lab.assign(launch("run.sh"), package(1, Some(archive)));
    let agent = Working::until(&lab, |event| {
        matches!(event, Event::ManifestVerified { .. })
    });
    cancel(&lab, id, 1);
    assert_eq!(agent.reports(), [(id, "CANCELLED".to_owned())]);
}

/// Changes the world while a package is fetched, and returns the reason if the package waits.
///
/// The agent receives the change before the download ends, and the attempt is not cancelled.
fn changed_during_download(change: impl FnOnce(&Lab)) -> Option<WaitWord> {
    let lab = Lab::new();
    set(&lab, |target| target.signed_days_ago = 3);
    let ran = lab.state().with_file_name("ran");
    let text = format!("#!/bin/sh\ntouch '{}'\n", ran.display());
    let id = lab.assign(launch("run.sh"), package(1, Some(script(&text))));
    let last = format!("{id}/{id}-2");
    lab.edge.silence(&last);
    let agent = Working::until(&lab, |event| {
        matches!(event, Event::ManifestVerified { .. })
    });
    change(&lab);
    agent.wait_for_reply();
    lab.edge.speak(&last);
    let (reports, waits) = agent.outcomes();
    assert_eq!(ran.exists(), waits.is_empty());
    if waits.is_empty() {
        assert_eq!(reports, [(id, "SUCCESS_0".to_owned())]);
    } else {
        assert_eq!((reports.len(), waits.len()), (0, 1));
    }
    waits.first().copied()
}

/// Signs a commit that assigns the tasks, even if the latest commit does.
fn sign_again(lab: &Lab) {
    let mut world = lab.world();
    let content = world.content();
    world.target.as_mut().unwrap().commit(content);
}

#[test]
fn a_package_withdrawn_during_its_download_does_not_run() {
    assert_eq!(changed_during_download(|_| {}), None);
    let unassigned = changed_during_download(|lab| lab.world().tasks.clear());
    assert_eq!(unassigned, Some(WaitWord::NotAssigned));
    let expired = changed_during_download(|lab| {
        set(lab, |target| target.valid_days = 2);
        sign_again(lab);
    });
    assert_eq!(expired, Some(WaitWord::CommitExpired));
}

#[test]
fn a_package_whose_key_is_removed_during_its_download_does_not_run() {
    let replace_key = |lab: &Lab| set(lab, |target| target.replace_key(Signer::new()));
    let removed = changed_during_download(replace_key);
    assert_eq!(removed, Some(WaitWord::NoCommit));
    let signed_again = changed_during_download(|lab| {
        replace_key(lab);
        sign_again(lab);
    });
    assert_eq!(signed_again, None);
}

#[test]
fn a_running_package_continues_and_a_waiting_one_is_cancelled() {
    let lab = Lab::new();
    let (gate, ran) = (lab.state().join("gate"), lab.state().join("ran"));
    let until = format!("until test -e '{}'; do sleep 0.05; done", gate.display());
    let first = lab.assign(execute(&until), package(1, None));
    let touch = format!("touch '{}'", ran.display());
    let second = lab.assign(execute(&touch), package(2, None));
    let agent = Working::until(&lab, |event| matches!(event, Event::Started { .. }));
    lab.world().tasks.clear();
    lab.world().cancel = [first, second].map(|id| Cancel { id, attempt: 1 }).into();
    agent.wait_for_reply();
    std::fs::write(&gate, "").unwrap();
    let expected = [(first, "SUCCESS"), (second, "CANCELLED")];
    assert_eq!(
        agent.reports(),
        expected.map(|(id, code)| (id, code.to_owned()))
    );
    assert!(!ran.exists());
}
