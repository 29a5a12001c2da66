//! The revision of a group, in an item beside the group's state.
//!
//! The cost of a transaction grows with the size of the items that it checks, and every
//! announcement checks the revision. So the revision is in a small item.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::TransactWriteItem;
use packcast_protocol::GroupName;

use super::item;
use super::key::Key;
use super::names::REVISION;
use super::stored::RevisionItem;
use super::write::{self, Terms};
use super::{Records, RecordsError};

/// Holds for a group that is still at the revision that was read.
pub(super) const UNCHANGED: &str = "#revision = :revision";

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

    /// Returns the check that a group is still at this revision.
    pub(super) fn at_revision(&self, group: &GroupName, revision: u64) -> TransactWriteItem {
        let key = Key::group_revision(group);
        write::check(self.table(), &key, UNCHANGED, &unchanged(revision))
    }
}
