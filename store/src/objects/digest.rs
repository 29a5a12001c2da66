//! Digests of stored objects, in the form in which the store of the objects knows them.

use packcast_protocol::Sha256Digest;
use sha2::{Digest as _, Sha256};

/// SHA-256 of a stored object.
///
/// In a bucket, S3 computed the digest when the object was uploaded, and nobody else can set it. In
/// a directory, and for an object that S3 has no usable digest of, the bytes were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredDigest {
    /// Digest of all bytes.
    Whole(Sha256Digest),
    /// Digest of an object that was uploaded in parts.
    Parts {
        /// Length of each part in bytes; the last part may be shorter.
        part_bytes: u64,
        digest: PartsDigest,
    },
}

/// SHA-256 of the SHA-256 digests of an object's parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartsDigest([u8; 32]);

impl PartsDigest {
    pub(super) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// Computes a [`PartsDigest`] from bytes that arrive in chunks of any size.
#[derive(Clone, Debug)]
pub struct PartsHasher {
    part_bytes: u64,
    parts: Sha256,
    part: Sha256,
    /// Bytes of the current part that have arrived.
    in_part: u64,
}

impl PartsHasher {
    /// Returns a hasher for parts of `part_bytes` bytes, at least one.
    pub fn new(part_bytes: u64) -> Self {
        Self {
            part_bytes: part_bytes.max(1),
            parts: Sha256::new(),
            part: Sha256::new(),
            in_part: 0,
        }
    }

    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = usize::try_from(self.part_bytes - self.in_part).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.part.update(now);
            self.in_part += now.len() as u64;
            if self.in_part == self.part_bytes {
                self.end_part();
            }
            bytes = later;
        }
    }

    pub fn finish(mut self) -> PartsDigest {
        if self.in_part > 0 {
            self.end_part();
        }
        PartsDigest(self.parts.finalize().into())
    }

    fn end_part(&mut self) {
        self.parts.update(self.part.finalize_reset());
        self.in_part = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_of_parts_does_not_depend_on_the_chunks() {
        let bytes = b"abcdefgh";
        let digests = [&b"abc"[..], b"def", b"gh"].map(Sha256::digest);
        let expected = PartsDigest(Sha256::digest(digests.concat()).into());
        for chunk in 1..=bytes.len() {
            let mut hasher = PartsHasher::new(3);
            bytes.chunks(chunk).for_each(|chunk| hasher.update(chunk));
            assert_eq!(hasher.finish(), expected, "{chunk}");
        }
    }

    #[test]
    fn no_empty_part_follows_the_last_full_one() {
        let mut hasher = PartsHasher::new(4);
        hasher.update(b"abcd");
        let only = Sha256::digest(Sha256::digest(b"abcd"));
        assert_eq!(hasher.finish(), PartsDigest(only.into()));
    }
}
