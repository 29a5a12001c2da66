//! `packcast keys`: the key that packages and assignments are signed with, and those that agents
//! trust.

mod list;
mod revoke;
mod rotate;
mod trust;

use std::path::PathBuf;

use clap::Subcommand;
use packcast_publisher::signing::key_files::{self, KeyFiles};
use packcast_publisher::{Failure, Target};

use crate::Globals;
use crate::output;
use crate::places;
use crate::secrets::FromPerson;

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

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::Generate { key, unencrypted } => {
                let file = new_file(key, globals)?;
                show(
                    globals,
                    &key_files::generate(file, unencrypted, &FromPerson)?,
                );
            }
            Self::Show { key } => {
                let file = shown_file(key, globals)?;
                show(globals, &key_files::show(file, &FromPerson)?);
            }
            Self::Rotate(args) => args.run(globals).await?,
            Self::Trust(args) => args.run(globals).await?,
            Self::Revoke(args) => args.run(globals).await?,
            Self::List => list::run(globals).await?,
        }
        Ok(())
    }
}

/// Returns the named key file, or the target's, which need not be reachable.
fn shown_file(named: Option<PathBuf>, globals: &Globals) -> Result<PathBuf, Failure> {
    let config = globals.config.as_deref();
    match named {
        Some(file) => Ok(file),
        None => Target::key_file(&globals.target, config, &places::find()?),
    }
}

/// Returns the named file for a new key, or the target's.
fn new_file(named: Option<PathBuf>, globals: &Globals) -> Result<PathBuf, Failure> {
    let config = globals.config.as_deref();
    match named {
        Some(file) => Ok(file),
        None => key_files::new_file(&globals.target, config, &places::find()?),
    }
}

fn show(globals: &Globals, key: &KeyFiles) {
    output::result(globals.format, key, |key| {
        output::fields([
            ("public key", key.public_key.clone()),
            ("secret key file", key.secret_key_file.display().to_string()),
            ("public key file", key.public_key_file.display().to_string()),
        ])
    });
}

/// Says that the first list takes the place of what agents are configured with.
fn warn_of_the_first(is_first: bool) {
    if is_first {
        output::note(
            "from now on agents trust the keys of this list alone: if their configurations name another publisher's too, 'packcast keys trust' adds it",
        );
    }
}
