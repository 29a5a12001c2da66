//! States that an attacker sends instead of the genuine ones, and their parts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use packcast_check_in::state::{StateCache, StateQuestion};
use packcast_protocol::signature::PublicKey;
use packcast_protocol::state::commit::next_number;
use packcast_protocol::state::key_list::KeyListFields;
use packcast_protocol::state::signed_text::TargetDocument as _;
use packcast_protocol::state::{
    AboutDocument, Commit, CommitFields, CommitId, Document, DocumentText, Entries, GroupDocument,
    HeldState, KeyList, LeafName, LocationDocument, PartialTree, PublisherKey, SignedCommit,
    SignedKeyList, StateEntry, StateReply, StateText, Terms, TrustedRoots,
};
use packcast_protocol::{DeviceId, GroupName, LocationName, Sha256Digest, UnixTime};
use packcast_publisher::signing::SigningKey;
use packcast_publisher::signing::memory_file::MemoryFile;
use packcast_publisher::state::{CommitRequest, Committed, Committer, TargetState, complete};
use packcast_publisher::{Progress, local};
use packcast_rollout::PackageRecord;
use packcast_rollout::state::{EntryOwner, NewAssignment, StateChange};
use packcast_store::Records;
use packcast_store::records::SignError;
use serde_json::{Value, json};

use super::attacked_system::{AttackResult, AttackedSystem};
use crate::tree::Tree;

/// A commit of the attacker, with all its trees and documents. It assigns a package to all devices.
#[derive(Clone, Debug)]
pub struct ForgedState {
    /// Everything but the roots of the trees, which follow from the other fields.
    pub fields: CommitFields,
    pub groups: BTreeMap<LeafName, DocumentText>,
    pub ancestors: BTreeMap<LeafName, Sha256Digest>,
    pub lists: Vec<SignedKeyList>,
}

impl ForgedState {
    /// Follows the newest genuine commit. Signed by the publisher's key, devices would accept the
    /// state and run the package.
    pub fn assigning(system: &AttackedSystem, package: &PackageRecord) -> Self {
        let head = system.head();
        let ancestors = head.trees.ancestors.tree().leaves();
        let mut ancestors: BTreeMap<_, _> = ancestors
            .map(|(name, digest)| (name.clone(), digest))
            .collect();
        let commit = head.head.expect("there is a commit").commit;
        let parent = commit.id();
        ancestors.insert(LeafName::Commit(parent.name()), parent.digest);
        let now = clock();
        let number = next_number(Some(parent), 0, now);
        let fields = CommitFields {
            target: commit.target,
            keys: commit.keys,
            number,
            parent: Some(parent),
            groups: commit.groups,
            devices: PartialTree::from_leaves([]).root(),
            ancestors: commit.ancestors,
            issued: now,
            expires: now.plus(86_400),
            about: commit.about,
        };
        Self {
            fields,
            groups: groups(package, number),
            ancestors,
            lists: Vec::new(),
        }
    }

    /// Signs the commit, and returns the reply with all parts of the state.
    pub fn signed_by(&self, key: &SigningKey) -> StateReply {
        let leaves = self.groups.iter();
        let leaves = leaves.map(|(name, text)| (name.clone(), text.digest()));
        let groups = PartialTree::from_leaves(leaves);
        let ancestors = self.ancestors.iter();
        let ancestors = ancestors.map(|(name, digest)| (name.clone(), *digest));
        let ancestors = PartialTree::from_leaves(ancestors);
        let commit = Commit::new(CommitFields {
            groups: groups.root(),
            ancestors: ancestors.root(),
            ..self.fields.clone()
        });
        let commit = commit.expect("the fields agree");
        let text = commit.to_text();
        let signature = key.sign(text.as_bytes(), "").expect("a key signs");
        let signed = SignedCommit::new(text, signature).expect("the commit is small");
        StateReply {
            lists: self.lists.clone(),
            of: Some(CommitId::of(&commit)),
            commit: Some(signed),
            groups: Some(groups),
            devices: Some(PartialTree::from_leaves([])),
            ancestors: Some(ancestors),
            documents: self.groups.values().cloned().collect(),
            more: false,
        }
    }
}

/// Returns the documents of the group `all`, which has one package, and of the package's locations.
fn groups(package: &PackageRecord, seq: u64) -> BTreeMap<LeafName, DocumentText> {
    let published = package.published().expect("the package is published");
    let mut all = GroupDocument::empty(0, seq);
    let entry = StateEntry {
        package: package.id,
        manifest: published.manifest,
        seq,
        assignee: None,
        force: true,
        terms: Terms::default(),
    };
    all.packages = Entries::new(vec![entry]).expect("one package is not too many");
    let all = Document::new(all).text().clone();
    let locations = package.locations.iter().map(|at| {
        let document = Document::new(LocationDocument::new(at.location.clone()));
        let name = LeafName::Location(at.name.clone());
        (name, document.text().clone())
    });
    locations
        .chain([(LeafName::Group(GroupName::all()), all)])
        .collect()
}

impl AttackedSystem {
    /// Returns target and root keys of the world.
    pub fn trust(&self) -> TrustedRoots {
        local::trust(&self.world.local_dir()).expect("packcast local creates a target id")
    }

    /// Returns the verified head of the world, with all its ancestors.
    pub fn head(&self) -> TargetState {
        Tree::of(&self.world).ask(async |records| {
            let state = TargetState::read(records, &self.trust()).await;
            let mut state = state.expect("the head can be verified");
            let loaded = state.trees.load_ancestors(records).await;
            loaded.expect("the head is complete");
            state
        })
    }

    /// Returns the whole state for a device, built by the genuine function. It shows all ancestors,
    /// whatever the device holds.
    pub fn state_of(&self, device: &str) -> StateReply {
        let device: DeviceId = device.parse().expect("a device has an id");
        let cache = StateCache::new(self.trust(), 0);
        let question = StateQuestion {
            device: &device,
            held: &HeldState::default(),
            facts: None,
            locations: &self.location_names(),
            has_new_task: true,
        };
        let reply = Tree::of(&self.world)
            .ask(async |records| cache.reply(records, question, clock()).await);
        let reply = reply.expect("the state is readable");
        StateReply {
            ancestors: Some(self.head().trees.ancestors.tree().clone()),
            ..reply.expect("a device without a state receives one")
        }
    }

    /// Returns the whole state for the attacked device.
    pub fn own_state(&self) -> StateReply {
        self.state_of(self.device.id())
    }

    fn location_names(&self) -> BTreeSet<LocationName> {
        let recorded = Tree::of(&self.world).ask(async |records| records.locations().await);
        let recorded = recorded.expect("the locations are readable");
        recorded.into_iter().map(|at| at.name).collect()
    }

    /// Announces a package from now on, with this state instead of the genuine one.
    pub fn announce_with(&self, package: &PackageRecord, state: Option<&StateReply>) {
        self.send(vec![self.task(package)], state);
    }

    /// Sends these tasks and this state from now on, instead of the genuine ones.
    pub fn send(&self, tasks: Vec<Value>, state: Option<&StateReply>) {
        let state = state.map(|reply| StateText::new(reply).expect("the state fits into a reply"));
        self.function.edit(move |reply| {
            reply["tasks"] = json!(tasks);
            reply["cancel"] = json!([]);
            reply["state"] = json!(state);
        });
    }

    /// Announces a package with a state, and lets the agent run.
    pub fn attempt_with(&self, package: &PackageRecord, state: &StateReply) -> AttackResult {
        self.announce_with(package, Some(state));
        self.attempt()
    }

    /// Assigns a package to all devices by this digest of its manifest, as a publisher who checks
    /// nothing.
    pub fn assign_unchecked(&self, package: &PackageRecord, manifest: Sha256Digest) {
        let assignment = NewAssignment {
            package: package.id,
            manifest,
            force: false,
            terms: Terms::default(),
        };
        let to = EntryOwner::Group(GroupName::all());
        self.change_state(&[StateChange::Assign { to, assignment }]);
    }

    /// Makes changes of the state in one commit, with the records that follow from it.
    pub fn change_state(&self, changes: &[StateChange]) {
        Tree::of(&self.world).ask(async |records| self.commit(records, changes).await);
    }

    async fn commit(&self, records: &Records, changes: &[StateChange]) {
        let (trust, key) = (self.trust(), self.key());
        let path = self.world.local_dir().join("commits.jsonl");
        let memory = MemoryFile::open(&path, &trust).await;
        let mut memory = memory.expect("the memory is readable");
        let public = key.public().clone();
        let sign = move |text: &str| key.sign(text.as_bytes(), "").map_err(SignError::new);
        let mut committer = Committer {
            records,
            trust: &trust,
            key: &public,
            sign: &sign,
            memory: &mut memory,
            clock: &clock,
        };
        let request = CommitRequest {
            changes,
            about: AboutDocument::shortened("ada", "laptop", "", ""),
            valid_for_s: 86_400,
        };
        let outcome = committer.commit(&request).await;
        let outcome = outcome.expect("the change is possible");
        assert!(matches!(outcome, Committed::Done { .. }), "{outcome:?}");
        let completed = complete(records, &trust, clock(), &Progress::none()).await;
        completed.expect("the records can be completed");
    }

    /// Returns a key list of the target, with these root keys and publisher keys.
    pub fn key_list(
        &self,
        serial: u64,
        roots: &[&SigningKey],
        publishers: &[&SigningKey],
        signer: &SigningKey,
    ) -> SignedKeyList {
        self.key_list_from(0, serial, roots, publishers, signer)
    }

    /// Returns a key list as [`AttackedSystem::key_list`] does. It accepts commits with this number
    /// or a higher one.
    pub fn key_list_from(
        &self,
        from: u64,
        serial: u64,
        roots: &[&SigningKey],
        publishers: &[&SigningKey],
        signer: &SigningKey,
    ) -> SignedKeyList {
        let public = |keys: &[&SigningKey]| -> Vec<PublicKey> {
            keys.iter().map(|key| key.public().clone()).collect()
        };
        let publishers = public(publishers).into_iter();
        let issued = clock();
        let list = KeyList::new(KeyListFields {
            target: self.trust().target(),
            serial,
            from,
            roots: public(roots),
            publishers: publishers.map(PublisherKey::unrestricted).collect(),
            issued,
            expires: issued.plus(86_400),
        });
        let text = list.expect("the fields agree").to_text();
        let signature = signer.sign(text.as_bytes(), "").expect("a key signs");
        SignedKeyList::new(text, signature).expect("the list is small")
    }
}

/// Returns the time of this machine.
pub fn clock() -> UnixTime {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    UnixTime(now.expect("the clock is past 1970").as_secs())
}
