//! Rotates the signing key: a new key replaces the current signing key.
//!
//! The key file is replaced last. If the operation is interrupted before that, a second run
//! continues with the new key of the first run.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use packcast_protocol::signature::PublicKey;
use packcast_protocol::state::TrustedRoots;
use serde::Serialize;

use super::key::{SigningKey, is_encrypted_file, public_file, write_public};
use super::key_error::{KEY_VARIABLE, KeyError};
use super::secrets::Secrets;
use super::signer::state_signer;
use crate::failure::Failure;
use crate::state;
use crate::state::StateKey;
use crate::target::Target;

/// The result of a rotation.
#[derive(Debug, Serialize)]
pub struct Rotated {
    pub public_key: String,
    /// Target id and root keys, for the configuration of further agents.
    pub trust: TrustedRoots,
    pub secret_key_file: PathBuf,
    /// The file of the earlier signing key.
    pub old_secret_key_file: PathBuf,
    /// The file of the new key, if an earlier run generated the key.
    #[serde(skip)]
    pub resumed_from: Option<PathBuf>,
}

/// The new key of a rotation or a replacement.
pub(super) struct NewKey {
    pub(super) key: SigningKey,
    pub(super) is_resumed: bool,
}

/// Generates a key, adds it to the key list of the target, and replaces the key in `named`, or in
/// the target's own key file. The new key is encrypted, unless `unencrypted` is set. `root` signs the
/// key list, if it is another key than the old one.
///
/// The same call completes an interrupted rotation.
pub async fn rotate(
    target: &Target,
    named: Option<PathBuf>,
    unencrypted: bool,
    root: Option<Arc<SigningKey>>,
) -> Result<Rotated, Failure> {
    let secrets = &*target.secrets;
    if !matches!(secrets.key(), Ok(None)) {
        return Err(not_a_file());
    }
    let file = named.unwrap_or_else(|| target.key_file.clone());
    let old = Arc::new(SigningKey::read(&file, secrets)?);
    let next = next_file(&file);
    let NewKey {
        key: new,
        is_resumed,
    } = new_key(&next, unencrypted, secrets)?;
    let new = Arc::new(new);
    let trust = rotate_state(target, root.as_ref().unwrap_or(&old), &old, &new).await?;
    let public = new.public().clone();
    let kept = replace(&file, old.public(), &public)?;
    Ok(Rotated {
        public_key: public.to_string(),
        trust,
        secret_key_file: file,
        old_secret_key_file: kept,
        resumed_from: is_resumed.then_some(next),
    })
}

/// Rotates the key of the signed state, and returns the trust line for new agents.
async fn rotate_state(
    target: &Target,
    root: &Arc<SigningKey>,
    old: &Arc<SigningKey>,
    new: &Arc<SigningKey>,
) -> Result<TrustedRoots, Failure> {
    let signers = [root, old, new].map(|key| state_signer(Arc::clone(key)));
    let [sign_list, sign_old, sign_new] = &signers;
    let root = StateKey {
        public: root.public(),
        sign: &**sign_list,
    };
    let old = StateKey {
        public: old.public(),
        sign: &**sign_old,
    };
    let new = StateKey {
        public: new.public(),
        sign: &**sign_new,
    };
    state::rotate::rotate(target, root, old, new).await
}

/// Reads the new key of an interrupted rotation, or generates a new key.
pub(super) fn new_key(
    file: &Path,
    unencrypted: bool,
    secrets: &dyn Secrets,
) -> Result<NewKey, Failure> {
    if file.exists() {
        if !unencrypted && !is_encrypted_file(file)? {
            return Err(unencrypted_new_key(file));
        }
        return Ok(NewKey {
            key: SigningKey::read(file, secrets)?,
            is_resumed: true,
        });
    }
    let passphrase = if unencrypted {
        None
    } else {
        Some(secrets.new_passphrase()?)
    };
    Ok(NewKey {
        key: SigningKey::generate(file, passphrase)?,
        is_resumed: false,
    })
}

pub(super) fn not_a_file() -> Failure {
    Failure::usage(format!(
        "cannot replace the key in {KEY_VARIABLE}: only a key in a file can be replaced"
    ))
    .hint(format!(
        "write the key to a file, unset {KEY_VARIABLE}, and pass the file with --key"
    ))
}

fn unencrypted_new_key(file: &Path) -> Failure {
    Failure::conflict(format!(
        "cannot continue with the new key {}: an earlier run generated it without encryption",
        file.display()
    ))
    .hint(format!(
        "pass --unencrypted to continue with this key; or remove {} and {}, but only if 'packcast keys list' does not list the public key",
        file.display(),
        public_file(file).display()
    ))
}

/// Replaces the old key by the new key, and returns the path to which the old key was copied.
///
/// The function can be called again after each step except the last, which moves the new key.
pub(super) fn replace(file: &Path, old: &PublicKey, new: &PublicKey) -> Result<PathBuf, KeyError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| KeyError::File { path, source }
    };
    let (next, kept) = (next_file(file), kept_file(file, old));
    std::fs::copy(file, &kept).map_err(io(&kept))?;
    write_public(&kept, old)?;
    write_public(file, new)?;
    std::fs::rename(&next, file).map_err(io(&next))?;
    // A leftover file does no harm: nothing reads a public key file without its secret key file.
    let _ = std::fs::remove_file(public_file(&next));
    Ok(kept)
}

/// Returns the path of the new key during a rotation.
pub(super) fn next_file(file: &Path) -> PathBuf {
    beside(file, "next")
}

/// Returns the path for a replaced key. Its name contains the last characters of the public key.
fn kept_file(file: &Path, key: &PublicKey) -> PathBuf {
    let text = key.to_string();
    let digits = text.chars().filter(char::is_ascii_alphanumeric);
    let digits: Vec<char> = digits.collect();
    let end: String = digits[digits.len().saturating_sub(8)..].iter().collect();
    beside(file, &format!("was-{end}"))
}

fn beside(file: &Path, word: &str) -> PathBuf {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!("{stem}-{word}.key"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::failures;

    #[test]
    fn errors_of_rotations_have_next_steps() {
        let errors = [
            not_a_file(),
            unencrypted_new_key(Path::new("/keys/packcast-next.key")),
        ];
        insta::assert_snapshot!(failures(errors), @r"
        Usage: cannot replace the key in PACKCAST_SECRET_KEY: only a key in a file can be replaced
        hint: write the key to a file, unset PACKCAST_SECRET_KEY, and pass the file with --key
        Conflict: cannot continue with the new key /keys/packcast-next.key: an earlier run generated it without encryption
        hint: pass --unencrypted to continue with this key; or remove /keys/packcast-next.key and /keys/packcast-next.pub, but only if 'packcast keys list' does not list the public key
        ");
    }
}
