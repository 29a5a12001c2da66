//! A file of which exactly the length at the start is read, and that nobody writes to meanwhile.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::PackError;
use crate::progress::Progress;
use crate::publish::file_state::FileState;

/// A file that is read to the length that it had when its directory was listed.
#[derive(Debug)]
pub(super) struct ExactFile<'a> {
    file: File,
    path: PathBuf,
    listed: FileState,
    left: u64,
    progress: &'a Progress,
    failed: Option<io::Error>,
}

impl<'a> ExactFile<'a> {
    /// Opens a file that was `listed` before.
    ///
    /// # Errors
    /// The file cannot be read, has been written to since, or another file is in its place, also by a
    /// link.
    pub(super) fn open(
        path: &Path,
        listed: FileState,
        progress: &'a Progress,
    ) -> Result<Self, PackError> {
        let unreadable = |source| PackError::Read {
            path: path.to_owned(),
            source,
        };
        let written = || PackError::Written {
            path: path.to_owned(),
        };
        // A pipe would be waited for.
        if !fs::metadata(path).map_err(unreadable)?.is_file() {
            return Err(written());
        }
        let file = File::open(path).map_err(unreadable)?;
        let opened = file.metadata().map_err(unreadable)?;
        if FileState::of(&opened) != listed {
            return Err(written());
        }
        Ok(Self {
            file,
            path: path.to_owned(),
            listed,
            left: listed.bytes,
            progress,
            failed: None,
        })
    }

    /// Returns the length when the file was listed.
    pub(super) const fn length(&self) -> u64 {
        self.listed.bytes
    }

    /// Checks that the file still has its length and its time. `copied` is the result of copying the
    /// file.
    ///
    /// # Errors
    /// An error of the file comes before an error of the copy.
    pub(super) fn finish(mut self, copied: Result<(), PackError>) -> Result<(), PackError> {
        let (path, expected) = (self.path, self.listed.bytes);
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
            Ok(now) if FileState::of(&now) == self.listed => Ok(()),
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

    /// Lists and opens a file.
    fn open<'a>(path: &Path, progress: &'a Progress) -> Result<ExactFile<'a>, PackError> {
        let listed = FileState::of(&fs::metadata(path).unwrap());
        ExactFile::open(path, listed, progress)
    }

    /// Opens a file of five bytes, changes its length, and reads it.
    fn read(bytes: u64) -> Result<Vec<u8>, PackError> {
        let place = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(place.path(), "12345").unwrap();
        let progress = Progress::none();
        let mut file = open(place.path(), &progress)?;
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
        let mut file = open(place.path(), &progress).unwrap();
        let mut read = Vec::new();
        file.read_to_end(&mut read).unwrap();
        // Two changes within one tick of the clock have the same time.
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(10);
        place.as_file().set_modified(later).unwrap();
        let changed = file.finish(Ok(()));
        assert!(
            matches!(changed, Err(PackError::Written { .. })),
            "{changed:?}"
        );
    }

    #[cfg(unix)]
    #[test]
    fn another_file_in_the_place_of_a_listed_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let (file, other) = (folder.path().join("file"), folder.path().join("other"));
        for path in [&file, &other] {
            fs::write(path, "12345").unwrap();
        }
        let listed = FileState::of(&fs::metadata(&file).unwrap());
        let progress = Progress::none();
        let written = || {
            let opened = ExactFile::open(&file, listed, &progress);
            matches!(opened, Err(PackError::Written { .. }))
        };
        assert!(!written());
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink(&other, &file).unwrap();
        assert!(written());
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert!(written());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        // Its length is 0, and it has content.
        let progress = Progress::none();
        let status = open(Path::new("/proc/self/status"), &progress);
        let error = status.unwrap().finish(Ok(())).unwrap_err();
        let expected = "cannot pack /proc/self/status: expected 0 bytes, found more";
        assert_eq!(error.to_string(), expected);
        let mut memory = ExactFile {
            left: 1,
            ..open(Path::new("/proc/self/mem"), &progress).unwrap()
        };
        memory.read(&mut [0]).unwrap_err();
        let error = memory.finish(Ok(())).unwrap_err();
        assert_eq!(error.to_string(), "cannot read /proc/self/mem");
    }
}
