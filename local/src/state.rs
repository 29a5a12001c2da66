//! The state of a running local system, written for the command line.

use std::fs::{self, File, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use packcast_protocol::ObjectPath;
use packcast_protocol::api::Secret;
use serde::{Deserialize, Serialize};

use crate::private;

/// Attempts to take the lock: a reader of the state holds it for a moment.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The state of a running `packcast local`: `local.json` in its state directory, mode 0600.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LocalState {
    pub pid: u32,
    /// The address on which the edge serves HTTPS.
    pub edge: SocketAddr,
    /// The URL of the records engine.
    pub endpoint: String,
    pub table: String,
    pub objects_dir: PathBuf,
    /// The prefix of all object paths.
    pub prefix: ObjectPath,
    /// The certificate of the authority that issued the edge's certificate.
    pub ca_file: PathBuf,
    /// A file that contains only the enrolment token, for the configuration of agents.
    pub enrolment_token_file: PathBuf,
    pub enrolment_token: Secret,
    pub ocs_path_token: Secret,
    /// The access log of the edge: a JSON line for each request.
    pub edge_log: PathBuf,
}

/// Errors from loading the state of a running local system.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("packcast local is not running with state folder {}", state_dir.display())]
    NotRunning { state_dir: PathBuf },
    #[error("packcast local is still starting with state folder {}: try again", state_dir.display())]
    Starting { state_dir: PathBuf },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is damaged: stop packcast local and start it again", path.display())]
    Damaged {
        path: PathBuf,
        source: serde_json::Error,
    },
}

/// Errors from locking a state directory.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("packcast local already runs with state folder {}: stop it, or pass another folder with --state", state_dir.display())]
    Running { state_dir: PathBuf },
    #[error("cannot lock {}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// The exclusive right to use a state directory, until it is dropped or the process dies.
#[derive(Debug)]
pub(crate) struct StateLock {
    _file: File,
}

impl StateLock {
    pub(crate) async fn take(state_dir: &Path) -> Result<Self, LockError> {
        let path = lock_path(state_dir);
        let fail = |source| LockError::Io {
            path: path.clone(),
            source,
        };
        let file = private::open(&path).map_err(fail)?;
        for _ in 0..LOCK_TRIES {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_PAUSE).await,
                Err(TryLockError::Error(source)) => return Err(fail(source)),
            }
        }
        Err(LockError::Running {
            state_dir: state_dir.to_owned(),
        })
    }
}

impl LocalState {
    /// Reads the state of the local system that runs on a state directory.
    ///
    /// The state that a dead process left is not mistaken for a running system.
    pub fn load(state_dir: &Path) -> Result<Self, LoadError> {
        if !is_locked(state_dir)? {
            return Err(LoadError::NotRunning {
                state_dir: state_dir.to_owned(),
            });
        }
        let path = state_path(state_dir);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(LoadError::Starting {
                    state_dir: state_dir.to_owned(),
                });
            }
            text => text.map_err(|source| LoadError::Read {
                path: path.clone(),
                source,
            })?,
        };
        serde_json::from_slice(&text).map_err(|source| LoadError::Damaged { path, source })
    }

    pub(crate) fn write(&self, state_dir: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self).map_err(io::Error::other)?;
        text.push(b'\n');
        private::replace(&state_path(state_dir), &text)
    }

    /// Removes the state of this process, or of a dead one.
    pub(crate) fn remove(state_dir: &Path) -> io::Result<()> {
        match fs::remove_file(state_path(state_dir)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }
}

/// Returns whether a system holds the lock; a missing lock file is not created.
fn is_locked(state_dir: &Path) -> Result<bool, LoadError> {
    let path = lock_path(state_dir);
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        file => file.map_err(|source| LoadError::Read {
            path: path.clone(),
            source,
        })?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(source)) => Err(LoadError::Read { path, source }),
    }
}

fn lock_path(state_dir: &Path) -> PathBuf {
    state_dir.join("local.lock")
}

fn state_path(state_dir: &Path) -> PathBuf {
    state_dir.join("local.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_a_message() {
        let state_dir = || PathBuf::from("state");
        let path = || PathBuf::from("state/local.json");
        let errors = [
            LoadError::NotRunning {
                state_dir: state_dir(),
            },
            LoadError::Starting {
                state_dir: state_dir(),
            },
            LoadError::Read {
                path: path(),
                source: io::ErrorKind::PermissionDenied.into(),
            },
            LoadError::Damaged {
                path: path(),
                source: serde_json::from_str::<LocalState>("").unwrap_err(),
            },
        ];
        let messages = errors.map(|error| error.to_string()).join("\n");
        insta::assert_snapshot!(messages, @r"
        packcast local is not running with state folder state
        packcast local is still starting with state folder state: try again
        cannot read state/local.json
        state/local.json is damaged: stop packcast local and start it again
        ");

        let errors = [
            LockError::Running {
                state_dir: state_dir(),
            },
            LockError::Io {
                path: PathBuf::from("state/local.lock"),
                source: io::ErrorKind::PermissionDenied.into(),
            },
        ];
        let messages = errors.map(|error| error.to_string()).join("\n");
        insta::assert_snapshot!(messages, @r"
        packcast local already runs with state folder state: stop it, or pass another folder with --state
        cannot lock state/local.lock
        ");
    }
}
