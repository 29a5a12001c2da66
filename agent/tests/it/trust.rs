//! Limits of an attacker who controls the function, the table and the bucket.
//!
//! The attacker can delay packages, but not choose them.
#![cfg(unix)]

use std::fs;

use packcast_agent::event::Event;
use packcast_protocol::api::Task;
use packcast_protocol::assignments::AssignedPackage;
use packcast_protocol::manifest::Audience;
use packcast_protocol::signed::{Signed, SignedDocument as _};
use packcast_protocol::{
    AgentId, Assignee, Assignments, GroupName, PackageId, Sha256Digest, UnixTime,
};

use crate::lab::{Lab, Package, Run};
use crate::packages::{execute, launch, package, script};
use crate::publisher::{LATE, Signer, TestDocument, honest};

const NOT_ASSIGNED: &str = "ERR_NOT_ASSIGNED";

/// Assigns a package whose program adds a line to a file in the state folder.
fn counting(lab: &Lab, n: u32) -> PackageId {
    counting_for(lab, n, |_| {})
}

fn counting_for(lab: &Lab, n: u32, change: fn(&mut packcast_protocol::Manifest)) -> PackageId {
    let command = format!("echo x >> '{}'; exit 3", lab.state().join("ran").display());
    let package = Package {
        change,
        ..package(n, None)
    };
    lab.assign(execute(&command), package)
}

fn times_run(lab: &Lab) -> usize {
    fs::read_to_string(lab.state().join("ran")).map_or(0, |lines| lines.lines().count())
}

fn to_all(lab: &Lab) -> TestDocument {
    honest(2, &lab.world().tasks)
}

fn group(name: &str) -> GroupName {
    name.parse().unwrap()
}

fn device(lab: &Lab) -> AgentId {
    let id = String::from_utf8(lab.agent(&["id"]).stdout).unwrap();
    let id = id.trim().strip_prefix("key:").unwrap();
    id.parse().unwrap()
}

fn of_device(lab: &Lab, groups: &[&str]) -> TestDocument {
    TestDocument {
        to: Assignee::Device(device(lab)),
        groups: groups.iter().map(|name| group(name)).collect(),
        packages: Vec::new(),
        ..to_all(lab)
    }
}

fn of_group(lab: &Lab, name: &str) -> TestDocument {
    TestDocument {
        to: Assignee::Group(group(name)),
        ..to_all(lab)
    }
}

/// Runs the agent once, and returns the codes of its reports in order, and its refusals.
fn run(lab: &Lab) -> (Vec<String>, Vec<String>) {
    let Run {
        code,
        events,
        stderr,
    } = lab.run();
    assert_eq!(code, 0, "{stderr}");
    let reports = std::mem::take(&mut lab.world().reports);
    let codes = reports.iter().map(|report| report.code.to_string());
    let refused = events.into_iter().filter_map(|event| match event {
        Event::DocumentRefused { detail } => Some(detail),
        _ => None,
    });
    (codes.collect(), refused.collect())
}

/// Sends these documents in place of the publisher's, and returns the code of the only report.
fn forge(lab: &Lab, documents: Vec<Signed<Assignments>>) -> String {
    lab.world().forged = Some(documents);
    let (mut codes, _) = run(lab);
    assert_eq!(codes.len(), 1, "{codes:?}");
    codes.remove(0)
}

fn next_attempt(lab: &Lab) {
    for task in &mut lab.world().tasks {
        task.attempt += 1;
    }
}

#[test]
fn an_unassigned_package_is_not_fetched() {
    let lab = Lab::new();
    let id = counting(&lab, 1);
    assert_eq!(forge(&lab, Vec::new()), NOT_ASSIGNED);
    assert_eq!((times_run(&lab), lab.world().gets.len()), (0, 0));
    next_attempt(&lab);
    let nothing = TestDocument {
        packages: Vec::new(),
        ..to_all(&lab)
    };
    assert_eq!(forge(&lab, vec![nothing.signed(&lab.signer)]), NOT_ASSIGNED);
    let other = AssignedPackage {
        package: id.next().unwrap(),
        manifest: Sha256Digest::of(b""),
        seq: 1,
        force: true,
    };
    let other = TestDocument {
        revision: 3,
        packages: vec![other],
        ..to_all(&lab)
    };
    next_attempt(&lab);
    assert_eq!(forge(&lab, vec![other.signed(&lab.signer)]), NOT_ASSIGNED);
    assert_eq!((times_run(&lab), lab.world().gets.len()), (0, 0));
}

#[test]
fn a_document_by_an_unknown_key_is_refused() {
    let lab = Lab::new();
    counting(&lab, 1);
    let forged = to_all(&lab).signed(&Signer::new());
    lab.world().forged = Some(vec![forged]);
    let (codes, refused) = run(&lab);
    assert_eq!(codes, [NOT_ASSIGNED]);
    assert!(refused[0].contains("not by a trusted key"), "{refused:?}");
}

#[test]
fn a_signature_of_another_document_is_refused() {
    let lab = Lab::new();
    let id = counting(&lab, 1);
    let document = to_all(&lab).document().to_document();
    let of_manifest = lab.edge.get(&format!("{id}/manifest.json.minisig"));
    let moved = Signed::new(document, String::from_utf8(of_manifest).unwrap()).unwrap();
    assert_eq!(forge(&lab, vec![moved]), NOT_ASSIGNED);
    let manifest = lab.edge.get(&format!("{id}/manifest.json"));
    let signature = lab.signer.signature(&manifest);
    let manifest = Signed::new(String::from_utf8(manifest).unwrap(), signature).unwrap();
    next_attempt(&lab);
    assert_eq!(forge(&lab, vec![manifest]), NOT_ASSIGNED);
    assert_eq!(times_run(&lab), 0);
}

#[test]
fn a_signed_document_is_no_manifest() {
    let lab = Lab::new();
    let id = counting(&lab, 1);
    let signed = to_all(&lab).signed(&lab.signer);
    let document = signed.document().as_bytes();
    lab.edge.put(&format!("{id}/manifest.json"), &[document]);
    let signature = signed.signature().as_bytes();
    lab.edge
        .put(&format!("{id}/manifest.json.minisig"), &[signature]);
    lab.world().tasks[0].manifest_sha256 = Sha256Digest::of(document);
    assert_eq!(lab.result().code.to_string(), "ERR_BAD_MANIFEST");
}

#[test]
fn packages_of_other_assignees_do_not_run() {
    let lab = Lab::new();
    counting(&lab, 1);
    let other = TestDocument {
        to: Assignee::Device(AgentId::of_public_key(&[1; 32])),
        ..to_all(&lab)
    };
    assert_eq!(forge(&lab, vec![other.signed(&lab.signer)]), NOT_ASSIGNED);
    next_attempt(&lab);
    let lab_group = of_group(&lab, "tills").signed(&lab.signer);
    assert_eq!(forge(&lab, vec![lab_group.clone()]), NOT_ASSIGNED);
    assert_eq!(times_run(&lab), 0);
    next_attempt(&lab);
    let own = of_device(&lab, &["tills"]).signed(&lab.signer);
    assert_eq!(
        forge(&lab, vec![of_group(&lab, "tills").signed(&lab.signer), own]),
        "EXIT_CODE_3"
    );
}

#[test]
fn a_group_of_the_configuration_needs_no_signed_membership() {
    let lab = Lab::new();
    lab.configure("groups = [\"tills\"]\n");
    counting(&lab, 1);
    let tills = of_group(&lab, "tills").signed(&lab.signer);
    assert_eq!(forge(&lab, vec![tills]), "EXIT_CODE_3");
}

#[test]
fn packages_of_an_expired_document_do_not_run() {
    let lab = Lab::new();
    counting(&lab, 1);
    let expired = TestDocument {
        expires: UnixTime(1_795_000_000 - 1),
        ..to_all(&lab)
    };
    assert_eq!(
        forge(&lab, vec![expired.signed(&lab.signer)]),
        "ERR_ASSIGNMENT_EXPIRED"
    );
    let renewed = TestDocument {
        revision: 3,
        ..to_all(&lab)
    };
    next_attempt(&lab);
    assert_eq!(
        forge(&lab, vec![renewed.signed(&lab.signer)]),
        "EXIT_CODE_3"
    );
    assert_eq!(times_run(&lab), 1);
}

#[test]
fn a_withdrawn_assignment_cannot_be_restored() {
    let lab = Lab::new();
    counting(&lab, 1);
    let tasks: Vec<Task> = lab.world().tasks.drain(..).collect();
    let before = honest(2, &tasks).signed(&lab.signer);
    let after = honest(3, &[]).signed(&lab.signer);
    lab.world().forged = Some(vec![after]);
    assert_eq!(run(&lab), (vec![], vec![]));
    lab.world().tasks = tasks;
    lab.world().forged = Some(vec![before]);
    let (codes, refused) = run(&lab);
    assert_eq!(codes, [NOT_ASSIGNED]);
    assert!(refused[0].contains("revision 2"), "{refused:?}");
    assert_eq!(times_run(&lab), 0);
}

#[test]
fn an_assignment_is_acted_on_once() {
    let lab = Lab::new();
    counting(&lab, 1);
    let once = to_all(&lab).signed(&lab.signer);
    assert_eq!(forge(&lab, vec![once.clone()]), "EXIT_CODE_3");
    for force in [false, true] {
        next_attempt(&lab);
        lab.world().tasks[0].force = force;
        assert_eq!(forge(&lab, vec![once.clone()]), NOT_ASSIGNED);
    }
    let again = AssignedPackage {
        seq: 3,
        ..to_all(&lab).packages[0]
    };
    let again = TestDocument {
        revision: 3,
        packages: vec![again],
        ..to_all(&lab)
    };
    next_attempt(&lab);
    assert_eq!(forge(&lab, vec![again.signed(&lab.signer)]), "EXIT_CODE_3");
    assert_eq!(times_run(&lab), 2);
}

#[test]
fn an_assignment_is_not_used_up_before_the_action() {
    let lab = Lab::new();
    let id = counting(&lab, 1);
    let once = to_all(&lab).signed(&lab.signer);
    let manifest = lab.edge.get(&format!("{id}/manifest.json"));
    lab.edge.put_status(&format!("{id}/manifest.json"), 404);
    assert_eq!(forge(&lab, vec![once.clone()]), "ERR_DOWNLOAD_PACK");
    lab.edge.put(&format!("{id}/manifest.json"), &[&manifest]);
    next_attempt(&lab);
    assert_eq!(forge(&lab, vec![once]), "EXIT_CODE_3");
}

#[test]
fn only_the_publisher_can_force() {
    let lab = Lab::new();
    let id = counting_for(&lab, 1, |manifest| manifest.success_codes = [3].into());
    let assigned = |seq, force| {
        let package = AssignedPackage {
            package: id,
            manifest: lab.world().tasks[0].manifest_sha256,
            seq,
            force,
        };
        let said = TestDocument {
            revision: seq,
            packages: vec![package],
            ..to_all(&lab)
        };
        vec![said.signed(&lab.signer)]
    };
    assert_eq!(forge(&lab, assigned(1, false)), "EXIT_CODE_3");
    next_attempt(&lab);
    lab.world().tasks[0].force = true;
    assert_eq!(forge(&lab, assigned(2, false)), "SUCCESS_ALREADY_SETUP");
    next_attempt(&lab);
    assert_eq!(forge(&lab, assigned(3, true)), "EXIT_CODE_3");
    assert_eq!(times_run(&lab), 2);
}

#[test]
fn a_signature_does_not_move_to_another_package() {
    let lab = Lab::new();
    let other = lab.assign(execute("true"), package(1, None));
    lab.world().tasks.clear();
    let id = counting(&lab, 2);
    let file = |id, name: &str| format!("{id}/{name}");
    let moved = lab.edge.get(&file(other, "manifest.json.minisig"));
    lab.edge.put(&file(id, "manifest.json.minisig"), &[&moved]);
    assert_eq!(lab.result().code.to_string(), "ERR_BAD_SIGNATURE");
    // With the manifest of that signature.
    let manifest = lab.edge.get(&file(other, "manifest.json"));
    lab.edge.put(&file(id, "manifest.json"), &[&manifest]);
    lab.world().tasks[0].manifest_sha256 = Sha256Digest::of(&manifest);
    next_attempt(&lab);
    assert_eq!(lab.result().code.to_string(), "ERR_BAD_MANIFEST");
    assert_eq!(times_run(&lab), 0);
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
fn unsigned_packages_run_only_with_the_option() {
    let lab = Lab::new();
    let id = counting(&lab, 1);
    let signature = format!("{id}/manifest.json.minisig");
    lab.edge.put_status(&signature, 404);
    assert_eq!(lab.result().code.to_string(), "ERR_BAD_SIGNATURE");
    assert_eq!(times_run(&lab), 0);
    lab.configure("dangerously_run_unsigned_packages = true\n");
    next_attempt(&lab);
    let run = lab.run();
    assert_eq!(times_run(&lab), 1, "{}", run.stderr);
    let named = run.stderr.matches("dangerously_run_unsigned_packages");
    assert_eq!(
        named.count(),
        2,
        "at the start and at the use: {}",
        run.stderr
    );
}

#[test]
fn unsigned_assignments_run_only_with_the_option() {
    let lab = Lab::new();
    counting(&lab, 1);
    lab.configure("dangerously_trust_server_assignments = true\n");
    lab.world().forged = Some(Vec::new());
    let run = lab.run();
    assert_eq!(times_run(&lab), 1, "{}", run.stderr);
    let named = run.stderr.matches("dangerously_trust_server_assignments");
    assert_eq!(
        named.count(),
        2,
        "at the start and at the use: {}",
        run.stderr
    );
    lab.world().forged = None;
    next_attempt(&lab);
    let run = lab.run();
    assert_eq!(times_run(&lab), 2, "{}", run.stderr);
    let named = run.stderr.matches("dangerously_trust_server_assignments");
    assert_eq!(
        named.count(),
        1,
        "signed assignments need no option: {}",
        run.stderr
    );
}

#[test]
fn a_device_follows_two_rotations_at_once_and_drops_a_revoked_key() {
    let mut lab = Lab::new();
    let first = lab.signer.clone();
    let (second, third) = (Signer::new(), Signer::new());
    counting(&lab, 1);
    assert_eq!(lab.result().code.to_string(), "EXIT_CODE_3");

    lab.world().keys = vec![
        first.list(1, &[&second, &first]),
        second.list(2, &[&third, &second, &first]),
    ];
    lab.world().tasks.clear();
    lab.become_publisher(third.clone());
    counting(&lab, 2);
    let run = lab.run();
    let followed = |event: &Event| matches!(event, Event::KeysFollowed { serial: 2 });
    assert!(run.events.iter().any(followed), "{}", run.stderr);
    assert_eq!(times_run(&lab), 2, "{}", run.stderr);
    lab.world().reports.clear();

    let revoked = third.list(3, &[&third]);
    lab.world().keys.push(revoked);
    lab.world().tasks.clear();
    lab.become_publisher(first.clone());
    counting(&lab, 3);
    assert_eq!(lab.result().code.to_string(), NOT_ASSIGNED);
    let signed = TestDocument {
        revision: 9,
        ..to_all(&lab)
    };
    next_attempt(&lab);
    assert_eq!(
        forge(&lab, vec![signed.signed(&third)]),
        "ERR_BAD_SIGNATURE"
    );
    assert_eq!(times_run(&lab), 2);
    let serials: Vec<u64> = lab.world().held.iter().map(|holds| holds.keys).collect();
    assert_eq!(serials, [0, 0, 2, 3]);
}

#[test]
fn a_key_list_by_an_unknown_key_is_refused() {
    let lab = Lab::new();
    let thief = Signer::new();
    lab.world().keys = vec![thief.list(1, &[&thief])];
    let (_, refused) = run(&lab);
    assert!(refused[0].contains("not by a trusted key"), "{refused:?}");
    assert_eq!(run(&lab).1.len(), 1, "it stays refused");
}

#[test]
fn the_groups_of_an_audience_come_from_the_signed_document_or_the_configuration() {
    let tills = |manifest: &mut packcast_protocol::Manifest| {
        manifest.audience = Audience::Groups([group("tills"), group("kiosks")].into());
    };
    let check = |lines: &str, groups: &[&str], expected: &str| {
        let lab = Lab::new();
        lab.configure(lines);
        counting_for(&lab, 1, tills);
        let documents = [to_all(&lab), of_device(&lab, groups)];
        let documents = documents.map(|said| said.signed(&lab.signer));
        assert_eq!(forge(&lab, documents.into()), expected);
    };
    check("", &[], "ERR_WRONG_AUDIENCE");
    check("groups = [\"lab\"]\n", &["site"], "ERR_WRONG_AUDIENCE");
    check("groups = [\"lab\"]\n", &["site", "tills"], "EXIT_CODE_3");
    check("groups = [\"kiosks\"]\n", &["site"], "EXIT_CODE_3");
}

#[test]
fn held_documents_are_not_sent_again_and_are_shown() {
    let lab = Lab::new();
    let own = of_device(&lab, &["tills"]);
    let tills = of_group(&lab, "tills");
    let old = TestDocument {
        expires: UnixTime(1_795_000_000),
        ..of_group(&lab, "all")
    };
    let documents = [own, tills, old].map(|said| said.signed(&lab.signer));
    lab.world().forged = Some(documents.into());
    assert_eq!(run(&lab), (vec![], vec![]));
    assert_eq!(run(&lab), (vec![], vec![]));
    let held = std::mem::take(&mut lab.world().held);
    assert!(held[0].is_nothing());
    assert_eq!(held[1].device.map(|held| held.revision), Some(2));
    let groups: Vec<&str> = held[1].groups.keys().map(GroupName::as_str).collect();
    assert_eq!(groups, ["all", "tills"]);

    let status = lab.agent(&["status"]);
    let text = String::from_utf8(status.stdout).unwrap();
    for expected in [
        format!("trusted key {} (configuration)", lab.signer.public()),
        "assignments to group tills: revision 2, packages: 0, valid until 2100-01-01".to_owned(),
        "assignments to group all: revision 2, packages: 0, expired on 2026-11-18".to_owned(),
        format!("assignments to device key:{}: revision 2", device(&lab)),
    ] {
        assert!(text.contains(&expected), "{expected} in {text}");
    }
    assert_eq!(LATE.day(), "2100-01-01");
}
