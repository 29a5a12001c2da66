//! Lets a new key sign from now on.
//!
//! The files change hands last. Until then the same operation continues with the new key that it
//! finds.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use packcast_protocol::signature::PublicKey;
use serde::Serialize;

use super::key::{SigningKey, is_encrypted_file, public_file, write_public};
use super::key_error::{KEY_VARIABLE, KeyError};
use super::key_lists::{Published, signed};
use super::secrets::Secrets;
use super::sign::{SignResult, sign_due};
use super::signer::Signer;
use crate::clock::now;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::target::Target;

/// The result of a rotation.
#[derive(Debug, Serialize)]
pub struct Rotated {
    pub public_key: String,
    pub secret_key_file: PathBuf,
    /// The file of the key that signed before.
    pub old_secret_key_file: PathBuf,
    pub signed: SignResult,
    /// The file of the new key if an earlier run has generated it.
    #[serde(skip)]
    pub resumed_from: Option<PathBuf>,
    /// The first list replaces the keys that agents are configured with.
    #[serde(skip)]
    pub is_first: bool,
}

/// The new key of a rotation.
struct NewKey {
    key: SigningKey,
    is_resumed: bool,
}

/// Generates a key, publishes it, signs all assignments with it, and puts it in the place of the
/// key in `named`, or in the target's own file. The new key is encrypted unless `unencrypted`.
///
/// An interrupted rotation is completed by the same call. Assignments that were refused do not
/// keep the key from being replaced: see [`SignResult::complete`].
pub async fn rotate(
    target: &Target,
    named: Option<PathBuf>,
    unencrypted: bool,
    progress: &Progress,
) -> Result<Rotated, Failure> {
    let secrets = &*target.secrets;
    if !matches!(secrets.key(), Ok(None)) {
        let why = format!("{KEY_VARIABLE} holds a key, and only one in a file can be replaced");
        return Err(Failure::usage(why)
            .hint("write the key to a file, unset the variable, and name the file with --key"));
    }
    let file = named.unwrap_or_else(|| target.key_file.clone());
    let old = SigningKey::read(&file, secrets)?;
    let published = Published::read(target, old.public()).await?;
    let next = next_file(&file);
    if !next.exists() {
        published.lists.check_room()?;
    }
    let NewKey {
        key: new,
        is_resumed,
    } = new_key(&next, unencrypted, secrets)?;
    // Unless an earlier run has published it.
    if !published.lists.keys().contains(new.public()) {
        let [by_old, by_new] = published.lists.rotate(new.public(), now())?;
        let added = [signed(&by_old, &old)?, signed(&by_new, &new)?];
        published.add(target, &added).await?;
    }
    let public = new.public().clone();
    let others = [old.public().clone()];
    let signer = Signer::with(target, Arc::new(new), &others)?;
    let result = sign_due(target, &signer, progress).await?;
    let kept = replace(&file, old.public(), &public)?;
    Ok(Rotated {
        public_key: public.to_string(),
        secret_key_file: file,
        old_secret_key_file: kept,
        signed: result,
        resumed_from: is_resumed.then_some(next),
        is_first: published.lists.serial() == 0,
    })
}

/// Reads the new key of a rotation that was interrupted, or generates one.
fn new_key(file: &Path, unencrypted: bool, secrets: &dyn Secrets) -> Result<NewKey, Failure> {
    if file.exists() {
        if !unencrypted && !is_encrypted_file(file)? {
            let why = format!(
                "the new key that an earlier run has made, {}, is not encrypted",
                file.display()
            );
            return Err(Failure::conflict(why).hint(
                "give --unencrypted to go on with it; if 'packcast keys list' does not have its public half, which is beside it, you can remove both",
            ));
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

/// Puts the new key in the old one's place, and returns where the old one is then.
///
/// Each step but the last can be done again.
fn replace(file: &Path, old: &PublicKey, new: &PublicKey) -> Result<PathBuf, KeyError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| KeyError::File { path, source }
    };
    let (next, kept) = (next_file(file), kept_file(file, old));
    std::fs::copy(file, &kept).map_err(io(&kept))?;
    write_public(&kept, old)?;
    write_public(file, new)?;
    std::fs::rename(&next, file).map_err(io(&next))?;
    // Nobody misses it, and nothing reads it without its key.
    let _ = std::fs::remove_file(public_file(&next));
    Ok(kept)
}

/// Returns where a new key is until it is in use.
fn next_file(file: &Path) -> PathBuf {
    beside(file, "next")
}

/// Returns where a key is kept that was in use: its name is the end of the public key.
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
