//! The stages of an archive on its way to the device: fetched, verified, examined, unpacked.
//!
//! Each type can only be created from the previous type. So the code that runs or stores content
//! never receives unverified content.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use packcast_archive::{ArchiveError, Entry, Limits, Summary};
use packcast_protocol::{Archive, FragmentNumber, Sha256Digest};
use sha2::{Digest as _, Sha256};

use crate::fetch::fragments::Concatenation;
use crate::fetch::{FetchError, PackageSource};
use crate::manifest::Accepted;
use crate::unpack::{Durability, Unfinished, examine, unpack};

/// An archive with all its fragments on disk.
#[derive(Debug)]
pub(crate) struct FetchedArchive {
    archive: Archive,
    folder: PathBuf,
    /// The fragments that an earlier run has left on disk. This run has verified all others.
    earlier: BTreeSet<FragmentNumber>,
}

/// An archive whose complete content is that of the signed manifest.
///
/// The manifest has the order, the length and the SHA-256 of each fragment, so they determine every
/// byte of the archive.
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
    #[error("cannot read the fragments in {}", folder.display())]
    Read {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
}

#[cfg(test)]
impl FetchedArchive {
    /// Creates a fetched archive from the fragments that an earlier run has left in a folder.
    pub(crate) fn for_test(archive: Archive, folder: PathBuf) -> Self {
        let earlier = archive.fragments().map(|(number, ..)| number).collect();
        Self {
            archive,
            folder,
            earlier,
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
        let earlier = RefCell::new(BTreeSet::new());
        let on_fragment = |number, bytes, already| {
            if already {
                earlier.borrow_mut().insert(number);
            }
            on_fragment(number, bytes, already);
        };
        let fragments = source.fragments(archive, folder, unpacked, parallel, on_fragment);
        fragments.await?;
        Ok(Some(Self {
            archive: archive.clone(),
            folder: folder.to_owned(),
            earlier: earlier.into_inner(),
        }))
    }

    /// Verifies the fragments of earlier runs, which a power failure may have damaged. Blocks the thread.
    ///
    /// The function removes every wrong or missing one. The agent then fetches these again.
    pub(crate) fn verify(self) -> Result<VerifiedArchive, VerifyError> {
        let wrong = self.remove_wrong().map_err(|source| VerifyError::Read {
            folder: self.folder.clone(),
            source,
        })?;
        match wrong.first().copied() {
            None => Ok(VerifiedArchive(self)),
            Some(first) => Err(VerifyError::Fragments {
                wrong: wrong.len(),
                first,
            }),
        }
    }

    fn remove_wrong(&self) -> io::Result<Vec<FragmentNumber>> {
        let mut wrong = Vec::new();
        let earlier = |(number, ..): &(FragmentNumber, _, _)| self.earlier.contains(number);
        for (number, _, expected) in self.archive.fragments().filter(earlier) {
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
    use packcast_protocol::{ArchiveFormat, FragmentSize};

    use super::*;

    /// Writes an archive of five fragments into a folder.
    fn archive(folder: &Path) -> Archive {
        let content: Vec<u8> = (0..1200_u32).flat_map(u32::to_be_bytes).collect();
        let fragments = content.chunks(1024).zip(1..).map(|(bytes, number)| {
            fs::write(folder.join(number.to_string()), bytes).unwrap();
            Sha256Digest::of(bytes)
        });
        let fragments = fragments.collect();
        let size = FragmentSize::try_from(1024).unwrap();
        let (length, whole) = (content.len() as u64, Sha256Digest::of(&content));
        Archive::new(ArchiveFormat::Zip, length, whole, size, fragments).unwrap()
    }

    #[test]
    fn damaged_and_lost_fragments_of_an_earlier_run_are_fetched_again() {
        let folder = tempfile::tempdir().unwrap();
        let fetched = FetchedArchive::for_test(archive(folder.path()), folder.path().to_owned());
        let [damaged, short, lost] = [2, 3, 5].map(|number| folder.path().join(number.to_string()));
        fs::write(&damaged, [7; 1024]).unwrap();
        fs::File::options()
            .write(true)
            .open(&short)
            .unwrap()
            .set_len(1000)
            .unwrap();
        fs::remove_file(&lost).unwrap();

        let error = fetched.verify().unwrap_err();

        insta::assert_snapshot!(error, @"3 fragments have changed on disk, the first is number 2: fetching them again");
        let left = [1, 2, 3, 4, 5].map(|number| folder.path().join(number.to_string()).exists());
        assert_eq!(left, [true, false, false, true, false]);
    }

    #[test]
    fn an_archive_is_verified_if_its_fragments_are() {
        let folder = tempfile::tempdir().unwrap();
        let fetched = FetchedArchive::for_test(archive(folder.path()), folder.path().to_owned());
        let verified = fetched.verify().unwrap();
        assert_eq!(
            digest(verified.0.reader()).unwrap(),
            verified.0.archive.sha256()
        );
    }

    #[test]
    fn messages_name_the_remedy() {
        let errors = [
            VerifyError::Fragments {
                wrong: 2,
                first: FragmentNumber::from_index(4),
            },
            VerifyError::Read {
                folder: "/var/lib/packcast/packages/1795000000/fragments".into(),
                source: io::Error::from(io::ErrorKind::PermissionDenied),
            },
        ];
        let text = errors.map(|error| error.to_string()).join("\n");
        insta::assert_snapshot!(text, @r"
        2 fragments have changed on disk, the first is number 5: fetching them again
        cannot read the fragments in /var/lib/packcast/packages/1795000000/fragments
        ");
    }
}
