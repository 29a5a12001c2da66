//! Signed documents in the replies to Packcast agents.

use packcast_protocol::GroupName;
use packcast_protocol::api::CheckInReply;
use packcast_protocol::assignments::VerifiedAssignments;
use packcast_protocol::keys::KeyList;
use packcast_protocol::signed::{Signed, SignedDocument as _};
use packcast_rollout::PackageRecord;
use packcast_store::records::{Joined, NumberedKeyList};
use packcast_testing::signing::{signing, trusted};
use packcast_testing::table::NOW;

use crate::agents::Agent;
use crate::system::TestSystem;

fn lab() -> GroupName {
    "lab".parse().expect("a group's name")
}

fn read(reply: &CheckInReply) -> Vec<VerifiedAssignments> {
    let documents = reply.assignments.iter();
    documents
        .map(|signed| signed.verify(trusted()).expect("the publisher has signed"))
        .collect()
}

fn assignees(reply: &CheckInReply) -> Vec<String> {
    let documents = read(reply);
    let names = documents.iter().map(|one| one.recipient().to_string());
    names.collect()
}

async fn world_with_lab() -> (TestSystem, Agent) {
    let system = TestSystem::start().await;
    let records = &system.table.records;
    let created = records.create_group(&lab(), signing()).await;
    created.expect("a group can be created");
    let agent = Agent::enrolled(&system, 1).await;
    let joined = records.join(&agent.device(), &lab(), signing()).await;
    assert_eq!(joined.expect("a device can join"), Joined::New);
    (system, agent)
}

async fn assign(system: &TestSystem, group: &GroupName, package: &PackageRecord) {
    let records = &system.table.records;
    let assigned = records.assign_group(group, package, false, signing());
    assigned.await.expect("a group can be assigned a package");
}

#[tokio::test]
async fn a_task_comes_with_the_documents_that_assign_it() {
    let (system, agent) = world_with_lab().await;
    let package = system.table.package("vlc", 5).await;
    assign(&system, &lab(), &package).await;
    let reply = agent.check_in(&system).await;
    assert_eq!(reply.tasks.len(), 1);
    let device = format!("device {}", agent.device());
    assert_eq!(assignees(&reply), [device, "group lab".to_owned()]);
    let documents = read(&reply);
    assert!(documents[0].groups().contains(&lab()));
    assert!(documents[1].assigned(package.id).is_some());
}

#[tokio::test]
async fn every_device_gets_the_assignments_of_all() {
    let system = TestSystem::start().await;
    let package = system.table.package("vlc", 5).await;
    assign(&system, &GroupName::all(), &package).await;
    let agent = Agent::enrolled(&system, 1).await;
    let reply = agent.check_in(&system).await;
    assert_eq!(assignees(&reply), ["group all"]);
    assert!(read(&reply)[0].assigned(package.id).is_some());
}

#[tokio::test]
async fn key_lists_are_sent_until_they_are_followed() {
    let system = TestSystem::start().await;
    let list = |serial| {
        let keys = trusted().to_vec();
        let document = KeyList::new(serial, keys, NOW)
            .expect("a list")
            .to_document();
        let signature = (signing().sign)(&document).expect("the publisher has a key");
        NumberedKeyList {
            serial,
            signed: Signed::new(document, signature).expect("a short list"),
        }
    };
    let lists = [list(1), list(2)];
    let added = system.table.records.add_key_lists(&[], &lists).await;
    assert!(added.expect("lists can be published"));
    let mut agent = Agent::enrolled(&system, 1).await;
    let reply = agent.check_in(&system).await;
    assert_eq!(reply.keys, lists.map(|list| list.signed));
    agent.keep_documents(&reply);
    system.operations();
    assert_eq!(agent.check_in(&system).await.keys, []);
    assert_eq!(system.operations(), ["Query"]);
}

#[tokio::test]
async fn documents_that_an_agent_has_are_not_read_again() {
    let (system, mut agent) = world_with_lab().await;
    let reply = agent.check_in(&system).await;
    agent.keep_documents(&reply);
    system.operations();
    assert_eq!(assignees(&agent.check_in(&system).await), [""; 0]);
    assert_eq!(system.operations(), ["Query"]);
}

#[tokio::test]
async fn only_later_documents_are_sent() {
    let (system, mut agent) = world_with_lab().await;
    let reply = agent.check_in(&system).await;
    agent.keep_documents(&reply);
    let package = system.table.package("vlc", 5).await;
    system.assign(&agent.device(), &package, false).await;
    let reply = agent.check_in(&system).await;
    assert_eq!(assignees(&reply), [format!("device {}", agent.device())]);
    assert!(read(&reply)[0].assigned(package.id).is_some());
    agent.keep_documents(&reply);
    assert_eq!(agent.check_in(&system).await.assignments, []);
}
