//! A publisher of the signed state, and the replies of a function that has its commits.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::api::Task;
use packcast_protocol::signature::PublicKey;
use packcast_protocol::state::commit::next_number;
use packcast_protocol::state::document::{DeviceGroups, StateDocument};
use packcast_protocol::state::exchange::DigestPrefix;
use packcast_protocol::state::signed_text::TargetDocument;
use packcast_protocol::state::{
    Commit, CommitFields, CommitId, DeviceDocument, Document, DocumentText, Entries, GroupDocument,
    HeldState, KeyList, KeyListFields, KeyListId, LeafName, LocationDocument, PartialTree,
    PublisherKey, RolloutDocument, RolloutId, SignedCommit, SignedKeyList, StateEntry, StateReply,
    StateText, TargetId, Terms, TrustedRoots,
};
use packcast_protocol::{
    AgentId, DeviceId, GroupName, Location, LocationName, Sha256Digest, UnixTime,
};

use crate::signer::Signer;

const DAY: u64 = 86_400;

/// The whole content of a state. Commit 1 has created all its groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) groups: BTreeMap<GroupName, Vec<StateEntry>>,
    pub(crate) members: BTreeMap<AgentId, Vec<GroupName>>,
    pub(crate) locations: BTreeMap<LocationName, Location>,
    pub(crate) rollouts: BTreeMap<RolloutId, RolloutDocument>,
}

/// A target with its key lists and commits.
pub(crate) struct StatePublisher {
    target: TargetId,
    root: Signer,
    /// The signer of the next commits: the root key at first.
    pub(crate) signer: Signer,
    /// The publisher keys of the latest list.
    publishers: Vec<PublicKey>,
    lists: Vec<(KeyListId, SignedKeyList)>,
    commits: Vec<SignedState>,
    /// The number of days for which the next commits are valid, from their time of signing.
    pub(crate) valid_days: u64,
    /// The number of days since the next commits were signed.
    pub(crate) signed_days_ago: u64,
    /// The commit in the replies, instead of the latest one.
    pub(crate) shown: Option<usize>,
    /// Changes each reply before it is sent.
    pub(crate) change: Option<fn(&mut StateReply)>,
    /// The largest number of documents in a reply.
    pub(crate) documents_at_once: usize,
    /// The summaries in the requests, in order.
    pub(crate) held: Vec<HeldState>,
}

/// A signed commit with its whole trees and documents.
struct SignedState {
    content: Content,
    id: CommitId,
    signed: SignedCommit,
    groups: PartialTree,
    devices: PartialTree,
    ancestors: PartialTree,
    documents: BTreeMap<Sha256Digest, DocumentText>,
}

impl Content {
    /// Returns a content that assigns these tasks to all devices. Each attempt is an entry of its
    /// own.
    pub(crate) fn of_tasks(
        tasks: &[Task],
        force: bool,
        locations: BTreeMap<LocationName, Location>,
    ) -> Self {
        let assigned = tasks.iter().map(|task| StateEntry {
            package: task.id,
            manifest: task.manifest_sha256,
            seq: task.attempt.into(),
            assignee: None,
            force,
            terms: Terms::default(),
        });
        let mut entries: Vec<StateEntry> = assigned.collect();
        entries.sort_by_key(|entry| entry.package);
        entries.dedup_by_key(|entry| entry.package);
        Self {
            groups: [(GroupName::all(), entries)].into(),
            locations,
            ..Self::default()
        }
    }

    /// Returns the content with these entries of a group.
    pub(crate) fn with(mut self, group: &str, entries: &[StateEntry]) -> Self {
        self.groups.insert(group.parse().unwrap(), entries.to_vec());
        self
    }

    /// Returns the content with a device in these groups.
    pub(crate) fn with_member(mut self, device: AgentId, groups: &[&str]) -> Self {
        let groups = groups.iter().map(|name| name.parse().unwrap());
        self.members.insert(device, groups.collect());
        self
    }

    pub(crate) fn with_location(mut self, name: &str, address: Location) -> Self {
        self.locations.insert(name.parse().unwrap(), address);
        self
    }
}

impl StatePublisher {
    /// Creates a target, whose root key and first publisher key is the one of `signer`.
    pub(crate) fn new(target: u8, signer: Signer) -> Self {
        let mut publisher = Self {
            target: TargetId::from_bytes([target; 16]),
            root: signer.clone(),
            signer,
            publishers: Vec::new(),
            lists: Vec::new(),
            commits: Vec::new(),
            valid_days: 30,
            signed_days_ago: 0,
            shown: None,
            change: None,
            documents_at_once: usize::MAX,
            held: Vec::new(),
        };
        let key = PublisherKey::unrestricted(publisher.signer.public());
        publisher.add_list(vec![key], UnixTime(unix_now() - 80 * DAY));
        publisher
    }

    /// Signs the next commits with another key. The keys before are named as retired.
    pub(crate) fn rotate(&mut self, signer: Signer) {
        let retired = self.publishers.iter().cloned().map(PublisherKey::retired);
        let keys = [PublisherKey::unrestricted(signer.public())];
        let keys = keys.into_iter().chain(retired).collect();
        self.add_list(keys, UnixTime(unix_now()));
        self.signer = signer;
    }

    /// Signs the next commits with another key, and removes all others.
    pub(crate) fn replace_key(&mut self, signer: Signer) {
        let key = PublisherKey::unrestricted(signer.public());
        self.add_list(vec![key], UnixTime(unix_now()));
        self.signer = signer;
    }

    fn add_list(&mut self, publishers: Vec<PublisherKey>, issued: UnixTime) {
        self.publishers = publishers.iter().map(|key| key.key.clone()).collect();
        let serial = self.lists.len() as u64 + 1;
        let list = KeyList::new(KeyListFields {
            target: self.target,
            serial,
            from: 0,
            roots: vec![self.root.public()],
            publishers,
            issued,
            expires: issued.plus(100 * DAY),
        });
        let text = list.unwrap().to_text();
        let digest = Sha256Digest::of(text.as_bytes());
        let signature = self.root.signature(text.as_bytes());
        let list = SignedKeyList::new(text, signature).unwrap();
        self.lists.push((KeyListId { serial, digest }, list));
    }

    /// Returns the trust line of the target.
    pub(crate) fn trust(&self) -> TrustedRoots {
        TrustedRoots::new(self.target, vec![self.root.public()]).unwrap()
    }

    /// Signs a commit with this content, unless the latest commit has the same.
    pub(crate) fn commit_if_changed(&mut self, content: Content) {
        let latest = self.commits.last();
        if latest.is_none_or(|latest| latest.content != content) {
            self.commit(content);
        }
    }

    /// Returns the text of the latest commit.
    pub(crate) fn latest_text(&self) -> &str {
        self.commits.last().unwrap().signed.text()
    }

    /// Signs a commit with this content, and returns its number.
    pub(crate) fn commit(&mut self, content: Content) -> u64 {
        let mut documents = BTreeMap::new();
        let (groups, devices) = content.leaves(&mut documents);
        let ancestors = self.commits.iter().map(|commit| commit.id);
        let ancestors = ancestors.map(|id| (LeafName::Commit(id.name()), id.digest));
        let ancestors = PartialTree::from_leaves(ancestors);
        let parent = self.commits.last().map(|commit| commit.id);
        let issued = UnixTime(unix_now() - self.signed_days_ago * DAY);
        let commit = Commit::new(CommitFields {
            target: self.target,
            keys: self.lists.last().unwrap().0,
            number: next_number(parent, 0, issued),
            parent,
            groups: groups.root(),
            devices: devices.root(),
            ancestors: ancestors.root(),
            issued,
            expires: issued.plus(self.valid_days * DAY),
            about: Sha256Digest::of(b"about"),
        });
        let commit = commit.unwrap();
        let id = CommitId::of(&commit);
        let text = commit.to_text();
        let signature = self.signer.signature(text.as_bytes());
        self.commits.push(SignedState {
            content,
            id,
            signed: SignedCommit::new(text, signature).unwrap(),
            groups,
            devices,
            ancestors,
            documents,
        });
        id.number
    }

    /// Returns the parts of the shown state that a device lacks.
    pub(crate) fn reply(&mut self, device: &AgentId, held: HeldState) -> Option<StateText> {
        let reply = self.reply_to(device, &held);
        self.held.push(held);
        reply.map(|reply| StateText::new(&reply).unwrap())
    }

    /// Returns the parts of the shown state for a device that holds this.
    pub(crate) fn reply_to(&self, device: &AgentId, held: &HeldState) -> Option<StateReply> {
        let state = match self.shown {
            Some(index) => &self.commits[index],
            None => self.commits.last()?,
        };
        let has_commit = held.commit == Some(state.id);
        let has_list = held.keys == self.lists.last().map(|(id, _)| *id);
        if has_commit && has_list && held.lacks.is_empty() && self.change.is_none() {
            return None;
        }
        let held_commit = held.commit.map(|id| LeafName::Commit(id.name()));
        let lacks = held.lacks.iter().cloned();
        let lacking_commits = lacks
            .clone()
            .filter(|name| matches!(name, LeafName::Commit(_)));
        let ancestors: Vec<LeafName> = held_commit.into_iter().chain(lacking_commits).collect();
        let lacking_others =
            lacks.filter(|name| matches!(name, LeafName::Location(_) | LeafName::Rollout(_)));
        let names: BTreeSet<LeafName> = state
            .content
            .groups_of(device)
            .into_iter()
            .map(LeafName::Group)
            .chain(lacking_others)
            .collect();
        let own = LeafName::Device(DeviceId::Agent(device.clone()));
        let groups = state.groups.prove(&names).unwrap();
        let devices = state.devices.prove([&own]).unwrap();
        // The device's document first, because it names the groups.
        let leaves = devices.leaves().chain(groups.leaves());
        let needed = leaves.filter(|(name, _)| **name == own || names.contains(name));
        let is_new = |digest: &Sha256Digest| !held.documents.contains(&DigestPrefix::of(digest));
        let new = needed.map(|(_, digest)| digest).filter(is_new);
        let new: Vec<Sha256Digest> = new.collect();
        let sent = new.iter().take(self.documents_at_once);
        let lists = self.lists.iter();
        let new_lists =
            lists.filter(|(id, _)| held.keys.is_none_or(|held| id.serial > held.serial));
        let mut reply = StateReply {
            lists: new_lists.map(|(_, list)| list.clone()).collect(),
            of: Some(state.id),
            commit: (!has_commit).then(|| state.signed.clone()),
            groups: Some(groups),
            devices: Some(devices),
            ancestors: Some(state.ancestors.prove(&ancestors).unwrap()),
            documents: sent.map(|digest| state.documents[digest].clone()).collect(),
            more: new.len() > self.documents_at_once,
        };
        if let Some(change) = self.change {
            change(&mut reply);
        }
        Some(reply)
    }
}

impl Content {
    fn groups_of(&self, device: &AgentId) -> Vec<GroupName> {
        let groups = self.members.get(device).into_iter().flatten().cloned();
        groups.chain([GroupName::all()]).collect()
    }

    /// Returns the trees of groups and of devices, and adds their documents.
    fn leaves(
        &self,
        documents: &mut BTreeMap<Sha256Digest, DocumentText>,
    ) -> (PartialTree, PartialTree) {
        let mut groups = Vec::new();
        for (name, entries) in &self.groups {
            let created = u64::from(!name.is_all());
            let mut document = GroupDocument::empty(created, 1);
            document.packages = Entries::new(entries.clone()).unwrap();
            groups.push((LeafName::Group(name.clone()), add(documents, document)));
        }
        for (name, url) in &self.locations {
            let document = LocationDocument::new(url.clone());
            groups.push((LeafName::Location(name.clone()), add(documents, document)));
        }
        for (id, rollout) in &self.rollouts {
            groups.push((LeafName::Rollout(*id), add(documents, rollout.clone())));
        }
        let mut devices = Vec::new();
        for (device, members) in &self.members {
            let members = members.iter().map(|name| (name.clone(), 1));
            let members = DeviceGroups::new(members.collect()).unwrap();
            let document = DeviceDocument::new(members, Entries::default());
            let name = LeafName::Device(DeviceId::Agent(device.clone()));
            devices.push((name, add(documents, document)));
        }
        (
            PartialTree::from_leaves(groups),
            PartialTree::from_leaves(devices),
        )
    }
}

fn add(
    documents: &mut BTreeMap<Sha256Digest, DocumentText>,
    document: impl StateDocument,
) -> Sha256Digest {
    let document = Document::new(document);
    documents.insert(document.digest(), document.text().clone());
    document.digest()
}

pub(crate) fn unix_now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs()
}
