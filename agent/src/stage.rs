//! The stages of an archive on its way to being used: fetched, verified, unpacked.
//!
//! Each can only be made from the one before it, so that what acts cannot be handed
//! anything that was not verified.

use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use packcast_archive::{ArchiveError, Entry, Limits, Summary};
use packcast_protocol::{Archive, FragmentNumber, Sha256Digest};
use sha2::{Digest as _, Sha256};

use crate::fetch::fragments::Concatenation;
use crate::fetch::{FetchError, Source};
use crate::manifest::Accepted;
use crate::unpack::{Durability, Unfinished, examine, unpack};

/// An archive all of whose fragments are on disk.
#[derive(Debug)]
pub(crate) struct Fetched {
    archive: Archive,
    folder: PathBuf,
}

/// An archive that has, as a whole, the digest of its signed manifest.
#[derive(Debug)]
pub(crate) struct Verified(Fetched);

/// A verified archive that was read to its end, and of which nothing is refused.
#[derive(Debug)]
pub(crate) struct Examined(Verified);

/// A folder that holds what a verified archive held.
#[derive(Debug)]
pub(crate) struct Unpacked {
    folder: PathBuf,
    summary: Summary,
}

/// Why fetched fragments are not the archive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VerifyError {
    /// Those that are wrong were removed.
    #[error(
        "{wrong} fragments, of which {first} is the first, have changed on disk since they were fetched: they will be fetched again"
    )]
    Fragments { wrong: usize, first: FragmentNumber },
    #[error("the archive has SHA-256 {actual}, the manifest says {expected}: publish it again")]
    Whole {
        expected: Sha256Digest,
        actual: Sha256Digest,
    },
    #[error("the fragments in {} cannot be read", folder.display())]
    Read {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
}

#[cfg(test)]
impl Fetched {
    /// Takes the fragments in a folder for those that were fetched.
    pub(crate) const fn for_test(archive: Archive, folder: PathBuf) -> Self {
        Self { archive, folder }
    }
}

impl Fetched {
    /// Fetches what `folder` does not have yet of the manifest's archive; none if it has no
    /// archive. `unpacked` is where the archive's content is going to be.
    pub(crate) async fn fetch(
        manifest: &Accepted,
        source: &Source<'_>,
        folder: &Path,
        unpacked: &Path,
        parallel: NonZeroUsize,
        arrived: impl Fn(FragmentNumber, u64, bool),
    ) -> Result<Option<Self>, FetchError> {
        let Some(archive) = manifest.action.archive() else {
            return Ok(None);
        };
        let fragments = source.fragments(archive, folder, unpacked, parallel, arrived);
        fragments.await?;
        Ok(Some(Self {
            archive: archive.clone(),
            folder: folder.to_owned(),
        }))
    }

    /// Computes the digest of the whole from what is on disk. Blocks.
    ///
    /// If it is not the archive's, every fragment that is wrong, cut short or missing is
    /// removed, so that it is fetched again.
    pub(crate) fn verify(self) -> Result<Verified, VerifyError> {
        let unread = |source| VerifyError::Read {
            folder: self.folder.clone(),
            source,
        };
        let expected = self.archive.sha256();
        let actual = digest(self.reader());
        if actual.as_ref().is_ok_and(|actual| *actual == expected) {
            return Ok(Verified(self));
        }
        let wrong = self.remove_wrong().map_err(unread)?;
        if let Some(first) = wrong.first().copied() {
            let wrong = wrong.len();
            return Err(VerifyError::Fragments { wrong, first });
        }
        let actual = actual.map_err(unread)?;
        Err(VerifyError::Whole { expected, actual })
    }

    fn remove_wrong(&self) -> io::Result<Vec<FragmentNumber>> {
        let mut wrong = Vec::new();
        for (number, _, expected) in self.archive.fragments() {
            let path = self.folder.join(number.to_string());
            match fs::File::open(&path).and_then(digest) {
                Ok(actual) if actual == expected => continue,
                Ok(_) => fs::remove_file(&path)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            wrong.push(number);
        }
        Ok(wrong)
    }

    fn reader(&self) -> Concatenation {
        Concatenation::new(self.folder.clone(), &self.archive)
    }
}

fn digest(mut reader: impl io::Read) -> io::Result<Sha256Digest> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(Sha256Digest::from_bytes(hash.finalize().into())),
            read => hash.update(&buffer[..read]),
        }
    }
}

impl Verified {
    pub(crate) const fn bytes(&self) -> u64 {
        self.0.archive.bytes()
    }

    /// Reads the archive to its end, so that what is refused of it is known before any of it
    /// is stored; shows `see` each entry. Blocks.
    pub(crate) fn examine(
        self,
        limits: &Limits,
        see: impl FnMut(&Entry),
    ) -> Result<Examined, ArchiveError> {
        examine(self.0.archive.format(), self.0.reader(), limits, see)?;
        Ok(Examined(self))
    }

    /// Unpacks the archive into an empty `folder` for as long as a program needs it. Blocks.
    pub(crate) fn unpack(&self, folder: PathBuf, limits: &Limits) -> Result<Unpacked, Unfinished> {
        let summary = self.put(&folder, limits, Durability::Temporary)?;
        Ok(Unpacked { folder, summary })
    }

    fn put(
        &self,
        folder: &Path,
        limits: &Limits,
        durability: Durability,
    ) -> Result<Summary, Unfinished> {
        let format = self.0.archive.format();
        unpack(format, self.0.reader(), limits, folder, durability)
    }
}

impl Examined {
    /// Unpacks the archive over what is in `folder`, to stay there. Blocks.
    pub(crate) fn store(&self, folder: &Path, limits: &Limits) -> Result<Summary, Unfinished> {
        self.0.put(folder, limits, Durability::Lasting)
    }
}

impl Unpacked {
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) const fn summary(&self) -> Summary {
        self.summary
    }
}
