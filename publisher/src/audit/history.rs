//! Checks of the history: commits, key lists, and the memory of this machine.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::UnixTime;
use packcast_protocol::state::commit::MAX_COMMIT_VALIDITY_S;
use packcast_protocol::state::{Commit, CommitId, LeafName, Lookup, VerifiedCommit};
use packcast_rollout::memory::{
    Finding as MemoryFinding, HeadFacts, MAX_UNFINISHED_S, MemoryEvent, MemoryLine,
};

use super::finding::Finding;
use super::trees::LoadedTrees;
use super::{AuditReport, Findings};
use crate::failure::Failure;
use crate::signing::memory_file::MemoryFile;
use crate::state::{
    CommitStanding, History, RecordedUpTo, StateError, TargetState, Trees, WARNED_BEFORE_S,
    check_lists,
};
use crate::warning::Warning;

/// Checks that the newest key list and the head are valid for some time.
pub(super) fn check_validity(history: &mut History<'_>, now: UnixTime, found: &mut Findings) {
    let refused = std::mem::take(&mut history.lists.refused);
    found.extend(refused.into_iter().map(Finding::ListRefused));
    if let Some(list) = history.state.chain.newest() {
        let (serial, expires) = (list.serial(), list.expires());
        if expires <= now {
            found.push(Finding::ListExpired { serial, expires });
        } else if expires.since(now) < WARNED_BEFORE_S {
            found.push(Finding::ListExpiresSoon { serial, expires });
        }
    }
    if let Some(head) = &history.state.head {
        let expires = head.commit.expires;
        if expires <= now {
            found.push(Finding::HeadExpired { expires });
        } else if expires.since(now) < WARNED_BEFORE_S {
            found.push(Finding::HeadExpiresSoon { expires });
        }
    }
}

/// Verifies each commit on record, and returns the leaves whose records a running command may not
/// have written yet.
pub(super) async fn check_commits(
    history: &mut History<'_>,
    loaded: LoadedTrees,
    now: UnixTime,
    report: &mut AuditReport,
    found: &mut Findings,
) -> Result<BTreeSet<LeafName>, StateError> {
    let keys = history.state.keys();
    let recorded = RecordedUpTo::read(history.records()).await?.order();
    let mut unwritten = BTreeSet::new();
    while let Some(past) = history.next().await? {
        report.commits += 1;
        // A commit of the last days must be among the ancestors of the head.
        let is_recent = now.since(UnixTime(past.id.number)) < MAX_COMMIT_VALIDITY_S;
        let is_checked = loaded.ancestors && is_recent;
        match past.standing {
            CommitStanding::Unverified(problem) => found.push(Finding::Commit(problem)),
            CommitStanding::Verified => {
                let is_head = history.state.head.as_ref().map(|it| it.commit.id());
                let is_head = is_head == Some(past.id);
                if is_checked && !is_head && !is_ancestor(&history.state.trees, past.id) {
                    found.push(Finding::NoAncestor { commit: past.id });
                }
                if let Some(commit) = past.commit.filter(|it| is_young(it, now))
                    && past.order.is_some_and(|order| order > recorded)
                {
                    unwritten.extend(changed(history, &commit).await?);
                }
            }
            CommitStanding::Replaced => {
                let counts = past.signer.is_some_and(|key| keys.contains(&key));
                if is_checked && counts && !is_ancestor(&history.state.trees, past.id) {
                    found.push(Finding::LeftOut { commit: past.id });
                }
            }
        }
    }
    Ok(unwritten)
}

/// Returns true if a command may still write the records of a commit.
fn is_young(commit: &Commit, now: UnixTime) -> bool {
    now.since(commit.issued) < MAX_UNFINISHED_S
}

/// Returns the leaves that a commit has changed.
async fn changed(history: &History<'_>, commit: &Commit) -> Result<BTreeSet<LeafName>, StateError> {
    let Some(before) = history.trees_before(commit).await? else {
        return Ok(BTreeSet::new());
    };
    let (mut before, mut after) = (before, Trees::of(Some(commit)));
    match before.difference(history.records(), &mut after).await {
        Ok(changes) => Ok(changes.into_iter().map(|change| change.name).collect()),
        // The check of the trees reports lost pages.
        Err(error) if error.is_of_content() => Ok(BTreeSet::new()),
        Err(error) => Err(error),
    }
}

fn is_ancestor(trees: &Trees, id: CommitId) -> bool {
    let name = LeafName::Commit(id.name());
    trees.ancestors.tree().lookup(&name) == Lookup::Present(id.digest)
}

/// Compares the head with the memory of this machine, and remembers the head if it follows all that
/// the machine remembers. The ancestors of the head are loaded.
pub(super) fn check_memory(
    state: &TargetState,
    memory: &mut MemoryFile,
    now: UnixTime,
    report: &mut AuditReport,
    found: &mut Findings,
) -> Result<(), Failure> {
    match check_lists(memory, state) {
        Err(error @ StateError::LacksList { .. }) => found.push(Finding::Head(error)),
        checked => checked?,
    }
    let head = state.head.as_ref().map(|head| &head.commit);
    let id = head.map(VerifiedCommit::id);
    let lines = memory.memory().lines();
    let remembered: BTreeMap<CommitId, &MemoryLine> =
        lines.map(|line| (line.commit, line)).collect();
    let contains: BTreeSet<CommitId> = remembered
        .keys()
        .copied()
        .filter(|commit| Some(*commit) == id || is_ancestor(&state.trees, *commit))
        .collect();
    let keys = state.keys();
    let facts = head.map(|head| HeadFacts {
        id: head.id(),
        issued: head.issued,
        contains: &contains,
        keys: &keys,
    });
    match memory.memory().compare(facts.as_ref(), now) {
        MemoryFinding::LeavesOut(commit) => found.push(Finding::Forgotten { commit }),
        MemoryFinding::Unfinished(commit) => found.push(Finding::Unfinished { commit }),
        MemoryFinding::Unknown => report.warnings.push(no_memory()),
        MemoryFinding::Follows => {
            if let Some(head) = head.filter(|head| !contains.contains(&head.id())) {
                memory.append(&[MemoryLine {
                    commit: head.id(),
                    at: now,
                    key: head.signer().clone(),
                    event: MemoryEvent::Seen,
                }])?;
            }
        }
    }
    Ok(())
}

fn no_memory() -> Warning {
    Warning::new("this machine remembers no commit of the target: an earlier head that somebody put back looks the same to it")
        .hint("run the audit on a machine that changes the target")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_memory_says_so() {
        insta::assert_snapshot!(no_memory(), @"
        warning: this machine remembers no commit of the target: an earlier head that somebody put back looks the same to it
        hint: run the audit on a machine that changes the target
        ");
    }
}
