//! Signed states of the tests, in which the group `all` has at most one package.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use minisign::KeyPair;
use packcast_protocol::signature::PublicKey;
use packcast_protocol::state::signed_text::TargetDocument;
use packcast_protocol::state::{
    Commit, CommitFields, CommitId, Document, Entries, GroupDocument, KeyList, KeyListFields,
    KeyListId, LeafName, NodeHash, PartialTree, PublisherKey, SignedText, StateEntry, StateReply,
    StateText, TargetId, Terms, TrustedRoots, VerifiedState,
};
use packcast_protocol::{AgentId, GroupName, PackageId, Sha256Digest, UnixTime};

use super::permits::Permits;
use crate::state::journal::Permission;

const TARGET: TargetId = Permission::TARGET;

/// The time at which all documents were signed. They expire after 90 days.
pub(crate) const SIGNED: UnixTime = UnixTime(1_795_000_000);

static KEY: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate_unencrypted_keypair().unwrap());

fn public() -> PublicKey {
    KEY.pk.to_base64().parse().unwrap()
}

fn sign<D: TargetDocument, const MAX: usize>(document: &D) -> SignedText<D, MAX> {
    let text = document.to_text();
    let signature = minisign::sign(None, &KEY.sk, text.as_bytes(), None, None).unwrap();
    SignedText::new(text, signature.into_string()).unwrap()
}

/// Returns an entry of a package, by seq and force.
pub(crate) fn entry(
    package: PackageId,
    manifest: Sha256Digest,
    seq: u64,
    force: bool,
) -> StateEntry {
    StateEntry {
        package,
        manifest,
        seq,
        assignee: None,
        force,
        terms: Terms::default(),
    }
}

/// Returns the permits of a device that holds no state.
pub(crate) fn without_state() -> Permits {
    permits(empty())
}

/// Returns the permits of a device whose whole state assigns this to the group `all`.
pub(crate) fn permits_of_all(assigned: Option<StateEntry>) -> Permits {
    let mut state = empty();
    let accepted = state.accept(&whole_state(assigned), &BTreeSet::new());
    assert!(accepted.refused.is_empty(), "{:?}", accepted.refused);
    permits(state)
}

/// Returns a whole state that assigns this to the group `all`.
pub(crate) fn whole_state(assigned: Option<StateEntry>) -> StateText {
    let mut document = GroupDocument::empty(0, 1);
    document.packages = Entries::new(Vec::from_iter(assigned)).unwrap();
    let document = Document::new(document);
    let all = LeafName::Group(GroupName::all());
    let groups = PartialTree::from_leaves([(all, document.digest())]);
    let expires = SIGNED.plus(90 * 86_400);
    let list = KeyList::new(KeyListFields {
        target: TARGET,
        serial: 1,
        from: 0,
        roots: vec![public()],
        publishers: vec![PublisherKey::unrestricted(public())],
        issued: SIGNED,
        expires,
    });
    let commit = Commit::new(CommitFields {
        target: TARGET,
        keys: KeyListId {
            serial: 1,
            digest: Sha256Digest::of(b"list"),
        },
        number: SIGNED.0,
        parent: None,
        groups: groups.root(),
        devices: NodeHash::EMPTY,
        ancestors: NodeHash::EMPTY,
        issued: SIGNED,
        expires,
        about: Sha256Digest::of(b"about"),
    });
    let commit = commit.unwrap();
    let reply = StateReply {
        lists: vec![sign(&list.unwrap())],
        of: Some(CommitId::of(&commit)),
        commit: Some(sign(&commit)),
        groups: Some(groups),
        documents: vec![document.text().clone()],
        ..StateReply::default()
    };
    StateText::new(&reply).unwrap()
}

pub(crate) fn trust() -> TrustedRoots {
    TrustedRoots::new(TARGET, vec![public()]).unwrap()
}

pub(crate) fn device() -> AgentId {
    AgentId::of_public_key(&[1; 32])
}

fn empty() -> VerifiedState {
    VerifiedState::new(device(), trust(), SIGNED, [])
}

fn permits(state: VerifiedState) -> Permits {
    Permits {
        state: Arc::new(state),
        locations: BTreeSet::new(),
        manifest: None,
        clock: SIGNED,
    }
}
