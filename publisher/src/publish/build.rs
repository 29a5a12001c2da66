//! Stores the missing fragments of an archive, in bounded memory.
//!
//! The digests of the archive were computed before the package was reserved. Staged fragments were
//! written in the same pass, and only get their paths. Without them, this module reads each missing
//! fragment once more. Its upload is completed only if its digest is still the same: a bucket computes
//! that of a fragment up to 8 MiB, and this module all others.
//!
//! A second run keeps the fragments that are stored already. It compares their digests, because
//! the owner of the bucket can store other bytes of the same length. A bucket answers one small
//! request for each fragment; a directory reads the fragments again. A fragment of more than 8 MiB
//! is also read from the source once more, because a bucket has the digests of its parts only.
//!
//! Of fragments up to 8 MiB, the memory holds as many as are uploaded at a time: 12 MiB, or four
//! fragments. Of a larger fragment, it holds a few chunks, and for a bucket one part of at least 8 MiB.

#[cfg(test)]
mod tests;

use std::io::{self, Read as _};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::{Archive, FragmentNumber, ObjectPath, PackageId, Sha256Digest};
use packcast_store::objects::{GetError, PartsDigest, PartsHasher, PutError, StoredDigest};
use packcast_store::{ObjectKey, Objects};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking};

use super::pack::PackError;
use super::page_aligned;
use super::source::{Source, SourceReader};
use crate::concurrency::AT_ONCE;
use crate::progress::Progress;

/// The number of bytes in one read.
const CHUNK_BYTES: usize = 256 << 10;

/// The number of chunks that wait for the slower one of hashing and uploading.
const WAITING_CHUNKS: usize = 4;

/// The length of the largest fragment that is kept in memory during its upload, in bytes.
const WHOLE_BYTES: u64 = 8 << 20;

/// The limit of all fragments in memory, in bytes. It does not reduce their number below the least of
/// [`PARALLEL`], even if these fragments are longer together.
const MEMORY_BYTES: u64 = 12 << 20;

/// The limits of the number of fragments that are uploaded at a time: small ones wait for the network
/// most of the time.
const PARALLEL: RangeInclusive<u64> = 4..=16;

/// Fragments that an earlier run stored, and that were not uploaded again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct KeptFragments {
    pub fragments: u32,
    pub bytes: u64,
}

/// Errors from uploading the fragments.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot publish {}: it changed during the publication", path.display())]
    Changed { path: PathBuf },
    #[error(transparent)]
    Pack(#[from] PackError),
    #[error("cannot store a fragment")]
    Put(#[from] PutError),
    #[error("cannot list the stored objects")]
    List(#[source] GetError),
    #[error("cannot compare a stored fragment with the source")]
    Compare(#[source] GetError),
    #[error("cannot upload the fragments: a task of the publisher stopped")]
    Stopped,
}

impl BuildError {
    /// Returns true if a retry may succeed without any change.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Put(error) => error.is_retryable(),
            Self::List(error) | Self::Compare(error) => error.is_retryable(),
            Self::Read { .. } | Self::Changed { .. } | Self::Pack(_) | Self::Stopped => false,
        }
    }
}

/// A fragment of the source, and its place in the store.
#[derive(Clone)]
struct SourceFragment {
    number: FragmentNumber,
    key: ObjectKey,
    start: u64,
    bytes: u64,
    digest: Sha256Digest,
}

impl SourceFragment {
    /// Returns the start and the length of each chunk, in order.
    fn chunks(&self) -> impl Iterator<Item = (u64, usize)> {
        let end = self.start + self.bytes;
        (self.start..end).step_by(CHUNK_BYTES).map(move |start| {
            let left = usize::try_from(end - start).unwrap_or(CHUNK_BYTES);
            (start, CHUNK_BYTES.min(left))
        })
    }
}

/// The file of the archive, which several uploads read.
#[derive(Clone)]
struct SharedFile {
    reader: SourceReader,
    path: Arc<Path>,
}

impl SharedFile {
    fn changed(&self) -> BuildError {
        BuildError::Changed {
            path: self.path.to_path_buf(),
        }
    }

    fn unreadable(&self, source: io::Error) -> BuildError {
        BuildError::Read {
            path: self.path.to_path_buf(),
            source,
        }
    }

    fn read(&self, start: u64, length: usize) -> Result<Bytes, BuildError> {
        self.read_into(None, start, length)
    }

    /// Reads into a buffer, or into new memory.
    fn read_into(
        &self,
        buffer: Option<BytesMut>,
        start: u64,
        length: usize,
    ) -> Result<Bytes, BuildError> {
        let mut buffer = buffer.unwrap_or_else(|| page_aligned::buffer(length));
        buffer.resize(length, 0);
        let read = self.reader.at(start).read_exact(&mut buffer);
        read.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.changed(),
            _ => self.unreadable(error),
        })?;
        Ok(buffer.freeze())
    }
}

/// Uploads the missing fragments, and returns the fragments that were stored already.
///
/// `progress` advances by the bytes that are kept or read. After a failed upload, the function
/// begins no further upload, but completes those that have begun: an interrupted upload would
/// leave a part in the bucket.
pub async fn build(
    source: &Source,
    archive: &Archive,
    folder: &ObjectPath,
    id: PackageId,
    objects: &Objects,
    progress: &Progress,
) -> Result<KeptFragments, BuildError> {
    // The inspection has packed the files of a directory.
    let opened = source.archive(progress)?;
    let file = SharedFile {
        reader: opened.reader(),
        path: source.path().into(),
    };
    let fragments = fragments(archive, folder, id);
    let (kept, missing) = compare(fragments, folder, &file, objects, progress).await?;
    let staged = source.staged.get();
    if let Some(area) = staged.and_then(|staged| staged.area_of(archive)) {
        let is_unchanged = opened.is_unchanged();
        if !is_unchanged.map_err(|error| file.unreadable(error))? {
            return Err(file.changed());
        }
        let bytes = missing.iter().map(|fragment| fragment.bytes).sum();
        let missing = missing.into_iter();
        let files = missing.map(|fragment| (fragment.number, fragment.key));
        area.put(files.collect()).await?;
        progress.advance(bytes);
        return Ok(kept);
    }
    upload_all(missing, file.clone(), objects, progress).await?;
    // The digests show only changes in fragments that were missing.
    let is_unchanged = opened.is_unchanged();
    if !is_unchanged.map_err(|error| file.unreadable(error))? {
        return Err(file.changed());
    }
    Ok(kept)
}

/// Uploads fragments, several at a time.
async fn upload_all(
    missing: Vec<SourceFragment>,
    file: SharedFile,
    objects: &Objects,
    progress: &Progress,
) -> Result<(), BuildError> {
    let largest = missing.iter().map(|fragment| fragment.bytes).max();
    let parallel = parallel(largest.unwrap_or(0));
    let mut missing = missing.into_iter();
    let mut uploads = JoinSet::new();
    let mut done = Ok(());
    // New memory for each fragment would cost as much as reading it.
    let mut free = Vec::new();
    loop {
        while done.is_ok() && uploads.len() < parallel {
            let Some(fragment) = missing.next() else {
                break;
            };
            let (file, objects, progress) = (file.clone(), objects.clone(), progress.clone());
            uploads.spawn(upload(fragment, file, objects, progress, free.pop()));
        }
        let Some(uploaded) = uploads.join_next().await else {
            return done;
        };
        match uploaded.unwrap_or(Err(BuildError::Stopped)) {
            Ok(buffer) => free.extend(buffer),
            Err(error) => done = done.and(Err(error)),
        }
    }
}

/// Returns the number of fragments of a length that are uploaded at a time.
fn parallel(bytes: u64) -> usize {
    let fitting = MEMORY_BYTES / bytes.clamp(1, WHOLE_BYTES);
    let parallel = fitting.clamp(*PARALLEL.start(), *PARALLEL.end());
    usize::try_from(parallel).unwrap_or(1)
}

/// Returns the fragments of an archive, in order.
fn fragments(archive: &Archive, folder: &ObjectPath, id: PackageId) -> Vec<SourceFragment> {
    let mut start = 0;
    archive
        .fragments()
        .map(|(number, bytes, digest)| {
            let fragment = SourceFragment {
                number,
                key: ObjectKey::fragment(folder, id, number),
                start,
                bytes,
                digest,
            };
            start += bytes;
            fragment
        })
        .collect()
}

/// Returns the number of stored fragments, and the missing fragments in order.
///
/// A stored object with other bytes counts as missing: its upload fails with the conflict.
async fn compare(
    fragments: Vec<SourceFragment>,
    folder: &ObjectPath,
    file: &SharedFile,
    objects: &Objects,
    progress: &Progress,
) -> Result<(KeptFragments, Vec<SourceFragment>), BuildError> {
    let stored = objects.list(folder).await.map_err(BuildError::List)?;
    let stored = &stored;
    let mut compared = stream::iter(fragments)
        .map(|fragment| async move {
            let is_listed = stored.get(fragment.key.path()) == Some(&fragment.bytes);
            let is_kept = is_listed && is_stored(&fragment, file, objects).await?;
            Ok::<_, BuildError>((fragment, is_kept))
        })
        .buffered(AT_ONCE);
    let (mut kept, mut missing) = (KeptFragments::default(), Vec::new());
    while let Some((fragment, is_kept)) = compared.try_next().await? {
        if is_kept {
            kept.fragments += 1;
            kept.bytes += fragment.bytes;
            progress.advance(fragment.bytes);
        } else {
            missing.push(fragment);
        }
    }
    Ok((kept, missing))
}

/// Returns true if the stored object has exactly the bytes of the fragment.
async fn is_stored(
    fragment: &SourceFragment,
    file: &SharedFile,
    objects: &Objects,
) -> Result<bool, BuildError> {
    let stored = objects.digest(&fragment.key, fragment.bytes).await;
    match stored.map_err(BuildError::Compare)? {
        None => Ok(false),
        Some(StoredDigest::Whole(digest)) => Ok(digest == fragment.digest),
        Some(StoredDigest::Parts { part_bytes, digest }) => {
            let (fragment, file) = (fragment.clone(), file.clone());
            let parts = spawn_blocking(move || digest_of_parts(&fragment, &file, part_bytes));
            Ok(parts.await.map_err(|_| BuildError::Stopped)?? == digest)
        }
    }
}

/// Computes the digest of a fragment's parts. Fails if the fragment has changed.
fn digest_of_parts(
    fragment: &SourceFragment,
    file: &SharedFile,
    part_bytes: u64,
) -> Result<PartsDigest, BuildError> {
    let (mut whole, mut parts) = (Sha256::new(), PartsHasher::new(part_bytes));
    for (start, length) in fragment.chunks() {
        let chunk = file.read(start, length)?;
        whole.update(&chunk);
        parts.update(&chunk);
    }
    if Sha256Digest::from_bytes(whole.finalize().into()) != fragment.digest {
        return Err(file.changed());
    }
    Ok(parts.finish())
}

/// Reads, hashes and stores a fragment. Returns its buffer, if nobody uses it any more.
async fn upload(
    fragment: SourceFragment,
    file: SharedFile,
    objects: Objects,
    progress: Progress,
    buffer: Option<BytesMut>,
) -> Result<Option<BytesMut>, BuildError> {
    if fragment.bytes <= WHOLE_BYTES {
        return upload_whole(fragment, file, objects, progress, buffer).await;
    }
    let (chunks, received) = mpsc::channel(WAITING_CHUNKS);
    let (key, bytes) = (fragment.key.clone(), fragment.bytes);
    let reading = spawn_blocking(move || read(&fragment, &file, &chunks, &progress));
    let put = objects.put(&key, bytes, received).await;
    // If both fail, the error of the reader is the cause: the put got too few bytes.
    reading.await.map_err(|_| BuildError::Stopped)??;
    put?;
    Ok(buffer)
}

/// Reads a small fragment whole, and stores it if its digest is still the same.
async fn upload_whole(
    fragment: SourceFragment,
    file: SharedFile,
    objects: Objects,
    progress: Progress,
    buffer: Option<BytesMut>,
) -> Result<Option<BytesMut>, BuildError> {
    let (start, bytes, digest) = (fragment.start, fragment.bytes, fragment.digest);
    let length = usize::try_from(bytes).unwrap_or(usize::MAX);
    let source = file.clone();
    let read = spawn_blocking(move || source.read_into(buffer, start, length)).await;
    let content = read.map_err(|_| BuildError::Stopped)??;
    let put = objects.put_verified(&fragment.key, content.clone(), digest);
    put.await.map_err(|error| match error {
        PutError::Digest { .. } => file.changed(),
        other => other.into(),
    })?;
    progress.advance(bytes);
    Ok(content.try_into_mut().ok())
}

/// Sends the bytes of a fragment. The last chunk is sent only if the digest is the expected one, so
/// that a changed fragment is never completed.
fn read(
    fragment: &SourceFragment,
    file: &SharedFile,
    chunks: &mpsc::Sender<Bytes>,
    progress: &Progress,
) -> Result<(), BuildError> {
    let mut digest = Sha256::new();
    let mut held_back = None;
    for (start, length) in fragment.chunks() {
        let chunk = file.read(start, length)?;
        digest.update(&chunk);
        progress.advance(length as u64);
        if let Some(before) = held_back.replace(chunk)
            && chunks.blocking_send(before).is_err()
        {
            // The receiver has failed, and returns its own error.
            return Ok(());
        }
    }
    if Sha256Digest::from_bytes(digest.finalize().into()) != fragment.digest {
        return Err(file.changed());
    }
    if let Some(last) = held_back {
        let _ = chunks.blocking_send(last);
    }
    Ok(())
}
