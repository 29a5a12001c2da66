//! Pages: the parts in which a tree is stored, each found by its hash.
//!
//! Code here does no I/O. An operation either succeeds or names the pages that it needs; the caller
//! loads them in one batch, inserts them, and tries again.

mod layout;

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Sha256Digest;
use crate::state::name::LeafName;
use crate::state::partial::encoding::read_below;
use crate::state::partial::node::TreeNode;
use crate::state::partial::{HiddenNodes, Lookup, PartialTree, PartialTreeError};
use crate::state::trie::{LeafKey, NodeHash};

/// Size of the largest page, in bytes.
///
/// No page of 40 leaves is larger: each leaf takes at most 289 bytes, and its path at most 512.
pub const MAX_PAGE_BYTES: usize = 32 << 10;

/// A tree that is stored in pages, of which some are loaded.
#[derive(Clone, Debug)]
pub struct PagedTree {
    tree: PartialTree,
    /// The hidden parts: pages that are stored and not loaded.
    hidden: BTreeMap<NodeHash, Place>,
    /// The pages that are loaded or written. Each page below them is stored, too.
    stored: BTreeSet<NodeHash>,
}

/// A tree after a change.
#[derive(Clone, Debug)]
pub struct UpdatedTree {
    /// The changed tree. It counts the new pages as stored.
    pub tree: PagedTree,
    /// The pages to store, each after the pages below it. A page stored earlier under the same hash
    /// may have other bytes, which are equivalent: they hold the same set of leaves.
    pub pages: Vec<(NodeHash, Vec<u8>)>,
}

/// The place of a part of a tree: the first bits of its leaves' keys.
#[derive(Clone, Copy, Debug)]
struct Place {
    prefix: LeafKey,
    depth: usize,
}

impl PagedTree {
    /// Returns the stored tree with this root. None of its pages is loaded.
    pub fn new(root: NodeHash) -> Self {
        let mut hidden = BTreeMap::new();
        if root != NodeHash::EMPTY {
            hidden.insert(root, Place::ROOT);
        }
        Self {
            tree: PartialTree::hidden(root),
            hidden,
            stored: BTreeSet::new(),
        }
    }

    /// Returns the tree, which hides the pages that are not loaded.
    pub fn tree(&self) -> &PartialTree {
        &self.tree
    }

    /// Returns the root.
    pub fn root(&self) -> NodeHash {
        self.tree.root()
    }

    /// Returns whether the tree has a place for the page with this hash.
    pub fn has_place_for(&self, page: &NodeHash) -> bool {
        self.hidden.contains_key(page)
    }

    /// Returns the pages to load next on the paths to these names, sorted and distinct. If there
    /// are none, the tree shows each name as present or absent.
    pub fn missing<'a>(&self, names: impl IntoIterator<Item = &'a LeafName>) -> Vec<NodeHash> {
        let missing: BTreeSet<_> = names
            .into_iter()
            .filter_map(|name| match self.tree.lookup(name) {
                Lookup::Hidden(hash) => Some(hash),
                Lookup::Present(_) | Lookup::Absent => None,
            })
            .collect();
        missing.into_iter().collect()
    }

    /// Inserts a page. Inserting a page again has no effect.
    ///
    /// Fails if the page is damaged or has another hash, and if the tree has no place for it. The
    /// tree then stays as it is.
    pub fn insert_page(&mut self, hash: NodeHash, bytes: &[u8]) -> Result<(), PartialTreeError> {
        if self.stored.contains(&hash) {
            return Ok(());
        }
        let place = *self
            .hidden
            .get(&hash)
            .ok_or(PartialTreeError::UnexpectedPage { hash })?;
        let page = read_below(bytes, MAX_PAGE_BYTES, place.prefix, place.depth)?;
        let found = page.hash();
        if found != hash {
            return Err(PartialTreeError::OtherHash {
                expected: hash,
                found,
            });
        }
        let mut below = BTreeMap::new();
        self.collect_hidden(&page, place, &mut below)?;
        self.tree.replace_hidden(&place.prefix, place.depth, page)?;
        self.hidden.remove(&hash);
        // `append` would rebuild the whole map for each page.
        self.hidden.extend(below);
        self.stored.insert(hash);
        Ok(())
    }

    /// Sets (`Some`) or removes (`None`) leaves, and returns the changed tree with its new pages.
    ///
    /// Fails if pages that are not loaded decide on the result.
    pub fn update(
        &self,
        changes: &BTreeMap<LeafName, Option<Sha256Digest>>,
    ) -> Result<UpdatedTree, HiddenNodes> {
        let mut tree = Self {
            tree: self.tree.update(changes)?,
            // No change moves a hidden part, because only single leaves move.
            hidden: self.hidden.clone(),
            stored: self.stored.clone(),
        };
        let pages = layout::new_pages(tree.tree.node(), &tree.stored);
        tree.stored.extend(pages.iter().map(|(hash, _)| *hash));
        Ok(UpdatedTree { tree, pages })
    }

    /// Collects the hidden parts of a page at a place.
    ///
    /// In a canonical tree each hash has one place. Without this rule a page with two places would
    /// be missing for ever, because it is inserted once.
    fn collect_hidden(
        &self,
        node: &TreeNode,
        place: Place,
        below: &mut BTreeMap<NodeHash, Place>,
    ) -> Result<(), PartialTreeError> {
        match node {
            TreeNode::Empty | TreeNode::Leaf(_) => Ok(()),
            TreeNode::Hidden(hash) => {
                let known = self.hidden.contains_key(hash) || self.stored.contains(hash);
                if known || below.insert(*hash, place).is_some() {
                    return Err(PartialTreeError::RepeatedPage { hash: *hash });
                }
                Ok(())
            }
            TreeNode::Branch(branch) => {
                let [zero, one] = &branch.children;
                self.collect_hidden(zero, place.child(false), below)?;
                self.collect_hidden(one, place.child(true), below)
            }
        }
    }
}

impl Place {
    const ROOT: Self = Self {
        prefix: LeafKey::NONE,
        depth: 0,
    };

    fn child(self, bit: bool) -> Self {
        Self {
            prefix: self.prefix.with_bit(self.depth, bit),
            depth: self.depth + 1,
        }
    }
}
