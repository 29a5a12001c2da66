//! The reader of `.tar.gz` archives.

use std::borrow::Cow;
use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use packcast_protocol::ArchiveFormat;
use tar::{Archive, EntryType};

use super::metered::Metered;
use super::sparse::SparseHeader;
use super::{
    ArchiveError, Content, Duplicates, Entry, EntryKind, EntryMode, EntryPath, EntryPathError,
    Limits, LinkTarget, Summary, WalkState, shown,
};

/// The limit of bytes between the contents of two files.
///
/// These are long names and other headers, which are read into memory, and the padding at the
/// archive's end.
const MAX_BETWEEN_BYTES: u64 = 1 << 20;

/// A folder with a list of its files, as GNU tar writes with `--listed-incremental`.
const INCREMENTAL_FOLDER: u8 = b'D';

/// The size of a header.
const BLOCK_BYTES: u64 = 512;

/// The position of the kind of an entry in its header.
const KIND_AT: usize = 156;

/// The label of a volume, as GNU tar writes with `--label`.
const VOLUME_LABEL: u8 = b'V';

/// The rest of a file, as GNU tar writes with `--multi-volume`.
const CONTINUED_FILE: u8 = b'M';

pub(super) fn walk<R: Read, E: From<ArchiveError>>(
    reader: R,
    limits: &Limits,
    mut visit: impl FnMut(&Entry, &mut Content<'_>) -> Result<(), E>,
) -> Result<Summary, E> {
    let (reader, allowance) = Metered::new(MultiGzDecoder::new(reader));
    let mut archive = Archive::new(without_label(reader)?);
    let mut progress = WalkState::new(limits, Duplicates::Replaced);
    let entries = archive.entries().map_err(unreadable)?;
    allowance.limit(MAX_BETWEEN_BYTES);
    for entry in entries {
        let mut file = entry.map_err(unreadable)?;
        progress.count()?;
        let sparse = check_extensions(&mut file)?;
        let name = name(&file, &sparse)?;
        if let Some(mut entry) = describe(&file, &name)? {
            // The content itself is counted against `limits`, not against the allowance.
            allowance.lift();
            if let EntryKind::File { bytes, .. } = &mut entry.kind
                && sparse.is_sparse()
            {
                let damaged = |source| ArchiveError::Damaged {
                    entry: shown(&name),
                    source,
                };
                *bytes = sparse.bytes().map_err(damaged)?;
                let mut content = sparse.reader(&mut file).map_err(damaged)?;
                progress.show(&name, &entry, &mut content, &mut visit)?;
            } else {
                progress.show(&name, &entry, &mut file, &mut visit)?;
            }
        }
        allowance.limit(MAX_BETWEEN_BYTES);
    }
    check_end(archive.into_inner())?;
    Ok(progress.summary)
}

/// Skips the label of the volume at the start, which has no valid size.
fn without_label<R: Read>(mut reader: R) -> Result<impl Read, ArchiveError> {
    let mut block = Vec::new();
    reader
        .by_ref()
        .take(BLOCK_BYTES)
        .read_to_end(&mut block)
        .map_err(unreadable)?;
    if block.get(KIND_AT) == Some(&VOLUME_LABEL) {
        block.clear();
    }
    Ok(io::Cursor::new(block).chain(reader))
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
///
/// Returns the description of a sparse file in the header.
fn check_extensions<R: Read>(file: &mut tar::Entry<'_, R>) -> Result<SparseHeader, ArchiveError> {
    let mut sparse = SparseHeader::default();
    let Some(extensions) = file.pax_extensions().map_err(unreadable)? else {
        return Ok(sparse);
    };
    let (mut paths, mut targets, mut sizes) = (0, 0, 0);
    // Binary values, such as attributes, may look like invalid records, so these are skipped.
    for extension in extensions.flatten() {
        match extension.key_bytes() {
            b"path" => paths += 1,
            b"linkpath" => targets += 1,
            b"size" => sizes += 1,
            key => sparse
                .add(key, extension.value_bytes())
                .map_err(unreadable)?,
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
    Ok(sparse)
}

fn unreadable(source: io::Error) -> ArchiveError {
    ArchiveError::Unreadable {
        format: ArchiveFormat::TarGz,
        source,
    }
}

fn name<R: Read>(file: &tar::Entry<'_, R>, sparse: &SparseHeader) -> Result<String, ArchiveError> {
    let bytes = sparse
        .name()
        .map_or_else(|| file.path_bytes(), Cow::Borrowed);
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
    // A few programs write no mode.
    let mode = file.header().mode().map(EntryMode::from_bits);
    let folder = EntryKind::Directory {
        mode: *mode.as_ref().unwrap_or(&EntryMode::FOLDER),
    };
    let kind = match kind {
        // Old archives have no entries for folders, only a slash at the end of the name.
        EntryType::Regular if name.ends_with('/') => folder,
        EntryType::Directory => folder,
        other if other.as_byte() == INCREMENTAL_FOLDER => folder,
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => EntryKind::File {
            mode: mode.unwrap_or(EntryMode::FILE),
            bytes: file.size(),
        },
        EntryType::Symlink => EntryKind::Symlink {
            target: target(file, &path).map_err(refused)?,
        },
        EntryType::Link => EntryKind::HardLink {
            target: linked_file(file).map_err(refused)?,
        },
        other => {
            return Err(ArchiveError::Kind {
                entry: shown(name),
                kind: unsupported_kind(other),
            });
        }
    };
    Ok(Some(Entry {
        path,
        is_path_guessed: false,
        kind,
    }))
}

fn target<R: Read>(
    file: &tar::Entry<'_, R>,
    path: &EntryPath,
) -> Result<LinkTarget, EntryPathError> {
    let target = file.link_name_bytes().unwrap_or_default();
    let target = str::from_utf8(&target).map_err(|_| EntryPathError::NotUtf8)?;
    LinkTarget::parse(path, target)
}

/// Returns the earlier file that a hard link names.
fn linked_file<R: Read>(file: &tar::Entry<'_, R>) -> Result<EntryPath, EntryPathError> {
    let target = file.link_name_bytes().unwrap_or_default();
    let target = str::from_utf8(&target).map_err(|_| EntryPathError::NotUtf8)?;
    EntryPath::parse(target)?.ok_or(EntryPathError::Empty)
}

fn unsupported_kind(kind: EntryType) -> &'static str {
    match kind {
        other if other.as_byte() == CONTINUED_FILE => {
            "part of a file that begins in another volume"
        }
        EntryType::Char | EntryType::Block => "device",
        EntryType::Fifo => "named pipe",
        _ => "entry of an unknown kind",
    }
}
