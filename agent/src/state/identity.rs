//! The identity of this device: a key pair, and the pass of its enrolment.

use std::fs;
use std::io;
use std::path::PathBuf;

use packcast_protocol::api::Secret;
use packcast_protocol::http_signature::{DeviceKey, DeviceKeyError};

use crate::state::durable;
use crate::state::{StateDir, StateError};

/// Errors from loading the device's key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error("identity {} is damaged: restore the file, or remove it to enrol as a new device", path.display())]
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

/// Reads the device's key, and creates it first if there is none.
pub(crate) fn load_or_create(state: &StateDir) -> Result<DeviceKey, IdentityError> {
    let path = state.identity();
    if !path.exists() {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(IdentityError::Random)?;
        // `create`, not `replace`, so that two processes agree on one key.
        match durable::create(&path, &seed) {
            // Another process was faster, so its key is the device's key.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.map_err(StateError::at(&path))?,
        }
    }
    let bytes = fs::read(&path).map_err(StateError::at(&path))?;
    let seed: [u8; 32] = bytes
        .try_into()
        .map_err(|_| IdentityError::Damaged { path: path.clone() })?;
    DeviceKey::from_seed(&seed).map_err(|source| IdentityError::Key { path, source })
}

/// Reads the pass of an earlier enrolment. Returns `None` if there is no valid pass.
pub(crate) fn load_pass(state: &StateDir) -> Result<Option<Secret>, StateError> {
    let path = state.pass();
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim().parse().ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StateError::File { path, source }),
    }
}

pub(crate) fn store_pass(state: &StateDir, pass: &Secret) -> Result<(), StateError> {
    let path = state.pass();
    durable::replace(&path, pass.reveal().as_bytes()).map_err(StateError::at(&path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_created_once_and_kept_private() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(&dir.path().join("state")).unwrap();
        let id = load_or_create(&state).unwrap().id();
        assert_eq!(load_or_create(&state).unwrap().id(), id);
        assert!(!crate::platform::others_can_read(&state.identity()).unwrap());
    }

    #[test]
    fn a_truncated_key_is_an_error_and_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        fs::write(state.identity(), [1; 31]).unwrap();
        assert!(matches!(
            load_or_create(&state),
            Err(IdentityError::Damaged { .. })
        ));
        assert_eq!(fs::read(state.identity()).unwrap(), [1; 31]);
    }

    #[test]
    fn a_pass_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
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
        identity /var/lib/packcast/identity is damaged: restore the file, or remove it to enrol as a new device
        identity /var/lib/packcast/identity is not a key: restore the file, or remove it to enrol as a new device
        cannot create an identity: the system cannot provide random bytes
        ");
    }
}
