//! Reading `.tar.gz`.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use packcast_protocol::ArchiveFormat;
use tar::{Archive, EntryType};

use super::metered::Metered;
use super::{
    ArchiveError, Content, Entry, EntryKind, EntryPath, EntryPathError, Limits, LinkTarget,
    Progress, Summary, shown,
};

/// How much may lie between the contents of two files: long names and other headers, which
/// are read into memory, and the padding at the archive's end.
const MAX_BETWEEN_BYTES: u64 = 1 << 20;

pub(super) fn walk<R: Read, E: From<ArchiveError>>(
    reader: R,
    limits: &Limits,
    mut visit: impl FnMut(&Entry, &mut Content<'_>) -> Result<(), E>,
) -> Result<Summary, E> {
    let (reader, allowance) = Metered::new(MultiGzDecoder::new(reader));
    let mut archive = Archive::new(reader);
    let mut progress = Progress::new(limits);
    let entries = archive.entries().map_err(unreadable)?;
    allowance.limit(MAX_BETWEEN_BYTES);
    for entry in entries {
        let mut file = entry.map_err(unreadable)?;
        progress.count()?;
        let name = name(&file)?;
        if let Some(entry) = describe(&file, &name)? {
            allowance.lift();
            progress.show(&name, &entry, &mut file, &mut visit)?;
        }
        allowance.limit(MAX_BETWEEN_BYTES);
    }
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(unreadable)?;
    Ok(progress.summary)
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

/// Returns what the entry is; none if it stands for the archive's folder itself, or for
/// headers that apply to all.
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
    let kind = match kind {
        // Before there were entries for folders, a slash at the end told them.
        EntryType::Regular if name.ends_with('/') => EntryKind::Directory,
        EntryType::Regular | EntryType::Continuous => EntryKind::File {
            executable: file.header().mode().is_ok_and(|mode| mode & 0o100 != 0),
            bytes: file.size(),
        },
        EntryType::Directory => EntryKind::Directory,
        EntryType::Symlink => EntryKind::Symlink {
            target: target(file, &path).map_err(refused)?,
        },
        other => {
            return Err(ArchiveError::Kind {
                entry: shown(name),
                kind: unwanted(other),
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

const fn unwanted(kind: EntryType) -> &'static str {
    match kind {
        EntryType::Link => "hard link",
        EntryType::Char | EntryType::Block => "device",
        EntryType::Fifo => "named pipe",
        EntryType::GNUSparse => "sparse file",
        _ => "entry of an unknown kind",
    }
}
