//! The revision of a group: an item of its own beside the group's state.
//!
//! A transaction pays for the size of what it checks, and every announcement checks the revision.

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

/// What is newest of groups, and of the keys that all devices trust.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// Those of the groups that exist.
    pub groups: HashMap<GroupName, GroupRevision>,
    /// None if they were not asked for.
    pub key_lists: Option<Vec<NumberedKeyList>>,
}

impl Records {
    /// Returns the versions of these groups that exist. With the group that every device is
    /// in come the lists of keys, which are every device's, too.
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

    /// The write that moves a group's revision, or the time at which it was signed.
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
        });
        match from {
            None => write::create(self.table(), item),
            Some(from) => {
                let (unchanged, terms) = at_version(from);
                write::put(self.table(), item, unchanged, &terms)
            }
        }
    }

    /// A check that a group is still at the revision that was read.
    pub(super) fn at_revision(&self, group: &GroupName, revision: u64) -> TransactWriteItem {
        let key = Key::group_revision(group);
        write::check(self.table(), &key, UNCHANGED, &unchanged(revision))
    }

    /// Checks that a group exists, at its revision: a check costs what its item is long.
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

/// Holds for a group that is as it was read.
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
