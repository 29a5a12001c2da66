//! Nodes of a partial tree, with their hashes.

use std::sync::Arc;

use super::PartialTreeError;
use crate::digest::Sha256Digest;
use crate::state::name::LeafName;
use crate::state::trie::{LeafKey, NodeHash};

/// A set of leaves. Clones share their parts.
///
/// A path has at most 256 branches, so functions may call themselves for each level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::state) enum TreeNode {
    Empty,
    Leaf(Arc<TreeLeaf>),
    Branch(Arc<TreeBranch>),
    /// A set of which only the hash is known. The hash is not that of the empty set.
    Hidden(NodeHash),
}

/// A leaf with its key and hash.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::state) struct TreeLeaf {
    pub(in crate::state) name: LeafName,
    pub(in crate::state) digest: Sha256Digest,
    pub(in crate::state) key: LeafKey,
    hash: NodeHash,
}

/// At least two leaves, or one leaf or more that are hidden.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::state) struct TreeBranch {
    /// The sets whose next bit is 0 and 1.
    pub(in crate::state) children: [TreeNode; 2],
    hash: NodeHash,
}

impl TreeLeaf {
    pub(in crate::state) fn new(name: LeafName, digest: Sha256Digest) -> Self {
        let key = LeafKey::of(&name);
        let hash = NodeHash::leaf(&key, &digest);
        Self {
            name,
            digest,
            key,
            hash,
        }
    }
}

impl TreeBranch {
    /// Returns the same set with other parts shown. The hashes of the children are the same.
    pub(in crate::state) fn showing(&self, children: [TreeNode; 2]) -> TreeNode {
        TreeNode::Branch(Arc::new(Self {
            children,
            hash: self.hash,
        }))
    }
}

impl TreeNode {
    pub(in crate::state) fn hash(&self) -> NodeHash {
        match self {
            Self::Empty => NodeHash::EMPTY,
            Self::Leaf(leaf) => leaf.hash,
            Self::Branch(branch) => branch.hash,
            Self::Hidden(hash) => *hash,
        }
    }

    /// Returns the set of which only this hash is known.
    pub(in crate::state) fn hidden(hash: NodeHash) -> Self {
        if hash == NodeHash::EMPTY {
            Self::Empty
        } else {
            Self::Hidden(hash)
        }
    }

    /// Returns the branch of two sets.
    ///
    /// Fails if the union of the sets has a shorter form.
    pub(in crate::state) fn branch(children: [Self; 2]) -> Result<Self, PartialTreeError> {
        match children {
            [Self::Empty, Self::Empty | Self::Leaf(_)] | [Self::Leaf(_), Self::Empty] => {
                Err(PartialTreeError::NotCanonical)
            }
            children => Ok(Self::new_branch(children)),
        }
    }

    /// Returns the union of two sets whose next bits differ, in its one form.
    pub(in crate::state) fn join(children: [Self; 2]) -> Self {
        match children {
            [Self::Empty, only @ (Self::Empty | Self::Leaf(_))]
            | [only @ Self::Leaf(_), Self::Empty] => only,
            children => Self::new_branch(children),
        }
    }

    fn new_branch(children: [Self; 2]) -> Self {
        let hash = NodeHash::branch(&children[0].hash(), &children[1].hash());
        Self::Branch(Arc::new(TreeBranch { children, hash }))
    }

    /// Returns the set of leaves that are sorted by key. Their keys are distinct and agree in the
    /// bits above this depth.
    pub(in crate::state) fn of_sorted(leaves: &[Arc<TreeLeaf>], depth: usize) -> Self {
        match leaves {
            [] => Self::Empty,
            [leaf] => Self::Leaf(Arc::clone(leaf)),
            _ => {
                let middle = leaves.partition_point(|leaf| !leaf.key.bit(depth));
                let (zero, one) = leaves.split_at(middle);
                Self::new_branch([zero, one].map(|leaves| Self::of_sorted(leaves, depth + 1)))
            }
        }
    }
}
