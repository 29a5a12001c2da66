//! The fragments on disk, read as one archive.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

use packcast_protocol::{Archive, FragmentNumber};

/// A reader of the archive over its fragments, without a second copy on disk.
#[derive(Debug)]
pub(crate) struct Concatenation {
    folder: PathBuf,
    /// The end of each fragment in the archive, in bytes.
    ends: Vec<u64>,
    position: u64,
    open: Option<(usize, File)>,
}

impl Concatenation {
    pub(crate) fn new(folder: PathBuf, archive: &Archive) -> Self {
        let ends = archive
            .fragments()
            .scan(0, |end, (_, bytes, _)| {
                *end += bytes;
                Some(*end)
            })
            .collect();
        Self {
            folder,
            ends,
            position: 0,
            open: None,
        }
    }

    fn length(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Opens the fragment at the current position, and seeks to that position.
    fn file(&mut self, index: usize) -> io::Result<&mut File> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != index) {
            let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
            let number = u32::try_from(index).map_err(io::Error::other)?;
            let name = FragmentNumber::from_index(number).to_string();
            let mut file = File::open(self.folder.join(name))?;
            file.seek(SeekFrom::Start(self.position - start))?;
            self.open = Some((index, file));
        }
        match &mut self.open {
            Some((_, file)) => Ok(file),
            None => Err(io::Error::other("no fragment is open")),
        }
    }
}

impl Read for Concatenation {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let index = self.ends.partition_point(|end| *end <= self.position);
        let Some(end) = self.ends.get(index) else {
            return Ok(0);
        };
        let left = usize::try_from(end - self.position).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let read = self.file(index)?.read(&mut buffer[..wanted])?;
        if read == 0 && wanted > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for Concatenation {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.length().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        let target = target.ok_or(io::ErrorKind::InvalidInput)?;
        if target != self.position {
            self.position = target;
            self.open = None;
        }
        Ok(target)
    }
}

#[cfg(test)]
mod tests {
    use packcast_protocol::{ArchiveFormat, FragmentSize, Sha256Digest};
    use proptest::prelude::*;

    use super::*;

    fn split(content: &[u8]) -> (tempfile::TempDir, Archive) {
        let dir = tempfile::tempdir().unwrap();
        let mut digests = Vec::new();
        for (index, fragment) in content.chunks(1024).enumerate() {
            std::fs::write(dir.path().join((index + 1).to_string()), fragment).unwrap();
            digests.push(Sha256Digest::of(fragment));
        }
        let archive = Archive::new(
            ArchiveFormat::Zip,
            content.len() as u64,
            Sha256Digest::of(content),
            FragmentSize::try_from(1024).unwrap(),
            digests,
        );
        (dir, archive.unwrap())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn fragments_read_as_the_archive(length in 1_usize..5000, seeks in proptest::collection::vec((0_u64..6000, 0_usize..3000), 0..8)) {
            let content: Vec<u8> = (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect();
            let (dir, archive) = split(&content);
            let mut fragments = Concatenation::new(dir.path().to_owned(), &archive);
            let mut whole = io::Cursor::new(&content);
            for (position, bytes) in seeks {
                fragments.seek(SeekFrom::Start(position)).unwrap();
                whole.seek(SeekFrom::Start(position)).unwrap();
                let (mut ours, mut theirs) = (Vec::new(), Vec::new());
                Read::by_ref(&mut fragments).take(bytes as u64).read_to_end(&mut ours).unwrap();
                Read::by_ref(&mut whole).take(bytes as u64).read_to_end(&mut theirs).unwrap();
                prop_assert_eq!(ours, theirs);
            }
        }
    }

    #[test]
    fn a_shortened_fragment_is_an_error() {
        let (dir, archive) = split(&[7; 3000]);
        std::fs::write(dir.path().join("2"), [7; 10]).unwrap();
        let mut fragments = Concatenation::new(dir.path().to_owned(), &archive);
        let error = fragments.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
