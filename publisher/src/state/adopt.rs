//! Adoption of commits that this machine has signed and that were never the head.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::Sha256Digest;
use packcast_protocol::state::{Commit, CommitId, LeafName};
use packcast_rollout::state::{AdoptedEntries, StateChange, StatePart, removals};
use packcast_store::Records;

use super::error::StateError;
use super::reader::TargetState;
use super::trees::Trees;

/// Consequences of the adopted commits for the next commit.
#[derive(Debug, Default)]
pub(super) struct Adoption {
    pub(super) commits: Vec<CommitId>,
    /// The ancestors of the adopted commits.
    pub(super) ancestors: BTreeMap<LeafName, Sha256Digest>,
    pub(super) entries: AdoptedEntries,
    /// The removals of the adopted commits that the head lacks.
    pub(super) removals: Vec<StateChange>,
}

impl Adoption {
    /// Adds a commit of this machine. Its text is from the memory of this machine.
    ///
    /// A commit whose pages the table has lost is adopted without its changes: devices that hold it
    /// then accept the next commit.
    pub(super) async fn add(
        &mut self,
        records: &Records,
        state: &mut TargetState,
        id: CommitId,
        text: &str,
    ) -> Result<(), StateError> {
        self.commits.push(id);
        let Ok(commit) = serde_json::from_str::<Commit>(text) else {
            return Ok(());
        };
        unless_lost(self.add_ancestors(records, &commit).await)?;
        let Some(before) = trees_before(records, &commit).await? else {
            return Ok(());
        };
        unless_lost(self.add_changes(records, state, before, &commit).await)
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
    ) -> Result<(), StateError> {
        let mut after = Trees::of(Some(commit));
        let changes = before.difference(records, &mut after).await?;
        let names: BTreeSet<LeafName> = changes.into_iter().map(|change| change.name).collect();
        let before = before.part(records, names.clone()).await?;
        let after = after.part(records, names.clone()).await?;
        let mut head: StatePart = state.trees.part(records, names).await?;
        let groups = head.named_groups();
        head.extend(state.trees.part(records, groups).await?);
        self.removals.extend(removals(&before, &after, &head)?);
        // Groups go last: the other removals are of entries and members that a group must have.
        self.removals
            .sort_by_key(|change| matches!(change, StateChange::DeleteGroup { .. }));
        self.entries.add(commit.number, &after);
        Ok(())
    }
}

/// Accepts that the table has lost a page or a document.
fn unless_lost(added: Result<(), StateError>) -> Result<(), StateError> {
    match added {
        Err(StateError::NoPage { .. } | StateError::Part(_)) => Ok(()),
        added => added,
    }
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
