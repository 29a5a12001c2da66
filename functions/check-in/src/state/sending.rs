//! A commit and its trees, to send parts of them.

use packcast_protocol::state::{Commit, CommitId, PagedTree, SignedCommit};
use packcast_store::RecordsError;

/// A commit to send, with the parts of its trees that are loaded.
pub(super) struct Sending {
    pub(super) id: CommitId,
    pub(super) signed: SignedCommit,
    pub(super) commit: Commit,
    pub(super) groups: PagedTree,
    pub(super) devices: PagedTree,
    pub(super) ancestors: PagedTree,
}

impl Sending {
    /// Reads a commit. None of its trees is loaded.
    pub(super) fn new(id: CommitId, signed: SignedCommit) -> Result<Self, RecordsError> {
        let commit: Commit =
            serde_json::from_str(signed.text()).map_err(|source| RecordsError::Corrupt {
                key: format!("COMMIT {id}"),
                source: source.into(),
            })?;
        Ok(Self {
            id,
            signed,
            groups: PagedTree::new(commit.groups),
            devices: PagedTree::new(commit.devices),
            ancestors: PagedTree::new(commit.ancestors),
            commit,
        })
    }
}
