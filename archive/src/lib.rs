//! Reads archives from hostile sources.
//!
//! [`walk`] is the only archive reader of the project: the publisher checks an archive with it
//! before publishing, and the agent unpacks with it, so both refuse the same archives. This crate
//! must not write files, and it reads no clock and no environment.

mod metered;
mod names;
mod path;
mod tar;
mod tree;
mod zip;

use std::io::{self, Read, Seek, Write};

use packcast_protocol::ArchiveFormat;

pub use names::{NameCheck, NameError, System};
pub use path::{EntryPath, EntryPathError, LinkTarget, PART};
pub use tree::TreeError;

/// How much an archive may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most entries.
    pub entries: u64,
    /// The most bytes that all files together have when unpacked, counted while they are
    /// inflated.
    pub unpacked_bytes: u64,
}

impl Default for Limits {
    /// A million entries and 64 GiB.
    fn default() -> Self {
        Self {
            entries: 1_000_000,
            unpacked_bytes: 64 << 30,
        }
    }
}

/// What an archive held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub entries: u64,
    /// The bytes of all files together, unpacked.
    pub bytes: u64,
}

/// One entry of an archive, known to stay inside the folder it is unpacked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub path: EntryPath,
    pub kind: EntryKind,
}

/// What an entry is. Owners, times and set-user-id bits are not carried over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    File {
        /// Whether its owner may run it.
        executable: bool,
        /// The length its header gives; the content is counted on its own.
        bytes: u64,
    },
    Directory,
    Symlink {
        target: LinkTarget,
    },
}

impl EntryKind {
    /// Returns `true` if the entry is a folder.
    pub const fn is_folder(&self) -> bool {
        matches!(self, Self::Directory)
    }
}

/// Why an archive is refused as a whole.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error(
        "the archive does not read as {format}: it may be cut short, damaged or of another kind"
    )]
    Unreadable {
        format: ArchiveFormat,
        #[source]
        source: io::Error,
    },
    #[error("entry {entry:?} of the archive cannot be read: it may be cut short or damaged")]
    Damaged {
        entry: String,
        #[source]
        source: io::Error,
    },
    #[error("entry {entry:?} of the archive has an unsafe path")]
    Path {
        entry: String,
        #[source]
        source: EntryPathError,
    },
    #[error("entry {entry:?} of the archive does not fit the entries before it")]
    Tree {
        entry: String,
        #[source]
        source: TreeError,
    },
    #[error("entry {entry:?} of the archive cannot be stored on {system}")]
    Name {
        entry: String,
        system: System,
        #[source]
        source: NameError,
    },
    #[error(
        "entry {entry:?} of the archive is a {kind}: only files, folders and symbolic links inside the archive are unpacked"
    )]
    Kind { entry: String, kind: &'static str },
    #[error(
        "the archive reads differently from one program to the next: pack it anew with a usual one"
    )]
    Contradiction {
        #[source]
        source: io::Error,
    },
    #[error("the archive goes on after its end, where most programs stop: pack all of it into one")]
    GoesOn,
    #[error("the archive has more than {limit} entries")]
    TooManyEntries { limit: u64 },
    #[error("the archive has more than {limit} bytes when unpacked, at entry {entry:?}")]
    TooLarge { entry: String, limit: u64 },
    #[error(
        "entry {entry:?} of the archive is encrypted or compressed in a way that agents cannot read: use deflate"
    )]
    Unsupported { entry: String },
}

impl ArchiveError {
    /// Whether the archive can be read, but would do harm.
    pub const fn is_unsafe(&self) -> bool {
        matches!(
            self,
            Self::Path { .. }
                | Self::Tree { .. }
                | Self::Name { .. }
                | Self::Contradiction { .. }
                | Self::GoesOn
                | Self::Kind { .. }
                | Self::TooManyEntries { .. }
                | Self::TooLarge { .. }
        )
    }
}

/// Reads an archive from its start to its end and shows every entry to `visit`, in the
/// archive's order.
///
/// Whatever `visit` leaves of an entry's content is read and checked all the same. An
/// archive without entries is not an error. Entries that `visit` has seen before an
/// [`ArchiveError`] were safe by themselves; the archive as a whole is not.
///
/// Refused: absolute and climbing paths, drive letters, control characters, links that
/// leave the archive's folder, paths that lead through a link, files given twice, hard
/// links, devices, pipes, sockets, sparse and encrypted entries, whatever exceeds `limits`,
/// what programs read differently, such as two headers that disagree or something behind the
/// end, and anything cut short or not matching its checksum.
///
/// Names that only some systems cannot hold are not refused: a [`NameCheck`] finds them.
pub fn walk<R, E>(
    format: ArchiveFormat,
    reader: R,
    limits: &Limits,
    visit: impl FnMut(&Entry, &mut Content<'_>) -> Result<(), E>,
) -> Result<Summary, E>
where
    R: Read + Seek,
    E: From<ArchiveError>,
{
    match format {
        ArchiveFormat::Zip => zip::walk(reader, limits, visit),
        ArchiveFormat::TarGz => tar::walk(reader, limits, visit),
    }
}

/// The content of the entry at hand, counted against the archive's limit as it is read.
pub struct Content<'a> {
    entry: &'a str,
    reader: &'a mut dyn Read,
    /// What the entry has held so far.
    bytes: u64,
    /// What it is to hold; not known of a link, whose target is read before.
    expected: Option<u64>,
    /// What all entries so far have held.
    total: &'a mut u64,
    limit: u64,
}

impl Content<'_> {
    /// Reads some bytes; none are left when it returns 0, and then they were all that the
    /// entry's header promises.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ArchiveError> {
        let read = loop {
            match self.reader.read(buffer) {
                Ok(0) if !buffer.is_empty() => {
                    self.check_length()?;
                    break 0;
                }
                Ok(read) => break read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(ArchiveError::Damaged {
                        entry: self.entry.to_owned(),
                        source,
                    });
                }
            }
        };
        self.bytes = self.bytes.saturating_add(read as u64);
        *self.total = self.total.saturating_add(read as u64);
        if *self.total > self.limit {
            return Err(ArchiveError::TooLarge {
                entry: self.entry.to_owned(),
                limit: self.limit,
            });
        }
        Ok(read)
    }

    /// Writes what is left to `writer` and returns how many bytes that were.
    pub fn copy_to<E>(&mut self, writer: &mut impl Write) -> Result<u64, E>
    where
        E: From<ArchiveError> + From<io::Error>,
    {
        let mut buffer = vec![0; 64 << 10];
        let mut bytes = 0;
        loop {
            match self.read(&mut buffer)? {
                0 => return Ok(bytes),
                read => {
                    writer.write_all(&buffer[..read])?;
                    bytes += read as u64;
                }
            }
        }
    }

    /// Checks that what was read to its end has the length that its header gives.
    fn check_length(&self) -> Result<(), ArchiveError> {
        match self.expected {
            Some(expected) if expected != self.bytes => Err(ArchiveError::Damaged {
                entry: shown(self.entry),
                source: io::Error::other(format!("{} bytes instead of {expected}", self.bytes)),
            }),
            _ => Ok(()),
        }
    }

    fn drain(&mut self) -> Result<(), ArchiveError> {
        let mut buffer = [0; 16 << 10];
        while self.read(&mut buffer)? > 0 {}
        Ok(())
    }
}

impl std::fmt::Debug for Content<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Content({:?})", self.entry)
    }
}

/// What both formats keep while they go through an archive.
struct Progress<'a> {
    limits: &'a Limits,
    summary: Summary,
    tree: tree::Tree,
}

impl<'a> Progress<'a> {
    fn new(limits: &'a Limits) -> Self {
        Self {
            limits,
            summary: Summary::default(),
            tree: tree::Tree::default(),
        }
    }

    /// Counts an entry before anything else is known of it.
    fn count(&mut self) -> Result<(), ArchiveError> {
        self.summary.entries += 1;
        self.check_count(self.summary.entries)
    }

    /// Hears how many entries there are, of an archive that says so first: too many are
    /// refused before the first is shown.
    fn expect(&self, entries: usize) -> Result<(), ArchiveError> {
        self.check_count(entries as u64)
    }

    const fn check_count(&self, entries: u64) -> Result<(), ArchiveError> {
        let limit = self.limits.entries;
        if entries > limit {
            return Err(ArchiveError::TooManyEntries { limit });
        }
        Ok(())
    }

    /// Checks an entry against those before it, shows it, and reads it to its end.
    fn show<E: From<ArchiveError>>(
        &mut self,
        name: &str,
        entry: &Entry,
        reader: &mut dyn Read,
        visit: &mut impl FnMut(&Entry, &mut Content<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.tree
            .add(&entry.path, entry.kind.is_folder())
            .map_err(|source| ArchiveError::Tree {
                entry: shown(name),
                source,
            })?;
        let mut content = Content {
            entry: name,
            reader,
            bytes: 0,
            expected: match entry.kind {
                EntryKind::File { bytes, .. } => Some(bytes),
                _ => None,
            },
            total: &mut self.summary.bytes,
            limit: self.limits.unpacked_bytes,
        };
        visit(entry, &mut content)?;
        content.drain()?;
        Ok(())
    }
}

/// Shortens a name for an error.
pub fn shown(name: &str) -> String {
    name.chars().take(200).collect()
}
