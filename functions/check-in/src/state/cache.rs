//! Cache of the head, and of pages and documents, in a warm function.

mod known_rollouts;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use packcast_protocol::state::{
    Commit, DocumentText, KeyChain, LeafName, Lookup, NodeHash, PagedTree, SignedKeyList,
    TrustedRoots,
};
use packcast_protocol::{Sha256Digest, UnixTime};
use packcast_store::records::Head;
use packcast_store::{Records, RecordsError};

use crate::state_counts::ReadHead;

pub(super) use known_rollouts::KnownRollouts;

/// Capacity of the cache of pages and documents, in bytes. A full cache is emptied.
const MAX_BYTES: usize = 32 << 20;

/// Maximum number of pages that one request can read from the table.
///
/// A device can name 128 lacking leaves, each with a path of several pages. A page takes one read
/// unit (3 KB) as a rule, so one request costs at most as much as 13 write units. A device causes at
/// most [`WRITES_PER_HOUR`](packcast_rollout::write_budget::WRITES_PER_HOUR) writes of this kind in an
/// hour, and reads a page again only if the function no longer has it.
const MAX_PAGES: usize = 64;

/// Number of documents that the function reads at a time.
const DOCUMENTS_AT_ONCE: usize = 16;

/// Head, pages and documents that a function has read.
#[derive(Debug)]
pub struct StateCache {
    /// Target and root keys, from which the key lists are followed.
    trust: TrustedRoots,
    /// Age up to which a head is used without a read, in seconds.
    max_age_s: u64,
    head: Mutex<Option<(UnixTime, CachedHead)>>,
    content: Mutex<Content>,
    rollouts: Mutex<KnownRollouts>,
}

/// The pages that one request can still read from the table.
#[derive(Debug)]
pub(super) struct PageAllowance(usize);

/// The head of a target with its key lists.
#[derive(Clone, Debug, Default)]
pub(super) struct CachedHead {
    /// `None` before the first commit of the target.
    pub(super) head: Option<Arc<Head>>,
    pub(super) lists: Arc<[SignedKeyList]>,
    /// Time at which the head or the newest key list expires, whichever is earlier. `None` before
    /// the first commit, and for one that cannot be read.
    expires: Option<UnixTime>,
    /// An administrator has paused the target.
    pub(super) is_paused: bool,
}

impl CachedHead {
    /// Returns the number of changes of the head, or 0 before the first commit.
    pub(super) fn order(&self) -> u64 {
        self.head.as_ref().map_or(0, |head| head.order)
    }

    /// Returns the number of the head's commit, or 0 before the first commit.
    pub(super) fn number(&self) -> u64 {
        self.head.as_ref().map_or(0, |head| head.commit.id.number)
    }
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
            rollouts: Mutex::default(),
        }
    }

    /// Returns the head with its key lists, as of the last minute.
    pub(super) async fn head(
        &self,
        records: &Records,
        now: UnixTime,
    ) -> Result<CachedHead, RecordsError> {
        self.head_within(records, self.max_age_s, now).await
    }

    /// Returns the head with its key lists. A cached head is used if it is younger than `max_age_s`
    /// seconds.
    pub(super) async fn head_within(
        &self,
        records: &Records,
        max_age_s: u64,
        now: UnixTime,
    ) -> Result<CachedHead, RecordsError> {
        if let Some((read_at, cached)) = &*lock(&self.head)
            && now.since(*read_at) < max_age_s
        {
            return Ok(cached.clone());
        }
        // The head first: its key list is stored with it, so the lists read later include it.
        let (head, pause) = records.head_and_pause().await?;
        let head = head.map(Arc::new);
        let mut chain = KeyChain::new(self.trust.clone());
        // A refused list does not matter: the table may have any number of forged lists.
        let _ = chain.follow_all(&records.lists_after(0).await?);
        let lists = chain.lists().cloned().collect();
        let expires = head
            .as_ref()
            .and_then(|head| serde_json::from_str::<Commit>(head.commit.signed.text()).ok())
            .map(|commit| commit.expires)
            .into_iter()
            .chain(chain.newest().map(|list| list.expires()))
            .min();
        let read = CachedHead {
            head,
            lists,
            expires,
            is_paused: pause.is_some(),
        };
        *lock(&self.head) = Some((now, read.clone()));
        Ok(read)
    }

    /// Returns the number of changes of the head that was read last. `None` before the first read.
    pub(crate) fn last_order(&self) -> Option<u64> {
        let cached = lock(&self.head);
        cached.as_ref().map(|(_, cached)| cached.order())
    }

    /// Returns the head that was read last, and is probably still cached. `None` before the first
    /// read.
    pub(crate) fn last_head(&self) -> Option<ReadHead> {
        let cached = lock(&self.head);
        let (_, cached) = cached.as_ref()?;
        Some(ReadHead {
            number: cached.head.as_ref().map_or(0, |head| head.commit.id.number),
            expires: cached.expires,
        })
    }

    /// Calls a function with the known documents of rollouts.
    pub(super) fn with_rollouts<T>(&self, call: impl FnOnce(&mut KnownRollouts) -> T) -> T {
        call(&mut lock(&self.rollouts))
    }

    /// Loads the paths to these names, in their order, until the allowance is used up. Returns the
    /// names whose paths are loaded.
    ///
    /// The first names come first at each level, so that a path is completed before the allowance
    /// ends. Otherwise a request could read the upper pages of all names, and complete none.
    pub(super) async fn load<'a>(
        &self,
        records: &Records,
        tree: &mut PagedTree,
        names: &'a [LeafName],
        allowance: &mut PageAllowance,
    ) -> Result<Vec<&'a LeafName>, RecordsError> {
        loop {
            let missing = missing(tree, names);
            let cached = |content: &Content, hash: &NodeHash| {
                let page = content.pages.get(hash)?;
                Some((*hash, Arc::clone(page)))
            };
            let (mut pages, mut unknown) = self.split(&missing, cached);
            // Cached pages cost nothing, and may show that fewer pages are missing.
            if pages.is_empty() {
                unknown.truncate(allowance.take(unknown.len()));
                pages = self.read_pages(records, &unknown).await?;
            }
            if pages.is_empty() {
                let is_loaded = |name: &&LeafName| {
                    let lookup = tree.tree().lookup(name);
                    !matches!(lookup, Lookup::Hidden(_))
                };
                return Ok(names.iter().filter(is_loaded).collect());
            }
            for (hash, page) in pages {
                tree.insert_page(hash, &page)
                    .map_err(|error| corrupt(hash, error))?;
            }
        }
    }

    async fn read_pages(
        &self,
        records: &Records,
        hashes: &[NodeHash],
    ) -> Result<Vec<(NodeHash, Arc<[u8]>)>, RecordsError> {
        if hashes.is_empty() {
            return Ok(Vec::new());
        }
        let read = records.pages(hashes).await?;
        if let Some(hash) = hashes
            .iter()
            .find(|hash| !read.iter().any(|(found, _)| found == *hash))
        {
            let missing = "the page does not exist";
            return Err(corrupt(*hash, missing));
        }
        let mut content = lock(&self.content);
        let cache = |(hash, bytes): (NodeHash, Vec<u8>)| {
            let page: Arc<[u8]> = bytes.into();
            content.make_room(page.len());
            content.pages.insert(hash, Arc::clone(&page));
            (hash, page)
        };
        Ok(read.into_iter().map(cache).collect())
    }

    /// Returns the documents with these digests, each once, in the order of the digests. Those that
    /// the table lacks are left out.
    ///
    /// The function stops after `max_bytes`, and then returns true: some documents are left. So a
    /// request for many large documents does not read all of them.
    pub(super) async fn documents(
        &self,
        records: &Records,
        digests: &[Sha256Digest],
        max_bytes: usize,
    ) -> Result<(Vec<DocumentText>, bool), RecordsError> {
        // Two groups can have the same document, and a request must not name a digest twice.
        let mut seen = HashSet::new();
        let digests = digests.iter().copied();
        let digests: Vec<_> = digests.filter(|digest| seen.insert(*digest)).collect();
        let (mut documents, mut bytes) = (Vec::new(), 0);
        for batch in digests.chunks(DOCUMENTS_AT_ONCE) {
            if bytes > max_bytes {
                return Ok((documents, true));
            }
            let mut found = self.batch_of_documents(records, batch).await?;
            let ordered = batch.iter().filter_map(|digest| found.remove(digest));
            documents.extend(ordered.inspect(|text| bytes += text.as_str().len()));
        }
        Ok((documents, false))
    }

    async fn batch_of_documents(
        &self,
        records: &Records,
        digests: &[Sha256Digest],
    ) -> Result<HashMap<Sha256Digest, DocumentText>, RecordsError> {
        let cached = |content: &Content, digest: &Sha256Digest| {
            let text = content.documents.get(digest)?;
            Some((*digest, text.clone()))
        };
        let (found, unknown) = self.split(digests, cached);
        let mut found: HashMap<_, _> = found.into_iter().collect();
        if unknown.is_empty() {
            return Ok(found);
        }
        let read = records.documents(&unknown).await?;
        let mut content = lock(&self.content);
        for text in read {
            content.make_room(text.as_str().len());
            content.documents.insert(text.digest(), text.clone());
            found.insert(text.digest(), text);
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

impl PageAllowance {
    /// Returns the allowance of a new request.
    pub(super) const fn whole() -> Self {
        Self(MAX_PAGES)
    }

    /// Returns an allowance for names that no device chooses.
    pub(super) const fn unlimited() -> Self {
        Self(usize::MAX)
    }

    /// Takes up to this number of pages, and at most half of the rest, which remains for the pages
    /// below. Returns the number of pages taken.
    fn take(&mut self, wanted: usize) -> usize {
        let taken = wanted.min(self.0.div_ceil(2));
        self.0 -= taken;
        taken
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

/// Returns the pages to load next on the paths to these names, distinct, in the order of the names.
fn missing(tree: &PagedTree, names: &[LeafName]) -> Vec<NodeHash> {
    let hidden = names
        .iter()
        .filter_map(|name| match tree.tree().lookup(name) {
            Lookup::Hidden(hash) => Some(hash),
            Lookup::Present(_) | Lookup::Absent => None,
        });
    let mut seen = HashSet::new();
    hidden.filter(|hash| seen.insert(*hash)).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_keeps_a_half_for_the_pages_below() {
        let mut allowance = PageAllowance::whole();
        let taken: Vec<usize> = (0..9).map(|_| allowance.take(128)).collect();
        assert_eq!(taken, [32, 16, 8, 4, 2, 1, 1, 0, 0]);
        assert_eq!(taken.iter().sum::<usize>(), MAX_PAGES);
        assert_eq!(PageAllowance::whole().take(3), 3);
    }
}
