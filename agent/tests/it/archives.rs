//! Writers of dishonest archives.

use std::io::{Cursor, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;
use packcast_archive::{ArchiveError, Content, Entry, Limits, Summary, walk};
use packcast_protocol::ArchiveFormat;
use tar::{EntryType, Header};
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

/// A writer of `.tar.gz` without checks.
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
        let header_name = &mut header.as_old_mut().name;
        header_name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// Adds an extended header with one record for the next entry.
    pub(crate) fn extended(self, kind: EntryType, key: &str, value: &str) -> Self {
        // The length counts its own digits.
        let rest = format!(" {key}={value}\n");
        let fits = |length: &usize| length.to_string().len() + rest.len() == *length;
        let length = (rest.len()..rest.len() + 20).find(fits).unwrap();
        let record = format!("{length}{rest}");
        self.entry(kind, "pax", "", 0o644, record.as_bytes())
    }

    /// Adds arbitrary bytes.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Returns the archive with the two empty blocks at its end, uncompressed.
    pub(crate) fn plain(self) -> Vec<u8> {
        self.raw(&[0; 1024]).0
    }

    pub(crate) fn gz(self) -> Vec<u8> {
        gzip(&self.plain())
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Writes a `.zip` from names, modes and contents.
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

/// An entry of a `.zip`. Each field may be wrong, and the data are stored unchanged.
#[derive(Clone)]
pub(crate) struct ZipEntry {
    pub(crate) name: Vec<u8>,
    pub(crate) local_name: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) flags: u16,
    pub(crate) method: u16,
    pub(crate) data: Vec<u8>,
    pub(crate) crc: u32,
    pub(crate) bytes: u32,
    pub(crate) packed: u32,
    /// The bytes after the data.
    pub(crate) after: Vec<u8>,
    /// `true` if the central directory lists the entry.
    pub(crate) listed: bool,
    /// The offset in the central directory, if it is wrong.
    pub(crate) begins: Option<u32>,
}

impl ZipEntry {
    pub(crate) fn new(name: &str, data: &[u8]) -> Self {
        let mut crc = flate2::Crc::new();
        crc.update(data);
        let bytes = u32::try_from(data.len()).unwrap();
        Self {
            name: name.into(),
            local_name: name.into(),
            mode: 0o100_644,
            flags: 0,
            method: 0,
            data: data.to_owned(),
            crc: crc.sum(),
            bytes,
            packed: bytes,
            after: Vec::new(),
            listed: true,
            begins: None,
        }
    }

    /// Returns an entry with its sizes after the data, as programs write to a pipe.
    pub(crate) fn piped(name: &str, data: &[u8]) -> Self {
        let mut entry = Self::new(name, data);
        entry.flags = 8;
        entry.after = b"PK\x07\x08".to_vec();
        for field in [entry.crc, entry.packed, entry.bytes] {
            entry.after.extend(field.to_le_bytes());
        }
        entry
    }

    /// Writes the common part of local and central headers, from the flags on.
    fn common(&self, sizes: bool, name: &[u8], to: &mut Vec<u8>) {
        to.extend(self.flags.to_le_bytes());
        to.extend(self.method.to_le_bytes());
        to.extend([0, 0, 0x21, 0]);
        for field in [self.crc, self.packed, self.bytes] {
            to.extend(if sizes { field } else { 0 }.to_le_bytes());
        }
        to.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        to.extend([0, 0]);
    }
}

/// Writes a `.zip` without checks.
pub(crate) fn raw_zip(entries: &[ZipEntry]) -> Vec<u8> {
    let (mut zip, mut directory, mut count) = (Vec::new(), Vec::new(), 0_u16);
    for entry in entries {
        let begins = u32::try_from(zip.len()).unwrap();
        zip.extend(b"PK\x03\x04\x14\0");
        entry.common(entry.flags & 8 == 0, &entry.local_name, &mut zip);
        zip.extend(&entry.local_name);
        zip.extend(&entry.data);
        zip.extend(&entry.after);
        if entry.listed {
            count += 1;
            directory.extend(b"PK\x01\x02\x14\x03\x14\0");
            entry.common(true, &entry.name, &mut directory);
            directory.extend([0; 6]);
            directory.extend((entry.mode << 16).to_le_bytes());
            directory.extend(entry.begins.unwrap_or(begins).to_le_bytes());
            directory.extend(&entry.name);
        }
    }
    let begins = u32::try_from(zip.len()).unwrap();
    let bytes = u32::try_from(directory.len()).unwrap();
    zip.extend(directory);
    zip.extend(b"PK\x05\x06\0\0\0\0");
    zip.extend([count.to_le_bytes(), count.to_le_bytes()].concat());
    zip.extend([bytes.to_le_bytes(), begins.to_le_bytes()].concat());
    zip.extend([0, 0]);
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
