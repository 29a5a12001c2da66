//! Comparison of a head and its key lists with the memory of this machine.

use std::collections::BTreeSet;

use packcast_protocol::UnixTime;
use packcast_protocol::state::{CommitId, LeafName};
use packcast_rollout::memory::{Finding, HeadFacts, Memory, MemoryEvent, MemoryLine, SignedList};
use packcast_store::Records;

use super::error::StateError;
use super::key_list::with_id;
use super::reader::TargetState;
use crate::signing::memory_file::MemoryFile;

/// Refuses a table that lacks the newest key list which this machine remembers, and remembers the
/// key lists that lead to the present one.
///
/// The state has the key lists of the table only.
pub(crate) fn check_lists(memory: &mut MemoryFile, state: &TargetState) -> Result<(), StateError> {
    let mut remembered = state.clone();
    remembered.follow_remembered(memory.memory());
    if remembered.chain.newest() != state.chain.newest() {
        let serial = remembered.chain.serial();
        return Err(StateError::LacksList { serial });
    }
    let known: BTreeSet<_> = memory.memory().lists().map(|(id, _)| id).collect();
    let lists = state.chain.lists().filter_map(with_id);
    let new: Vec<SignedList> = lists.filter(|list| !known.contains(&list.id)).collect();
    Ok(memory.append_lists(&new)?)
}

/// Compares the head with the memory, and remembers the head.
///
/// `accepted` is a commit that a person has confirmed, for a machine that remembers nothing. The
/// head must be this commit, or contain it: it may have been changed since.
///
/// Returns the line of a commit that this machine has yet to store.
pub(super) async fn compare(
    records: &Records,
    memory: &mut MemoryFile,
    state: &mut TargetState,
    accepted: Option<CommitId>,
    now: UnixTime,
) -> Result<Option<MemoryLine>, StateError> {
    let contains = contained(records, memory.memory(), state).await?;
    let accepted = contained_of(records, state, accepted.into_iter().collect()).await?;
    let keys = state.keys();
    let head = state.head.as_ref();
    let facts = head.map(|head| HeadFacts {
        id: head.commit.id(),
        issued: head.commit.issued,
        contains: &contains,
        keys: &keys,
    });
    let finding = memory.memory().compare(facts.as_ref(), now);
    let unfinished = match finding {
        Finding::Follows => None,
        Finding::LeavesOut(commit) => return Err(StateError::LeavesOut { commit }),
        Finding::Unknown => {
            if let Some(head) = head.filter(|_| accepted.is_empty()) {
                let head = head.commit.id();
                return Err(StateError::UnknownHead { head });
            }
            None
        }
        Finding::Unfinished(commit) => {
            let mut lines = memory.memory().lines();
            lines.find(|line| line.commit == commit).cloned()
        }
    };
    let mut lines = facts.map_or_else(Vec::new, |facts| memory.memory().settled(&facts, now));
    if let Some(head) = head
        && !contains.contains(&head.commit.id())
    {
        lines.push(MemoryLine {
            commit: head.commit.id(),
            at: now,
            key: head.commit.signer().clone(),
            event: MemoryEvent::Seen,
        });
    }
    memory.append(&lines)?;
    Ok(unfinished)
}

/// Returns the remembered commits that the head contains.
pub(super) async fn contained(
    records: &Records,
    memory: &Memory,
    state: &mut TargetState,
) -> Result<BTreeSet<CommitId>, StateError> {
    let remembered = memory.lines().map(|line| line.commit).collect();
    contained_of(records, state, remembered).await
}

/// Returns those of some commits that the state of the head, or of the earlier commit, contains.
pub(super) async fn contained_of(
    records: &Records,
    state: &mut TargetState,
    commits: Vec<CommitId>,
) -> Result<BTreeSet<CommitId>, StateError> {
    let name = |id: &CommitId| LeafName::Commit(id.name());
    let names = commits.iter().map(name).collect();
    let digests = state.trees.digests(records, names).await?;
    let head = state.parent;
    // The whole digest, because the name has only four bytes of it.
    let contains =
        |id: &CommitId| Some(*id) == head || digests.get(&name(id)) == Some(&Some(id.digest));
    Ok(commits.into_iter().filter(contains).collect())
}
