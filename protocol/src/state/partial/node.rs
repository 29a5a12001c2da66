//! Nodes of a partial tree, with their hashes.

use std::sync::Arc;

use super::PartialTreeError;
use crate::digest::Sha256Digest;
use crate::state::name::LeafName;
use crate::state::trie::{LeafKey, NodeHash};

/// A set of leaves. Clones share their parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::state) enum TreeNode {
    Empty,
    Leaf(Arc<TreeLeaf>),
    Branch(Arc<TreeBranch>),
    /// A set of which only the hash is known. The hash is not that of the empty set.
    Hidden(NodeHash),
}

#[derive(Debug, PartialEq, Eq)]
pub(in crate::state) struct TreeLeaf {
    pub(in crate::state) name: LeafName,
    pub(in crate::state) digest: Sha256Digest,
    pub(in crate::state) key: LeafKey,
    hash: NodeHash,
}

#[derive(Debug, PartialEq, Eq)]
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

impl TreeNode {
    pub(in crate::state) fn hash(&self) -> NodeHash {
        match self {
            Self::Empty => NodeHash::EMPTY,
            Self::Leaf(leaf) => leaf.hash,
            Self::Branch(branch) => branch.hash,
            Self::Hidden(hash) => *hash,
        }
    }

    /// Returns the node with only its hash.
    pub(in crate::state) fn hidden(hash: NodeHash) -> Self {
        if hash == NodeHash::EMPTY {
            Self::Empty
        } else {
            Self::Hidden(hash)
        }
    }

    /// Returns the branch of two sets, which is refused unless it is the form of their union.
    pub(in crate::state) fn branch(children: [Self; 2]) -> Result<Self, PartialTreeError> {
        match &children {
            [Self::Empty, Self::Empty | Self::Leaf(_)] | [Self::Leaf(_), Self::Empty] => {
                Err(PartialTreeError::NotCanonical)
            }
            _ => Ok(Self::new_branch(children)),
        }
    }

    fn new_branch(children: [Self; 2]) -> Self {
        let hash = NodeHash::branch(&children[0].hash(), &children[1].hash());
        Self::Branch(Arc::new(TreeBranch { children, hash }))
    }

    /// Returns the set of leaves that are sorted by key, with distinct keys that agree in the bits
    /// above this depth.
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
