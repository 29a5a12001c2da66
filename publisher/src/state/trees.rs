//! The trees of one commit, loaded from the table page by page.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::state::{
    CommitFields, HiddenNodes, LeafChange, LeafName, Lookup, NodeHash, PagedTree, PartialTree,
};
use packcast_protocol::{GroupName, Sha256Digest};
use packcast_rollout::state::{StateChange, StatePart, needed, needed_members, needs_all_rollouts};
use packcast_store::Records;

use super::error::StateError;
use super::read_limit::ReadLimit;

/// Number of devices whose documents are read at once.
const DEVICES_AT_ONCE: usize = 10_000;

/// Tells whether a name belongs into a tree.
type IsOfTree = fn(&LeafName) -> bool;

/// The trees of one commit. A part that no operation needs is never loaded.
#[derive(Clone, Debug)]
pub struct Trees {
    pub groups: PagedTree,
    pub devices: PagedTree,
    pub ancestors: PagedTree,
    /// The limit of all pages and documents that are loaded; `None` if there is none.
    limit: Option<ReadLimit>,
}

impl Trees {
    /// Returns the trees of a commit, or empty trees before the first commit.
    pub fn of(commit: Option<&CommitFields>) -> Self {
        let tree = |root: fn(&CommitFields) -> NodeHash| {
            PagedTree::new(commit.map_or(NodeHash::EMPTY, root))
        };
        Self {
            groups: tree(|commit| commit.groups),
            devices: tree(|commit| commit.devices),
            ancestors: tree(|commit| commit.ancestors),
            limit: None,
        }
    }

    /// Loads pages and documents within a limit.
    #[must_use]
    pub(crate) fn within(self, limit: Option<ReadLimit>) -> Self {
        Self { limit, ..self }
    }

    /// Loads the paths to these names, one batch of pages for each level.
    pub async fn load(
        &mut self,
        records: &Records,
        names: &BTreeSet<LeafName>,
    ) -> Result<(), StateError> {
        loop {
            let mut missing = BTreeSet::new();
            for (tree, is_of) in self.each() {
                missing.extend(tree.missing(names.iter().filter(|name| is_of(name))));
            }
            if missing.is_empty() {
                return Ok(());
            }
            self.load_pages(records, missing).await?;
        }
    }

    /// Loads the names, and returns the digest of each, or `None` if the tree does not have it.
    pub async fn digests(
        &mut self,
        records: &Records,
        names: BTreeSet<LeafName>,
    ) -> Result<BTreeMap<LeafName, Option<Sha256Digest>>, StateError> {
        self.load(records, &names).await?;
        let digest = |name: LeafName| {
            let digest = self.digest(&name);
            (name, digest)
        };
        Ok(names.into_iter().map(digest).collect())
    }

    /// Returns the documents of these names.
    pub async fn part(
        &mut self,
        records: &Records,
        names: BTreeSet<LeafName>,
    ) -> Result<StatePart, StateError> {
        let leaves = self.digests(records, names).await?;
        let digests: BTreeSet<Sha256Digest> = leaves.values().copied().flatten().collect();
        let digests: Vec<Sha256Digest> = digests.into_iter().collect();
        ReadLimit::take(self.limit.as_ref(), digests.len())?;
        let texts = records.documents(&digests).await?;
        ReadLimit::spend(
            self.limit.as_ref(),
            texts.iter().map(|text| text.as_str().len()),
        );
        let texts = texts.into_iter().map(|text| (text.digest(), text));
        Ok(StatePart::read(leaves, &texts.collect())?)
    }

    /// Loads the documents that changes need.
    pub async fn load_needed(
        &mut self,
        records: &Records,
        changes: &[StateChange],
        loaded: &mut StatePart,
    ) -> Result<(), StateError> {
        if needs_all_rollouts(changes) {
            loaded.extend(self.all_rollouts(records).await?);
        }
        loop {
            let names = needed(changes, loaded);
            let groups = needed_members(changes, loaded);
            if names.is_empty() && groups.is_empty() {
                return Ok(());
            }
            loaded.extend(self.part(records, names).await?);
            for group in groups {
                let members = self.members(records, &group).await?;
                loaded.add_members(group, members);
            }
        }
    }

    /// Returns the documents of all devices that name a group.
    ///
    /// It reads the whole tree of devices, because the records of the group's members may lack one.
    async fn members(
        &mut self,
        records: &Records,
        group: &GroupName,
    ) -> Result<StatePart, StateError> {
        self.load_all(records, |trees| &mut trees.devices).await?;
        let devices = self.devices.tree().leaves();
        let devices: Vec<LeafName> = devices.map(|(name, _)| name.clone()).collect();
        let mut members = StatePart::default();
        for devices in devices.chunks(DEVICES_AT_ONCE) {
            let part = self.part(records, devices.iter().cloned().collect());
            members.extend(part.await?.naming(group));
        }
        Ok(members)
    }

    /// Returns the leaves of groups, locations and devices that differ from those of a later
    /// commit.
    pub async fn difference(
        &mut self,
        records: &Records,
        after: &mut Self,
    ) -> Result<Vec<LeafChange>, StateError> {
        let mut found = Vec::new();
        for tree in [
            (|trees| &mut trees.groups) as fn(&mut Self) -> &mut PagedTree,
            |trees| &mut trees.devices,
        ] {
            loop {
                let hidden = match tree(self).tree().diff(tree(after).tree()) {
                    Ok(changes) => {
                        found.extend(changes);
                        break;
                    }
                    Err(hidden) => hidden,
                };
                let pages = self.read(records, hidden.hashes().iter().copied().collect());
                let pages = pages.await?;
                insert(tree(self), &pages)?;
                insert(tree(after), &pages)?;
            }
        }
        Ok(found)
    }

    /// Loads all ancestors.
    pub async fn load_ancestors(&mut self, records: &Records) -> Result<(), StateError> {
        self.load_all(records, |trees| &mut trees.ancestors).await
    }

    /// Loads every page of a tree.
    pub async fn load_all(
        &mut self,
        records: &Records,
        tree: fn(&mut Self) -> &mut PagedTree,
    ) -> Result<(), StateError> {
        let nothing = PartialTree::hidden(NodeHash::EMPTY);
        while let Err(hidden) = nothing.diff(tree(self).tree()) {
            let pages = self.read(records, hidden.hashes().iter().copied().collect());
            let pages = pages.await?;
            insert(tree(self), &pages)?;
        }
        Ok(())
    }

    /// Returns the documents of all groups.
    pub async fn all_groups(&mut self, records: &Records) -> Result<StatePart, StateError> {
        let is_group = |name: &LeafName| matches!(name, LeafName::Group(_));
        self.all_of_groups(records, is_group).await
    }

    /// Returns the documents of all rollouts.
    pub async fn all_rollouts(&mut self, records: &Records) -> Result<StatePart, StateError> {
        let is_rollout = |name: &LeafName| matches!(name, LeafName::Rollout(_));
        let part = self.all_of_groups(records, is_rollout).await?;
        Ok(part.with_all_rollouts())
    }

    /// Returns the documents of some names in the tree of groups, of which it loads every page.
    async fn all_of_groups(
        &mut self,
        records: &Records,
        is_wanted: fn(&LeafName) -> bool,
    ) -> Result<StatePart, StateError> {
        self.load_all(records, |trees| &mut trees.groups).await?;
        let names = self.groups.tree().leaves().map(|(name, _)| name);
        let wanted = names.filter(|name| is_wanted(name));
        let wanted = wanted.cloned().collect();
        self.part(records, wanted).await
    }

    /// Loads hidden parts that decide on the result of a change.
    pub async fn load_hidden(
        &mut self,
        records: &Records,
        hidden: &HiddenNodes,
    ) -> Result<(), StateError> {
        self.load_pages(records, hidden.hashes().iter().copied().collect())
            .await
    }

    /// Returns the digest of a loaded name, or `None` if the tree does not have it.
    fn digest(&self, name: &LeafName) -> Option<Sha256Digest> {
        let mut trees = self.each().into_iter();
        let (tree, _) = trees.find(|(_, is_of)| is_of(name))?;
        match tree.tree().lookup(name) {
            Lookup::Present(digest) => Some(digest),
            Lookup::Absent | Lookup::Hidden(_) => None,
        }
    }

    async fn load_pages(
        &mut self,
        records: &Records,
        hashes: BTreeSet<NodeHash>,
    ) -> Result<(), StateError> {
        let pages = self.read(records, hashes).await?;
        for tree in [&mut self.groups, &mut self.devices, &mut self.ancestors] {
            insert(tree, &pages)?;
        }
        Ok(())
    }

    /// Reads pages within the limit. All of them must exist.
    async fn read(
        &self,
        records: &Records,
        hashes: BTreeSet<NodeHash>,
    ) -> Result<Vec<(NodeHash, Vec<u8>)>, StateError> {
        ReadLimit::take(self.limit.as_ref(), hashes.len())?;
        let pages = load(records, hashes).await?;
        ReadLimit::spend(
            self.limit.as_ref(),
            pages.iter().map(|(_, bytes)| bytes.len()),
        );
        Ok(pages)
    }

    /// Returns each tree with the kinds of names that belong into it.
    fn each(&self) -> [(&PagedTree, IsOfTree); 3] {
        let is_device: IsOfTree = |name| matches!(name, LeafName::Device(_));
        let is_commit: IsOfTree = |name| matches!(name, LeafName::Commit(_));
        [
            (&self.devices, is_device),
            (&self.ancestors, is_commit),
            (&self.groups, |name| {
                !matches!(name, LeafName::Device(_) | LeafName::Commit(_))
            }),
        ]
    }
}

/// Reads pages, all of which must exist.
async fn load(
    records: &Records,
    hashes: BTreeSet<NodeHash>,
) -> Result<Vec<(NodeHash, Vec<u8>)>, StateError> {
    let hashes: Vec<NodeHash> = hashes.into_iter().collect();
    let pages = records.pages(&hashes).await?;
    let found: BTreeSet<NodeHash> = pages.iter().map(|(hash, _)| *hash).collect();
    match hashes.into_iter().find(|hash| !found.contains(hash)) {
        None => Ok(pages),
        Some(hash) => Err(StateError::NoPage { hash }),
    }
}

/// Inserts those of the pages that have a place in the tree.
fn insert(tree: &mut PagedTree, pages: &[(NodeHash, Vec<u8>)]) -> Result<(), StateError> {
    for (hash, bytes) in pages {
        if tree.has_place_for(hash) {
            let inserted = tree.insert_page(*hash, bytes);
            inserted.map_err(|source| StateError::Page {
                hash: *hash,
                source,
            })?;
        }
    }
    Ok(())
}
