//! Reading `.zip`.

use std::io::{self, Read, Seek};

use packcast_protocol::ArchiveFormat;
use zip::read::ZipFile;
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use super::metered::Metered;
use super::{
    ArchiveError, Content, Entry, EntryKind, EntryPath, EntryPathError, Limits, LinkTarget,
    Progress, Summary, TreeError, shown,
};

/// The longest target of a symbolic link, in bytes.
const MAX_TARGET_BYTES: u64 = 4096;

/// What an entry takes in the directory at the archive's end, its name included, when there
/// are as many as there may be: few honest archives have longer paths on average.
const BYTES_PER_ENTRY: u64 = 192;

/// Enough to find the directory behind the longest comment.
const MIN_DIRECTORY_BYTES: u64 = 1 << 20;

/// The part of a Unix mode that says what kind of file it is.
const KIND: u32 = 0o170_000;

pub(super) fn walk<R: Read + Seek, E: From<ArchiveError>>(
    reader: R,
    limits: &Limits,
    mut visit: impl FnMut(&Entry, &mut Content<'_>) -> Result<(), E>,
) -> Result<Summary, E> {
    let (reader, allowance) = Metered::new(reader);
    allowance.limit(directory_bytes(limits));
    let mut archive = ZipArchive::new(reader).map_err(unreadable)?;
    allowance.lift();
    if archive.has_duplicate_names() {
        return Err(E::from(ArchiveError::Tree {
            entry: "(of the central directory)".to_owned(),
            source: TreeError::Twice,
        }));
    }
    archive.validate_header_consistency().map_err(unclear)?;
    let mut progress = Progress::new(limits);
    progress.expect(archive.len())?;
    for index in 0..archive.len() {
        progress.count()?;
        let name = name(&archive, index)?;
        let mut file = archive
            .by_index(index)
            .map_err(|error| unopened(&name, error))?;
        if let Some(entry) = describe(&mut file, &name)? {
            progress.show(&name, &entry, &mut file, &mut visit)?;
        }
    }
    Ok(progress.summary)
}

/// How much is read to find the entries, all of which are held in memory then.
fn directory_bytes(limits: &Limits) -> u64 {
    MIN_DIRECTORY_BYTES.max(limits.entries.saturating_mul(BYTES_PER_ENTRY))
}

fn unreadable(error: ZipError) -> ArchiveError {
    ArchiveError::Unreadable {
        format: ArchiveFormat::Zip,
        source: error.into(),
    }
}

/// Some programs read the directory at the end, others the headers before each entry: what
/// they disagree on would pass one and harm the other.
fn unclear(error: ZipError) -> ArchiveError {
    match error {
        ZipError::Io(source) => unreadable(source.into()),
        other => ArchiveError::Contradiction {
            source: other.into(),
        },
    }
}

fn unopened(name: &str, error: ZipError) -> ArchiveError {
    let entry = shown(name);
    match error {
        ZipError::UnsupportedArchive(_) | ZipError::CompressionMethodNotSupported(_) => {
            ArchiveError::Unsupported { entry }
        }
        other => ArchiveError::Damaged {
            entry,
            source: other.into(),
        },
    }
}

fn name<R: Read + Seek>(archive: &ZipArchive<R>, index: usize) -> Result<String, ArchiveError> {
    match archive.name_for_index(index) {
        Some(Ok(name)) => Ok(name.into_owned()),
        _ => Err(ArchiveError::Path {
            entry: format!("number {index}"),
            source: EntryPathError::NotUtf8,
        }),
    }
}

/// Returns what the entry is; none if it stands for the archive's folder itself.
///
/// A backslash separates, as some Windows programs write it.
fn describe<R: Read>(file: &mut ZipFile<'_, R>, name: &str) -> Result<Option<Entry>, ArchiveError> {
    let refused = |source| ArchiveError::Path {
        entry: shown(name),
        source,
    };
    let name_read = name.replace('\\', "/");
    let Some(path) = EntryPath::parse(&name_read).map_err(refused)? else {
        return Ok(None);
    };
    if !matches!(
        file.compression(),
        CompressionMethod::Stored | CompressionMethod::Deflated
    ) {
        return Err(ArchiveError::Unsupported { entry: shown(name) });
    }
    let mode = file.unix_mode().unwrap_or(0);
    let kind = match mode & KIND {
        0o120_000 => EntryKind::Symlink {
            target: target(file, name, &path)?,
        },
        _ if name_read.ends_with('/') => EntryKind::Directory,
        0o040_000 => EntryKind::Directory,
        0 | 0o100_000 => EntryKind::File {
            executable: mode & 0o100 != 0,
            bytes: file.size(),
        },
        _ => {
            return Err(ArchiveError::Kind {
                entry: shown(name),
                kind: "device, pipe or socket",
            });
        }
    };
    Ok(Some(Entry { path, kind }))
}

/// Reads the target of a link, which is the entry's content.
fn target<R: Read>(
    file: &mut ZipFile<'_, R>,
    name: &str,
    path: &EntryPath,
) -> Result<LinkTarget, ArchiveError> {
    let mut target = Vec::new();
    file.take(MAX_TARGET_BYTES + 1)
        .read_to_end(&mut target)
        .map_err(|source: io::Error| ArchiveError::Damaged {
            entry: shown(name),
            source,
        })?;
    str::from_utf8(&target)
        .map_err(|_| EntryPathError::NotUtf8)
        .and_then(|target| LinkTarget::parse(path, target))
        .map_err(|source| ArchiveError::Path {
            entry: shown(name),
            source,
        })
}
