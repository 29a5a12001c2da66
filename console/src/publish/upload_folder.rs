//! The private folder with the uploads of a console.
//!
//! The folder is removed when the console ends. A console that was killed leaves its folder behind: the
//! next upload of any console removes it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

use super::room::Room;
use super::upload_error::UploadError;

const PREFIX: &str = "console-uploads-";

/// The file that a running console has locked.
const LOCK: &str = "lock";

/// The folder with the uploads of a console, which the first upload creates.
#[derive(Debug)]
pub(crate) struct UploadFolder {
    parent: PathBuf,
    created: Mutex<Option<Created>>,
}

#[derive(Debug)]
struct Created {
    /// The lock ends with the process. It comes first, because Windows removes no open file.
    _lock: File,
    folder: TempDir,
}

impl UploadFolder {
    /// Prepares a private folder below `parent`.
    pub(crate) const fn new(parent: PathBuf) -> Self {
        let created = Mutex::new(None);
        Self { parent, created }
    }

    /// Creates a folder for one upload, and returns its disk.
    pub(crate) fn folder(&self) -> Result<(TempDir, Room), UploadError> {
        let room = Room::new(self.parent.clone());
        let folder = self.create().map_err(|error| room.error(error))?;
        Ok((folder, room))
    }

    fn create(&self) -> io::Result<TempDir> {
        let mut created = self.created.lock().unwrap_or_else(PoisonError::into_inner);
        let all = match &mut *created {
            Some(all) => all,
            none => {
                fs::create_dir_all(&self.parent)?;
                remove_abandoned(&self.parent);
                none.insert(Created::below(&self.parent)?)
            }
        };
        private(tempfile::Builder::new().prefix("upload-")).tempdir_in(all.folder.path())
    }

    /// Removes all uploads.
    pub(crate) fn remove(&self) {
        let mut created = self.created.lock().unwrap_or_else(PoisonError::into_inner);
        *created = None;
    }
}

impl Created {
    fn below(parent: &Path) -> io::Result<Self> {
        let folder = private(tempfile::Builder::new().prefix(PREFIX)).tempdir_in(parent)?;
        // Another console that starts removes a folder whose lock is free. So the lock gets its name
        // when it is taken.
        let unnamed = folder.path().join("lock.new");
        let lock = File::create_new(&unnamed)?;
        lock.lock()?;
        fs::rename(&unnamed, folder.path().join(LOCK))?;
        Ok(Self {
            _lock: lock,
            folder,
        })
    }
}

fn private<'a, 'b, 'c>(
    builder: &'c mut tempfile::Builder<'a, 'b>,
) -> &'c mut tempfile::Builder<'a, 'b> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(fs::Permissions::from_mode(0o700))
    }
    #[cfg(not(unix))]
    builder
}

/// Removes the folders of consoles that were killed. Errors do not matter: the folders only take space.
fn remove_abandoned(parent: &Path) {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| {
        let name = entry.file_name();
        name.to_string_lossy().starts_with(PREFIX)
    });
    for folder in folders.map(|entry| entry.path()) {
        // A folder without the file is just being created.
        let Ok(lock) = File::open(folder.join(LOCK)) else {
            continue;
        };
        if lock.try_lock().is_ok() {
            drop(lock);
            let _ = fs::remove_dir_all(&folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_consoles_that_were_killed_are_removed() {
        let parent = tempfile::tempdir().unwrap();
        let killed = parent.path().join("console-uploads-x");
        fs::create_dir(&killed).unwrap();
        fs::write(killed.join(LOCK), "").unwrap();
        fs::write(killed.join("old.zip"), "old").unwrap();
        let other = UploadFolder::new(parent.path().to_owned());
        let (upload, _) = other.folder().unwrap();
        assert!(!killed.exists());
        // The folder of a running console stays.
        let second = UploadFolder::new(parent.path().to_owned());
        let (_upload, _) = second.folder().unwrap();
        assert!(upload.path().exists());
        other.remove();
        assert!(!upload.path().exists());
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
    }

    #[test]
    fn consoles_that_start_at_once_keep_their_folders() {
        let parent = tempfile::tempdir().unwrap();
        for _ in 0..50 {
            let all = [(); 8].map(|()| UploadFolder::new(parent.path().to_owned()));
            std::thread::scope(|scope| {
                let create = |folder| move || UploadFolder::folder(folder).unwrap();
                let begun = all.each_ref().map(|folder| scope.spawn(create(folder)));
                for upload in begun.map(|it| it.join().unwrap().0) {
                    assert!(upload.path().exists());
                }
            });
        }
    }
}
