//! Uploading the fragments of an archive that are not stored yet, in bounded memory.
//!
//! The archive was digested before anything was reserved. Here each fragment is read once
//! more, hashed and sent side by side, and completed only if its digest is still the same: a
//! fragment that is stored is the right one, or a second run could not trust what it finds.
//!
//! In memory are a few chunks for each fragment on its way, and what the place of the objects
//! takes at once: a part of at least 8 MiB in a bucket, nothing in a directory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use packcast_protocol::{Archive, ObjectPath, PackageId, Sha256Digest};
use packcast_store::objects::{GetError, PutError};
use packcast_store::{ObjectKey, Objects};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking};

use super::source::Source;
use crate::progress::Progress;

/// How much is read at once, in bytes.
const CHUNK_BYTES: usize = 256 << 10;

/// How many chunks wait for the slower of hashing and uploading.
const WAITING_CHUNKS: usize = 4;

/// How many fragments are on their way at once.
const PARALLEL: usize = 4;

/// Fragments that were there from an earlier run and were not uploaded again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Kept {
    pub fragments: u32,
    pub bytes: u64,
}

/// Why not all fragments are stored.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("the source cannot be read")]
    Read(#[source] io::Error),
    #[error("the source changed while it was being published: publish it again when it is still")]
    Changed,
    #[error("a fragment could not be stored")]
    Put(#[from] PutError),
    #[error("what is stored already could not be listed")]
    List(#[from] GetError),
    #[error("a part of the publisher stopped")]
    Stopped,
}

impl BuildError {
    /// Tells whether the same may succeed later.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Put(error) => error.is_retryable(),
            Self::List(error) => error.is_retryable(),
            Self::Read(_) | Self::Changed | Self::Stopped => false,
        }
    }
}

/// A fragment that is not stored yet.
struct Fragment {
    key: ObjectKey,
    start: u64,
    bytes: u64,
    digest: Sha256Digest,
}

/// The archive, read by several fragments in turn.
#[derive(Clone)]
struct SharedFile(Arc<Mutex<File>>);

impl SharedFile {
    fn read(&self, start: u64, length: usize) -> Result<Bytes, BuildError> {
        let mut chunk = vec![0; length];
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(start))
            .map_err(BuildError::Read)?;
        file.read_exact(&mut chunk)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => BuildError::Changed,
                _ => BuildError::Read(error),
            })?;
        Ok(chunk.into())
    }
}

/// Uploads the fragments that are missing and returns what was there.
///
/// `progress` advances by the bytes that are kept or read. When one fragment fails no
/// more are begun, but those under way come to their end: one that is broken off in its middle
/// would leave a part of it in a bucket.
pub async fn build(
    source: &Source,
    archive: &Archive,
    folder: &ObjectPath,
    id: PackageId,
    objects: &Objects,
    progress: &Progress,
) -> Result<Kept, BuildError> {
    let stored = objects.list(folder).await?;
    let (kept, missing) = compare(archive, folder, id, &stored);
    progress.advance(kept.bytes);
    let file = source.reader().map_err(BuildError::Read)?;
    let file = SharedFile(Arc::new(Mutex::new(file)));
    let mut missing = missing.into_iter();
    let mut uploads = JoinSet::new();
    let mut done = Ok(());
    loop {
        while done.is_ok() && uploads.len() < PARALLEL {
            let Some(fragment) = missing.next() else {
                break;
            };
            let (file, objects, progress) = (file.clone(), objects.clone(), progress.clone());
            uploads.spawn(upload(fragment, file, objects, progress));
        }
        match uploads.join_next().await {
            Some(uploaded) => {
                done = done.and(uploaded.unwrap_or(Err(BuildError::Stopped)));
            }
            None => return done.map(|()| kept),
        }
    }
}

/// Tells the fragments that are stored from those that are not, in order.
fn compare(
    archive: &Archive,
    folder: &ObjectPath,
    id: PackageId,
    stored: &BTreeMap<String, u64>,
) -> (Kept, Vec<Fragment>) {
    let (mut kept, mut missing, mut start) = (Kept::default(), Vec::new(), 0);
    for (number, bytes, digest) in archive.fragments() {
        let key = ObjectKey::fragment(folder, id, number);
        if stored.get(key.path()) == Some(&bytes) {
            kept.fragments += 1;
            kept.bytes += bytes;
        } else {
            missing.push(Fragment {
                key,
                start,
                bytes,
                digest,
            });
        }
        start += bytes;
    }
    (kept, missing)
}

/// Reads, hashes and stores a fragment.
async fn upload(
    fragment: Fragment,
    file: SharedFile,
    objects: Objects,
    progress: Progress,
) -> Result<(), BuildError> {
    let (chunks, received) = mpsc::channel(WAITING_CHUNKS);
    let (key, bytes) = (fragment.key.clone(), fragment.bytes);
    let reading = spawn_blocking(move || read(&fragment, &file, &chunks, &progress));
    let put = objects.put(&key, bytes, received).await;
    // The reader's error is the cause of a put that got too few bytes.
    reading.await.map_err(|_| BuildError::Stopped)??;
    put?;
    Ok(())
}

/// Sends a fragment's bytes, the last of them only when its digest is the expected one.
fn read(
    fragment: &Fragment,
    file: &SharedFile,
    chunks: &mpsc::Sender<Bytes>,
    progress: &Progress,
) -> Result<(), BuildError> {
    let mut digest = Sha256::new();
    let mut held_back = None;
    let (mut at, end) = (fragment.start, fragment.start + fragment.bytes);
    while at < end {
        let length = CHUNK_BYTES.min(usize::try_from(end - at).unwrap_or(CHUNK_BYTES));
        let chunk = file.read(at, length)?;
        digest.update(&chunk);
        at += length as u64;
        progress.advance(length as u64);
        if let Some(before) = held_back.replace(chunk)
            && chunks.blocking_send(before).is_err()
        {
            // A receiver that is gone has its own error to tell.
            return Ok(());
        }
    }
    if Sha256Digest::from_bytes(digest.finalize().into()) != fragment.digest {
        return Err(BuildError::Changed);
    }
    if let Some(last) = held_back {
        let _ = chunks.blocking_send(last);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use packcast_archive::Limits;
    use packcast_protocol::FragmentSize;
    use packcast_store::Directory;

    use super::*;

    /// Ten fragments that gzip cannot make smaller.
    fn archive(folder: &std::path::Path) -> std::path::PathBuf {
        let mut state = 1_u64;
        let noise = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_be_bytes()[0]
        });
        let inside = folder.join("inside");
        std::fs::create_dir(&inside).unwrap();
        std::fs::write(
            inside.join("noise"),
            noise.take(10_000).collect::<Vec<u8>>(),
        )
        .unwrap();
        let path = folder.join("archive.tar.gz");
        let packed = Source::open(&inside).unwrap();
        io::copy(
            &mut packed.reader().unwrap(),
            &mut File::create(&path).unwrap(),
        )
        .unwrap();
        path
    }

    #[tokio::test]
    async fn a_fragment_that_changed_is_never_stored() {
        let place = tempfile::tempdir().unwrap();
        let path = archive(place.path());
        let source = Source::open(&path).unwrap();
        let size = FragmentSize::try_from(1024).unwrap();
        let inspection = source
            .inspect(&Limits::default(), Some(size), |_| {})
            .unwrap();
        let archive = &inspection.archive.archive;
        let count = archive.fragment_count().get();
        let objects = Objects::Directory(Directory::new(place.path().join("objects")));
        let folder: ObjectPath = "d/x".parse().unwrap();
        let id = "1795000000".parse().unwrap();
        let unseen = Progress::none();
        let run = || build(&source, archive, &folder, id, &objects, &unseen);

        let whole = std::fs::read(&path).unwrap();
        let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        let mut put = |byte: u8| {
            file.seek(SeekFrom::Start(5000)).unwrap();
            file.write_all(&[byte]).unwrap();
        };
        put(!whole[5000]);
        assert!(matches!(run().await, Err(BuildError::Changed)));
        let changed = ObjectKey::fragment(
            &folder,
            id,
            packcast_protocol::FragmentNumber::from_index(4),
        );
        assert!(
            !objects
                .list(&folder)
                .await
                .unwrap()
                .contains_key(changed.path())
        );

        put(whole[5000]);
        let kept = run().await.unwrap();
        assert!(kept.fragments < count, "{kept:?} of {count}");
        assert_eq!(objects.list(&folder).await.unwrap().len(), count as usize);
        assert_eq!(run().await.unwrap().fragments, count);
    }
}
