//! The revision of a group, in an item beside the group's state.
//!
//! The cost of a transaction grows with the size of the items that it checks, and every
//! announcement checks the revision. So the revision is in a small item.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use packcast_protocol::GroupName;
use packcast_rollout::group::GroupRevision;

use super::item;
use super::key::Key;
use super::names::{IS_DELETED, ISSUED, LISTS, REVISION};
use super::stored::{self, KeyListsItem, NumberedKeyList, RevisionItem};
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

/// Newest revisions of groups, and the newest key lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// Revisions of the groups that exist.
    pub groups: HashMap<GroupName, GroupRevision>,
    /// Key lists. `None` if the group `all` was not requested.
    pub key_lists: Option<Vec<NumberedKeyList>>,
}

impl Records {
    /// Returns the newest revisions of these groups, except groups that do not exist.
    ///
    /// If the group `all` is among them, the result includes the key lists, which are for every
    /// device as well.
    pub async fn versions(&self, groups: &[GroupName]) -> Result<Versions, RecordsError> {
        let mut keys: Vec<Key> = groups.iter().map(Key::group_revision).collect();
        let with_keys = groups.iter().any(GroupName::is_all);
        keys.extend(with_keys.then(Key::keys));
        let mut versions = Versions {
            groups: HashMap::with_capacity(groups.len()),
            key_lists: with_keys.then(Vec::new),
        };
        for found in self.batch(&keys).await? {
            if found.contains_key(LISTS) {
                let found: KeyListsItem = item::read(found)?;
                versions.key_lists = Some(found.lists);
                continue;
            }
            let found: RevisionItem = item::read(found)?;
            let version = found.group_revision();
            if !found.deleted {
                versions.groups.insert(found.group, version);
            }
        }
        Ok(versions)
    }

    /// Returns the write that changes a group's revision, or the time at which it was signed.
    pub(super) fn moving(
        &self,
        group: &GroupName,
        from: Option<GroupRevision>,
        to: GroupRevision,
        deleted: bool,
    ) -> TransactWriteItem {
        let item = stored::group_revision(&RevisionItem {
            group: group.clone(),
            revision: to.revision,
            issued: to.issued,
            deleted,
            created: None,
            document: None,
        });
        match from {
            None => write::create(self.table(), item),
            Some(from) => {
                let (unchanged, terms) = at_version(from);
                write::put(self.table(), item, unchanged, &terms)
            }
        }
    }

    /// Returns the check that a group is still at this revision.
    pub(super) fn at_revision(&self, group: &GroupName, revision: u64) -> TransactWriteItem {
        let key = Key::group_revision(group);
        write::check(self.table(), &key, UNCHANGED, &unchanged(revision))
    }

    /// Returns the check that a group exists. It reads the item of the revision, which is small.
    pub(super) fn existing_group(&self, group: &GroupName) -> TransactWriteItem {
        let terms = Terms::default()
            .name(IS_DELETED)
            .value("deleted", AttributeValue::Bool(false));
        write::check(
            self.table(),
            &Key::group_revision(group),
            "#deleted = :deleted",
            &terms,
        )
    }
}

/// Returns the condition that a group has this revision, signed at the same time.
fn at_version(version: GroupRevision) -> (&'static str, Terms) {
    let terms = unchanged(version.revision).name(ISSUED);
    match version.issued {
        None => (
            "#revision = :revision AND attribute_not_exists(#issued)",
            terms,
        ),
        Some(issued) => (
            "#revision = :revision AND #issued = :issued",
            terms.value("issued", item::number(&issued)),
        ),
    }
}
