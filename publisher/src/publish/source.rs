//! Sources of packages: an archive, or a directory or a file that is packed reproducibly.

mod reader;

use std::fs::{File, Metadata};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use packcast_protocol::ArchiveFormat;
use packcast_protocol::manifest::Platform;
use packcast_store::objects::StagingArea;

pub use self::reader::SourceReader;
use super::name_encoding::{NameEncoding, NameEncodingError};
use super::pack::{PackError, pack};
use super::staged::StagedFragments;
use crate::progress::Progress;

/// An open archive that can be read several times from its start.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    format: ArchiveFormat,
    file: Arc<File>,
    opened: FileState,
    /// The place for fragments that are written while the archive is read.
    pub(super) staging: Option<StagingArea>,
    pub(super) staged: OnceLock<StagedFragments>,
}

/// The facts of a file that change when somebody writes to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileState {
    bytes: u64,
    /// `None` on a system without this time.
    modified: Option<SystemTime>,
}

impl FileState {
    fn of(metadata: &Metadata) -> Self {
        Self {
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
        }
    }
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
    #[error("cannot publish {}: agents unpack only zip archives and gzip-compressed tar archives", path.display())]
    Format { path: PathBuf },
    #[error("cannot publish {}: --name-encoding is only for zip archives", path.display())]
    EncodingOfTar { path: PathBuf },
    #[error("cannot copy {} with paths in UTF-8", path.display())]
    Recode {
        path: PathBuf,
        source: NameEncodingError,
    },
    #[error(transparent)]
    Pack(#[from] PackError),
}

/// The ends of the names of archives that people expect to be unpacked, and that agents do not read.
const OTHER_ARCHIVES: [&str; 12] = [
    ".tar",
    ".tar.bz2",
    ".tbz2",
    ".tar.xz",
    ".txz",
    ".tar.zst",
    ".tzst",
    ".tar.lz",
    ".tar.lzma",
    ".tar.z",
    ".7z",
    ".rar",
];

impl Source {
    /// Opens an archive, or packs a directory or another file.
    ///
    /// OCS Windows agents read only zip archives, so a package for Windows is packed as zip.
    ///
    /// `encoding` is the encoding of the paths in a zip archive that does not name it. The archive is
    /// then copied with paths in UTF-8.
    pub fn open(
        path: &Path,
        platform: Platform,
        encoding: Option<NameEncoding>,
        progress: &Progress,
    ) -> Result<Self, SourceError> {
        let source = Self::open_as_it_is(path, platform, progress)?;
        match (encoding, source.format) {
            (None, _) => Ok(source),
            (Some(encoding), ArchiveFormat::Zip) => source.recoded(encoding),
            (Some(_), ArchiveFormat::TarGz) => Err(SourceError::EncodingOfTar {
                path: path.to_owned(),
            }),
        }
    }

    fn recoded(self, encoding: NameEncoding) -> Result<Self, SourceError> {
        let read = |source| SourceError::Read {
            path: self.path.clone(),
            source,
        };
        let file = encoding.recode(self.reader());
        let file = file.map_err(|source| SourceError::Recode {
            path: self.path.clone(),
            source,
        })?;
        Self::new(&self.path, self.format, file).map_err(read)
    }

    fn new(path: &Path, format: ArchiveFormat, file: File) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            format,
            opened: FileState::of(&file.metadata()?),
            file: Arc::new(file),
            staging: None,
            staged: OnceLock::new(),
        })
    }

    /// Lets [`inspect`](Self::inspect) write the fragments to `area`, which saves the publication a
    /// second pass over the archive.
    pub fn stage_in(&mut self, area: StagingArea) {
        self.staging = Some(area);
    }

    fn open_as_it_is(
        path: &Path,
        platform: Platform,
        progress: &Progress,
    ) -> Result<Self, SourceError> {
        let read = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => SourceError::Missing {
                path: path.to_owned(),
            },
            _ => SourceError::Read {
                path: path.to_owned(),
                source,
            },
        };
        let metadata = std::fs::metadata(path).map_err(read)?;
        if !metadata.is_file() {
            return Self::pack(path, platform, progress);
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
            _ if is_other_archive(path) => {
                return Err(SourceError::Format {
                    path: path.to_owned(),
                });
            }
            _ => return Self::pack(path, platform, progress),
        };
        Self::new(path, format, file).map_err(read)
    }

    /// Opens an archive in an unnamed file. `name` stands for its path in messages.
    pub(crate) fn of_archive(name: &str, mut file: File) -> Result<Self, SourceError> {
        let path = PathBuf::from(name);
        let read = |source| SourceError::Read {
            path: path.clone(),
            source,
        };
        file.seek(SeekFrom::Start(0)).map_err(read)?;
        let mut magic = Vec::new();
        file.by_ref()
            .take(4)
            .read_to_end(&mut magic)
            .map_err(read)?;
        let format = match magic.as_slice() {
            [] => return Err(SourceError::Empty { path }),
            [b'P', b'K', 3, 4] => ArchiveFormat::Zip,
            [0x1f, 0x8b, ..] => ArchiveFormat::TarGz,
            _ => return Err(SourceError::Format { path }),
        };
        Self::new(&path, format, file).map_err(read)
    }

    fn pack(path: &Path, platform: Platform, progress: &Progress) -> Result<Self, SourceError> {
        let format = match platform {
            Platform::Windows => ArchiveFormat::Zip,
            Platform::Any | Platform::Linux | Platform::Macos => ArchiveFormat::TarGz,
        };
        let file = pack(path, format, progress)?;
        Self::new(path, format, file).map_err(|source| SourceError::Read {
            path: path.to_owned(),
            source,
        })
    }

    /// Returns true if nobody has written to the file since it was opened.
    pub(super) fn is_unchanged(&self) -> io::Result<bool> {
        Ok(FileState::of(&self.file.metadata()?) == self.opened)
    }

    /// Returns the format of the archive.
    pub const fn format(&self) -> ArchiveFormat {
        self.format
    }

    /// Returns the length of the archive in bytes.
    pub const fn bytes(&self) -> u64 {
        self.opened.bytes
    }

    /// Returns the path of the source, which may be a directory, or a file that is not an archive.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns a reader from the start of the archive.
    pub fn reader(&self) -> SourceReader {
        SourceReader::new(Arc::clone(&self.file))
    }
}

fn is_other_archive(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.to_ascii_lowercase();
    OTHER_ARCHIVES.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path, platform: Platform) -> Result<Source, SourceError> {
        Source::open(path, platform, None, &Progress::none())
    }

    #[test]
    fn archives_that_agents_do_not_read_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty");
        std::fs::write(&empty, "").unwrap();
        assert!(matches!(
            open(&empty, Platform::Any),
            Err(SourceError::Empty { .. })
        ));
        for name in ["x.tar", "X.TAR.XZ", "x.7z", "x.tbz2"] {
            let path = folder.path().join(name);
            std::fs::write(&path, "x").unwrap();
            assert!(
                matches!(open(&path, Platform::Any), Err(SourceError::Format { .. })),
                "{name}"
            );
        }
        assert!(matches!(
            open(&folder.path().join("none"), Platform::Any),
            Err(SourceError::Missing { .. })
        ));
    }

    #[test]
    fn an_encoding_is_only_for_zip_archives() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("x"), "x").unwrap();
        let encoding = "shift_jis".parse().ok();
        let open = |platform| Source::open(folder.path(), platform, encoding, &Progress::none());
        assert!(matches!(
            open(Platform::Any),
            Err(SourceError::EncodingOfTar { .. })
        ));
        assert_eq!(
            open(Platform::Windows).unwrap().format(),
            ArchiveFormat::Zip
        );
    }

    #[test]
    fn files_and_directories_are_packed_for_the_platform() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("setup.msi");
        std::fs::write(&file, "msi").unwrap();
        for path in [folder.path(), &file] {
            for (platform, expected) in [
                (Platform::Windows, ArchiveFormat::Zip),
                (Platform::Linux, ArchiveFormat::TarGz),
                (Platform::Any, ArchiveFormat::TarGz),
            ] {
                let source = open(path, platform).unwrap();
                assert_eq!(source.format(), expected, "{platform:?}");
            }
        }
    }
}
