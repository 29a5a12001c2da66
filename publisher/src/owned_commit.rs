//! Commits, together with the machine that has signed them.

use packcast_protocol::state::CommitId;
use packcast_rollout::memory::{Memory, MemoryEvent};
use serde::Serialize;

use crate::log::LoggedCommit;

/// A commit of a log with its owner.
#[derive(Clone, Debug, Serialize)]
pub struct OwnedCommit {
    #[serde(flatten)]
    pub commit: LoggedCommit,
    pub owner: CommitOwner,
}

/// The machine that has signed a commit, as this machine remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommitOwner {
    ThisMachine,
    /// Another machine: the commit was the head when this machine has read the target.
    OtherMachine,
    /// This machine does not know the commit.
    Unknown,
}

impl OwnedCommit {
    /// Adds the owner of each commit.
    pub(crate) fn all(commits: Vec<LoggedCommit>, memory: &Memory) -> Vec<Self> {
        let owned = commits.into_iter().map(|commit| Self {
            owner: CommitOwner::of(memory, &commit.commit),
            commit,
        });
        owned.collect()
    }
}

impl CommitOwner {
    fn of(memory: &Memory, commit: &CommitId) -> Self {
        match memory.line(commit).map(|line| &line.event) {
            None => Self::Unknown,
            Some(MemoryEvent::Seen) => Self::OtherMachine,
            Some(_) => Self::ThisMachine,
        }
    }
}
