//! The identity of this device: a key pair, the machine that it was created on, and the pass of its
//! enrolment.

use std::fmt;
use std::path::PathBuf;

use packcast_protocol::api::Secret;
use packcast_protocol::http_signature::{DeviceKey, DeviceKeyError};
use serde::{Deserialize, Serialize};

use crate::platform::MachineIds;
use crate::state::checked_file::{self, CheckedFile};
use crate::state::damage::DamagedFile;
use crate::state::{StateDir, StateError};

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
    seed: Seed,
    machine: MachineIds,
}

/// The secret seed of a key. Zeros are no seed: everybody can compute their key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "[u8; 32]", into = "[u8; 32]")]
struct Seed([u8; 32]);

impl TryFrom<[u8; 32]> for Seed {
    type Error = &'static str;

    fn try_from(bytes: [u8; 32]) -> Result<Self, Self::Error> {
        if bytes == [0; 32] {
            return Err("the seed consists of zeros");
        }
        Ok(Self(bytes))
    }
}

impl From<Seed> for [u8; 32] {
    fn from(Seed(bytes): Seed) -> Self {
        bytes
    }
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
        Ok(Self {
            seed: Seed(seed),
            machine: machine.clone(),
        })
    }

    pub(crate) fn key(&self, state: &StateDir) -> Result<DeviceKey, IdentityError> {
        let path = state.identity();
        DeviceKey::from_seed(&self.seed.0).map_err(|source| IdentityError::Key { path, source })
    }

    /// Returns `true` if the identity was created on another machine than `here`.
    ///
    /// An identity without comparable ids counts as created here.
    pub(crate) fn is_of_another_machine(&self, here: &MachineIds) -> bool {
        self.machine.is_same(here) == Some(false)
    }

    /// Replaces the stored identity; it is on disk when this returns.
    pub(crate) fn replace(&self, state: &StateDir) -> Result<(), StateError> {
        checked_file::replace(&state.identity(), self)
    }
}

/// Reads the device's identity, and creates it first if there is none.
pub(crate) fn load_or_create(
    state: &StateDir,
    machine: &MachineIds,
) -> Result<Identity, IdentityError> {
    let path = state.identity();
    if !path.exists() {
        // `create`, not `replace`, so that two processes agree on one key.
        checked_file::create(&path, &Identity::create(machine)?)?;
    }
    let identity = checked_file::read(&path)?.and_then(|file| file.value);
    identity.ok_or(IdentityError::Damaged { path })
}

/// Reads the device's identity; `None` if there is none that this version can read.
pub(crate) fn load(state: &StateDir) -> Result<Option<Identity>, StateError> {
    Ok(checked_file::read(&state.identity())?.and_then(|file| file.value))
}

/// Moves a damaged identity or pass aside. The caller holds the lock of the state folder.
///
/// Returns the damaged files. A pass without its identity counts as damaged.
pub(crate) fn move_damaged_aside(state: &StateDir) -> Result<Vec<DamagedFile>, StateError> {
    let (identity, pass) = (state.identity(), state.pass());
    let mut damaged = Vec::new();
    let stored = checked_file::read::<Identity>(&identity)?;
    if let Some(file) = stored.filter(CheckedFile::is_damaged) {
        damaged.push(file.move_aside(
            &identity,
            "the device enrols as a new one, for which it needs an enrolment token",
        )?);
    }
    let is_lost = !damaged.is_empty();
    let stored = checked_file::read::<Secret>(&pass)?;
    if let Some(file) = stored.filter(|file| is_lost || file.is_damaged()) {
        damaged.push(file.move_aside(
            &pass,
            "the device enrols again, for which it needs an enrolment token",
        )?);
    }
    Ok(damaged)
}

/// Reads the pass of an earlier enrolment. Returns `None` if there is no valid pass.
pub(crate) fn load_pass(state: &StateDir) -> Result<Option<Secret>, StateError> {
    Ok(checked_file::read(&state.pass())?.and_then(|file| file.value))
}

pub(crate) fn store_pass(state: &StateDir, pass: &Secret) -> Result<(), StateError> {
    checked_file::replace(&state.pass(), pass)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

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
        // Two machines with such a file would share a key that everybody can compute.
        let zeros = Identity {
            seed: Seed([0; 32]),
            machine: here.clone(),
        };
        restore();
        checked_file::replace(&state.identity(), &zeros).unwrap();
        let checked_zeros = fs::read(state.identity()).unwrap();
        for bytes in [&[1; 32][..], &[0; 32], &checked_zeros] {
            restore();
            fs::write(state.identity(), bytes).unwrap();
            let refused = load_or_create(&state, &here);
            assert!(matches!(refused, Err(IdentityError::Damaged { .. })));
            let damaged = move_damaged_aside(&state).unwrap();
            assert_eq!(fs::read(&damaged[0].kept).unwrap(), bytes);
            assert_ne!(load_or_create(&state, &here).unwrap(), created);
        }
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
