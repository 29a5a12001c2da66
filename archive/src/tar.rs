//! The reader of `.tar.gz` archives.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use packcast_protocol::ArchiveFormat;
use tar::{Archive, EntryType};

use super::metered::Metered;
use super::{
    ArchiveError, Content, Entry, EntryKind, EntryMode, EntryPath, EntryPathError, Limits,
    LinkTarget, Summary, WalkState, shown,
};

/// The limit of bytes between the contents of two files.
///
/// These are long names and other headers, which are read into memory, and the padding at the
/// archive's end.
const MAX_BETWEEN_BYTES: u64 = 1 << 20;

const SPARSE: &str = "sparse file";

pub(super) fn walk<R: Read, E: From<ArchiveError>>(
    reader: R,
    limits: &Limits,
    mut visit: impl FnMut(&Entry, &mut Content<'_>) -> Result<(), E>,
) -> Result<Summary, E> {
    let (reader, allowance) = Metered::new(MultiGzDecoder::new(reader));
    let mut archive = Archive::new(reader);
    let mut progress = WalkState::new(limits);
    let entries = archive.entries().map_err(unreadable)?;
    allowance.limit(MAX_BETWEEN_BYTES);
    for entry in entries {
        let mut file = entry.map_err(unreadable)?;
        progress.count()?;
        let name = name(&file)?;
        check_extensions(&mut file, &name)?;
        if let Some(entry) = describe(&file, &name)? {
            // The content itself is counted against `limits`, not against the allowance.
            allowance.lift();
            progress.show(&name, &entry, &mut file, &mut visit)?;
        }
        allowance.limit(MAX_BETWEEN_BYTES);
    }
    check_end(archive.into_inner())?;
    Ok(progress.summary)
}

/// Reads the padding after the last entry, up to the checksum at the end of the stream.
fn check_end(mut rest: impl Read) -> Result<(), ArchiveError> {
    let mut buffer = [0; 4 << 10];
    loop {
        match rest.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) if buffer[..read].iter().all(|byte| *byte == 0) => {}
            Ok(_) => return Err(ArchiveError::GoesOn),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(error)),
        }
    }
}

/// Checks the extended header of an entry, of which the reader knows only the common keys.
///
/// Of a duplicate key, some programs take the first value and others the last.
fn check_extensions<R: Read>(file: &mut tar::Entry<'_, R>, name: &str) -> Result<(), ArchiveError> {
    let Some(extensions) = file.pax_extensions().map_err(unreadable)? else {
        return Ok(());
    };
    let (mut paths, mut targets, mut sizes) = (0, 0, 0);
    // Binary values, such as attributes, may look like invalid records, so these are skipped.
    for extension in extensions.flatten() {
        match extension.key_bytes() {
            b"path" => paths += 1,
            b"linkpath" => targets += 1,
            b"size" => sizes += 1,
            key if key.starts_with(b"GNU.sparse.") => {
                return Err(ArchiveError::Kind {
                    entry: shown(name),
                    kind: SPARSE,
                });
            }
            _ => {}
        }
    }
    let is_global = file.header().entry_type() == EntryType::XGlobalHeader;
    let allowed = i32::from(!is_global);
    if [paths, targets, sizes].iter().any(|count| *count > allowed) {
        let reason = "an extended header gives a path or a size more than once, or to all entries";
        return Err(ArchiveError::Contradiction {
            source: io::Error::other(reason),
        });
    }
    Ok(())
}

fn unreadable(source: io::Error) -> ArchiveError {
    ArchiveError::Unreadable {
        format: ArchiveFormat::TarGz,
        source,
    }
}

fn name<R: Read>(file: &tar::Entry<'_, R>) -> Result<String, ArchiveError> {
    let bytes = file.path_bytes();
    String::from_utf8(bytes.into_owned()).map_err(|error| ArchiveError::Path {
        entry: shown(&String::from_utf8_lossy(error.as_bytes())),
        source: EntryPathError::NotUtf8,
    })
}

/// Returns the entry.
///
/// Returns `None` for the archive's folder itself, and for headers that apply to all entries.
fn describe<R: Read>(file: &tar::Entry<'_, R>, name: &str) -> Result<Option<Entry>, ArchiveError> {
    let refused = |source| ArchiveError::Path {
        entry: shown(name),
        source,
    };
    let kind = file.header().entry_type();
    if kind == EntryType::XGlobalHeader {
        return Ok(None);
    }
    let Some(path) = EntryPath::parse(name).map_err(refused)? else {
        return Ok(None);
    };
    let mode = EntryMode::from_bits(file.header().mode().map_err(unreadable)?);
    let kind = match kind {
        // Old archives have no entries for folders, only a slash at the end of the name.
        EntryType::Regular if name.ends_with('/') => EntryKind::Directory { mode },
        EntryType::Regular | EntryType::Continuous => EntryKind::File {
            mode,
            bytes: file.size(),
        },
        EntryType::Directory => EntryKind::Directory { mode },
        EntryType::Symlink => EntryKind::Symlink {
            target: target(file, &path).map_err(refused)?,
        },
        other => {
            return Err(ArchiveError::Kind {
                entry: shown(name),
                kind: unsupported_kind(other),
            });
        }
    };
    Ok(Some(Entry { path, kind }))
}

fn target<R: Read>(
    file: &tar::Entry<'_, R>,
    path: &EntryPath,
) -> Result<LinkTarget, EntryPathError> {
    let target = file.link_name_bytes().unwrap_or_default();
    let target = str::from_utf8(&target).map_err(|_| EntryPathError::NotUtf8)?;
    LinkTarget::parse(path, target)
}

const fn unsupported_kind(kind: EntryType) -> &'static str {
    match kind {
        EntryType::Link => "hard link (tar has --hard-dereference to pack the file instead)",
        EntryType::Char | EntryType::Block => "device",
        EntryType::Fifo => "named pipe",
        EntryType::GNUSparse => SPARSE,
        _ => "entry of an unknown kind",
    }
}
