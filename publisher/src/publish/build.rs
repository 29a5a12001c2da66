//! Uploading the fragments of an archive that are not stored yet, in bounded memory.
//!
//! The archive was digested before anything was reserved. Here each fragment is read once
//! more, hashed and sent side by side, and completed only if its digest is still the same: a
//! fragment that is stored is the right one, or a second run could not trust what it finds.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::sync::Arc;
use std::sync::mpsc as sync_mpsc;

use bytes::Bytes;
use packcast_protocol::{Archive, ObjectPath, PackageId, Sha256Digest};
use packcast_store::objects::{GetError, PutError};
use packcast_store::{ObjectKey, Objects};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::source::Source;

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

/// A fragment for the reader to read and send.
struct Job {
    start: u64,
    bytes: u64,
    digest: Sha256Digest,
    chunks: mpsc::Sender<Bytes>,
}

/// Uploads the fragments that are missing and returns what was there.
///
/// `progress` is told how many bytes are done since the last time.
pub async fn build(
    source: &Source,
    archive: &Archive,
    folder: &ObjectPath,
    id: PackageId,
    objects: &Objects,
    progress: impl Fn(u64) + Send + Clone + 'static,
) -> Result<Kept, BuildError> {
    let stored = objects.list(folder).await?;
    let file = source.reader().map_err(BuildError::Read)?;
    let (jobs, todo) = sync_mpsc::sync_channel(PARALLEL);
    let reading = {
        let progress = progress.clone();
        tokio::task::spawn_blocking(move || read(file, &todo, &progress))
    };
    let kept = upload(archive, folder, id, objects, &stored, jobs, progress).await;
    // The reader's error is the cause of a put that got too few bytes.
    reading.await.map_err(|_| BuildError::Stopped)??;
    kept
}

/// Hands out one job for each missing fragment, in order, and stores what the reader sends.
async fn upload(
    archive: &Archive,
    folder: &ObjectPath,
    id: PackageId,
    objects: &Objects,
    stored: &BTreeMap<String, u64>,
    jobs: sync_mpsc::SyncSender<Job>,
    progress: impl Fn(u64),
) -> Result<Kept, BuildError> {
    let mut kept = Kept::default();
    let mut puts = JoinSet::new();
    let room = Arc::new(Semaphore::new(PARALLEL));
    let mut start = 0;
    for (number, bytes, digest) in archive.fragments() {
        let key = ObjectKey::fragment(folder, id, number);
        let at = start;
        start += bytes;
        if stored.get(key.path()) == Some(&bytes) {
            kept.fragments += 1;
            kept.bytes += bytes;
            progress(bytes);
            continue;
        }
        let permit = Arc::clone(&room)
            .acquire_owned()
            .await
            .map_err(|_| BuildError::Stopped)?;
        let (chunks, received) = mpsc::channel(WAITING_CHUNKS);
        let objects = objects.clone();
        puts.spawn(async move {
            let put = objects.put(&key, bytes, received).await;
            drop(permit);
            put
        });
        // There are as many permits as there is room for jobs, so the queue is never full.
        if jobs
            .try_send(Job {
                start: at,
                bytes,
                digest,
                chunks,
            })
            .is_err()
        {
            break;
        }
        while let Some(put) = puts.try_join_next() {
            put.map_err(|_| BuildError::Stopped)??;
        }
    }
    drop(jobs);
    while let Some(put) = puts.join_next().await {
        put.map_err(|_| BuildError::Stopped)??;
    }
    Ok(kept)
}

/// Reads the jobs' fragments one after the other.
fn read(
    mut file: File,
    jobs: &sync_mpsc::Receiver<Job>,
    progress: &impl Fn(u64),
) -> Result<(), BuildError> {
    for job in jobs {
        file.seek(SeekFrom::Start(job.start))
            .map_err(BuildError::Read)?;
        read_fragment(&mut file, &job, progress)?;
    }
    Ok(())
}

/// Sends a fragment's bytes, the last of them only when its digest is the expected one.
fn read_fragment(file: &mut File, job: &Job, progress: &impl Fn(u64)) -> Result<(), BuildError> {
    let mut digest = Sha256::new();
    let mut left = job.bytes;
    let mut held_back = None;
    while left > 0 {
        let length = CHUNK_BYTES.min(usize::try_from(left).unwrap_or(CHUNK_BYTES));
        let mut chunk = vec![0; length];
        file.read_exact(&mut chunk)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => BuildError::Changed,
                _ => BuildError::Read(error),
            })?;
        digest.update(&chunk);
        left -= length as u64;
        progress(length as u64);
        if let Some(before) = held_back.replace(Bytes::from(chunk)) {
            // A receiver that is gone has its own error to tell.
            let _ = job.chunks.blocking_send(before);
        }
    }
    if Sha256Digest::from_bytes(digest.finalize().into()) != job.digest {
        return Err(BuildError::Changed);
    }
    if let Some(last) = held_back {
        let _ = job.chunks.blocking_send(last);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use packcast_agent::archive::Limits;
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
        let run = || build(&source, archive, &folder, id, &objects, |_| {});

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
