//! Adoption of commits that the head leaves out: commits of this machine that were never the head,
//! and commits that were lost with a restored table or left out by a thief.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::Sha256Digest;
use packcast_protocol::state::{Commit, CommitId, LeafName};
use packcast_rollout::state::{AdoptedEntries, AdoptedRemovals, StatePart};
use packcast_store::Records;

use super::error::StateError;
use super::reader::TargetState;
use super::trees::Trees;
use super::two_states::ComparedStates;
use crate::warning::Warning;

/// Consequences of the adopted commits for the next commit.
#[derive(Debug, Default)]
pub(super) struct Adoption {
    pub(super) commits: Vec<CommitId>,
    /// The ancestors of the adopted commits.
    pub(super) ancestors: BTreeMap<LeafName, Sha256Digest>,
    pub(super) entries: AdoptedEntries,
    /// The removals of the adopted commits that the head lacks.
    pub(super) removals: AdoptedRemovals,
    /// Commits with unknown removals, because the table has lost a part of them.
    pub(super) unknown: Vec<CommitId>,
}

impl Adoption {
    /// Adds a commit. `text` is from the memory of this machine, or has the digest of the commit;
    /// `None` if it is lost.
    ///
    /// A commit whose pages the table has lost is adopted without its changes: devices that hold it
    /// then accept the next commit.
    pub(super) async fn add(
        &mut self,
        records: &Records,
        state: &mut TargetState,
        id: CommitId,
        text: Option<&str>,
    ) -> Result<(), StateError> {
        self.commits.push(id);
        let commit = text.and_then(|text| serde_json::from_str::<Commit>(text).ok());
        if let Some(commit) = &commit {
            unless_lost(self.add_ancestors(records, commit).await)?;
        }
        let after = self
            .add_removals(records, state, id, commit.as_ref())
            .await?;
        if let Some(after) = after {
            self.entries.add(id.number, &after);
        }
        Ok(())
    }

    /// Adds only the removals of a commit. Returns the documents that the commit has changed, `None`
    /// if the table has lost them. `commit` is `None` if its text is lost.
    pub(super) async fn add_removals(
        &mut self,
        records: &Records,
        state: &mut TargetState,
        id: CommitId,
        commit: Option<&Commit>,
    ) -> Result<Option<StatePart>, StateError> {
        let before = match commit {
            Some(commit) => trees_before(records, commit).await?,
            None => None,
        };
        let added = match before.zip(commit) {
            Some((before, commit)) => {
                unless_lost(self.add_changes(records, state, before, commit).await)?
            }
            None => None,
        };
        if added.is_none() {
            self.unknown.push(id);
        }
        Ok(added)
    }

    async fn add_ancestors(
        &mut self,
        records: &Records,
        commit: &Commit,
    ) -> Result<(), StateError> {
        let mut trees = Trees::of(Some(commit));
        trees.load_ancestors(records).await?;
        let leaves = trees.ancestors.tree().leaves();
        self.ancestors
            .extend(leaves.map(|(name, digest)| (name.clone(), digest)));
        Ok(())
    }

    async fn add_changes(
        &mut self,
        records: &Records,
        state: &mut TargetState,
        mut before: Trees,
        commit: &Commit,
    ) -> Result<StatePart, StateError> {
        let mut after = Trees::of(Some(commit));
        let changes = before.difference(records, &mut after).await?;
        let names: BTreeSet<LeafName> = changes.into_iter().map(|change| change.name).collect();
        let head: StatePart = state.trees.part(records, names.clone()).await?;
        let names = names.into_iter().chain(head.named_groups()).collect();
        let compared = ComparedStates::of(records, &mut before, &mut after, names).await?;
        let mut head = state
            .trees
            .part(records, compared.before.leaves().into_keys().collect())
            .await?;
        if has_other_names(&compared.before, &head) {
            head.extend(state.trees.all_groups(records).await?);
        }
        self.removals
            .add(&compared.before, &compared.after, &head)?;
        Ok(compared.after)
    }
}

/// Returns true if the head may have one of the groups under another name.
fn has_other_names(before: &StatePart, head: &StatePart) -> bool {
    before.groups().any(|(group, document)| {
        let origin = document.map(|document| document.origin(group));
        let in_head = head.group(group).ok().flatten();
        origin.is_some() && in_head.map(|document| document.origin(group)) != origin
    })
}

/// Returns `None` if the table has lost a page or a document.
fn unless_lost<T>(added: Result<T, StateError>) -> Result<Option<T>, StateError> {
    match added {
        Ok(added) => Ok(Some(added)),
        Err(StateError::NoPage { .. } | StateError::Part(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the warning of an adopted commit with unknown removals.
pub(super) fn lost_changes(commit: CommitId) -> Warning {
    Warning::new(format!(
        "the table has lost the changes of commit {commit}: packages and memberships that it has removed may be in force again"
    ))
    .hint("compare the assignments with your notes, and repeat the removals of the commit")
}

/// Returns the trees before a trusted commit; `None` if its parent is not on record.
///
/// The commit names its parent by the digest.
pub(super) async fn trees_before(
    records: &Records,
    commit: &Commit,
) -> Result<Option<Trees>, StateError> {
    let Some(parent) = commit.parent else {
        return Ok(Some(Trees::of(None)));
    };
    let Some(stored) = records.commit_named(&parent.name()).await? else {
        return Ok(None);
    };
    let text = stored.commit.signed.text();
    if Sha256Digest::of(text.as_bytes()) != parent.digest {
        return Ok(None);
    }
    let parent = serde_json::from_str::<Commit>(text).ok();
    Ok(parent.map(|parent| Trees::of(Some(&parent))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_of_lost_changes() {
        let commit = CommitId {
            number: 1_795_000_000,
            digest: Sha256Digest::of(b"commit"),
        };
        insta::assert_snapshot!(lost_changes(commit), @"
        warning: the table has lost the changes of commit 1795000000-9505cacb7c710ed17125fcc6cb3669e8ddca6c8cd8af6a31f6b3cd64604c3098: packages and memberships that it has removed may be in force again
        hint: compare the assignments with your notes, and repeat the removals of the commit
        ");
    }
}
