//! The identity of this device: a key pair, the machine that it was created on, and the pass of its
//! enrolment.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use packcast_protocol::api::Secret;
use packcast_protocol::http_signature::{DeviceKey, DeviceKeyError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::platform::MachineIds;
use crate::state::damage::{self, DamagedFile};
use crate::state::{StateDir, StateError};
use crate::state::{checked_line, durable};

/// Errors from loading the device's identity.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(
        "identity {} is damaged: restore the file, or run 'packcast-agent run' to enrol as a new device",
        path.display()
    )]
    Damaged { path: PathBuf },
    #[error("identity {} is not a key: restore the file, or remove it to enrol as a new device", path.display())]
    Key {
        path: PathBuf,
        #[source]
        source: DeviceKeyError,
    },
    #[error("cannot create an identity: the system cannot provide random bytes")]
    Random(#[source] getrandom::Error),
}

/// The key of a device, with the ids of the machine that it was created on.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    seed: [u8; 32],
    machine: MachineIds,
}

impl fmt::Debug for Identity {
    /// Leaves the secret seed out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("machine", &self.machine)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// Creates the identity of a new device, in memory only.
    pub(crate) fn create(machine: &MachineIds) -> Result<Self, IdentityError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(IdentityError::Random)?;
        let machine = machine.clone();
        Ok(Self { seed, machine })
    }

    pub(crate) fn key(&self, state: &StateDir) -> Result<DeviceKey, IdentityError> {
        let path = state.identity();
        DeviceKey::from_seed(&self.seed).map_err(|source| IdentityError::Key { path, source })
    }

    /// Returns `true` if the identity was created on another machine than `here`.
    ///
    /// An identity without comparable ids counts as created here.
    pub(crate) fn is_of_another_machine(&self, here: &MachineIds) -> bool {
        self.machine.is_same(here) == Some(false)
    }

    /// Replaces the stored identity; it is on disk when this returns.
    pub(crate) fn replace(&self, state: &StateDir) -> Result<(), StateError> {
        let path = state.identity();
        let line = checked_line::line(self).map_err(io::Error::from);
        line.and_then(|line| durable::replace(&path, &line))
            .map_err(StateError::at(&path))
    }
}

/// Reads the device's identity, and creates it first if there is none.
pub(crate) fn load_or_create(
    state: &StateDir,
    machine: &MachineIds,
) -> Result<Identity, IdentityError> {
    let path = state.identity();
    if !path.exists() {
        let identity = Identity::create(machine)?;
        let line = checked_line::line(&identity).map_err(io::Error::from);
        let line = line.map_err(StateError::at(&path))?;
        // `create`, not `replace`, so that two processes agree on one key.
        match durable::create(&path, &line) {
            // Another process was faster, so its key is the device's key.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.map_err(StateError::at(&path))?,
        }
    }
    let identity = read(&path)?.and_then(|file| file.value);
    identity.ok_or(IdentityError::Damaged { path })
}

/// Moves a damaged identity or pass aside. The caller holds the lock of the state folder.
///
/// Returns the damaged files. A pass without its identity counts as damaged.
pub(crate) fn move_damaged_aside(state: &StateDir) -> Result<Vec<DamagedFile>, StateError> {
    let mut damaged = Vec::new();
    let mut move_aside = |path: PathBuf, bytes: Option<Vec<u8>>, effect| {
        if let Some(bytes) = &bytes {
            let kept = damage::move_aside(&path, bytes).map_err(StateError::at(&path))?;
            damaged.push(DamagedFile { path, kept, effect });
        }
        Ok(bytes.is_some())
    };
    let is_lost = move_aside(
        state.identity(),
        damaged_content::<Identity>(&state.identity())?,
        "the device enrols as a new one, for which it needs an enrolment token",
    )?;
    let pass = read::<Secret>(&state.pass())?;
    let useless = pass.filter(|pass| is_lost || pass.value.is_none());
    move_aside(
        state.pass(),
        useless.map(|pass| pass.bytes),
        "the device enrols again, for which it needs an enrolment token",
    )?;
    Ok(damaged)
}

/// Returns the content of a file if it is damaged.
fn damaged_content<T: DeserializeOwned>(path: &Path) -> Result<Option<Vec<u8>>, StateError> {
    let damaged = read::<T>(path)?.filter(|file| file.value.is_none());
    Ok(damaged.map(|file| file.bytes))
}

/// The content of a file with a check.
struct CheckedFile<T> {
    bytes: Vec<u8>,
    /// `None` if the file is damaged.
    value: Option<T>,
}

/// Reads a file with a check. Returns `None` if the file does not exist.
fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<CheckedFile<T>>, StateError> {
    match fs::read(path) {
        Ok(bytes) => {
            let value = checked_line::read(&bytes).ok();
            Ok(Some(CheckedFile { bytes, value }))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StateError::at(path)(error)),
    }
}

/// Reads the pass of an earlier enrolment. Returns `None` if there is no valid pass.
pub(crate) fn load_pass(state: &StateDir) -> Result<Option<Secret>, StateError> {
    Ok(read(&state.pass())?.and_then(|file| file.value))
}

pub(crate) fn store_pass(state: &StateDir, pass: &Secret) -> Result<(), StateError> {
    let path = state.pass();
    let line = checked_line::line(pass).map_err(io::Error::from);
    line.and_then(|line| durable::replace(&path, &line))
        .map_err(StateError::at(&path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(dir: &Path) -> StateDir {
        StateDir::open(&dir.join("state")).unwrap()
    }

    #[test]
    fn the_key_is_created_once_and_kept_private() {
        let dir = tempfile::tempdir().unwrap();
        let state = state(dir.path());
        let here = MachineIds::of(&["1"]);
        let created = load_or_create(&state, &here).unwrap();
        assert_eq!(load_or_create(&state, &here).unwrap(), created);
        assert!(!crate::platform::others_can_read(&state.identity()).unwrap());
        assert_eq!(move_damaged_aside(&state).unwrap(), []);
    }

    #[test]
    fn a_damaged_identity_or_pass_is_moved_aside() {
        let dir = tempfile::tempdir().unwrap();
        let state = state(dir.path());
        let here = MachineIds::of(&["1"]);
        let created = load_or_create(&state, &here).unwrap();
        let pass: Secret = "0123456789abcdef".parse().unwrap();
        store_pass(&state, &pass).unwrap();
        let whole = [state.identity(), state.pass()].map(|path| fs::read(path).unwrap());
        let restore = || {
            fs::write(state.identity(), &whole[0]).unwrap();
            fs::write(state.pass(), &whole[1]).unwrap();
        };
        // The pass belongs to the identity, and is lost with it.
        for (path, whole, lost) in [
            (state.identity(), &whole[0], 2),
            (state.pass(), &whole[1], 1),
        ] {
            for at in [0, 70, whole.len() - 1] {
                restore();
                let mut changed = whole.clone();
                changed[at] ^= 1;
                fs::write(&path, &changed).unwrap();
                let damaged = move_damaged_aside(&state).unwrap();
                assert_eq!(damaged.len(), lost, "{at}");
                assert_eq!(damaged[0].path, path);
                assert_eq!(fs::read(&damaged[0].kept).unwrap(), changed);
                assert!(!path.exists());
            }
        }
        restore();
        fs::write(state.identity(), [1; 32]).unwrap();
        let refused = load_or_create(&state, &here);
        assert!(matches!(refused, Err(IdentityError::Damaged { .. })));
        move_damaged_aside(&state).unwrap();
        assert_ne!(load_or_create(&state, &here).unwrap(), created);
    }

    #[test]
    fn an_identity_belongs_to_its_machine() {
        let dir = tempfile::tempdir().unwrap();
        let state = state(dir.path());
        let identity = load_or_create(&state, &MachineIds::of(&["1", "2"])).unwrap();
        let check = |here: &[&str], expected| {
            let here = MachineIds::of(here);
            assert_eq!(identity.is_of_another_machine(&here), expected, "{here:?}");
        };
        check(&["1", "2"], false);
        // The first id decides.
        check(&["1", "3"], false);
        check(&["3", "2"], true);
        // The system shows only one of the ids, or none.
        check(&["", "2"], false);
        check(&["", "3"], true);
        check(&["", ""], false);
        let copy = Identity::create(&MachineIds::of(&["3"])).unwrap();
        copy.replace(&state).unwrap();
        assert_eq!(
            load_or_create(&state, &MachineIds::default()).unwrap(),
            copy
        );
    }

    #[test]
    fn a_pass_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let state = state(dir.path());
        assert!(load_pass(&state).unwrap().is_none());
        let pass: Secret = "0123456789abcdef".parse().unwrap();
        store_pass(&state, &pass).unwrap();
        assert_eq!(load_pass(&state).unwrap(), Some(pass));
    }

    #[test]
    fn identity_error_messages() {
        let path = || PathBuf::from("/var/lib/packcast/identity");
        let errors = [
            IdentityError::Damaged { path: path() },
            IdentityError::Key {
                path: path(),
                source: DeviceKeyError,
            },
            IdentityError::Random(getrandom::Error::UNSUPPORTED),
        ];
        let text = errors.map(|error| error.to_string()).join("\n");
        insta::assert_snapshot!(text, @r"
        identity /var/lib/packcast/identity is damaged: restore the file, or run 'packcast-agent run' to enrol as a new device
        identity /var/lib/packcast/identity is not a key: restore the file, or remove it to enrol as a new device
        cannot create an identity: the system cannot provide random bytes
        ");
    }
}
