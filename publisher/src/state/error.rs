//! Errors from reading and changing the state of a target.

use packcast_protocol::PackageId;
use packcast_protocol::signature::PublicKey;
use packcast_protocol::state::commit::CommitError;
use packcast_protocol::state::signed_text::{SignedTextError, SignedTextTooLarge};
use packcast_protocol::state::{CommitId, NodeHash, PartialTreeError};
use packcast_rollout::state::{NotLoaded, StateChangeError, StatePartError};
use packcast_store::RecordsError;
use packcast_store::records::{HeadChange, SignError};

use crate::failure::Failure;
use crate::signing::memory_file::MemoryFileError;

/// Errors from reading and changing the state of a target.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("the target has no key list that its root keys have signed")]
    NoKeyList,
    #[error("cannot verify the head of the target")]
    Head(#[source] SignedTextError),
    #[error("the head of the target is another commit: expected {expected}, found {found}")]
    OtherCommit { expected: CommitId, found: CommitId },
    #[error("key list {serial} does not accept the number of the head {commit}")]
    BelowList { commit: CommitId, serial: u64 },
    #[error("the table has no page {hash}")]
    NoPage { hash: NodeHash },
    #[error("cannot read page {hash}")]
    Page {
        hash: NodeHash,
        #[source]
        source: PartialTreeError,
    },
    #[error("the newest key list does not name your key {key}")]
    KeyNotNamed { key: PublicKey },
    #[error("the newest key list has expired")]
    ListExpired,
    #[error(
        "the head of the target leaves out commit {commit}: the table was restored, or someone put an earlier head back"
    )]
    LeavesOut { commit: CommitId },
    #[error("this machine does not know the head of the target: {head}")]
    UnknownHead { head: CommitId },
    #[error("cannot change the state of the target: {}", lines(.0))]
    Changes(Vec<StateChangeError>),
    #[error("package {0} was deleted, or it does not exist")]
    Deleted(PackageId),
    #[error(
        "one commit would assign {count} packages, at most {} are allowed",
        HeadChange::MAX_PACKAGES
    )]
    TooManyPackages { count: usize },
    #[error("other commits came first each time; devices may still receive commit {commit}")]
    Conflict { commit: CommitId },
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    TooLarge(#[from] SignedTextTooLarge),
    #[error(transparent)]
    Part(#[from] StatePartError),
    #[error(transparent)]
    NotLoaded(#[from] NotLoaded),
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error(transparent)]
    Memory(#[from] MemoryFileError),
    #[error(transparent)]
    Records(#[from] RecordsError),
}

fn lines(errors: &[StateChangeError]) -> String {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    lines.join("; ")
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Records(error) => error.into(),
            StateError::Memory(error) => error.into(),
            StateError::Conflict { .. } => Self::new(crate::failure::Kind::TryLater, error)
                .hint("run the same command again: it takes up the commit that was not stored"),
            StateError::LeavesOut { .. } | StateError::UnknownHead { .. } => Self::conflict(error),
            error => Self::failed(error),
        }
    }
}
