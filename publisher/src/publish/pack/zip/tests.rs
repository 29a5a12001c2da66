//! Tests of zip archives, also of those that need fields of 64 bits.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use packcast_archive::{ArchiveError, Content, Entry, EntryKind, Limits, walk};
use packcast_protocol::ArchiveFormat;
use zip::ZipArchive;

use super::super::list::list;
use super::*;

#[test]
fn large_entries_and_small_ones_have_their_content() {
    let folder = tempfile::tempdir().unwrap();
    let lengths = [0, 1, BLOCK_BYTES, 3 * BLOCK_BYTES + 5, 20 * BLOCK_BYTES];
    let bytes =
        |length: usize| -> Vec<u8> { (0..length).map(|at| (at / 7).to_le_bytes()[0]).collect() };
    for length in lengths {
        std::fs::write(folder.path().join(format!("f{length}")), bytes(length)).unwrap();
    }
    let items = list(folder.path()).unwrap();
    let fail = |source| panic!("{source}");
    for large_bytes in [LARGE_BYTES, 2 * BLOCK_BYTES as u64, 0] {
        let out = Cursor::new(Vec::new());
        let packed = zip_with(large_bytes, &items, out, &fail, &Progress::none());
        let mut found = Vec::new();
        let visit = |entry: &Entry, content: &mut Content<'_>| {
            let EntryKind::File { bytes: length, .. } = entry.kind else {
                panic!("{entry:?}");
            };
            let mut read = vec![0; usize::try_from(length).unwrap()];
            let mut at = 0;
            while at < read.len() {
                match content.read(&mut read[at..])? {
                    0 => break,
                    more => at += more,
                }
            }
            assert!(read == bytes(read.len()), "{}", entry.path);
            found.push(read.len());
            Ok::<_, ArchiveError>(())
        };
        let packed = packed.unwrap();
        walk(ArchiveFormat::Zip, packed, &Limits::default(), visit).unwrap();
        found.sort_unstable();
        assert_eq!(found, lengths, "{large_bytes}");
    }
}

/// Packs folders, which need no file system.
fn folders(count: u32) -> Vec<u8> {
    let item = |number| Item {
        path: "folder".into(),
        name: format!("{number}").into(),
        kind: ItemKind::Folder { mode: 0o755 },
    };
    let items: Vec<Item> = (0..count).map(item).collect();
    let fail = |source| panic!("{source}");
    let packed = zip(&items, Cursor::new(Vec::new()), &fail, &Progress::none());
    packed.unwrap().into_inner()
}

#[test]
fn more_entries_than_sixteen_bits_can_count_are_all_found() {
    for (count, is_large) in [(65_534, false), (65_535, true), (65_536, true)] {
        let packed = folders(count);
        let end_64 = packed.windows(4).any(|it| it == b"PK\x06\x06");
        assert_eq!(end_64, is_large, "{count}");
        let mut found = 0;
        let visit = |_: &Entry, _: &mut Content<'_>| {
            found += 1;
            Ok::<_, ArchiveError>(())
        };
        let packed = Cursor::new(packed);
        walk(ArchiveFormat::Zip, packed, &Limits::default(), visit).unwrap();
        assert_eq!(found, count);
    }
}

/// A file in memory of any length. Only the parts that are written take memory.
#[derive(Default)]
struct Sparse {
    pages: BTreeMap<u64, Vec<u8>>,
    position: u64,
    length: u64,
}

impl Sparse {
    const PAGE: u64 = 4096;

    /// Returns the page at the position, the position in it, and the number of bytes after it.
    fn place(&self) -> (u64, usize, usize) {
        let at = self.position % Self::PAGE;
        let rest = Self::PAGE - at;
        let small = |bytes: u64| usize::try_from(bytes).unwrap();
        (self.position / Self::PAGE, small(at), small(rest))
    }
}

impl Read for Sparse {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (page, at, rest) = self.place();
        let left = self.length.saturating_sub(self.position);
        let left = usize::try_from(left).unwrap();
        let length = buffer.len().min(rest).min(left);
        match self.pages.get(&page) {
            Some(page) => buffer[..length].copy_from_slice(&page[at..at + length]),
            None => buffer[..length].fill(0),
        }
        self.position += length as u64;
        Ok(length)
    }
}

impl Write for Sparse {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (page, at, rest) = self.place();
        let length = bytes.len().min(rest);
        let page = self.pages.entry(page);
        let page = page.or_insert_with(|| vec![0; usize::try_from(Self::PAGE).unwrap()]);
        page[at..at + length].copy_from_slice(&bytes[..length]);
        self.position += length as u64;
        self.length = self.length.max(self.position);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Sparse {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[test]
fn an_entry_behind_one_of_four_gigabytes_is_found() {
    let most = u64::from(u32::MAX);
    for position in [most - 1, most, most + 1, 5 << 30] {
        let deflaters = Deflaters::start();
        let mut archive = Archive {
            out: Sparse::default(),
            position: 0,
            deflaters: &deflaters,
            waiting: VecDeque::new(),
            directory: Directory::default(),
        };
        // The zeros of the first entry are never written.
        let mut large = Record::new("large".to_owned(), 0o100_644, Method::Stored);
        large.is_large = true;
        let bytes = position - large.header().len() as u64;
        (large.bytes, large.stored_bytes) = (bytes, bytes);
        archive.out.write_all(&large.header()).unwrap();
        archive.complete(&large);
        assert_eq!(archive.position, position);
        archive.out.seek(SeekFrom::Start(position)).unwrap();
        let small = Record::new("small".to_owned(), 0o100_644, Method::Stored);
        archive.add_stored(small, b"content").unwrap();

        let mut found = ZipArchive::new(archive.finish().unwrap()).unwrap();
        found.validate_header_consistency().unwrap();
        let large = found.by_name("large").unwrap();
        assert_eq!((large.size(), large.compressed_size()), (bytes, bytes));
        drop(large);
        let mut small = found.by_name("small").unwrap();
        assert_eq!(small.header_start(), position);
        let mut content = String::new();
        small.read_to_string(&mut content).unwrap();
        assert_eq!(content, "content");
    }
}
