//! The signing key and the target id of a system that runs on this machine.

use std::path::Path;

use packcast_protocol::state::TrustedRoots;

use crate::failure::Failure;
use crate::signing::Secrets;
use crate::signing::key::SigningKey;
use crate::signing::key_files::known_or_new;
use crate::target::{LOCAL, known_trust, local_key_file, state_memory};

/// Reads the key of the system whose state is in `state_dir`. The function generates the key if
/// there is none, and it creates the target id if this machine knows none.
///
/// A generated key is not encrypted: anybody who can read the folder of such a system controls
/// the system anyway.
pub fn signing_key(state_dir: &Path, secrets: &dyn Secrets) -> Result<SigningKey, Failure> {
    let file = local_key_file(state_dir);
    let key = if file.exists() {
        SigningKey::read(&file, secrets)
    } else {
        SigningKey::generate(&file, None)
    };
    let key = key?;
    known_or_new(&state_memory(state_dir), key.public())?;
    Ok(key)
}

/// Returns target id and root keys of the system whose state is in `state_dir`.
///
/// # Errors
/// [`signing_key`] has not created them yet.
pub fn trust(state_dir: &Path) -> Result<TrustedRoots, Failure> {
    known_trust(LOCAL, &state_memory(state_dir))
}
