//! The commits of a target, in the order of their numbers.

use packcast_protocol::state::{CommitId, CommitName, SignedCommit};
use packcast_rollout::EventTime;
use serde::{Deserialize, Serialize};

use super::super::item::Item;
use super::super::key::{Key, Range};
use super::super::{Records, RecordsError};

/// A commit on record, which its reader has yet to verify.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitRecord {
    pub id: CommitId,
    #[serde(flatten)]
    pub signed: SignedCommit,
}

/// A commit with its place among the changes of the head.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderedCommit {
    /// Number of the change of the head that made the commit the head, from 1.
    pub order: u64,
    #[serde(flatten)]
    pub commit: CommitRecord,
    /// The commit that was the head before. `None` for the first commit of a target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<CommitId>,
    /// Time at which the commit became the head, by the clock of its author. Nothing verifies it: it
    /// only gives the commit a place among the events of the same second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<EventTime>,
}

impl OrderedCommit {
    pub(super) fn item(&self) -> Item {
        Key::commit(&self.commit.id.name()).item(self)
    }
}

impl Records {
    /// Returns the newest `most` commits with numbers below `before`, the newest first.
    pub async fn commits(
        &self,
        before: u64,
        most: usize,
    ) -> Result<Vec<OrderedCommit>, RecordsError> {
        self.last(&Range::commits(before), most).await
    }

    /// Returns the commit with this name. `None` if it is not on record.
    pub async fn commit_named(
        &self,
        name: &CommitName,
    ) -> Result<Option<OrderedCommit>, RecordsError> {
        self.get(&Key::commit(name)).await
    }
}
