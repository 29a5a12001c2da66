//! The binary form of a partial tree.

use std::str::FromStr;

use data_encoding::BASE64;

use super::node::{TreeLeaf, TreeNode};
use super::{MAX_DEVICE_TREE_BYTES, PartialTree, PartialTreeError};
use crate::digest::Sha256Digest;
use crate::state::name::LeafName;
use crate::state::trie::{KEY_BITS, LeafKey, NodeHash};
use crate::text_form::text_form;

const EMPTY: u8 = 0;
const LEAF: u8 = 1;
const BRANCH: u8 = 2;
const HIDDEN: u8 = 3;

impl PartialTree {
    /// Reads the binary form of a whole tree. The caller compares the root with a signed root.
    pub fn read(bytes: &[u8], max_bytes: usize) -> Result<Self, PartialTreeError> {
        let root = read_below(bytes, max_bytes, LeafKey::NONE, 0)?;
        Ok(Self { root })
    }

    /// Returns the binary form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&self.root, &mut bytes);
        bytes
    }
}

/// Reads a subtree whose leaves have keys that start with a prefix of this many bits.
pub(in crate::state) fn read_below(
    bytes: &[u8],
    max_bytes: usize,
    prefix: LeafKey,
    depth: usize,
) -> Result<TreeNode, PartialTreeError> {
    if bytes.len() > max_bytes {
        return Err(PartialTreeError::TooLong {
            bytes: bytes.len(),
            max: max_bytes,
        });
    }
    let mut reader = Reader { left: bytes };
    let node = reader.node(prefix, depth)?;
    if reader.left.is_empty() {
        Ok(node)
    } else {
        Err(PartialTreeError::Remainder {
            bytes: reader.left.len(),
        })
    }
}

/// Appends the binary form of a subtree.
pub(in crate::state) fn write(node: &TreeNode, bytes: &mut Vec<u8>) {
    match node {
        TreeNode::Empty => bytes.push(EMPTY),
        TreeNode::Leaf(leaf) => {
            let name = leaf.name.to_string();
            bytes.push(LEAF);
            bytes.push(u8::try_from(name.len()).expect("a name has at most 255 bytes"));
            bytes.extend(name.as_bytes());
            bytes.extend(leaf.digest.as_bytes());
        }
        TreeNode::Branch(branch) => {
            write_branch(bytes);
            for child in &branch.children {
                write(child, bytes);
            }
        }
        TreeNode::Hidden(hash) => {
            bytes.push(HIDDEN);
            bytes.extend(hash.as_bytes());
        }
    }
}

/// Appends the start of a branch, which its two children follow.
pub(in crate::state) fn write_branch(bytes: &mut Vec<u8>) {
    bytes.push(BRANCH);
}

/// The bytes that are not read yet.
struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads a node. It calls itself once for each bit of a key at most, so that no input exhausts
    /// the stack.
    fn node(&mut self, prefix: LeafKey, depth: usize) -> Result<TreeNode, PartialTreeError> {
        match self.array::<1>()? {
            [EMPTY] => Ok(TreeNode::Empty),
            [LEAF] => {
                let [length] = self.array()?;
                let name = self.take(usize::from(length))?;
                let name: LeafName = std::str::from_utf8(name)
                    .map_err(|_| PartialTreeError::NotText)?
                    .parse()?;
                let leaf = TreeLeaf::new(name, Sha256Digest::from_bytes(self.array()?));
                if leaf.key.starts_like(&prefix, depth) {
                    Ok(TreeNode::Leaf(leaf.into()))
                } else {
                    Err(PartialTreeError::Misplaced { name: leaf.name })
                }
            }
            [BRANCH] if depth == KEY_BITS => Err(PartialTreeError::TooDeep),
            [BRANCH] => {
                let zero = self.node(prefix, depth + 1)?;
                let one = self.node(prefix.with_bit(depth, true), depth + 1)?;
                TreeNode::branch([zero, one])
            }
            [HIDDEN] => match NodeHash::from_bytes(self.array()?) {
                NodeHash::EMPTY => Err(PartialTreeError::NotCanonical),
                hash => Ok(TreeNode::Hidden(hash)),
            },
            [kind] => Err(PartialTreeError::UnknownNode { kind }),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PartialTreeError> {
        let (taken, left) = self
            .left
            .split_first_chunk()
            .ok_or(PartialTreeError::CutOff)?;
        self.left = left;
        Ok(*taken)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], PartialTreeError> {
        let (taken, left) = self
            .left
            .split_at_checked(count)
            .ok_or(PartialTreeError::CutOff)?;
        self.left = left;
        Ok(taken)
    }
}

impl FromStr for PartialTree {
    type Err = PartialTreeError;

    /// Reads base64 of the binary form, up to the limit of a device.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Checked before decoding, so that a long text allocates nothing.
        if text.len() > BASE64.encode_len(MAX_DEVICE_TREE_BYTES) {
            return Err(PartialTreeError::TooLong {
                bytes: text.len() / 4 * 3,
                max: MAX_DEVICE_TREE_BYTES,
            });
        }
        let bytes = BASE64
            .decode(text.as_bytes())
            .map_err(|_| PartialTreeError::NotBase64)?;
        Self::read(&bytes, MAX_DEVICE_TREE_BYTES)
    }
}

text_form!(
    PartialTree,
    "PartialTree",
    "^[A-Za-z0-9+/]+={0,2}$",
    |tree| BASE64.encode_display(&tree.to_bytes())
);
