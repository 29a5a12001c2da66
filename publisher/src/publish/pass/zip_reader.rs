//! The file of a zip archive, read from the chunks of the pass as far as possible.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::mpsc::Receiver;

use bytes::Bytes;

use crate::publish::source::SourceReader;

/// The least number of bytes that are read from the file at once, such as a header and those after it.
const HEADER_BYTES: usize = 8 << 10;

/// The limit of bytes from the file. After it, the reader takes no more chunks, because the pass waits for
/// it while it reads elsewhere.
const ELSEWHERE_BYTES: usize = 16 << 20;

/// Bytes at a position of the archive.
#[derive(Default)]
struct Window {
    start: u64,
    bytes: Bytes,
}

impl Window {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// Copies bytes from a position. Returns `None` if the window does not have the position.
    fn read(&self, position: u64, buffer: &mut [u8]) -> Option<usize> {
        let offset = usize::try_from(position.checked_sub(self.start)?).ok()?;
        let rest = self.bytes.get(offset..).filter(|rest| !rest.is_empty())?;
        let length = buffer.len().min(rest.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Some(length)
    }
}

/// Reads an archive whose chunks arrive from its start.
///
/// The directory at the end and the header of each entry are read from the file. The contents of
/// entries come from the chunks if they are read in the order of the file, as is usual. Another order only
/// costs time.
pub(in crate::publish) struct ZipReader {
    file: SourceReader,
    position: u64,
    /// `None` once the reader does not follow the pass.
    chunks: Option<Receiver<Bytes>>,
    chunk: Window,
    header: Window,
    elsewhere: usize,
}

impl ZipReader {
    pub(super) fn new(file: SourceReader, chunks: Receiver<Bytes>) -> Self {
        Self {
            file,
            position: 0,
            chunks: Some(chunks),
            chunk: Window::default(),
            header: Window::default(),
            elsewhere: 0,
        }
    }

    /// Waits for the next chunk. Returns `false` if the pass has ended.
    fn follow(&mut self) -> bool {
        let next = self.chunks.as_ref().and_then(|chunks| chunks.recv().ok());
        let Some(bytes) = next else {
            self.chunks = None;
            return false;
        };
        let start = self.chunk.end();
        self.chunk = Window { start, bytes };
        true
    }

    fn read_file(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut file = self.file.at(self.position);
        if buffer.len() >= HEADER_BYTES {
            let read = file.read(buffer)?;
            self.note_elsewhere(read);
            return Ok(read);
        }
        let mut bytes = vec![0; HEADER_BYTES];
        let read = file.read(&mut bytes)?;
        bytes.truncate(read);
        self.note_elsewhere(read);
        self.header = Window {
            start: self.position,
            bytes: bytes.into(),
        };
        Ok(self.header.read(self.position, buffer).unwrap_or(0))
    }

    /// Counts bytes from the file. After too many, the pass goes on without this reader.
    fn note_elsewhere(&mut self, bytes: usize) {
        self.elsewhere += bytes;
        if self.elsewhere > ELSEWHERE_BYTES {
            self.chunks = None;
        }
    }
}

impl Read for ZipReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.position == self.chunk.end() && self.follow() {}
        let known = self.chunk.read(self.position, buffer);
        let known = known.or_else(|| self.header.read(self.position, buffer));
        let read = match known {
            Some(read) => read,
            None => self.read_file(buffer)?,
        };
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for ZipReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(_) | SeekFrom::End(_) => self.file.seek(to)?,
            SeekFrom::Current(offset) => self
                .position
                .checked_add_signed(offset)
                .ok_or(io::ErrorKind::InvalidInput)?,
        };
        self.position = target;
        Ok(target)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;
    use std::sync::Arc;
    use std::sync::mpsc::sync_channel;

    use proptest::prelude::*;

    use super::*;

    const BYTES: usize = 40_000;

    /// Reads `length` bytes from each position, while chunks of the file are sent.
    fn read(content: &[u8], chunk_bytes: usize, reads: &[(u64, usize)]) -> Vec<Vec<u8>> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        let file = SourceReader::new(Arc::new(file));
        let (sender, chunks) = sync_channel(1);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for chunk in content.chunks(chunk_bytes) {
                    // The reader may end early.
                    let _ = sender.send(Bytes::copy_from_slice(chunk));
                }
            });
            let mut reader = ZipReader::new(file, chunks);
            let mut read = |(position, length): &(u64, usize)| {
                reader.seek(SeekFrom::Start(*position)).unwrap();
                let mut bytes = vec![0; *length];
                let mut filled = 0;
                loop {
                    match reader.read(&mut bytes[filled..]).unwrap() {
                        0 => break,
                        more => filled += more,
                    }
                }
                bytes.truncate(filled);
                bytes
            };
            reads.iter().map(&mut read).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn reads_at_any_position_return_the_bytes_of_the_file(
            chunk_bytes in 1000..20_000_usize,
            reads in proptest::collection::vec((0..BYTES as u64 + 100, 0..20_000_usize), 0..20),
        ) {
            let content: Vec<u8> = (0..=250).cycle().take(BYTES).collect();
            for (bytes, (position, length)) in read(&content, chunk_bytes, &reads).iter().zip(&reads) {
                let start = BYTES.min(usize::try_from(*position).unwrap());
                prop_assert_eq!(bytes, &content[start..BYTES.min(start + length)]);
            }
        }
    }

    /// A file without content: each byte that is read comes from the chunks.
    #[test]
    fn contents_in_the_order_of_the_file_come_from_the_chunks() {
        let file: File = tempfile::tempfile().unwrap();
        let (sender, chunks) = sync_channel(4);
        for part in [&b"abc"[..], b"d", b"ef"] {
            sender.send(Bytes::from_static(part)).unwrap();
        }
        drop(sender);
        let mut reader = ZipReader::new(SourceReader::new(Arc::new(file)), chunks);
        reader.seek(SeekFrom::End(0)).unwrap();
        let mut first = [0; 2];
        reader.read_exact(&mut first).unwrap();
        reader.seek(SeekFrom::Start(0)).unwrap();
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        assert_eq!((&first, all.as_slice()), (b"ab", &b"abcdef"[..]));
    }
}
