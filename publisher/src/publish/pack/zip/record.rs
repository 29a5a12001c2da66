//! The records of a `.zip` archive: the header before each entry, and the directory at the end.
//!
//! Their form is that of PKWARE's APPNOTE, sections 4.3 and 4.4.

/// The version of the specification that a reader needs for deflated entries.
const VERSION: u16 = 20;

/// The version that a reader needs for fields of 64 bits.
const VERSION_64: u16 = 45;

/// The system of the packer: Unix, which has modes of files.
const UNIX: u16 = 3 << 8;

/// 1 January 1980, the first day that a zip archive can name.
const FIRST_DAY: u16 = 0x21;

/// The flag of a name in UTF-8.
const UTF_8: u16 = 1 << 11;

/// A compression method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Stored = 0,
    Deflated = 8,
}

/// The facts of an entry.
#[derive(Clone, Debug)]
pub(super) struct Record {
    name: String,
    /// The mode of Unix, with the kind of file.
    mode: u32,
    method: Method,
    /// The entry has fields of 64 bits.
    pub(super) is_large: bool,
    pub(super) crc32: u32,
    pub(super) bytes: u64,
    pub(super) stored_bytes: u64,
}

impl Record {
    pub(super) const fn new(name: String, mode: u32, method: Method) -> Self {
        Self {
            name,
            mode,
            method,
            is_large: false,
            crc32: 0,
            bytes: 0,
            stored_bytes: 0,
        }
    }

    /// Returns the header before the entry. Its length does not depend on the numbers in it.
    pub(super) fn header(&self) -> Vec<u8> {
        let mut header = Fields::default();
        header.u32(0x0403_4b50);
        self.common(&mut header, self.is_large);
        let extra = if self.is_large { 20 } else { 0 };
        header.u16(extra);
        header.0.extend_from_slice(self.name.as_bytes());
        if self.is_large {
            header.u16(1);
            header.u16(16);
            header.u64(self.bytes);
            header.u64(self.stored_bytes);
        }
        header.0
    }

    /// Adds the fields from the version to the length of the name.
    fn common(&self, fields: &mut Fields, is_large: bool) {
        fields.u16(if is_large { VERSION_64 } else { VERSION });
        fields.u16(if self.name.is_ascii() { 0 } else { UTF_8 });
        fields.u16(self.method as u16);
        fields.u16(0);
        fields.u16(FIRST_DAY);
        fields.u32(self.crc32);
        fields.capped(if is_large {
            u64::MAX
        } else {
            self.stored_bytes
        });
        fields.capped(if is_large { u64::MAX } else { self.bytes });
        fields.u16(u16::try_from(self.name.len()).unwrap_or(u16::MAX));
    }
}

/// The directory of an archive.
#[derive(Debug, Default)]
pub(super) struct Directory {
    fields: Fields,
    entries: u64,
}

impl Directory {
    /// Adds an entry whose header is at `position`.
    pub(super) fn add(&mut self, record: &Record, position: u64) {
        let is_large = record.is_large || position >= u64::from(u32::MAX);
        let fields = &mut self.fields;
        fields.u32(0x0201_4b50);
        fields.u16(UNIX | if is_large { VERSION_64 } else { VERSION });
        record.common(fields, is_large);
        fields.u16(if is_large { 28 } else { 0 });
        // The length of the comment, the number of the disk, and attributes of the content.
        (0..3).for_each(|_| fields.u16(0));
        fields.u32(record.mode << 16);
        fields.capped(if is_large { u64::MAX } else { position });
        fields.0.extend_from_slice(record.name.as_bytes());
        if is_large {
            fields.u16(1);
            fields.u16(24);
            fields.u64(record.bytes);
            fields.u64(record.stored_bytes);
            fields.u64(position);
        }
        self.entries += 1;
    }

    /// Returns the directory and the end of the archive. The directory is at `position`.
    pub(super) fn end(self, position: u64) -> Vec<u8> {
        let (mut fields, entries) = (self.fields, self.entries);
        let bytes = fields.0.len() as u64;
        let is_large = entries >= u64::from(u16::MAX)
            || bytes >= u64::from(u32::MAX)
            || position >= u64::from(u32::MAX);
        if is_large {
            fields.u32(0x0606_4b50);
            fields.u64(44);
            fields.u16(UNIX | VERSION_64);
            fields.u16(VERSION_64);
            (0..2).for_each(|_| fields.u32(0));
            (0..2).for_each(|_| fields.u64(entries));
            fields.u64(bytes);
            fields.u64(position);
            fields.u32(0x0706_4b50);
            fields.u32(0);
            fields.u64(position + bytes);
            fields.u32(1);
        }
        fields.u32(0x0605_4b50);
        fields.u32(0);
        let count = u16::try_from(entries).unwrap_or(u16::MAX);
        (0..2).for_each(|_| fields.u16(count));
        fields.capped(bytes);
        fields.capped(position);
        fields.u16(0);
        fields.0
    }
}

/// Fields in the order of their bytes, the lowest first.
#[derive(Debug, Default)]
struct Fields(Vec<u8>);

impl Fields {
    fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Adds 32 bits. A larger value becomes the largest, which refers to a field of 64 bits.
    fn capped(&mut self, value: u64) {
        self.u32(u32::try_from(value).unwrap_or(u32::MAX));
    }
}
