//! Changes of a partial tree.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::node::{TreeLeaf, TreeNode};
use super::{HiddenNodes, PartialTree};
use crate::digest::Sha256Digest;
use crate::state::name::LeafName;
use crate::state::trie::{LeafKey, NodeHash};

/// A leaf that is set, or removed if there is none.
struct NewLeaf {
    key: LeafKey,
    leaf: Option<Arc<TreeLeaf>>,
}

impl PartialTree {
    /// Returns the tree after some leaves are set (`Some`) or removed (`None`).
    ///
    /// Fails if a hidden part decides on the result. That is a part on the path to a name, or next
    /// to a part that becomes empty: if the hidden part is a single leaf, the leaf moves up.
    pub fn update(
        &self,
        changes: &BTreeMap<LeafName, Option<Sha256Digest>>,
    ) -> Result<Self, HiddenNodes> {
        let mut leaves: Vec<_> = changes.iter().map(NewLeaf::of).collect();
        leaves.sort_unstable_by_key(|new| new.key);
        let mut hidden = Vec::new();
        let root = update(&self.root, &leaves, 0, &mut hidden);
        HiddenNodes::none_of(hidden)?;
        Ok(Self { root })
    }
}

impl NewLeaf {
    fn of((name, digest): (&LeafName, &Option<Sha256Digest>)) -> Self {
        let leaf = digest.map(|digest| Arc::new(TreeLeaf::new(name.clone(), digest)));
        let key = leaf
            .as_ref()
            .map_or_else(|| LeafKey::of(name), |leaf| leaf.key);
        Self { key, leaf }
    }
}

/// Returns the changed set, and the hashes of hidden parts that decide on it. If there are such
/// hashes, the returned set is meaningless.
fn update(
    node: &TreeNode,
    changes: &[NewLeaf],
    depth: usize,
    hidden: &mut Vec<NodeHash>,
) -> TreeNode {
    match node {
        _ if changes.is_empty() => node.clone(),
        TreeNode::Hidden(hash) => {
            hidden.push(*hash);
            node.clone()
        }
        TreeNode::Empty => TreeNode::of_sorted(&set_leaves(changes), depth),
        TreeNode::Leaf(old) => {
            let mut leaves = set_leaves(changes);
            if changes
                .binary_search_by_key(&old.key, |new| new.key)
                .is_err()
            {
                let place = leaves.partition_point(|leaf| leaf.key < old.key);
                leaves.insert(place, Arc::clone(old));
            }
            TreeNode::of_sorted(&leaves, depth)
        }
        TreeNode::Branch(branch) => {
            let (changes_zero, changes_one) =
                changes.split_at(changes.partition_point(|new| !new.key.bit(depth)));
            let [zero, one] = &branch.children;
            let children = [
                update(zero, changes_zero, depth + 1, hidden),
                update(one, changes_one, depth + 1, hidden),
            ];
            let hashes = |children: &[TreeNode; 2]| children.each_ref().map(TreeNode::hash);
            if hashes(&children) == hashes(&branch.children) {
                return node.clone();
            }
            // A hidden part never changes, so the empty part next to it has lost its leaves.
            if let [TreeNode::Empty, TreeNode::Hidden(hash)]
            | [TreeNode::Hidden(hash), TreeNode::Empty] = &children
            {
                hidden.push(*hash);
            }
            TreeNode::join(children)
        }
    }
}

fn set_leaves(changes: &[NewLeaf]) -> Vec<Arc<TreeLeaf>> {
    changes.iter().filter_map(|new| new.leaf.clone()).collect()
}
