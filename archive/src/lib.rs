//! Reads archives that an attacker may have created.
//!
//! [`walk`] is the only archive reader of the project. The publisher checks archives with it before
//! publishing, and the agent unpacks with it, so both refuse the same archives. This crate must not
//! write files, and it reads no clock and no environment.

mod metered;
mod mode;
mod names;
mod path;
mod sparse;
mod tar;
mod tree;
mod zip;

use std::io::{self, Read, Seek, Write};

use packcast_protocol::ArchiveFormat;

pub use mode::EntryMode;
pub use names::{NameCheck, NameError, System};
pub use path::{EntryPath, EntryPathError, LinkTarget, PART};
use tree::{Duplicates, Node, Tree};

pub use tree::TreeError;

/// The limits of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The number of entries.
    pub entries: u64,
    /// The total size of all unpacked files in bytes, counted while they are inflated.
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

/// The size of an archive's content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub entries: u64,
    /// The total size of all unpacked files, in bytes.
    pub bytes: u64,
}

/// One entry of an archive. Its path stays inside the folder that the archive is unpacked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub path: EntryPath,
    /// `true` if the archive does not say how the path is encoded. The path is then decoded from
    /// code page 437, as the zip format has it, and may differ from the original.
    pub is_path_guessed: bool,
    pub kind: EntryKind,
}

/// The kind of an entry. Owners and times are not preserved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    File {
        mode: EntryMode,
        /// The length in the entry's header, in bytes. The content itself is counted separately.
        bytes: u64,
    },
    Directory {
        mode: EntryMode,
    },
    Symlink {
        target: LinkTarget,
    },
    /// Another name of an earlier file of the archive.
    HardLink {
        target: EntryPath,
    },
}

impl EntryKind {
    /// Returns `true` if the entry is a folder.
    pub const fn is_folder(&self) -> bool {
        matches!(self, Self::Directory { .. })
    }
}

/// Errors from reading an archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("cannot read the archive as {format}: it may be cut off, damaged or of another format")]
    Unreadable {
        format: ArchiveFormat,
        #[source]
        source: io::Error,
    },
    #[error("cannot read entry {entry:?} of the archive: it may be cut off or damaged")]
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
    #[error("entry {entry:?} of the archive conflicts with an earlier entry")]
    Tree {
        entry: String,
        #[source]
        source: TreeError,
    },
    #[error(
        "hard link {entry:?} of the archive leads to {target:?}, which is not an earlier file of the archive"
    )]
    HardLink { entry: String, target: String },
    #[error("cannot store entry {entry:?} of the archive on {system}")]
    Name {
        entry: String,
        system: System,
        #[source]
        source: NameError,
    },
    #[error(
        "unsupported entry {entry:?} of the archive, a {kind}: agents unpack only files, folders and symbolic links inside the archive"
    )]
    Kind { entry: String, kind: &'static str },
    #[error(
        "programs may read the archive differently: pack the files again with a common program"
    )]
    Contradiction {
        #[source]
        source: io::Error,
    },
    #[error(
        "the archive has data after its end, where most programs stop: pack all files into one archive"
    )]
    GoesOn,
    #[error("the archive has more than {limit} entries")]
    TooManyEntries { limit: u64 },
    #[error("the archive has more than {limit} bytes when unpacked, at entry {entry:?}")]
    TooLarge { entry: String, limit: u64 },
    #[error(
        "entry {entry:?} of the archive is encrypted, or compressed in an unsupported way: use deflate without encryption"
    )]
    Unsupported { entry: String },
}

impl ArchiveError {
    /// Returns `true` if the archive is readable, but unsafe to unpack.
    pub const fn is_unsafe(&self) -> bool {
        matches!(
            self,
            Self::Path { .. }
                | Self::Tree { .. }
                | Self::Name { .. }
                | Self::HardLink { .. }
                | Self::Contradiction { .. }
                | Self::GoesOn
                | Self::Kind { .. }
                | Self::TooManyEntries { .. }
                | Self::TooLarge { .. }
        )
    }
}

/// Reads an archive from start to end, and passes every entry to `visit` in the archive's order.
///
/// The function also reads and checks content that `visit` does not read. An archive without
/// entries is not an error. If the function returns an [`ArchiveError`], each entry that `visit`
/// received was safe by itself, but the archive as a whole is not.
///
/// The function refuses:
///
/// - paths that climb out of the folder, and control characters
/// - links that leave the archive's folder, paths that lead through a link, duplicate paths
/// - devices, pipes, sockets, and encrypted entries
/// - archives that exceed `limits`
/// - contradictions that programs read differently, such as two headers that disagree, or data
///   after the end
/// - truncated archives, and content with a wrong checksum
///
/// As common programs do, the function drops the slash at the start of a path, and a later file of a
/// tar replaces an earlier one. It accepts names that are invalid on some systems only: a
/// [`NameCheck`] finds them.
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

/// Reads a `.tar.gz` archive from a stream, under the same rules as [`walk`].
pub fn walk_tar_gz<E: From<ArchiveError>>(
    reader: impl Read,
    limits: &Limits,
    visit: impl FnMut(&Entry, &mut Content<'_>) -> Result<(), E>,
) -> Result<Summary, E> {
    tar::walk(reader, limits, visit)
}

/// The content of the current entry, counted against the archive's limit while it is read.
pub struct Content<'a> {
    entry: &'a str,
    reader: &'a mut dyn Read,
    /// The bytes of the entry read so far.
    bytes: u64,
    /// The expected length in bytes. `None` for a link, whose target has already been read.
    expected: Option<u64>,
    /// The bytes of all entries read so far.
    total: &'a mut u64,
    limit: u64,
}

impl Content<'_> {
    /// Reads some bytes. Returns 0 at the end, once the length matches the entry's header.
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
        // Count the inflated bytes, because the sizes in headers may be false.
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

    /// Writes the remaining content to `writer`, and returns its length in bytes.
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

    /// Checks that the content, read to its end, has the length in the entry's header.
    fn check_length(&self) -> Result<(), ArchiveError> {
        match self.expected {
            Some(expected) if expected != self.bytes => Err(ArchiveError::Damaged {
                entry: shown(self.entry),
                source: io::Error::other(format!(
                    "expected {expected} bytes, found {}",
                    self.bytes
                )),
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

/// The state of a walk, common to both formats.
struct WalkState<'a> {
    limits: &'a Limits,
    summary: Summary,
    tree: Tree,
}

impl<'a> WalkState<'a> {
    fn new(limits: &'a Limits, duplicates: Duplicates) -> Self {
        Self {
            limits,
            summary: Summary::default(),
            tree: Tree::new(duplicates),
        }
    }

    /// Counts an entry before it is read.
    fn count(&mut self) -> Result<(), ArchiveError> {
        self.summary.entries += 1;
        self.check_count(self.summary.entries)
    }

    /// Checks the number of entries in advance, for a format that declares it.
    ///
    /// So an archive with too many entries is refused before `visit` receives the first one.
    fn check_declared(&self, entries: usize) -> Result<(), ArchiveError> {
        self.check_count(entries as u64)
    }

    const fn check_count(&self, entries: u64) -> Result<(), ArchiveError> {
        let limit = self.limits.entries;
        if entries > limit {
            return Err(ArchiveError::TooManyEntries { limit });
        }
        Ok(())
    }

    /// Checks an entry against the earlier ones, passes it to `visit`, and reads it to its end.
    fn show<E: From<ArchiveError>>(
        &mut self,
        name: &str,
        entry: &Entry,
        reader: &mut dyn Read,
        visit: &mut impl FnMut(&Entry, &mut Content<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let node = match entry.kind {
            EntryKind::Directory { .. } => Node::Folder,
            EntryKind::Symlink { .. } => Node::Link,
            EntryKind::File { .. } | EntryKind::HardLink { .. } => Node::File,
        };
        if let EntryKind::HardLink { target } = &entry.kind
            && (self.tree.get(target) != Some(Node::File) || *target == entry.path)
        {
            return Err(E::from(ArchiveError::HardLink {
                entry: shown(name),
                target: shown(target.as_str()),
            }));
        }
        self.tree
            .add(&entry.path, node)
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
                EntryKind::HardLink { .. } => Some(0),
                EntryKind::Directory { .. } | EntryKind::Symlink { .. } => None,
            },
            total: &mut self.summary.bytes,
            limit: self.limits.unpacked_bytes,
        };
        visit(entry, &mut content)?;
        content.drain()?;
        Ok(())
    }
}

/// Shortens a name for a message.
pub fn shown(name: &str) -> String {
    name.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_entry() {
        let entry = || "bin/run.sh".to_owned();
        let source = || io::Error::other("bad checksum");
        let errors = [
            ArchiveError::Unreadable {
                format: ArchiveFormat::Zip,
                source: source(),
            },
            ArchiveError::Damaged {
                entry: entry(),
                source: source(),
            },
            ArchiveError::Path {
                entry: entry(),
                source: EntryPathError::Climbs,
            },
            ArchiveError::Tree {
                entry: entry(),
                source: TreeError::Twice,
            },
            ArchiveError::Name {
                entry: entry(),
                system: System::Windows,
                source: NameError::Reserved {
                    name: "nul".to_owned(),
                },
            },
            ArchiveError::HardLink {
                entry: entry(),
                target: "lib".to_owned(),
            },
            ArchiveError::Kind {
                entry: entry(),
                kind: "device",
            },
            ArchiveError::Contradiction { source: source() },
            ArchiveError::GoesOn,
            ArchiveError::TooManyEntries { limit: 200 },
            ArchiveError::TooLarge {
                entry: entry(),
                limit: 1_048_576,
            },
            ArchiveError::Unsupported { entry: entry() },
        ];
        let text = errors.map(|error| error.to_string()).join("\n");
        insta::assert_snapshot!(text, @r#"
        cannot read the archive as zip: it may be cut off, damaged or of another format
        cannot read entry "bin/run.sh" of the archive: it may be cut off or damaged
        entry "bin/run.sh" of the archive has an unsafe path
        entry "bin/run.sh" of the archive conflicts with an earlier entry
        cannot store entry "bin/run.sh" of the archive on Windows
        hard link "bin/run.sh" of the archive leads to "lib", which is not an earlier file of the archive
        unsupported entry "bin/run.sh" of the archive, a device: agents unpack only files, folders and symbolic links inside the archive
        programs may read the archive differently: pack the files again with a common program
        the archive has data after its end, where most programs stop: pack all files into one archive
        the archive has more than 200 entries
        the archive has more than 1048576 bytes when unpacked, at entry "bin/run.sh"
        entry "bin/run.sh" of the archive is encrypted, or compressed in an unsupported way: use deflate without encryption
        "#);
    }
}
