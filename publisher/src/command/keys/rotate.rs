//! `packcast keys rotate`: a new key signs from now on.
//!
//! The files change hands last. Until then the same command, given again, goes on with the new
//! key that it finds.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use packcast_protocol::signature::PublicKey;
use serde::Serialize;

use super::lists::{self, Published, signed};
use super::{failure, shown_file};
use crate::Globals;
use crate::clock::now;
use crate::command::sign::{self, Outcome};
use crate::command::signer::Signer;
use crate::failure::Failure;
use crate::keys::{
    KEY_VARIABLE, KeyError, SigningKey, is_encrypted_file, new_passphrase, public_file,
    write_public,
};
use crate::output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Replace this key file's key
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Do not encrypt the new key; whoever can read the file can sign
    #[arg(long)]
    unencrypted: bool,
}

#[derive(Serialize)]
struct Rotated {
    public_key: String,
    secret_key_file: PathBuf,
    /// Where the key is that signed before.
    old_secret_key_file: PathBuf,
    signed: Outcome,
}

impl Args {
    pub(super) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        if std::env::var_os(KEY_VARIABLE).is_some() {
            let why = format!("{KEY_VARIABLE} holds a key, and only one in a file can be replaced");
            return Err(Failure::usage(why).hint(
                "write the key to a file, unset the variable, and name the file with --key",
            ));
        }
        let target = globals.open().await?;
        let file = shown_file(self.key.clone(), globals)?;
        let old = SigningKey::read(&file).map_err(failure)?;
        let published = Published::read(&target, old.public()).await?;
        let next = next_file(&file);
        if !next.exists() {
            published.lists.check_room().map_err(lists::failure)?;
        }
        let new = self.new_key(&next)?;
        // Unless an earlier run has published it.
        if !published.lists.keys().contains(new.public()) {
            let [by_old, by_new] = published
                .lists
                .rotate(new.public(), now())
                .map_err(lists::failure)?;
            let added = [signed(&by_old, &old)?, signed(&by_new, &new)?];
            published.add(&target, &added).await?;
        }
        let public = new.public().clone();
        let others = [old.public().clone()];
        let signer = Signer::with(&target.memory_file, Arc::new(new), &others)?;
        let outcome = sign::sign_due(&target, &signer).await?;
        let kept = replace(&file, old.public(), &public).map_err(failure)?;
        let rotated = Rotated {
            public_key: public.to_string(),
            secret_key_file: file,
            old_secret_key_file: kept,
            signed: outcome,
        };
        output::result(globals.format, &rotated, text);
        lists::warn_of_the_first(&published.lists);
        output::note(
            "agents follow at their next check-in; give those that you set up from now on the new public key",
        );
        rotated.signed.end()
    }

    /// Reads the new key of a rotation that was interrupted, or makes one.
    fn new_key(&self, file: &Path) -> Result<SigningKey, Failure> {
        if file.exists() {
            if !self.unencrypted && !is_encrypted_file(file).map_err(failure)? {
                let why = format!(
                    "the new key that an earlier run has made, {}, is not encrypted",
                    file.display()
                );
                return Err(Failure::conflict(why).hint(
                    "give --unencrypted to go on with it; if 'packcast keys list' does not have its public half, which is beside it, you can remove both",
                ));
            }
            output::note(&format!(
                "going on with the new key that an earlier run has made, {}",
                file.display()
            ));
            return SigningKey::read(file).map_err(failure);
        }
        let passphrase = if self.unencrypted {
            None
        } else {
            Some(new_passphrase().map_err(failure)?)
        };
        SigningKey::generate(file, passphrase).map_err(failure)
    }
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

fn text(rotated: &Rotated) -> String {
    output::fields([
        ("public key", rotated.public_key.clone()),
        (
            "secret key file",
            rotated.secret_key_file.display().to_string(),
        ),
        (
            "old secret key file",
            rotated.old_secret_key_file.display().to_string(),
        ),
        ("signed again", rotated.signed.signed().to_string()),
    ])
}
