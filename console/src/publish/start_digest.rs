//! The digest that proves that a file begins with the bytes of an upload.
//!
//! Browsers compute the digest of bytes in memory only. So the digest of a long file is that of the
//! digests of its blocks, which the script computes one after the other.

use packcast_protocol::Sha256Digest;
use sha2::{Digest as _, Sha256};

/// The length of a block in bytes. The last block of a file may be shorter.
const BLOCK: usize = 8 << 20;

/// The digest of the bytes until now.
#[derive(Clone, Debug, Default)]
pub(crate) struct StartDigest {
    /// Of the digests of the complete blocks.
    blocks: Sha256,
    /// Of the bytes of the last block.
    last: Sha256,
    last_bytes: usize,
}

impl StartDigest {
    /// Adds the next bytes of the file.
    pub(crate) fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = BLOCK - self.last_bytes;
            let (of_block, rest) = bytes.split_at(bytes.len().min(room));
            self.last.update(of_block);
            self.last_bytes += of_block.len();
            if self.last_bytes == BLOCK {
                self.blocks.update(self.last.finalize_reset());
                self.last_bytes = 0;
            }
            bytes = rest;
        }
    }

    pub(crate) fn digest(&self) -> Sha256Digest {
        let mut blocks = self.blocks.clone();
        if self.last_bytes > 0 {
            blocks.update(self.last.clone().finalize());
        }
        Sha256Digest::from_bytes(blocks.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same digest of a file in memory, as the script computes it.
    fn of(file: &[u8]) -> Sha256Digest {
        let blocks = file.chunks(BLOCK).map(Sha256Digest::of);
        let digests: Vec<u8> = blocks.flat_map(|digest| *digest.as_bytes()).collect();
        Sha256Digest::of(&digests)
    }

    #[test]
    fn the_digest_does_not_depend_on_the_parts_in_which_a_file_arrives() {
        let file: Vec<u8> = (0..2 * BLOCK + 5).map(|at| at.to_le_bytes()[1]).collect();
        for part in [BLOCK / 2 + 1, BLOCK, file.len()] {
            let mut digest = StartDigest::default();
            assert_eq!(digest.digest(), of(b""));
            let mut bytes = 0;
            for part in file.chunks(part) {
                digest.add(part);
                bytes += part.len();
                assert_eq!(digest.digest(), of(&file[..bytes]), "{bytes}");
            }
        }
    }
}
