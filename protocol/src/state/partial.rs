//! Partial trees: the one form of stored pages, of proofs, and of whole trees.

mod diff;
pub(in crate::state) mod encoding;
mod hidden;
pub(in crate::state) mod node;
mod proof;
mod update;

use std::sync::Arc;

use crate::digest::Sha256Digest;
use crate::state::name::{LeafName, LeafNameError};
use crate::state::trie::{LeafKey, NodeHash};
use node::{TreeLeaf, TreeNode};

pub use diff::LeafChange;
pub use hidden::HiddenNodes;

/// Size of the largest partial tree that a device accepts, in bytes.
pub const MAX_DEVICE_TREE_BYTES: usize = 64 << 10;

/// A tree of which a part may be hidden: only the hash of that part is known.
///
/// The tree is canonical, so each set of leaves has one root. A clone shares its nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartialTree {
    root: TreeNode,
}

/// The place of a name in a partial tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The tree has a leaf of this name, with this digest.
    Present(Sha256Digest),
    /// The tree has no leaf of this name.
    Absent,
    /// The path to the name ends in a hidden part of the tree, with this hash.
    Hidden(NodeHash),
}

/// Errors in partial trees.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartialTreeError {
    #[error("the tree has {bytes} bytes, at most {max} are allowed")]
    TooLong { bytes: usize, max: usize },
    #[error("the tree is not base64")]
    NotBase64,
    #[error("the tree ends too early")]
    CutOff,
    #[error("{bytes} bytes follow the tree")]
    Remainder { bytes: usize },
    #[error("the tree has a node of the unknown kind {kind}")]
    UnknownNode { kind: u8 },
    #[error("the tree has more than 256 levels")]
    TooDeep,
    #[error("the name of a leaf is not UTF-8")]
    NotText,
    #[error("cannot read the name of a leaf")]
    Name(#[from] LeafNameError),
    #[error("the leaf {name} is not on the path of its key")]
    Misplaced { name: LeafName },
    #[error("the tree is not in canonical form")]
    NotCanonical,
    #[error("hash mismatch: expected {expected}, found {found}")]
    OtherHash { expected: NodeHash, found: NodeHash },
    #[error("the tree has no place for a page with the hash {hash}")]
    UnexpectedPage { hash: NodeHash },
    #[error("the tree has two places for a page with the hash {hash}")]
    RepeatedPage { hash: NodeHash },
}

impl PartialTree {
    /// Returns the whole tree of these leaves. Of two leaves with the same name, the last counts.
    pub fn from_leaves(leaves: impl IntoIterator<Item = (LeafName, Sha256Digest)>) -> Self {
        let mut leaves: Vec<_> = leaves
            .into_iter()
            .map(|(name, digest)| Arc::new(TreeLeaf::new(name, digest)))
            .collect();
        // The sort is stable, so the last leaf of a name is also the last of its key.
        leaves.sort_by_key(|leaf| leaf.key);
        leaves.dedup_by(|later, earlier| {
            let same = later.key == earlier.key;
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        Self {
            root: TreeNode::of_sorted(&leaves, 0),
        }
    }

    /// Returns a tree of which only the root is known.
    pub fn hidden(root: NodeHash) -> Self {
        Self {
            root: TreeNode::hidden(root),
        }
    }

    /// Returns the root of the whole tree.
    pub fn root(&self) -> NodeHash {
        self.root.hash()
    }

    /// Returns the leaves that the tree shows, sorted by key.
    pub fn leaves(&self) -> impl Iterator<Item = (&LeafName, Sha256Digest)> {
        let mut open = vec![&self.root];
        std::iter::from_fn(move || {
            loop {
                match open.pop()? {
                    TreeNode::Leaf(leaf) => return Some((&leaf.name, leaf.digest)),
                    TreeNode::Branch(branch) => open.extend(branch.children.iter().rev()),
                    TreeNode::Empty | TreeNode::Hidden(_) => {}
                }
            }
        })
    }

    /// Looks a name up. Only a caller that has compared the root with a signed root may rely on
    /// the answer.
    pub fn lookup(&self, name: &LeafName) -> Lookup {
        let key = LeafKey::of(name);
        let mut node = &self.root;
        let mut depth = 0;
        loop {
            match node {
                TreeNode::Leaf(leaf) if leaf.key == key => return Lookup::Present(leaf.digest),
                TreeNode::Empty | TreeNode::Leaf(_) => return Lookup::Absent,
                TreeNode::Hidden(hash) => return Lookup::Hidden(*hash),
                TreeNode::Branch(branch) => node = &branch.children[usize::from(key.bit(depth))],
            }
            depth += 1;
        }
    }
}

impl PartialTree {
    pub(super) fn node(&self) -> &TreeNode {
        &self.root
    }

    /// Replaces the hidden part at the end of a path with another form of the same set.
    ///
    /// Fails if the tree would not be canonical.
    pub(super) fn replace_hidden(
        &mut self,
        path: &LeafKey,
        depth: usize,
        shown: TreeNode,
    ) -> Result<(), PartialTreeError> {
        let mut node = &mut self.root;
        for level in 0..depth {
            let TreeNode::Branch(branch) = node else {
                break;
            };
            let side = usize::from(path.bit(level));
            let children = &mut Arc::make_mut(branch).children;
            let last = level + 1 == depth;
            if last
                && matches!(
                    (&shown, &children[1 - side]),
                    (TreeNode::Leaf(_), TreeNode::Empty)
                )
            {
                return Err(PartialTreeError::NotCanonical);
            }
            node = &mut children[side];
        }
        *node = shown;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::messages;

    #[test]
    fn error_messages() {
        let hash = |byte| NodeHash::from_bytes([byte; 32]);
        insta::assert_snapshot!(messages([
            PartialTreeError::TooLong { bytes: 70_000, max: MAX_DEVICE_TREE_BYTES },
            PartialTreeError::NotBase64,
            PartialTreeError::CutOff,
            PartialTreeError::Remainder { bytes: 2 },
            PartialTreeError::UnknownNode { kind: 4 },
            PartialTreeError::TooDeep,
            PartialTreeError::NotText,
            "lab".parse::<LeafName>().unwrap_err().into(),
            PartialTreeError::Misplaced { name: "group/lab".parse().unwrap() },
            PartialTreeError::NotCanonical,
            PartialTreeError::OtherHash { expected: hash(1), found: hash(2) },
            PartialTreeError::UnexpectedPage { hash: hash(1) },
            PartialTreeError::RepeatedPage { hash: hash(1) },
        ]), @r#"
        the tree has 70000 bytes, at most 65536 are allowed
        the tree is not base64
        the tree ends too early
        2 bytes follow the tree
        the tree has a node of the unknown kind 4
        the tree has more than 256 levels
        the name of a leaf is not UTF-8
        cannot read the name of a leaf: "lab" names no leaf: write commit/<number>-<8 hex digits>, device/<id>, group/<name>, location/<name> or rollout/<id>
        the leaf group/lab is not on the path of its key
        the tree is not in canonical form
        hash mismatch: expected 0101010101010101010101010101010101010101010101010101010101010101, found 0202020202020202020202020202020202020202020202020202020202020202
        the tree has no place for a page with the hash 0101010101010101010101010101010101010101010101010101010101010101
        the tree has two places for a page with the hash 0101010101010101010101010101010101010101010101010101010101010101
        "#);
    }
}
