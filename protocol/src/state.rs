//! The signed state of a target: names and digests of its documents, in Merkle trees.
//!
//! `docs/state.md` describes the formats for other implementations.

pub mod name;
pub mod pages;
pub mod partial;
pub mod trie;

pub use name::{CommitName, LeafName, RolloutId};
pub use pages::{MAX_PAGE_BYTES, PagedTree, UpdatedTree};
pub use partial::{
    HiddenNodes, LeafChange, Lookup, MAX_DEVICE_TREE_BYTES, PartialTree, PartialTreeError,
};
pub use trie::{LeafKey, NodeHash};
