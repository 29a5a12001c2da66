//! Packs a directory reproducibly.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

/// Errors from packing a directory.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    #[error("cannot pack {} into a temporary archive", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot pack {}: expected a file, a folder or a symbolic link", path.display())]
    Kind { path: PathBuf },
}

/// Packs a directory as `.tar.gz` into a temporary file without a name.
///
/// The same content gives the same bytes: the entries are sorted, and have neither owners nor
/// times.
pub(super) fn pack(path: &Path) -> Result<File, PackError> {
    let io = |source| PackError::Write {
        path: path.to_owned(),
        source,
    };
    let file = tempfile::tempfile().map_err(io)?;
    let gzip = GzEncoder::new(
        io::BufWriter::with_capacity(256 << 10, file),
        Compression::default(),
    );
    let mut archive = tar::Builder::new(gzip);
    append(&mut archive, path, Path::new("")).map_err(|error| match error {
        AppendError::Io(source) => io(source),
        AppendError::Kind(path) => PackError::Kind { path },
    })?;
    let mut writer = archive
        .into_inner()
        .and_then(GzEncoder::finish)
        .map_err(io)?;
    writer.flush().map_err(io)?;
    writer.into_inner().map_err(|error| io(error.into_error()))
}

enum AppendError {
    Io(io::Error),
    Kind(PathBuf),
}

impl From<io::Error> for AppendError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn append<W: io::Write>(
    archive: &mut tar::Builder<W>,
    folder: &Path,
    inside: &Path,
) -> Result<(), AppendError> {
    let mut entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), inside.join(entry.file_name()));
        let metadata = entry.metadata()?;
        let mut header = tar::Header::new_gnu();
        header.set_mtime(0);
        // Only the executable bit of the mode is kept, so that the umask changes nothing.
        header.set_mode(if metadata.is_dir() || is_executable(&metadata) {
            0o755
        } else {
            0o644
        });
        if metadata.is_dir() {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_size(0);
            archive.append_data(&mut header, &name, io::empty())?;
            append(archive, &path, &name)?;
        } else if metadata.is_symlink() {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            archive.append_link(&mut header, &name, std::fs::read_link(&path)?)?;
        } else if metadata.is_file() {
            header.set_size(metadata.len());
            archive.append_data(&mut header, &name, File::open(&path)?)?;
        } else {
            return Err(AppendError::Kind(path));
        }
    }
    Ok(())
}

#[cfg(unix)]
fn is_executable(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;

    metadata.permissions().mode() & 0o100 != 0
}

#[cfg(not(unix))]
fn is_executable(_metadata: &std::fs::Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _};

    use super::*;
    use crate::rendered::messages;

    #[test]
    fn the_same_directory_packs_to_the_same_bytes() {
        let packed = || {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir(folder.path().join("data")).unwrap();
            std::fs::write(folder.path().join("run.sh"), "exit 0\n").unwrap();
            std::fs::write(folder.path().join("data/a b"), "x").unwrap();
            let mut file = pack(folder.path()).unwrap();
            file.rewind().unwrap();
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).unwrap();
            bytes
        };
        assert_eq!(packed(), packed());
    }

    #[test]
    fn messages_of_pack_errors() {
        let path = || PathBuf::from("/x");
        let errors = [
            PackError::Write {
                path: path(),
                source: io::Error::other("cause"),
            },
            PackError::Kind { path: path() },
        ];
        insta::assert_snapshot!(messages(errors), @r"
        cannot pack /x into a temporary archive
        cannot pack /x: expected a file, a folder or a symbolic link
        ");
    }
}
