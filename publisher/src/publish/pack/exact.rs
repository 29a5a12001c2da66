//! A file of which exactly the length at the start is read, and that nobody writes to meanwhile.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::PackError;
use crate::progress::Progress;

/// A file that is read to the length that it had when it was opened.
#[derive(Debug)]
pub(super) struct ExactFile<'a> {
    file: File,
    path: PathBuf,
    bytes: u64,
    left: u64,
    /// `None` on a system without this time.
    modified: Option<SystemTime>,
    progress: &'a Progress,
    failed: Option<io::Error>,
}

impl<'a> ExactFile<'a> {
    pub(super) fn open(path: &Path, progress: &'a Progress) -> Result<Self, PackError> {
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
        let (metadata, file) = opened.map_err(|source| PackError::Read {
            path: path.to_owned(),
            source,
        })?;
        let bytes = metadata.len();
        Ok(Self {
            file,
            path: path.to_owned(),
            bytes,
            left: bytes,
            modified: metadata.modified().ok(),
            progress,
            failed: None,
        })
    }

    /// Returns the length when the file was opened.
    pub(super) const fn length(&self) -> u64 {
        self.bytes
    }

    /// Checks that the file still has its length and its time. `copied` is the result of copying the
    /// file.
    ///
    /// # Errors
    /// An error of the file comes before an error of the copy.
    pub(super) fn finish(mut self, copied: Result<(), PackError>) -> Result<(), PackError> {
        let (path, expected) = (self.path, self.bytes);
        if let Some(source) = self.failed {
            return Err(PackError::Read { path, source });
        }
        copied?;
        let is_longer = match self.file.read(&mut [0]) {
            Ok(more) => more > 0,
            Err(source) => return Err(PackError::Read { path, source }),
        };
        if is_longer || self.left > 0 {
            return Err(PackError::Changed {
                path,
                expected,
                is_longer,
            });
        }
        match self.file.metadata() {
            Ok(now) if now.modified().ok() == self.modified => Ok(()),
            Ok(_) => Err(PackError::Written { path }),
            Err(source) => Err(PackError::Read { path, source }),
        }
    }
}

impl Read for ExactFile<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        match self.file.read(&mut buffer[..length]) {
            Ok(read) => {
                self.left -= read as u64;
                self.progress.advance(read as u64);
                Ok(read)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let kind = error.kind();
                self.failed = Some(error);
                Err(kind.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Opens a file of five bytes, changes its length, and reads it.
    fn read(bytes: u64) -> Result<Vec<u8>, PackError> {
        let place = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(place.path(), "12345").unwrap();
        let progress = Progress::none();
        let mut file = ExactFile::open(place.path(), &progress)?;
        assert_eq!(file.length(), 5);
        if bytes != 5 {
            place.as_file().set_len(bytes).unwrap();
        }
        let mut read = Vec::new();
        file.read_to_end(&mut read).unwrap();
        file.finish(Ok(()))?;
        Ok(read)
    }

    #[test]
    fn a_file_that_changes_its_length_is_an_error() {
        assert_eq!(read(5).unwrap(), b"12345");
        for (bytes, expected) in [(4, false), (0, false), (6, true)] {
            let Err(PackError::Changed {
                expected: 5,
                is_longer,
                ..
            }) = read(bytes)
            else {
                panic!("{bytes} bytes are accepted");
            };
            assert_eq!(is_longer, expected);
        }
    }

    #[test]
    fn a_file_with_other_bytes_of_the_same_length_is_an_error() {
        let place = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(place.path(), "12345").unwrap();
        let progress = Progress::none();
        let mut file = ExactFile::open(place.path(), &progress).unwrap();
        let mut read = Vec::new();
        file.read_to_end(&mut read).unwrap();
        // Two changes within one tick of the clock have the same time.
        let later = SystemTime::now() + std::time::Duration::from_secs(10);
        place.as_file().set_modified(later).unwrap();
        let changed = file.finish(Ok(()));
        assert!(
            matches!(changed, Err(PackError::Written { .. })),
            "{changed:?}"
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        // Its length is 0, and it has content.
        let progress = Progress::none();
        let status = ExactFile::open(Path::new("/proc/self/status"), &progress);
        let error = status.unwrap().finish(Ok(())).unwrap_err();
        let expected = "cannot pack /proc/self/status: expected 0 bytes, found more";
        assert_eq!(error.to_string(), expected);
        let mut memory = ExactFile {
            left: 1,
            ..ExactFile::open(Path::new("/proc/self/mem"), &progress).unwrap()
        };
        memory.read(&mut [0]).unwrap_err();
        let error = memory.finish(Ok(())).unwrap_err();
        assert_eq!(error.to_string(), "cannot read /proc/self/mem");
    }
}
