//! Signed documents of a reply: reviewed examples, signed by the standard tool.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::api::{CheckInReply, CheckInRequest, HeldDocuments};
use packcast_protocol::assignments::{AssignedPackage, Held};
use packcast_protocol::keys::trusted;
use packcast_protocol::signature::PublicKey;
use packcast_protocol::signed::{Signed, SignedDocument};
use packcast_protocol::{AgentId, Assignee, Assignments, KeyList, PackageId, UnixTime};

use crate::golden::{self, check};

/// The signing key of the examples, and the key that replaced it.
const KEYS: [&str; 2] = [
    "RWSUCKmIjUwPb9UY3BqcV8UFmD9ANGYqc5cRzYHZ8bWVumBYC8iAfd+8",
    "RWQKBxCvKf1z0d/imauM5Sp+0mh2sJfaohmn+lXeYr5T4KRSu4X/1ECc",
];

fn key(index: usize) -> PublicKey {
    KEYS[index].parse().expect("this is a public key")
}

fn device() -> AgentId {
    let id = "j4ixrcyrvssmgqxcmzwyzdzhqm".parse();
    id.expect("this is an agent's id")
}

fn held(revision: u64, issued: u64) -> Held {
    let issued = UnixTime(issued);
    Held { issued, revision }
}

fn assigned(package: &str, seq: u64, force: bool) -> AssignedPackage {
    let package: PackageId = package.parse().expect("this is a package id");
    let tasks = reply().tasks;
    let task = tasks.iter().find(|task| task.id == package);
    AssignedPackage {
        package,
        manifest: task.expect("the example has the task").manifest_sha256,
        seq,
        force,
    }
}

fn of_device() -> Assignments {
    let groups = ["branch-7", "tills"].map(|name| name.parse().expect("this is a group's name"));
    let made = Assignments::new(
        Assignee::Device(device()),
        held(3, 1_795_330_000),
        BTreeSet::from(groups),
        vec![assigned("1795327754", 2, true)],
        UnixTime(1_810_882_000),
    );
    made.expect("the assignments agree")
}

fn of_group() -> Assignments {
    let tills = "tills".parse().expect("this is a group's name");
    let made = Assignments::new(
        Assignee::Group(tills),
        held(12, 1_795_330_060),
        BTreeSet::new(),
        vec![
            assigned("1795327754", 9, false),
            assigned("1795327756", 12, false),
        ],
        UnixTime(1_810_882_060),
    );
    made.expect("the assignments agree")
}

fn key_list() -> KeyList {
    let list = KeyList::new(1, vec![key(1), key(0)], UnixTime(1_795_329_000));
    list.expect("the list has two keys")
}

pub(crate) fn reply() -> CheckInReply {
    let text = golden::text("api/check-in-reply.json");
    serde_json::from_str(&text).expect("the example is read")
}

pub(crate) fn holds() -> HeldDocuments {
    HeldDocuments {
        keys: 1,
        device: Some(of_device().held()),
        groups: BTreeMap::from([(
            "tills".parse().expect("this is a group's name"),
            of_group().held(),
        )]),
    }
}

#[test]
fn signed_documents_match_their_examples() {
    check("assignments", &of_device());
    check("keys", &key_list());
}

#[test]
fn a_reply_carries_the_text_that_is_signed() {
    let reply = reply();
    let documents = [&of_device(), &of_group()].map(SignedDocument::to_document);
    let sent: Vec<&str> = reply.assignments.iter().map(Signed::document).collect();
    assert_eq!(sent, documents);
    assert_eq!(reply.keys[0].document(), key_list().to_document());
}

#[test]
fn a_device_with_the_first_key_verifies_the_whole_reply() {
    let reply = reply();
    let trusted = trusted(vec![key(0)], &reply.keys);
    assert_eq!(trusted.serial(), 1);
    for (signed, expected) in reply.assignments.iter().zip([of_device(), of_group()]) {
        let verified = signed.verify(trusted.keys()).expect("a trusted key signed");
        assert_eq!(*verified, expected);
    }
    let first = [key(0)];
    assert!(reply.assignments[0].verify(&first).is_err());
}

#[test]
fn a_request_without_holds_has_no_documents() {
    let mut older: serde_json::Value =
        serde_json::from_str(&golden::text("api/check-in-request.json"))
            .expect("the example is JSON");
    older
        .as_object_mut()
        .and_then(|fields| fields.remove("holds"));
    let read: CheckInRequest = serde_json::from_value(older).expect("the rest is enough");
    assert!(read.holds.is_nothing());
}
