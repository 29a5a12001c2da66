//! Reads or packs an archive once, and computes everything that a publication needs from the same bytes.
//!
//! Each consumer has a thread and a short queue of chunks, so that the slowest one decides the
//! duration: MD5, which no machine computes in parallel. The memory does not depend on the length
//! of the archive.
//!
//! ```text
//! archive ─▶┐  SHA-256 of   ┌▶ MD5 of the archive
//!           ├─▶ the archive ┼▶ SHA-256 of each fragment, and its file ─▶ the disk
//! files ───▶┘     chunks    └▶ entries
//!   packed, and written to a temporary file
//! ```
//!
//! The directory of a zip archive is at the end, so it is read from the file.

mod feed;
mod zip_reader;

use std::fs::File;
use std::io::{self, Read};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, Scope, ScopedJoinHandle};

use bytes::Bytes;
use packcast_archive::{ArchiveError, Content, Entry, Limits, walk, walk_tar_gz};
use packcast_protocol::digest::Md5Hasher;
use packcast_protocol::{ArchiveFormat, FragmentNumber, FragmentSize, Md5Digest, Sha256Digest};
use packcast_store::objects::StagingArea;
use sha2::{Digest as _, Sha256};

use self::feed::{Feeder, PackedChunks, WAITING_CHUNKS};
use self::zip_reader::ZipReader;
use super::pack::{Files, PackError, Temporary};
use super::source::SourceReader;
use super::staged::{SYNC_THREADS, Stager, synchronise};
use super::thread::ThreadError;
use crate::progress::Progress;

/// The digests of an archive and of its fragments.
pub(super) struct Digests {
    pub(super) sha256: Sha256Digest,
    pub(super) md5: Md5Digest,
    pub(super) fragments: Vec<Sha256Digest>,
    /// The length of the archive.
    pub(super) bytes: u64,
    /// All fragments are staged.
    pub(super) is_staged: bool,
}

/// Errors from reading or packing an archive once.
pub(super) enum PassError<E> {
    Read(io::Error),
    Pack(PackError),
    Entries(E),
    Thread(ThreadError),
}

impl<E> From<ThreadError> for PassError<E> {
    fn from(error: ThreadError) -> Self {
        Self::Thread(error)
    }
}

/// The entries of an archive, for one reader from start to end.
pub(super) enum Entries {
    Zip(ZipReader),
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
    ) -> Result<Self, ThreadError> {
        let (queue, chunks) = sync_channel(WAITING_CHUNKS);
        let thread = start(scope, move || work(chunks))?;
        Ok(Self { queue, thread })
    }
}

/// Starts a thread. `Scope::spawn` would panic if the system has none left.
fn start<'s, T: Send + 's>(
    scope: &'s Scope<'s, '_>,
    work: impl FnOnce() -> T + Send + 's,
) -> Result<ScopedJoinHandle<'s, T>, ThreadError> {
    let started = Builder::new().spawn_scoped(scope, work);
    started.map_err(ThreadError::Start)
}

fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> Result<T, ThreadError> {
    thread.join().map_err(|_| ThreadError::Panicked)
}

/// The consumers of one pass, except the reader of the entries.
pub(super) struct Pass<'a> {
    pub(super) size: FragmentSize,
    /// The place of the fragments, which are staged as far as possible.
    pub(super) staging: Option<&'a StagingArea>,
}

impl Pass<'_> {
    /// Reads an archive of `bytes` bytes once. `list` reads its entries meanwhile.
    ///
    /// An error from `list` ends the pass early. `progress` advances by the bytes that are read.
    pub(super) fn read<T: Send, E: Send>(
        &self,
        (format, reader, bytes): (ArchiveFormat, SourceReader, u64),
        list: impl FnOnce(Entries) -> Result<T, E> + Send,
        progress: &Progress,
    ) -> Result<(Digests, T), PassError<E>> {
        let zip = (format == ArchiveFormat::Zip).then(|| reader.clone());
        let (digests, listed, ()) = self.run(zip, list, |feeder| {
            let read = feeder.read(reader, bytes, progress);
            read.map_err(PassError::Read)
        })?;
        Ok((digests, listed))
    }

    /// Packs files as `.tar.gz` into a temporary file, and reads the archive while it is packed.
    ///
    /// `progress` advances by the bytes of the files.
    pub(super) fn pack<T: Send, E: Send>(
        &self,
        files: &Files,
        list: impl FnOnce(Entries) -> Result<T, E> + Send,
        progress: &Progress,
    ) -> Result<(Digests, T, File), PassError<E>> {
        self.run(None, list, |feeder| {
            let temporary = Temporary::create().map_err(PassError::Pack)?;
            let chunks = PackedChunks::new(&temporary.file, feeder);
            let packed = files
                .tar_gz(chunks, self.size, &temporary, progress)
                .map_err(PassError::Pack)?;
            let flushed = packed.finish();
            flushed.map_err(|error| PassError::Pack(temporary.write_error(error)))?;
            Ok(temporary.file)
        })
    }

    /// Runs all consumers with the chunks that `feed` sends. `zip` is the file of a zip archive.
    fn run<T: Send, E: Send, F>(
        &self,
        zip: Option<SourceReader>,
        list: impl FnOnce(Entries) -> Result<T, E> + Send,
        feed: impl FnOnce(&mut Feeder<'_>) -> Result<F, PassError<E>>,
    ) -> Result<(Digests, T, F), PassError<E>> {
        let is_refused = AtomicBool::new(false);
        let list = |entries| {
            let listed = list(entries);
            is_refused.store(listed.is_err(), Ordering::Relaxed);
            listed
        };
        let (size, staging) = (self.size, self.staging);
        std::thread::scope(|scope| {
            // After an error, the threads that have started end with their queues.
            let md5 = Consumer::start(scope, md5)?;
            let fragments = Consumer::start(scope, move |chunks| stage(chunks, size, staging))?;
            let listing = Consumer::start(scope, |chunks| {
                list(match zip {
                    Some(file) => Entries::Zip(ZipReader::new(file, chunks)),
                    None => Entries::TarGz(ChunkReader {
                        chunks,
                        current: Bytes::new(),
                    }),
                })
            })?;
            let queues = vec![md5.queue, fragments.queue, listing.queue];
            let mut feeder = Feeder::new(queues, size, &is_refused);
            let read = feed(&mut feeder);
            // Each consumer ends with its queue.
            let sent = feeder.end();
            let md5 = joined(md5.thread);
            let fragments = joined(fragments.thread);
            let listed = joined(listing.thread)?;
            let read = match read {
                // An archive that ends early is damaged for the reader of its entries, too.
                Err(error) if !sent.has_stopped => return Err(error),
                read => read,
            };
            let listed = listed.map_err(PassError::Entries)?;
            let (fragments, is_staged) = fragments?;
            let digests = Digests {
                sha256: sent.sha256,
                md5: md5?,
                fragments,
                bytes: sent.bytes,
                is_staged,
            };
            Ok((digests, listed, read?))
        })
    }
}

fn md5(chunks: Receiver<Bytes>) -> Md5Digest {
    let mut digest = Md5Hasher::default();
    for chunk in chunks {
        digest.update(&chunk);
    }
    digest.finish()
}

/// Returns the digest of each fragment, and `true` if all fragments are staged.
fn stage(
    chunks: Receiver<Bytes>,
    size: FragmentSize,
    staging: Option<&StagingArea>,
) -> (Vec<Sha256Digest>, bool) {
    let Some(area) = staging else {
        return (fragments(chunks, size, None), false);
    };
    let has_failed = AtomicBool::new(false);
    let (complete, files) = sync_channel(SYNC_THREADS);
    let files = Mutex::new(files);
    let fragments = std::thread::scope(|scope| {
        let threads = (0..SYNC_THREADS)
            .take_while(|_| start(scope, || synchronise(&files, &has_failed)).is_ok());
        if threads.count() == 0 {
            // Nobody would receive the complete files.
            has_failed.store(true, Ordering::Relaxed);
        }
        let stager = Stager::new(area, &has_failed, complete);
        fragments(chunks, size, Some(&stager))
    });
    (fragments, !has_failed.into_inner())
}

/// A fragment that is not complete yet.
struct Fragment {
    bytes: u64,
    digest: Sha256,
    /// `None` if the fragment is not staged.
    file: Option<File>,
}

/// Returns the digest of each fragment. A chunk is part of one fragment.
fn fragments(
    chunks: Receiver<Bytes>,
    size: FragmentSize,
    stager: Option<&Stager<'_>>,
) -> Vec<Sha256Digest> {
    let mut digests = Vec::new();
    let mut current: Option<Fragment> = None;
    let end = |fragment: Fragment| {
        if let Some(stager) = stager {
            stager.end(fragment.file);
        }
        Sha256Digest::from_bytes(fragment.digest.finalize().into())
    };
    for chunk in chunks {
        let mut fragment = current.take().unwrap_or_else(|| Fragment {
            bytes: 0,
            digest: Sha256::new(),
            file: stager.and_then(|stager| stager.begin(number(digests.len()))),
        });
        fragment.digest.update(&chunk);
        fragment.file = stager.and_then(|stager| stager.write(fragment.file.take(), &chunk));
        fragment.bytes += chunk.len() as u64;
        if fragment.bytes < size.get() {
            current = Some(fragment);
        } else {
            digests.push(end(fragment));
        }
    }
    digests.extend(current.map(end));
    digests
}

/// Returns the number of the fragment after others.
fn number(before: usize) -> FragmentNumber {
    FragmentNumber::from_index(u32::try_from(before).unwrap_or(u32::MAX - 1))
}
