//! Removal of a key that has leaked: a key list without the key, and one commit.
//!
//! The thief may have made commits, also commits that leave out those of this machine. So nothing
//! here depends on the head: a person names the commit whose state stays. The new commit follows
//! that commit, takes the place of the head, and adopts all commits of keys that stay. Devices
//! discard the commits of the removed key.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::signature::PublicKey;
use packcast_protocol::state::commit::next_number;
use packcast_protocol::state::signed_text::TargetDocument as _;
use packcast_protocol::state::{Commit, CommitId, KeyList};
use packcast_protocol::{PackageId, UnixTime};
use packcast_rollout::memory::{
    MAX_ANCESTOR_AGE_S, MAX_UNFINISHED_S, MemoryEvent, MemoryLine, SignedList,
};
use packcast_rollout::state::{EntryOwner, StateChange, StateDifference};
use packcast_store::records::{Head, HeadChange};

use super::adopt::Adoption;
use super::commit::{ATTEMPTS, Attempt, CommitRequest, Committer, Next};
use super::compare::{check_lists, compare, contained_of};
use super::error::StateError;
use super::history::{CommitStanding, History, PastCommit};
use super::key_list::{self, KeyChange, StateKey, names, sign_list};
use super::reader::TargetState;
use super::trees::Trees;
use super::two_states::ComparedStates;

/// A key to remove.
pub(super) struct Removal<'a> {
    pub(super) lost: &'a PublicKey,
    /// The root key that signs the key list. If another key signs the commit, this key takes the
    /// place of the lost one.
    pub(super) root: StateKey<'a>,
    /// The commit whose state stays.
    pub(super) good: &'a Commit,
}

/// A commit that may be adopted.
struct OtherCommit {
    key: PublicKey,
    commit: Commit,
}

impl Committer<'_> {
    /// Removes a leaked key, and makes a commit on the good commit of the removal.
    ///
    /// If an earlier call has removed the key, the head is returned. The other result has the
    /// commits whose removals are unknown, because the table has lost a part of them.
    pub(super) async fn remove_key(
        &mut self,
        removal: &Removal<'_>,
        request: &CommitRequest<'_>,
    ) -> Result<(Head, Vec<CommitId>), StateError> {
        let good = CommitId::of(removal.good);
        let mut attempted = None;
        for _ in 0..ATTEMPTS {
            let now = (self.clock)();
            let mut history = History::begin(self.records, self.trust).await?;
            let newest = history.state.chain.newest().ok_or(StateError::NoKeyList)?;
            if !names(newest, removal.lost) {
                // The caller completes the records from this head.
                let state = &mut history.state;
                check_lists(self.memory, state)?;
                compare(self.records, self.memory, state, None, now).await?;
                let head = history.state.head.ok_or(StateError::NoHead)?;
                return Ok((head.stored, Vec::new()));
            }
            let unfinished = self.unfinished_replacement(&history.state, removal, now);
            if let Some(unfinished) = unfinished {
                attempted = Some(unfinished.commit);
                self.finish(&history.state, unfinished, now).await?;
                continue;
            }
            self.give_up_all(now)?;
            let others = other_commits(&mut history, now).await?;
            let mut state = history.state;
            let (number, list) = self.list_without(&state, removal, &others, now)?;
            state.chain.follow(&list.signed)?;
            self.check_key(&state, now)?;
            let mut head = Trees::of(state.head.as_ref().map(|head| &**head.commit));
            state.go_to(removal.good);
            let adoption = self.adopted(&mut state, others, removal.lost, now).await?;
            let (packages, deleted) = self.restored(&mut head, &mut state).await?;
            let next = Next {
                number,
                // Before the removals, because an adopted commit may have deleted their group.
                first: deleted,
                adoption,
                packages,
                list: Some(list),
                ..Next::default()
            };
            match self.attempt(&mut state, request, next, now).await? {
                Attempt::Done(made) => return Ok((made.committed.into_head()?, made.unknown)),
                Attempt::Lost(commit) => attempted = Some(commit),
            }
        }
        let commit = attempted.unwrap_or(good);
        Err(StateError::Conflict { commit })
    }

    /// Returns the line of the same replacement, if this machine stopped before the commit was the
    /// head.
    fn unfinished_replacement(
        &self,
        state: &TargetState,
        removal: &Removal<'_>,
        now: UnixTime,
    ) -> Option<MemoryLine> {
        let head = state.head.as_ref().map(|head| head.commit.id());
        let good = CommitId::of(removal.good);
        let is_same = |line: &&MemoryLine| {
            let MemoryEvent::Signing {
                text,
                replaced,
                list: Some(list),
                ..
            } = &line.event
            else {
                return false;
            };
            let commit = serde_json::from_str::<Commit>(text);
            let list = serde_json::from_str::<KeyList>(list.signed.text());
            line.key == *self.key
                && *replaced == head
                && now.since(line.at) < MAX_UNFINISHED_S
                && commit.is_ok_and(|commit| commit.parent == Some(good))
                && list.is_ok_and(|list| !names(&list, removal.lost))
        };
        self.memory.memory().lines().rfind(is_same).cloned()
    }

    /// Counts all commits that this machine has yet to store as lost, because their head is not
    /// changed any more.
    pub(super) fn give_up_all(&mut self, now: UnixTime) -> Result<(), StateError> {
        let lines: Vec<MemoryLine> = self.memory.memory().lines().cloned().collect();
        lines
            .into_iter()
            .try_for_each(|line| self.give_up(line, now))
    }

    /// Returns the number of the new commit, and the key list without the lost key.
    ///
    /// The numbers of the lost key count nowhere: a thief can have signed any number.
    fn list_without(
        &self,
        state: &TargetState,
        removal: &Removal<'_>,
        others: &[OtherCommit],
        now: UnixTime,
    ) -> Result<(u64, SignedList), StateError> {
        let newest = state.chain.newest().ok_or(StateError::NoKeyList)?;
        let (root, lost) = (removal.root.public, removal.lost);
        may_remove(newest.roots(), root, lost)?;
        let mut keys = newest.usable_publishers();
        keys.retain(|key| key != lost);
        keys.push(self.key.clone());
        let others = others.iter().filter(|other| keys.contains(&other.key));
        let numbers = others.map(|other| other.commit.number);
        let remembered = self.memory.memory().highest_number(&keys);
        let highest = numbers.chain([remembered, newest.from()]).max();
        let parent = CommitId::of(removal.good);
        let number = next_number(Some(parent), highest.unwrap_or_default(), now);
        let change = KeyChange::Remove {
            lost,
            new: (root != self.key).then_some(self.key),
            from: number,
        };
        let without = key_list::changed(newest, change, now)?;
        Ok((number, sign_list(&without, removal.root.sign)?))
    }

    /// Adopts the commits of all keys that stay, as far as the good commit does not contain them.
    ///
    /// Of the commits of the lost key, only the removals of this machine's own are adopted: a thief
    /// cannot write to the memory of this machine.
    async fn adopted(
        &self,
        state: &mut TargetState,
        others: Vec<OtherCommit>,
        lost: &PublicKey,
        now: UnixTime,
    ) -> Result<Adoption, StateError> {
        let keys = state.keys();
        let others: BTreeMap<CommitId, OtherCommit> = others
            .into_iter()
            .map(|other| (CommitId::of(&other.commit), other))
            .collect();
        // `None` is a text that only the table may have.
        let mut texts: BTreeMap<CommitId, Option<String>> = BTreeMap::new();
        let mut own_of_lost = texts.clone();
        for line in self.memory.memory().lines() {
            let is_own = !matches!(line.event, MemoryEvent::Seen);
            let adopted = if keys.contains(&line.key) {
                &mut texts
            } else if is_own && line.key == *lost {
                &mut own_of_lost
            } else {
                continue;
            };
            if now.since(line.at) < MAX_ANCESTOR_AGE_S {
                let text = match &line.event {
                    MemoryEvent::Lost { text } => Some(text.clone()),
                    _ => others.get(&line.commit).map(|it| it.commit.to_text()),
                };
                adopted.insert(line.commit, text);
            }
        }
        for (id, other) in others.iter().filter(|(_, it)| keys.contains(&it.key)) {
            texts.insert(*id, Some(other.commit.to_text()));
        }
        let ids = texts.keys().chain(own_of_lost.keys()).copied().collect();
        let contained: BTreeSet<CommitId> = contained_of(self.records, state, ids).await?;
        let mut adoption = Adoption::default();
        for (id, text) in texts.iter().filter(|(id, _)| !contained.contains(id)) {
            adoption
                .add(self.records, state, *id, text.as_deref())
                .await?;
        }
        for (id, text) in own_of_lost.iter().filter(|(id, _)| !contained.contains(id)) {
            let commit = text.as_deref().and_then(|it| serde_json::from_str(it).ok());
            adoption
                .add_removals(self.records, state, *id, commit.as_ref())
                .await?;
        }
        Ok(adoption)
    }

    /// Returns the packages that the good commit assigns and the head does not, and the changes that
    /// leave out those which were deleted since.
    async fn restored(
        &self,
        head: &mut Trees,
        state: &mut TargetState,
    ) -> Result<(Vec<PackageId>, Vec<StateChange>), StateError> {
        let compared = ComparedStates::load(self.records, head, &mut state.trees).await;
        let differences = match compared.and_then(|compared| compared.difference()) {
            Ok(differences) => differences,
            // The thief has named pages that do not exist. The good commit stays as it is.
            Err(error) if error.is_of_content() => Vec::new(),
            Err(error) => return Err(error),
        };
        let assigned: Vec<(EntryOwner, PackageId)> = differences
            .into_iter()
            .filter_map(|difference| match difference {
                StateDifference::Assigned { to, entry, .. } => Some((to, entry.package)),
                _ => None,
            })
            .collect();
        let packages: BTreeSet<PackageId> = assigned.iter().map(|(_, package)| *package).collect();
        let packages: Vec<PackageId> = packages.into_iter().collect();
        let kept = self.records.packages_of(&packages).await?;
        let kept = kept.iter().filter(|package| !package.is_deleted());
        let kept: BTreeSet<PackageId> = kept.map(|package| package.id).collect();
        let deleted = assigned.into_iter().filter(|(_, id)| !kept.contains(id));
        let deleted = deleted.map(|(from, package)| StateChange::Unassign { from, package });
        // More conditions do not fit into the transaction.
        let conditions = kept.iter().copied().take(HeadChange::MAX_PACKAGES);
        Ok((conditions.collect(), deleted.collect()))
    }
}

/// Refuses a key list that a list of the thief would replace.
fn may_remove(roots: &[PublicKey], root: &PublicKey, lost: &PublicKey) -> Result<(), StateError> {
    let rank = |key: &PublicKey| roots.iter().position(|root| root == key);
    match (rank(root), rank(lost)) {
        (None, _) => Err(StateError::NotRoot { key: root.clone() }),
        (Some(own), Some(of_lost)) if of_lost < own => {
            Err(StateError::HigherRank { lost: lost.clone() })
        }
        _ => Ok(()),
    }
}

/// Returns the verified commits on record whose ancestors a new commit names, in any history, the
/// oldest first.
async fn other_commits(
    history: &mut History<'_>,
    now: UnixTime,
) -> Result<Vec<OtherCommit>, StateError> {
    let mut others = Vec::new();
    while let Some(past) = history.next().await? {
        if now.since(UnixTime(past.id.number)) > MAX_ANCESTOR_AGE_S {
            break;
        }
        if let PastCommit {
            commit: Some(commit),
            signer: Some(key),
            standing: CommitStanding::Verified | CommitStanding::Replaced,
            ..
        } = past
        {
            others.push(OtherCommit { key, commit });
        }
    }
    others.reverse();
    Ok(others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_key_of_higher_rank_is_not_removed() {
        let [first, second, other] = [1, 2, 3].map(|number| {
            let bytes = [&b"Ed"[..], &[number; 40]].concat();
            let text = data_encoding::BASE64.encode(&bytes);
            text.parse::<PublicKey>().unwrap()
        });
        let roots = [first.clone(), second.clone()];
        for (root, lost) in [(&first, &second), (&second, &second), (&second, &other)] {
            assert!(may_remove(&roots, root, lost).is_ok());
        }
        let refused = may_remove(&roots, &second, &first);
        assert!(matches!(refused, Err(StateError::HigherRank { lost }) if lost == first));
        let refused = may_remove(&roots, &other, &second);
        assert!(matches!(refused, Err(StateError::NotRoot { key }) if key == other));
    }
}
