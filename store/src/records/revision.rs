//! The revision of a group, in an item beside the group's state, and its copies.
//!
//! The cost of a transaction grows with the size of the items that it checks. So the revision is in a
//! small item. Announcements check a copy of the revision: see [`super::copies`].

use std::collections::HashMap;
use std::ops::ControlFlow;

use aws_sdk_dynamodb::types::TransactWriteItem;
use packcast_protocol::{DeviceId, GroupName};

use super::copies::CopiedValue;
use super::item::{self, Item};
use super::key::{Key, REVISION_COPIES, shard};
use super::names::REVISION;
use super::stored::RevisionItem;
use super::write::{self, Terms};
use super::{Records, RecordsError};

/// Holds for a group that is still at the revision that was read.
pub(super) const UNCHANGED: &str = "#revision = :revision";

/// Holds for a copy that is not later than the revision that was read.
///
/// A copy may be earlier, because a command writes the source first, and may end before it writes the
/// copies. The function has then read the later state, and announces by this state. If the copy is
/// later, the function has read an earlier state. A missing copy refuses the announcement.
const NOT_LATER: &str = "#revision <= :revision";

/// Returns the terms of [`UNCHANGED`].
pub(super) fn unchanged(revision: u64) -> Terms {
    Terms::default()
        .name(REVISION)
        .value("revision", item::number(&revision))
}

impl Records {
    /// Returns the newest revisions of these groups, except groups that do not exist.
    pub async fn revisions(
        &self,
        groups: &[GroupName],
    ) -> Result<HashMap<GroupName, u64>, RecordsError> {
        let keys: Vec<Key> = groups.iter().map(Key::group_revision).collect();
        let mut revisions = HashMap::with_capacity(groups.len());
        for found in self.batch(&keys).await? {
            let found: RevisionItem = item::read(found)?;
            if !found.deleted {
                revisions.insert(found.group, found.revision);
            }
        }
        Ok(revisions)
    }

    /// Returns the check that no later change of a group is complete, on the copy for a device.
    pub(super) fn not_later(
        &self,
        device: &DeviceId,
        group: &GroupName,
        revision: u64,
    ) -> TransactWriteItem {
        let key = Key::revision_copy(group, shard(device, REVISION_COPIES));
        write::check(self.table(), &key, NOT_LATER, &unchanged(revision))
    }

    /// Writes the copies of a group's revision, which is on record with this order of the head.
    ///
    /// After this returns, no announcement by an earlier revision is recorded.
    pub(super) async fn copy_revision(
        &self,
        group: &GroupName,
        order: u64,
    ) -> Result<(), RecordsError> {
        let keys = &copies_of(group);
        let value = &CopiedValue {
            number_name: REVISION,
            number: order,
            attributes: Vec::new(),
        };
        self.retry_on_conflict((), |()| async move {
            let read = self.batch(keys).await?;
            // The head is read after the copies: no genuine copy is later than the head.
            let is_later = |copy: &Item| value.number_of(copy) > Some(order);
            let highest = if read.iter().any(is_later) {
                self.head().await?.map_or(0, |head| head.order)
            } else {
                order
            };
            let is_done = self.write_copies(keys, value, &read, highest).await?;
            Ok(if is_done {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        })
        .await
    }

    /// Returns the check that a group is still at this revision.
    pub(super) fn at_revision(&self, group: &GroupName, revision: u64) -> TransactWriteItem {
        let key = Key::group_revision(group);
        write::check(self.table(), &key, UNCHANGED, &unchanged(revision))
    }
}

fn copies_of(group: &GroupName) -> Vec<Key> {
    let copies = 0..REVISION_COPIES;
    copies
        .map(|shard| Key::revision_copy(group, shard))
        .collect()
}
