//! The signed state from a publisher to a device: commits, replies of the function, the decision of
//! the device.
//!
//! These tests join the parts without the programs, on an embedded engine.

use std::collections::{BTreeMap, BTreeSet};

use packcast_agent::target_state::{FileChange, LoadedState, TargetStateFiles};
use packcast_check_in::state::{StateCache, StateFacts, StateQuestion};
use packcast_protocol::manifest::AnnouncedManifest;
use packcast_protocol::state::mandate::Mandate;
use packcast_protocol::state::{
    AboutDocument, DeploymentFacts, KeyListId, LeafName, SignedKeyList, StateReply, StateText,
    Terms, VerifiedState, Waiting,
};
use packcast_protocol::{AgentId, DeviceId, GroupName, PackageId, Sha256Digest, UnixTime};
use packcast_publisher::signing::memory_file::MemoryFile;
use packcast_publisher::state::{CommitRequest, Committed, Committer, TargetState};
use packcast_rollout::state::{EntryOwner, NewAssignment, StateChange};
use packcast_testing::commits::{first_key_list, trust};
use packcast_testing::signing::{signing, trusted};
use packcast_testing::table::{NOW, Table};
use serde_json::Value;
use tempfile::TempDir;

/// A target with a publisher and a function.
struct Target {
    table: Table,
    folder: TempDir,
    cache: StateCache,
}

/// A device that asks and accepts as an agent does.
struct Device {
    id: AgentId,
    state: VerifiedState,
    used: BTreeSet<Mandate>,
}

fn agent(number: u8) -> AgentId {
    AgentId::of_public_key(&[number; 32])
}

fn lab() -> GroupName {
    "lab".parse().unwrap()
}

fn manifest(package: PackageId) -> AnnouncedManifest {
    AnnouncedManifest {
        id: package,
        manifest: Sha256Digest::of(&package.get().to_be_bytes()),
    }
}

fn assign(package: PackageId) -> StateChange {
    StateChange::Assign {
        to: EntryOwner::Group(lab()),
        assignment: NewAssignment {
            package,
            manifest: manifest(package).manifest,
            force: false,
            terms: Terms::default(),
        },
    }
}

fn unassign(package: PackageId) -> StateChange {
    StateChange::Unassign {
        from: EntryOwner::Group(lab()),
        package,
    }
}

fn create_lab() -> StateChange {
    StateChange::CreateGroup { group: lab() }
}

fn join(agents: impl IntoIterator<Item = AgentId>) -> StateChange {
    StateChange::Join {
        group: lab(),
        devices: agents.into_iter().map(DeviceId::Agent).collect(),
    }
}

fn leave(agent: AgentId) -> StateChange {
    StateChange::Leave {
        group: lab(),
        devices: [DeviceId::Agent(agent)].into(),
    }
}

impl Target {
    async fn start(seed: u64) -> Self {
        let table = Table::without_target(seed).await;
        let (id, list) = first_key_list(NOW);
        assert!(table.records.add_list(&id, &list).await.unwrap());
        Self {
            table,
            folder: tempfile::tempdir().unwrap(),
            cache: StateCache::new(trust(), 0),
        }
    }

    async fn commit(&self, changes: &[StateChange]) {
        let path = self.folder.path().join("commits");
        let trust = trust();
        let mut memory = MemoryFile::open(&path, &trust).await.unwrap();
        let mut committer = Committer {
            records: &self.table.records,
            trust: &trust,
            key: &trusted()[0],
            sign: signing().sign,
            memory: &mut memory,
            clock: &|| NOW,
        };
        let request = CommitRequest {
            changes,
            about: AboutDocument::shortened("ada", "laptop", "packcast", ""),
            valid_for_s: 30 * 86_400,
        };
        let done = committer.commit(&request).await.unwrap();
        assert!(matches!(done, Committed::Done { .. }), "{done:?}");
    }

    /// Returns the facts that the records of a device and its groups will have.
    async fn facts(&self, device: &DeviceId) -> StateFacts {
        let records = &self.table.records;
        let mut state = TargetState::read(records, &trust()).await.unwrap();
        let groups = [GroupName::all(), lab()];
        let mut names: BTreeSet<LeafName> = groups.iter().cloned().map(LeafName::Group).collect();
        let own = LeafName::Device(device.clone());
        names.insert(own.clone());
        let digests = state.trees.digests(records, names.clone()).await.unwrap();
        let part = state.trees.part(records, names).await.unwrap();
        let joined = part.groups_of(device).unwrap();
        let joined = groups
            .iter()
            .filter(|it| it.is_all() || joined.contains_key(it));
        StateFacts {
            device: digests[&own],
            groups: joined
                .map(|group| (group.clone(), digests[&LeafName::Group(group.clone())]))
                .collect(),
            rollouts: BTreeSet::new(),
        }
    }

    async fn reply(&self, device: &Device, facts: &StateFacts) -> Option<StateReply> {
        let id = DeviceId::Agent(device.id.clone());
        let held = device.state.summary(&BTreeSet::new());
        let question = StateQuestion {
            device: &id,
            held: &held,
            facts: Some(facts),
            locations: &BTreeSet::new(),
            has_new_task: false,
        };
        let reply = self.cache.reply(&self.table.records, question, NOW);
        reply.await.unwrap()
    }

    /// Puts the head back as it was.
    async fn put_back(&self, head: &Value) {
        self.table.put(head).await;
    }

    async fn head(&self) -> Value {
        self.table.item("HEAD", "HEAD").await
    }

    async fn package(&self, name: &str) -> PackageId {
        self.table.package(name, 5).await.id
    }
}

impl Device {
    fn new(number: u8) -> Self {
        Self::of(agent(number))
    }

    fn of(id: AgentId) -> Self {
        Self {
            state: VerifiedState::new(id.clone(), trust(), UnixTime(0), []),
            id,
            used: BTreeSet::new(),
        }
    }

    /// Stores the whole state in files.
    fn store(&self, files: &TargetStateFiles) {
        let documents = self.state.documents().cloned().map(FileChange::Document);
        let state = FileChange::State(Box::new(self.state.stored()));
        for change in documents.chain([state]) {
            files.perform(&change).unwrap();
        }
    }

    /// Reads the state of this device from files, as after a restart.
    fn load(&self, files: &TargetStateFiles) -> (Self, LoadedState) {
        let mut device = Self::of(self.id.clone());
        let loaded = files.load(device.state.clone()).unwrap();
        device.state = loaded.state.clone();
        (device, loaded)
    }

    /// Checks in until nothing is left to send. Returns the number of replies with a state.
    async fn check_in(&mut self, target: &Target) -> usize {
        let facts = target.facts(&DeviceId::Agent(self.id.clone())).await;
        self.check_in_with(target, &facts).await
    }

    async fn check_in_with(&mut self, target: &Target, facts: &StateFacts) -> usize {
        for replies in 0..20 {
            let Some(reply) = target.reply(self, facts).await else {
                return replies;
            };
            let text = StateText::new(&reply).unwrap();
            let accepted = self.state.accept(&text, &BTreeSet::new());
            if !accepted.changed {
                return replies;
            }
        }
        panic!("the device never has the whole state");
    }

    /// Decides on a package, and uses up the mandates if the device may begin.
    fn begin(&mut self, package: PackageId) -> Result<(), Waiting> {
        let locations = BTreeSet::new();
        let whole = self.state.whole(&locations, NOW)?;
        let begin = whole.before_begin(
            manifest(package),
            DeploymentFacts {
                used: &self.used,
                is_downgrade: false,
                audience: None,
                locations: &locations,
            },
        )?;
        self.used.extend(begin.mandates);
        Ok(())
    }
}

#[tokio::test]
async fn a_device_acts_once_on_an_assignment_and_not_after_its_withdrawal() {
    let target = Target::start(900).await;
    let package = target.package("vlc").await;
    target
        .commit(&[create_lab(), join((1..=100).map(agent))])
        .await;
    target.commit(&[assign(package)]).await;
    let mut device = Device::new(1);
    assert_eq!(
        device.check_in(&target).await,
        1,
        "one reply has the whole state"
    );
    device.begin(package).unwrap();
    assert!(matches!(device.begin(package), Err(Waiting::Used)));
    let mut other = Device::new(101);
    other.check_in(&target).await;
    assert!(matches!(
        other.begin(package),
        Err(Waiting::NotAssigned { .. })
    ));

    target.commit(&[assign(package)]).await;
    device.check_in(&target).await;
    target.commit(&[unassign(package)]).await;
    assert_eq!(device.check_in(&target).await, 1);
    assert!(matches!(
        device.begin(package),
        Err(Waiting::NotAssigned { .. })
    ));
}

#[tokio::test]
async fn a_device_that_holds_the_state_costs_no_read() {
    let target = Target {
        cache: StateCache::new(trust(), 60),
        ..Target::start(901).await
    };
    target.commit(&[create_lab(), join([agent(1)])]).await;
    let mut device = Device::new(1);
    device.check_in(&target).await;
    let facts = target.facts(&DeviceId::Agent(agent(1))).await;
    target.table.meter.take();
    assert_eq!(target.reply(&device, &facts).await, None);
    assert!(target.table.meter.take().operations.is_empty());
}

#[tokio::test]
async fn a_change_of_another_group_sends_nothing_to_a_device() {
    let target = Target::start(902).await;
    target.commit(&[create_lab(), join([agent(1)])]).await;
    let mut outside = Device::new(2);
    outside.check_in(&target).await;
    let package = target.package("vlc").await;
    target.commit(&[assign(package)]).await;
    assert_eq!(outside.check_in(&target).await, 0);
}

/// H1: old membership and later assignment are never combined.
#[tokio::test]
async fn a_removed_member_gets_no_later_assignment_by_an_old_membership() {
    let target = Target::start(903).await;
    let wipe = target.package("wipe").await;
    target
        .commit(&[create_lab(), join([agent(1), agent(2)])])
        .await;
    let mut device = Device::new(1);
    device.check_in(&target).await;
    let old_facts = target.facts(&DeviceId::Agent(agent(1))).await;
    let old_head = target.head().await;
    target.commit(&[leave(agent(1))]).await;
    device.check_in(&target).await;
    target.commit(&[assign(wipe)]).await;

    // The records of the device say that it is still a member.
    device.check_in_with(&target, &old_facts).await;
    assert!(matches!(
        device.begin(wipe),
        Err(Waiting::NotAssigned { .. })
    ));
    target.put_back(&old_head).await;
    device.check_in_with(&target, &old_facts).await;
    assert!(matches!(
        device.begin(wipe),
        Err(Waiting::NotAssigned { .. })
    ));
    // A device without a state gets the old state as a whole, in which nothing is assigned.
    let mut new = Device::new(1);
    new.check_in_with(&target, &old_facts).await;
    assert!(matches!(new.begin(wipe), Err(Waiting::NotAssigned { .. })));
}

/// T2: a device that joins a group does not get the past of the group.
#[tokio::test]
async fn a_device_that_joins_does_not_get_withdrawn_packages() {
    let target = Target::start(904).await;
    let bad = target.package("bad").await;
    target.commit(&[create_lab(), assign(bad)]).await;
    let old_head = target.head().await;
    target.commit(&[unassign(bad)]).await;
    target.commit(&[join([agent(1)])]).await;
    let facts = target.facts(&DeviceId::Agent(agent(1))).await;
    target.put_back(&old_head).await;
    let mut device = Device::new(1);
    device.check_in_with(&target, &facts).await;
    assert!(matches!(
        device.begin(bad),
        Err(Waiting::NotAssigned { .. })
    ));
}

#[tokio::test]
async fn a_device_without_one_document_waits_until_it_has_the_document() {
    let target = Target::start(905).await;
    let package = target.package("vlc").await;
    target
        .commit(&[create_lab(), join([agent(1)]), assign(package)])
        .await;
    let mut device = Device::new(1);
    let facts = target.facts(&DeviceId::Agent(agent(1))).await;
    let mut reply = target.reply(&device, &facts).await.unwrap();
    let withheld = reply.documents.pop().unwrap();
    let text = StateText::new(&reply).unwrap();
    assert!(device.state.accept(&text, &BTreeSet::new()).changed);
    assert!(matches!(device.begin(package), Err(Waiting::Lacks { .. })));
    // The next check-in names the lacking leaf and brings its document. It also brings the documents
    // of groups: without its own document, the device did not know its groups.
    let reply = target.reply(&device, &facts).await.unwrap();
    assert!(reply.documents.contains(&withheld));
    assert_eq!(reply.commit, None);
    device.check_in(&target).await;
    device.begin(package).unwrap();
}

#[tokio::test]
async fn a_reply_after_a_change_has_few_bytes() {
    let target = Target::start(906).await;
    let package = target.package("vlc").await;
    let agents = (0..2_000_u16).map(|number| {
        let [high, low] = number.to_be_bytes();
        let mut key = [high; 32];
        key[1] = low;
        AgentId::of_public_key(&key)
    });
    let agents: Vec<AgentId> = agents.collect();
    target.commit(&[create_lab(), join(agents.clone())]).await;
    let mut device = Device::of(agents[7].clone());
    device.check_in(&target).await;
    target.commit(&[assign(package)]).await;
    let facts = target.facts(&DeviceId::Agent(device.id.clone())).await;
    let reply = target.reply(&device, &facts).await.unwrap();
    let documents: BTreeMap<_, _> = reply.documents.iter().map(|it| (it.digest(), it)).collect();
    assert_eq!(
        documents.len(),
        1,
        "only the document of the group has changed"
    );
    assert_eq!(reply.devices, None, "the tree of devices has not changed");
    let without_document = StateReply {
        documents: Vec::new(),
        ..reply
    };
    let bytes = StateText::new(&without_document).unwrap().as_str().len();
    assert!(bytes <= 5_000, "{bytes}");
}

#[tokio::test]
async fn a_device_that_stops_between_two_writes_has_the_state_before_or_after() {
    let target = Target::start(907).await;
    let (old, new) = (target.package("old").await, target.package("new").await);
    target
        .commit(&[create_lab(), join([agent(1)]), assign(old)])
        .await;
    let mut before = Device::new(1);
    before.check_in(&target).await;
    target.commit(&[unassign(old), assign(new)]).await;
    let facts = target.facts(&DeviceId::Agent(agent(1))).await;
    let reply = target.reply(&before, &facts).await.unwrap();
    let mut after = Device {
        state: before.state.clone(),
        ..Device::new(1)
    };
    let text = StateText::new(&reply).unwrap();
    let accepted = after.state.accept(&text, &BTreeSet::new());
    let changes = TargetStateFiles::changes(&after.state, &accepted);
    let replaced = changes
        .iter()
        .position(|change| matches!(change, FileChange::State(_)));
    assert!(replaced.is_some_and(|at| at > 0 && at + 1 < changes.len()));
    for written in 0..=changes.len() {
        let folder = tempfile::tempdir().unwrap();
        let files = TargetStateFiles::new(folder.path());
        before.store(&files);
        for change in &changes[..written] {
            files.perform(change).unwrap();
        }
        let (mut device, loaded) = before.load(&files);
        assert!(loaded.discarded.is_empty() && loaded.damaged.is_none());
        let (expected, assigned, withdrawn) = if Some(written) > replaced {
            (&after, new, old)
        } else {
            (&before, old, new)
        };
        assert_eq!(device.state, expected.state, "{written}");
        device.begin(assigned).unwrap();
        assert!(matches!(
            device.begin(withdrawn),
            Err(Waiting::NotAssigned { .. })
        ));
    }
}

#[tokio::test]
async fn a_device_with_a_damaged_file_begins_nothing_until_it_has_the_state_again() {
    let target = Target::start(908).await;
    let package = target.package("vlc").await;
    target
        .commit(&[create_lab(), join([agent(1)]), assign(package)])
        .await;
    let mut whole = Device::new(1);
    whole.check_in(&target).await;
    let folder = tempfile::tempdir().unwrap();
    let files = TargetStateFiles::new(folder.path());
    whole.store(&files);
    let names = std::fs::read_dir(folder.path()).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(names.len(), 3, "the state and two documents");
    for name in names {
        let content = std::fs::read(&name).unwrap();
        let mut damaged = content.clone();
        let middle = content.len() / 2;
        damaged[middle] ^= 1;
        std::fs::write(&name, damaged).unwrap();
        let (mut device, loaded) = whole.load(&files);
        let is_state = name.ends_with("state");
        assert_eq!(loaded.damaged.is_some(), is_state);
        device.begin(package).unwrap_err();
        device.check_in(&target).await;
        device.begin(package).unwrap();
        device.store(&files);
        let (restored, _) = whole.load(&files);
        assert_eq!(restored.state, device.state);
    }
}

#[tokio::test]
async fn a_forged_key_list_is_not_sent_and_hides_no_other() {
    let target = Target::start(909).await;
    target.commit(&[create_lab()]).await;
    let forged = SignedKeyList::new("{}".to_owned(), "untrusted".to_owned()).unwrap();
    let id = KeyListId {
        serial: 1_000,
        digest: forged.digest(),
    };
    assert!(target.table.records.add_list(&id, &forged).await.unwrap());
    let mut device = Device::new(1);
    let facts = target.facts(&DeviceId::Agent(agent(1))).await;
    let reply = target.reply(&device, &facts).await.unwrap();
    let genuine = target.table.records.lists_after(0).await.unwrap().remove(0);
    assert_eq!(reply.lists, [genuine]);
    assert_eq!(device.check_in(&target).await, 1);
    assert_eq!(target.reply(&device, &facts).await, None);
}
