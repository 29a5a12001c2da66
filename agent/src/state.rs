//! The state folder: everything that the agent remembers.

pub(crate) mod checked_file;
mod checked_line;
pub(crate) mod damage;
pub(crate) mod durable;
pub(crate) mod history;
pub(crate) mod identity;
pub(crate) mod journal;
mod package;
mod remove;
pub(crate) mod stated_facts;
pub(crate) mod waiting;

use std::convert::Infallible;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use packcast_protocol::PackageId;
use packcast_protocol::state::TargetId;

pub(crate) use self::package::PackageDir;
pub(crate) use self::remove::{remove_file, remove_files};
use crate::platform;

const IDENTITY: &str = "identity";
const PASS: &str = "pass";
const HISTORY: &str = "history";
const HISTORY_COPY: &str = "history.copy";
const TARGET: &str = "target";
const WAITING: &str = "waiting";
const FACTS: &str = "facts";

/// The longest wait for the removal of old folders at the start.
const LEFTOVERS_PATIENCE: Duration = Duration::from_secs(10);

/// The agent's folder, which only the agent's user can enter.
#[derive(Clone, Debug)]
pub(crate) struct StateDir(PathBuf);

/// Errors of the state folder.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    #[error("cannot make state folder {} private: run the agent as the owner of the folder", path.display())]
    Open {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "state folder {} has files of other programs, and other users can enter it: set state_dir to a folder for the agent alone",
        path.display()
    )]
    Foreign { path: PathBuf },
    #[error(
        "other users can replace state folder {}: make {} a folder of root that only root can change, or choose another state_dir",
        path.display(),
        above.display()
    )]
    Above {
        path: PathBuf,
        above: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("state folder {} is a symbolic link: set state_dir to its target", path.display())]
    Link { path: PathBuf },
    #[error("state folder {} is in use by another agent: wait for that agent, or stop it", path.display())]
    Locked { path: PathBuf },
    #[error(
        "history {} is of an older agent: remove the file to begin with an empty history, after which packages may run again",
        path.display()
    )]
    OlderHistory { path: PathBuf },
    #[error(
        "the removal of files in {} still runs: look for a file system there that does not answer",
        path.display()
    )]
    Removing { path: PathBuf },
    #[error("cannot read or write {}: free some space, or run the agent as the owner of the file", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl StateError {
    /// Adds the file's path to an I/O error.
    pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}

/// Returns the socket of the service with this state folder.
pub(crate) fn socket(state_dir: &Path) -> PathBuf {
    state_dir.join("socket")
}

/// Returns the folder with the versions of the agent.
pub(crate) fn versions(state_dir: &Path) -> PathBuf {
    state_dir.join("versions")
}

/// A lock on the agent's folder for one process, released on drop.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes a lock. `folder` is the folder that it protects.
    pub(crate) fn of(path: &Path, folder: &Path) -> Result<Self, StateError> {
        // The system releases the lock when the process ends, even after a crash.
        let file = File::create(path).map_err(StateError::at(path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StateError::Locked {
                path: folder.to_owned(),
            }),
            Err(TryLockError::Error(source)) => Err(StateError::at(path)(source)),
        }
    }
}

impl StateDir {
    /// Opens the folder, and creates it if it is missing.
    ///
    /// An existing folder is made private if it is empty or already in use by the agent.
    pub(crate) fn open(path: &Path) -> Result<Self, StateError> {
        let unopened = |source| StateError::Open {
            path: path.to_owned(),
            source,
        };
        // The owner of a link could change its target at any time.
        if path.is_symlink() {
            let path = path.to_owned();
            return Err(StateError::Link { path });
        }
        platform::private_folder(path).map_err(unopened)?;
        // After the folder was created, because only then all folders above it exist.
        let above = path.parent().unwrap_or(path);
        platform::expect_unchangeable(above).map_err(|found| StateError::Above {
            path: path.to_owned(),
            above: found.path,
            source: found.error,
        })?;
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
        Lock::of(&self.lock_path(), &self.0)
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

    /// Returns the beginning of the name under which a damaged journal is kept.
    ///
    /// The folder of the package is removed with its result.
    pub(crate) fn damaged_journal(&self, id: PackageId) -> PathBuf {
        self.0.join(format!("journal-{id}"))
    }

    /// Returns the second file of the history.
    pub(crate) fn history_copy(&self) -> PathBuf {
        self.0.join(HISTORY_COPY)
    }

    /// Returns the folder that `INSTALL_PATH` stands for, for files of packages.
    pub(crate) fn install_path(&self) -> PathBuf {
        self.0.join("installed")
    }

    /// Returns the file with the target whose signed state the agent follows.
    pub(crate) fn target(&self) -> PathBuf {
        self.0.join(TARGET)
    }

    /// Returns the folder with the signed state of a target.
    pub(crate) fn target_state(&self, target: TargetId) -> PathBuf {
        self.0.join(format!("{TARGET}-{target}"))
    }

    /// Returns the file with the packages that wait.
    pub(crate) fn waiting(&self) -> PathBuf {
        self.0.join(WAITING)
    }

    /// Returns the file with the memory of the daily facts.
    pub(crate) fn stated_facts(&self) -> PathBuf {
        self.0.join(FACTS)
    }

    /// Returns the folder with the versions of the agent.
    pub(crate) fn versions(&self) -> PathBuf {
        versions(&self.0)
    }

    /// Removes temporary files that a crash left behind. The caller holds the lock.
    pub(crate) fn remove_temporary(&self) -> Result<(), StateError> {
        let entries = fs::read_dir(&self.0).map_err(StateError::at(&self.0))?;
        for entry in entries {
            let path = entry.map_err(StateError::at(&self.0))?.path();
            let of_file = |name| durable::is_left_of(&path, name);
            let files = [
                IDENTITY,
                PASS,
                HISTORY,
                HISTORY_COPY,
                TARGET,
                WAITING,
                FACTS,
            ];
            if files.into_iter().any(of_file) || damage::is_left_of_copy(&path) {
                remove_file(&path)?;
            }
        }
        Ok(())
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
        // The order of a folder's entries depends on the file system.
        ids.sort_unstable();
        Ok(ids)
    }

    /// Removes folders that an earlier run could not remove. Waits a few seconds at most, because a
    /// mount in such a folder may hang.
    pub(crate) fn remove_leftovers(&self) {
        let state = self.clone();
        let (end, ended) = mpsc::channel::<Infallible>();
        std::thread::spawn(move || {
            let _end = end;
            state.remove_all_leftovers();
        });
        if ended.recv_timeout(LEFTOVERS_PATIENCE) == Err(RecvTimeoutError::Timeout) {
            let folder = self.packages_path();
            tracing::warn!(folder = %folder.display(), "the removal of old folders still runs");
        }
    }

    fn remove_all_leftovers(&self) {
        let packages = self.packages_path();
        let each = self.packages().unwrap_or_default().into_iter();
        each.for_each(|id| remove::leftovers(&self.package(id).0));
        remove::leftovers(&packages);
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
    use crate::skip::{Missing, skip};

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_folder_of_another_program_is_refused_and_unchanged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lib");
        fs::create_dir(&path).unwrap();
        let open = |mode| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            StateDir::open(&path)
        };
        assert!(open(0o755).is_ok(), "an empty folder is accepted");
        assert_eq!(mode(&path), 0o700);
        fs::write(path.join("data"), "of another service").unwrap();
        assert!(matches!(open(0o755), Err(StateError::Foreign { .. })));
        assert_eq!(mode(&path), 0o755);
        assert!(
            open(0o700).is_ok(),
            "a folder that nobody else can enter is accepted"
        );
        fs::write(path.join("lock"), "").unwrap();
        assert!(
            open(0o755).is_ok(),
            "a folder that the agent has used is made private"
        );
        assert_eq!(mode(&path), 0o700);
    }

    #[test]
    fn a_folder_below_one_that_others_can_change_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let above = dir.path().canonicalize().unwrap().join("above");
        fs::create_dir(&above).unwrap();
        let open = |mode| {
            fs::set_permissions(&above, fs::Permissions::from_mode(mode)).unwrap();
            StateDir::open(&above.join("new/state"))
        };
        for mode in [0o777, 0o775] {
            let refused = open(mode);
            assert!(
                matches!(&refused, Err(StateError::Above { above: found, .. }) if *found == above),
                "{refused:?}"
            );
        }
        assert!(open(0o755).is_ok());
        // Only the owner of a folder can rename it, as in /tmp.
        assert!(open(0o1777).is_ok());
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
    fn a_folder_with_files_of_another_user_is_refused() {
        let give_away = |path: &Path| std::os::unix::fs::chown(path, Some(65_534), None);
        let dir = tempfile::tempdir().unwrap();
        let (folder, file) = (dir.path().join("state"), dir.path().join("state/lock"));
        platform::private_folder(&folder).unwrap();
        fs::write(&file, "").unwrap();
        if give_away(&file).is_err() {
            skip(Missing::Optional("changing the owner of a file"));
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

    #[test]
    fn messages_name_the_path_and_the_remedy() {
        let path = || PathBuf::from("/var/lib/packcast");
        let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
        let errors = [
            StateError::Open {
                path: path(),
                source: denied(),
            },
            StateError::Foreign { path: path() },
            StateError::Above {
                path: path(),
                above: "/var".into(),
                source: denied(),
            },
            StateError::Link { path: path() },
            StateError::Locked { path: path() },
            StateError::OlderHistory {
                path: path().join("history"),
            },
            StateError::Removing { path: path() },
            StateError::File {
                path: path().join("history"),
                source: denied(),
            },
        ];
        let text = errors.map(|error| error.to_string()).join("\n");
        insta::assert_snapshot!(text, @r"
        cannot make state folder /var/lib/packcast private: run the agent as the owner of the folder
        state folder /var/lib/packcast has files of other programs, and other users can enter it: set state_dir to a folder for the agent alone
        other users can replace state folder /var/lib/packcast: make /var a folder of root that only root can change, or choose another state_dir
        state folder /var/lib/packcast is a symbolic link: set state_dir to its target
        state folder /var/lib/packcast is in use by another agent: wait for that agent, or stop it
        history /var/lib/packcast/history is of an older agent: remove the file to begin with an empty history, after which packages may run again
        the removal of files in /var/lib/packcast still runs: look for a file system there that does not answer
        cannot read or write /var/lib/packcast/history: free some space, or run the agent as the owner of the file
        ");
    }
}
