//! Limits of an attacker who controls the function, the table and the bucket.
//!
//! The attacker can delay packages, but not choose them.
#![cfg(unix)]

use std::fs;

use packcast_agent::event::Event;
use packcast_protocol::state::exchange::WaitWord;
use packcast_protocol::state::{SignedCommit, StateEntry};
use packcast_protocol::{AgentId, Sha256Digest};

use crate::lab::Lab;
use crate::packages::{launch, package, script};
use crate::publisher::StatePublisher;
use crate::rounds::{
    commit, content, counting, device, entry, expect, expect_wait, next_attempt, round, runs, set,
    state_folder,
};
use crate::signer::Signer;

/// Runs the agent once. Its only package waits, and the first refusal contains a text.
fn expect_refusal(lab: &Lab, reason: WaitWord, refusal: &str) {
    let round = round(lab);
    assert_eq!(round.waits, [reason], "{}", round.stderr);
    let refusals = round.refusals();
    assert!(refusals[0].contains(refusal), "{refusals:?}");
    assert!(runs(lab).is_empty());
}

#[test]
fn a_package_that_no_state_assigns_is_not_fetched() {
    let lab = Lab::with_commits();
    let id = counting(&lab, 1);
    expect_wait(&lab, WaitWord::NoKeyList);
    commit(&lab, content(&lab).with("all", &[]));
    expect_wait(&lab, WaitWord::NotAssigned);
    let other = StateEntry {
        package: id.next().unwrap(),
        force: true,
        ..entry(&lab, id, 1)
    };
    commit(&lab, content(&lab).with("all", &[other]));
    expect_wait(&lab, WaitWord::NotAssigned);
    assert_eq!((runs(&lab).len(), lab.world().gets.len()), (0, 0));
}

#[test]
fn a_key_list_by_an_unknown_key_is_refused() {
    let lab = Lab::with_commits();
    let id = counting(&lab, 1);
    // The thief knows the id of the target.
    lab.world().target = Some(StatePublisher::new(1, Signer::new()));
    commit(&lab, content(&lab).with("all", &[entry(&lab, id, 1)]));
    for _ in 0..2 {
        expect_refusal(&lab, WaitWord::NoKeyList, "cannot follow a key list");
    }
}

#[test]
fn a_commit_by_an_unknown_key_is_refused() {
    let lab = Lab::with_commits();
    let id = counting(&lab, 1);
    set(&lab, |target| target.signer = Signer::new());
    commit(&lab, content(&lab).with("all", &[entry(&lab, id, 1)]));
    expect_refusal(&lab, WaitWord::NoCommit, "cannot accept a commit");
}

#[test]
fn a_signature_of_another_document_is_refused() {
    let lab = Lab::with_commits();
    let id = counting(&lab, 1);
    commit(&lab, content(&lab).with("all", &[entry(&lab, id, 1)]));
    set(&lab, |target| {
        target.change = Some(|reply| {
            // A later reply has no list, whose signature could be taken.
            let commit = reply.commit.take();
            reply.commit = commit.zip(reply.lists.first()).map(|(commit, list)| {
                let (text, signature) = (commit.text().to_owned(), list.signature().to_owned());
                SignedCommit::new(text, signature).unwrap()
            });
        });
    });
    expect_refusal(&lab, WaitWord::NoCommit, "cannot accept a commit");
    set(&lab, |target| target.change = None);
    expect(&lab, &["EXIT_CODE_3"]);
}

#[test]
fn a_commit_is_no_manifest() {
    let lab = Lab::with_commits();
    let id = counting(&lab, 1);
    commit(&lab, content(&lab));
    let text = lab
        .world()
        .target
        .as_ref()
        .unwrap()
        .latest_text()
        .to_owned();
    lab.edge
        .put(&format!("{id}/manifest.json"), &[text.as_bytes()]);
    lab.world().tasks[0].manifest_sha256 = Sha256Digest::of(text.as_bytes());
    commit(&lab, content(&lab).with("all", &[entry(&lab, id, 1)]));
    expect(&lab, &["ERR_BAD_MANIFEST"]);
}

#[test]
fn packages_of_other_assignees_do_not_run() {
    let lab = Lab::with_commits();
    let id = counting(&lab, 1);
    let tills = content(&lab).with("tills", &[entry(&lab, id, 1)]);
    commit(&lab, tills.clone());
    expect_wait(&lab, WaitWord::NotAssigned);
    let other = AgentId::of_public_key(&[1; 32]);
    commit(&lab, tills.clone().with_member(other, &["tills"]));
    expect_wait(&lab, WaitWord::NotAssigned);
    assert!(runs(&lab).is_empty());
    commit(&lab, tills.with_member(device(&lab), &["tills"]));
    expect(&lab, &["EXIT_CODE_3"]);
}

#[test]
fn an_entry_is_not_used_up_before_the_action() {
    let lab = Lab::with_commits();
    let id = counting(&lab, 1);
    commit(&lab, content(&lab).with("all", &[entry(&lab, id, 1)]));
    let name = format!("{id}/manifest.json");
    let manifest = lab.edge.get(&name);
    lab.edge.put_status(&name, 404);
    expect(&lab, &["ERR_DOWNLOAD_PACK"]);
    lab.edge.put(&name, &[&manifest]);
    next_attempt(&lab);
    expect(&lab, &["EXIT_CODE_3"]);
}

#[test]
fn a_manifest_does_not_move_to_another_package() {
    let lab = Lab::with_commits();
    let other = counting(&lab, 1);
    let mut tasks = std::mem::take(&mut lab.world().tasks);
    let id = counting(&lab, 2);
    commit(&lab, content(&lab).with("all", &[entry(&lab, id, 1)]));
    let moved = lab.edge.get(&format!("{other}/manifest.json"));
    lab.edge.put(&format!("{id}/manifest.json"), &[&moved]);
    expect(&lab, &["ERR_BAD_MANIFEST"]);
    next_attempt(&lab);
    // The function announces the same.
    lab.world().tasks[0].manifest_sha256 = tasks.remove(0).manifest_sha256;
    expect_wait(&lab, WaitWord::OtherManifest);
    // The publisher is mistaken, too.
    commit(&lab, content(&lab).with("all", &[entry(&lab, id, 2)]));
    expect(&lab, &["ERR_BAD_MANIFEST"]);
    assert!(runs(&lab).is_empty());
}

#[test]
fn a_fragment_does_not_move_to_another_package() {
    let lab = Lab::new();
    let other = lab.assign(
        launch("run.sh"),
        package(1, Some(script("#!/bin/sh\nexit 5\n"))),
    );
    lab.world().tasks.clear();
    let id = lab.assign(
        launch("run.sh"),
        package(2, Some(script("#!/bin/sh\nexit 6\n"))),
    );
    let foreign = lab.edge.get(&format!("{other}/{other}-1"));
    lab.edge.put(&format!("{id}/{id}-1"), &[&foreign]);
    assert_eq!(lab.result().code.to_string(), "ERR_BAD_DIGEST");
}

#[test]
fn a_device_follows_two_rotations_at_once_and_drops_a_removed_key() {
    let lab = Lab::with_commits();
    let [second, third, fourth] = [(); 3].map(|()| Signer::new());
    let entries = [1, 2, 3].map(|n| {
        let id = counting(&lab, n);
        entry(&lab, id, n.into())
    });
    let tasks = std::mem::take(&mut lab.world().tasks);
    let announce = |n: usize| {
        lab.world().tasks = vec![tasks[n].clone()];
        commit(&lab, content(&lab).with("all", &entries[..=n]));
    };
    announce(0);
    expect(&lab, &["EXIT_CODE_3"]);

    set(&lab, |target| {
        target.rotate(second);
        target.rotate(third.clone());
    });
    announce(1);
    let rotated = round(&lab);
    assert_eq!(rotated.codes, ["EXIT_CODE_3"], "{}", rotated.stderr);
    let followed = |event: &Event| matches!(event, Event::KeysFollowed { serial: 3 });
    assert!(rotated.events.iter().any(followed), "{:?}", rotated.events);

    set(&lab, |target| {
        target.replace_key(fourth.clone());
        target.signer = third;
    });
    announce(2);
    let replaced = round(&lab);
    assert_eq!(replaced.waits, [WaitWord::NoCommit], "{}", replaced.stderr);
    let refusals = replaced.refusals().join("\n");
    assert!(refusals.contains("does not name its key"), "{refusals}");
    assert_eq!(runs(&lab), ["1", "2"]);
    set(&lab, |target| target.signer = fourth);
    announce(2);
    expect(&lab, &["EXIT_CODE_3"]);
    // The device has used up all mandates under the removed keys, too.
    fs::remove_dir_all(state_folder(&lab)).unwrap();
    lab.world().tasks = tasks;
    next_attempt(&lab);
    assert_eq!(round(&lab).waits, [WaitWord::Used; 3]);
    assert_eq!(runs(&lab), ["1", "2", "3"]);
}

#[test]
fn held_parts_are_not_sent_again() {
    let lab = Lab::with_commits();
    let id = counting(&lab, 1);
    let tills = content(&lab).with_member(device(&lab), &["tills"]);
    let tills = tills.with("tills", &[entry(&lab, id, 1)]).with("all", &[]);
    commit(&lab, tills);
    expect(&lab, &["EXIT_CODE_3"]);
    expect(&lab, &["EXIT_CODE_3"]);
    let device = device(&lab);
    let world = lab.world();
    let target = world.target.as_ref().unwrap();
    let (first, last) = (&target.held[0], target.held.last().unwrap());
    assert_eq!((&first.keys, &first.commit), (&None, &None));
    assert!(target.reply_to(&device, first).is_some());
    assert!(target.reply_to(&device, last).is_none(), "{last:?}");
}
