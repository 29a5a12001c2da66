//! One pass over an archive: hashing and uploading side by side, in bounded memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::sync::Arc;
use std::sync::mpsc as sync_mpsc;

use bytes::Bytes;
use md5::Md5;
use packcast_protocol::manifest::ArchiveError;
use packcast_protocol::{
    Archive, FragmentNumber, FragmentSize, Md5Digest, ObjectPath, PackageId, Sha256Digest, fragment,
};
use packcast_rollout::record::ArchiveRecord;
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

/// What came of a pass.
#[derive(Debug)]
pub struct Built {
    pub archive: Archive,
    pub md5: Md5Digest,
    /// What was there from an earlier run and was not uploaded again.
    pub kept: Kept,
}

/// Fragments that were there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Kept {
    pub fragments: u32,
    pub bytes: u64,
}

/// Why a pass did not come to its end.
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
    #[error("the archive cannot be described")]
    Describe(#[from] ArchiveError),
    #[error("a part of the publisher stopped")]
    Stopped,
}

/// A fragment for the reader to read: hashed always, and sent on unless it is stored.
struct Job {
    bytes: u64,
    chunks: Option<mpsc::Sender<Bytes>>,
}

/// Uploads the fragments of an archive that are missing, and digests all of it.
///
/// `progress` is told how many bytes went by since the last time.
pub async fn build(
    source: &Source,
    record: &ArchiveRecord,
    folder: &ObjectPath,
    id: PackageId,
    objects: &Objects,
    progress: impl Fn(u64) + Send + 'static,
) -> Result<Built, BuildError> {
    let stored = objects.list(folder).await?;
    let file = source.reader().map_err(BuildError::Read)?;
    let (jobs, todo) = sync_mpsc::sync_channel(PARALLEL);
    let reading = tokio::task::spawn_blocking(move || read(file, &todo, &progress));
    let kept = upload(record, folder, id, objects, &stored, jobs).await;
    let digests = reading.await.map_err(|_| BuildError::Stopped)?;
    // The reader's error is the cause of a put that got too few bytes.
    let digests = digests.map_err(BuildError::Read)?;
    let kept = kept?;
    if digests.sha256 != record.sha256 {
        return Err(BuildError::Changed);
    }
    let archive = Archive::new(
        record.format,
        record.bytes,
        digests.sha256,
        record.fragment_size,
        digests.fragments,
    )?;
    Ok(Built {
        archive,
        md5: digests.md5,
        kept,
    })
}

/// Hands out one job a fragment, in order, and stores what the reader sends.
async fn upload(
    record: &ArchiveRecord,
    folder: &ObjectPath,
    id: PackageId,
    objects: &Objects,
    stored: &BTreeMap<String, u64>,
    jobs: sync_mpsc::SyncSender<Job>,
) -> Result<Kept, BuildError> {
    let mut kept = Kept::default();
    let mut puts = JoinSet::new();
    let room = Arc::new(Semaphore::new(PARALLEL));
    for (number, bytes) in lengths(record.bytes, record.fragment_size) {
        let key = ObjectKey::fragment(folder, id, number);
        let chunks = if stored.get(key.path()) == Some(&bytes) {
            kept.fragments += 1;
            kept.bytes += bytes;
            None
        } else {
            let permit = Arc::clone(&room)
                .acquire_owned()
                .await
                .map_err(|_| BuildError::Stopped)?;
            let (sender, chunks) = mpsc::channel(WAITING_CHUNKS);
            let objects = objects.clone();
            puts.spawn(async move {
                let put = objects.put(&key, bytes, chunks).await;
                drop(permit);
                put
            });
            Some(sender)
        };
        let jobs = jobs.clone();
        let job = Job { bytes, chunks };
        // The queue may be full while the reader waits for a put, so it must not block the runtime.
        let handed = tokio::task::spawn_blocking(move || jobs.send(job).is_ok()).await;
        if !handed.unwrap_or(false) {
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

fn lengths(bytes: u64, size: FragmentSize) -> impl Iterator<Item = (FragmentNumber, u64)> {
    fragment::ranges(bytes, size).map(|(number, range)| (number, range.end - range.start))
}

struct Digests {
    sha256: Sha256Digest,
    md5: Md5Digest,
    fragments: Vec<Sha256Digest>,
}

/// Reads the jobs' fragments in order. MD5, the slowest digest, has a thread of its own.
fn read(
    mut file: File,
    jobs: &sync_mpsc::Receiver<Job>,
    progress: &impl Fn(u64),
) -> io::Result<Digests> {
    let (to_md5, chunks) = sync_mpsc::sync_channel::<Bytes>(WAITING_CHUNKS);
    std::thread::scope(|scope| {
        let md5 = scope.spawn(move || {
            let mut md5 = Md5::new();
            for chunk in chunks {
                md5.update(&chunk);
            }
            Md5Digest::from_bytes(md5.finalize().into())
        });
        let mut whole = Sha256::new();
        let mut fragments = Vec::new();
        for job in jobs {
            let mut fragment = Sha256::new();
            let mut left = job.bytes;
            while left > 0 {
                let length = CHUNK_BYTES.min(usize::try_from(left).unwrap_or(CHUNK_BYTES));
                let mut chunk = vec![0; length];
                file.read_exact(&mut chunk)?;
                let chunk = Bytes::from(chunk);
                // A receiver that is gone has its own error to tell.
                let _ = to_md5.send(chunk.clone());
                if let Some(upload) = &job.chunks {
                    let _ = upload.blocking_send(chunk.clone());
                }
                fragment.update(&chunk);
                whole.update(&chunk);
                left -= length as u64;
                progress(length as u64);
            }
            fragments.push(Sha256Digest::from_bytes(fragment.finalize().into()));
        }
        drop(to_md5);
        let md5 = md5
            .join()
            .map_err(|_| io::Error::other("the digest thread panicked"))?;
        Ok(Digests {
            sha256: Sha256Digest::from_bytes(whole.finalize().into()),
            md5,
            fragments,
        })
    })
}
