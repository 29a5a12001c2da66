//! The signed state of a target: documents, the Merkle trees of their digests, commits and key
//! lists.
//!
//! `docs/state.md` describes the formats for other implementations.

pub mod commit;
pub mod document;
pub mod exchange;
pub mod held;
pub mod key_list;
pub mod mandate;
pub mod name;
pub mod named_values;
pub mod number;
pub mod pages;
pub mod partial;
pub mod signed_text;
pub mod target;
#[cfg(test)]
mod test_keys;
pub mod trie;

pub use commit::{Commit, CommitFields, CommitId, SignedCommit, VerifiedCommit};
pub use document::{
    AboutDocument, DeviceDocument, Document, DocumentText, Entries, GroupDocument, GroupOrigin,
    LocationDocument, RolloutDocument, RolloutSeed, Slot, StateEntry, Terms, Wave, WaveNumber,
};
pub use exchange::{DigestPrefix, HeldState, StateReply, StateText};
pub use held::{
    Accepted, ActedUnder, Begin, Completeness, DeploymentFacts, HighestCommit, Refusal,
    StoredState, VerifiedState, Waiting, WholeState,
};
pub use key_list::{
    KeyChain, KeyList, KeyListFields, KeyListId, PublisherKey, SignedKeyList, VerifiedKeyList,
};
pub use mandate::Mandate;
pub use name::{CommitName, LeafName, RolloutId};
pub use pages::{MAX_PAGE_BYTES, PagedTree, UpdatedTree};
pub use partial::{
    HiddenNodes, LeafChange, Lookup, MAX_DEVICE_TREE_BYTES, PartialTree, PartialTreeError,
};
pub use signed_text::{SignedText, VerifiedText};
pub use target::{TargetId, TrustedRoots};
pub use trie::{LeafKey, NodeHash};
