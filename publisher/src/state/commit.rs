//! A change of the state: one signed commit.
//!
//! The order of the steps keeps every promise if the machine stops between two of them:
//!
//! 1. Read and verify the head, and compare it with the memory.
//! 2. Store the new documents and pages, which nothing names yet.
//! 3. Write the commit into the memory, and synchronise it.
//! 4. Sign.
//! 5. Make the commit the head, if the head is still the one that was read.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::signature::PublicKey;
use packcast_protocol::state::commit::next_number;
use packcast_protocol::state::signed_text::TargetDocument as _;
use packcast_protocol::state::{
    AboutDocument, Commit, CommitFields, CommitId, Document, DocumentText, LeafName, PagedTree,
    SignedCommit, TrustedRoots, UpdatedTree,
};
use packcast_protocol::{PackageId, Sha256Digest, UnixTime};
use packcast_rollout::memory::{
    HeadFacts, MAX_ANCESTOR_AGE_S, MemoryEvent, MemoryLine, SignedList,
};
use packcast_rollout::state::{ChangeOutcome, PlannedState, StateChange, StatePart, apply};
use packcast_store::Records;
use packcast_store::records::{CommitRecord, Head, HeadChange, HeadChanged, Sign};

use super::adopt::Adoption;
use super::compare::{check_lists, compare, contained};
use super::error::StateError;
use super::key_list::{self, KeyChange, ListChange, sign_list};
use super::reader::TargetState;
use super::trees::Trees;
use crate::clock::event_time;
use crate::signing::memory_file::MemoryFile;

/// Maximum number of attempts at one change, while other commits come first.
pub(super) const ATTEMPTS: u32 = 16;

/// A machine that changes the state of a target.
pub struct Committer<'a> {
    pub records: &'a Records,
    /// Target and root keys, from the configuration of this machine.
    pub trust: &'a TrustedRoots,
    /// Public half of the signing key.
    pub key: &'a PublicKey,
    pub sign: &'a Sign,
    pub memory: &'a mut MemoryFile,
    pub clock: &'a (dyn Fn() -> UnixTime + Send + Sync),
}

/// The changes of one commit.
#[derive(Clone, Debug)]
pub struct CommitRequest<'a> {
    pub changes: &'a [StateChange],
    pub about: AboutDocument,
    /// Validity of the commit, in seconds.
    pub valid_for_s: u64,
}

/// Leaves of a state, each with the digest of its document. `None` if the state has no such leaf.
pub(crate) type Leaves = BTreeMap<LeafName, Option<Sha256Digest>>;

/// The heads on which a change may be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnHead<'a> {
    #[default]
    Any,
    /// Only this one; `None` before the first commit.
    Only(Option<CommitId>),
    /// Only heads in which the change finds these leaves as they are here.
    With(&'a Leaves),
}

impl OnHead<'_> {
    /// Refuses to sign the changes of another commit together with those that were shown.
    const fn refuse_others(self, other: Option<CommitId>) -> Result<(), StateError> {
        match (self, other) {
            (Self::Only(_), Some(commit)) => Err(StateError::OthersFirst { commit }),
            _ => Ok(()),
        }
    }

    /// Refuses documents of which somebody has changed one since the changes were planned.
    fn refuse_changed(self, before: &StatePart) -> Result<(), StateError> {
        let Self::With(leaves) = self else {
            return Ok(());
        };
        let changed = leaves.iter().find(|(name, digest)| {
            let present = before.text(name).map(DocumentText::digest);
            before.is_loaded(name) && present != **digest
        });
        match changed {
            Some((name, _)) => Err(StateError::DocumentChanged { name: name.clone() }),
            None => Ok(()),
        }
    }
}

/// Outcome of a change.
#[derive(Clone, Debug, PartialEq)]
pub enum Committed {
    /// The commit is the head.
    Done {
        head: Head,
        outcomes: Vec<ChangeOutcome>,
    },
    /// The state is already so. Nothing was signed.
    AlreadySo { outcomes: Vec<ChangeOutcome> },
}

/// Validity of a state: Packcast agents act on it only until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    /// End of the validity of the head. `None` before the first commit.
    pub(super) commit: Option<UnixTime>,
    /// End of the validity of the newest key list. `None` before the first list.
    pub(super) keys: Option<UnixTime>,
}

impl Validity {
    /// Returns the validity of a state.
    pub(super) fn of(state: &TargetState) -> Self {
        Self {
            commit: state.head.as_ref().map(|head| head.commit.expires),
            keys: state.keys_expire(),
        }
    }
}

/// Result of a change, with the facts that a command shows.
pub(super) struct Made {
    pub(super) committed: Committed,
    pub(super) validity: Validity,
    /// Leaves that the commit has changed.
    pub(super) leaves: Leaves,
    /// Adopted commits whose changes the table has lost.
    pub(super) unknown: Vec<CommitId>,
}

/// A commit that is ready to be signed.
pub(super) struct Prepared {
    pub(super) text: String,
    pub(super) id: CommitId,
    pub(super) packages: Vec<PackageId>,
    /// A key list that is stored with the commit.
    pub(super) list: Option<SignedList>,
    /// Key lists that the table has lost, and that are stored again with the commit.
    pub(super) lost_lists: Vec<SignedList>,
}

/// Parts of the next commit that do not follow from the changes of a command.
#[derive(Default)]
pub(super) struct Next<'a> {
    pub(super) on_head: OnHead<'a>,
    pub(super) number: u64,
    /// Changes before all others.
    pub(super) first: Vec<StateChange>,
    pub(super) adoption: Adoption,
    /// Packages that may not be deleted when the commit becomes the head, besides those that the
    /// changes assign.
    pub(super) packages: Vec<PackageId>,
    pub(super) list: Option<SignedList>,
    pub(super) lost_lists: Vec<SignedList>,
}

/// Result of one attempt at a commit.
pub(super) enum Attempt {
    Done(Box<Made>),
    /// Another commit came first. Devices may still receive this one.
    Lost(CommitId),
}

impl Committer<'_> {
    /// Makes the changes in one commit.
    ///
    /// If another commit comes first, the changes are decided again. If this machine has stopped
    /// in the middle of an earlier change, less than an hour ago, that change is completed first.
    pub async fn commit(&mut self, request: &CommitRequest<'_>) -> Result<Committed, StateError> {
        let made = self.commit_with_list(request, None, OnHead::Any);
        Ok(made.await?.committed)
    }

    /// Makes the changes in one commit, together with a change of the key list.
    pub(super) async fn commit_with_list(
        &mut self,
        request: &CommitRequest<'_>,
        change: Option<&ListChange<'_>>,
        on_head: OnHead<'_>,
    ) -> Result<Made, StateError> {
        let mut attempted = None;
        for _ in 0..ATTEMPTS {
            let now = (self.clock)();
            let mut state = TargetState::read(self.records, self.trust).await?;
            check_lists(self.memory, &state)?;
            if let OnHead::Only(expected) = on_head
                && state.parent != expected
            {
                return Err(StateError::ChangedSince);
            }
            if let (Some(change), Some(newest)) = (change, state.chain.newest())
                && change.is_made(newest)
            {
                // The caller completes the records from this head.
                compare(self.records, self.memory, &mut state, None, now).await?;
                return Ok(Made::already_so(&state, Vec::new()));
            }
            let keys_expire = state.keys_expire();
            let list = self.new_list(&mut state, change, now)?;
            self.check_key(&state, now)?;
            let unfinished = compare(self.records, self.memory, &mut state, None, now).await?;
            if let Some(unfinished) = unfinished {
                let commit = unfinished.commit;
                on_head.refuse_others(Some(commit))?;
                attempted = Some(commit);
                self.finish(&state, unfinished, now).await?;
                continue;
            }
            let adoption = self.adoption(&mut state, now).await?;
            on_head.refuse_others(adoption.commits.first().copied())?;
            let next = Next {
                on_head,
                number: self.next_number(&state, now),
                adoption,
                list,
                ..Next::default()
            };
            match self.attempt(&mut state, request, next, now).await? {
                Attempt::Done(mut made) => {
                    if let Committed::AlreadySo { .. } = made.committed {
                        // The new list was not stored.
                        made.validity.keys = keys_expire;
                    }
                    return Ok(*made);
                }
                Attempt::Lost(commit) => attempted = Some(commit),
            }
        }
        let commit = attempted.expect("each attempt has a commit");
        Err(StateError::Conflict { commit })
    }

    /// Makes one attempt at a commit on a state.
    pub(super) async fn attempt(
        &mut self,
        state: &mut TargetState,
        request: &CommitRequest<'_>,
        next: Next<'_>,
        now: UnixTime,
    ) -> Result<Attempt, StateError> {
        let Next {
            number, adoption, ..
        } = &next;
        let removals = adoption.removals.changes();
        let changes = [&next.first[..], &removals, request.changes].concat();
        let before = self.load(state, &changes).await?;
        next.on_head.refuse_changed(&before)?;
        let planned = apply(&before, &changes, *number, &adoption.entries);
        let planned = planned.map_err(StateError::Changes)?;
        let own = next.first.len() + removals.len();
        let outcomes = planned.outcomes[own..].to_vec();
        if !planned.needs_commit() {
            let made = Made::already_so(state, outcomes);
            return Ok(Attempt::Done(Box::new(made)));
        }
        let mut packages = assigned(&changes, &planned, *number)?;
        let commit = self
            .store(state, &planned, adoption, request, *number, now)
            .await?;
        packages.extend(next.packages);
        let id = CommitId::of(&commit);
        let prepared = Prepared {
            text: commit.to_text(),
            id,
            packages,
            list: next.list,
            lost_lists: next.lost_lists,
        };
        let Some(head) = self.make_head(state, prepared, now).await? else {
            return Ok(Attempt::Lost(id));
        };
        let mut leaves = planned.changed_groups();
        leaves.extend(planned.changed_devices());
        Ok(Attempt::Done(Box::new(Made {
            committed: Committed::Done { head, outcomes },
            validity: Validity {
                commit: Some(commit.expires),
                keys: state.keys_expire(),
            },
            leaves,
            unknown: next.adoption.unknown,
        })))
    }

    /// Returns the key list to store with the next commit, and follows it.
    pub(super) fn new_list(
        &self,
        state: &mut TargetState,
        change: Option<&ListChange<'_>>,
        now: UnixTime,
    ) -> Result<Option<SignedList>, StateError> {
        let root = change.map_or(self.key, |change| change.root.public);
        if !state.chain.roots().contains(root) {
            return match change {
                None => Ok(None),
                Some(_) => Err(StateError::NotRoot { key: root.clone() }),
            };
        }
        let keys = change.map(|change| change.keys);
        let is_renewal = matches!(keys, None | Some(KeyChange::Renew));
        let list = match (state.chain.newest(), keys) {
            (Some(newest), _) if is_renewal => {
                if keys.is_none() && !key_list::is_due(newest, now) {
                    return Ok(None);
                }
                let outdated = key_list::outdated(newest, &state.key_lists(), now);
                key_list::renewed(newest, &outdated, now)?
            }
            (Some(newest), Some(keys)) => key_list::changed(newest, keys, now)?,
            (None, _) if is_renewal && self.is_first(state) => {
                key_list::first(self.trust, self.key, now)?
            }
            _ => return Ok(None),
        };
        let sign = change.map_or(self.sign, |change| change.root.sign);
        let list = sign_list(&list, sign)?;
        state.chain.follow(&list.signed)?;
        Ok(Some(list))
    }

    /// Returns true if the next commit is the first one of a target that this machine has created.
    fn is_first(&self, state: &TargetState) -> bool {
        state.head.is_none() && self.memory.is_founder() && !self.memory.memory().knows_a_head()
    }

    pub(super) fn check_key(&self, state: &TargetState, now: UnixTime) -> Result<(), StateError> {
        if state.chain.newest().is_none() {
            return Err(StateError::NoKeyList);
        }
        if !state.chain.in_force(now) {
            return Err(StateError::ListExpired);
        }
        if !state.chain.signing().contains(self.key) {
            let key = self.key.clone();
            return Err(if state.keys().contains(self.key) {
                StateError::KeyRetired { key }
            } else {
                StateError::KeyNotNamed { key }
            });
        }
        Ok(())
    }

    pub(super) fn next_number(&self, state: &TargetState, now: UnixTime) -> u64 {
        let highest = self.memory.memory().highest_number(&state.keys());
        next_number(state.parent, highest, now)
    }

    /// Stores a commit that this machine has signed, or was about to sign, in an earlier command.
    pub(super) async fn finish(
        &mut self,
        state: &TargetState,
        line: MemoryLine,
        now: UnixTime,
    ) -> Result<(), StateError> {
        if line.key != *self.key {
            return self.give_up(line, now);
        }
        let MemoryEvent::Signing {
            text,
            packages,
            list,
            ..
        } = line.event
        else {
            return Ok(());
        };
        let prepared = Prepared {
            text,
            id: line.commit,
            packages,
            list,
            lost_lists: Vec::new(),
        };
        self.sign_and_swap(state, prepared, now).await?;
        Ok(())
    }

    /// Counts a commit of another key as lost, because only that key can sign it again.
    pub(super) fn give_up(&mut self, line: MemoryLine, now: UnixTime) -> Result<(), StateError> {
        if let MemoryEvent::Signing { text, .. } = line.event {
            let lost = MemoryLine {
                at: now,
                event: MemoryEvent::Lost { text },
                ..line
            };
            self.memory.append(&[lost])?;
        }
        Ok(())
    }

    /// Collects what follows from the lost commits of this machine.
    async fn adoption(
        &self,
        state: &mut TargetState,
        now: UnixTime,
    ) -> Result<Adoption, StateError> {
        let contains = contained(self.records, self.memory.memory(), state).await?;
        let (keys, mut adoption) = (state.keys(), Adoption::default());
        let Some(head) = &state.head else {
            return Ok(adoption);
        };
        let facts = HeadFacts {
            id: head.commit.id(),
            issued: head.commit.issued,
            contains: &contains,
            keys: &keys,
        };
        let lost = self.memory.memory().to_adopt(&facts, now);
        let lost: Vec<MemoryLine> = lost.cloned().collect();
        for line in lost {
            if let MemoryEvent::Lost { text } = &line.event {
                adoption
                    .add(self.records, state, line.commit, Some(text))
                    .await?;
            }
        }
        Ok(adoption)
    }

    /// Loads the documents that the changes need.
    pub(super) async fn load(
        &self,
        state: &mut TargetState,
        changes: &[StateChange],
    ) -> Result<StatePart, StateError> {
        let mut loaded = StatePart::default();
        state
            .trees
            .load_needed(self.records, changes, &mut loaded)
            .await?;
        Ok(loaded)
    }

    /// Stores documents and pages, and returns the commit that names them.
    pub(super) async fn store(
        &self,
        state: &mut TargetState,
        planned: &PlannedState,
        adoption: &Adoption,
        request: &CommitRequest<'_>,
        number: u64,
        now: UnixTime,
    ) -> Result<Commit, StateError> {
        let parent = state.parent;
        let records = self.records;
        let trees = &mut state.trees;
        trees.load_ancestors(records).await?;
        let ancestors = ancestors(&trees.ancestors, parent, adoption, now);
        let groups = update(trees, records, |it| &it.groups, &planned.changed_groups()).await?;
        let devices = update(trees, records, |it| &it.devices, &planned.changed_devices()).await?;
        let ancestors = update(trees, records, |it| &it.ancestors, &ancestors).await?;
        let about = Document::new(request.about.clone());
        let mut documents: Vec<_> = planned.new_documents().cloned().collect();
        documents.push(about.text().clone());
        records.put_documents(&documents).await?;
        let pages = [&groups, &devices, &ancestors];
        let pages = pages
            .into_iter()
            .flat_map(|tree| tree.pages.iter().cloned());
        records.put_pages(&pages.collect::<Vec<_>>()).await?;
        let list = state.chain.newest().ok_or(StateError::NoKeyList)?;
        Ok(Commit::new(CommitFields {
            target: state.chain.target(),
            keys: list.id(),
            number,
            parent,
            groups: groups.tree.root(),
            devices: devices.tree.root(),
            ancestors: ancestors.tree.root(),
            issued: now,
            expires: now.plus(request.valid_for_s),
            about: about.digest(),
        })?)
    }

    pub(super) async fn make_head(
        &mut self,
        state: &TargetState,
        prepared: Prepared,
        now: UnixTime,
    ) -> Result<Option<Head>, StateError> {
        // Before the signature: once a commit is signed, a device can have it.
        self.remember(
            prepared.id,
            now,
            MemoryEvent::Signing {
                text: prepared.text.clone(),
                replaced: state.head.as_ref().map(|head| head.commit.id()),
                packages: prepared.packages.clone(),
                list: prepared.list.clone(),
            },
        )?;
        self.sign_and_swap(state, prepared, now).await
    }

    /// Signs a commit and makes it the head. Returns `None` if another commit came first.
    async fn sign_and_swap(
        &mut self,
        state: &TargetState,
        prepared: Prepared,
        now: UnixTime,
    ) -> Result<Option<Head>, StateError> {
        let Prepared {
            text,
            id,
            packages,
            list,
            lost_lists,
        } = prepared;
        let lists: Vec<SignedList> = lost_lists.into_iter().chain(list).collect();
        let added: Vec<_> = lists.iter().map(|list| (list.id, &list.signed)).collect();
        let signature = (self.sign)(&text)?;
        let signed = SignedCommit::new(text.clone(), signature)?;
        let commit = CommitRecord { id, signed };
        let changed = self
            .records
            .change_head(HeadChange {
                replaced: state.head.as_ref().map(|head| &head.stored),
                commit: &commit,
                at: Some(event_time()),
                assigned: &packages,
                lists: &added,
            })
            .await?;
        match changed {
            HeadChanged::Done(head) => {
                self.memory.append_lists(&lists)?;
                self.remember(id, now, MemoryEvent::Stored)?;
                Ok(Some(head))
            }
            HeadChanged::OtherHead | HeadChanged::Exists => {
                self.remember(id, now, MemoryEvent::Lost { text })?;
                Ok(None)
            }
            HeadChanged::Deleted(package) => {
                self.remember(id, now, MemoryEvent::Lost { text })?;
                Err(StateError::Deleted(package))
            }
        }
    }

    fn remember(
        &mut self,
        commit: CommitId,
        at: UnixTime,
        event: MemoryEvent,
    ) -> Result<(), StateError> {
        let key = self.key.clone();
        let line = MemoryLine {
            commit,
            at,
            key,
            event,
        };
        Ok(self.memory.append(&[line])?)
    }
}

impl Made {
    /// Returns the result of changes without effect: nothing was signed.
    fn already_so(state: &TargetState, outcomes: Vec<ChangeOutcome>) -> Self {
        Self {
            committed: Committed::AlreadySo { outcomes },
            validity: Validity::of(state),
            leaves: Leaves::new(),
            unknown: Vec::new(),
        }
    }
}

impl std::fmt::Debug for Committer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Committer")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// Returns the packages that a commit newly assigns.
fn assigned(
    changes: &[StateChange],
    planned: &PlannedState,
    number: u64,
) -> Result<Vec<PackageId>, StateError> {
    let is_new = |outcome: &ChangeOutcome| matches!(outcome, ChangeOutcome::Assigned { seq, .. } if *seq == number);
    let made = changes.iter().zip(&planned.outcomes);
    let packages: BTreeSet<PackageId> = made
        .filter(|(_, outcome)| is_new(outcome))
        .filter_map(|(change, _)| match change {
            StateChange::Assign { assignment, .. } => Some(assignment.package),
            _ => None,
        })
        .collect();
    let count = packages.len();
    if count > HeadChange::MAX_PACKAGES {
        return Err(StateError::TooManyPackages { count });
    }
    Ok(packages.into_iter().collect())
}

/// Returns the changes of the ancestors. The parent, and the adopted commits with their ancestors, are
/// added. Commits that have expired on every device are removed.
fn ancestors(
    before: &PagedTree,
    parent: Option<CommitId>,
    adoption: &Adoption,
    now: UnixTime,
) -> BTreeMap<LeafName, Option<Sha256Digest>> {
    // A commit is issued at its number or before, and expires at most 90 days after it was issued.
    let is_old = |name: &LeafName| match name {
        LeafName::Commit(name) => now.since(UnixTime(name.number())) > MAX_ANCESTOR_AGE_S,
        _ => true,
    };
    let leaves = before.tree().leaves().map(|(name, _)| name);
    let mut changes: BTreeMap<LeafName, Option<Sha256Digest>> = leaves
        .filter(|name| is_old(name))
        .map(|name| (name.clone(), None))
        .collect();
    let adopted = adoption.ancestors.iter();
    let adopted = adopted.filter(|(name, _)| !is_old(name));
    changes.extend(adopted.map(|(name, digest)| (name.clone(), Some(*digest))));
    let added = parent.iter().chain(&adoption.commits);
    changes.extend(added.map(|id| (LeafName::Commit(id.name()), Some(id.digest))));
    changes
}

/// Changes a tree. A removal may need hidden parts beside the path of the removed name.
async fn update(
    trees: &mut Trees,
    records: &Records,
    tree: fn(&Trees) -> &PagedTree,
    changes: &BTreeMap<LeafName, Option<Sha256Digest>>,
) -> Result<UpdatedTree, StateError> {
    let names: BTreeSet<LeafName> = changes.keys().cloned().collect();
    trees.load(records, &names).await?;
    loop {
        match tree(trees).update(changes) {
            Ok(updated) => return Ok(updated),
            Err(hidden) => trees.load_hidden(records, &hidden).await?,
        }
    }
}

#[cfg(test)]
mod tests {
    use packcast_protocol::state::NodeHash;

    use super::*;

    fn commit(number: u64) -> CommitId {
        CommitId {
            number,
            digest: Sha256Digest::of(&number.to_be_bytes()),
        }
    }

    fn leaf(id: CommitId) -> (LeafName, Sha256Digest) {
        (LeafName::Commit(id.name()), id.digest)
    }

    #[test]
    fn the_next_commit_takes_the_young_ancestors_of_adopted_commits() {
        let now = UnixTime(1_795_000_000);
        let (young, old) = (commit(now.0 - 5), commit(now.0 - MAX_ANCESTOR_AGE_S - 1));
        let (parent, adopted) = (commit(now.0 - 1), commit(now.0 - 2));
        let adoption = Adoption {
            commits: vec![adopted],
            ancestors: [leaf(young), leaf(old)].into(),
            ..Adoption::default()
        };
        let earlier = [old, commit(now.0 - 9)].map(|id| (leaf(id).0, Some(leaf(id).1)));
        let before = PagedTree::new(NodeHash::EMPTY).update(&earlier.into());
        let before = before.expect("nothing is hidden").tree;
        let changes = ancestors(&before, Some(parent), &adoption, now);
        let added = [young, adopted, parent].map(|id| (leaf(id).0, Some(leaf(id).1)));
        let removed = (leaf(old).0, None);
        assert_eq!(changes, added.into_iter().chain([removed]).collect());
    }
}
