//! The growth of a folder while an archive is stored in it.

use std::path::Path;

use packcast_archive::{Entry, EntryKind};

use crate::unpack::BatchSize;

/// The growth of the folder so far. Files are written beside the files that they replace, until
/// their batch is full.
#[derive(Debug)]
pub(super) struct StoreSize<'a> {
    folder: &'a Path,
    written: u64,
    freed: u64,
    /// The bytes of files that are replaced when the batch is full.
    replaced: u64,
    batch: BatchSize,
    most: u64,
}

impl<'a> StoreSize<'a> {
    pub(super) fn of(folder: &'a Path) -> Self {
        Self {
            folder,
            written: 0,
            freed: 0,
            replaced: 0,
            batch: BatchSize::default(),
            most: 0,
        }
    }

    pub(super) fn add(&mut self, entry: &Entry) {
        let EntryKind::File { bytes, .. } = entry.kind else {
            return;
        };
        self.written = self.written.saturating_add(bytes);
        self.most = self.most.max(self.written.saturating_sub(self.freed));
        let replaced = self.folder.join(entry.path.as_str()).symlink_metadata();
        let replaced = replaced.ok().filter(std::fs::Metadata::is_file);
        self.replaced += replaced.map_or(0, |replaced| replaced.len());
        if self.batch.add(bytes) {
            self.freed += std::mem::take(&mut self.replaced);
            self.batch = BatchSize::default();
        }
    }

    /// Returns the greatest growth of the folder during the store, in bytes.
    pub(super) const fn most(&self) -> u64 {
        self.most
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Cursor;

    use packcast_archive::Limits;
    use packcast_protocol::ArchiveFormat;

    use super::*;
    use crate::unpack::examine;

    #[test]
    fn a_replaced_file_makes_room_once_its_batch_is_full() {
        const MIB: u64 = 1 << 20;
        let check = |old: &[(&str, u64)], bytes: u64, expected: u64| {
            let dir = tempfile::tempdir().unwrap();
            for (name, bytes) in old {
                let file = fs::File::create(dir.path().join(name)).unwrap();
                file.set_len(*bytes * MIB).unwrap();
            }
            let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
            for name in ["a", "b", "c"] {
                archive
                    .start_file(name, zip::write::SimpleFileOptions::default())
                    .unwrap();
            }
            let mut size = StoreSize::of(dir.path());
            let see = |entry: &Entry| {
                let mut entry = entry.clone();
                let mode = packcast_archive::EntryMode::FILE;
                let bytes = bytes * MIB;
                entry.kind = EntryKind::File { mode, bytes };
                size.add(&entry);
            };
            let archive = archive.finish().unwrap();
            examine(ArchiveFormat::Zip, archive, &Limits::default(), see).unwrap();
            assert_eq!(size.most(), expected * MIB, "{old:?}");
        };
        check(&[], 200, 600);
        // Each file fills a batch.
        check(&[("a", 200), ("b", 200), ("c", 200)], 200, 200);
        check(&[("a", 350)], 200, 250);
        check(&[("c", 200), ("other", 900)], 200, 600);
        check(&[("b", 200)], 200, 400);
        // The first two files fill a batch.
        check(&[("a", 100), ("b", 100), ("c", 100)], 100, 200);
        // All files are in one batch.
        check(&[("a", 10), ("b", 10), ("c", 10)], 10, 30);
    }
}
