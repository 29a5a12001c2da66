//! Cache of encoded replies to OCS agents.
//!
//! Compression is the larger part of the work on a reply. The reply has neither the name of the device
//! nor the time, so devices with the same tasks get the same reply.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use packcast_protocol::ocs::envelope::{self, Coding};

/// Capacity of the cache, in bytes of documents and encoded replies. A full cache is emptied.
const MAX_BYTES: usize = 4 << 20;

/// Encoded replies by their coding and their document.
///
/// An encoded reply follows from these two alone, so it never becomes stale.
#[derive(Debug, Default)]
pub(crate) struct SealedReplies(Mutex<CachedReplies>);

#[derive(Debug, Default)]
struct CachedReplies {
    replies: HashMap<(Coding, Vec<u8>), Bytes>,
    bytes: usize,
}

impl SealedReplies {
    /// Encodes a document.
    pub(super) fn seal(&self, coding: Coding, document: Vec<u8>) -> Bytes {
        let key = (coding, document);
        if let Some(sealed) = self.cached(|it| it.replies.get(&key).cloned()) {
            return sealed;
        }
        let sealed = Bytes::from(envelope::seal(coding, &key.1));
        self.cached(|it| it.insert(key, sealed.clone()));
        sealed
    }

    fn cached<T>(&self, call: impl FnOnce(&mut CachedReplies) -> T) -> T {
        call(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl CachedReplies {
    fn insert(&mut self, key: (Coding, Vec<u8>), sealed: Bytes) {
        let bytes = key.1.len() + sealed.len();
        if self.bytes + bytes > MAX_BYTES {
            *self = Self::default();
        }
        // Another request may have cached the same reply. It counts twice until the cache is emptied.
        self.bytes += bytes;
        self.replies.insert(key, sealed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cached_reply_is_that_of_its_document_and_coding() {
        let replies = SealedReplies::default();
        for _ in 0..2 {
            for coding in [Coding::Zlib, Coding::Gzip, Coding::Plain] {
                for document in [&b"<REPLY/>"[..], b"<REPLY></REPLY>"] {
                    let sealed = replies.seal(coding, document.to_vec());
                    let opened = envelope::open(&sealed).unwrap();
                    assert_eq!(opened, (coding, document.to_vec()));
                }
            }
        }
        assert_eq!(replies.cached(|it| it.replies.len()), 6);
    }

    #[test]
    fn the_cache_is_bounded() {
        let replies = SealedReplies::default();
        for number in 0..20_u8 {
            let document = vec![number; MAX_BYTES / 8];
            replies.seal(Coding::Plain, document);
            let (bytes, count) = replies.cached(|it| (it.bytes, it.replies.len()));
            assert!(bytes <= MAX_BYTES && count <= 4, "{bytes} {count}");
        }
        // A reply that is larger than the cache is alone in it.
        replies.seal(Coding::Plain, vec![0; MAX_BYTES]);
        assert_eq!(replies.cached(|it| it.replies.len()), 1);
    }
}
