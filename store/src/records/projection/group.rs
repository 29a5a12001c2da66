//! The records of a group: its state, its revision, its entry in the catalogue, and its entries in
//! the partitions of its packages.

use std::collections::HashMap;
use std::ops::ControlFlow;

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use packcast_protocol::state::{Document, GroupDocument};
use packcast_protocol::{GroupName, PackageId, Priority};
use packcast_rollout::GroupState;
use packcast_rollout::state::{GroupPackages, project_group};

use super::super::commit::Commit;
use super::super::item::{self, Item};
use super::super::key::{Key, MEMBER_SHARDS};
use super::super::names::{CREATED, DOCUMENT, GROUP, IS_DELETED, ORIGIN, REVISION};
use super::super::revision::{UNCHANGED, unchanged};
use super::super::stored::{self, RevisionItem};
use super::super::write::{self, ABSENT, PRESENT, Terms};
use super::super::{Records, RecordsError};

/// Maximum number of writes in one transaction.
pub(super) const MAX_WRITES: usize = 100;

/// A group whose records are to follow from a head.
#[derive(Clone, Copy, Debug)]
pub struct GroupTarget<'a> {
    pub group: &'a GroupName,
    /// The document of the group. `None` if the head has no such group.
    pub document: Option<&'a Document<GroupDocument>>,
    /// The entries in the partitions of packages that may differ from the document.
    pub packages: &'a GroupPackages,
    /// Order of the head.
    pub order: u64,
}

/// Outcome of writing the state of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupProjected {
    /// The state follows from the head. These entries are left for
    /// [`Records::write_group_packages`].
    Written { left: GroupPackages },
    /// The group is deleted on record, at the order of the head. Its members are left for
    /// [`Records::remove_members`]. If the head has a later group of this name, it is written
    /// afterwards.
    Deleted,
    /// The state on record follows from a later head.
    Superseded,
}

/// The state and the revision of a group on record.
///
/// An unreadable item counts as absent, because everything in it follows from the head.
#[derive(Debug, Default)]
pub(super) struct RecordedGroup {
    pub(super) revision: Option<RevisionItem>,
    /// The item of the revision if it is unreadable.
    unreadable: Option<Item>,
    /// `None` if the group is deleted or was never on record.
    pub(super) state: Option<GroupState>,
    is_state_unreadable: bool,
}

/// The revisions in the two items of a group.
pub(super) type Revisions = (Option<u64>, Option<u64>);

/// The attributes of a revision.
const OF_REVISION: [&str; 6] = [GROUP, REVISION, IS_DELETED, CREATED, ORIGIN, DOCUMENT];

impl RecordedGroup {
    pub(super) fn order(&self) -> u64 {
        let revision = self.revision.as_ref();
        revision.map_or(0, |revision| revision.revision)
    }

    /// Returns false if the two items belong to different states of the group.
    pub(super) fn is_consistent(&self) -> bool {
        let existing = self.revision.as_ref().filter(|revision| !revision.deleted);
        let state = self.state.as_ref();
        !self.is_state_unreadable
            && existing.map(|revision| revision.revision) == state.map(|state| state.revision)
    }

    /// Returns the number of the commit that created the group. `None` if the group is deleted.
    fn created(&self) -> Option<u64> {
        let revision = self.revision.as_ref().filter(|revision| !revision.deleted);
        let of_revision = revision.and_then(|revision| revision.created);
        let state = self.state.as_ref();
        state.map_or(of_revision, |state| state.created)
    }

    pub(super) fn revisions(&self) -> Revisions {
        let revision = self.revision.as_ref().map(|revision| revision.revision);
        (revision, self.state.as_ref().map(|state| state.revision))
    }

    /// Returns true if the group on record has the order of the head and another document. All
    /// commands write the same document for one head, so the order is forged.
    pub(super) fn is_other_than(&self, target: &GroupTarget<'_>) -> bool {
        let revision = self.revision.as_ref().filter(|it| !it.deleted);
        revision.is_some_and(|revision| {
            let document = target.document;
            revision.revision == target.order
                && (revision.document != document.map(Document::digest)
                    || revision.created != document.map(|document| document.created))
        })
    }
}

impl Records {
    /// Writes the state of a group, so that it follows from a head.
    ///
    /// After this returns, no package is announced that the group does not have at this head. The
    /// call may be repeated. Unreadable items are written again. A group that was deleted and
    /// created again is deleted first, so that a member of the deleted group never gets a package
    /// of the new one.
    pub async fn project_group(
        &self,
        target: &GroupTarget<'_>,
    ) -> Result<GroupProjected, RecordsError> {
        let projected = self.project_source(target).await?;
        if projected != GroupProjected::Superseded {
            self.copy_revision(target.group, target.order).await?;
        }
        Ok(projected)
    }

    /// Writes the state of a group with its revision, but not the copies of the revision.
    async fn project_source(
        &self,
        target: &GroupTarget<'_>,
    ) -> Result<GroupProjected, RecordsError> {
        self.retry_on_conflict(None, |before: Option<Revisions>| async move {
            let recorded = self.recorded_group(target.group).await?;
            let is_consistent = recorded.is_consistent();
            // The group was changed between the reads of the two items. If a second read finds the
            // same items, one of them was changed by hand.
            if !is_consistent && before != Some(recorded.revisions()) {
                return Ok(ControlFlow::Continue(Some(recorded.revisions())));
            }
            let order = recorded.order();
            if order > target.order && self.has_reached(order).await? {
                return Ok(ControlFlow::Break(GroupProjected::Superseded));
            }
            let is_forged = !is_consistent || recorded.is_other_than(target);
            let is_current = order == target.order && !is_forged;
            let Some(document) = target.document else {
                return self.delete_projected(target, &recorded, is_current).await;
            };
            if is_current && recorded.state.is_some() {
                let left = target.packages.clone();
                return Ok(ControlFlow::Break(GroupProjected::Written { left }));
            }
            let created = recorded.created();
            let is_first = recorded.revision.is_none() && recorded.state.is_none();
            if !is_first && !is_current && created != Some(document.created) {
                return self.delete_projected(target, &recorded, is_current).await;
            }
            self.write_projected(target, document, &recorded).await
        })
        .await
    }

    /// Writes entries of a group in the partitions of packages, and removes others.
    ///
    /// Returns false if the group on record follows from another head. The rest is not written
    /// then.
    pub async fn write_group_packages(
        &self,
        group: &GroupName,
        packages: &GroupPackages,
        order: u64,
    ) -> Result<bool, RecordsError> {
        let entries = entries(packages);
        for entries in entries.chunks(MAX_WRITES - 1) {
            let mut writes = self.writing_entries(group, entries);
            writes.push(self.at_revision(group, order));
            if self.commit(writes).await? != Commit::Done {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) async fn delete_projected(
        &self,
        target: &GroupTarget<'_>,
        recorded: &RecordedGroup,
        is_current: bool,
    ) -> Result<ControlFlow<GroupProjected, Option<Revisions>>, RecordsError> {
        if !is_current {
            let writes = vec![
                self.replacing_revision(recorded, &deleted_revision(target.group, target.order)),
                write::remove(self.table(), &Key::group_state(target.group)),
                write::remove(self.table(), &Key::catalogued_group(target.group)),
            ];
            if self.commit(writes).await? != Commit::Done {
                return Ok(ControlFlow::Continue(None));
            }
        }
        Ok(ControlFlow::Break(GroupProjected::Deleted))
    }

    async fn write_projected(
        &self,
        target: &GroupTarget<'_>,
        document: &Document<GroupDocument>,
        recorded: &RecordedGroup,
    ) -> Result<ControlFlow<GroupProjected, Option<Revisions>>, RecordsError> {
        let priorities = self.new_priorities(document, recorded).await?;
        let stored = recorded.state.as_ref();
        let priority = |package| priorities.get(&package).copied();
        let state = project_group(target.group, document, stored, priority, target.order);
        let revision = RevisionItem {
            revision: target.order,
            created: state.created,
            document: state.document,
            deleted: false,
            origin: state.origin.clone(),
            ..deleted_revision(target.group, target.order)
        };
        let mut writes = vec![
            self.replacing_revision(recorded, &revision),
            write::replace(self.table(), stored::group(&state)),
            write::replace(self.table(), stored::catalogued_group(target.group)),
        ];
        let is_created_again = recorded.revision.is_some() && recorded.created().is_none();
        if is_created_again {
            writes.extend(self.without_members(target.group));
        }
        let entries = entries(target.packages);
        let (now, later) = entries.split_at(entries.len().min(MAX_WRITES - writes.len()));
        let checks = writes.len();
        writes.extend(self.writing_entries(target.group, now));
        Ok(match self.commit(writes).await? {
            Commit::Done => ControlFlow::Break(GroupProjected::Written {
                left: packages(later),
            }),
            // A member of the deleted group is left.
            Commit::Refused(failed)
                if is_created_again && !failed[0] && failed[3..checks].contains(&true) =>
            {
                ControlFlow::Break(GroupProjected::Deleted)
            }
            Commit::Refused(_) => ControlFlow::Continue(None),
        })
    }

    pub(super) async fn recorded_group(
        &self,
        group: &GroupName,
    ) -> Result<RecordedGroup, RecordsError> {
        let mut recorded = RecordedGroup::default();
        let state = Key::group_state(group);
        for found in self
            .batch(&[state.clone(), Key::group_revision(group)])
            .await?
        {
            let sk = found.get(item::SK).and_then(|sk| sk.as_s().ok());
            let is_state = sk == Some(&state.sk);
            if is_state {
                let read = item::read(found);
                recorded.is_state_unreadable = read.is_err();
                recorded.state = read.ok();
            } else {
                match item::read(found.clone()) {
                    Ok(revision) => recorded.revision = Some(revision),
                    Err(_) => recorded.unreadable = Some(found),
                }
            }
        }
        Ok(recorded)
    }

    /// Reads the priorities of packages that the group does not have on record.
    pub(super) async fn new_priorities(
        &self,
        document: &GroupDocument,
        recorded: &RecordedGroup,
    ) -> Result<HashMap<PackageId, Priority>, RecordsError> {
        let is_known = |package| {
            let stored = recorded.state.as_ref();
            stored.is_some_and(|state| state.assignment(package).is_some())
        };
        let packages = document
            .packages
            .as_slice()
            .iter()
            .map(|entry| entry.package);
        let new: Vec<PackageId> = packages.filter(|package| !is_known(*package)).collect();
        let found = self.packages_of(&new).await?;
        Ok(found
            .iter()
            .map(|package| (package.id, package.priority))
            .collect())
    }

    /// Returns the write of a revision, on the condition that the one on record was read.
    pub(super) fn replacing_revision(
        &self,
        recorded: &RecordedGroup,
        revision: &RevisionItem,
    ) -> TransactWriteItem {
        let item = stored::group_revision(revision);
        let Some(read) = &recorded.revision else {
            let unreadable = recorded.unreadable.as_ref();
            let (condition, terms) =
                unreadable.map_or_else(|| (ABSENT.to_owned(), Terms::default()), still_unreadable);
            return write::put(self.table(), item, &condition, &terms);
        };
        // A group that is created again keeps the order at which it was deleted.
        // The document, too: the order may be forged, and the next head may have the same.
        let mut terms = unchanged(read.revision)
            .name(IS_DELETED)
            .name(DOCUMENT)
            .value("deleted", AttributeValue::Bool(read.deleted));
        let same_document = match &read.document {
            None => "attribute_not_exists(#document)",
            Some(digest) => {
                terms = terms.value("document", item::attribute(digest));
                "#document = :document"
            }
        };
        let condition = format!("{UNCHANGED} AND #deleted = :deleted AND {same_document}");
        write::put(self.table(), item, &condition, &terms)
    }

    fn writing_entries(
        &self,
        group: &GroupName,
        entries: &[(PackageId, bool)],
    ) -> Vec<TransactWriteItem> {
        let entry = |(package, is_present): &(PackageId, bool)| {
            if *is_present {
                write::replace(self.table(), stored::group_with(*package, group))
            } else {
                write::remove(self.table(), &Key::group_with(*package, group))
            }
        };
        entries.iter().map(entry).collect()
    }

    /// Returns the check that the group on record was created by this commit.
    ///
    /// With a revision, the check also requires that the group has not changed since.
    pub(super) fn checking_group(
        &self,
        group: &GroupName,
        created: Option<u64>,
        revision: Option<u64>,
    ) -> TransactWriteItem {
        let mut terms = Terms::default()
            .name(IS_DELETED)
            .value("deleted", AttributeValue::Bool(false));
        let mut condition = "#deleted = :deleted".to_owned();
        if let Some(created) = created {
            terms = terms.name(CREATED).value("created", item::number(&created));
            condition.push_str(" AND #created = :created");
        }
        if let Some(revision) = revision {
            terms = terms
                .name(REVISION)
                .value("revision", item::number(&revision));
            condition = format!("{condition} AND {UNCHANGED}");
        }
        write::check(
            self.table(),
            &Key::group_revision(group),
            &condition,
            &terms,
        )
    }

    /// Returns the check that the group is deleted on record, at this order.
    pub(super) fn deleted_at(&self, group: &GroupName, order: u64) -> TransactWriteItem {
        let terms = unchanged(order)
            .name(IS_DELETED)
            .value("deleted", AttributeValue::Bool(true));
        let condition = format!("{UNCHANGED} AND #deleted = :deleted");
        write::check(
            self.table(),
            &Key::group_revision(group),
            &condition,
            &terms,
        )
    }
}

/// Returns the condition that a revision is unreadable for the same reason.
fn still_unreadable(read: &Item) -> (String, Terms) {
    let mut terms = Terms::default();
    let conditions = OF_REVISION.map(|attribute| {
        terms = std::mem::take(&mut terms).name(attribute);
        match read.get(attribute) {
            None => format!("attribute_not_exists(#{attribute})"),
            Some(value) => {
                terms = std::mem::take(&mut terms).value(attribute, value.clone());
                format!("#{attribute} = :{attribute}")
            }
        }
    });
    let condition = [&[PRESENT.to_owned()][..], &conditions].concat();
    (condition.join(" AND "), terms)
}

pub(super) fn deleted_revision(group: &GroupName, order: u64) -> RevisionItem {
    RevisionItem {
        group: group.clone(),
        revision: order,
        deleted: true,
        created: None,
        origin: None,
        document: None,
    }
}

/// Returns the packages, each with its presence in the group.
fn entries(packages: &GroupPackages) -> Vec<(PackageId, bool)> {
    let removed = packages.removed.iter().map(|package| (*package, false));
    let added = packages.added.iter().map(|package| (*package, true));
    removed.chain(added).collect()
}

fn packages(entries: &[(PackageId, bool)]) -> GroupPackages {
    let of = |wanted: bool| {
        let entries = entries
            .iter()
            .filter(move |(_, is_present)| *is_present == wanted);
        entries.map(|(package, _)| *package).collect()
    };
    GroupPackages {
        added: of(true),
        removed: of(false),
    }
}

// The checks of members fit beside the state of a group.
const _: () = assert!(3 + (MEMBER_SHARDS as usize) < MAX_WRITES);
