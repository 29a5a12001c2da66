//! Hashes of the Merkle trees: keys of leaves, and hashes of leaves and branches.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

use crate::digest::Sha256Digest;
use crate::state::name::LeafName;
use crate::text_form::text_form;

/// The number of bits of a key, and so the greatest depth of a leaf.
pub(super) const KEY_BITS: usize = 256;

/// The hash of a set of leaves, written as 64 lower-case hexadecimal digits.
///
/// The hash of a whole tree is its root.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeHash([u8; 32]);

/// The place of a leaf: its bits, from the highest of the first byte, lead from the root.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeafKey([u8; 32]);

/// Text that is not the hash of a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a tree's hash of 64 lower-case hexadecimal digits")]
pub struct NodeHashError {
    given: String,
}

impl NodeHash {
    /// The hash of the empty set.
    pub const EMPTY: Self = Self([0; 32]);

    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the hash of the set with this one leaf.
    pub fn leaf(key: &LeafKey, digest: &Sha256Digest) -> Self {
        Self::of_parts(0, &key.0, digest.as_bytes())
    }

    /// Returns the hash of the union of the sets whose next bit is 0 and 1.
    pub fn branch(zero: &Self, one: &Self) -> Self {
        Self::of_parts(1, &zero.0, &one.0)
    }

    fn of_parts(tag: u8, first: &[u8; 32], second: &[u8; 32]) -> Self {
        let mut bytes = [0; 65];
        bytes[0] = tag;
        bytes[1..33].copy_from_slice(first);
        bytes[33..].copy_from_slice(second);
        Self(Sha256::digest(bytes).into())
    }
}

impl LeafKey {
    /// The prefix of the root, which has no bits.
    pub(super) const NONE: Self = Self([0; 32]);

    /// Returns the key of a name.
    pub fn of(name: &LeafName) -> Self {
        let hash = Sha256::new()
            .chain_update(b"packcast/key\0")
            .chain_update(name.to_string());
        Self(hash.finalize().into())
    }

    /// Returns the bit that leads from a branch at this depth to its child.
    pub(super) const fn bit(&self, depth: usize) -> bool {
        self.0[depth / 8] & bit_mask(depth) != 0
    }

    /// Returns the prefix that leads to a child of a branch at this depth.
    pub(super) const fn with_bit(mut self, depth: usize, bit: bool) -> Self {
        if bit {
            self.0[depth / 8] |= bit_mask(depth);
        } else {
            self.0[depth / 8] &= !bit_mask(depth);
        }
        self
    }

    /// Returns whether the first bits, as many as the depth, are those of another key.
    pub(super) fn starts_like(&self, prefix: &Self, depth: usize) -> bool {
        let (bytes, bits) = (depth / 8, depth % 8);
        self.0[..bytes] == prefix.0[..bytes]
            && (bits == 0 || (self.0[bytes] ^ prefix.0[bytes]) >> (8 - bits) == 0)
    }
}

const fn bit_mask(depth: usize) -> u8 {
    0x80 >> (depth % 8)
}

impl FromStr for NodeHash {
    type Err = NodeHashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        HEXLOWER
            .decode(text.as_bytes())
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| NodeHashError {
                given: text.chars().take(80).collect(),
            })
    }
}

impl fmt::Display for NodeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for NodeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node:{self}")
    }
}

impl fmt::Debug for LeafKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key:{}", HEXLOWER.encode(&self.0))
    }
}

text_form!(NodeHash, "NodeHash", "^[0-9a-f]{64}$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_counted_from_the_highest() {
        let key = LeafKey::NONE.with_bit(0, true).with_bit(9, true);
        assert_eq!(key.0[..3], [0x80, 0x40, 0]);
        let bits: Vec<_> = (0..KEY_BITS).filter(|depth| key.bit(*depth)).collect();
        assert_eq!(bits, [0, 9]);
        assert_eq!(key.with_bit(9, false).0[1], 0);
    }

    #[test]
    fn a_prefix_is_compared_bit_by_bit() {
        for depth in 0..KEY_BITS {
            let key = LeafKey([0xa5; 32]);
            let other = key.with_bit(depth, !key.bit(depth));
            for bits in 0..=KEY_BITS {
                assert_eq!(key.starts_like(&other, bits), bits <= depth);
            }
        }
    }

    #[test]
    fn error_messages() {
        let error = "EMPTY".parse::<NodeHash>().unwrap_err();
        insta::assert_snapshot!(error, @r#""EMPTY" is not a tree's hash of 64 lower-case hexadecimal digits"#);
    }
}
