//! Packs a directory or a single file reproducibly.

mod deflate;
mod exact;
mod limited;
mod list;
mod tar_gz;
mod zip;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use packcast_protocol::fragment::MAX_FRAGMENTS;
use packcast_protocol::{ArchiveFormat, FragmentSize};

use self::limited::Limited;
use self::list::{Item, ItemKind, ListError, list};
use self::tar_gz::tar_gz;
use self::zip::zip;
use crate::progress::Progress;

/// Errors from packing a directory or a file.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    #[error("cannot create a temporary archive in {}: set TMPDIR to a folder with free space", folder.display())]
    Temporary { folder: PathBuf, source: io::Error },
    #[error("cannot write a temporary archive in {}: set TMPDIR to a folder with free space", folder.display())]
    Write { folder: PathBuf, source: io::Error },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot pack {}: expected {expected} bytes, found {}", path.display(), if *is_longer { "more" } else { "fewer" })]
    Changed {
        path: PathBuf,
        expected: u64,
        is_longer: bool,
    },
    #[error("cannot pack {}: the file changed while it was read", path.display())]
    Written { path: PathBuf },
    #[error("cannot pack {}: expected a file, a folder or a symbolic link", path.display())]
    Kind { path: PathBuf },
    #[error("cannot pack {} as zip: its name or the target of its link is not UTF-8", path.display())]
    Name { path: PathBuf },
    #[error(
        "cannot pack the files: the archive has more than {MAX_FRAGMENTS} fragments of {size} bytes: choose a larger fragment size"
    )]
    TooManyFragments { size: u64 },
    #[error("cannot deflate the files: pack them with another program, and publish that archive")]
    Deflate { source: io::Error },
}

/// The number of bytes that one byte of a deflated stream can stand for: its shortest code for 258 bytes
/// has two bits.
const MOST_INFLATED: u64 = 4 * 258;

impl From<ListError> for PackError {
    fn from(error: ListError) -> Self {
        match error {
            ListError::Read { path, source } => Self::Read { path, source },
            ListError::Kind { path } => Self::Kind { path },
        }
    }
}

/// The files of a future archive.
///
/// The same content gives the same bytes: the entries are sorted, and have neither owners nor times.
#[derive(Debug)]
pub(super) struct Files(Vec<Item>);

impl Files {
    /// Lists a directory, or a single file.
    pub(super) fn list(path: &Path) -> Result<Self, PackError> {
        Ok(Self(list(path)?))
    }

    /// Lists programs, each with its path in the archive, in the order of these paths.
    pub(super) fn programs(programs: &[(String, &Path)]) -> Result<Self, PackError> {
        let mut items = Vec::new();
        for (name, path) in programs {
            items.extend(list::program(path, Path::new(name))?);
        }
        Ok(Self(items))
    }

    /// Returns the length of all files in bytes.
    pub(super) fn bytes(&self) -> u64 {
        let lengths = self.0.iter().map(|item| match item.kind {
            ItemKind::File { state, .. } => state.bytes,
            ItemKind::Folder { .. } | ItemKind::Link { .. } => 0,
        });
        lengths.fold(0, u64::saturating_add)
    }

    /// Returns an error if the archive is certain to have too many fragments.
    pub(super) fn check_length(&self, size: FragmentSize) -> Result<(), PackError> {
        if self.bytes() / MOST_INFLATED > size.longest_archive() {
            let size = size.get();
            return Err(PackError::TooManyFragments { size });
        }
        Ok(())
    }

    /// Packs the files into a temporary file. `progress` advances by the bytes of the files.
    ///
    /// # Errors
    /// The function fails as soon as the archive has too many fragments of a `size`.
    pub(super) fn pack(
        &self,
        format: ArchiveFormat,
        size: FragmentSize,
        progress: &Progress,
    ) -> Result<File, PackError> {
        self.check_length(size)?;
        let temporary = Temporary::create()?;
        let writer = BufWriter::with_capacity(256 << 10, &temporary.file);
        let writer = Limited::new(writer, size);
        let write = |source| temporary.write_error(source);
        let writer = match format {
            ArchiveFormat::TarGz => tar_gz(&self.0, writer, &write, progress)?,
            ArchiveFormat::Zip => zip(&self.0, writer, &write, progress)?,
        };
        let flushed = writer.into_inner().into_inner();
        flushed.map_err(|error| write(error.into_error()))?;
        Ok(temporary.file)
    }

    /// Packs the files as `.tar.gz` into a writer that writes to the temporary file.
    ///
    /// # Errors
    /// The function fails as soon as the archive has too many fragments of a `size`.
    pub(super) fn tar_gz<W: Write>(
        &self,
        writer: W,
        size: FragmentSize,
        temporary: &Temporary,
        progress: &Progress,
    ) -> Result<W, PackError> {
        self.check_length(size)?;
        let write = |source| temporary.write_error(source);
        let writer = tar_gz(&self.0, Limited::new(writer, size), &write, progress)?;
        Ok(writer.into_inner())
    }
}

/// A temporary file without a name.
#[derive(Debug)]
pub(super) struct Temporary {
    pub(super) file: File,
    folder: PathBuf,
}

impl Temporary {
    pub(super) fn create() -> Result<Self, PackError> {
        Self::create_in(tempfile::env::temp_dir())
    }

    fn create_in(folder: PathBuf) -> Result<Self, PackError> {
        match tempfile::tempfile_in(&folder) {
            Ok(file) => Ok(Self { file, folder }),
            Err(source) => Err(PackError::Temporary { folder, source }),
        }
    }

    /// Returns the error of packing inside an error of a writer. Any other is one of the file.
    pub(super) fn write_error(&self, source: io::Error) -> PackError {
        source.downcast().unwrap_or_else(|source| PackError::Write {
            folder: self.folder.clone(),
            source,
        })
    }
}

/// Maps an error of the temporary file.
type OnWrite<'a> = &'a dyn Fn(io::Error) -> PackError;

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _, SeekFrom};

    use packcast_archive::{ArchiveError, Content, Entry, EntryKind, Limits, walk};

    use super::*;
    use crate::rendered::messages;

    const FORMATS: [ArchiveFormat; 2] = [ArchiveFormat::TarGz, ArchiveFormat::Zip];

    fn packed(path: &Path, format: ArchiveFormat) -> Result<Vec<u8>, PackError> {
        let size = FragmentSize::auto(0);
        let mut file = Files::list(path)?.pack(format, size, &Progress::none())?;
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        Ok(bytes)
    }

    fn entries(path: &Path, format: ArchiveFormat) -> Vec<String> {
        let mut entries = Vec::new();
        let bytes = packed(path, format).unwrap();
        let visit = |entry: &Entry, _: &mut Content<'_>| {
            let kind = match &entry.kind {
                EntryKind::File { mode, bytes } => format!("{:o} {bytes}", mode.bits()),
                EntryKind::Directory { mode } => format!("{:o}", mode.bits()),
                EntryKind::Symlink { target } => target.as_str().to_owned(),
                EntryKind::HardLink { target } => target.to_string(),
            };
            entries.push(format!("{}: {kind}", entry.path));
            Ok::<_, ArchiveError>(())
        };
        walk(format, io::Cursor::new(bytes), &Limits::default(), visit).unwrap();
        entries
    }

    #[test]
    fn the_same_directory_packs_to_the_same_bytes() {
        let packed = |format| {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir(folder.path().join("data")).unwrap();
            std::fs::write(folder.path().join("run.sh"), "exit 0\n").unwrap();
            std::fs::write(folder.path().join("data/a b"), "x").unwrap();
            packed(folder.path(), format).unwrap()
        };
        for format in FORMATS {
            assert_eq!(packed(format), packed(format));
        }
    }

    #[cfg(unix)]
    #[test]
    fn no_mode_becomes_wider() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};

        let folder = tempfile::tempdir().unwrap();
        let files = [
            ("key", 0o600),
            ("shared", 0o666),
            ("run", 0o750),
            ("plain", 0o664),
        ];
        std::fs::create_dir(folder.path().join("private")).unwrap();
        symlink("run", folder.path().join("link")).unwrap();
        for (name, mode) in files.into_iter().chain([("private", 0o700)]) {
            let path = folder.path().join(name);
            if mode != 0o700 {
                std::fs::write(&path, name).unwrap();
            }
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        for format in FORMATS {
            assert_eq!(
                entries(folder.path(), format),
                [
                    "key: 600 3",
                    "link: run",
                    "plain: 644 5",
                    "private: 700",
                    "run: 750 3",
                    "shared: 644 6"
                ],
                "{format}"
            );
        }
    }

    #[test]
    fn a_single_file_is_packed_under_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("setup.msi");
        std::fs::write(&path, "msi").unwrap();
        for format in FORMATS {
            let found = entries(&path, format);
            assert_eq!(found, ["setup.msi: 644 3"], "{format}");
        }
    }

    #[test]
    fn a_missing_folder_for_temporary_files_is_named() {
        let place = tempfile::tempdir().unwrap();
        let missing = place.path().join("missing");
        let error = Temporary::create_in(missing.clone());
        let Err(PackError::Temporary { folder, .. }) = error else {
            panic!("{error:?}");
        };
        assert_eq!(folder, missing);
    }

    #[test]
    fn only_errors_of_the_temporary_file_name_its_folder() {
        let temporary = Temporary::create().unwrap();
        let full = temporary.write_error(io::ErrorKind::StorageFull.into());
        assert!(matches!(full, PackError::Write { folder, .. } if folder == temporary.folder));
        let inner = io::Error::other(PackError::TooManyFragments { size: 1024 });
        let inner = temporary.write_error(inner);
        assert!(matches!(inner, PackError::TooManyFragments { size: 1024 }));
    }

    #[cfg(unix)]
    #[test]
    fn an_error_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        for format in FORMATS {
            for source in [folder.path(), &path] {
                let error = packed(source, format).unwrap_err();
                assert!(matches!(error, PackError::Kind { path: found } if found == path));
            }
        }
    }

    #[test]
    fn messages_of_pack_errors() {
        let path = || PathBuf::from("/x");
        let errors = [
            PackError::Temporary {
                folder: "/tmp".into(),
                source: io::Error::other("cause"),
            },
            PackError::Write {
                folder: "/tmp".into(),
                source: io::Error::other("cause"),
            },
            PackError::Read {
                path: path(),
                source: io::Error::other("cause"),
            },
            PackError::Changed {
                path: path(),
                expected: 7,
                is_longer: true,
            },
            PackError::Changed {
                path: path(),
                expected: 7,
                is_longer: false,
            },
            PackError::Written { path: path() },
            PackError::Kind { path: path() },
            PackError::Name { path: path() },
            PackError::TooManyFragments { size: 1024 },
            PackError::Deflate {
                source: io::Error::other("cause"),
            },
        ];
        insta::assert_snapshot!(messages(errors), @r"
        cannot create a temporary archive in /tmp: set TMPDIR to a folder with free space
        cannot write a temporary archive in /tmp: set TMPDIR to a folder with free space
        cannot read /x
        cannot pack /x: expected 7 bytes, found more
        cannot pack /x: expected 7 bytes, found fewer
        cannot pack /x: the file changed while it was read
        cannot pack /x: expected a file, a folder or a symbolic link
        cannot pack /x as zip: its name or the target of its link is not UTF-8
        cannot pack the files: the archive has more than 50000 fragments of 1024 bytes: choose a larger fragment size
        cannot deflate the files: pack them with another program, and publish that archive
        ");
    }
}
