//! The stages of an archive on its way to the device: fetched, verified, examined, unpacked.
//!
//! Each type can only be created from the previous type. So the code that runs or stores content
//! never receives unverified content.

use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use packcast_archive::{ArchiveError, Entry, Limits, Summary};
use packcast_protocol::{Archive, FragmentNumber, Sha256Digest};
use sha2::{Digest as _, Sha256};

use crate::fetch::fragments::Concatenation;
use crate::fetch::whole_digest::WholeDigest;
use crate::fetch::{FetchError, PackageSource};
use crate::manifest::Accepted;
use crate::unpack::{Durability, Unfinished, examine, unpack};

/// An archive with all its fragments on disk.
#[derive(Debug)]
pub(crate) struct FetchedArchive {
    archive: Archive,
    folder: PathBuf,
    /// The digest of the fragments on disk, in their order, as they were read during the download.
    whole: Option<Sha256Digest>,
}

/// An archive whose complete content matches the digest in the signed manifest.
#[derive(Debug)]
pub(crate) struct VerifiedArchive(FetchedArchive);

/// A verified archive that the agent has read to its end, without an entry to refuse.
#[derive(Debug)]
pub(crate) struct ExaminedArchive(VerifiedArchive);

/// A folder with the content of a verified archive.
#[derive(Debug)]
pub(crate) struct UnpackedArchive {
    folder: PathBuf,
    summary: Summary,
}

/// Errors from verifying the fetched fragments as one archive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VerifyError {
    /// Some fragments have changed on disk. The agent has removed them.
    #[error(
        "{wrong} fragments have changed on disk, the first is number {first}: fetching them again"
    )]
    Fragments { wrong: usize, first: FragmentNumber },
    #[error(
        "SHA-256 mismatch of the archive: expected {expected}, found {actual}: publish the package under another version"
    )]
    Whole {
        expected: Sha256Digest,
        actual: Sha256Digest,
    },
    #[error("cannot read the fragments in {}", folder.display())]
    Read {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
}

#[cfg(test)]
impl FetchedArchive {
    /// Creates a fetched archive from the fragments in a folder.
    pub(crate) const fn for_test(archive: Archive, folder: PathBuf) -> Self {
        let whole = None;
        Self {
            archive,
            folder,
            whole,
        }
    }
}

impl FetchedArchive {
    /// Fetches the missing fragments of the manifest's archive into `folder`.
    ///
    /// `unpacked` is the folder that the archive will be unpacked to. Its volume must have enough
    /// space, too. Returns `None` if the package has no archive.
    pub(crate) async fn fetch(
        manifest: &Accepted,
        source: &PackageSource<'_>,
        folder: &Path,
        unpacked: &Path,
        parallel: NonZeroUsize,
        on_fragment: impl Fn(FragmentNumber, u64, bool),
    ) -> Result<Option<Self>, FetchError> {
        let Some(archive) = manifest.action.archive() else {
            return Ok(None);
        };
        let whole = WholeDigest::start(folder, archive);
        let on_fragment = |number, bytes, already| {
            whole.add(number);
            on_fragment(number, bytes, already);
        };
        let fragments = source.fragments(archive, folder, unpacked, parallel, on_fragment);
        fragments.await?;
        Ok(Some(Self {
            archive: archive.clone(),
            folder: folder.to_owned(),
            whole: whole.finish().await,
        }))
    }

    /// Compares the digest of the complete archive with that of the manifest. Blocks the thread.
    ///
    /// The digest of the download counts only if it is the expected one. Otherwise the function
    /// reads the fragments again. If the digest does not match, the function removes every wrong or short fragment. The agent
    /// then fetches the removed and the missing fragments again.
    pub(crate) fn verify(self) -> Result<VerifiedArchive, VerifyError> {
        let read_error = |source| VerifyError::Read {
            folder: self.folder.clone(),
            source,
        };
        let expected = self.archive.sha256();
        if self.whole == Some(expected) {
            return Ok(VerifiedArchive(self));
        }
        let actual = digest(self.reader());
        if actual.as_ref().is_ok_and(|actual| *actual == expected) {
            return Ok(VerifiedArchive(self));
        }
        // The digests of single fragments show the damaged ones, so only these are fetched again.
        let wrong = self.remove_wrong().map_err(read_error)?;
        if let Some(first) = wrong.first().copied() {
            let wrong = wrong.len();
            return Err(VerifyError::Fragments { wrong, first });
        }
        let actual = actual.map_err(read_error)?;
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

/// Computes the digest of the bytes up to the end.
pub(crate) fn digest(mut reader: impl io::Read) -> io::Result<Sha256Digest> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(Sha256Digest::from_bytes(hash.finalize().into())),
            read => hash.update(&buffer[..read]),
        }
    }
}

impl VerifiedArchive {
    pub(crate) const fn bytes(&self) -> u64 {
        self.0.archive.bytes()
    }

    /// Reads the archive to its end, and passes each entry to `see`. Blocks the thread.
    ///
    /// So the agent finds an entry to refuse before it stores the first entry.
    pub(crate) fn examine(
        self,
        limits: &Limits,
        see: impl FnMut(&Entry),
    ) -> Result<ExaminedArchive, ArchiveError> {
        examine(self.0.archive.format(), self.0.reader(), limits, see)?;
        Ok(ExaminedArchive(self))
    }

    /// Unpacks the archive into the empty `folder` of a program. Blocks the thread.
    ///
    /// The files need not survive a power failure.
    pub(crate) fn unpack(
        &self,
        folder: PathBuf,
        limits: &Limits,
    ) -> Result<UnpackedArchive, Unfinished> {
        let summary = self.put(&folder, limits, Durability::Temporary)?;
        Ok(UnpackedArchive { folder, summary })
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

impl ExaminedArchive {
    /// Unpacks the archive durably over the content of `folder`. Blocks the thread.
    pub(crate) fn store(&self, folder: &Path, limits: &Limits) -> Result<Summary, Unfinished> {
        self.0.put(folder, limits, Durability::Lasting)
    }
}

impl UnpackedArchive {
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) const fn summary(&self) -> Summary {
        self.summary
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_remedy() {
        let errors = [
            VerifyError::Fragments {
                wrong: 2,
                first: FragmentNumber::from_index(4),
            },
            VerifyError::Whole {
                expected: Sha256Digest::of(b"1"),
                actual: Sha256Digest::of(b"2"),
            },
            VerifyError::Read {
                folder: "/var/lib/packcast/packages/1795000000/fragments".into(),
                source: io::Error::from(io::ErrorKind::PermissionDenied),
            },
        ];
        let text = errors.map(|error| error.to_string()).join("\n");
        insta::assert_snapshot!(text, @r"
        2 fragments have changed on disk, the first is number 5: fetching them again
        SHA-256 mismatch of the archive: expected 6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b, found d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35: publish the package under another version
        cannot read the fragments in /var/lib/packcast/packages/1795000000/fragments
        ");
    }
}
