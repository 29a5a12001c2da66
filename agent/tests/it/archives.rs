//! Archives as no honest program would write them.

use std::io::{Cursor, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;
use packcast_agent::archive::{ArchiveError, Content, Entry, Limits, Summary, walk};
use packcast_protocol::ArchiveFormat;
use tar::{EntryType, Header};
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

/// Writes `.tar.gz`, checking nothing.
pub(crate) struct Tar(Vec<u8>);

impl Tar {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn file(self, name: &str, content: &[u8]) -> Self {
        self.entry(EntryType::Regular, name, "", 0o644, content)
    }

    pub(crate) fn program(self, name: &str, content: &str) -> Self {
        self.entry(EntryType::Regular, name, "", 0o755, content.as_bytes())
    }

    pub(crate) fn link(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, name, target, 0o777, b"")
    }

    pub(crate) fn of_kind(self, kind: EntryType, name: &str) -> Self {
        self.entry(kind, name, "x", 0o644, b"")
    }

    pub(crate) fn entry(
        mut self,
        kind: EntryType,
        name: &str,
        target: &str,
        mode: u32,
        content: &[u8],
    ) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn gz(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        gzip(&self.0)
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Writes `.zip` from names, modes and contents.
pub(crate) fn zip(entries: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, mode, content) in entries {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        match mode & 0o170_000 {
            0o120_000 => {
                let target = str::from_utf8(content).unwrap();
                writer.add_symlink(*name, target, options).unwrap();
            }
            0o040_000 => writer.add_directory(*name, options).unwrap(),
            _ => {
                writer
                    .start_file(*name, options.unix_permissions(*mode))
                    .unwrap();
                writer.write_all(content).unwrap();
            }
        }
    }
    writer.finish().unwrap().into_inner()
}

/// Replaces a name in both places of a `.zip`; the lengths must be equal.
pub(crate) fn renamed(mut zip: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let places: Vec<usize> = zip
        .windows(from.len())
        .enumerate()
        .filter(|(_, window)| *window == from.as_bytes())
        .map(|(at, _)| at)
        .collect();
    assert_eq!(places.len(), 2, "{from:?} has to be in the archive");
    for at in places {
        zip[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    zip
}

pub(crate) fn look(
    format: ArchiveFormat,
    bytes: &[u8],
    limits: &Limits,
) -> Result<(Vec<Entry>, Summary), ArchiveError> {
    let mut entries = Vec::new();
    let visit = |entry: &Entry, _: &mut Content<'_>| {
        entries.push(entry.clone());
        Ok(())
    };
    let summary = walk::<_, ArchiveError>(format, Cursor::new(bytes), limits, visit)?;
    Ok((entries, summary))
}
