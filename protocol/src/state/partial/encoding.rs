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
    /// Reads the binary form of at most this many bytes.
    ///
    /// Fails if the bytes are not exactly one canonical tree. The caller compares the root with a
    /// signed root.
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
    let node = reader.set(prefix, depth)?;
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
    /// Reads the set of leaves with keys that start with a prefix of this many bits.
    ///
    /// The reader keeps open branches in a list, so that no input exhausts the stack.
    fn set(&mut self, mut prefix: LeafKey, depth: usize) -> Result<TreeNode, PartialTreeError> {
        // For each open branch, the child for bit 0 if it is complete.
        let mut open: Vec<Option<TreeNode>> = Vec::new();
        loop {
            let at = depth + open.len();
            let mut node = match self.array()? {
                [BRANCH] if at == KEY_BITS => return Err(PartialTreeError::TooDeep),
                [BRANCH] => {
                    prefix = prefix.with_bit(at, false);
                    open.push(None);
                    continue;
                }
                [EMPTY] => TreeNode::Empty,
                [LEAF] => self.leaf(&prefix, at)?,
                [HIDDEN] => match NodeHash::from_bytes(self.array()?) {
                    NodeHash::EMPTY => return Err(PartialTreeError::NotCanonical),
                    hash => TreeNode::Hidden(hash),
                },
                [kind] => return Err(PartialTreeError::UnknownNode { kind }),
            };
            loop {
                let Some(zero) = open.pop() else {
                    return Ok(node);
                };
                if let Some(zero) = zero {
                    node = TreeNode::branch([zero, node])?;
                } else {
                    prefix = prefix.with_bit(depth + open.len(), true);
                    open.push(Some(node));
                    break;
                }
            }
        }
    }

    fn leaf(&mut self, prefix: &LeafKey, depth: usize) -> Result<TreeNode, PartialTreeError> {
        let [length] = self.array()?;
        let name = self.take(usize::from(length))?;
        let name: LeafName = std::str::from_utf8(name)
            .map_err(|_| PartialTreeError::NotText)?
            .parse()?;
        let leaf = TreeLeaf::new(name, Sha256Digest::from_bytes(self.array()?));
        if leaf.key.starts_like(prefix, depth) {
            Ok(TreeNode::Leaf(leaf.into()))
        } else {
            Err(PartialTreeError::Misplaced { name: leaf.name })
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
