//! The reader of `.zip` archives.

use std::io::{self, Read, Seek};

use packcast_protocol::ArchiveFormat;
use zip::read::ZipFile;
use zip::result::ZipError;
use zip::{CompressionMethod, System, ZipArchive};

use super::metered::Metered;
use super::{
    ArchiveError, Content, Duplicates, Entry, EntryKind, EntryMode, EntryPath, EntryPathError,
    Limits, LinkTarget, Summary, TreeError, WalkState, shown,
};

/// The length limit of a symbolic link's target, in bytes.
const MAX_TARGET_BYTES: u64 = 4096;

/// The size of an entry in the central directory, its name included.
///
/// It sets the limit for an archive with the most entries. Few honest archives have longer paths
/// on average.
const BYTES_PER_ENTRY: u64 = 192;

/// The smallest limit: enough to find the directory behind the longest comment.
const MIN_DIRECTORY_BYTES: u64 = 1 << 20;

/// The bits of a Unix mode with the kind of file.
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
    // The reader keeps only one of two entries with the same name, so `WalkState` would not see the
    // other.
    if archive.has_duplicate_names() {
        return Err(E::from(ArchiveError::Tree {
            entry: "(in the central directory)".to_owned(),
            source: TreeError::Twice,
        }));
    }
    archive
        .validate_header_consistency()
        .map_err(contradiction)?;
    let mut progress = WalkState::new(limits, Duplicates::Refused);
    progress.check_declared(archive.len())?;
    for index in 0..archive.len() {
        progress.count()?;
        let (name, is_path_guessed) = name(&archive, index)?;
        let mut file = archive
            .by_index(index)
            .map_err(|error| open_error(&name, error))?;
        if let Some(entry) = describe(&mut file, &name, is_path_guessed)? {
            progress.show(&name, &entry, &mut file, &mut visit)?;
        }
    }
    Ok(progress.summary)
}

/// Returns the limit of bytes read to find the entries, which are then held in memory.
fn directory_bytes(limits: &Limits) -> u64 {
    MIN_DIRECTORY_BYTES.max(limits.entries.saturating_mul(BYTES_PER_ENTRY))
}

fn unreadable(error: ZipError) -> ArchiveError {
    ArchiveError::Unreadable {
        format: ArchiveFormat::Zip,
        source: error.into(),
    }
}

/// Maps an error of the consistency check.
///
/// Some programs read the directory at the end, others the headers before each entry. Where they
/// disagree, an archive could pass one program and harm the other.
fn contradiction(error: ZipError) -> ArchiveError {
    match error {
        ZipError::Io(source) => unreadable(source.into()),
        other => ArchiveError::Contradiction {
            source: other.into(),
        },
    }
}

fn open_error(name: &str, error: ZipError) -> ArchiveError {
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

/// Returns the name of an entry, and `true` if its encoding is unknown.
fn name<R: Read + Seek>(
    archive: &ZipArchive<R>,
    index: usize,
) -> Result<(String, bool), ArchiveError> {
    let not_utf8 = || ArchiveError::Path {
        entry: format!("number {index}"),
        source: EntryPathError::NotUtf8,
    };
    let entry = archive.by_index_data(index).map_err(|_| not_utf8())?;
    // Some programs on Unix write UTF-8 without saying so.
    if let Ok(name) = str::from_utf8(entry.name_raw()) {
        return Ok((name.to_owned(), false));
    }
    // Without the mark for UTF-8, this decodes code page 437.
    let name = entry.name().map_err(|_| not_utf8())?;
    Ok((name.into_owned(), true))
}

/// Returns the entry, or `None` for the archive's folder itself.
///
/// Some programs on Windows write a backslash as the separator. In a path with a slash, and in one
/// from Unix, a backslash is part of a name. Info-ZIP has the same rule.
fn describe<R: Read>(
    file: &mut ZipFile<'_, R>,
    name: &str,
    is_path_guessed: bool,
) -> Result<Option<Entry>, ArchiveError> {
    let refused = |source| ArchiveError::Path {
        entry: shown(name),
        source,
    };
    let name_read = if is_unix(file) || name.contains('/') {
        name.to_owned()
    } else {
        name.replace('\\', "/")
    };
    let Some(path) = EntryPath::parse(&name_read).map_err(refused)? else {
        return Ok(None);
    };
    if !matches!(
        file.compression(),
        CompressionMethod::Stored | CompressionMethod::Deflated
    ) {
        return Err(ArchiveError::Unsupported { entry: shown(name) });
    }
    let (mode, rights) = unix_mode(file);
    let kind = match mode & KIND {
        0o120_000 => EntryKind::Symlink {
            target: target(file, name, &path)?,
        },
        0o040_000 => EntryKind::Directory {
            mode: rights.unwrap_or(EntryMode::FOLDER),
        },
        _ if name_read.ends_with('/') => EntryKind::Directory {
            mode: rights.unwrap_or(EntryMode::FOLDER),
        },
        // A program that packs its standard input may record a pipe or a terminal.
        _ => EntryKind::File {
            mode: rights.unwrap_or(EntryMode::FILE),
            bytes: file.size(),
        },
    };
    Ok(Some(Entry {
        path,
        is_path_guessed,
        kind,
    }))
}

fn is_unix<R: Read>(file: &ZipFile<'_, R>) -> bool {
    matches!(file.system(), System::Unix | System::OsDarwin)
}

/// Returns the kind of file, 0 if it is unknown, and the rights.
///
/// Only programs on Unix and macOS record rights. The others record attributes of Windows files.
fn unix_mode<R: Read>(file: &ZipFile<'_, R>) -> (u32, Option<EntryMode>) {
    match file.external_attributes() >> 16 {
        mode if is_unix(file) && mode != 0 => (mode, Some(EntryMode::from_bits(mode))),
        // Some programs on Windows record the kind of a link.
        mode => (mode, None),
    }
}

/// Reads the target of a link, which is the content of the entry.
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
