//! The division of a tree into pages. No hash depends on it, so it may change.

use std::collections::BTreeSet;

use crate::state::partial::encoding;
use crate::state::partial::node::TreeNode;
use crate::state::trie::NodeHash;

/// A set of at most this many leaves is one page.
const MAX_LEAVES: usize = 40;

/// The number of levels in the page of a larger set.
const LEVELS: usize = 4;

/// Returns the pages of a tree that are not stored yet, each after the pages below it.
pub(super) fn new_pages(root: &TreeNode, stored: &BTreeSet<NodeHash>) -> Vec<(NodeHash, Vec<u8>)> {
    let mut pages = Vec::new();
    add_pages(root, stored, &mut pages);
    pages
}

fn add_pages(node: &TreeNode, stored: &BTreeSet<NodeHash>, pages: &mut Vec<(NodeHash, Vec<u8>)>) {
    let hash = node.hash();
    // A hidden part is a stored page.
    if matches!(node, TreeNode::Empty | TreeNode::Hidden(_)) || stored.contains(&hash) {
        return;
    }
    let mut bytes = Vec::new();
    if leaves_left(node, MAX_LEAVES).is_some() {
        encoding::write(node, &mut bytes);
    } else {
        let mut below = Vec::new();
        write_levels(node, LEVELS, &mut bytes, &mut below);
        for child in below {
            add_pages(child, stored, pages);
        }
    }
    pages.push((hash, bytes));
}

/// Returns the number of further leaves that fit beside the leaves of a set; `None` if the set has
/// too many leaves, or if a part of it is hidden.
fn leaves_left(node: &TreeNode, room: usize) -> Option<usize> {
    match node {
        TreeNode::Empty => Some(room),
        TreeNode::Leaf(_) => room.checked_sub(1),
        TreeNode::Hidden(_) => None,
        TreeNode::Branch(branch) => branch
            .children
            .iter()
            .try_fold(room, |room, child| leaves_left(child, room)),
    }
}

/// Writes the first levels of a set, and collects the branches below them, which are hidden.
fn write_levels<'a>(
    node: &'a TreeNode,
    levels: usize,
    bytes: &mut Vec<u8>,
    below: &mut Vec<&'a TreeNode>,
) {
    match node {
        TreeNode::Branch(_) if levels == 0 => {
            encoding::write(&TreeNode::Hidden(node.hash()), bytes);
            below.push(node);
        }
        TreeNode::Branch(branch) => {
            encoding::write_branch(bytes);
            for child in &branch.children {
                write_levels(child, levels - 1, bytes, below);
            }
        }
        TreeNode::Empty | TreeNode::Leaf(_) | TreeNode::Hidden(_) => encoding::write(node, bytes),
    }
}
