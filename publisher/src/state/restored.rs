//! Signing on the head of a restored table.
//!
//! A restored table has an earlier head, which looks the same as a head that an attacker has put
//! back. So a person confirms it. The new commit contains all commits that the head leaves out, so
//! that the devices and machines that know one of them accept the new commit. Their removals are
//! made again, as far as the table still has them; their other changes are lost.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::state::signed_text::TargetDocument;
use packcast_protocol::state::{CommitId, TrustedRoots};
use packcast_rollout::memory::{HeadFacts, Memory, MemoryEvent, SignedList};

use super::adopt::Adoption;
use super::commit::{ATTEMPTS, Attempt, CommitRequest, Committer, Made, Next};
use super::compare::{contained, contained_of};
use super::error::StateError;
use super::history::{CommitProblem, History, KeyLists, PastCommit};
use super::key_list::ListChange;

/// The confirmation of a restored head.
#[derive(Clone, Copy, Debug)]
pub struct Restoration<'a> {
    /// The commit that a person has confirmed: the head, or a commit that the head contains.
    pub confirmed: CommitId,
    /// Further commits to contain, which devices hold and no machine remembers.
    pub also: &'a BTreeSet<CommitId>,
}

/// The commits and key lists that a restored table has lost.
#[derive(Debug)]
pub struct LeftOut {
    /// The commits that the head leaves out, the newest first.
    pub commits: Vec<PastCommit>,
    /// The key lists that the table lacks and that lead to the newest one.
    pub lists: Vec<SignedList>,
}

impl LeftOut {
    /// Finds the commits that the head should contain: those that this machine remembers, and others
    /// that a person names.
    ///
    /// The state of the history follows the remembered key lists from then on.
    pub async fn find(
        history: &mut History<'_>,
        memory: &Memory,
        trust: &TrustedRoots,
        also: &BTreeSet<CommitId>,
    ) -> Result<Self, StateError> {
        let records = history.records();
        let lists = history.state.follow_remembered(memory);
        let mut all = records.lists_after(0).await?;
        all.extend(lists.iter().map(|list| list.signed.clone()));
        history.lists = KeyLists::read(trust, &all);
        let state = &mut history.state;
        let contains = contained(records, memory, state).await?;
        let contained_also = contained_of(records, state, also.iter().copied().collect()).await?;
        let head = state.head.as_ref().ok_or(StateError::NoHead)?;
        let keys = state.keys();
        let facts = HeadFacts {
            id: head.commit.id(),
            issued: head.commit.issued,
            contains: &contains,
            keys: &keys,
        };
        let mut ids: BTreeSet<CommitId> = also.difference(&contained_also).copied().collect();
        let remembered: Vec<CommitId> = memory.left_out(&facts).map(|line| line.commit).collect();
        let is_restored = remembered.iter().any(|commit| memory.was_head(commit));
        // Each other command completes or adopts commits that were never the head.
        if is_restored || !ids.is_empty() || !lists.is_empty() {
            ids.extend(remembered);
        }
        let commits = read(history, ids).await?;
        Ok(Self { commits, lists })
    }

    pub const fn is_empty(&self) -> bool {
        self.commits.is_empty() && self.lists.is_empty()
    }
}

/// Looks for commits on record, also beside the history of the head.
async fn read(
    history: &mut History<'_>,
    ids: BTreeSet<CommitId>,
) -> Result<Vec<PastCommit>, StateError> {
    let lost = |id| PastCommit::unverified(id, CommitProblem::Lost { id });
    let mut commits: BTreeMap<CommitId, PastCommit> =
        ids.into_iter().map(|id| (id, lost(id))).collect();
    let lowest = commits.keys().next().map(|id| id.number);
    while let Some(lowest) = lowest
        && let Some(past) = history.next().await?
        && past.id.number >= lowest
    {
        if let Some(commit) = commits.get_mut(&past.id) {
            *commit = past;
        }
    }
    Ok(commits.into_values().rev().collect())
}

impl Committer<'_> {
    /// Makes a commit on the head of a restored table, together with a change of the key list.
    pub(super) async fn restore(
        &mut self,
        restoration: &Restoration<'_>,
        request: &CommitRequest<'_>,
        change: Option<&ListChange<'_>>,
    ) -> Result<Made, StateError> {
        let mut attempted = restoration.confirmed;
        for _ in 0..ATTEMPTS {
            let now = (self.clock)();
            let mut history = History::begin(self.records, self.trust).await?;
            let (memory, also) = (self.memory.memory(), restoration.also);
            let left_out = LeftOut::find(&mut history, memory, self.trust, also).await?;
            let mut state = history.state;
            let head = state.head.as_ref().ok_or(StateError::NoHead)?;
            let id = head.commit.id();
            let confirmed = restoration.confirmed;
            if contained_of(self.records, &mut state, vec![confirmed])
                .await?
                .is_empty()
            {
                return Err(StateError::NotConfirmed {
                    head: id,
                    confirmed,
                });
            }
            if left_out.is_empty() {
                return Err(StateError::NothingRestored);
            }
            // A commit on a lost head can never be completed.
            self.give_up_all(now)?;
            let list = self.new_list(&mut state, change, now)?;
            self.check_key(&state, now)?;
            let mut adoption = Adoption::default();
            for past in &left_out.commits {
                let text = self.text_of(past);
                adoption
                    .add(self.records, &mut state, past.id, text.as_deref())
                    .await?;
            }
            let also = also.iter().map(|commit| commit.number + 1);
            let next = Next {
                number: also.fold(self.next_number(&state, now), u64::max),
                adoption,
                list,
                lost_lists: left_out.lists,
                ..Next::default()
            };
            match self.attempt(&mut state, request, next, now).await? {
                Attempt::Done(made) => return Ok(*made),
                Attempt::Lost(commit) => attempted = commit,
            }
        }
        Err(StateError::Conflict { commit: attempted })
    }

    fn text_of(&self, past: &PastCommit) -> Option<String> {
        let line = self.memory.memory().line(&past.id);
        match line.map(|line| &line.event) {
            Some(MemoryEvent::Lost { text }) => Some(text.clone()),
            _ => past.commit.as_ref().map(TargetDocument::to_text),
        }
    }
}
