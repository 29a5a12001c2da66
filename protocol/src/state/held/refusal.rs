//! Errors from parts of a state that a device does not accept.

use crate::digest::Sha256Digest;
use crate::state::commit::CommitId;
use crate::state::exchange::{RefusalWord, RefusedState, StateTextError};
use crate::state::key_list::KeyChainError;
use crate::state::partial::{MAX_DEVICE_TREE_BYTES, PartialTreeError};
use crate::state::signed_text::SignedTextError;
use crate::state::target::TargetId;
use crate::state::trie::NodeHash;

/// Errors from accepting a part of a state. The device keeps its own state, and reports the error.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("cannot accept a state")]
    Unreadable(#[from] StateTextError),
    #[error("cannot follow a key list")]
    KeyList(#[from] KeyChainError),
    #[error("cannot accept a commit with SHA-256 {given}")]
    Commit {
        given: Sha256Digest,
        #[source]
        source: SignedTextError,
    },
    #[error(
        "cannot accept commit {}: it names key list {keys}, and the device follows key list {held}",
        given.number
    )]
    ListNotHeld {
        given: CommitId,
        keys: u64,
        held: u64,
    },
    #[error(
        "cannot accept commit {}: key list {held} is older than key list {acted}, under which the device has acted",
        given.number
    )]
    OldKeyList {
        given: CommitId,
        held: u64,
        acted: u64,
    },
    #[error("cannot accept commit {}: key list {list} accepts commits from {from} on", given.number)]
    BeforeList {
        given: CommitId,
        list: u64,
        from: u64,
    },
    #[error(
        "cannot accept commit {}: the device has accepted the later commit {}",
        given.number, held.number
    )]
    NotLater { given: CommitId, held: CommitId },
    #[error(
        "cannot accept commit {given}: the device has accepted another commit with the same number, {held}"
    )]
    Fork { given: CommitId, held: CommitId },
    #[error(
        "cannot accept commit {}: it leaves out commit {held}, which the device has accepted: adopt the left-out commit on the publisher's machine",
        given.number
    )]
    LeavesOut { given: CommitId, held: CommitId },
    #[error(
        "cannot accept commit {}: the reply does not show that it contains commit {held}, which the device has accepted",
        given.number
    )]
    NotShown { given: CommitId, held: CommitId },
    #[error("cannot accept parts of commit {}: the device holds another commit", given.number)]
    OtherCommit { given: CommitId },
    #[error("discarded commit {}: key list {list} does not name its key", held.number)]
    KeyRemoved { held: CommitId, list: u64 },
    #[error("discarded commit {}: key list {list} accepts commits from {from} on", held.number)]
    Discarded {
        held: CommitId,
        list: u64,
        from: u64,
    },
    #[error(
        "cannot accept the tree of {kind}: it belongs to another state: expected root {expected}, found {found}"
    )]
    OtherState {
        kind: &'static str,
        expected: NodeHash,
        found: NodeHash,
    },
    #[error("cannot accept the tree of {kind}")]
    Tree {
        kind: &'static str,
        #[source]
        source: PartialTreeError,
    },
    #[error(
        "cannot accept the tree of {kind}: the part for this device has {bytes} bytes, at most {MAX_DEVICE_TREE_BYTES} are allowed"
    )]
    TreeTooLarge { kind: &'static str, bytes: usize },
    #[error("the stored state belongs to another target: expected {expected}, found {found}")]
    OtherTarget { expected: TargetId, found: TargetId },
}

impl Refusal {
    /// Returns the refused state for the next request; `None` if no state was refused, but a key
    /// list or a stored part.
    pub(super) const fn state(&self, of: Option<CommitId>) -> Option<RefusedState> {
        let reason = match self {
            Self::Unreadable(_) => RefusalWord::Unreadable,
            Self::Commit { source, .. } => match source {
                SignedTextError::Signature { .. } => RefusalWord::Key,
                SignedTextError::Json { .. } | SignedTextError::NotCanonical { .. } => {
                    RefusalWord::Unreadable
                }
                SignedTextError::OtherTarget { .. } => RefusalWord::Target,
            },
            Self::ListNotHeld { .. } | Self::OldKeyList { .. } => RefusalWord::Key,
            Self::BeforeList { .. } | Self::NotLater { .. } => RefusalWord::Stale,
            Self::Fork { .. } => RefusalWord::Fork,
            Self::LeavesOut { .. } => RefusalWord::LeavesOut,
            Self::NotShown { .. } => RefusalWord::NotShown,
            Self::OtherCommit { .. }
            | Self::OtherState { .. }
            | Self::Tree { .. }
            | Self::TreeTooLarge { .. } => RefusalWord::Tree,
            Self::KeyList(_)
            | Self::KeyRemoved { .. }
            | Self::Discarded { .. }
            | Self::OtherTarget { .. } => return None,
        };
        Some(RefusedState { commit: of, reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::messages;
    use crate::signature::SignatureError;

    #[test]
    fn error_messages() {
        let id = |text: &[u8]| CommitId {
            number: 7,
            digest: Sha256Digest::of(text),
        };
        let untrusted = |name| SignedTextError::Signature {
            name,
            source: SignatureError::UntrustedKey,
        };
        let kind = "groups";
        let (given, held) = (id(b"1"), id(b"2"));
        let target = |byte| TargetId::from_bytes([byte; 16]);
        insta::assert_snapshot!(messages([
            Refusal::Unreadable(StateTextError::NoCommit),
            Refusal::KeyList(KeyChainError::Refused(untrusted("key list"))),
            Refusal::Commit {
                given: given.digest,
                source: untrusted("commit"),
            },
            Refusal::ListNotHeld {
                given,
                keys: 3,
                held: 2,
            },
            Refusal::OldKeyList {
                given,
                held: 2,
                acted: 3,
            },
            Refusal::BeforeList {
                given,
                list: 2,
                from: 9,
            },
            Refusal::NotLater { given, held },
            Refusal::Fork { given, held },
            Refusal::LeavesOut { given, held },
            Refusal::NotShown { given, held },
            Refusal::OtherCommit { given },
            Refusal::KeyRemoved { held, list: 2 },
            Refusal::Discarded {
                held,
                list: 2,
                from: 9,
            },
            Refusal::OtherState {
                kind,
                expected: NodeHash::EMPTY,
                found: NodeHash::from_bytes([1; 32]),
            },
            Refusal::Tree {
                kind,
                source: PartialTreeError::NotCanonical,
            },
            Refusal::TreeTooLarge {
                kind,
                bytes: 70_000,
            },
            Refusal::OtherTarget {
                expected: target(1),
                found: target(2),
            },
        ]), @"
        cannot accept a state: the state does not name the commit of its parts
        cannot follow a key list: cannot verify the key list: the signature is not by a trusted key
        cannot accept a commit with SHA-256 6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b: cannot verify the commit: the signature is not by a trusted key
        cannot accept commit 7: it names key list 3, and the device follows key list 2
        cannot accept commit 7: key list 2 is older than key list 3, under which the device has acted
        cannot accept commit 7: key list 2 accepts commits from 9 on
        cannot accept commit 7: the device has accepted the later commit 7
        cannot accept commit 7-6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b: the device has accepted another commit with the same number, 7-d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35
        cannot accept commit 7: it leaves out commit 7-d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35, which the device has accepted: adopt the left-out commit on the publisher's machine
        cannot accept commit 7: the reply does not show that it contains commit 7-d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35, which the device has accepted
        cannot accept parts of commit 7: the device holds another commit
        discarded commit 7: key list 2 does not name its key
        discarded commit 7: key list 2 accepts commits from 9 on
        cannot accept the tree of groups: it belongs to another state: expected root 0000000000000000000000000000000000000000000000000000000000000000, found 0101010101010101010101010101010101010101010101010101010101010101
        cannot accept the tree of groups: the tree is not in canonical form
        cannot accept the tree of groups: the part for this device has 70000 bytes, at most 65536 are allowed
        the stored state belongs to another target: expected aeaqcaibaeaqcaibaeaqcaibae, found aibaeaqcaibaeaqcaibaeaqcai
        ");
    }
}
