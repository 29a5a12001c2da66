//! The keyring of the login session, which holds unlocked keys for a while.
//!
//! On Linux this is the session keyring of the kernel. It needs no process of its own and no desktop,
//! is never written to disk, and forgets a key at the end of its time.

#[cfg(target_os = "linux")]
#[path = "keyring/linux.rs"]
mod system;
#[cfg(not(target_os = "linux"))]
#[path = "keyring/elsewhere.rs"]
mod system;

use std::path::Path;

use packcast_protocol::Sha256Digest;
use packcast_publisher::Failure;
use packcast_publisher::signing::UnlockedKey;

/// Errors from the keyring of the login session.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the keyring of this login session")]
pub(crate) struct KeyringError(#[from] system::SystemError);

/// Keeps an unlocked key for this number of seconds, in place of an earlier one of the file.
pub(crate) fn unlock(file: &Path, key: &UnlockedKey, for_s: u64) -> Result<(), KeyringError> {
    Ok(system::store(&name(file), &key.to_bytes(), for_s)?)
}

/// Returns the unlocked key of a file; `None` if the key is locked.
pub(crate) fn unlocked(file: &Path) -> Result<Option<UnlockedKey>, KeyringError> {
    let stored = system::find(&name(file))?;
    Ok(stored.and_then(|stored| UnlockedKey::from_bytes(&stored)))
}

/// Removes the unlocked key of a file. Returns false if the key was locked.
pub(crate) fn lock(file: &Path) -> Result<bool, KeyringError> {
    Ok(system::remove(&name(file))?)
}

/// Returns the name of a key in the keyring. Other users can see the names of all keys.
fn name(file: &Path) -> String {
    let path = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let digest = Sha256Digest::of(path.as_os_str().as_encoded_bytes());
    format!("packcast:{digest}")
}

impl From<KeyringError> for Failure {
    fn from(error: KeyringError) -> Self {
        Self::failed(error).hint(
            "write the passphrase into a file that only you can read, and add passphrase_file to the target in packcast.toml",
        )
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_missing_keyring_has_a_next_step() {
        let failure = Failure::from(KeyringError(system::SystemError::PermissionDenied));
        assert_snapshot!(failure, @"
        cannot use the keyring of this login session: PermissionDenied
        hint: write the passphrase into a file that only you can read, and add passphrase_file to the target in packcast.toml
        ");
    }

    #[test]
    fn one_file_has_one_name() {
        assert_eq!(
            name(Path::new("a.key")),
            name(&Path::new(".").join("a.key"))
        );
        assert_ne!(name(Path::new("a.key")), name(Path::new("b.key")));
        let prefix = name(Path::new("a.key"))
            .split_once(':')
            .map(|(prefix, _)| prefix.to_owned());
        assert_eq!(prefix.as_deref(), Some("packcast"));
    }
}
