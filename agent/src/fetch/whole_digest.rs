//! The digest of a whole archive, computed while its fragments arrive.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};

use packcast_protocol::{Archive, FragmentNumber, Sha256Digest};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinHandle;

/// Reads the fragments from the disk in their order, each as soon as all fragments before it are
/// complete. So only the last fragments remain to be read when the download ends.
#[derive(Debug)]
pub(crate) struct WholeDigest {
    complete: Sender<FragmentNumber>,
    reading: JoinHandle<io::Result<Option<Sha256Digest>>>,
}

impl WholeDigest {
    /// Starts a thread for the fragments in `folder`. The thread ends with this value.
    pub(crate) fn start(folder: &Path, archive: &Archive) -> Self {
        let (complete, fragments) = mpsc::channel();
        let (folder, count) = (folder.to_owned(), archive.fragment_count().get());
        let reading = tokio::task::spawn_blocking(move || read(&folder, count, &fragments));
        Self { complete, reading }
    }

    /// Notes that a fragment is on disk, and is verified.
    pub(crate) fn add(&self, number: FragmentNumber) {
        // The thread ends early only if it cannot read a fragment.
        let _ = self.complete.send(number);
    }

    /// Returns the digest, or `None` if a fragment is missing or cannot be read.
    pub(crate) async fn finish(self) -> Option<Sha256Digest> {
        drop(self.complete);
        self.reading.await.ok()?.ok()?
    }
}

fn read(
    folder: &Path,
    count: u32,
    complete: &Receiver<FragmentNumber>,
) -> io::Result<Option<Sha256Digest>> {
    let (mut digest, mut buffer) = (Sha256::new(), vec![0; 256 << 10]);
    let (mut waiting, mut next) = (BTreeSet::new(), 0);
    for number in complete {
        waiting.insert(number);
        while waiting.remove(&FragmentNumber::from_index(next)) {
            add_file(&fragment(folder, next), &mut digest, &mut buffer)?;
            next += 1;
        }
    }
    Ok((next == count).then(|| Sha256Digest::from_bytes(digest.finalize().into())))
}

fn fragment(folder: &Path, index: u32) -> PathBuf {
    folder.join(FragmentNumber::from_index(index).to_string())
}

fn add_file(path: &Path, digest: &mut Sha256, buffer: &mut [u8]) -> io::Result<()> {
    let mut file = File::open(path)?;
    loop {
        match file.read(buffer)? {
            0 => return Ok(()),
            read => digest.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use packcast_protocol::{ArchiveFormat, FragmentSize};

    use super::*;

    fn archive(content: &[u8], folder: &Path) -> Archive {
        let fragments = content.chunks(1024).enumerate().map(|(index, bytes)| {
            std::fs::write(fragment(folder, u32::try_from(index).unwrap()), bytes).unwrap();
            Sha256Digest::of(bytes)
        });
        let fragments = fragments.collect();
        let size = FragmentSize::try_from(1024).unwrap();
        let (length, whole) = (content.len() as u64, Sha256Digest::of(content));
        Archive::new(ArchiveFormat::Zip, length, whole, size, fragments).unwrap()
    }

    #[tokio::test]
    async fn fragments_in_any_order_give_the_digest_of_the_archive() {
        let folder = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..4500_u32).flat_map(u32::to_be_bytes).collect();
        let archive = archive(&content, folder.path());
        let digest = WholeDigest::start(folder.path(), &archive);
        let count = archive.fragment_count().get();
        for index in (0..count).rev() {
            digest.add(FragmentNumber::from_index(index));
        }
        assert_eq!(digest.finish().await, Some(archive.sha256()));
    }

    #[tokio::test]
    async fn there_is_no_digest_without_all_fragments() {
        let folder = tempfile::tempdir().unwrap();
        let archive = archive(&[7; 3000], folder.path());
        let digest = WholeDigest::start(folder.path(), &archive);
        for index in [0, 2] {
            digest.add(FragmentNumber::from_index(index));
        }
        assert_eq!(digest.finish().await, None);

        std::fs::remove_file(fragment(folder.path(), 1)).unwrap();
        let digest = WholeDigest::start(folder.path(), &archive);
        for index in 0..3 {
            digest.add(FragmentNumber::from_index(index));
        }
        assert_eq!(digest.finish().await, None);
    }
}
