//! Errors of signing keys, and the variables that they name.

use std::path::PathBuf;

use packcast_protocol::signature::PublicKeyError;

use crate::failure::Failure;

/// The environment variable that holds a whole secret key file.
pub const KEY_VARIABLE: &str = "PACKCAST_SECRET_KEY";

/// The environment variable that holds the passphrase of the secret key.
pub const PASSPHRASE_VARIABLE: &str = "PACKCAST_KEY_PASSPHRASE";

/// Why there is no key to sign with.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("there is no signing key at {}", path.display())]
    Missing { path: PathBuf },
    #[error("the signing key {} exists already; a key that has signed packages is not overwritten", path.display())]
    Exists { path: PathBuf },
    #[error(
        "{KEY_VARIABLE} holds a key, and --key names another, {}: unset the variable or leave the option out",
        path.display()
    )]
    TwoKeys { path: PathBuf },
    #[error("{variable} is not text in UTF-8")]
    NotText { variable: &'static str },
    #[error("{from} is not a minisign secret key")]
    Malformed { from: String },
    #[error("the passphrase of {from} is wrong")]
    WrongPassphrase { from: String },
    #[error(
        "{from} needs its passphrase, and there is no terminal to ask on: set {PASSPHRASE_VARIABLE}"
    )]
    NoPassphrase { from: String },
    #[error("the passphrases differ")]
    PassphrasesDiffer,
    #[error("the passphrase is empty; use --unencrypted if that is meant")]
    EmptyPassphrase,
    #[error("{} can be read by others: make it yours alone with chmod 600", path.display())]
    ReadByOthers { path: PathBuf },
    #[error("{} cannot be read or written", path.display())]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the key cannot be made or used")]
    Minisign(#[source] minisign::PError),
    #[error("the key has no usable public half")]
    Public(#[from] PublicKeyError),
    #[error("the terminal cannot be read")]
    Terminal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        let hint = match &error {
            KeyError::Missing { .. } => {
                "make one with 'packcast keys generate', name another with --key, or set PACKCAST_SECRET_KEY"
            }
            KeyError::WrongPassphrase { .. } => {
                "try again; a lost passphrase cannot be recovered, only a new key made"
            }
            KeyError::TwoKeys { .. } => return Self::usage(error),
            KeyError::Exists { .. } => {
                return Self::conflict(error).hint("name another file with --key");
            }
            _ => return Self::failed(error),
        };
        Self::failed(error).hint(hint)
    }
}
