//! Where the agent keeps what it has to remember.

pub(crate) mod durable;
pub(crate) mod history;
pub(crate) mod identity;
pub(crate) mod journal;
mod package;
mod remove;
mod checked_line;

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use packcast_protocol::PackageId;

pub(crate) use self::package::PackageDir;
use self::remove::{remove_file, remove_files};
use crate::platform;

const IDENTITY: &str = "identity";
const PASS: &str = "pass";
const HISTORY: &str = "history";
const KEYS: &str = "keys.json";

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
    #[error("state folder {} is a link: name the folder that it leads to as state_dir", path.display())]
    Link { path: PathBuf },
    #[error("state folder {} is in use by another agent: wait for it, or stop it", path.display())]
    Locked { path: PathBuf },
    #[error("{} cannot be read or written: make room, or run the agent as the user that owns it", path.display())]
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
        // Whoever owns a link chooses where it leads.
        if path.is_symlink() {
            let path = path.to_owned();
            return Err(StateError::Link { path });
        }
        platform::private_folder(path).map_err(unopened)?;
        let state = Self(path.to_owned());
        if platform::others_can_read(path).map_err(unopened)? {
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

    pub(crate) fn identity(&self) -> PathBuf {
        self.0.join(IDENTITY)
    }

    pub(crate) fn pass(&self) -> PathBuf {
        self.0.join(PASS)
    }

    pub(crate) fn history(&self) -> PathBuf {
        self.0.join(HISTORY)
    }

    /// Holds the lists of trusted keys that the device follows.
    pub(crate) fn keys(&self) -> PathBuf {
        self.0.join(KEYS)
    }

    /// What `INSTALL_PATH` stands for: a folder of the packages' own, beside the agent's files.
    pub(crate) fn install_path(&self) -> PathBuf {
        self.0.join("installed")
    }

    /// Holds a file for each recipient whose signed assignments the device has.
    pub(crate) fn assignments(&self) -> PathBuf {
        self.0.join("assignments")
    }

    /// Removes what a crash left of the agent's files that were being made. Call it with the
    /// lock held.
    pub(crate) fn remove_temporary(&self) -> Result<(), StateError> {
        let entries = fs::read_dir(&self.0).map_err(StateError::at(&self.0))?;
        for entry in entries {
            let path = entry.map_err(StateError::at(&self.0))?.path();
            let of_file = |name| durable::is_left_of(&path, name);
            if [IDENTITY, PASS, HISTORY, KEYS].into_iter().any(of_file) {
                remove_file(&path)?;
            }
        }
        let is_new = |path: &Path| path.extension().is_some_and(|kind| kind == "new");
        remove_files(&self.assignments(), is_new)
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

    /// Removes what could not be removed before.
    pub(crate) fn remove_left_over(&self) {
        let packages = self.packages_path();
        let each = self.packages().unwrap_or_default().into_iter();
        each.for_each(|id| remove::left_over(&self.package(id).0));
        remove::left_over(&packages);
    }

    fn packages_path(&self) -> PathBuf {
        self.0.join("packages")
    }
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

    #[test]
    fn a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        let opened = StateDir::open(&link);
        assert!(matches!(opened, Err(StateError::Link { .. })));
    }

    #[test]
    fn what_belongs_to_another_user_is_refused() {
        let give_away = |path: &Path| std::os::unix::fs::chown(path, Some(65_534), None);
        let dir = tempfile::tempdir().unwrap();
        let (folder, file) = (dir.path().join("state"), dir.path().join("state/lock"));
        platform::private_folder(&folder).unwrap();
        fs::write(&file, "").unwrap();
        if give_away(&file).is_err() {
            // Only root can.
            return;
        }
        assert!(platform::others_can_read(&file).unwrap());
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        let opened = StateDir::open(&folder);
        assert!(matches!(opened, Err(StateError::Open { .. })));
        fs::remove_file(&file).unwrap();
        give_away(&folder).unwrap();
        let opened = StateDir::open(&folder);
        assert!(matches!(opened, Err(StateError::Open { .. })));
    }
}
