//! A writer of an archive that may have a limited length.

use std::io::{self, Seek, SeekFrom, Write};

use packcast_protocol::FragmentSize;

use super::PackError;

/// Refuses bytes after the end of the longest archive, so that nobody waits for the rest of the files.
pub(super) struct Limited<W> {
    out: W,
    position: u64,
    size: FragmentSize,
}

impl<W> Limited<W> {
    /// Returns a writer of an archive whose fragments have a `size`.
    pub(super) const fn new(out: W, size: FragmentSize) -> Self {
        Self {
            out,
            position: 0,
            size,
        }
    }

    pub(super) fn into_inner(self) -> W {
        self.out
    }
}

impl<W: Write> Write for Limited<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let end = self.position.saturating_add(bytes.len() as u64);
        if end > self.size.longest_archive() {
            let size = self.size.get();
            return Err(io::Error::other(PackError::TooManyFragments { size }));
        }
        let length = self.out.write(bytes)?;
        self.position += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl<W: Seek> Seek for Limited<W> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = self.out.seek(to)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_after_the_longest_archive_are_refused() {
        let size = FragmentSize::try_from(1024).unwrap();
        let end = size.longest_archive();
        let mut writer = Limited::new(io::Cursor::new(Vec::new()), size);
        writer.write_all(b"start").unwrap();
        assert_eq!(writer.seek(SeekFrom::Start(end - 3)).unwrap(), end - 3);
        writer.write_all(b"abc").unwrap();
        let error = writer.write_all(b"d").unwrap_err();
        let error = error.downcast::<PackError>().unwrap();
        assert!(matches!(error, PackError::TooManyFragments { size: 1024 }));
        // The header of a large entry is written again.
        writer.seek(SeekFrom::Start(0)).unwrap();
        writer.write_all(b"again").unwrap();
        let written = writer.into_inner().into_inner();
        assert_eq!(written.len() as u64, end);
        assert_eq!(
            (&written[..5], &written[written.len() - 3..]),
            (&b"again"[..], &b"abc"[..])
        );
    }
}
