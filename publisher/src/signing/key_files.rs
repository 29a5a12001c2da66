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

/// Returns the file for a new key of a target, which need not be reachable.
///
/// # Errors
/// The target `local` creates its key itself.
pub fn new_file(target: &str, config: Option<&Path>, places: &Places) -> Result<PathBuf, Failure> {
    if target == LOCAL {
        let why = "'packcast local' makes a key of its own";
        return Err(Failure::usage(why)
            .hint("name the target that the key is for with --target, or a file with --key"));
    }
    Target::key_file(target, config, places)
}

/// Generates a key in a new file, encrypted with the new passphrase of `secrets` unless
/// `unencrypted`.
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

/// Returns the public half of the key in a file, or of the key that `secrets` supply.
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
