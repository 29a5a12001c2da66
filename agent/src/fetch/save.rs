//! Fragments written to disk while they arrive.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use bytes::Bytes;
use packcast_protocol::Sha256Digest;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinHandle;

use crate::fetch::download::Download;
use crate::fetch::location_failure::LocationFailure;

/// The smallest amount that is passed to the disk at once.
///
/// Data arrives in pieces of 16 KiB. A change of threads for each would cost more than the digest
/// and the write.
const BATCH_BYTES: usize = 256 << 10;

/// Errors from saving a fragment.
#[derive(Debug)]
pub(crate) enum SaveError {
    LocationFailure(LocationFailure),
    Disk(io::Error),
}

/// A file that is being written.
struct PartialFile {
    file: File,
    hash: Sha256,
    bytes: u64,
}

/// Writes a fragment to `part` and checks its digest. The next batch arrives during each write.
///
/// The file is not synchronised to disk. It survives a crash of the agent. After a power failure,
/// the writes of the last seconds may be lost: the next run verifies the fragments on disk, and fetches
/// damaged ones again.
pub(crate) async fn save(
    mut download: Download<'_>,
    expected: (u64, Sha256Digest),
    part: &Path,
) -> Result<(), SaveError> {
    let path = part.to_owned();
    let mut writing = tokio::task::spawn_blocking(move || PartialFile::create(&path));
    let (mut arrived, bytes) = (0, expected.0);
    loop {
        let batch = batch(&mut download, &mut arrived, bytes).await;
        // The write must end before another location may write to the same file.
        let output = written(writing).await.map_err(SaveError::Disk)?;
        let batch = batch.map_err(SaveError::LocationFailure)?;
        if batch.is_empty() {
            return output.check(expected).map_err(SaveError::LocationFailure);
        }
        writing = tokio::task::spawn_blocking(move || output.add(&batch));
    }
}

/// Waits for the next batch. Only the batch at the end of the file is empty.
async fn batch(
    download: &mut Download<'_>,
    arrived: &mut u64,
    limit: u64,
) -> Result<Vec<Bytes>, LocationFailure> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while bytes < BATCH_BYTES {
        let Some(chunk) = download.chunk().await? else {
            break;
        };
        *arrived += chunk.len() as u64;
        if *arrived > limit {
            return Err(LocationFailure::TooLong { limit });
        }
        bytes += chunk.len();
        batch.push(chunk);
    }
    Ok(batch)
}

async fn written(writing: JoinHandle<io::Result<PartialFile>>) -> io::Result<PartialFile> {
    writing.await.map_err(io::Error::other)?
}

impl PartialFile {
    fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: File::create(path)?,
            hash: Sha256::new(),
            bytes: 0,
        })
    }

    fn add(mut self, batch: &[Bytes]) -> io::Result<Self> {
        for chunk in batch {
            self.hash.update(chunk);
            self.file.write_all(chunk)?;
            self.bytes += chunk.len() as u64;
        }
        Ok(self)
    }

    fn check(self, (bytes, digest): (u64, Sha256Digest)) -> Result<(), LocationFailure> {
        let actual = Sha256Digest::from_bytes(self.hash.finalize().into());
        if actual == digest {
            return Ok(());
        }
        Err(LocationFailure::Fragment {
            arrived: self.bytes,
            bytes,
            actual,
        })
    }
}
