//! The head of a target, verified from the root keys on.

use packcast_protocol::UnixTime;
use packcast_protocol::signature::PublicKey;
use packcast_protocol::state::{
    Commit, CommitId, KeyChain, KeyList, SignedKeyList, TrustedRoots, VerifiedCommit,
};
use packcast_rollout::memory::{Memory, SignedList};
use packcast_store::Records;
use packcast_store::records::{Head, RecordedHead};

use super::error::StateError;
use super::trees::Trees;

/// The state of a target at one time.
#[derive(Clone, Debug)]
pub struct TargetState {
    /// The key lists, from the root keys of the target on.
    pub chain: KeyChain,
    /// The head. `None` before the first commit.
    pub head: Option<VerifiedHead>,
    pub trees: Trees,
    /// The commit that has these trees, the parent of the next commit: the head, or an earlier
    /// commit.
    pub(super) parent: Option<CommitId>,
    /// All lists on record. The chain does not keep those that a later one renews.
    recorded: Vec<SignedKeyList>,
    trust: TrustedRoots,
}

/// A head that a publisher key of the newest key list has signed. It may have expired.
#[derive(Clone, Debug)]
pub struct VerifiedHead {
    pub stored: Head,
    pub commit: VerifiedCommit,
}

impl TargetState {
    /// Reads the head and the key lists, and verifies them.
    pub async fn read(records: &Records, trust: &TrustedRoots) -> Result<Self, StateError> {
        // The head first: a key list that belongs to it is stored with it.
        let head = records.head().await?;
        let mut chain = KeyChain::new(trust.clone());
        // A list that is refused does not matter: the table may have any number of forged lists.
        let recorded = records.lists_after(0).await?;
        let _ = chain.follow_all(&recorded);
        let head = head.map(|head| verified(head, &chain)).transpose()?;
        let trees = Trees::of(head.as_ref().map(|head| &**head.commit));
        let parent = head.as_ref().map(|head| head.commit.id());
        Ok(Self {
            chain,
            head,
            trees,
            parent,
            recorded,
            trust: trust.clone(),
        })
    }

    /// Goes to the state of another commit, to make a commit that leaves out the head.
    pub(super) fn go_to(&mut self, commit: &Commit) {
        self.trees = Trees::of(Some(commit));
        self.parent = Some(CommitId::of(commit));
    }

    /// Follows the key lists that this machine remembers. Returns those which the table lacks and
    /// which lead to the newest list.
    pub(super) fn follow_remembered(&mut self, memory: &Memory) -> Vec<SignedList> {
        // The chain refuses a remembered list that a list of a higher root key has replaced.
        let _ = self.chain.follow_all(memory.lists().map(|(_, list)| list));
        let is_lacking = |list: &SignedKeyList| {
            !self.recorded.contains(list) && self.chain.lists().any(|it| it == list)
        };
        let lists = memory.lists().filter(|(_, list)| is_lacking(list));
        let lists = lists.map(|(id, signed)| SignedList {
            id,
            signed: signed.clone(),
        });
        lists.collect()
    }

    /// Returns the key lists on record that the present root keys, or those of the configuration,
    /// have signed.
    pub(super) fn key_lists(&self) -> Vec<KeyList> {
        let target = self.chain.target();
        let roots = [self.chain.roots(), self.trust.roots()].concat();
        let lists = self.recorded.iter();
        lists
            .filter_map(|list| Some((*list.verify(target, &roots).ok()?).clone()))
            .collect()
    }

    /// Returns the end of the validity of the newest key list. `None` before the first list.
    pub(super) fn keys_expire(&self) -> Option<UnixTime> {
        self.chain.newest().map(|list| list.expires())
    }

    /// Returns the publisher keys that the newest key list names, retired ones included.
    pub fn keys(&self) -> Vec<PublicKey> {
        self.chain.named()
    }
}

impl VerifiedHead {
    /// Returns the head as the table records it if all records up to it are complete.
    pub(super) const fn recorded(&self) -> RecordedHead {
        RecordedHead {
            order: self.stored.order,
            commit: self.stored.commit.id,
        }
    }
}

fn verified(stored: Head, chain: &KeyChain) -> Result<VerifiedHead, StateError> {
    let list = chain.newest().ok_or(StateError::NoKeyList)?;
    let signed = &stored.commit.signed;
    let commit = signed.verify(chain.target(), &chain.signing());
    let commit = commit.map_err(StateError::Head)?;
    if commit.id() != stored.commit.id {
        return Err(StateError::OtherCommit {
            expected: stored.commit.id,
            found: commit.id(),
        });
    }
    // A list and the commits that name it are stored together, and lists are never deleted.
    if commit.keys.serial > list.serial() {
        return Err(StateError::NoListOf {
            commit: commit.id(),
            serial: commit.keys.serial,
        });
    }
    if !list.accepts_number(commit.number) {
        return Err(StateError::BelowList {
            commit: commit.id(),
            serial: list.serial(),
        });
    }
    Ok(VerifiedHead { stored, commit })
}
