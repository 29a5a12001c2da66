//! Where the agent keeps what it has to remember.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use packcast_protocol::{PackageId, UnixTime};

use crate::platform;

/// The agent's folder, which only its user can enter.
#[derive(Clone, Debug)]
pub(crate) struct StateDir(PathBuf);

/// Why the agent's folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    #[error("state folder {} cannot be made private: run the agent as the user that owns it", path.display())]
    Open {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "state folder {} holds files that are not the agent's, and other users can enter it: name a folder of the agent's own as state_dir",
        path.display()
    )]
    Foreign { path: PathBuf },
    #[error("state folder {} is in use by another agent: wait for it, or stop it", path.display())]
    Locked { path: PathBuf },
    #[error("{} cannot be read or written", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl StateError {
    /// Names the file in an error.
    pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}

/// Holds the agent's folder for one process; let go of when dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl StateDir {
    /// Opens the folder, which is made if it is missing. One that is there is made private
    /// if it is empty or was the agent's before.
    pub(crate) fn open(path: &Path) -> Result<Self, StateError> {
        let unopened = |source| StateError::Open {
            path: path.to_owned(),
            source,
        };
        platform::private_folder(path).map_err(unopened)?;
        let state = Self(path.to_owned());
        let metadata = fs::metadata(path).map_err(unopened)?;
        if platform::others_can_read(&metadata) {
            if !state.is_own().map_err(unopened)? {
                return Err(StateError::Foreign { path: state.0 });
            }
            platform::make_private(path).map_err(unopened)?;
        }
        Ok(state)
    }

    fn is_own(&self) -> io::Result<bool> {
        let used = self.identity().exists() || self.lock_path().exists();
        Ok(used || fs::read_dir(&self.0)?.next().is_none())
    }

    fn lock_path(&self) -> PathBuf {
        self.0.join("lock")
    }

    pub(crate) fn lock(&self) -> Result<Lock, StateError> {
        let path = self.lock_path();
        let file = File::create(&path).map_err(StateError::at(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StateError::Locked {
                path: self.0.clone(),
            }),
            Err(TryLockError::Error(source)) => Err(StateError::File { path, source }),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn identity(&self) -> PathBuf {
        self.0.join("identity")
    }

    pub(crate) fn pass(&self) -> PathBuf {
        self.0.join("pass")
    }

    pub(crate) fn history(&self) -> PathBuf {
        self.0.join("history.jsonl")
    }

    pub(crate) fn package(&self, id: PackageId) -> PackageDir {
        PackageDir(self.packages_path().join(id.to_string()))
    }

    /// Returns the packages that have a folder, in ascending order.
    pub(crate) fn packages(&self) -> Result<Vec<PackageId>, StateError> {
        let path = self.packages_path();
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(StateError::File { path, source }),
        };
        let mut ids = Vec::new();
        for entry in entries {
            let name = entry.map_err(StateError::at(&path))?.file_name();
            ids.extend(
                name.to_str()
                    .and_then(|name| name.parse::<PackageId>().ok()),
            );
        }
        ids.sort_unstable();
        Ok(ids)
    }

    fn packages_path(&self) -> PathBuf {
        self.0.join("packages")
    }
}

/// What the agent keeps of one package while it works on it.
#[derive(Clone, Debug)]
pub(crate) struct PackageDir(PathBuf);

impl PackageDir {
    pub(crate) fn create(&self) -> Result<(), StateError> {
        let made = platform::private_folder(&self.0)
            .and_then(|()| platform::private_folder(&self.fragments()));
        made.map_err(StateError::at(&self.0))
    }

    pub(crate) fn remove(&self) -> Result<(), StateError> {
        remove_folder(&self.0).map_err(StateError::at(&self.0))
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.0.join("journal.json")
    }

    /// Holds a file `<n>` for each verified fragment, and `<n>.part` for those under way.
    pub(crate) fn fragments(&self) -> PathBuf {
        self.0.join("fragments")
    }

    /// Makes an empty folder for a package's program to run in.
    pub(crate) fn fresh_work_folder(&self) -> Result<PathBuf, StateError> {
        let path = self.0.join("work");
        remove_folder(&path)
            .and_then(|()| platform::private_folder(&path))
            .map_err(StateError::at(&path))?;
        Ok(path)
    }

    /// Removes fragments that did not arrive to their end.
    pub(crate) fn remove_parts(&self) -> Result<(), StateError> {
        let folder = self.fragments();
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => {
                return Err(StateError::File {
                    path: folder,
                    source,
                });
            }
        };
        for entry in entries {
            let path = entry.map_err(StateError::at(&folder))?.path();
            if path.extension().is_some_and(|kind| kind == "part") {
                fs::remove_file(&path).map_err(StateError::at(&path))?;
            }
        }
        Ok(())
    }

    /// Frees the space of the archive and of the unpacked files.
    pub(crate) fn discard_contents(&self) -> Result<(), StateError> {
        for path in [self.fragments(), self.0.join("work")] {
            remove_folder(&path).map_err(StateError::at(&path))?;
        }
        Ok(())
    }
}

fn remove_folder(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Returns what the device's clock says.
pub(crate) fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    UnixTime(since.map_or(0, |since| since.as_secs()))
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_folder_of_others_is_refused_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lib");
        fs::create_dir(&path).unwrap();
        let open = |mode| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            StateDir::open(&path)
        };
        assert!(open(0o755).is_ok(), "an empty one is taken");
        assert_eq!(mode(&path), 0o700);
        fs::write(path.join("data"), "of another service").unwrap();
        assert!(matches!(open(0o755), Err(StateError::Foreign { .. })));
        assert_eq!(mode(&path), 0o755);
        assert!(open(0o700).is_ok(), "nobody else can enter it");
        fs::write(path.join("lock"), "").unwrap();
        assert!(open(0o755).is_ok(), "the agent's own is made private");
        assert_eq!(mode(&path), 0o700);
    }
}
