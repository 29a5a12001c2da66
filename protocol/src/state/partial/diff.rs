//! Differences between two trees.

use super::node::TreeNode;
use super::{HiddenNodes, PartialTree};
use crate::digest::Sha256Digest;
use crate::state::name::LeafName;
use crate::state::trie::NodeHash;

/// A leaf that differs between two trees. `None` if a tree has no leaf of this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafChange {
    pub name: LeafName,
    pub before: Option<Sha256Digest>,
    pub after: Option<Sha256Digest>,
}

impl PartialTree {
    /// Returns the changes that lead from this tree to a later one, sorted by name.
    ///
    /// Parts with the same hash need not be shown. Fails if one of two different parts is hidden.
    pub fn diff(&self, after: &Self) -> Result<Vec<LeafChange>, HiddenNodes> {
        let mut difference = Difference::default();
        difference.descend(&self.root, &after.root, 0);
        HiddenNodes::none_of(difference.hidden)?;
        difference
            .changes
            .sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(difference.changes)
    }
}

#[derive(Default)]
struct Difference {
    changes: Vec<LeafChange>,
    hidden: Vec<NodeHash>,
}

impl Difference {
    fn descend(&mut self, before: &TreeNode, after: &TreeNode, depth: usize) {
        if before.hash() == after.hash() {
            return;
        }
        match (before, after) {
            (TreeNode::Hidden(_), _) | (_, TreeNode::Hidden(_)) => {
                let hidden = [before, after].into_iter().filter_map(|node| match node {
                    TreeNode::Hidden(hash) => Some(*hash),
                    _ => None,
                });
                self.hidden.extend(hidden);
            }
            (TreeNode::Branch(_), _) | (_, TreeNode::Branch(_)) => {
                for bit in [false, true] {
                    self.descend(
                        &half(before, depth, bit),
                        &half(after, depth, bit),
                        depth + 1,
                    );
                }
            }
            _ => self.compare(before, after),
        }
    }

    /// Compares two sets of at most one leaf.
    fn compare(&mut self, before: &TreeNode, after: &TreeNode) {
        let leaf = |node: &TreeNode| match node {
            TreeNode::Leaf(leaf) => Some((leaf.name.clone(), leaf.digest)),
            _ => None,
        };
        match (leaf(before), leaf(after)) {
            (Some((name, before)), Some((same, after))) if name == same => {
                self.changes.push(LeafChange {
                    name,
                    before: Some(before),
                    after: Some(after),
                });
            }
            (before, after) => {
                let removed = before.map(|(name, digest)| (name, Some(digest), None));
                let added = after.map(|(name, digest)| (name, None, Some(digest)));
                let changes = removed.into_iter().chain(added);
                self.changes
                    .extend(changes.map(|(name, before, after)| LeafChange {
                        name,
                        before,
                        after,
                    }));
            }
        }
    }
}

/// Returns the leaves of a set whose next bit has this value. The set is not hidden.
fn half(node: &TreeNode, depth: usize, bit: bool) -> TreeNode {
    match node {
        TreeNode::Branch(branch) => branch.children[usize::from(bit)].clone(),
        TreeNode::Leaf(leaf) if leaf.key.bit(depth) == bit => node.clone(),
        _ => TreeNode::Empty,
    }
}
