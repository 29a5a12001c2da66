//! Proofs: partial trees that show only the paths to some names.

use super::node::TreeNode;
use super::{HiddenNodes, PartialTree, PartialTreeError};
use crate::state::name::LeafName;
use crate::state::trie::{LeafKey, NodeHash};

impl PartialTree {
    /// Returns the same tree with only the paths to these names, each present or absent.
    ///
    /// Fails if a path ends in a hidden part.
    pub fn prove<'a>(
        &self,
        names: impl IntoIterator<Item = &'a LeafName>,
    ) -> Result<Self, HiddenNodes> {
        let mut keys: Vec<_> = names.into_iter().map(LeafKey::of).collect();
        keys.sort_unstable();
        let mut hidden = Vec::new();
        let root = show_paths(&self.root, &keys, 0, &mut hidden);
        HiddenNodes::none_of(hidden)?;
        Ok(Self { root })
    }

    /// Returns the tree that shows the parts of both trees.
    ///
    /// Fails if the trees have different roots.
    pub fn merge(&self, other: &Self) -> Result<Self, PartialTreeError> {
        let (expected, found) = (self.root(), other.root());
        if expected != found {
            return Err(PartialTreeError::OtherHash { expected, found });
        }
        Ok(Self {
            root: merge(&self.root, &other.root),
        })
    }
}

/// Returns the set with the paths to these sorted keys, and the hashes at which paths end.
fn show_paths(
    node: &TreeNode,
    keys: &[LeafKey],
    depth: usize,
    hidden: &mut Vec<NodeHash>,
) -> TreeNode {
    match node {
        // Next to the paths, a hash is enough.
        _ if keys.is_empty() => TreeNode::hidden(node.hash()),
        TreeNode::Empty | TreeNode::Leaf(_) => node.clone(),
        TreeNode::Hidden(hash) => {
            hidden.push(*hash);
            node.clone()
        }
        TreeNode::Branch(branch) => {
            let (keys_zero, keys_one) = keys.split_at(keys.partition_point(|key| !key.bit(depth)));
            let [zero, one] = &branch.children;
            branch.showing([
                show_paths(zero, keys_zero, depth + 1, hidden),
                show_paths(one, keys_one, depth + 1, hidden),
            ])
        }
    }
}

/// Merges two forms of the same set, which have the same hash.
///
/// The result is canonical: next to a leaf, neither form has an empty set.
fn merge(left: &TreeNode, right: &TreeNode) -> TreeNode {
    match (left, right) {
        (TreeNode::Branch(left), TreeNode::Branch(right)) => left.showing([
            merge(&left.children[0], &right.children[0]),
            merge(&left.children[1], &right.children[1]),
        ]),
        (TreeNode::Hidden(_), shown) | (shown, _) => shown.clone(),
    }
}
