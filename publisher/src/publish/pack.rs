//! Packs a directory or a single file reproducibly.

mod exact;
mod list;

use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use packcast_protocol::ArchiveFormat;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use self::exact::ExactFile;
use self::list::{Item, ItemKind, ListError, list};
use crate::progress::{Progress, Work};

/// The length from which a zip archive needs larger fields, in bytes.
const LARGE_BYTES: u64 = u32::MAX as u64;

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
    #[error("cannot pack {}: expected a file, a folder or a symbolic link", path.display())]
    Kind { path: PathBuf },
    #[error("cannot pack {} as zip: its name or the target of its link is not UTF-8", path.display())]
    Name { path: PathBuf },
}

impl From<ListError> for PackError {
    fn from(error: ListError) -> Self {
        match error {
            ListError::Read { path, source } => Self::Read { path, source },
            ListError::Kind { path } => Self::Kind { path },
        }
    }
}

/// Packs a directory or a single file into a temporary file without a name.
///
/// The same content gives the same bytes: the entries are sorted, and have neither owners nor
/// times. `progress` advances by the bytes of the files.
pub(super) fn pack(
    path: &Path,
    format: ArchiveFormat,
    progress: &Progress,
) -> Result<File, PackError> {
    pack_in(&tempfile::env::temp_dir(), path, format, progress)
}

fn pack_in(
    folder: &Path,
    path: &Path,
    format: ArchiveFormat,
    progress: &Progress,
) -> Result<File, PackError> {
    let items = list(path)?;
    let total = items.iter().map(|item| match item.kind {
        ItemKind::File { bytes, .. } => bytes,
        ItemKind::Folder { .. } | ItemKind::Link { .. } => 0,
    });
    progress.begin(Work::Packing, total.sum());
    let file = tempfile::tempfile_in(folder).map_err(|source| PackError::Temporary {
        folder: folder.to_owned(),
        source,
    })?;
    let writer = BufWriter::with_capacity(256 << 10, file);
    let write = |source| PackError::Write {
        folder: folder.to_owned(),
        source,
    };
    let writer = match format {
        ArchiveFormat::TarGz => tar_gz(&items, writer, &write, progress)?,
        ArchiveFormat::Zip => zip(&items, writer, &write, progress)?,
    };
    let file = writer
        .into_inner()
        .map_err(|error| write(error.into_error()))?;
    progress.end();
    Ok(file)
}

/// Maps an error of the temporary file.
type OnWrite<'a> = &'a dyn Fn(io::Error) -> PackError;

fn tar_gz<W: Write>(
    items: &[Item],
    writer: W,
    write: OnWrite<'_>,
    progress: &Progress,
) -> Result<W, PackError> {
    let mut archive = tar::Builder::new(GzEncoder::new(writer, Compression::default()));
    for item in items {
        let mut header = tar::Header::new_gnu();
        header.set_mtime(0);
        header.set_size(0);
        match &item.kind {
            ItemKind::Folder { mode } => {
                header.set_mode(*mode);
                header.set_entry_type(tar::EntryType::Directory);
                archive
                    .append_data(&mut header, &item.name, io::empty())
                    .map_err(write)?;
            }
            ItemKind::Link { target } => {
                header.set_mode(0o755);
                header.set_entry_type(tar::EntryType::Symlink);
                archive
                    .append_link(&mut header, &item.name, target)
                    .map_err(write)?;
            }
            ItemKind::File { mode, .. } => {
                let mut file = ExactFile::open(&item.path, progress)?;
                header.set_mode(*mode);
                header.set_size(file.length());
                let appended = archive.append_data(&mut header, &item.name, &mut file);
                file.finish(appended.map_err(write))?;
            }
        }
    }
    let gzip = archive.into_inner().map_err(write)?;
    gzip.finish().map_err(write)
}

fn zip<W: Write + Seek>(
    items: &[Item],
    writer: W,
    write: OnWrite<'_>,
    progress: &Progress,
) -> Result<W, PackError> {
    let zip_error = |error: zip::result::ZipError| write(error.into());
    let mut archive = ZipWriter::new(writer);
    for item in items {
        let no_name = || PackError::Name {
            path: item.path.clone(),
        };
        // A zip has slashes on every system.
        let names: Option<Vec<&str>> = item.name.iter().map(|name| name.to_str()).collect();
        let name = names.ok_or_else(no_name)?.join("/");
        let options = SimpleFileOptions::default()
            .last_modified_time(zip::DateTime::default())
            .compression_method(CompressionMethod::Deflated);
        match &item.kind {
            ItemKind::Folder { mode } => archive
                .add_directory(name, options.unix_permissions(*mode))
                .map_err(zip_error)?,
            ItemKind::Link { target } => archive
                .add_symlink(name, target.to_str().ok_or_else(no_name)?, options)
                .map_err(zip_error)?,
            ItemKind::File { mode, .. } => {
                let mut file = ExactFile::open(&item.path, progress)?;
                let options = options
                    .unix_permissions(*mode)
                    .large_file(file.length() >= LARGE_BYTES);
                archive.start_file(name, options).map_err(zip_error)?;
                let copied = io::copy(&mut file, &mut archive);
                file.finish(copied.map(drop).map_err(write))?;
            }
        }
    }
    archive.finish().map_err(zip_error)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, SeekFrom};

    use packcast_archive::{ArchiveError, Content, Entry, EntryKind, Limits, walk};

    use super::*;
    use crate::rendered::messages;

    const FORMATS: [ArchiveFormat; 2] = [ArchiveFormat::TarGz, ArchiveFormat::Zip];

    fn packed(path: &Path, format: ArchiveFormat) -> Result<Vec<u8>, PackError> {
        let mut file = pack(path, format, &Progress::none())?;
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
    fn the_progress_covers_the_whole_directory() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            std::fs::write(folder.path().join(name), vec![7; 300_000]).unwrap();
        }
        let steps = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let seen = std::sync::Arc::clone(&steps);
        let progress = Progress::new(move |step| seen.lock().unwrap().push(step));
        pack(folder.path(), ArchiveFormat::TarGz, &progress).unwrap();
        let steps = steps.lock().unwrap();
        let (work, total) = (Work::Packing, 600_000);
        assert_eq!(steps.first(), Some(&crate::Step::Begin { work, total }));
        assert_eq!(steps.last(), Some(&crate::Step::End));
        let advanced = steps.iter().map(|step| match step {
            crate::Step::Advance(bytes) => *bytes,
            _ => 0,
        });
        assert_eq!(advanced.sum::<u64>(), total);
    }

    #[test]
    fn a_missing_folder_for_temporary_files_is_named() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("x"), "x").unwrap();
        let missing = place.path().join("missing");
        let format = ArchiveFormat::TarGz;
        let error = pack_in(&missing, place.path(), format, &Progress::none());
        let Err(PackError::Temporary { folder, .. }) = error else {
            panic!("{error:?}");
        };
        assert_eq!(folder, missing);
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
            PackError::Kind { path: path() },
            PackError::Name { path: path() },
        ];
        insta::assert_snapshot!(messages(errors), @r"
        cannot create a temporary archive in /tmp: set TMPDIR to a folder with free space
        cannot write a temporary archive in /tmp: set TMPDIR to a folder with free space
        cannot read /x
        cannot pack /x: expected 7 bytes, found more
        cannot pack /x: expected 7 bytes, found fewer
        cannot pack /x: expected a file, a folder or a symbolic link
        cannot pack /x as zip: its name or the target of its link is not UTF-8
        ");
    }
}
