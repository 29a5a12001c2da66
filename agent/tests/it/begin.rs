//! The question before a package begins.
#![cfg(unix)]

use std::process::Stdio;
use std::sync::mpsc::channel;

use packcast_agent::event::Event;
use packcast_protocol::api::{BeginReply, HoldWord};
use packcast_protocol::state::Mandate;
use packcast_protocol::state::exchange::WaitWord;
use packcast_protocol::{Action, Assignee, GroupName, PackageId};

use crate::archives::Tar;
use crate::lab::Lab;
use crate::packages::package;
use crate::rounds::{Round, counting, expect, round, runs};

const HELD: BeginReply = BeginReply::wait(HoldWord::Inactive);

fn stores() -> Action<()> {
    Action::Store {
        archive: (),
        folder: "INSTALL_PATH/stored".parse().unwrap(),
    }
}

/// Sets the answers to the next questions.
fn answers(lab: &Lab, answers: &[(u16, BeginReply)]) {
    lab.world().answers = answers.iter().copied().collect();
}

/// Returns the packages that have begun in a round, in order.
fn started(round: &Round) -> Vec<PackageId> {
    let started = round.events.iter().filter_map(|event| match event {
        Event::Started { id } => Some(*id),
        _ => None,
    });
    started.collect()
}

#[test]
fn a_device_asks_before_each_package_and_names_its_assignments() {
    let lab = Lab::new();
    let program = counting(&lab, 1);
    let archive = Tar::new().file("file", b"content");
    let files = lab.assign(stores(), package(2, Some(archive)));
    assert_eq!(started(&round(&lab)), [program, files]);
    let world = lab.world();
    let asked: Vec<_> = world
        .begins
        .iter()
        .map(|asked| (asked.id, asked.attempt))
        .collect();
    assert_eq!(asked, [(program, 1), (files, 1)]);
    for asked in &world.begins {
        let [Mandate { assignee, seq }] = asked.mandates.as_slice() else {
            panic!("{asked:?}");
        };
        assert_eq!(*assignee, Assignee::Group(GroupName::all()));
        assert!(*seq <= asked.commit.number);
    }
}

#[test]
fn a_package_that_was_stopped_waits_and_the_others_continue() {
    let lab = Lab::new();
    let first = counting(&lab, 1);
    let archive = Tar::new().file("file", b"content");
    let files = lab.assign(stores(), package(2, Some(archive)));
    let third = counting(&lab, 3);
    answers(&lab, &[(200, HELD), (200, HELD)]);
    let held = round(&lab);
    assert_eq!(held.waits, [WaitWord::Held; 2], "{:?}", held.events);
    assert_eq!(started(&held), [third]);
    assert!(!lab.state().join("installed/stored").exists());
    assert_eq!(runs(&lab), ["3"]);
    let status = lab.agent(&["status"]);
    let shown = String::from_utf8(status.stdout).unwrap();
    assert!(shown.contains("the package is not active"), "{shown}");
    // The permission comes, and no fragment is fetched again.
    let fragments = || {
        let world = lab.world();
        let gets = world.gets.iter();
        gets.filter(|path| !path.ends_with("manifest.json")).count()
    };
    let fetched = fragments();
    lab.world().tasks.retain(|task| task.id != third);
    let begun = round(&lab);
    assert_eq!(started(&begun), [first, files]);
    assert_eq!(fragments(), fetched);
    assert_eq!(runs(&lab), ["3", "1"]);
    assert!(lab.state().join("installed/stored/file").exists());
}

#[test]
fn a_package_without_an_answer_does_not_begin_and_the_others_continue() {
    let lab = Lab::new();
    let first = counting(&lab, 1);
    let second = counting(&lab, 2);
    // All tries of the first question.
    answers(&lab, &[(503, HELD); 4]);
    let unanswered = round(&lab);
    assert_eq!(unanswered.waits, [WaitWord::Unanswered]);
    assert_eq!(started(&unanswered), [second]);
    lab.world().tasks.retain(|task| task.id == first);
    expect(&lab, &["EXIT_CODE_3"]);
    assert_eq!(runs(&lab), ["2", "1"]);
}

/// The agent runs on, and checks in every second.
#[test]
fn a_device_does_not_ask_again_before_the_time_in_the_answer() {
    let lab = Lab::new();
    let (first, second) = (counting(&lab, 1), counting(&lab, 2));
    let full = |again_s| BeginReply::Wait {
        reason: HoldWord::RolloutFull,
        again_s,
    };
    answers(
        &lab,
        &[
            (200, full(Some(3_600))),
            (200, full(None)),
            (200, full(Some(1))),
        ],
    );
    let (sender, check_ins) = channel();
    lab.world().checked_in = Some(sender);
    lab.world().next_check_in_s = Some(1);
    let mut command = lab.command(&["run"]);
    let mut agent = command.stderr(Stdio::null()).spawn().unwrap();
    while runs(&lab).is_empty() {
        check_ins.recv().unwrap();
    }
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert_eq!(runs(&lab), ["2"]);
    let world = lab.world();
    let asked: Vec<PackageId> = world.begins.iter().map(|asked| asked.id).collect();
    assert_eq!(asked, [first, second, second, second]);
    // The package is still on the list of the check-in.
    let waits = world.waits.clone().into_iter();
    let waiting: Vec<_> = waits.map(|it| (it.package, it.reason)).collect();
    assert_eq!(waiting.first(), Some(&(first, WaitWord::Held)));
}
