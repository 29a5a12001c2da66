//! `packcast keys`: the key that packages and assignments are signed with, and those that agents
//! trust.

mod list;
mod lists;
mod revoke;
mod rotate;
mod trust;

use std::path::PathBuf;

use clap::Subcommand;
use packcast_protocol::signature::PublicKey;
use serde::Serialize;

use crate::Globals;
use crate::failure::Failure;
use crate::keys::{KeyError, SigningKey, new_passphrase, public_file, public_half};
use crate::output;
use crate::target::{LOCAL, Target};

/// Manage the key that packages and assignments are signed with
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  packcast keys generate --target production
  packcast keys show --target production
  packcast keys list
  packcast keys rotate
  packcast keys trust PUBLIC_KEY
  packcast keys revoke PUBLIC_KEY")]
pub(crate) enum Args {
    /// Make a new signing key, and print its public half for the agents' configuration
    ///
    /// The secret half is encrypted with a passphrase, asked for here or taken from
    /// PACKCAST_KEY_PASSPHRASE. 'packcast local' has made its own already. It is the target's own: what is signed for one target is not
    /// trusted by the devices of another. It never leaves this machine; keep a copy in a safe place.
    Generate {
        /// Write the key to this file
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
        /// Do not encrypt the key; whoever can read the file can sign
        #[arg(long)]
        unencrypted: bool,
    },
    /// Show the public half of the signing key
    Show {
        /// Read this key file's public half
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
    },
    /// Let a new key sign from now on, and sign all assignments with it
    ///
    /// Agents follow at their next check-in. The key before stays trusted, for the packages that
    /// it has signed, until it is revoked. If this was interrupted, give it again.
    Rotate(rotate::Args),
    /// Let agents trust the key of another publisher, too
    ///
    /// What it signs counts as what yours does. It makes no lists of trusted keys: only the key
    /// that signs here does.
    Trust(trust::Args),
    /// Let agents trust a key no more
    ///
    /// They refuse what it has signed from their next check-in on.
    Revoke(revoke::Args),
    /// List the keys that agents trust
    List,
}

#[derive(Serialize)]
struct Shown {
    public_key: String,
    secret_key_file: PathBuf,
    public_key_file: PathBuf,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::Generate { key, unencrypted } => {
                let file = new_file(key, globals)?;
                let passphrase = if unencrypted {
                    None
                } else {
                    Some(new_passphrase().map_err(failure)?)
                };
                let key = SigningKey::generate(&file, passphrase).map_err(failure)?;
                show(globals, file, &key.public().to_string());
            }
            Self::Show { key } => {
                let file = shown_file(key, globals)?;
                let public = public_half(&file).map_err(failure)?;
                show(globals, file, &public.to_string());
            }
            Self::Rotate(args) => args.run(globals).await?,
            Self::Trust(args) => args.run(globals).await?,
            Self::Revoke(args) => args.run(globals).await?,
            Self::List => list::run(globals).await?,
        }
        Ok(())
    }
}

/// Returns the keys that agents trust, as the first of a publisher's own knows the lists; where
/// another key has signed the newest of them, his own.
pub(super) async fn trusted(target: &Target, own: &[PublicKey]) -> Result<Vec<PublicKey>, Failure> {
    let mut keys = own.to_vec();
    if let Some(first) = own.first() {
        keys.extend(lists::trusted(target, first).await?);
    }
    Ok(keys)
}

/// Finds the key file that a command means: the named one, or the target's.
fn shown_file(named: Option<PathBuf>, globals: &Globals) -> Result<PathBuf, Failure> {
    match named {
        Some(file) => Ok(file),
        None => Target::key_file(&globals.target, globals.config.as_deref()),
    }
}

/// Finds where a new key goes.
fn new_file(named: Option<PathBuf>, globals: &Globals) -> Result<PathBuf, Failure> {
    match named {
        Some(file) => Ok(file),
        None if globals.target == LOCAL => {
            let why = "'packcast local' makes a key of its own";
            Err(Failure::usage(why)
                .hint("name the target that the key is for with --target, or a file with --key"))
        }
        None => Target::key_file(&globals.target, globals.config.as_deref()),
    }
}

fn show(globals: &Globals, file: PathBuf, public: &str) {
    let shown = Shown {
        public_key: public.to_owned(),
        public_key_file: public_file(&file),
        secret_key_file: file,
    };
    output::result(globals.format, &shown, |shown| {
        output::fields([
            ("public key", shown.public_key.clone()),
            (
                "secret key file",
                shown.secret_key_file.display().to_string(),
            ),
            (
                "public key file",
                shown.public_key_file.display().to_string(),
            ),
        ])
    });
}

/// Says what to do about a key that cannot be used.
pub(crate) fn failure(error: KeyError) -> Failure {
    let hint = match &error {
        KeyError::Missing { .. } => {
            "make one with 'packcast keys generate', name another with --key, or set PACKCAST_SECRET_KEY"
        }
        KeyError::WrongPassphrase { .. } => {
            "try again; a lost passphrase cannot be recovered, only a new key made"
        }
        KeyError::TwoKeys { .. } => return Failure::usage(error),
        KeyError::Exists { .. } => {
            return Failure::conflict(error).hint("name another file with --key");
        }
        _ => return Failure::failed(error),
    };
    Failure::failed(error).hint(hint)
}
