//! Writes `.zip` archives, whose entries are deflated on several threads.
//!
//! No library for zip archives accepts entries that are deflated elsewhere. The sizes of an entry stand
//! before it, as every program expects them, so the header of a large file is written twice.

mod record;

use std::collections::VecDeque;
use std::io::{self, Seek, SeekFrom, Write};

use flate2::Crc;

use self::record::{Directory, Method, Record};
use super::deflate::{BLOCK_BYTES, Blocks, Deflater, Deflaters};
use super::exact::ExactFile;
use super::list::{Item, ItemKind};
use super::{OnWrite, PackError};
use crate::progress::Progress;

/// The length from which an entry needs larger fields, in bytes: 4 GiB with room for content that
/// deflating makes longer.
const LARGE_BYTES: u64 = 4_000_000_000;

/// The length up to which the deflated blocks of a file wait in memory.
const SMALL_BYTES: u64 = 16 * BLOCK_BYTES as u64;

/// Packs items, and returns the writer.
pub(super) fn zip<W: Write + Seek>(
    items: &[Item],
    writer: W,
    write: OnWrite<'_>,
    progress: &Progress,
) -> Result<W, PackError> {
    zip_with(LARGE_BYTES, items, writer, write, progress)
}

fn zip_with<W: Write + Seek>(
    large_bytes: u64,
    items: &[Item],
    writer: W,
    write: OnWrite<'_>,
    progress: &Progress,
) -> Result<W, PackError> {
    let deflaters = Deflaters::start();
    let mut archive = Archive {
        out: writer,
        position: 0,
        deflaters: &deflaters,
        waiting: VecDeque::new(),
        directory: Directory::default(),
    };
    for item in items {
        let no_name = || PackError::Name {
            path: item.path.clone(),
        };
        // A zip has slashes on every system.
        let names: Option<Vec<&str>> = item.name.iter().map(|name| name.to_str()).collect();
        let name = names.ok_or_else(no_name)?.join("/");
        match &item.kind {
            ItemKind::Folder { mode } => {
                let record = Record::new(format!("{name}/"), 0o040_000 | mode, Method::Stored);
                archive.add_stored(record, b"").map_err(write)?;
            }
            ItemKind::Link { target } => {
                let target = target.to_str().ok_or_else(no_name)?;
                let record = Record::new(name, 0o120_777, Method::Stored);
                archive
                    .add_stored(record, target.as_bytes())
                    .map_err(write)?;
            }
            ItemKind::File { mode, state } => {
                let mut file = ExactFile::open(&item.path, *state, progress)?;
                let mut record = Record::new(name, 0o100_000 | mode, Method::Deflated);
                record.is_large = file.length() >= large_bytes;
                let added = if file.length() <= SMALL_BYTES && !record.is_large {
                    archive.add_small(record, &mut file)
                } else {
                    archive.add_large(record, &mut file)
                };
                file.finish(added.map_err(write))?;
            }
        }
    }
    archive.finish().map_err(write)
}

struct Archive<'a, W> {
    out: W,
    /// The end of the last complete entry.
    position: u64,
    deflaters: &'a Deflaters,
    /// Small entries that are not written yet.
    waiting: VecDeque<(Record, Body<'a>)>,
    directory: Directory,
}

/// The content of a small entry.
enum Body<'a> {
    Stored(Vec<u8>),
    Deflated(Blocks<'a>),
}

impl Body<'_> {
    /// Returns the number of blocks that wait, at least one, because an entry takes memory.
    fn waiting(&self) -> usize {
        match self {
            Self::Stored(_) => 1,
            Self::Deflated(blocks) => blocks.waiting().max(1),
        }
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Stored(content) => Ok(content),
            Self::Deflated(mut blocks) => {
                let mut deflated = Vec::new();
                blocks.write_rest(&mut deflated)?;
                Ok(deflated)
            }
        }
    }
}

impl<W: Write + Seek> Archive<'_, W> {
    fn add_stored(&mut self, mut record: Record, content: &[u8]) -> io::Result<()> {
        let mut crc = Crc::new();
        crc.update(content);
        (record.crc32, record.bytes) = (crc.sum(), content.len() as u64);
        let content = Body::Stored(content.to_vec());
        self.waiting.push_back((record, content));
        self.write_small(self.deflaters.waiting())
    }

    fn add_small(&mut self, mut record: Record, file: &mut ExactFile<'_>) -> io::Result<()> {
        let mut blocks = Blocks::new(self.deflaters);
        io::copy(file, &mut blocks)?;
        let content = blocks.end()?;
        (record.crc32, record.bytes) = (content.crc32, content.bytes);
        self.waiting.push_back((record, Body::Deflated(blocks)));
        self.write_small(self.deflaters.waiting())
    }

    /// Writes small entries, until at most this number of blocks waits.
    fn write_small(&mut self, blocks: usize) -> io::Result<()> {
        let mut left: usize = self.waiting.iter().map(|(_, body)| body.waiting()).sum();
        while left > blocks
            && let Some((mut record, body)) = self.waiting.pop_front()
        {
            left -= body.waiting();
            let content = body.finish()?;
            record.stored_bytes = content.len() as u64;
            self.out.write_all(&record.header())?;
            self.out.write_all(&content)?;
            self.complete(&record);
        }
        Ok(())
    }

    fn add_large(&mut self, mut record: Record, file: &mut ExactFile<'_>) -> io::Result<()> {
        self.write_small(0)?;
        self.out.write_all(&record.header())?;
        let mut deflater = Deflater::new(self.deflaters, &mut self.out);
        io::copy(file, &mut deflater)?;
        let (_, content, stored_bytes) = deflater.finish()?;
        (record.crc32, record.bytes) = (content.crc32, content.bytes);
        record.stored_bytes = stored_bytes;
        self.out.seek(SeekFrom::Start(self.position))?;
        self.out.write_all(&record.header())?;
        self.complete(&record);
        self.out.seek(SeekFrom::Start(self.position))?;
        Ok(())
    }

    fn complete(&mut self, record: &Record) {
        let length = record.header().len() as u64 + record.stored_bytes;
        self.directory.add(record, self.position);
        self.position += length;
    }

    fn finish(mut self) -> io::Result<W> {
        self.write_small(0)?;
        self.out.write_all(&self.directory.end(self.position))?;
        Ok(self.out)
    }
}

#[cfg(test)]
mod tests;
