//! Readers of one open file, each with a position of its own.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

/// A reader from the start of an archive. Several can be in use at a time.
#[derive(Clone, Debug)]
pub struct SourceReader {
    file: Arc<File>,
    position: u64,
}

impl SourceReader {
    pub(in crate::publish) const fn new(file: Arc<File>) -> Self {
        Self { file, position: 0 }
    }

    /// Returns a reader of the same archive at another position.
    pub(crate) fn at(&self, position: u64) -> Self {
        Self {
            file: Arc::clone(&self.file),
            position,
        }
    }
}

impl Read for SourceReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = read_at(&self.file, buffer, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for SourceReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.file.metadata()?.len().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, position)
}

/// Moves the position of the file, too, which no reader uses.
#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_do_not_move_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, "abcdef").unwrap();
        let mut first = SourceReader::new(Arc::new(File::open(&path).unwrap()));
        let mut second = first.at(3);
        let mut both = [[0; 2]; 2];
        second.read_exact(&mut both[1]).unwrap();
        first.read_exact(&mut both[0]).unwrap();
        assert_eq!(both, [*b"ab", *b"de"]);
        assert_eq!(first.seek(SeekFrom::End(-1)).unwrap(), 5);
        assert_eq!(first.seek(SeekFrom::Current(-3)).unwrap(), 2);
        assert!(first.seek(SeekFrom::Current(-3)).is_err());
    }
}
