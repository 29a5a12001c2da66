//! The files of a signing key.

use std::path::{Path, PathBuf};

use packcast_protocol::signature::PublicKey;
use serde::Serialize;

use super::key::{SigningKey, public_file, public_half};
use super::secrets::Secrets;
use crate::failure::Failure;
use crate::target::{LOCAL, Places, Target};

/// A signing key and its files.
#[derive(Debug, Serialize)]
pub struct KeyFiles {
    pub public_key: String,
    pub secret_key_file: PathBuf,
    pub public_key_file: PathBuf,
}

/// Returns the file for a new key of a target. The target need not be reachable.
///
/// # Errors
/// The target `local` is refused, because `packcast local` generates its key itself.
pub fn new_file(target: &str, config: Option<&Path>, places: &Places) -> Result<PathBuf, Failure> {
    if target == LOCAL {
        let why = "cannot generate a key for target local: 'packcast local' generates its own key";
        return Err(Failure::usage(why)
            .hint("pass the target of the key with --target, or a file with --key"));
    }
    Target::key_file(target, config, places)
}

/// Generates a key in a new file. The key is encrypted with the new passphrase of `secrets`, unless
/// `unencrypted` is set.
pub fn generate(
    file: PathBuf,
    unencrypted: bool,
    secrets: &dyn Secrets,
) -> Result<KeyFiles, Failure> {
    let passphrase = if unencrypted {
        None
    } else {
        Some(secrets.new_passphrase()?)
    };
    let key = SigningKey::generate(&file, passphrase)?;
    Ok(KeyFiles::new(file, key.public()))
}

/// Returns the public key of the key in `secrets`, or of the key in a file.
pub fn show(file: PathBuf, secrets: &dyn Secrets) -> Result<KeyFiles, Failure> {
    let public = public_half(&file, secrets)?;
    Ok(KeyFiles::new(file, &public))
}

impl KeyFiles {
    fn new(file: PathBuf, public: &PublicKey) -> Self {
        Self {
            public_key: public.to_string(),
            public_key_file: public_file(&file),
            secret_key_file: file,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::failures;

    #[test]
    fn the_local_target_generates_its_own_key() {
        let places = Places {
            config: "/c".into(),
            state: "/s".into(),
        };
        let refused = new_file(LOCAL, None, &places).unwrap_err();
        insta::assert_snapshot!(failures([refused]), @r"
        Usage: cannot generate a key for target local: 'packcast local' generates its own key
        hint: pass the target of the key with --target, or a file with --key
        ");
    }
}
