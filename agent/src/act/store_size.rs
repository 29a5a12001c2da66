//! The growth of a folder while an archive is stored in it.

use std::path::Path;

use packcast_archive::{Entry, EntryKind};

/// The growth of the folder so far. Each file is written beside the file that it replaces.
#[derive(Debug)]
pub(super) struct StoreSize<'a> {
    folder: &'a Path,
    written: u64,
    freed: u64,
    most: u64,
}

impl<'a> StoreSize<'a> {
    pub(super) const fn of(folder: &'a Path) -> Self {
        Self {
            folder,
            written: 0,
            freed: 0,
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
        self.freed += replaced.map_or(0, |replaced| replaced.len());
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
    fn a_replaced_file_makes_room_for_the_next() {
        let check = |old: &[(&str, usize)], expected| {
            let dir = tempfile::tempdir().unwrap();
            for (name, bytes) in old {
                fs::write(dir.path().join(name), vec![0; *bytes]).unwrap();
            }
            let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
            for name in ["a", "b", "c"] {
                let options = zip::write::SimpleFileOptions::default();
                archive.start_file(name, options).unwrap();
                std::io::Write::write_all(&mut archive, &[0; 100]).unwrap();
            }
            let archive = archive.finish().unwrap();
            let mut size = StoreSize::of(dir.path());
            let see = |entry: &Entry| size.add(entry);
            examine(ArchiveFormat::Zip, archive, &Limits::default(), see).unwrap();
            assert_eq!(size.most(), expected, "{old:?}");
        };
        check(&[], 300);
        check(&[("a", 100), ("b", 100), ("c", 100)], 100);
        check(&[("a", 250)], 100);
        check(&[("c", 100), ("other", 900)], 300);
        check(&[("b", 100)], 200);
    }
}
