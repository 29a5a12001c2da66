//! The removal of files and folders of programs, even if they are read-only or in use.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;

use packcast_protocol::with_causes;

use super::StateError;
use crate::{fault, platform};

/// The prefix of folders that were set aside.
const LEFTOVER: &str = ".left-";

/// Removes a folder with its content as far as possible. A missing folder is not an error.
///
/// A folder that cannot be removed is set aside, and [`leftovers`] tries again later. The same
/// holds for a folder with a mount inside, because the mounted files must survive. A folder keeps
/// its name if it cannot be renamed: a mount point itself or, on Windows, a folder that a program
/// has open.
pub(crate) fn folder(path: &Path) {
    let Err(error) = try_folder(path) else { return };
    let kept = set_aside(path).err();
    let reason = with_causes(kept.as_ref().unwrap_or(&error));
    tracing::warn!(folder = %path.display(), reason, "cannot remove a folder yet");
}

/// Removes the folders set aside in `folder`, as far as possible.
pub(crate) fn leftovers(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        if entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(LEFTOVER.as_bytes())
        {
            // The next start tries again.
            let _ = try_folder(&entry.path());
        }
    }
}

fn try_folder(path: &Path) -> io::Result<()> {
    if platform::holds_mounts(path) {
        return Err(io::Error::other("something is mounted in the folder"));
    }
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_removable(path)?;
            fs::remove_dir_all(path)
        }
        removed => removed,
    }
}

/// Gives the agent's user the right to remove everything in a folder. Links are not followed.
fn make_removable(path: &Path) -> io::Result<()> {
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        platform::make_removable(&folder)?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if cfg!(windows) && entry.file_type()?.is_file() {
                platform::make_removable(&entry.path())?;
            }
        }
    }
    Ok(())
}

fn set_aside(path: &Path) -> io::Result<()> {
    let mut name = OsString::from(LEFTOVER);
    name.push(path.file_name().unwrap_or_default());
    let free = (0_u32..).map(|n| {
        let mut name = name.clone();
        name.push(format!("-{n}"));
        path.with_file_name(name)
    });
    let mut free = free.filter(|path| path.symlink_metadata().is_err());
    fs::rename(
        path,
        free.next().unwrap_or_else(|| path.with_file_name(name)),
    )
}

/// Removes the files of a folder that `which` selects. A missing folder has no files.
pub(crate) fn remove_files(folder: &Path, which: impl Fn(&Path) -> bool) -> Result<(), StateError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(StateError::at(folder)(error)),
    };
    for entry in entries {
        let path = entry.map_err(StateError::at(folder))?.path();
        if which(&path) {
            remove_file(&path)?;
        }
    }
    Ok(())
}

pub(crate) fn remove_file(path: &Path) -> Result<(), StateError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StateError::at(path)(error)),
        Err(_) => Ok(()),
        Ok(()) => {
            fault::point();
            Ok(())
        }
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn read_only_files_are_removed() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        set_mode(outside.path(), 0o555);
        let work = dir.path().join("work");
        fs::create_dir_all(work.join("a/b")).unwrap();
        fs::write(work.join("a/b/file"), "x").unwrap();
        symlink(outside.path(), work.join("link")).unwrap();
        for (path, mode) in [("a/b/file", 0o444), ("a/b", 0o000), ("a", 0o555)] {
            set_mode(&work.join(path), mode);
        }
        // The user of the test may be root, who needs no rights.
        make_removable(&work).unwrap();
        assert_eq!(
            (mode(&work.join("a")), mode(&work.join("a/b"))),
            (0o700, 0o700)
        );
        set_mode(&work.join("a"), 0o555);
        folder(&work);
        assert!(!work.exists());
        assert_eq!(mode(outside.path()), 0o555);
        folder(&work);
    }

    #[test]
    fn a_folder_set_aside_is_removed_later() {
        let dir = tempfile::tempdir().unwrap();
        let work = dir.path().join("work");
        for _ in 0..2 {
            fs::create_dir_all(work.join("a")).unwrap();
            set_aside(&work).unwrap();
            assert!(!work.exists());
        }
        fs::write(dir.path().join("other"), "x").unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
        leftovers(dir.path());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
