//! Commits of a target for tests, signed with the key that all tests sign with.

use packcast_protocol::state::commit::next_number;
use packcast_protocol::state::key_list::KeyListFields;
use packcast_protocol::state::signed_text::TargetDocument as _;
use packcast_protocol::state::{
    Commit, CommitFields, CommitId, KeyList, KeyListId, NodeHash, PublisherKey, SignedCommit,
    SignedKeyList, TargetId, TrustedRoots,
};
use packcast_protocol::{Sha256Digest, UnixTime};
use packcast_store::records::{CommitRecord, Head};

use crate::signing::{signing, trusted};

/// Target of all commits of tests.
pub const TARGET: TargetId = TargetId::from_bytes([7; 16]);

/// Returns the first key list of the target, as [`key_list`] does.
pub fn first_key_list(issued: UnixTime) -> (KeyListId, SignedKeyList) {
    key_list(1, issued)
}

/// Returns the key list of the target with this serial number. The key of all tests is its root key
/// and its only publisher key. The list is valid for 90 days.
///
/// # Panics
/// The serial number is 0.
pub fn key_list(serial: u64, issued: UnixTime) -> (KeyListId, SignedKeyList) {
    let key = &trusted()[0];
    let list = KeyList::new(KeyListFields {
        target: TARGET,
        serial,
        from: 0,
        roots: vec![key.clone()],
        publishers: vec![PublisherKey::unrestricted(key.clone())],
        issued,
        expires: issued.plus(90 * 86_400),
    });
    let text = list.expect("the list is valid").to_text();
    let id = KeyListId {
        serial,
        digest: Sha256Digest::of(text.as_bytes()),
    };
    let signature = (signing().sign)(&text).expect("the test key signs");
    let signed = SignedKeyList::new(text, signature);
    (id, signed.expect("the list is small"))
}

/// Returns target and root key, as a configuration names them.
///
/// # Panics
/// Never: one root key is enough.
pub fn trust() -> TrustedRoots {
    TrustedRoots::new(TARGET, trusted().to_vec()).expect("one root key")
}

/// Returns a commit that follows a head, with this root of devices.
///
/// # Panics
/// The clock is too far from the number of the head.
pub fn commit_after(head: Option<&Head>, devices: NodeHash, now: UnixTime) -> CommitRecord {
    let parent = head.map(|head| head.commit.id);
    let number = next_number(parent, 0, now);
    signed_commit(CommitFields {
        target: TARGET,
        keys: KeyListId {
            serial: 1,
            digest: Sha256Digest::of(b"key list"),
        },
        number,
        parent,
        groups: NodeHash::EMPTY,
        devices,
        ancestors: NodeHash::EMPTY,
        issued: now,
        expires: now.plus(86_400),
        about: Sha256Digest::of(b"about"),
    })
}

/// Returns the commit with these fields.
///
/// # Panics
/// The fields contradict each other.
pub fn signed_commit(fields: CommitFields) -> CommitRecord {
    let commit = Commit::new(fields).expect("the fields agree");
    let text = commit.to_text();
    let signature = (signing().sign)(&text).expect("the test key signs");
    CommitRecord {
        id: CommitId::of(&commit),
        signed: SignedCommit::new(text, signature).expect("the commit is small"),
    }
}
