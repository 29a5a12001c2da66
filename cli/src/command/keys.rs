//! `packcast keys`: manages the key that signs packages and assignments, and the keys that agents
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

/// Manage the signing key, and the keys that agents trust
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  packcast keys generate --target production
  packcast keys show --target production
  packcast keys list
  packcast keys rotate
  packcast keys trust RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3")]
pub(crate) enum Args {
    /// Generate a signing key, and print its public half for the configuration of agents
    ///
    /// The secret half is encrypted with a passphrase: from the environment variable
    /// PACKCAST_KEY_PASSPHRASE, or from a prompt. The key never leaves this machine; keep a copy in
    /// a safe place. Give each target a key of its own, so that its devices accept nothing that is
    /// signed for another target. 'packcast local' generates its key itself.
    #[command(after_help = "\
Examples:
  packcast keys generate --target production
  packcast keys generate --key ~/keys/production.key")]
    Generate {
        /// Write the key to this file instead of the target's own key file
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
        /// Do not encrypt the key: anybody who can read the file can sign
        #[arg(long)]
        unencrypted: bool,
    },
    /// Show the public half of the signing key, and the files of the key
    Show {
        /// Show the key in this file instead of the target's own key
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
    },
    /// Replace the signing key with a new one, and sign all assignments again
    ///
    /// Agents trust the new key from their next check-in on. They also trust the old key, for the
    /// packages that it has signed, until the old key is revoked. If the command is interrupted,
    /// run it again to complete the rotation.
    #[command(after_help = "\
Examples:
  packcast keys rotate --target production")]
    Rotate(rotate::Args),
    /// Let agents trust the key of another publisher, too
    ///
    /// Agents accept packages and assignments from both publishers. Only the key that signs here
    /// can change the list of trusted keys.
    #[command(after_help = "\
Examples:
  packcast keys trust RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3")]
    Trust(trust::Args),
    /// End the trust of agents in a key
    ///
    /// From their next check-in on, agents refuse packages and assignments signed by this key.
    #[command(after_help = "\
Examples:
  packcast keys revoke RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3")]
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

/// Returns the named key file, or the target's. The target need not be reachable.
fn shown_file(named: Option<PathBuf>, globals: &Globals) -> Result<PathBuf, Failure> {
    let config = globals.config.as_deref();
    match named {
        Some(file) => Ok(file),
        None => Target::key_file(&globals.target, config, &places::find()?),
    }
}

/// Returns the named file for a new key, or the target's file.
fn new_file(named: Option<PathBuf>, globals: &Globals) -> Result<PathBuf, Failure> {
    let config = globals.config.as_deref();
    match named {
        Some(file) => Ok(file),
        None => key_files::new_file(&globals.target, config, &places::find()?),
    }
}

fn show(globals: &Globals, key: &KeyFiles) {
    output::result(globals.format, key, text);
}

fn text(key: &KeyFiles) -> String {
    output::fields([
        ("public key", key.public_key.clone()),
        ("secret key file", key.secret_key_file.display().to_string()),
        ("public key file", key.public_key_file.display().to_string()),
    ])
}

const FIRST_LIST: &str = "agents now trust only the keys in this list: \
if their configuration names the key of another publisher, add that key with 'packcast keys trust'";

/// Prints a note with the first key list, which replaces the keys in the agents' configuration.
fn note_first(is_first: bool) {
    if is_first {
        output::note(FIRST_LIST);
    }
}
