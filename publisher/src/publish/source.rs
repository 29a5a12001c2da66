//! Sources of packages: an archive, or files that are packed reproducibly while they are inspected.

mod reader;

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use packcast_protocol::manifest::Platform;
use packcast_protocol::{ArchiveFormat, FragmentSize};
use packcast_store::objects::StagingArea;

pub use self::reader::SourceReader;
use super::file_state::FileState;
use super::name_encoding::{NameEncoding, NameEncodingError};
use super::pack::{Files, PackError};
use super::staged::StagedFragments;
use crate::progress::{Progress, Work};

/// An open archive that can be read several times from its start, or the files of a future archive.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    format: ArchiveFormat,
    content: Content,
    /// The place for fragments that are written while the archive is read.
    pub(super) staging: Option<StagingArea>,
    pub(super) staged: OnceLock<StagedFragments>,
}

#[derive(Debug)]
enum Content {
    Archive(OpenArchive),
    Files {
        files: Files,
        packed: OnceLock<OpenArchive>,
    },
}

/// The file of an archive.
#[derive(Debug)]
pub(crate) struct OpenArchive {
    file: Arc<File>,
    opened: FileState,
}

impl OpenArchive {
    fn new(file: File) -> io::Result<Self> {
        Ok(Self {
            opened: FileState::of(&file.metadata()?),
            file: Arc::new(file),
        })
    }

    /// Returns a reader from the start of the archive.
    pub(crate) fn reader(&self) -> SourceReader {
        SourceReader::new(Arc::clone(&self.file))
    }

    /// Returns the length of the archive in bytes.
    pub(super) const fn bytes(&self) -> u64 {
        self.opened.bytes
    }

    /// Returns true if nobody has written to the file since it was opened.
    pub(super) fn is_unchanged(&self) -> io::Result<bool> {
        Ok(FileState::of(&self.file.metadata()?) == self.opened)
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
    #[error("cannot publish {}: its name is that of a zip or tar.gz archive, but its content is not: download or copy the file again", path.display())]
    NoArchive { path: PathBuf },
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

/// The ends of the names of archives that agents read.
const ARCHIVES: [&str; 3] = [".zip", ".tar.gz", ".tgz"];

impl Source {
    /// Opens an archive, or lists the files of a directory or another file to pack them later.
    ///
    /// OCS Windows agents read only zip archives, so a package for Windows is packed as zip.
    ///
    /// `encoding` is the encoding of the paths in a zip archive that does not name it. The archive is
    /// then copied with paths in UTF-8.
    pub fn open(
        path: &Path,
        platform: Platform,
        encoding: Option<NameEncoding>,
    ) -> Result<Self, SourceError> {
        let source = Self::open_as_it_is(path, platform)?;
        match (encoding, source.format) {
            (None, _) => Ok(source),
            (Some(encoding), ArchiveFormat::Zip) => source.recoded(encoding),
            (Some(_), ArchiveFormat::TarGz) => Err(SourceError::EncodingOfTar {
                path: path.to_owned(),
            }),
        }
    }

    /// Returns the source with paths in UTF-8. The publisher packs files with such paths only.
    fn recoded(self, encoding: NameEncoding) -> Result<Self, SourceError> {
        let Content::Archive(archive) = &self.content else {
            return Ok(self);
        };
        let file = encoding.recode(archive.reader());
        let file = file.map_err(|source| SourceError::Recode {
            path: self.path.clone(),
            source,
        })?;
        Self::of_file(&self.path, self.format, file)
    }

    fn new(path: &Path, format: ArchiveFormat, content: Content) -> Self {
        Self {
            path: path.to_owned(),
            format,
            content,
            staging: None,
            staged: OnceLock::new(),
        }
    }

    fn of_file(path: &Path, format: ArchiveFormat, file: File) -> Result<Self, SourceError> {
        let archive = OpenArchive::new(file).map_err(|source| SourceError::Read {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self::new(path, format, Content::Archive(archive)))
    }

    /// Returns the source of files that are packed later. `path` stands for them in messages.
    pub(super) fn of_files(path: &Path, files: Files, platform: Platform) -> Self {
        let format = match platform {
            Platform::Windows => ArchiveFormat::Zip,
            Platform::Any | Platform::Linux | Platform::Macos => ArchiveFormat::TarGz,
        };
        let packed = OnceLock::new();
        Self::new(path, format, Content::Files { files, packed })
    }

    /// Lets [`inspect`](Self::inspect) write the fragments to `area`, which saves the publication a
    /// second pass over the archive.
    pub fn stage_in(&mut self, area: StagingArea) {
        self.staging = Some(area);
    }

    fn open_as_it_is(path: &Path, platform: Platform) -> Result<Self, SourceError> {
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
            return Ok(Self::of_files(path, Files::list(path)?, platform));
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
            // The second mark is that of an archive without entries.
            [b'P', b'K', 3, 4] | [b'P', b'K', 5, 6] => ArchiveFormat::Zip,
            [0x1f, 0x8b, ..] => ArchiveFormat::TarGz,
            _ if ends_with(path, &OTHER_ARCHIVES) => {
                return Err(SourceError::Format {
                    path: path.to_owned(),
                });
            }
            // Such as the error page of a web server.
            _ if ends_with(path, &ARCHIVES) => {
                return Err(SourceError::NoArchive {
                    path: path.to_owned(),
                });
            }
            _ => return Ok(Self::of_files(path, Files::list(path)?, platform)),
        };
        Self::of_file(path, format, file)
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
            [b'P', b'K', 3, 4] | [b'P', b'K', 5, 6] => ArchiveFormat::Zip,
            [0x1f, 0x8b, ..] => ArchiveFormat::TarGz,
            _ => return Err(SourceError::Format { path }),
        };
        Self::of_file(&path, format, file)
    }

    /// Returns the files, if they are not packed yet.
    pub(super) fn unpacked(&self) -> Option<&Files> {
        match &self.content {
            Content::Files { files, packed } if packed.get().is_none() => Some(files),
            Content::Files { .. } | Content::Archive(_) => None,
        }
    }

    /// Returns the archive, and packs the files first if necessary. `progress` advances by the bytes of
    /// the files.
    pub(crate) fn archive(&self, progress: &Progress) -> Result<&OpenArchive, PackError> {
        self.archive_for(self.automatic_size(), progress)
    }

    /// Returns the archive like [`archive`](Self::archive). Packing fails as soon as the archive has too
    /// many fragments of a `size`.
    pub(super) fn archive_for(
        &self,
        size: FragmentSize,
        progress: &Progress,
    ) -> Result<&OpenArchive, PackError> {
        match &self.content {
            Content::Archive(archive) => Ok(archive),
            Content::Files { files, packed } => match packed.get() {
                Some(archive) => Ok(archive),
                None => self.keep(packed, files.pack(self.format, size, progress)?),
            },
        }
    }

    /// Keeps the archive of files that were packed elsewhere.
    pub(super) fn keep_packed(&self, file: File) -> Result<(), PackError> {
        if let Content::Files { packed, .. } = &self.content {
            self.keep(packed, file)?;
        }
        Ok(())
    }

    fn keep<'a>(
        &self,
        packed: &'a OnceLock<OpenArchive>,
        file: File,
    ) -> Result<&'a OpenArchive, PackError> {
        let archive = OpenArchive::new(file).map_err(|source| PackError::Read {
            path: self.path.clone(),
            source,
        })?;
        Ok(packed.get_or_init(|| archive))
    }

    /// Returns the format of the archive.
    pub const fn format(&self) -> ArchiveFormat {
        self.format
    }

    /// Returns the length of the archive in bytes. Before files are packed, this is their length.
    pub fn bytes(&self) -> u64 {
        match &self.content {
            Content::Archive(archive) => archive.bytes(),
            Content::Files { files, packed } => {
                let archive = packed.get().map(OpenArchive::bytes);
                archive.unwrap_or_else(|| files.bytes())
            }
        }
    }

    /// Returns the size of fragments if nobody chooses one.
    ///
    /// It follows from the length of the archive, or from that of the files, because the fragments are
    /// written while files are packed. So a packed archive has at most as many fragments as an archive
    /// of the same length, and fewer if its files deflate well. OCS agents fetch one fragment in each
    /// cycle, so fewer are no harm.
    pub(super) fn automatic_size(&self) -> FragmentSize {
        FragmentSize::auto(match &self.content {
            Content::Archive(archive) => archive.bytes(),
            Content::Files { files, .. } => files.bytes(),
        })
    }

    /// Returns the work of an inspection, and its length in bytes.
    pub(super) fn work(&self) -> (Work, u64) {
        match self.unpacked() {
            Some(files) => (Work::Packing, files.bytes()),
            None => (Work::Checking, self.bytes()),
        }
    }

    /// Returns the path of the source, which may be a directory, or a file that is not an archive.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn ends_with(path: &Path, ends: &[&str]) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.to_ascii_lowercase();
    ends.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path, platform: Platform) -> Result<Source, SourceError> {
        Source::open(path, platform, None)
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
    fn a_file_with_the_name_of_an_archive_and_other_content_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["setup.zip", "SETUP.ZIP", "setup.tar.gz", "setup.tgz"] {
            let path = folder.path().join(name);
            std::fs::write(&path, "<html>not found</html>").unwrap();
            let error = open(&path, Platform::Any).unwrap_err();
            assert!(matches!(error, SourceError::NoArchive { .. }), "{error}");
            std::fs::write(&path, b"PK\x03\x04").unwrap();
            open(&path, Platform::Any).unwrap();
        }
        let path = "setup.zip".into();
        insta::assert_snapshot!(SourceError::NoArchive { path }, @"cannot publish setup.zip: its name is that of a zip or tar.gz archive, but its content is not: download or copy the file again");
    }

    #[test]
    fn an_encoding_is_only_for_zip_archives() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("x"), "x").unwrap();
        let encoding = "shift_jis".parse().ok();
        let open = |platform| Source::open(folder.path(), platform, encoding);
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
