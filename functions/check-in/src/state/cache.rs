//! Cache of the head, and of pages and documents, in a warm function.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use packcast_protocol::state::{
    DocumentText, KeyChain, LeafName, NodeHash, PagedTree, SignedKeyList, TrustedRoots,
};
use packcast_protocol::{Sha256Digest, UnixTime};
use packcast_store::records::Head;
use packcast_store::{Records, RecordsError};

/// Capacity of the cache of pages and documents, in bytes. A full cache is emptied.
const MAX_BYTES: usize = 32 << 20;

/// Head, pages and documents that a function has read.
#[derive(Debug)]
pub struct StateCache {
    /// Target and root keys, from which the key lists are followed.
    trust: TrustedRoots,
    /// Age up to which a head is used without a read, in seconds.
    max_age_s: u64,
    head: Mutex<Option<(UnixTime, CachedHead)>>,
    content: Mutex<Content>,
}

/// The head of a target with its key lists.
#[derive(Clone, Debug, Default)]
pub(super) struct CachedHead {
    /// `None` before the first commit of the target.
    pub(super) head: Option<Arc<Head>>,
    pub(super) lists: Arc<[SignedKeyList]>,
}

/// Content that is found by its digest, and so never becomes stale.
#[derive(Debug, Default)]
struct Content {
    pages: HashMap<NodeHash, Arc<[u8]>>,
    documents: HashMap<Sha256Digest, DocumentText>,
    bytes: usize,
}

impl StateCache {
    /// Creates an empty cache whose head is used for `max_age_s` seconds.
    ///
    /// The function follows the key lists from the root keys, as devices do. Otherwise anybody who
    /// can write to the table could hide the genuine lists behind forged ones.
    pub fn new(trust: TrustedRoots, max_age_s: u64) -> Self {
        Self {
            trust,
            max_age_s,
            head: Mutex::default(),
            content: Mutex::default(),
        }
    }

    /// Returns the head with its key lists.
    pub(super) async fn head(
        &self,
        records: &Records,
        now: UnixTime,
    ) -> Result<CachedHead, RecordsError> {
        if let Some((read_at, cached)) = &*lock(&self.head)
            && now.since(*read_at) < self.max_age_s
        {
            return Ok(cached.clone());
        }
        // The head first: its key list is stored with it, so the lists read later include it.
        let head = records.head().await?.map(Arc::new);
        let mut chain = KeyChain::new(self.trust.clone());
        // A refused list does not matter: the table may have any number of forged lists.
        let _ = chain.follow_all(&records.lists_after(0).await?);
        let lists = chain.lists().cloned().collect();
        let read = CachedHead { head, lists };
        *lock(&self.head) = Some((now, read.clone()));
        Ok(read)
    }

    /// Loads the paths to these names, one batch of pages for each level.
    pub(super) async fn load(
        &self,
        records: &Records,
        tree: &mut PagedTree,
        names: &BTreeSet<LeafName>,
    ) -> Result<(), RecordsError> {
        loop {
            let missing = tree.missing(names);
            if missing.is_empty() {
                return Ok(());
            }
            for (hash, page) in self.pages(records, &missing).await? {
                tree.insert_page(hash, &page)
                    .map_err(|error| corrupt(hash, error))?;
            }
        }
    }

    async fn pages(
        &self,
        records: &Records,
        hashes: &[NodeHash],
    ) -> Result<Vec<(NodeHash, Arc<[u8]>)>, RecordsError> {
        let cached = |content: &Content, hash: &NodeHash| {
            let page = content.pages.get(hash)?;
            Some((*hash, Arc::clone(page)))
        };
        let (mut found, unknown) = self.split(hashes, cached);
        if unknown.is_empty() {
            return Ok(found);
        }
        let read = records.pages(&unknown).await?;
        if let Some(hash) = unknown
            .iter()
            .find(|hash| !read.iter().any(|(found, _)| found == *hash))
        {
            let missing = "the page does not exist";
            return Err(corrupt(*hash, missing));
        }
        let mut content = lock(&self.content);
        for (hash, bytes) in read {
            let page: Arc<[u8]> = bytes.into();
            content.make_room(page.len());
            content.pages.insert(hash, Arc::clone(&page));
            found.push((hash, page));
        }
        Ok(found)
    }

    /// Returns the documents with these digests. Those that the table lacks are left out.
    pub(super) async fn documents(
        &self,
        records: &Records,
        digests: &[Sha256Digest],
    ) -> Result<Vec<DocumentText>, RecordsError> {
        let cached =
            |content: &Content, digest: &Sha256Digest| content.documents.get(digest).cloned();
        let (mut found, unknown) = self.split(digests, cached);
        if unknown.is_empty() {
            return Ok(found);
        }
        let read = records.documents(&unknown).await?;
        let mut content = lock(&self.content);
        for text in read {
            content.make_room(text.as_str().len());
            content.documents.insert(text.digest(), text.clone());
            found.push(text);
        }
        Ok(found)
    }

    /// Returns the cached values, and the keys without a cached value.
    fn split<K: Copy, V>(
        &self,
        keys: &[K],
        cached: impl Fn(&Content, &K) -> Option<V>,
    ) -> (Vec<V>, Vec<K>) {
        let content = lock(&self.content);
        let (mut found, mut unknown) = (Vec::new(), Vec::new());
        for key in keys {
            match cached(&content, key) {
                Some(value) => found.push(value),
                None => unknown.push(*key),
            }
        }
        (found, unknown)
    }
}

impl Content {
    fn make_room(&mut self, bytes: usize) {
        if self.bytes + bytes > MAX_BYTES {
            *self = Self::default();
        }
        self.bytes += bytes;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn corrupt(
    hash: NodeHash,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> RecordsError {
    RecordsError::Corrupt {
        key: format!("PAGE#{hash}"),
        source: source.into(),
    }
}
