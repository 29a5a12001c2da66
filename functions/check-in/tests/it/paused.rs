//! Groups whose records are incomplete: devices get and lose nothing because of them.

use std::collections::BTreeSet;

use http::StatusCode;
use packcast_protocol::state::Terms;
use packcast_protocol::{GroupName, PackageId, UnixTime};
use packcast_rollout::PackageRecord;
use packcast_rollout::state::{EntryOwner, NewAssignment, StateChange};
use packcast_testing::administrator::{Administrator as _, commit_only, complete_all};
use packcast_testing::peer::Peer;
use packcast_testing::signing::signing;
use packcast_testing::table::NOW;

use crate::system::TestSystem;

/// A time at which the cached values of [`NOW`] are too old for the function.
const LATER: UnixTime = UnixTime(NOW.0 + 61);

fn lab() -> GroupName {
    "lab".parse().expect("a group's name")
}

/// A function whose group `lab` has two members, one with each kind of agent.
struct PausedLab {
    system: TestSystem,
    peers: [Peer; 2],
}

impl PausedLab {
    async fn start() -> Self {
        let system = TestSystem::start().await;
        let records = &system.table.records;
        let created = records.create_group(&lab(), signing()).await;
        created.expect("a group can be created");
        let peers = [Peer::ocs(1), Peer::packcast(2)];
        let lab = Self { system, peers };
        for peer in &lab.peers {
            assert_eq!(lab.packages(peer, NOW).await, BTreeSet::new());
            let records = &lab.system.table.records;
            let joined = records.join(&peer.device(), &self::lab(), signing()).await;
            joined.expect("a device can join");
        }
        lab
    }

    /// Returns the packages in the reply to a check-in.
    async fn packages(&self, peer: &Peer, now: UnixTime) -> BTreeSet<PackageId> {
        let reply = self.system.send(peer.check_in(&[], now), now).await;
        assert_eq!(reply.status, StatusCode::OK);
        let tasks = peer.read_reply(&reply.body).tasks;
        tasks.into_iter().map(|(package, _)| package).collect()
    }

    async fn assign(&self, package: &PackageRecord) {
        let records = &self.system.table.records;
        let assigned = records
            .assign_group(&lab(), package, false, signing())
            .await;
        assigned.expect("a group can be assigned a package");
    }

    /// Makes a change, and leaves the records as they are.
    async fn commit_only(&self, change: StateChange) {
        commit_only(&self.system.table.records, &change, signing()).await;
    }

    async fn complete(&self) {
        complete_all(&self.system.table.records, NOW).await;
    }
}

fn unassign(package: &PackageRecord) -> StateChange {
    StateChange::Unassign {
        from: EntryOwner::Group(lab()),
        package: package.id,
    }
}

fn assign(package: &PackageRecord) -> StateChange {
    let published = package.published().expect("the package is published");
    StateChange::Assign {
        to: EntryOwner::Group(lab()),
        assignment: NewAssignment {
            package: package.id,
            manifest: published.manifest,
            force: false,
            terms: Terms::default(),
        },
    }
}

#[tokio::test]
async fn a_package_that_the_state_has_withdrawn_is_not_announced() {
    let lab = Box::pin(PausedLab::start()).await;
    let withdrawn = lab.system.table.package("withdrawn", 5).await;
    let next = lab.system.table.package("next", 5).await;
    lab.assign(&withdrawn).await;
    lab.commit_only(unassign(&withdrawn)).await;
    lab.commit_only(assign(&next)).await;
    for peer in &lab.peers {
        assert_eq!(lab.packages(peer, LATER).await, BTreeSet::new());
        assert_eq!(lab.system.tasks(&peer.device()).await, []);
    }
    lab.complete().await;
    for peer in &lab.peers {
        let expected = BTreeSet::from([next.id]);
        assert_eq!(lab.packages(peer, LATER).await, expected);
    }
}

/// Somebody knows the order of the next commit, and has forged the record of the group with it.
#[tokio::test]
async fn a_cached_group_above_the_head_announces_nothing_and_is_read_again() {
    let lab = Box::pin(PausedLab::start()).await;
    let package = lab.system.table.package("vlc", 5).await;
    let next = lab.system.table.package("next", 5).await;
    lab.assign(&package).await;
    let records = &lab.system.table.records;
    let later = records.head().await.unwrap().unwrap().order + 1;
    for sk in ["STATE", "REVISION"] {
        let mut item = lab.system.table.item("GROUP#lab", sk).await;
        item["revision"]["N"] = later.to_string().into();
        lab.system.table.put(&item).await;
    }
    for peer in &lab.peers {
        assert_eq!(lab.packages(peer, LATER).await, BTreeSet::new());
    }
    lab.assign(&next).await;
    let state = records.group(&self::lab()).await.unwrap().unwrap();
    assert_eq!(state.revision, later);
    let expected = BTreeSet::from([package.id, next.id]);
    for peer in &lab.peers {
        assert_eq!(lab.packages(peer, LATER).await, expected);
    }
}

#[tokio::test]
async fn a_task_is_not_withdrawn_while_records_are_incomplete() {
    let lab = Box::pin(PausedLab::start()).await;
    let package = lab.system.table.package("vlc", 5).await;
    lab.assign(&package).await;
    let expected = BTreeSet::from([package.id]);
    for peer in &lab.peers {
        assert_eq!(lab.packages(peer, NOW).await, expected);
    }
    // The record of the group loses the package, but the state has it: somebody has changed the
    // table, or put a part of it back.
    let records = &lab.system.table.records;
    let mut state = lab.system.table.item("GROUP#lab", "STATE").await;
    let head = records.head().await.unwrap().unwrap();
    state["assignments"] = serde_json::json!({ "L": [] });
    state["document"] = serde_json::json!({ "S": "0".repeat(64) });
    assert_eq!(state["revision"]["N"], head.order.to_string());
    lab.system.table.put(&state).await;
    for peer in &lab.peers {
        lab.packages(peer, LATER).await;
        let tasks = lab.system.tasks(&peer.device()).await;
        assert_eq!(tasks.len(), 1);
        let is_withdrawn = matches!(
            tasks[0].state,
            packcast_rollout::TaskState::Withdrawn { .. }
        );
        assert!(!is_withdrawn, "{tasks:?}");
    }
}

#[tokio::test]
async fn while_a_group_is_paused_the_head_is_read_once_a_second() {
    let lab = Box::pin(PausedLab::start()).await;
    let package = lab.system.table.package("vlc", 5).await;
    lab.assign(&package).await;
    lab.commit_only(unassign(&package)).await;
    let peer = &lab.peers[0];
    let mut heads = Vec::new();
    for now in [LATER, LATER, LATER.plus(1)] {
        lab.system.operations();
        assert_eq!(lab.packages(peer, now).await, BTreeSet::new());
        let operations = lab.system.operations();
        heads.push(operations.iter().filter(|it| *it == "Query").count());
    }
    // One Query for the device, and two for the head and the key lists.
    assert_eq!(heads, [3, 1, 3]);
}
