//! Renamed groups: devices stay members, and get and lose nothing because of the new name.

use std::collections::{BTreeMap, BTreeSet};

use http::StatusCode;
use packcast_check_in::CheckInFunction;
use packcast_protocol::api::{BeginReply, HoldWord};
use packcast_protocol::{DeviceId, GroupName, PackageId, UnixTime};
use packcast_rollout::state::StateChange;
use packcast_rollout::{OpenTask, PackageRecord, TaskState};
use packcast_testing::administrator::{
    Administrator as _, commit_only, complete_all, may_complete,
};
use packcast_testing::fault::interruptions;
use packcast_testing::peer::{Peer, PeerReply, PeerResult};
use packcast_testing::signing::signing;
use packcast_testing::table::{NOW, mia};

use crate::system::{TestSystem, settings};

fn group(name: &str) -> GroupName {
    name.parse().expect("a group's name")
}

/// The group `lab` with four packages, and two members, one with each kind of agent.
///
/// On each member, one package has succeeded, one has failed, one is announced, and one is inactive,
/// so that its task is not announced.
struct RenamedLab {
    system: TestSystem,
    peers: [Peer; 2],
    succeeded: PackageRecord,
    failed: PackageRecord,
    open: PackageRecord,
    inactive: PackageRecord,
    now: UnixTime,
}

impl RenamedLab {
    async fn start() -> Self {
        // Boxed, because the futures of all tests contain it.
        Box::pin(Self::create()).await
    }

    async fn create() -> Self {
        let system = TestSystem::start().await;
        let table = &system.table;
        let created = table.records.create_group(&group("lab"), signing()).await;
        created.expect("a group can be created");
        let lab = Self {
            peers: [Peer::ocs(1), Peer::packcast(2)],
            succeeded: table.package("succeeded", 5).await,
            failed: table.package("failed", 5).await,
            open: table.package("open", 5).await,
            inactive: table.package("inactive", 5).await,
            system,
            now: NOW,
        };
        for peer in &lab.peers {
            assert_eq!(lab.check_in(peer).await.tasks, []);
            lab.join(peer, "lab").await;
        }
        for package in [&lab.succeeded, &lab.failed, &lab.open, &lab.inactive] {
            lab.assign("lab", package).await;
        }
        let records = &lab.system.table.records;
        records
            .deactivate(lab.inactive.id, &mia())
            .await
            .expect("the package is active");
        for peer in &lab.peers {
            assert_eq!(lab.check_in(peer).await.tasks.len(), 3);
            lab.report(peer, &lab.succeeded, "SUCCESS").await;
            lab.report(peer, &lab.failed, "EXIT_CODE_9").await;
        }
        lab
    }

    async fn check_in(&self, peer: &Peer) -> PeerReply {
        self.check_in_with(&self.system.function, peer).await
    }

    async fn check_in_with(&self, function: &CheckInFunction, peer: &Peer) -> PeerReply {
        loop {
            let request = peer.check_in(&[], self.now);
            let reply = self.system.send_to(function, request, self.now).await;
            assert_eq!(reply.status, StatusCode::OK);
            let read = peer.read_reply(&reply.body);
            if !peer.asks_again() {
                return read;
            }
        }
    }

    async fn report(&self, peer: &Peer, package: &PackageRecord, code: &'static str) {
        let result = PeerResult {
            package: package.id,
            attempt: 1,
            code,
        };
        for request in peer.reports(&[result], self.now) {
            let reply = self.system.send(request, self.now).await;
            assert_eq!(reply.status, StatusCode::OK);
        }
    }

    async fn join(&self, peer: &Peer, name: &str) {
        let records = &self.system.table.records;
        let joined = records.join(&peer.device(), &group(name), signing()).await;
        joined.expect("a device can join");
    }

    async fn assign(&self, name: &str, package: &PackageRecord) {
        let records = &self.system.table.records;
        let group = group(name);
        let assigned = records.assign_group(&group, package, false, signing());
        assigned.await.expect("a group can be assigned a package");
    }

    async fn rename(&self, from: &str, to: &str) {
        let records = &self.system.table.records;
        let renamed = records
            .rename_group(&group(from), &group(to), signing())
            .await;
        renamed.expect("a group can be renamed");
    }

    /// Lets the cached values of the function become too old.
    fn later(&mut self) {
        self.now = self.now.plus(61);
    }

    /// Returns the tasks of a device, by package.
    async fn tasks(&self, peer: &Peer) -> BTreeMap<PackageId, OpenTask> {
        let tasks = self.system.tasks(&peer.device()).await;
        tasks.into_iter().map(|task| (task.package, task)).collect()
    }

    async fn groups(&self, device: &DeviceId) -> BTreeSet<GroupName> {
        let state = self.system.table.records.device_state(device).await;
        let state = state.expect("the device is on record");
        state.memberships.joined().cloned().collect()
    }

    /// Checks that a device has the tasks of before, and is told of the open package only.
    async fn expect_unchanged(&self, peer: &Peer, before: &BTreeMap<PackageId, OpenTask>) {
        let reply = self.check_in(peer).await;
        let told: Vec<PackageId> = reply.tasks.iter().map(|(package, _)| *package).collect();
        assert_eq!(told, [self.open.id]);
        assert_eq!(reply.cancel, []);
        assert_eq!(self.tasks(peer).await, *before);
    }
}

#[tokio::test]
async fn a_renamed_group_gives_no_device_a_package_again() {
    let mut lab = RenamedLab::start().await;
    let other = CheckInFunction::new(lab.system.table.records.clone(), settings());
    let mut before = Vec::new();
    for peer in &lab.peers {
        lab.check_in_with(&other, peer).await;
        before.push(lab.tasks(peer).await);
    }
    // Assigned before, and seen by no device before the group was renamed.
    let next = lab.system.table.package("next", 5).await;
    lab.assign("lab", &next).await;
    lab.rename("lab", "hall").await;
    for (peer, before) in lab.peers.iter().zip(&before) {
        assert_eq!(
            lab.groups(&peer.device()).await,
            BTreeSet::from([group("hall")])
        );
        // Another instance of the function still has the earlier name in its caches.
        for function in [&other, &lab.system.function] {
            let reply = lab.check_in_with(function, peer).await;
            assert_eq!(reply.cancel, []);
            let told: BTreeSet<PackageId> = reply.tasks.iter().map(|(id, _)| *id).collect();
            assert_eq!(told, BTreeSet::from([lab.open.id, next.id]));
        }
        let mut tasks = lab.tasks(peer).await;
        let new = tasks.remove(&next.id).expect("the package is assigned");
        assert_eq!(new.attempt, 1);
        assert_eq!(tasks, *before);
    }
    // The inactive package continues when it is active again.
    let records = &lab.system.table.records;
    let location = packcast_testing::table::location();
    records
        .activate(lab.inactive.id, &[location], &mia())
        .await
        .expect("the package can be active");
    let unassigned = records
        .unassign_group(&group("hall"), lab.open.id, signing())
        .await;
    unassigned.expect("the group has the package");
    lab.later();
    let [ocs, packcast] = &lab.peers;
    let reply = lab.check_in(packcast).await;
    assert_eq!(reply.cancel, [(lab.open.id, 1)]);
    let told: BTreeSet<_> = reply.tasks.into_iter().collect();
    let expected = [(lab.inactive.id, Some(1)), (next.id, Some(1))];
    assert_eq!(told, BTreeSet::from(expected));
    lab.check_in(ocs).await;
    let tasks = lab.tasks(ocs).await;
    assert!(matches!(
        tasks[&lab.open.id].state,
        TaskState::Withdrawn { .. }
    ));
}

/// The device has failed with a package of its own that its group has, too. Only the observed
/// revision shows that an OCS agent needs no further attempt for the group.
#[tokio::test]
async fn observed_revisions_move_with_the_members() {
    let mut lab = RenamedLab::start().await;
    let package = lab.system.table.package("own", 5).await;
    for peer in &lab.peers {
        lab.system.assign(&peer.device(), &package, false).await;
    }
    lab.assign("lab", &package).await;
    lab.later();
    for peer in &lab.peers {
        assert_eq!(lab.check_in(peer).await.tasks.len(), 2);
        lab.report(peer, &package, "EXIT_CODE_9").await;
        lab.check_in(peer).await;
    }
    for names in [["lab", "hall"], ["hall", "office"], ["office", "lab"]] {
        lab.rename(names[0], names[1]).await;
        lab.later();
        for peer in &lab.peers {
            assert!(!lab.tasks(peer).await.contains_key(&package.id));
            let reply = lab.check_in(peer).await;
            assert_eq!(reply.tasks.len(), 1);
            assert!(
                !lab.tasks(peer).await.contains_key(&package.id),
                "{names:?}"
            );
        }
    }
    // A new assignment is a new attempt.
    lab.assign("lab", &package).await;
    lab.later();
    for peer in &lab.peers {
        assert_eq!(lab.check_in(peer).await.tasks.len(), 2);
    }
}

#[tokio::test]
async fn a_new_group_under_the_old_name_has_no_members() {
    let mut lab = RenamedLab::start().await;
    lab.rename("lab", "hall").await;
    let records = &lab.system.table.records;
    records
        .create_group(&group("lab"), signing())
        .await
        .expect("the name is free");
    for package in [&lab.succeeded, &lab.failed] {
        lab.assign("lab", package).await;
    }
    lab.later();
    let before = lab.tasks(&lab.peers[0]).await;
    lab.expect_unchanged(&lab.peers[0], &before).await;
    // A member of the new group has a new assignment of the failed package.
    lab.join(&lab.peers[1], "lab").await;
    let told = lab.check_in(&lab.peers[1]).await.tasks;
    let expected = [(lab.failed.id, Some(2)), (lab.open.id, Some(1))];
    assert_eq!(BTreeSet::from_iter(told), BTreeSet::from(expected));
}

#[tokio::test]
async fn an_agent_begins_under_the_state_before_and_after_the_new_name() {
    let mut lab = RenamedLab::start().await;
    let peer = &lab.peers[1];
    let answer = async |lab: &RenamedLab| {
        let asked = peer_begin(lab).expect("the state is whole");
        let reply = lab.system.send(asked, lab.now).await;
        serde_json::from_slice::<BeginReply>(&reply.body).expect("an answer")
    };
    lab.check_in(peer).await;
    assert_eq!(answer(&lab).await, BeginReply::Go);
    // The agent still holds the state with the earlier name.
    lab.rename("lab", "hall").await;
    assert_eq!(answer(&lab).await, BeginReply::Go);
    lab.later();
    lab.check_in(&lab.peers[1]).await;
    assert_eq!(answer(&lab).await, BeginReply::Go);
    let records = &lab.system.table.records;
    let unassigned = records
        .unassign_group(&group("hall"), lab.open.id, signing())
        .await;
    unassigned.expect("the group has the package");
    lab.later();
    let reason = HoldWord::Withdrawn;
    assert_eq!(answer(&lab).await, BeginReply::wait(reason));
}

fn peer_begin(lab: &RenamedLab) -> Option<http::Request<bytes::Bytes>> {
    lab.peers[1].begin(lab.open.id, 1, lab.now)
}

/// The command is interrupted before each of its writes, and the devices check in.
#[tokio::test]
async fn an_interrupted_rename_takes_nothing_from_a_device() {
    let mut lab = RenamedLab::start().await;
    let mut before = Vec::new();
    for peer in &lab.peers {
        before.push(lab.tasks(peer).await);
    }
    let (mut names, mut interrupted) = (["lab", "hall"], 0);
    for writes in interruptions(2) {
        let records = &lab.system.table.records;
        let (from, to) = (group(names[0]), group(names[1]));
        let rename = StateChange::RenameGroup { group: from, to };
        commit_only(records, &rename, signing()).await;
        lab.system.table.faults.deny_after_writes(Some(writes));
        let is_complete = may_complete(records, lab.now).await;
        lab.system.table.faults.deny_after_writes(None);
        // With the cached head, and with the present one.
        for _ in 0..2 {
            for (peer, before) in lab.peers.iter().zip(&before) {
                lab.expect_unchanged(peer, before).await;
            }
            lab.later();
        }
        complete_all(&lab.system.table.records, lab.now).await;
        for (peer, before) in lab.peers.iter().zip(&before) {
            lab.expect_unchanged(peer, before).await;
            assert_eq!(
                lab.groups(&peer.device()).await,
                BTreeSet::from([group(names[1])])
            );
        }
        if is_complete {
            break;
        }
        interrupted += 1;
        names.reverse();
    }
    assert!(interrupted > 4, "{interrupted}");
}

/// Each rename is interrupted, so that the records have several names of the group.
#[tokio::test]
async fn many_interrupted_renames_lead_to_the_last_name() {
    let mut lab = RenamedLab::start().await;
    let mut before = Vec::new();
    for peer in &lab.peers {
        before.push(lab.tasks(peer).await);
    }
    let mut name = "lab";
    for (round, to) in ["hall", "office", "lab", "hall", "lab", "office"]
        .into_iter()
        .enumerate()
    {
        let records = &lab.system.table.records;
        let (from, to_group) = (group(name), group(to));
        let rename = StateChange::RenameGroup {
            group: from.clone(),
            to: to_group,
        };
        commit_only(records, &rename, signing()).await;
        if round % 2 == 1 {
            let group = from;
            commit_only(records, &StateChange::CreateGroup { group }, signing()).await;
            let group = self::group(name);
            commit_only(records, &StateChange::DeleteGroup { group }, signing()).await;
        }
        let writes = u32::try_from(round % 3 + 1).expect("a small number");
        lab.system.table.faults.deny_after_writes(Some(writes));
        may_complete(records, lab.now).await;
        lab.system.table.faults.deny_after_writes(None);
        lab.later();
        for (peer, before) in lab.peers.iter().zip(&before) {
            lab.expect_unchanged(peer, before).await;
        }
        name = to;
    }
    complete_all(&lab.system.table.records, lab.now).await;
    lab.later();
    for (peer, before) in lab.peers.iter().zip(&before) {
        lab.expect_unchanged(peer, before).await;
        assert_eq!(
            lab.groups(&peer.device()).await,
            BTreeSet::from([group(name)])
        );
    }
    let records = &lab.system.table.records;
    let groups = records.groups().await.expect("the groups are on record");
    let names: Vec<GroupName> = groups.into_iter().map(|state| state.group).collect();
    assert_eq!(names, [group(name)]);
}
