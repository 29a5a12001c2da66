//! Hidden parts of a tree that an operation needs.

use crate::state::trie::NodeHash;

/// Hidden parts of a tree that an operation needs.
///
/// A caller loads the pages with these hashes, and tries again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the tree hides {} needed parts, the first has the hash {}", .hashes.len(), .hashes[0])]
pub struct HiddenNodes {
    hashes: Vec<NodeHash>,
}

impl HiddenNodes {
    /// Fails if there is a hash.
    pub(in crate::state) fn none_of(mut hashes: Vec<NodeHash>) -> Result<(), Self> {
        if hashes.is_empty() {
            return Ok(());
        }
        hashes.sort_unstable();
        hashes.dedup();
        Err(Self { hashes })
    }

    /// Returns the hashes of the parts: at least one, sorted and distinct.
    pub fn hashes(&self) -> &[NodeHash] {
        &self.hashes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_messages() {
        let hash = |byte| NodeHash::from_bytes([byte; 32]);
        let error = HiddenNodes::none_of(vec![hash(2), hash(1), hash(2)]).unwrap_err();
        insta::assert_snapshot!(error, @"the tree hides 2 needed parts, the first has the hash 0101010101010101010101010101010101010101010101010101010101010101");
    }
}
