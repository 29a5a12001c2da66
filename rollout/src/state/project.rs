//! Projections: the records that follow from the leaves of the head.
//!
//! Records follow the tree. They are decided from the document that a leaf has at the head, and
//! never from a difference alone: two publishers may complete the records of several commits at the
//! same time. Each record of a leaf carries the *order* of the head that it follows from, and a
//! record of a later order is never replaced.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::state::{
    DeviceDocument, Document, GroupDocument, LeafChange, LeafName, StateEntry,
};
use packcast_protocol::{GroupName, PackageId, Sha256Digest};

/// The revision record of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionRecord {
    /// Order of the head that the record follows from.
    pub order: u64,
    /// The group's document, or `None` if the group was deleted. The record stays, so that a slow
    /// writer of an earlier order is still refused.
    pub document: Option<RecordedGroup>,
}

/// The document of a group, as its revision record names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedGroup {
    /// Number of the commit that created the group. Memberships on record count only if they have
    /// the same number.
    pub created: u64,
    /// Number of the commit that changed the document last.
    pub number: u64,
    pub digest: Sha256Digest,
    /// Size of the document's text.
    pub bytes: usize,
}

/// The records of a group.
///
/// A store writes the revision if the order of the stored one is lower. Then it writes the packages
/// on the condition that the stored revision still has this order. If the stored revision has the
/// same order already, an earlier attempt was interrupted, and only the packages are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupProjection {
    pub revision: RevisionRecord,
    /// Packages that the group has, and that may not be on record.
    pub added: BTreeSet<PackageId>,
    /// Packages that the group does not have, and that may be on record.
    pub removed: BTreeSet<PackageId>,
}

/// The part of a device's records that follows from its leaf, as the store has read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordedLeaf {
    /// Order of the last projection, or 0 if there was none.
    pub order: u64,
    pub groups: BTreeMap<GroupName, u64>,
    /// Direct tasks that are open and not withdrawn, each with the `seq` of its direct entry.
    pub open: BTreeMap<PackageId, u64>,
    /// Direct entries that finished tasks have used up: package and `seq`.
    pub used: BTreeSet<(PackageId, u64)>,
}

/// The records of a device. A store writes them in one transaction, on the condition that the
/// device's record is unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceProjection {
    /// Order of the head that the records follow from.
    pub order: u64,
    /// Digest of the device's document, or `None` if the device has no leaf.
    pub digest: Option<Sha256Digest>,
    /// All groups of the device, each with the number of the commit that created it.
    pub groups: BTreeMap<GroupName, u64>,
    /// Groups in which the device becomes a member. A group that was created again is in both sets,
    /// with both numbers.
    pub joined: BTreeMap<GroupName, u64>,
    /// Groups in which the device is a member on record, and no longer in its document.
    pub left: BTreeMap<GroupName, u64>,
    /// Direct entries that have neither an open task nor a finished one.
    /// [`assign`](crate::assign::assign) decides the task of each. If the task of an earlier entry
    /// is still open, it goes on, with the `seq` of the new entry.
    pub opened: Vec<StateEntry>,
    /// Packages of direct tasks that are open without a direct entry.
    pub withdrawn: BTreeSet<PackageId>,
}

/// Returns the leaves whose records must be projected, each with the digests of its earlier
/// documents.
///
/// `changes` are the differences of all commits whose records may be incomplete, each from its
/// replaced head. The union counts, not the difference between the first state and the last: if a
/// device joins in one commit and leaves in the next, the two states are equal, but the records of
/// the first commit may be half written.
pub fn names_to_project<'a>(
    changes: impl IntoIterator<Item = &'a LeafChange>,
) -> BTreeMap<LeafName, EarlierDocuments> {
    let mut names: BTreeMap<LeafName, EarlierDocuments> = BTreeMap::new();
    for change in changes {
        if matches!(change.name, LeafName::Group(_) | LeafName::Device(_)) {
            let earlier = names.entry(change.name.clone()).or_default();
            earlier.0.extend([change.before, change.after]);
        }
    }
    names
}

/// Digests of the documents that a leaf has had since its records were complete, with the present
/// one. `None` stands for a time without a leaf.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EarlierDocuments(BTreeSet<Option<Sha256Digest>>);

impl EarlierDocuments {
    /// Returns the digests to load.
    pub fn digests(&self) -> impl Iterator<Item = Sha256Digest> {
        self.0.iter().copied().flatten()
    }

    /// Returns true if the leaf was absent for some time.
    pub fn was_absent(&self) -> bool {
        self.0.contains(&None)
    }
}

/// Decides the records of a group from its document at the head with this order.
///
/// `earlier` has the documents of [`EarlierDocuments`], `None` for a time without a leaf.
pub fn project_group<'a>(
    document: Option<&Document<GroupDocument>>,
    earlier: impl IntoIterator<Item = Option<&'a GroupDocument>>,
    order: u64,
) -> GroupProjection {
    let packages = |document: Option<&GroupDocument>| -> BTreeSet<PackageId> {
        let entries = document.map(|document| document.packages.as_slice());
        let entries = entries.unwrap_or_default().iter();
        entries.map(|entry| entry.package).collect()
    };
    let wanted = packages(document.map(|document| &**document));
    let (mut once, mut always) = (BTreeSet::new(), None);
    for earlier in earlier {
        let packages = packages(earlier);
        always = Some(match always {
            None => packages.clone(),
            Some(always) => &always & &packages,
        });
        once.extend(packages);
    }
    let always = always.unwrap_or_default();
    GroupProjection {
        revision: RevisionRecord {
            order,
            document: document.map(|document| RecordedGroup {
                created: document.created,
                number: document.revision,
                digest: document.digest(),
                bytes: document.text().as_str().len(),
            }),
        },
        added: &wanted - &always,
        removed: &once - &wanted,
    }
}

/// Decides the records of a device from its document at the head with this order.
///
/// Returns `None` if the records follow from this head or a later one already.
pub fn project_device(
    document: Option<&Document<DeviceDocument>>,
    recorded: &RecordedLeaf,
    order: u64,
) -> Option<DeviceProjection> {
    if recorded.order >= order {
        return None;
    }
    let groups = document.map_or_else(BTreeMap::new, |it| it.groups.as_map().clone());
    let entries = document.map(|document| document.packages.as_slice());
    let entries = entries.unwrap_or_default();
    let is_new = |entry: &&StateEntry| {
        let is_open = recorded.open.get(&entry.package) == Some(&entry.seq);
        !is_open && !recorded.used.contains(&(entry.package, entry.seq))
    };
    let has_entry = |package: PackageId| entries.iter().any(|entry| entry.package == package);
    let withdrawn = recorded.open.keys().copied();
    Some(DeviceProjection {
        order,
        digest: document.map(Document::digest),
        joined: without(&groups, &recorded.groups),
        left: without(&recorded.groups, &groups),
        groups,
        opened: entries.iter().filter(is_new).cloned().collect(),
        withdrawn: withdrawn.filter(|package| !has_entry(*package)).collect(),
    })
}

/// Returns the memberships that are not among the others.
fn without(
    groups: &BTreeMap<GroupName, u64>,
    others: &BTreeMap<GroupName, u64>,
) -> BTreeMap<GroupName, u64> {
    groups
        .iter()
        .filter(|(group, created)| others.get(*group) != Some(*created))
        .map(|(group, created)| (group.clone(), *created))
        .collect()
}

#[cfg(test)]
mod tests;
