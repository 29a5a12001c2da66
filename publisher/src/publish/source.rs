//! What is published: an archive as it is, or a directory packed reproducibly.

use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use flate2::Compression;
use flate2::write::GzEncoder;
use md5::Md5;
use packcast_agent::archive::{
    ArchiveError, Content, Entry, EntryKind, Limits, NameCheck, NameError, System, walk,
};
use packcast_protocol::archive::ArchiveError as DescribeError;
use packcast_protocol::fragment::{self, FragmentSizeError};
use packcast_protocol::info::InfoArchive;
use packcast_protocol::manifest::Platform;
use packcast_protocol::{Archive, ArchiveFormat, FragmentSize, Md5Digest, Sha256Digest};
use packcast_rollout::record::ArchiveRecord;
use sha2::{Digest as _, Sha256};

/// An archive that is open and can be read again from its start.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    format: ArchiveFormat,
    bytes: u64,
    file: File,
}

/// Why a source cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("{} does not exist", path.display())]
    Missing { path: PathBuf },
    #[error("{} cannot be read", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is empty", path.display())]
    Empty { path: PathBuf },
    #[error("{} is neither a zip nor a gzip-compressed tar archive, nor a directory: pack it as .tar.gz (for Unix) or .zip (for Windows)", path.display())]
    Format { path: PathBuf },
    #[error("{} cannot be packed into a temporary archive", path.display())]
    Pack { path: PathBuf, source: io::Error },
    #[error("{} in the directory is neither a file, a folder nor a symbolic link", path.display())]
    Kind { path: PathBuf },
    #[error("{} must not be published", path.display())]
    Archive { path: PathBuf, source: ArchiveError },
    #[error("{} holds no file", path.display())]
    NoFiles { path: PathBuf },
    #[error(transparent)]
    FragmentSize(#[from] FragmentSizeError),
    #[error(transparent)]
    Describe(#[from] DescribeError),
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
            return pack(path);
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

    pub const fn format(&self) -> ArchiveFormat {
        self.format
    }

    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns a reader from the archive's start. Only one can be in use at a time.
    pub fn reader(&self) -> io::Result<File> {
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(0))?;
        Ok(file)
    }

    /// Reads the whole archive as an agent would, and digests it.
    ///
    /// The fragment size is chosen by the archive's own if none is given. `progress` is told
    /// how many bytes of the archive were read since the last time.
    pub fn inspect(
        &self,
        limits: &Limits,
        fragment_size: Option<FragmentSize>,
        progress: impl Fn(u64),
    ) -> Result<Inspection, SourceError> {
        let io = |source| SourceError::Read {
            path: self.path.clone(),
            source,
        };
        let fragment_size = fragment_size.unwrap_or_else(|| FragmentSize::auto(self.bytes));
        fragment_size.count(self.bytes)?;
        let file = self.reader().map_err(io)?;
        let digests = digest(file, self.bytes, fragment_size, progress).map_err(io)?;
        let Digests {
            sha256,
            md5,
            fragments,
        } = digests;
        let archive = Archive::new(self.format, self.bytes, sha256, fragment_size, fragments)?;
        let contents = self.list(limits)?;
        Ok(Inspection {
            archive: PlannedArchive { archive, md5 },
            contents,
        })
    }

    fn list(&self, limits: &Limits) -> Result<Contents, SourceError> {
        let path = || self.path.clone();
        let reader = self.reader().map_err(|source| SourceError::Read {
            path: path(),
            source,
        })?;
        let mut contents = Contents::default();
        let systems = System::of(Platform::Any).iter().copied();
        let mut checks: Vec<NameCheck> = systems.map(NameCheck::new).collect();
        let visit = |entry: &Entry, _: &mut Content<'_>| {
            contents.note(entry);
            checks.retain_mut(|check| contents.fits(check, entry));
            Ok(())
        };
        walk(
            self.format,
            BufReader::with_capacity(READ_BYTES, reader),
            limits,
            visit,
        )
        .map_err(|source: ArchiveError| SourceError::Archive {
            path: path(),
            source,
        })?;
        if contents.files == 0 {
            return Err(SourceError::NoFiles { path: path() });
        }
        Ok(contents)
    }
}

/// How much is read at once, in bytes.
const READ_BYTES: usize = 256 << 10;

/// How many chunks wait for the slower digest.
const WAITING_CHUNKS: usize = 4;

struct Digests {
    sha256: Sha256Digest,
    md5: Md5Digest,
    fragments: Vec<Sha256Digest>,
}

/// Digests the whole and each fragment in one pass. MD5, the slowest digest, has a thread of
/// its own.
fn digest(
    mut file: File,
    bytes: u64,
    size: FragmentSize,
    progress: impl Fn(u64),
) -> io::Result<Digests> {
    let (to_md5, chunks) = mpsc::sync_channel::<Vec<u8>>(WAITING_CHUNKS);
    std::thread::scope(|scope| {
        let md5 = scope.spawn(move || {
            let md5 = chunks
                .into_iter()
                .fold(Md5::new(), |md5, chunk| md5.chain_update(&chunk));
            Md5Digest::from_bytes(md5.finalize().into())
        });
        let mut whole = Sha256::new();
        let mut fragments = Vec::new();
        for (_, range) in fragment::ranges(bytes, size) {
            let mut fragment = Sha256::new();
            let mut left = range.end - range.start;
            while left > 0 {
                let length = READ_BYTES.min(usize::try_from(left).unwrap_or(READ_BYTES));
                let mut chunk = vec![0; length];
                file.read_exact(&mut chunk)?;
                fragment.update(&chunk);
                whole.update(&chunk);
                // The thread takes chunks until the sender is gone.
                let _ = to_md5.send(chunk);
                left -= length as u64;
                progress(length as u64);
            }
            fragments.push(Sha256Digest::from_bytes(fragment.finalize().into()));
        }
        drop(to_md5);
        let md5 = md5
            .join()
            .map_err(|_| io::Error::other("the digest thread panicked"))?;
        let sha256 = Sha256Digest::from_bytes(whole.finalize().into());
        Ok(Digests {
            sha256,
            md5,
            fragments,
        })
    })
}

/// An archive with all its digests: MD5 is for stock agents only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedArchive {
    pub archive: Archive,
    pub md5: Md5Digest,
}

impl PlannedArchive {
    /// Describes the archive as the package's record does.
    pub fn record(&self) -> ArchiveRecord {
        ArchiveRecord {
            format: self.archive.format(),
            bytes: self.archive.bytes(),
            sha256: self.archive.sha256(),
            fragment_size: self.archive.fragment_size(),
        }
    }

    /// Describes the archive as `info` does.
    pub fn for_info(&self) -> InfoArchive {
        InfoArchive {
            fragments: self.archive.fragment_count(),
            md5: self.md5,
        }
    }
}

/// What an archive turned out to be.
#[derive(Clone, Debug)]
pub struct Inspection {
    pub archive: PlannedArchive,
    pub contents: Contents,
}

/// What the checks before publishing have to know of an archive's entries.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// The names of the files at the archive's top.
    pub top_files: Vec<String>,
    pub files: u64,
    /// The length of the largest file.
    pub largest_file: u64,
    /// Whether anything at the top has a name that starts with a dot.
    pub top_dotfiles: bool,
    /// The first entry for each system that cannot hold all of them.
    pub unfit: Vec<Unfit>,
}

/// An entry that a system cannot hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    pub system: System,
    pub entry: String,
    pub reason: NameError,
}

impl Contents {
    /// Notes an entry that a system cannot hold; whether it can.
    fn fits(&mut self, check: &mut NameCheck, entry: &Entry) -> bool {
        let Err(reason) = check.add(entry) else {
            return true;
        };
        self.unfit.push(Unfit {
            system: check.system(),
            entry: entry.path.as_str().to_owned(),
            reason,
        });
        false
    }

    fn note(&mut self, entry: &Entry) {
        let top = !entry.path.as_str().contains('/');
        self.top_dotfiles |= top && entry.path.as_str().starts_with('.');
        if let EntryKind::File { bytes, .. } = entry.kind {
            self.files += 1;
            self.largest_file = self.largest_file.max(bytes);
            if top {
                self.top_files.push(entry.path.as_str().to_owned());
            }
        }
    }
}

/// Packs a directory as `.tar.gz`, the same bytes for the same content: entries sorted, no
/// owners, no times.
fn pack(path: &Path) -> Result<Source, SourceError> {
    let io = |source| SourceError::Pack {
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
        Append::Io(source) => io(source),
        Append::Kind(path) => SourceError::Kind { path },
    })?;
    let mut writer = archive
        .into_inner()
        .and_then(GzEncoder::finish)
        .map_err(io)?;
    writer.flush().map_err(io)?;
    let file = writer
        .into_inner()
        .map_err(|error| io(error.into_error()))?;
    let bytes = file.metadata().map_err(io)?.len();
    Ok(Source {
        path: path.to_owned(),
        format: ArchiveFormat::TarGz,
        bytes,
        file,
    })
}

enum Append {
    Io(io::Error),
    Kind(PathBuf),
}

impl From<io::Error> for Append {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn append<W: io::Write>(
    archive: &mut tar::Builder<W>,
    folder: &Path,
    inside: &Path,
) -> Result<(), Append> {
    let mut entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), inside.join(entry.file_name()));
        let metadata = entry.metadata()?;
        let mut header = tar::Header::new_gnu();
        header.set_mtime(0);
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
            return Err(Append::Kind(path));
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
    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        std::fs::write(folder.path().join("run.sh"), "exit 0\n").unwrap();
        std::fs::write(folder.path().join("data/a b"), "x").unwrap();
        folder
    }

    #[test]
    fn the_same_directory_packs_to_the_same_bytes() {
        let digest = |folder: &tempfile::TempDir| {
            let source = Source::open(folder.path()).unwrap();
            source
                .inspect(&Limits::default(), None, |_| {})
                .unwrap()
                .archive
        };
        assert_eq!(digest(&folder()), digest(&folder()));
    }

    #[test]
    fn an_inspection_lists_what_launch_can_run() {
        let folder = folder();
        let source = Source::open(folder.path()).unwrap();
        let contents = source
            .inspect(&Limits::default(), None, |_| {})
            .unwrap()
            .contents;
        assert_eq!(
            (contents.top_files, contents.files),
            (vec!["run.sh".to_owned()], 2)
        );
    }

    #[test]
    fn what_other_systems_cannot_hold_is_found() {
        let unfit = |names: &[&str]| -> Vec<(System, String)> {
            let folder = folder();
            for name in names {
                std::fs::write(folder.path().join(name), "x").unwrap();
            }
            let source = Source::open(folder.path()).unwrap();
            let inspection = source.inspect(&Limits::default(), None, |_| {}).unwrap();
            let unfit = inspection.contents.unfit.into_iter();
            unfit.map(|unfit| (unfit.system, unfit.entry)).collect()
        };
        assert_eq!(unfit(&["x"]), []);
        if System::here().is_none() {
            let windows = |name: &str| (System::Windows, name.to_owned());
            assert_eq!(unfit(&["aux.txt", "log:x"]), [windows("aux.txt")]);
            let run = || "run.sh".to_owned();
            let both = [(System::Windows, run()), (System::Macos, run())];
            assert_eq!(unfit(&["Run.SH"]), both);
        }
    }

    #[test]
    fn what_is_no_archive_is_named() {
        let folder = folder();
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
        let cut = folder.path().join("cut.tar.gz");
        std::fs::write(&cut, [0x1f, 0x8b, 8, 0, 0]).unwrap();
        let inspected = Source::open(&cut)
            .unwrap()
            .inspect(&Limits::default(), None, |_| {});
        assert!(matches!(inspected, Err(SourceError::Archive { .. })));
    }
}
