//! The history of a target: its commits, from the newest back to the first.
//!
//! The head names its parent by its digest, the parent names its own parent, and so on. So a person
//! who trusts the head knows each earlier commit, even if the table has other commits on record. The
//! signatures are verified as well, each with the publisher keys of the key list of its time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use packcast_protocol::Sha256Digest;
use packcast_protocol::signature::PublicKey;
use packcast_protocol::state::key_list::KeyChainError;
use packcast_protocol::state::signed_text::SignedTextError;
use packcast_protocol::state::{
    Commit, CommitId, CommitName, KeyChain, KeyListId, LeafName, SignedKeyList, TargetId,
    TrustedRoots, VerifiedKeyList,
};
use packcast_rollout::EventTime;
use packcast_store::Records;
use packcast_store::records::OrderedCommit;

use super::adopt::trees_before;
use super::error::StateError;
use super::reader::TargetState;
use super::trees::Trees;

/// Number of commits that one query reads: about 700 KB.
const COMMITS_AT_ONCE: usize = 500;

/// The commits of a target, the newest first.
pub struct History<'a> {
    records: &'a Records,
    /// The key lists of every time.
    pub lists: KeyLists,
    next: NextCommit,
    stored: VecDeque<OrderedCommit>,
    /// Number of commits that one query reads.
    at_once: usize,
    /// The next query reads commits with numbers below this one. `None` after the last query.
    below: Option<u64>,
    last_read: Option<CommitName>,
    /// State of the target at its head.
    pub state: TargetState,
}

/// A commit of the history, or a commit that the table has on record beside it.
#[derive(Debug)]
pub struct PastCommit {
    pub id: CommitId,
    /// The content. `None` if the table has lost the commit, or if the content cannot be trusted.
    pub commit: Option<Commit>,
    /// Number of the change of the head that stored the commit, as the table has it on record.
    pub order: Option<u64>,
    /// Time at which the commit became the head, as the table has it on record.
    pub at: Option<EventTime>,
    /// The publisher key that has signed the commit. `None` if no signature verifies.
    pub signer: Option<PublicKey>,
    pub standing: CommitStanding,
}

/// The standing of a commit in the history of a target.
#[derive(Debug)]
pub enum CommitStanding {
    /// The commit is in the history of the head, and a publisher key of its time has signed it.
    Verified,
    /// A publisher key of its time has signed the commit, and the history of the head leaves it
    /// out: a later commit has replaced it, for example after a key was stolen.
    Replaced,
    /// The commit does not verify.
    Unverified(CommitProblem),
}

/// Problems of one commit.
#[derive(Debug, thiserror::Error)]
pub enum CommitProblem {
    #[error("the table has no commit {id}: it has lost the commit, or hides it")]
    Lost { id: CommitId },
    #[error("the text of commit {id} has another digest: {found}")]
    OtherText { id: CommitId, found: Sha256Digest },
    #[error("commit {id} is on record as {recorded}")]
    OtherId { id: CommitId, recorded: CommitId },
    #[error("cannot verify commit {id}")]
    Refused {
        id: CommitId,
        #[source]
        source: SignedTextError,
    },
    #[error("commit {id} names key list {list}, which no root key of the target has signed")]
    NoList { id: CommitId, list: KeyListId },
    #[error("key list {serial} does not name the key that has signed commit {id}")]
    KeyNotNamed { id: CommitId, serial: u64 },
    #[error("key list {serial} does not accept the number of commit {id}")]
    BelowList { id: CommitId, serial: u64 },
}

/// The commit that comes next in the history.
#[derive(Clone, Copy, Debug)]
enum NextCommit {
    This(CommitId),
    /// The table has lost a commit. The ancestors of the head tell which commit comes next.
    AfterGap,
    /// The first commit of the target was passed.
    End,
}

impl<'a> History<'a> {
    /// Begins at the head, which must verify.
    pub async fn begin(records: &'a Records, trust: &TrustedRoots) -> Result<Self, StateError> {
        Self::begin_with(records, trust, COMMITS_AT_ONCE).await
    }

    /// Begins at the head, and reads this number of commits with each query.
    pub(crate) async fn begin_with(
        records: &'a Records,
        trust: &TrustedRoots,
        at_once: usize,
    ) -> Result<Self, StateError> {
        let state = TargetState::read(records, trust).await?;
        let lists = KeyLists::read(trust, &records.lists_after(0).await?);
        let head = state.head.as_ref().map(|head| head.commit.id());
        Ok(Self {
            records,
            lists,
            next: head.map_or(NextCommit::End, NextCommit::This),
            stored: VecDeque::new(),
            at_once,
            below: Some(u64::MAX),
            last_read: None,
            state,
        })
    }

    /// Skips the commits with numbers above this one without reading them. The ancestors of the head
    /// tell which of the others belong to its history.
    ///
    /// The table may hide the commits just below the number: [`History::next`] does not miss a commit
    /// before the first one that it finds.
    #[must_use]
    pub(crate) fn skipping_above(self, number: u64) -> Self {
        match self.next {
            NextCommit::This(head) if head.number > number => Self {
                next: NextCommit::AfterGap,
                below: Some(number.saturating_add(1)),
                ..self
            },
            _ => self,
        }
    }

    /// Returns the records of the target.
    pub const fn records(&self) -> &'a Records {
        self.records
    }

    /// Returns the trees of the parent of a commit. `None` if the table does not have the parent.
    pub async fn trees_before(&self, commit: &Commit) -> Result<Option<Trees>, StateError> {
        let parent = commit.parent.and_then(|parent| {
            let stored = self.stored.iter();
            stored
                .map(|stored| &stored.commit)
                .find(|it| it.id == parent)
        });
        match parent.filter(|it| it.signed.digest() == it.id.digest) {
            Some(parent) => {
                let parent = serde_json::from_str::<Commit>(parent.signed.text()).ok();
                Ok(parent.map(|parent| Trees::of(Some(&parent))))
            }
            None => trees_before(self.records, commit).await,
        }
    }

    /// Returns the next older commit. `None` after the oldest one.
    pub async fn next(&mut self) -> Result<Option<PastCommit>, StateError> {
        self.fill().await?;
        let stored = self.stored.front().map(|stored| stored.commit.id);
        let expected = match (self.next, stored) {
            (NextCommit::This(id), Some(stored)) if stored.name() > id.name() => None,
            (NextCommit::This(id), _) => Some(id),
            (NextCommit::AfterGap, Some(stored)) => self.ancestor(stored).await?,
            (NextCommit::AfterGap | NextCommit::End, _) => None,
        };
        let Some(id) = expected else {
            let beside = self.stored.pop_front();
            return Ok(beside.map(|stored| self.beside(&stored)));
        };
        if stored != Some(id) {
            self.next = NextCommit::AfterGap;
            let problem = CommitProblem::Lost { id };
            return Ok(Some(PastCommit::unverified(id, problem)));
        }
        let stored = self.stored.pop_front();
        Ok(stored.map(|stored| self.in_history(&stored)))
    }

    /// Finds the commit with this number. If several commits have it, the one in the history counts.
    pub async fn find(mut self, number: u64) -> Result<Option<PastCommit>, StateError> {
        let mut found: Option<PastCommit> = None;
        while let Some(commit) = self.next().await? {
            if commit.id.number < number {
                break;
            }
            let is_better = matches!(commit.standing, CommitStanding::Verified) || found.is_none();
            if commit.id.number == number && is_better {
                found = Some(commit);
            }
        }
        Ok(found)
    }

    /// Reads more commits if none is left.
    async fn fill(&mut self) -> Result<(), StateError> {
        while self.stored.is_empty()
            && let Some(below) = self.below
        {
            let read = self.records.commits(below, self.at_once).await?;
            let is_last = read.len() < self.at_once;
            let lowest = read.last().map(|stored| stored.commit.id.number);
            let last_read = self.last_read;
            let is_new =
                |it: &OrderedCommit| last_read.is_none_or(|last| it.commit.id.name() < last);
            self.stored.extend(read.into_iter().filter(is_new));
            self.below = match (lowest, self.stored.back()) {
                (Some(lowest), Some(last)) if !is_last => {
                    self.last_read = Some(last.commit.id.name());
                    // The query may have ended between two commits with the same number.
                    Some(lowest.saturating_add(1))
                }
                (Some(lowest), None) if !is_last => Some(lowest),
                _ => None,
            };
        }
        Ok(())
    }

    /// Returns the commit if the head names it among its ancestors.
    async fn ancestor(&mut self, id: CommitId) -> Result<Option<CommitId>, StateError> {
        let names = BTreeSet::from([LeafName::Commit(id.name())]);
        let found = self.state.trees.digests(self.records, names).await?;
        let is_ancestor = found.into_values().any(|digest| digest == Some(id.digest));
        Ok(is_ancestor.then_some(id))
    }

    /// Verifies a commit that the history names by its digest.
    fn in_history(&mut self, stored: &OrderedCommit) -> PastCommit {
        let (id, signed) = (stored.commit.id, &stored.commit.signed);
        if signed.digest() != id.digest {
            self.next = NextCommit::AfterGap;
            let found = signed.digest();
            return PastCommit::unverified(id, CommitProblem::OtherText { id, found });
        }
        // The digest proves the text, so the history goes on even if the signature does not verify.
        let Ok(commit) = serde_json::from_str::<Commit>(signed.text()) else {
            self.next = NextCommit::AfterGap;
            return self.beside(stored);
        };
        self.next = commit.parent.map_or(NextCommit::End, NextCommit::This);
        let (key, standing) = match self.verified(stored) {
            Ok((key, _)) => (Some(key), CommitStanding::Verified),
            Err(problem) => (None, CommitStanding::Unverified(problem)),
        };
        PastCommit {
            id,
            commit: Some(commit),
            order: Some(stored.order),
            at: stored.at,
            signer: key,
            standing,
        }
    }

    /// Verifies a commit that the history does not name.
    fn beside(&self, stored: &OrderedCommit) -> PastCommit {
        let id = stored.commit.id;
        match self.verified(stored) {
            Ok((signer, commit)) => PastCommit {
                id,
                commit: Some(commit),
                order: Some(stored.order),
                at: stored.at,
                signer: Some(signer),
                standing: CommitStanding::Replaced,
            },
            Err(problem) => PastCommit::unverified(id, problem),
        }
    }

    fn verified(&self, stored: &OrderedCommit) -> Result<(PublicKey, Commit), CommitProblem> {
        let (id, signed) = (stored.commit.id, &stored.commit.signed);
        let verified = signed.verify(self.target(), &self.lists.keys());
        let commit = verified.map_err(|source| CommitProblem::Refused { id, source })?;
        if commit.id() != id {
            let (id, recorded) = (commit.id(), id);
            return Err(CommitProblem::OtherId { id, recorded });
        }
        let list = self.lists.list(commit.keys);
        let list = list.ok_or(CommitProblem::NoList {
            id,
            list: commit.keys,
        })?;
        let serial = list.serial();
        if !list.signing_publishers().contains(commit.signer()) {
            return Err(CommitProblem::KeyNotNamed { id, serial });
        }
        if !list.accepts_number(commit.number) {
            return Err(CommitProblem::BelowList { id, serial });
        }
        Ok((commit.signer().clone(), (*commit).clone()))
    }

    fn target(&self) -> TargetId {
        self.state.chain.target()
    }
}

impl PastCommit {
    pub(crate) fn unverified(id: CommitId, problem: CommitProblem) -> Self {
        Self {
            id,
            commit: None,
            order: None,
            at: None,
            signer: None,
            standing: CommitStanding::Unverified(problem),
        }
    }

    /// Returns the reason why the commit does not verify.
    pub fn problem(&self) -> Option<&CommitProblem> {
        match &self.standing {
            CommitStanding::Unverified(problem) => Some(problem),
            CommitStanding::Verified | CommitStanding::Replaced => None,
        }
    }
}

impl std::fmt::Debug for History<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History")
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

/// The key lists that the root keys of a target have signed, of every time.
///
/// A chain forgets lists that a later list renews. Commits of their time name them.
#[derive(Debug, Default)]
pub struct KeyLists {
    lists: BTreeMap<KeyListId, VerifiedKeyList>,
    /// Lists on record that the chain of their time refused.
    pub refused: Vec<KeyChainError>,
}

impl KeyLists {
    /// Follows the lists in the order of their serial numbers.
    pub fn read(trust: &TrustedRoots, stored: &[SignedKeyList]) -> Self {
        let mut chain = KeyChain::new(trust.clone());
        let mut lists = Self::default();
        for signed in stored {
            if let Err(error) = chain.follow(signed) {
                lists.refused.push(error);
            }
            if let Some(newest) = chain.newest() {
                let known = lists.lists.entry(newest.id());
                known.or_insert_with(|| newest.clone());
            }
        }
        lists
    }

    fn list(&self, id: KeyListId) -> Option<&VerifiedKeyList> {
        self.lists.get(&id)
    }

    /// Returns the publisher keys of every time.
    pub(crate) fn keys(&self) -> Vec<PublicKey> {
        let mut keys = Vec::new();
        for key in self.lists.values().flat_map(|it| it.usable_publishers()) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }
}

#[cfg(test)]
mod tests {
    use packcast_protocol::signature::SignatureError;
    use packcast_testing::raw::RawEngine;
    use serde_json::json;

    use super::*;
    use crate::rendered::messages;
    use crate::test_target::{TestTarget, commit_key, create_lab, devices, join};

    /// Returns each commit with its standing, read two at a time.
    async fn walk(target: &TestTarget) -> Vec<(CommitId, String)> {
        let trust = target.target.trust().unwrap();
        let begun = History::begin_with(&target.table.records, &trust, 2).await;
        let (mut history, mut found) = (begun.unwrap(), Vec::new());
        while let Some(commit) = history.next().await.unwrap() {
            let standing = format!("{:?}", commit.standing);
            let word = standing.split(['(', ' ', '{']).next().unwrap().to_owned();
            let kind = commit.problem().map(|problem| {
                let problem = format!("{problem:?}");
                problem.split(' ').next().unwrap().to_owned()
            });
            found.push((commit.id, kind.unwrap_or(word)));
        }
        found
    }

    #[tokio::test]
    async fn a_history_is_read_in_parts_and_goes_on_after_a_lost_commit() {
        let target = TestTarget::start(350).await;
        let mut commits = vec![target.change(&[create_lab()], "packcast").await];
        for device in devices(4) {
            commits.push(target.change(&[join([device])], "packcast").await);
        }
        commits.reverse();
        let verified = |id: &CommitId| (*id, "Verified".to_owned());
        let mut expected: Vec<_> = commits.iter().map(verified).collect();
        assert_eq!(walk(&target).await, expected);

        // A second commit with the number of the fourth.
        let table = &target.table;
        let fork = CommitId {
            number: commits[3].number,
            digest: "f".repeat(64).parse().unwrap(),
        };
        let mut item = table.item("COMMIT", &commit_key(commits[3])).await;
        item["sk"]["S"] = commit_key(fork).into();
        item["id"]["S"] = fork.to_string().into();
        table.put(&item).await;
        expected.insert(3, (fork, "OtherId".to_owned()));
        assert_eq!(walk(&target).await, expected);

        let question = json!({
            "TableName": table.records.table(),
            "Key": { "pk": { "S": "COMMIT" }, "sk": { "S": commit_key(commits[1]) } },
        });
        RawEngine::at(&table.endpoint)
            .ask("DeleteItem", &question)
            .await;
        expected[1].1 = "Lost".to_owned();
        assert_eq!(walk(&target).await, expected);
    }

    #[tokio::test]
    async fn of_several_commits_with_a_number_the_one_in_the_history_is_found() {
        let target = TestTarget::start(351).await;
        let commit = target.change(&[create_lab()], "packcast").await;
        for short in ["0", "f"] {
            let fork = CommitId {
                number: commit.number,
                digest: short.repeat(64).parse().unwrap(),
            };
            let mut item = target.table.item("COMMIT", &commit_key(commit)).await;
            item["sk"]["S"] = commit_key(fork).into();
            item["id"]["S"] = fork.to_string().into();
            target.table.put(&item).await;
        }
        let trust = target.target.trust().unwrap();
        let find = async |number| {
            let history = History::begin(&target.table.records, &trust).await.unwrap();
            history.find(number).await.unwrap()
        };
        assert_eq!(find(commit.number).await.unwrap().id, commit);
        assert!(find(commit.number + 1).await.is_none());
    }

    #[test]
    fn problems_of_commits() {
        let digest = Sha256Digest::of(b"");
        let id = CommitId { number: 7, digest };
        let problems = [
            CommitProblem::Lost { id },
            CommitProblem::OtherText { id, found: digest },
            CommitProblem::OtherId {
                id,
                recorded: CommitId { number: 8, digest },
            },
            CommitProblem::Refused {
                id,
                source: SignedTextError::Signature {
                    name: "commit",
                    source: SignatureError::UntrustedKey,
                },
            },
            CommitProblem::NoList {
                id,
                list: KeyListId { serial: 3, digest },
            },
            CommitProblem::KeyNotNamed { id, serial: 3 },
            CommitProblem::BelowList { id, serial: 3 },
        ];
        let shown = messages(problems).replace(&digest.to_string(), "DIGEST");
        insta::assert_snapshot!(shown, @"
        the table has no commit 7-DIGEST: it has lost the commit, or hides it
        the text of commit 7-DIGEST has another digest: DIGEST
        commit 7-DIGEST is on record as 8-DIGEST
        cannot verify commit 7-DIGEST
        commit 7-DIGEST names key list 3-DIGEST, which no root key of the target has signed
        key list 3 does not name the key that has signed commit 7-DIGEST
        key list 3 does not accept the number of commit 7-DIGEST
        ");
    }
}
