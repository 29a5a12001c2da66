//! The signed state in the replies to Packcast agents that follow it.

mod rollouts;

use std::collections::BTreeSet;

use http::StatusCode;
use packcast_check_in::{CheckInFunction, FunctionSettings};
use packcast_protocol::api::{CHECK_IN_PATH, CheckInReply, CheckInRequest, ProblemKind};
use packcast_protocol::state::document::{DeviceGroups, Entries, StateEntry};
use packcast_protocol::state::exchange::{MAX_LACKING, RefusalWord, RefusedState};
use packcast_protocol::state::held::{ActedUnder, HighestCommit, Refusal};
use packcast_protocol::state::{
    CommitId, DeviceDocument, Document, DocumentText, GroupDocument, HeldState, LeafName,
    LocationDocument, Lookup, StateReply, Terms, VerifiedState,
};
use packcast_protocol::{AgentId, DeviceId, GroupName, PackageId, Sha256Digest, UnixTime};
use packcast_rollout::DeviceRecord;
use packcast_testing::administrator::{Administrator as _, complete_all};
use packcast_testing::commits::{key_list, trust};
use packcast_testing::peer::Peer;
use packcast_testing::signing::signing;
use packcast_testing::state_publisher::StatePublisher;
use packcast_testing::table::{self, NOW, Table, location, mia};
use serde_json::json;

use crate::agents::{Agent, parsed, refused};
use crate::log::CapturedLog;
use crate::system::{TestSystem, settings};

/// A time at which the function no longer uses its cached head.
const LATER: UnixTime = UnixTime(NOW.0 + 61);

/// A function of a target with a signed state.
struct Following {
    system: TestSystem,
    publisher: StatePublisher,
}

type Change = (LeafName, Option<DocumentText>);

fn name(text: &str) -> LeafName {
    text.parse().expect("the name of a leaf")
}

/// Returns a group that its first commit created, with a package of this number for each entry.
fn group(group: &str, revision: u64, entries: u32) -> Change {
    let entry = |number: u32| StateEntry {
        package: PackageId::try_from(1_500_000_000 + number).expect("a package id"),
        manifest: Sha256Digest::of(&number.to_be_bytes()),
        seq: revision,
        assignee: None,
        force: false,
        terms: Terms::default(),
    };
    let entries = (0..entries).map(entry).collect();
    let mut document = GroupDocument::empty(1, revision);
    document.packages = Entries::new(entries).expect("the entries fit");
    let text = Document::new(document).text().clone();
    (name(&format!("group/{group}")), Some(text))
}

/// Returns a device that is in these groups.
fn member(device: &DeviceId, groups: &[&str]) -> Change {
    let groups = groups.iter().map(|group| (group_name(group), 1)).collect();
    let groups = DeviceGroups::new(groups).expect("few groups");
    let document = Document::new(DeviceDocument::new(groups, Entries::default()));
    let name = LeafName::Device(device.clone());
    (name, Some(document.text().clone()))
}

fn group_name(text: &str) -> GroupName {
    text.parse().expect("a group's name")
}

fn other_device(number: u8) -> DeviceId {
    DeviceId::Agent(AgentId::of_public_key(&[number; 32]))
}

fn peer(number: u32) -> Peer {
    Peer::packcast(number)
}

fn groups_of(peer: &Peer) -> BTreeSet<GroupName> {
    let state = peer.state().expect("the peer follows the state");
    let whole = state.whole(&BTreeSet::new(), NOW);
    whole.expect("the peer has the whole state").groups()
}

impl Following {
    /// Starts with the group `lab`, which has 100 devices and this peer.
    async fn with_lab(peer: &Peer) -> Self {
        let system = Box::pin(TestSystem::start()).await;
        let records = &system.table.records;
        let record = DeviceRecord {
            device: peer.device(),
            ..table::device(1)
        };
        let written = records.write_check_in(&record, None).await;
        written.expect("a device can be written");
        let publisher = StatePublisher::start(records, NOW).await;
        let mut following = Self { system, publisher };
        let devices = (0..100).map(|number| member(&other_device(number), &["lab"]));
        let changes = devices.chain([member(&peer.device(), &["lab"]), group("lab", 1, 1)]);
        Box::pin(following.commit(changes)).await;
        following
    }

    async fn empty(settings: FunctionSettings) -> Self {
        let table = Table::without_target(1).await;
        let system = TestSystem::start_on(table, settings).await;
        let publisher = StatePublisher::start(&system.table.records, NOW).await;
        Self { system, publisher }
    }

    async fn commit(&mut self, changes: impl IntoIterator<Item = Change>) -> CommitId {
        let commit = self.publisher.commit(changes, NOW).await;
        complete_all(&self.system.table.records, NOW).await;
        commit
    }

    /// Sends one check-in of a peer, which verifies the reply.
    async fn check_in(&self, peer: &Peer, now: UnixTime) -> CheckInReply {
        let reply = self.system.send(peer.check_in(&[], now), now).await;
        let parsed = parsed(&reply);
        peer.read_reply(&reply.body);
        parsed
    }

    /// Lets a peer check in until it has the whole state. Returns the number of check-ins.
    async fn converge(&self, peer: &Peer, now: UnixTime) -> usize {
        for count in 1..=20 {
            self.check_in(peer, now).await;
            if !peer.asks_again() {
                return count;
            }
        }
        panic!("the peer never has the whole state");
    }

    /// Returns the state in the reply to an agent that says that it holds this part.
    async fn answer(&self, agent: &Agent, held: &HeldState) -> Option<StateReply> {
        let asking = CheckInRequest {
            holds: held.clone(),
            ..Agent::asking()
        };
        let reply = agent.post(&self.system, CHECK_IN_PATH, &asking).await;
        let state = parsed(&reply).state?;
        Some(state.parse().expect("the state can be read"))
    }

    /// Starts the function again, with empty caches.
    fn restart(&mut self) {
        let records = self.system.table.records.clone();
        self.system.function = CheckInFunction::new(records, settings());
    }
}

fn parts(reply: &CheckInReply) -> StateReply {
    let state = reply.state.as_ref().expect("the reply has a state");
    state.parse().expect("the state can be read")
}

#[tokio::test]
async fn a_new_device_gets_its_whole_state_in_one_small_reply() {
    let peer = peer(1);
    let target = Following::with_lab(&peer).await;
    let reply = target.system.send(peer.check_in(&[], NOW), NOW).await;
    assert!(reply.body.len() <= 5_000, "{}", reply.body.len());
    peer.read_reply(&reply.body);
    assert!(!peer.asks_again());
    assert_eq!(
        groups_of(&peer),
        [GroupName::all(), group_name("lab")].into()
    );
}

#[tokio::test]
async fn an_idle_device_gets_nothing_and_costs_one_query() {
    let peer = peer(1);
    let target = Following::with_lab(&peer).await;
    target.check_in(&peer, NOW).await;
    target.system.operations();
    for _ in 0..2 {
        let reply = target.check_in(&peer, NOW).await;
        assert_eq!(reply.state, None);
        let usage = target.system.table.meter.take();
        assert_eq!(usage.operations, ["Query"]);
        assert!(usage.read_units <= 1.0, "{usage:?}");
    }
    // Once a minute: the revisions of groups, the head, and the key lists.
    assert_eq!(target.check_in(&peer, LATER).await.state, None);
    let operations = target.system.operations();
    assert_eq!(operations, ["Query", "BatchGetItem", "Query", "Query"]);
}

#[tokio::test]
async fn a_change_sends_only_the_changed_parts() {
    let peer = peer(1);
    let mut target = Following::with_lab(&peer).await;
    target.check_in(&peer, NOW).await;

    target.commit([group("lab", 2, 2)]).await;
    let changed = parts(&target.check_in(&peer, LATER).await);
    assert_eq!(changed.documents.len(), 1);
    assert!(changed.commit.is_some() && changed.groups.is_some() && changed.ancestors.is_some());
    assert_eq!((changed.devices, changed.more), (None, false));
    assert!(!peer.asks_again());

    // A change of another device: this device keeps its commit.
    target.commit([member(&other_device(1), &[])]).await;
    let reply = target.check_in(&peer, LATER.plus(61)).await;
    assert_eq!(reply.state, None);

    // A group that exists already: the device does not hold the path to this group.
    target.commit([member(&peer.device(), &[])]).await;
    target.converge(&peer, LATER.plus(122)).await;
    target.commit([member(&peer.device(), &["lab"])]).await;
    assert_eq!(target.converge(&peer, LATER.plus(183)).await, 1);
    assert!(groups_of(&peer).contains(&group_name("lab")));

    // After a day, the device needs the new commit with its path, and no document.
    let next_day = NOW.plus(90_000);
    let change = [member(&other_device(2), &[])];
    target.publisher.commit(change, next_day).await;
    let changed = parts(&target.check_in(&peer, next_day).await);
    assert_eq!((changed.documents, changed.groups), (Vec::new(), None));
    assert!(changed.commit.is_some() && changed.devices.is_some());
    assert!(!peer.asks_again());
}

#[tokio::test]
async fn lacking_parts_of_the_held_commit_are_sent() {
    let peer = peer(1);
    let mut target = Following::with_lab(&peer).await;
    let url = location().location;
    let url = Document::new(LocationDocument::new(url)).text().clone();
    let depot = name("location/depot");
    target.commit([(depot.clone(), Some(url.clone()))]).await;
    target.check_in(&peer, NOW).await;
    let agent = Agent::enrolled(&target.system, 7).await;
    let mut held = peer.state().unwrap().summary(&BTreeSet::new());
    held.lacks.insert(depot.clone());
    let reply = target.answer(&agent, &held).await.unwrap();
    assert_eq!((reply.of, &reply.commit), (held.commit, &None));
    assert_eq!((reply.documents, reply.more), (vec![url.clone()], false));
    let groups = reply.groups.unwrap();
    assert_eq!(groups.lookup(&depot), Lookup::Present(url.digest()));

    // A later commit does not stop the parts of the own one, which is less than a day old.
    target.commit([group("lab", 9, 3)]).await;
    target.restart();
    let reply = target.answer(&agent, &held).await.unwrap();
    assert_eq!((reply.of, reply.commit), (held.commit, None));
    assert_eq!(reply.documents, [url]);
    assert!(reply.more, "the device asks at once for the later commit");
}

#[tokio::test]
async fn a_large_state_arrives_in_several_replies() {
    let peer = peer(1);
    let mut target = Following::empty(settings()).await;
    let names: Vec<String> = (0..10).map(|number| format!("g{number}")).collect();
    let joined: Vec<&str> = names.iter().map(String::as_str).collect();
    let large = (0..)
        .zip(&joined)
        .map(|(number, at)| group(at, number, 1_000));
    target
        .commit(large.chain([member(&peer.device(), &joined)]))
        .await;
    let first = target.system.send(peer.check_in(&[], NOW), NOW).await;
    assert!(first.body.len() < 2 << 20, "{}", first.body.len());
    assert!(parts(&parsed(&first)).more);
    peer.read_reply(&first.body);
    assert!(peer.state().unwrap().whole(&BTreeSet::new(), NOW).is_err());
    assert_eq!(target.converge(&peer, NOW).await, 1);
    assert_eq!(groups_of(&peer).len(), 11);
}

#[tokio::test]
async fn a_request_reads_at_most_64_pages() {
    let peer = peer(1);
    let mut target = Following::empty(settings()).await;
    let names: Vec<String> = (0..2_000).map(|number| format!("g{number}")).collect();
    // Only the tree counts here: the records of so many groups would take minutes.
    let groups = names.iter().map(|at| group(at, 1, 0));
    target.publisher.commit(groups, NOW).await;
    target.converge(&peer, NOW).await;
    let agent = Agent::enrolled(&target.system, 7).await;
    let mut held = peer.state().unwrap().summary(&BTreeSet::new());
    held.lacks = names
        .iter()
        .take(128)
        .map(|at| name(&format!("group/{at}")))
        .collect();
    let mut replies = 0;
    while !held.lacks.is_empty() {
        target.restart();
        target.system.table.meter.take();
        let reply = target.answer(&agent, &held).await.unwrap();
        let usage = target.system.table.meter.take();
        // A page has less than 4 KB, which is one unit. The other reads are those of the device,
        // the groups, the head, the lists and one document.
        assert!(usage.read_units <= 64.0 + 7.0, "{usage:?}");
        assert!(usage.write_units < f64::EPSILON, "{usage:?}");
        let groups = reply.groups.unwrap();
        let before = held.lacks.len();
        let is_shown = |name: &LeafName| !matches!(groups.lookup(name), Lookup::Hidden(_));
        held.lacks.retain(|name| !is_shown(name));
        assert!(held.lacks.len() < before, "a reply shows at least one name");
        assert_eq!(reply.more, !held.lacks.is_empty());
        replies += 1;
    }
    assert!((2..=10).contains(&replies), "{replies}");
}

#[tokio::test]
async fn a_request_reads_no_more_documents_than_a_reply_can_have() {
    let peer = peer(1);
    let mut target = Following::empty(settings()).await;
    let names: Vec<String> = (0..60).map(|number| format!("g{number}")).collect();
    let large = (0..).zip(&names).map(|(number, at)| group(at, number, 800));
    target.commit(large).await;
    target.converge(&peer, NOW).await;
    let agent = Agent::enrolled(&target.system, 7).await;
    let mut holding = peer.state().unwrap().summary(&BTreeSet::new());
    let lacking = names.iter().map(|at| name(&format!("group/{at}")));
    holding.lacks = lacking.collect();
    target.system.table.meter.take();
    let reply = target.answer(&agent, &holding).await.unwrap();
    let usage = target.system.table.meter.take();
    // A reply has documents of up to 1.5 MB, and the last 16 ones may be read in vain.
    assert!(usage.read_units <= 700.0, "{usage:?}");
    assert!(reply.more && !reply.documents.is_empty());
}

#[tokio::test]
async fn a_request_with_too_many_names_is_refused() {
    let target = Following::empty(settings()).await;
    let agent = Agent::enrolled(&target.system, 7).await;
    let mut asking = serde_json::to_value(Agent::asking()).unwrap();
    let names: Vec<String> = (0..=MAX_LACKING).map(|n| format!("group/g{n}")).collect();
    asking["holds"] = json!({ "lacks": names });
    target.system.operations();
    let reply = agent.post(&target.system, CHECK_IN_PATH, &asking).await;
    let problem = refused(&target.system, &reply, 400);
    assert_eq!(problem.kind, ProblemKind::BadRequest);
}

#[tokio::test]
async fn a_device_with_an_old_or_unknown_commit_gets_the_head() {
    let peer = peer(1);
    let mut target = Following::with_lab(&peer).await;
    target.check_in(&peer, NOW).await;
    let own = peer.state().unwrap().summary(&BTreeSet::new());
    for revision in 2..5 {
        target.commit([group("lab", revision, 2)]).await;
    }
    let agent = Agent::enrolled(&target.system, 7).await;
    let changes = [group("lab", 5, 1), member(&agent.device(), &["lab"])];
    let latest = target.commit(changes).await;
    target.restart();
    let unknown = |number| CommitId {
        number,
        digest: Sha256Digest::of(b"unknown"),
    };
    let commits = [
        own.commit.unwrap(),
        unknown(latest.number - 1),
        unknown(latest.number),
        unknown(latest.number + 1_000),
        unknown(1),
    ];
    for commit in commits {
        for lacks in [BTreeSet::new(), [name("group/lab")].into()] {
            let held = HeldState {
                commit: Some(commit),
                documents: BTreeSet::new(),
                lacks,
                ..own.clone()
            };
            let reply = target.answer(&agent, &held).await.unwrap();
            let of = reply.of.unwrap();
            // Parts of a commit of less than a day are sent as long as the device lacks some.
            let is_own = Some(commit) == own.commit && !held.lacks.is_empty();
            assert_eq!(of, if is_own { commit } else { latest }, "{held:?}");
            let shown = name(&format!("commit/{}", commit.name()));
            let ancestors = reply.ancestors.map(|tree| tree.lookup(&shown));
            let expected = match (is_own, Some(commit) == own.commit) {
                (true, _) => None,
                (false, true) => Some(Lookup::Present(commit.digest)),
                (false, false) => Some(Lookup::Absent),
            };
            assert_eq!(ancestors, expected, "{held:?}");
        }
    }
    assert_eq!(target.converge(&peer, NOW).await, 1);
}

#[tokio::test]
async fn a_device_that_lost_its_state_gets_the_path_to_its_last_commit() {
    let first = peer(1);
    let mut target = Following::with_lab(&first).await;
    let agent = Agent::enrolled(&target.system, 7).await;
    let new = |history: Vec<ActedUnder>| {
        VerifiedState::new(agent.key.id(), trust(), UnixTime(0), history)
    };
    let accept = async |target: &Following, state: &mut VerifiedState| {
        let held = state.summary(&BTreeSet::new());
        let asking = CheckInRequest {
            holds: held.clone(),
            ..Agent::asking()
        };
        let reply = agent.post(&target.system, CHECK_IN_PATH, &asking).await;
        let text = parsed(&reply).state.expect("the device lacks its state");
        (held, state.accept(&text, &BTreeSet::new()).refused)
    };
    let mut state = new(Vec::new());
    let (_, refused) = accept(&target, &mut state).await;
    assert!(refused.is_empty(), "{refused:?}");
    let commit = state.commit().unwrap();
    let acted = ActedUnder {
        target: trust().target(),
        highest: HighestCommit {
            key: commit.signer().clone(),
            commit: commit.id(),
            until: commit.expires,
        },
        list: 1,
        root: trust().roots()[0].clone(),
    };
    for revision in 2..5 {
        target.commit([group("all", revision, 2)]).await;
    }
    target.restart();
    // The history counts only for keys that a list names, so the first reply brings the list.
    let mut lost = new(vec![acted.clone()]);
    let (_, refused) = accept(&target, &mut lost).await;
    assert!(
        matches!(refused[..], [Refusal::NotShown { .. }]),
        "{refused:?}"
    );
    let (held, refused) = accept(&target, &mut lost).await;
    assert!(refused.is_empty(), "{refused:?}");
    let commit = LeafName::Commit(acted.highest.commit.name());
    assert!(held.lacks.contains(&commit), "{held:?}");
    assert!(lost.whole(&BTreeSet::new(), NOW).is_ok());
}

#[tokio::test]
async fn key_lists_are_sent_after_the_held_one() {
    let peer = peer(1);
    let mut target = Following::with_lab(&peer).await;
    target.check_in(&peer, NOW).await;
    let held = peer.state().unwrap().summary(&BTreeSet::new());
    target.publisher.next_list(NOW).await;
    // The head is the same commit, but the device does not follow the newest list.
    let reply = parts(&target.check_in(&peer, LATER).await);
    let (_, newest) = key_list(2, NOW);
    let newest = newest.text();
    let texts = |reply: &StateReply| -> Vec<String> {
        let texts = reply.lists.iter().map(|list| list.text().to_owned());
        texts.collect()
    };
    assert_eq!(
        (texts(&reply), &reply.commit),
        (vec![newest.to_owned()], &None)
    );
    assert!(!peer.asks_again());
    assert_eq!(target.check_in(&peer, LATER).await.state, None);

    // The device follows a list of another chain.
    let agent = Agent::enrolled(&target.system, 7).await;
    target.restart();
    let (other, _) = key_list(2, NOW.plus(1));
    let forked = HeldState {
        keys: Some(other),
        ..held
    };
    let reply = target.answer(&agent, &forked).await.unwrap();
    assert_eq!(texts(&reply), [newest]);
}

#[tokio::test]
async fn a_forged_key_list_hides_no_genuine_one() {
    let peer = peer(1);
    let target = Following::with_lab(&peer).await;
    let (id, list) = key_list(2, NOW);
    let forged = json!({
        "pk": { "S": "KEYS" },
        "sk": { "S": format!("{:020}-00000000", id.serial) },
        "document": { "S": list.text().replace("publishers", "publishing") },
        "signature": { "S": list.signature() },
    });
    target.system.table.put(&forged).await;
    assert_eq!(target.converge(&peer, NOW).await, 1);
}

#[tokio::test]
async fn a_new_task_comes_with_the_commit_that_assigns_it() {
    let peer = peer(1);
    let mut target = Following::with_lab(&peer).await;
    target.check_in(&peer, NOW).await;
    target.commit([group("lab", 2, 2)]).await;
    // The cached head is young enough for a device without a new task.
    assert_eq!(target.check_in(&peer, NOW).await.state, None);
    let package = target.system.table.package("vlc", 5).await;
    target.system.assign(&peer.device(), &package, false).await;
    let head = target.system.table.records.head().await.unwrap().unwrap();
    let reply = target.check_in(&peer, NOW).await;
    assert_eq!(parts(&reply).of, Some(head.commit.id));
    let task = &reply.tasks[0];
    assert_eq!(task.locations, [location().name]);
    assert_eq!(task.folder, package.folder);
}

#[tokio::test]
async fn a_device_learns_that_the_state_has_no_document_of_it_any_more() {
    let (member, peer) = (peer(1), peer(2));
    let target = Following::with_lab(&member).await;
    let records = &target.system.table.records;
    target.check_in(&peer, NOW).await;
    let package = target.system.table.package("vlc", 5).await;
    target.system.assign(&peer.device(), &package, false).await;
    target.check_in(&peer, NOW).await;
    let unassigned = records.unassign(&peer.device(), &package, signing()).await;
    unassigned.unwrap();
    let head = records.head().await.unwrap().unwrap().commit.id;
    let reply = target.check_in(&peer, LATER).await;
    assert_eq!(parts(&reply).of, Some(head));
    assert!(parts(&reply).devices.is_some());
    assert_eq!(target.check_in(&peer, LATER).await.state, None);
}

#[tokio::test]
async fn the_locations_of_a_task_come_with_the_state() {
    let peer = peer(1);
    let mut target = Following::with_lab(&peer).await;
    let place = location();
    let url = Document::new(LocationDocument::new(place.location));
    let leaf = LeafName::Location(place.name.clone());
    target.commit([(leaf, Some(url.text().clone()))]).await;
    target.check_in(&peer, NOW).await;
    target.commit([group("lab", 2, 2)]).await;
    let package = target.system.table.package("vlc", 5).await;
    target.system.assign(&peer.device(), &package, false).await;
    let reply = parts(&target.check_in(&peer, NOW).await);
    assert!(reply.documents.contains(url.text()));
    assert!(!peer.asks_again(), "no second check-in for the location");
}

/// Another instance of the function may know a later head. The cache must not answer with an
/// earlier one, which the device would refuse.
#[tokio::test]
async fn a_device_ahead_of_the_cache_makes_the_function_read_the_head() {
    let peer = peer(1);
    let mut target = Following::with_lab(&peer).await;
    let earlier = UnixTime(NOW.0 - 9);
    target.check_in(&peer, earlier).await;
    let agent = Agent::enrolled(&target.system, 7).await;
    let latest = target.commit([group("lab", 2, 2)]).await;
    let held = HeldState {
        commit: Some(latest),
        ..peer.state().unwrap().summary(&BTreeSet::new())
    };
    target.system.operations();
    assert_eq!(target.answer(&agent, &held).await, None);
    let after_the_device = |operations: &[String]| operations[1..].to_vec();
    let operations = after_the_device(&target.system.operations());
    assert_eq!(operations, ["Query", "Query"]);
    // A device can name any number, so the function reads the latest at most once a second.
    let ahead = HeldState {
        commit: Some(CommitId {
            number: latest.number + 1_000,
            ..latest
        }),
        ..held
    };
    target.answer(&agent, &ahead).await.unwrap();
    target.system.operations();
    target.answer(&agent, &ahead).await.unwrap();
    assert_eq!(target.system.operations(), ["Query"]);
}

#[tokio::test]
async fn excluded_devices_get_no_state() {
    let peer = peer(1);
    let mut target = Following::with_lab(&peer).await;
    target.check_in(&peer, NOW).await;
    target.commit([group("lab", 2, 2)]).await;
    let records = target.system.table.records.clone();
    let device = peer.device();
    let expect_refusal = async || {
        target.system.operations();
        let reply = target.system.send(peer.check_in(&[], LATER), LATER).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN);
        assert!(!reply.text().contains("commit"), "{}", reply.text());
        assert_eq!(target.system.operations(), ["Query"]);
    };
    records
        .block(std::slice::from_ref(&device), None, &mia())
        .await
        .unwrap();
    expect_refusal().await;
    records
        .unblock(std::slice::from_ref(&device), &mia())
        .await
        .unwrap();
    records
        .begin_removal(std::slice::from_ref(&device), None, &mia())
        .await
        .unwrap();
    expect_refusal().await;
    records.erase(&device).await.unwrap();
    expect_refusal().await;
}

#[tokio::test]
async fn a_target_without_a_commit_sends_no_state() {
    let target = Following::empty(settings()).await;
    let peer = peer(1);
    assert_eq!(target.check_in(&peer, NOW).await.state, None);
}

#[tokio::test]
async fn an_invalid_page_costs_a_device_the_state_and_not_the_reply() {
    let peer = peer(1);
    let mut target = Following::with_lab(&peer).await;
    target.check_in(&peer, NOW).await;
    target.commit([group("lab", 2, 2)]).await;
    let package = target.system.table.package("vlc", 5).await;
    target.system.assign(&peer.device(), &package, false).await;
    let head = target.system.table.item("HEAD", "HEAD").await;
    let text = head["document"]["S"].as_str().unwrap();
    let commit: serde_json::Value = serde_json::from_str(text).unwrap();
    let root = commit["groups"].as_str().unwrap();
    let invalid = json!({
        "pk": { "S": format!("PAGE#{root}") },
        "sk": { "S": "PAGE" },
        "hash": { "S": root },
        "bytes": { "B": "AA==" },
    });
    target.system.table.put(&invalid).await;
    let log = CapturedLog::start();
    let reply = target.check_in(&peer, NOW).await;
    assert_eq!((reply.state, reply.tasks.len()), (None, 1));
    let lines = log.take();
    assert!(lines.iter().any(|line| line.contains("PAGE#")), "{lines:?}");
}

#[tokio::test]
async fn devices_that_refuse_the_state_are_counted_once_a_minute() {
    let system = Box::pin(TestSystem::start()).await;
    let agent = Agent::enrolled(&system, 1).await;
    let counts = system.function.take_state_counts(NOW).unwrap();
    assert!(!counts.is_problem());
    let digest = Sha256Digest::of(b"a commit that the table does not have");
    let asking = CheckInRequest {
        holds: HeldState {
            commit: Some(CommitId {
                number: NOW.0 + 1_000,
                digest,
            }),
            refused: Some(RefusedState {
                commit: None,
                reason: RefusalWord::LeavesOut,
            }),
            ..HeldState::default()
        },
        ..Agent::asking()
    };
    let later = NOW.plus(2_000);
    let request = agent.signed(CHECK_IN_PATH, serde_json::to_vec(&asking).unwrap(), later);
    parsed(&system.send(request, later).await);
    let counts = system.function.take_state_counts(later).unwrap();
    let expected = format!(
        "check-ins that refuse a state: 1 (leaves_out: 1), with a commit above the head: 1; the last by {}",
        agent.device()
    );
    assert_eq!(counts.to_string(), expected);
    assert_eq!(system.function.take_state_counts(later.plus(60)), None);
}
