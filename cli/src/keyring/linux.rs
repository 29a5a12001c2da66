//! The session keyring of the Linux kernel: see `session-keyring(7)`.

pub(super) use linux_keyutils::KeyError as SystemError;
use linux_keyutils::{Key, KeyRing, KeyRingIdentifier};

/// Stores a secret for this number of seconds.
///
/// Only processes that have the session keyring can read the secret.
pub(super) fn store(name: &str, secret: &[u8], for_s: u64) -> Result<(), SystemError> {
    let for_s = usize::try_from(for_s).map_err(|_| SystemError::InvalidArguments)?;
    // The key is in the keyring of this thread until it has its timeout, so that an interruption
    // leaves no key without one.
    let thread = KeyRing::from_special_id(KeyRingIdentifier::Thread, true)?;
    let key = thread.add_key(name, secret)?;
    key.set_timeout(for_s)?;
    session()?.link_key(key)
}

/// Returns a stored secret.
pub(super) fn find(name: &str) -> Result<Option<Vec<u8>>, SystemError> {
    key(name)?.map(|key| key.read_to_vec()).transpose()
}

/// Removes a secret. Returns false if there is none.
pub(super) fn remove(name: &str) -> Result<bool, SystemError> {
    let Some(key) = key(name)? else {
        return Ok(false);
    };
    // The kernel overwrites the secret of a revoked key.
    key.revoke()?;
    Ok(true)
}

fn key(name: &str) -> Result<Option<Key>, SystemError> {
    match session()?.search(name) {
        Ok(key) => Ok(Some(key)),
        Err(SystemError::KeyDoesNotExist | SystemError::KeyExpired | SystemError::KeyRevoked) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Returns the keyring of the login session, or the user's default one if the session has none. A
/// new keyring would end with this process.
fn session() -> Result<KeyRing, SystemError> {
    KeyRing::from_special_id(KeyRingIdentifier::Session, false)
}
