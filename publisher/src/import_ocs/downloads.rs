//! The download directory of an OCS server: `info` and fragments of packages.

mod server;

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

use packcast_protocol::digest::Md5Hasher;
use packcast_protocol::{Md5Digest, PackageId};

pub use self::server::{DownloadAddress, DownloadServer, DownloadServerError, DownloadTls};
use super::info::{MAX_INFO_BYTES, OcsInfo, OcsInfoError, read_info_bytes};
use super::move_script::has_move_script;
use super::plan::PackageFiles;
use crate::progress::Progress;
use crate::publish::inspect::InspectError;
use crate::publish::source::{Source, SourceError};

/// The largest archive that is assembled, in bytes.
const MAX_ARCHIVE_BYTES: u64 = 64 << 30;

/// The download directory of an OCS server, such as `/var/lib/ocsinventory-reports/download`, or the
/// web server that serves it.
#[derive(Clone, Debug)]
pub struct Downloads {
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    Folder(PathBuf),
    Server(DownloadServer),
}

/// Errors from reading a package of an OCS server.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot read {}: expected at most {MAX_INFO_BYTES} bytes", path.display())]
    LargeInfo { path: PathBuf },
    #[error(transparent)]
    Info(#[from] OcsInfoError),
    #[error("cannot use info of package {id}: it names package {found}")]
    OtherId { id: PackageId, found: PackageId },
    #[error("cannot assemble package {id}: fragment {number} of {count} is missing")]
    MissingFragment {
        id: PackageId,
        number: u32,
        count: u32,
    },
    #[error("cannot assemble package {id}: MD5 mismatch: expected {expected}, found {found}")]
    Digest {
        id: PackageId,
        expected: Md5Digest,
        found: Md5Digest,
    },
    #[error(
        "cannot assemble package {id}: expected at most {} bytes",
        MAX_ARCHIVE_BYTES
    )]
    LargeArchive { id: PackageId },
    #[error("cannot write a temporary archive in {}: set TMPDIR to a folder with free space", folder.display())]
    Write { folder: PathBuf, source: io::Error },
    #[error(
        "cannot import package {id}: it is a script of 'packcast import ocs --agent-script', which the OCS server deploys: delete the package there after the move"
    )]
    MoveScript { id: PackageId },
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Inspect(#[from] InspectError),
}

impl Downloads {
    /// Returns a download directory on this machine, or a copy of it.
    pub const fn new(folder: PathBuf) -> Self {
        let place = Place::Folder(folder);
        Self { place }
    }

    /// Returns a download directory that a web server serves. The functions below must not be called
    /// in a runtime.
    pub const fn on(server: DownloadServer) -> Self {
        let place = Place::Server(server);
        Self { place }
    }

    /// Returns the path of a file of a package, or its address.
    fn path(&self, id: PackageId, name: &str) -> PathBuf {
        match &self.place {
            Place::Folder(folder) => folder.join(id.to_string()).join(name),
            Place::Server(server) => server.url(&format!("{id}/{name}")).into(),
        }
    }

    /// Opens a file. A server that announces more than `limit` bytes is not read.
    fn open(&self, id: PackageId, name: &str, limit: u64) -> io::Result<Box<dyn Read>> {
        Ok(match &self.place {
            Place::Folder(_) => Box::new(open_file(&self.path(id, name))?),
            Place::Server(server) => Box::new(server.open(&format!("{id}/{name}"), limit)?),
        })
    }

    /// Reads the `info` of a package.
    pub fn info(&self, id: PackageId) -> Result<OcsInfo, DownloadError> {
        let path = self.path(id, "info");
        let read = |source| DownloadError::Read {
            path: path.clone(),
            source,
        };
        let file = self.open(id, "info", u64::MAX).map_err(read)?;
        let mut bytes = Vec::new();
        let mut limited = file.take(MAX_INFO_BYTES + 1);
        limited.read_to_end(&mut bytes).map_err(read)?;
        if bytes.len() as u64 > MAX_INFO_BYTES {
            return Err(DownloadError::LargeInfo { path });
        }
        let info = read_info_bytes(&bytes)?;
        if info.id == id {
            Ok(info)
        } else {
            let found = info.id;
            Err(DownloadError::OtherId { id, found })
        }
    }

    /// Reads a package, and inspects its archive as a publication does.
    pub fn package(
        &self,
        id: PackageId,
        progress: &Progress,
    ) -> Result<PackageFiles, DownloadError> {
        let info = self.info(id)?;
        let limits = packcast_archive::Limits::default();
        let inspection = match self.archive(&info)? {
            Some(source) if has_move_script(&source) => {
                return Err(DownloadError::MoveScript { id });
            }
            Some(source) => Some(source.inspect(&limits, None, progress)?),
            None => None,
        };
        Ok(PackageFiles { info, inspection })
    }

    /// Assembles the archive of a package from its fragments. `None` if the package has no archive.
    ///
    /// The archive is in a temporary file without a name.
    pub fn archive(&self, info: &OcsInfo) -> Result<Option<Source>, DownloadError> {
        let Some(expected) = info.md5 else {
            return Ok(None);
        };
        let mut archive = tempfile::tempfile().map_err(write_error)?;
        let mut digest = Md5Hasher::default();
        let mut left = MAX_ARCHIVE_BYTES;
        for number in 1..=info.fragments {
            left = self.append(info, number, left, &mut archive, &mut digest)?;
        }
        let found = digest.finish();
        let id = info.id;
        if found != expected {
            return Err(DownloadError::Digest {
                id,
                expected,
                found,
            });
        }
        Ok(Some(Source::of_archive(&format!("package {id}"), archive)?))
    }

    /// Appends a fragment of at most `left` bytes. Returns the number of bytes that are left.
    fn append(
        &self,
        info: &OcsInfo,
        number: u32,
        mut left: u64,
        archive: &mut File,
        digest: &mut Md5Hasher,
    ) -> Result<u64, DownloadError> {
        let (id, count) = (info.id, info.fragments);
        let name = format!("{id}-{number}");
        let path = self.path(id, &name);
        let read = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => DownloadError::MissingFragment { id, number, count },
            io::ErrorKind::FileTooLarge => DownloadError::LargeArchive { id },
            _ => DownloadError::Read {
                path: path.clone(),
                source,
            },
        };
        let mut fragment = self.open(id, &name, left).map_err(read)?;
        let mut buffer = vec![0; 256 << 10];
        loop {
            let length = fragment.read(&mut buffer).map_err(read)?;
            if length == 0 {
                return Ok(left);
            }
            let is_small = left.checked_sub(length as u64);
            left = is_small.ok_or(DownloadError::LargeArchive { id })?;
            digest.update(&buffer[..length]);
            let written = archive.write_all(&buffer[..length]);
            written.map_err(write_error)?;
        }
    }
}

/// Opens a file of a download directory.
fn open_file(path: &Path) -> io::Result<File> {
    // A pipe would let the import wait forever.
    if std::fs::metadata(path)?.is_file() {
        File::open(path)
    } else {
        let kind = io::ErrorKind::InvalidInput;
        Err(io::Error::new(kind, "expected a file"))
    }
}

fn write_error(source: io::Error) -> DownloadError {
    DownloadError::Write {
        folder: tempfile::env::temp_dir(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::samples::{execute, id, write_execute};
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_pipe_or_a_folder_in_place_of_a_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let downloads = Downloads::new(folder.path().to_owned());
        for (number, program) in [(1, "mkfifo"), (2, "mkdir")] {
            let package = folder.path().join(id(number).to_string());
            fs::create_dir(&package).unwrap();
            let made = std::process::Command::new(program)
                .arg(package.join("info"))
                .status();
            assert!(made.unwrap().success());
            let error = downloads.info(id(number)).unwrap_err();
            let text = packcast_protocol::with_causes(&error);
            assert!(text.ends_with("/info: expected a file"), "{text}");
        }
    }

    #[test]
    fn an_info_of_another_package_and_a_large_one_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let downloads = Downloads::new(folder.path().to_owned());
        write_execute(folder.path(), id(1), "true");
        let info = folder.path().join(id(1).to_string()).join("info");
        assert!(downloads.info(id(1)).is_ok());
        let error = |text: &str| {
            fs::write(&info, text).unwrap();
            let text = downloads.info(id(1)).unwrap_err().to_string();
            text.replace(&info.display().to_string(), "INFO")
        };
        let long = "x".repeat(70_000);
        let errors = [error(&execute(id(2), "true")), error(&long)];
        let read = DownloadError::Read {
            path: "INFO".into(),
            source: io::Error::other("cause"),
        };
        let write = DownloadError::Write {
            folder: "/tmp".into(),
            source: io::Error::other("cause"),
        };
        let digest = DownloadError::Digest {
            id: id(1),
            expected: Md5Digest::from_bytes([1; 16]),
            found: Md5Digest::from_bytes([2; 16]),
        };
        let large = DownloadError::LargeArchive { id: id(1) };
        let script = DownloadError::MoveScript { id: id(1) };
        let others = format!("{read}\n{write}\n{digest}\n{large}\n{script}");
        insta::assert_snapshot!(format!("{}\n{others}", errors.join("\n")), @"
        cannot use info of package 1700000001: it names package 1700000002
        cannot read INFO: expected at most 65536 bytes
        cannot read INFO
        cannot write a temporary archive in /tmp: set TMPDIR to a folder with free space
        cannot assemble package 1700000001: MD5 mismatch: expected 01010101010101010101010101010101, found 02020202020202020202020202020202
        cannot assemble package 1700000001: expected at most 68719476736 bytes
        cannot import package 1700000001: it is a script of 'packcast import ocs --agent-script', which the OCS server deploys: delete the package there after the move
        ");
    }
}
