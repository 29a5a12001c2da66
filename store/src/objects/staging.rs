//! Complete files in a directory of objects that do not have the path of an object yet.
//!
//! A publisher writes the fragments of an archive while it computes the digest of the archive. Only
//! then can it reserve the package and learn the paths of the fragments. The files are on the volume of
//! the objects, so each gets its path in one step, without a copy.
//!
//! ```text
//! objects/.staging/lock                  locked while a folder is created or removed as a leftover
//! objects/.staging/publisher-XXXX/       the files of one publisher; only its user can enter
//! objects/.staging/publisher-XXXX/lock   locked until the publisher ends, even by a crash
//! ```

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use packcast_protocol::FragmentNumber;
use tokio::task::spawn_blocking;

use super::directory::{Directory, PARTIAL, create_folder, joined, let_others_read};
use super::error::PutError;
use crate::key::ObjectKey;

/// The folder of all publishers, below the root of the objects.
const STAGING: &str = ".staging";

/// The start of the name of a publisher's folder. Nothing else is ever removed.
const PREFIX: &str = "publisher-";

/// The name of a file that is locked.
const LOCK: &str = "lock";

/// The staged files of one publisher, which are removed with this value.
#[derive(Debug)]
pub struct Staging(StagingArea);

/// The place of staged files, for the threads that write them.
#[derive(Clone, Debug)]
pub struct StagingArea(Arc<Area>);

#[derive(Debug)]
struct Area {
    directory: Directory,
    folder: PathBuf,
    /// `false` after the files were removed. No file is created afterwards.
    is_open: RwLock<bool>,
    _lock: File,
}

impl Staging {
    /// Creates a folder for files, and removes the leftovers of publishers that were killed.
    pub(super) fn create(directory: &Directory) -> io::Result<Self> {
        let all = directory.root().join(STAGING);
        create_folder(directory.root())?;
        private_folder(&all)?;
        let all_lock = open_lock(&all)?;
        all_lock.lock()?;
        remove_leftovers(&all)?;
        let folder = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(&all)?
            .keep();
        let lock = File::create(folder.join(LOCK))?;
        lock.lock()?;
        Ok(Self(StagingArea(Arc::new(Area {
            directory: directory.clone(),
            folder,
            is_open: RwLock::new(true),
            _lock: lock,
        }))))
    }

    /// Returns the place of the files.
    pub fn area(&self) -> StagingArea {
        self.0.clone()
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        self.0.discard();
    }
}

impl StagingArea {
    /// Creates the file of a fragment. Other users can read the file once it is an object.
    pub fn create(&self, number: FragmentNumber) -> io::Result<File> {
        let is_open = self.0.is_open.read();
        if !*is_open.unwrap_or_else(PoisonError::into_inner) {
            return Err(io::Error::other("the staged files were removed"));
        }
        let file = File::create_new(self.file(number))?;
        let_others_read(&file)?;
        Ok(file)
    }

    /// Removes all files. A thread that still writes a file does not bring it back.
    pub fn discard(&self) {
        let is_open = self.0.is_open.write();
        *is_open.unwrap_or_else(PoisonError::into_inner) = false;
        // The next publisher removes the remaining files.
        let _ = fs::remove_dir_all(&self.0.folder);
    }

    /// Makes staged files objects. The files must be complete and durable.
    ///
    /// An object with the same bytes stays. Other bytes under the key of a file are a conflict.
    pub async fn put(&self, files: Vec<(FragmentNumber, ObjectKey)>) -> Result<(), PutError> {
        let area = self.clone();
        let put = move || {
            let files = files.into_iter();
            let files = files.map(|(number, key)| (area.file(number), key.path().to_owned()));
            area.0.directory.adopt(files.collect())
        };
        joined(spawn_blocking(put).await)
    }

    fn file(&self, number: FragmentNumber) -> PathBuf {
        self.0.folder.join(format!("{PARTIAL}{number}"))
    }
}

/// Creates a folder that only its user can enter, so that no web server serves its files.
fn private_folder(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    let created = {
        use std::os::unix::fs::DirBuilderExt as _;
        fs::DirBuilder::new().mode(0o700).create(folder)
    };
    #[cfg(not(unix))]
    let created = fs::create_dir(folder);
    match created {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => expect_own(folder),
        created => created,
    }
}

/// Refuses a link, and a folder that another user could have filled: leftovers in it are removed.
fn expect_own(folder: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(folder)?;
    #[cfg(unix)]
    let is_own = {
        use std::os::unix::fs::MetadataExt as _;
        let own = rustix::process::geteuid().as_raw();
        found.is_dir() && found.uid() == own && found.mode() & 0o077 == 0
    };
    #[cfg(not(unix))]
    let is_own = found.is_dir();
    let foreign = || io::Error::other("the folder for staged files is not a folder of this user");
    is_own.then_some(()).ok_or_else(foreign)
}

/// Opens the lock of all folders.
fn open_lock(all: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.create(true).truncate(false).write(true);
    options.open(all.join(LOCK))
}

/// Removes the folders whose publisher has ended. The caller holds the lock of all folders.
fn remove_leftovers(all: &Path) -> io::Result<()> {
    for entry in fs::read_dir(all)? {
        let entry = entry?;
        let is_of_publisher = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if is_of_publisher && entry.file_type()?.is_dir() && has_ended(&entry.path())? {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Returns true if no publisher holds the lock of a folder.
fn has_ended(folder: &Path) -> io::Result<bool> {
    let lock = match File::open(folder.join(LOCK)) {
        // The publisher ended between the creation of the folder and of its lock.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        lock => lock?,
    };
    match lock.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
