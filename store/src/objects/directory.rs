//! Objects in a directory, for air-gapped media or a single machine.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use packcast_protocol::{ObjectPath, Sha256Digest};
use sha2::{Digest as _, Sha256};
use tempfile::{NamedTempFile, TempPath};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::backend::{Backend, Put};
use super::digest::StoredDigest;
use super::error::{DeleteError, GetError, PutError};
use crate::key::ObjectKey;

/// Prefix of the names of incomplete files. No object has a name with this prefix.
pub(super) const PARTIAL: &str = ".partial-";

/// A directory in which each object is a file at its path.
#[derive(Clone, Debug)]
pub struct Directory {
    root: PathBuf,
}

impl Directory {
    /// Returns the object store below `root`, which is created with the first object.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    fn put_error(&self, path: &str, source: io::Error) -> PutError {
        let path = path.to_owned();
        let place = self.root.display().to_string();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => PutError::NoSpace {
                path,
                place,
                source,
            },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                PutError::Denied {
                    path,
                    place,
                    source,
                }
            }
            _ => PutError::Io {
                path,
                place,
                source,
            },
        }
    }

    fn get_error(&self, path: &str, source: io::Error) -> GetError {
        GetError::Io {
            path: path.to_owned(),
            place: self.root.display().to_string(),
            source,
        }
    }

    fn write(
        &self,
        path: &str,
        bytes: u64,
        mut chunks: mpsc::Receiver<Bytes>,
    ) -> Result<Put, PutError> {
        let fail = |source| self.put_error(path, source);
        let target = self.root.join(path);
        let folder = target.parent().unwrap_or(&self.root);
        create_folder(folder).map_err(fail)?;
        let mut file = partial_file(folder).map_err(fail)?;
        let mut given = 0;
        while let Some(chunk) = chunks.blocking_recv() {
            given += chunk.len() as u64;
            // Too many bytes are an error in any case, so stop before they fill the disk.
            if given > bytes {
                break;
            }
            file.write_all(&chunk).map_err(fail)?;
        }
        if given != bytes {
            return Err(PutError::Length {
                path: path.to_owned(),
                expected: bytes,
                given,
            });
        }
        // Sync before the file gets its name: an object is visible whole or not at all, even
        // after a power failure.
        file.as_file().sync_all().map_err(fail)?;
        match file.persist_noclobber(&target) {
            Ok(_) => self
                .sync_folders(folder)
                .map_err(fail)
                .map(|()| Put::Written),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                if same_content(error.file.path(), &target).map_err(fail)? {
                    Ok(Put::Present)
                } else {
                    Err(PutError::Conflict {
                        path: path.to_owned(),
                    })
                }
            }
            Err(error) => Err(fail(error.error)),
        }
    }

    /// Gives complete and durable files the paths of objects, one after the other.
    ///
    /// The folders are synchronised once, after the last file: a manifest that names the objects is
    /// stored only afterwards.
    pub(super) fn adopt(&self, files: Vec<(PathBuf, String)>) -> Result<(), PutError> {
        let mut folders = BTreeSet::new();
        for (file, path) in files {
            let fail = |source| self.put_error(&path, source);
            let target = self.root.join(&path);
            let folder = target.parent().unwrap_or(&self.root);
            if folders.insert(folder.to_owned()) {
                create_folder(folder).map_err(fail)?;
            }
            let file = TempPath::try_from_path(file).map_err(fail)?;
            match file.persist_noclobber(&target) {
                Ok(()) => {}
                Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                    if !same_content(&error.path, &target).map_err(fail)? {
                        return Err(PutError::Conflict { path });
                    }
                }
                Err(error) => return Err(fail(error.error)),
            }
        }
        folders.iter().try_for_each(|folder| {
            let synced = self.sync_folders(folder);
            synced.map_err(|source| self.put_error(&folder.display().to_string(), source))
        })
    }

    /// Makes the new name durable, and the names of the folders above it.
    #[cfg(unix)]
    fn sync_folders(&self, folder: &Path) -> io::Result<()> {
        folder
            .ancestors()
            .take_while(|ancestor| ancestor.starts_with(&self.root))
            .try_for_each(|ancestor| File::open(ancestor)?.sync_all())
    }

    #[cfg(not(unix))]
    fn sync_folders(&self, _folder: &Path) -> io::Result<()> {
        Ok(())
    }

    fn walk(&self, folder: &str) -> io::Result<BTreeMap<String, u64>> {
        let mut objects = BTreeMap::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            let entries = match fs::read_dir(self.root.join(&folder)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries?,
            };
            for entry in entries {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let path = format!("{folder}/{name}");
                let kind = entry.file_type()?;
                // Symbolic links are neither, so they are not followed.
                if kind.is_dir() {
                    folders.push(path);
                } else if kind.is_file() && !name.starts_with(PARTIAL) {
                    objects.insert(path, entry.metadata()?.len());
                }
            }
        }
        Ok(objects)
    }

    fn remove(&self, folder: &str) -> io::Result<u64> {
        let objects = self.walk(folder)?.len() as u64;
        match fs::remove_dir_all(self.root.join(folder)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(objects),
        }
    }

    fn read(&self, path: &str, limit: u64) -> Result<Option<Bytes>, GetError> {
        let fail = |source| self.get_error(path, source);
        let file = match File::open(self.root.join(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(fail)?,
        };
        let mut bytes = Vec::new();
        file.take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(fail)?;
        if bytes.len() as u64 > limit {
            return Err(GetError::TooLarge {
                path: path.to_owned(),
                limit,
            });
        }
        Ok(Some(bytes.into()))
    }

    fn hash(&self, path: &str, bytes: u64) -> Result<Option<StoredDigest>, GetError> {
        let fail = |source| self.get_error(path, source);
        let mut file = match File::open(self.root.join(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(fail)?,
        };
        if file.metadata().map_err(fail)?.len() != bytes {
            return Ok(None);
        }
        let (mut digest, mut chunk) = (Sha256::new(), vec![0; 64 * 1024]);
        loop {
            match file.read(&mut chunk).map_err(fail)? {
                0 => break,
                read => digest.update(&chunk[..read]),
            }
        }
        let digest = Sha256Digest::from_bytes(digest.finalize().into());
        Ok(Some(StoredDigest::Whole(digest)))
    }
}

/// Creates a file that other users, such as a web server, can read once it has its name.
fn partial_file(folder: &Path) -> io::Result<NamedTempFile> {
    let file = tempfile::Builder::new()
        .prefix(PARTIAL)
        .tempfile_in(folder)?;
    let_others_read(file.as_file())?;
    Ok(file)
}

/// Lets other users read a file.
pub(super) fn let_others_read(file: &File) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // Not when the file is created, because the umask reduces those permissions.
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
    }
    #[cfg(not(unix))]
    let _ = file;
    Ok(())
}

/// Creates a folder and its missing parents, which other users can enter. Existing folders stay as
/// they are.
pub(super) fn create_folder(folder: &Path) -> io::Result<()> {
    let missing = folder.ancestors().take_while(|folder| !folder.exists());
    for folder in missing.collect::<Vec<_>>().into_iter().rev() {
        match fs::create_dir(folder) {
            // Another publisher created the folder meanwhile.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            created => created?,
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        }
    }
    Ok(())
}

fn same_content(one: &Path, other: &Path) -> io::Result<bool> {
    let (one, other) = (File::open(one)?, File::open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut one, mut other) = (BufReader::new(one), BufReader::new(other));
    let (mut a, mut b) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        let read = one.read(&mut a)?;
        if read == 0 {
            return Ok(true);
        }
        other.read_exact(&mut b[..read])?;
        if a[..read] != b[..read] {
            return Ok(false);
        }
    }
}

impl Backend for Directory {
    async fn put(
        &self,
        key: &ObjectKey,
        bytes: u64,
        chunks: mpsc::Receiver<Bytes>,
    ) -> Result<Put, PutError> {
        let (directory, path) = (self.clone(), key.path().to_owned());
        joined(spawn_blocking(move || directory.write(&path, bytes, chunks)).await)
    }

    async fn list(&self, folder: &ObjectPath) -> Result<BTreeMap<String, u64>, GetError> {
        let (directory, folder) = (self.clone(), folder.to_string());
        joined(
            spawn_blocking(move || {
                directory
                    .walk(&folder)
                    .map_err(|source| directory.get_error(&folder, source))
            })
            .await,
        )
    }

    async fn get(&self, path: &str, limit: u64) -> Result<Option<Bytes>, GetError> {
        let (directory, path) = (self.clone(), path.to_owned());
        joined(spawn_blocking(move || directory.read(&path, limit)).await)
    }

    async fn digest(&self, path: &str, bytes: u64) -> Result<Option<StoredDigest>, GetError> {
        let (directory, path) = (self.clone(), path.to_owned());
        joined(spawn_blocking(move || directory.hash(&path, bytes)).await)
    }

    async fn delete(&self, folder: &ObjectPath) -> Result<u64, DeleteError> {
        let (directory, folder) = (self.clone(), folder.to_string());
        joined(
            spawn_blocking(move || {
                directory.remove(&folder).map_err(|source| DeleteError::Io {
                    path: folder,
                    place: directory.root.display().to_string(),
                    source,
                })
            })
            .await,
        )
    }
}

pub(super) fn joined<T>(result: Result<T, tokio::task::JoinError>) -> T {
    result.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// The folder for objects in a process of this test with another umask.
    #[cfg(unix)]
    const FOLDER: &str = "PACKCAST_TEST_FOLDER";

    #[cfg(unix)]
    #[test]
    fn objects_are_readable_whatever_the_umask() {
        use std::os::unix::fs::PermissionsExt as _;

        if let Ok(folder) = std::env::var(FOLDER) {
            let (chunks, received) = mpsc::channel(1);
            chunks.try_send(Bytes::from_static(b"x")).unwrap();
            drop(chunks);
            Directory::new(folder).write("d/a/x", 1, received).unwrap();
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("new/objects");
        let name = "objects::directory::tests::objects_are_readable_whatever_the_umask";
        let run = std::process::Command::new("sh")
            .args(["-c", r#"umask 077; exec "$@""#, "sh"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env(FOLDER, &root)
            .output()
            .unwrap();
        assert!(run.status.success(), "{run:?}");
        let mode = |path: &str| {
            let path = place.path().join(path);
            fs::metadata(path).unwrap().permissions().mode() & 0o7777
        };
        let folders = ["new", "new/objects", "new/objects/d", "new/objects/d/a"];
        assert_eq!(folders.map(mode), [0o755; 4]);
        assert_eq!(mode("new/objects/d/a/x"), 0o644);
    }

    /// `/dev/full` stands in for a full disk.
    #[test]
    fn a_full_disk_and_a_lack_of_permission_are_different_errors() {
        let full = fs::OpenOptions::new().write(true).open("/dev/full");
        let error = full.unwrap().write_all(b"x").unwrap_err();
        let objects = Directory::new("/published");
        let full = objects.put_error("d/x", error);
        assert!(matches!(full, PutError::NoSpace { place, .. } if place == "/published"));
        let denied = objects.put_error("d/x", io::ErrorKind::PermissionDenied.into());
        assert!(matches!(denied, PutError::Denied { .. }));
    }
}
