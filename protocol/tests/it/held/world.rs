//! A target for tests: keys, key lists, and commits with their whole trees.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::sync::LazyLock;

use minisign::KeyPair;
use packcast_protocol::manifest::AnnouncedManifest;
use packcast_protocol::signature::PublicKey;
use packcast_protocol::state::document::{DeviceGroups, StateDocument};
use packcast_protocol::state::signed_text::TargetDocument;
use packcast_protocol::state::{
    Accepted, ActedUnder, Begin, Commit, CommitFields, CommitId, DeploymentFacts, DeviceDocument,
    Document, DocumentText, Entries, GroupDocument, KeyList, KeyListFields, KeyListId, LeafName,
    LocationDocument, Mandate, PartialTree, PublisherKey, Refusal, RolloutDocument, RolloutId,
    SignedCommit, SignedKeyList, StateEntry, StateReply, StateText, TargetId, Terms, TrustedRoots,
    VerifiedState, Waiting,
};
use packcast_protocol::{
    AgentId, Assignee, DeviceId, GroupName, Location, LocationName, PackageId, Sha256Digest,
    UnixTime,
};

pub(crate) const DAY: u64 = 86_400;
pub(crate) const NOW: UnixTime = UnixTime(1_800_000_000);
pub(crate) const BUILD: UnixTime = UnixTime(1_790_000_000);
pub(crate) const TARGET: TargetId = TargetId::from_bytes([7; 16]);
pub(crate) const OTHER_TARGET: TargetId = TargetId::from_bytes([8; 16]);

/// A key pair, which signs in the form of minisign.
pub(crate) struct TestKey {
    pair: KeyPair,
    pub(crate) public: PublicKey,
}

/// Returns a key by its number. Key 0 is the root key of the target.
pub(crate) fn key(number: usize) -> &'static TestKey {
    static KEYS: LazyLock<Vec<TestKey>> = LazyLock::new(|| {
        let create = || {
            let pair = KeyPair::generate_unencrypted_keypair().expect("a key needs no password");
            let public = pair.pk.to_base64().parse().expect("this is a public key");
            TestKey { pair, public }
        };
        std::iter::repeat_with(create).take(12).collect()
    });
    &KEYS[number]
}

impl TestKey {
    fn sign(&self, text: &str) -> String {
        minisign::sign(None, &self.pair.sk, Cursor::new(text), None, None)
            .expect("the key signs")
            .into_string()
    }
}

pub(crate) fn device(number: u8) -> AgentId {
    AgentId::of_public_key(&[number; 32])
}

pub(crate) fn group(name: &str) -> GroupName {
    name.parse().expect("this is a group's name")
}

pub(crate) fn location(name: &str) -> LocationName {
    name.parse().expect("this is a location's name")
}

pub(crate) fn package(number: u32) -> PackageId {
    PackageId::try_from(1_700_000_000 + number).expect("this is a package's id")
}

pub(crate) fn manifest(number: u32) -> AnnouncedManifest {
    let id = package(number);
    let manifest = Sha256Digest::of(id.to_string().as_bytes());
    AnnouncedManifest { id, manifest }
}

/// Returns an entry for a package, without terms.
pub(crate) fn entry(number: u32, seq: u64) -> StateEntry {
    let AnnouncedManifest { id, manifest } = manifest(number);
    StateEntry {
        package: id,
        manifest,
        seq,
        assignee: None,
        force: false,
        terms: Terms::default(),
    }
}

/// A key list of the target, signed by a root key.
pub(crate) struct ListDraft<'a> {
    pub(crate) serial: u64,
    pub(crate) from: u64,
    pub(crate) roots: &'a [usize],
    pub(crate) publishers: &'a [usize],
    pub(crate) retired: &'a [usize],
    pub(crate) issued: UnixTime,
    pub(crate) signer: usize,
}

impl Default for ListDraft<'_> {
    fn default() -> Self {
        Self {
            serial: 1,
            from: 0,
            roots: &[0],
            publishers: &[1, 2],
            retired: &[],
            issued: NOW,
            signer: 0,
        }
    }
}

impl ListDraft<'_> {
    pub(crate) fn expires(&self) -> UnixTime {
        self.issued.plus(100 * DAY)
    }

    pub(crate) fn sign(&self) -> SignedKeyList {
        self.sign_for(TARGET)
    }

    pub(crate) fn sign_for(&self, target: TargetId) -> SignedKeyList {
        let publisher = |number: &usize| PublisherKey::unrestricted(key(*number).public.clone());
        let publishers = self.publishers.iter().map(publisher);
        let retired = |number: &usize| PublisherKey::retired(key(*number).public.clone());
        let retired = self.retired.iter().map(retired);
        let root = |number: &usize| key(*number).public.clone();
        let list = KeyList::new(KeyListFields {
            target,
            serial: self.serial,
            from: self.from,
            roots: self.roots.iter().map(root).collect(),
            publishers: publishers.chain(retired).collect(),
            issued: self.issued,
            expires: self.expires(),
        });
        let text = list.expect("the list is valid").to_text();
        let signature = key(self.signer).sign(&text);
        SignedKeyList::new(text, signature).expect("the list is small")
    }
}

/// The whole content of a state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) groups: BTreeMap<GroupName, GroupContent>,
    pub(crate) devices: BTreeMap<AgentId, DeviceContent>,
    pub(crate) locations: BTreeMap<LocationName, Location>,
    pub(crate) rollouts: BTreeMap<RolloutId, RolloutDocument>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupContent {
    /// Number of the commit that created the group.
    pub(crate) created: u64,
    pub(crate) packages: Vec<StateEntry>,
    pub(crate) prefer: Option<LocationName>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeviceContent {
    pub(crate) groups: BTreeMap<GroupName, u64>,
    pub(crate) packages: Vec<StateEntry>,
}

impl Content {
    /// Returns the content with these entries of a group, which commit 1 has created.
    pub(crate) fn with_group(mut self, name: &str, packages: &[StateEntry]) -> Self {
        let group = group(name);
        let created = u64::from(!group.is_all());
        let content = GroupContent {
            created,
            ..GroupContent::default()
        };
        self.groups.entry(group).or_insert(content).packages = packages.to_vec();
        self
    }

    /// Returns the content with these groups of device 1.
    pub(crate) fn with_member(mut self, groups: &[&str]) -> Self {
        let groups = groups.iter().map(|name| (group(name), 1)).collect();
        self.devices.entry(device(1)).or_default().groups = groups;
        self
    }

    /// Returns the content with these entries of device 1.
    pub(crate) fn with_own(mut self, packages: &[StateEntry]) -> Self {
        self.devices.entry(device(1)).or_default().packages = packages.to_vec();
        self
    }

    /// Returns the groups that a device is in, with `all`.
    pub(crate) fn groups_of(&self, agent: &AgentId) -> BTreeSet<GroupName> {
        let named = self.devices.get(agent).into_iter();
        let named = named.flat_map(|own| &own.groups);
        let exists = |(group, created): &(&GroupName, &u64)| {
            let content = self.groups.get(*group);
            content.is_some_and(|content| content.created == **created)
        };
        let groups = named.filter(exists).map(|(group, _)| group.clone());
        groups.chain([GroupName::all()]).collect()
    }

    /// Returns the mandates of a device, with their entries.
    pub(crate) fn mandates(&self, agent: &AgentId) -> BTreeMap<(PackageId, Mandate), StateEntry> {
        let own = self.devices.get(agent).into_iter();
        let own = own.flat_map(|own| &own.packages);
        let own = own.map(|entry| (Assignee::Device(agent.clone()), entry));
        let groups = self.groups_of(agent).into_iter().filter_map(|group| {
            let content = self.groups.get(&group)?;
            Some((group, content))
        });
        let own = own.map(|(assignee, entry)| {
            let seq = entry.seq;
            (Mandate { assignee, seq }, entry)
        });
        let groups = groups.flat_map(|(group, content)| {
            let entries = content.packages.iter();
            entries.map(move |entry| (entry.group_mandate(&group), entry))
        });
        own.chain(groups)
            .map(|(mandate, entry)| ((entry.package, mandate), entry.clone()))
            .collect()
    }

    /// Returns the present owner of the entry that gives a device a mandate.
    pub(crate) fn owner(&self, agent: &AgentId, package: PackageId, mandate: &Mandate) -> Assignee {
        let gives = |(group, content): &(&GroupName, &GroupContent)| {
            let mut entries = content.packages.iter();
            entries.any(|entry| entry.package == package && entry.group_mandate(group) == *mandate)
        };
        let named = self.groups_of(agent);
        let mut groups = self
            .groups
            .iter()
            .filter(|(group, _)| named.contains(*group));
        match &mandate.assignee {
            Assignee::Device(_) => mandate.assignee.clone(),
            Assignee::Group(_) => {
                let (group, _) = groups.find(gives).expect("a group gives the mandate");
                Assignee::Group(group.clone())
            }
        }
    }

    fn leaves(&self) -> Leaves {
        let mut leaves = Leaves::default();
        for (name, content) in &self.groups {
            let mut document = GroupDocument::empty(content.created, 1);
            document.packages = entries(&content.packages);
            document.prefer.clone_from(&content.prefer);
            leaves.group(LeafName::Group(name.clone()), document);
        }
        for (name, url) in &self.locations {
            let document = LocationDocument::new(url.clone());
            leaves.group(LeafName::Location(name.clone()), document);
        }
        for (id, document) in &self.rollouts {
            leaves.group(LeafName::Rollout(*id), document.clone());
        }
        for (agent, content) in &self.devices {
            let groups = DeviceGroups::new(content.groups.clone()).expect("the groups are few");
            let document = DeviceDocument::new(groups, entries(&content.packages));
            let name = LeafName::Device(DeviceId::Agent(agent.clone()));
            let digest = leaves.add(document);
            leaves.devices.insert(name, digest);
        }
        leaves
    }
}

fn entries(packages: &[StateEntry]) -> Entries {
    Entries::new(packages.to_vec()).expect("each package is there once")
}

/// The leaves of a state, and their documents.
#[derive(Default)]
struct Leaves {
    groups: BTreeMap<LeafName, Sha256Digest>,
    devices: BTreeMap<LeafName, Sha256Digest>,
    documents: BTreeMap<Sha256Digest, DocumentText>,
}

impl Leaves {
    fn add(&mut self, document: impl StateDocument) -> Sha256Digest {
        let document = Document::new(document);
        self.documents
            .insert(document.digest(), document.text().clone());
        document.digest()
    }

    fn group(&mut self, name: LeafName, document: impl StateDocument) {
        let digest = self.add(document);
        self.groups.insert(name, digest);
    }
}

/// Returns the id that a commit names; only its serial number matters to a device.
fn list_id(serial: u64) -> KeyListId {
    let digest = Sha256Digest::of(b"list");
    KeyListId { serial, digest }
}

/// A commit before it is signed.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) signer: usize,
    pub(crate) keys: u64,
    pub(crate) number: u64,
    pub(crate) parent: Option<CommitId>,
    pub(crate) ancestors: BTreeSet<CommitId>,
    pub(crate) issued: UnixTime,
    pub(crate) days: u64,
    pub(crate) content: Content,
}

/// A signed commit with its whole trees and documents.
#[derive(Clone, Debug)]
pub(crate) struct TestCommit {
    pub(crate) draft: Draft,
    pub(crate) signed: SignedCommit,
    pub(crate) id: CommitId,
    pub(crate) groups: PartialTree,
    pub(crate) devices: PartialTree,
    pub(crate) ancestors: PartialTree,
    pub(crate) documents: BTreeMap<Sha256Digest, DocumentText>,
}

impl Draft {
    /// Returns a commit of key 1 without ancestors.
    pub(crate) fn first(content: Content) -> Self {
        Self {
            signer: 1,
            keys: 1,
            number: NOW.0,
            parent: None,
            ancestors: BTreeSet::new(),
            issued: NOW,
            days: 90,
            content,
        }
    }

    /// Returns a commit that changes another one a minute later.
    pub(crate) fn after(parent: &TestCommit, content: Content) -> Self {
        let Draft {
            signer,
            keys,
            number,
            issued,
            days,
            ..
        } = parent.draft;
        let mut ancestors = parent.draft.ancestors.clone();
        ancestors.insert(parent.id);
        Self {
            signer,
            keys,
            number: number + 60,
            parent: Some(parent.id),
            ancestors,
            issued: issued.plus(60),
            days,
            content,
        }
    }

    pub(crate) fn expires(&self) -> UnixTime {
        self.issued.plus(self.days * DAY)
    }

    pub(crate) fn sign(self) -> TestCommit {
        self.sign_for(TARGET)
    }

    pub(crate) fn sign_for(self, target: TargetId) -> TestCommit {
        let leaves = self.content.leaves();
        self.sign_leaves(target, leaves)
    }

    /// Signs a commit in which device 1 has a document of a later version.
    pub(crate) fn sign_with_own(self, text: DocumentText) -> TestCommit {
        self.sign_with(LeafName::Device(DeviceId::Agent(device(1))), text)
    }

    /// Signs a commit in which a leaf has a document of a later version.
    pub(crate) fn sign_with(self, name: LeafName, text: DocumentText) -> TestCommit {
        let mut leaves = self.content.leaves();
        let tree = if matches!(name, LeafName::Device(_)) {
            &mut leaves.devices
        } else {
            &mut leaves.groups
        };
        tree.insert(name, text.digest());
        leaves.documents.insert(text.digest(), text);
        self.sign_leaves(TARGET, leaves)
    }

    fn sign_leaves(self, target: TargetId, leaves: Leaves) -> TestCommit {
        let groups = PartialTree::from_leaves(leaves.groups);
        let devices = PartialTree::from_leaves(leaves.devices);
        let ancestors = self.ancestors.iter();
        let ancestors = ancestors.map(|id| (LeafName::Commit(id.name()), id.digest));
        let ancestors = PartialTree::from_leaves(ancestors);
        let commit = Commit::new(CommitFields {
            target,
            keys: list_id(self.keys),
            number: self.number,
            parent: self.parent,
            groups: groups.root(),
            devices: devices.root(),
            ancestors: ancestors.root(),
            issued: self.issued,
            expires: self.expires(),
            about: Sha256Digest::of(b"about"),
        });
        let text = commit.expect("the fields agree").to_text();
        let digest = Sha256Digest::of(text.as_bytes());
        let signature = key(self.signer).sign(&text);
        TestCommit {
            id: CommitId {
                number: self.number,
                digest,
            },
            signed: SignedCommit::new(text, signature).expect("the commit is small"),
            draft: self,
            groups,
            devices,
            ancestors,
            documents: leaves.documents,
        }
    }
}

impl TestCommit {
    /// Returns the part of the tree of groups that concerns a device, with all locations and
    /// rollouts.
    pub(crate) fn group_part(&self, agent: &AgentId) -> PartialTree {
        let own = self.draft.content.devices.get(agent).into_iter();
        let groups = own.flat_map(|own| own.groups.keys().cloned());
        let groups = groups.chain([GroupName::all()]).map(LeafName::Group);
        let locations = self.draft.content.locations.keys().cloned();
        let rollouts = self.draft.content.rollouts.keys().copied();
        let names: Vec<LeafName> = groups
            .chain(locations.map(LeafName::Location))
            .chain(rollouts.map(LeafName::Rollout))
            .collect();
        self.groups.prove(&names).expect("the tree is whole")
    }

    pub(crate) fn device_part(&self, agent: &AgentId) -> PartialTree {
        let own = LeafName::Device(DeviceId::Agent(agent.clone()));
        self.devices.prove([&own]).expect("the tree is whole")
    }

    /// Returns the whole state for a device, as an honest function sends it.
    pub(crate) fn reply_to(&self, state: &VerifiedState, agent: &AgentId) -> StateReply {
        let summary = state.summary(&BTreeSet::new());
        let held = summary.commit.map(|held| LeafName::Commit(held.name()));
        let lacks = summary.lacks.into_iter();
        let commits = lacks.filter(|name| matches!(name, LeafName::Commit(_)));
        let names: Vec<LeafName> = held.into_iter().chain(commits).collect();
        StateReply {
            lists: Vec::new(),
            of: Some(self.id),
            commit: Some(self.signed.clone()),
            groups: Some(self.group_part(agent)),
            devices: Some(self.device_part(agent)),
            ancestors: Some(self.ancestors.prove(&names).expect("the tree is whole")),
            documents: self.documents.values().cloned().collect(),
            more: false,
        }
    }
}

/// Returns a device that trusts root key 0, without any state.
pub(crate) fn new_device(
    agent: &AgentId,
    history: impl IntoIterator<Item = ActedUnder>,
) -> VerifiedState {
    VerifiedState::new(agent.clone(), trusted_roots(&[0]), BUILD, history)
}

pub(crate) fn trusted_roots(roots: &[usize]) -> TrustedRoots {
    let roots = roots.iter().map(|root| key(*root).public.clone());
    TrustedRoots::new(TARGET, roots.collect()).expect("the keys differ")
}

/// Decides on a package without used mandates.
pub(crate) fn begin(state: &VerifiedState, number: u32, clock: UnixTime) -> Result<Begin, Waiting> {
    begin_after(state, number, &BTreeSet::new(), clock)
}

/// Decides on a package after some mandates were used up.
pub(crate) fn begin_after(
    state: &VerifiedState,
    number: u32,
    used: &BTreeSet<Mandate>,
    clock: UnixTime,
) -> Result<Begin, Waiting> {
    let facts = DeploymentFacts {
        used,
        is_downgrade: false,
        audience: None,
        locations: &BTreeSet::new(),
    };
    let whole = state.whole(&BTreeSet::new(), clock)?;
    whole.before_begin(manifest(number), facts)
}

/// Delivers a reply, and returns the errors of its refused parts.
pub(crate) fn accept(state: &mut VerifiedState, reply: &StateReply) -> Vec<Refusal> {
    accept_for(state, reply, &BTreeSet::new()).refused
}

/// Delivers a reply to a device whose tasks need some locations.
pub(crate) fn accept_for(
    state: &mut VerifiedState,
    reply: &StateReply,
    locations: &BTreeSet<LocationName>,
) -> Accepted {
    let text = StateText::new(reply).expect("the state is small");
    state.accept(&text, locations)
}

/// Returns the state as the agent reads it at its next start.
pub(crate) fn loaded(
    state: &VerifiedState,
    mut new: VerifiedState,
) -> (VerifiedState, Vec<Refusal>) {
    let text = serde_json::to_string(&state.stored()).expect("the state is JSON");
    let stored = serde_json::from_str(&text).expect("the state is read again");
    let discarded = new.load(stored, state.documents().cloned());
    (new, discarded)
}
