//! Sources of packages: an archive, or a directory that is packed reproducibly.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use packcast_protocol::ArchiveFormat;

use super::pack::{PackError, pack};

/// An open archive that can be read several times from its start.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    format: ArchiveFormat,
    bytes: u64,
    file: File,
}

/// Errors from opening a source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("cannot read {}: the file does not exist", path.display())]
    Missing { path: PathBuf },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot publish {}: the file is empty", path.display())]
    Empty { path: PathBuf },
    #[error("cannot publish {}: expected a directory, a zip archive or a gzip-compressed tar archive", path.display())]
    Format { path: PathBuf },
    #[error(transparent)]
    Pack(#[from] PackError),
}

impl Source {
    /// Opens an archive, or packs a directory.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let read = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => SourceError::Missing {
                path: path.to_owned(),
            },
            _ => SourceError::Read {
                path: path.to_owned(),
                source,
            },
        };
        if std::fs::metadata(path).map_err(read)?.is_dir() {
            // Only OCS Windows agents do not read `.tar.gz`, and `ocs_limits` warns of them.
            let file = pack(path)?;
            return Ok(Self {
                path: path.to_owned(),
                format: ArchiveFormat::TarGz,
                bytes: file.metadata().map_err(read)?.len(),
                file,
            });
        }
        let mut file = File::open(path).map_err(read)?;
        let bytes = file.metadata().map_err(read)?.len();
        if bytes == 0 {
            return Err(SourceError::Empty {
                path: path.to_owned(),
            });
        }
        let mut magic = [0; 4];
        let length = file.read(&mut magic).map_err(read)?;
        let format = match &magic[..length] {
            [b'P', b'K', 3, 4] => ArchiveFormat::Zip,
            [0x1f, 0x8b, ..] => ArchiveFormat::TarGz,
            _ => {
                return Err(SourceError::Format {
                    path: path.to_owned(),
                });
            }
        };
        Ok(Self {
            path: path.to_owned(),
            format,
            bytes,
            file,
        })
    }

    /// Returns the format of the archive.
    pub const fn format(&self) -> ArchiveFormat {
        self.format
    }

    /// Returns the length of the archive in bytes.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the path of the source, which may be a directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns a reader from the start of the archive. Only one reader can be in use at a time,
    /// because all readers share one position.
    pub fn reader(&self) -> io::Result<File> {
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(0))?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_not_archives_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("run.sh"), "exit 0\n").unwrap();
        let empty = folder.path().join("empty");
        std::fs::write(&empty, "").unwrap();
        assert!(matches!(
            Source::open(&empty),
            Err(SourceError::Empty { .. })
        ));
        assert!(matches!(
            Source::open(&folder.path().join("run.sh")),
            Err(SourceError::Format { .. })
        ));
        assert!(matches!(
            Source::open(&folder.path().join("none")),
            Err(SourceError::Missing { .. })
        ));
    }
}
