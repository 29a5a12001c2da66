//! The head: the current commit of a target.

use aws_sdk_dynamodb::types::TransactWriteItem;
use packcast_protocol::PackageId;
use packcast_protocol::state::{CommitId, KeyListId, SignedKeyList};
use packcast_rollout::EventTime;
use serde::{Deserialize, Serialize};

use super::super::commit::Commit;
use super::super::item;
use super::super::key::Key;
use super::super::names::ORDER;
use super::super::write::{self, ABSENT, Terms};
use super::super::{Records, RecordsError};
use super::CommitRecord;
use super::commits::OrderedCommit;

/// Attribute of the head with the id of its commit.
const ID: &str = "id";

/// Attribute with the commit up to which all records are complete.
const COMMIT: &str = "commit";

/// The current commit of a target, which its reader has yet to verify.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    #[serde(flatten)]
    pub commit: CommitRecord,
    /// Number of changes of the head so far. Records are ordered by it.
    ///
    /// The numbers of commits do not serve this purpose: after a leaked key was replaced, the head
    /// may have a smaller number than the commit before it.
    pub order: u64,
    /// The newest key list that a change of the head has added. `None` before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<KeyListId>,
}

/// A change of the head: a new commit, and conditions and writes that belong to it.
#[derive(Clone, Debug)]
pub struct HeadChange<'a> {
    /// The head that the new commit replaces. `None` for the first commit of a target.
    ///
    /// It may be another commit than the parent: after a leak, the replaced head is the thief's.
    pub replaced: Option<&'a Head>,
    pub commit: &'a CommitRecord,
    /// Time of the change, for the log.
    pub at: Option<EventTime>,
    /// Packages that the commit newly assigns, at most [`HeadChange::MAX_PACKAGES`]. None of them
    /// may be deleted.
    pub assigned: &'a [PackageId],
    /// Key lists that belong to the commit, in the order of their serial numbers. A commit that
    /// assigns packages has at most one, because a transaction has 100 writes.
    pub lists: &'a [(KeyListId, &'a SignedKeyList)],
}

/// Outcome of a change of the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeadChanged {
    /// The new commit is the head.
    Done(Head),
    /// Nothing was written: another commit is the head now.
    OtherHead,
    /// Nothing was written: this package was deleted, or it does not exist.
    Deleted(PackageId),
    /// Nothing was written: the commit or a key list is on record already.
    Exists,
}

/// The head up to which all records are complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedHead {
    /// Number of changes of this head.
    pub order: u64,
    /// The commit that became the head with this order. Nobody can name a later one in advance.
    pub commit: CommitId,
}

impl HeadChange<'_> {
    /// Maximum number of packages that one change can assign, so that its conditions fit into one
    /// transaction of 100 writes.
    pub const MAX_PACKAGES: usize = 90;

    /// Returns the head after the change.
    fn head(&self) -> Head {
        let replaced = self.replaced;
        let list = self.lists.last().map(|(id, _)| *id);
        Head {
            commit: self.commit.clone(),
            order: replaced.map_or(0, |head| head.order) + 1,
            list: list.or_else(|| replaced.and_then(|head| head.list)),
        }
    }
}

impl Records {
    /// Returns the head, strongly consistent. `None` before the first commit of a target.
    pub async fn head(&self) -> Result<Option<Head>, RecordsError> {
        self.get(&Key::head()).await
    }

    /// Makes a commit the head, in one transaction with all that the change names.
    ///
    /// # Panics
    /// The change assigns more than [`HeadChange::MAX_PACKAGES`] packages.
    pub async fn change_head(&self, change: HeadChange<'_>) -> Result<HeadChanged, RecordsError> {
        assert!(
            change.assigned.len() <= HeadChange::MAX_PACKAGES,
            "callers divide larger changes"
        );
        let head = change.head();
        let ordered = OrderedCommit {
            order: head.order,
            commit: change.commit.clone(),
            replaced: change.replaced.map(|replaced| replaced.commit.id),
            at: change.at,
        };
        let mut writes = vec![self.swap(change.replaced, &head)];
        writes.extend(change.assigned.iter().map(|id| self.not_deleted(*id)));
        writes.push(write::create(self.table(), ordered.item()));
        let lists = change.lists.iter();
        writes.extend(lists.map(|(id, signed)| self.adding_list(id, signed)));
        let refused = match self.commit(writes).await? {
            Commit::Done => return Ok(HeadChanged::Done(head)),
            Commit::Refused(refused) => refused,
        };
        // The head comes first: a commit that lost against another one is decided again, and then
        // meets the other causes, too.
        if refused.first() == Some(&true) {
            return Ok(HeadChanged::OtherHead);
        }
        let mut packages = change.assigned.iter().zip(refused.iter().skip(1));
        let deleted = packages.find(|(_, is_deleted)| **is_deleted);
        Ok(deleted.map_or(HeadChanged::Exists, |(id, _)| HeadChanged::Deleted(*id)))
    }

    /// Returns the head up to which all records are complete. `None` before the first.
    pub async fn recorded_head(&self) -> Result<Option<RecordedHead>, RecordsError> {
        self.get(&Key::recorded_head()).await
    }

    /// Records that all records up to this head are complete.
    ///
    /// If a later head is on record already, nothing changes.
    pub async fn record_head(&self, head: &RecordedHead) -> Result<(), RecordsError> {
        let terms = Terms::default()
            .name(ORDER)
            .name(COMMIT)
            .value("order", item::number(&head.order))
            .value("commit", item::attribute(&head.commit));
        let condition = Some("attribute_not_exists(#order) OR #order < :order");
        let update = "SET #order = :order, #commit = :commit";
        self.change(&Key::recorded_head(), update, condition, &terms)
            .await?;
        Ok(())
    }

    /// Records that all records up to this head are complete, in place of a forged statement.
    ///
    /// The head may be earlier than one that another command has recorded meanwhile: the next
    /// command then completes the records after it again.
    pub async fn replace_recorded_head(&self, head: &RecordedHead) -> Result<(), RecordsError> {
        self.put(Key::recorded_head().item(head)).await?;
        Ok(())
    }

    /// Returns the check that the head is the one with this order.
    pub(in super::super) fn at_head(&self, order: u64) -> TransactWriteItem {
        let terms = Terms::default()
            .name(ORDER)
            .value("order", item::number(&order));
        write::check(self.table(), &Key::head(), "#order = :order", &terms)
    }

    fn swap(&self, replaced: Option<&Head>, head: &Head) -> TransactWriteItem {
        let item = Key::head().item(head);
        let Some(replaced) = replaced else {
            return write::put(self.table(), item, ABSENT, &Terms::default());
        };
        let terms = Terms::default()
            .name(ID)
            .name(ORDER)
            .value("id", item::attribute(&replaced.commit.id))
            .value("order", item::number(&replaced.order));
        // Both: a head that was replaced and put back has the same id, but its order is lower.
        let condition = "#id = :id AND #order = :order";
        write::put(self.table(), item, condition, &terms)
    }
}
