//! Reads an archive once, and computes everything that a publication needs from the same bytes.
//!
//! Each consumer has a thread and a short queue of chunks, so that the slowest one decides the
//! duration: MD5, which no machine computes in parallel. The memory does not depend on the length
//! of the archive.
//!
//! ```text
//!         ┌▶ MD5 of the archive
//!         ├▶ SHA-256 of the archive
//! chunks ─┼▶ SHA-256 of each fragment, and its file ─▶ the disk
//!         └▶ entries of a tar archive
//! file   ──▶ entries of a zip archive, whose directory is at the end
//! ```

use std::collections::VecDeque;
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use bytes::{Bytes, BytesMut};
use md5::Md5;
use packcast_archive::{ArchiveError, Content, Entry, Limits, walk, walk_tar_gz};
use packcast_protocol::fragment;
use packcast_protocol::{ArchiveFormat, FragmentSize, Md5Digest, Sha256Digest};
use packcast_store::objects::StagingArea;
use sha2::{Digest as _, Sha256};

use super::source::{Source, SourceReader};
use super::staged::{SYNC_THREADS, Stager, synchronise};

/// The number of bytes in one read.
const CHUNK_BYTES: usize = 256 << 10;

/// The number of chunks that wait for a consumer.
const WAITING_CHUNKS: usize = 4;

/// The number of chunks that can be in use: those that wait, and one for each consumer.
const CHUNKS: usize = WAITING_CHUNKS + 6;

/// The digests of an archive and of its fragments.
pub(super) struct Digests {
    pub(super) sha256: Sha256Digest,
    pub(super) md5: Md5Digest,
    pub(super) fragments: Vec<Sha256Digest>,
    /// All fragments are staged.
    pub(super) is_staged: bool,
}

/// Errors from reading an archive once.
pub(super) enum PassError<E> {
    Read(io::Error),
    Entries(E),
}

/// The entries of an archive, for one reader from start to end.
pub(super) enum Entries {
    Zip(BufReader<SourceReader>),
    TarGz(ChunkReader),
}

impl Entries {
    pub(super) fn walk<E: From<ArchiveError>>(
        self,
        limits: &Limits,
        visit: impl FnMut(&Entry, &mut Content<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        match self {
            Self::Zip(reader) => walk(ArchiveFormat::Zip, reader, limits, visit)?,
            Self::TarGz(reader) => walk_tar_gz(reader, limits, visit)?,
        };
        Ok(())
    }
}

/// Reads the chunks of an archive as one stream.
pub(super) struct ChunkReader {
    chunks: Receiver<Bytes>,
    current: Bytes,
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.chunks.recv() {
                Ok(chunk) => self.current = chunk,
                Err(_) => return Ok(0),
            }
        }
        let length = buffer.len().min(self.current.len());
        buffer[..length].copy_from_slice(&self.current.split_to(length));
        Ok(length)
    }
}

/// A consumer of chunks in a thread of its own.
struct Consumer<'s, T> {
    queue: SyncSender<Bytes>,
    thread: ScopedJoinHandle<'s, T>,
}

impl<'s, T: Send + 's> Consumer<'s, T> {
    fn start<'e>(
        scope: &'s Scope<'s, 'e>,
        work: impl FnOnce(Receiver<Bytes>) -> T + Send + 's,
    ) -> Self {
        let (queue, chunks) = sync_channel(WAITING_CHUNKS);
        let thread = scope.spawn(move || work(chunks));
        Self { queue, thread }
    }
}

fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> io::Result<T> {
    let ended = thread.join();
    ended.map_err(|_| io::Error::other("a thread of the publisher panicked"))
}

/// Reads the archive in `source` once. `list` reads its entries meanwhile.
///
/// With a `staging` area, the fragments are staged as well, as far as possible. `progress` gets the
/// number of bytes since its last call. An error from `list` ends the pass early.
pub(super) fn read<T: Send, E: Send>(
    source: &Source,
    size: FragmentSize,
    staging: Option<&StagingArea>,
    list: impl FnOnce(Entries) -> Result<T, E> + Send,
    progress: impl Fn(u64),
) -> Result<(Digests, T), PassError<E>> {
    let is_refused = AtomicBool::new(false);
    let list = |entries| {
        let listed = list(entries);
        is_refused.store(listed.is_err(), Ordering::Relaxed);
        listed
    };
    std::thread::scope(|scope| {
        let (bytes, reader) = (source.bytes(), source.reader());
        let md5 = Consumer::start(scope, md5);
        let whole = Consumer::start(scope, sha256);
        let fragments = Consumer::start(scope, move |chunks| stage(&chunks, bytes, size, staging));
        let mut queues = vec![md5.queue, whole.queue, fragments.queue];
        let listing = match source.format() {
            ArchiveFormat::Zip => {
                let entries = BufReader::with_capacity(CHUNK_BYTES, reader.clone());
                scope.spawn(|| list(Entries::Zip(entries)))
            }
            ArchiveFormat::TarGz => {
                let consumer = Consumer::start(scope, |chunks| {
                    let current = Bytes::new();
                    list(Entries::TarGz(ChunkReader { chunks, current }))
                });
                queues.push(consumer.queue);
                consumer.thread
            }
        };
        let fed = feed(reader, bytes, size, &queues, &is_refused, progress);
        // Each consumer ends with its queue.
        drop(queues);
        let ended = (
            joined(md5.thread),
            joined(whole.thread),
            joined(fragments.thread),
        );
        let listed = joined(listing).map_err(PassError::Read)?;
        fed.map_err(PassError::Read)?;
        let listed = listed.map_err(PassError::Entries)?;
        let digests = digests(ended).map_err(PassError::Read)?;
        Ok((digests, listed))
    })
}

/// The results of the three threads that compute digests.
type Ended = (
    io::Result<Md5Digest>,
    io::Result<Sha256Digest>,
    io::Result<StagedDigests>,
);

fn digests((md5, sha256, fragments): Ended) -> io::Result<Digests> {
    let StagedDigests {
        fragments,
        is_staged,
    } = fragments?;
    Ok(Digests {
        sha256: sha256?,
        md5: md5?,
        fragments,
        is_staged,
    })
}

/// Sends each chunk to all queues. A chunk is part of one fragment.
fn feed(
    mut reader: SourceReader,
    bytes: u64,
    size: FragmentSize,
    queues: &[SyncSender<Bytes>],
    is_refused: &AtomicBool,
    progress: impl Fn(u64),
) -> io::Result<()> {
    let mut used = VecDeque::with_capacity(CHUNKS);
    for (_, range) in fragment::ranges(bytes, size) {
        for length in chunks(&range) {
            if is_refused.load(Ordering::Relaxed) {
                return Ok(());
            }
            let mut chunk = buffer(&mut used, length);
            reader.read_exact(&mut chunk)?;
            let chunk = chunk.freeze();
            for queue in queues {
                // A consumer that ends early returns the reason.
                let _ = queue.send(chunk.clone());
            }
            used.push_back(chunk);
            progress(length as u64);
        }
    }
    Ok(())
}

/// Returns the length of each chunk of a fragment.
fn chunks(range: &Range<u64>) -> impl Iterator<Item = usize> {
    let (start, end) = (range.start, range.end);
    (start..end).step_by(CHUNK_BYTES).map(move |start| {
        let left = usize::try_from(end - start).unwrap_or(CHUNK_BYTES);
        CHUNK_BYTES.min(left)
    })
}

/// Returns a buffer of `length` bytes: that of the oldest chunk, if no consumer uses it any more.
///
/// New memory for each chunk would cost as much as reading it.
fn buffer(used: &mut VecDeque<Bytes>, length: usize) -> BytesMut {
    let oldest = (used.len() >= CHUNKS).then(|| used.pop_front()).flatten();
    match oldest.map(Bytes::try_into_mut) {
        Some(Ok(mut buffer)) => {
            buffer.resize(length, 0);
            buffer
        }
        _ => BytesMut::zeroed(length),
    }
}

fn md5(chunks: Receiver<Bytes>) -> Md5Digest {
    let digest = chunks
        .into_iter()
        .fold(Md5::new(), |digest, chunk| digest.chain_update(&chunk));
    Md5Digest::from_bytes(digest.finalize().into())
}

fn sha256(chunks: Receiver<Bytes>) -> Sha256Digest {
    let digest = chunks
        .into_iter()
        .fold(Sha256::new(), |digest, chunk| digest.chain_update(&chunk));
    Sha256Digest::from_bytes(digest.finalize().into())
}

struct StagedDigests {
    fragments: Vec<Sha256Digest>,
    is_staged: bool,
}

/// Computes the digest of each fragment, and stages the fragments.
fn stage(
    chunks: &Receiver<Bytes>,
    bytes: u64,
    size: FragmentSize,
    staging: Option<&StagingArea>,
) -> StagedDigests {
    let Some(area) = staging else {
        return StagedDigests {
            fragments: fragments(chunks, bytes, size, None),
            is_staged: false,
        };
    };
    let has_failed = AtomicBool::new(false);
    let (complete, files) = sync_channel(SYNC_THREADS);
    let files = Mutex::new(files);
    let fragments = std::thread::scope(|scope| {
        for _ in 0..SYNC_THREADS {
            scope.spawn(|| synchronise(&files, &has_failed));
        }
        let stager = Stager::new(area, &has_failed, complete);
        fragments(chunks, bytes, size, Some(&stager))
    });
    StagedDigests {
        fragments,
        is_staged: !has_failed.into_inner(),
    }
}

/// Returns the digest of each fragment, up to the end of the chunks.
fn fragments(
    received: &Receiver<Bytes>,
    bytes: u64,
    size: FragmentSize,
    stager: Option<&Stager<'_>>,
) -> Vec<Sha256Digest> {
    let mut digests = Vec::new();
    for (number, range) in fragment::ranges(bytes, size) {
        let mut file = stager.and_then(|stager| stager.begin(number));
        let mut digest = Sha256::new();
        for _ in chunks(&range) {
            let Ok(chunk) = received.recv() else {
                return digests;
            };
            digest.update(&chunk);
            file = stager.and_then(|stager| stager.write(file.take(), &chunk));
        }
        if let Some(stager) = stager {
            stager.end(file);
        }
        digests.push(Sha256Digest::from_bytes(digest.finalize().into()));
    }
    digests
}
