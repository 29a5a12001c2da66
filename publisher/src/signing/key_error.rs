//! Errors of signing keys, and the environment variables that the errors name.

use std::path::PathBuf;

use packcast_protocol::signature::PublicKeyError;

use crate::failure::Failure;

/// The environment variable with the whole content of a secret key file.
pub const KEY_VARIABLE: &str = "PACKCAST_SECRET_KEY";

/// The environment variable with the passphrase of the secret key.
pub const PASSPHRASE_VARIABLE: &str = "PACKCAST_KEY_PASSPHRASE";

/// Errors from reading, generating and using signing keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("cannot find the signing key {}", path.display())]
    Missing { path: PathBuf },
    #[error("cannot create the signing key {}: the file exists, and a signing key is never overwritten", path.display())]
    Exists { path: PathBuf },
    #[error(
        "cannot choose a signing key: {KEY_VARIABLE} holds one key, and --key names another, {}",
        path.display()
    )]
    TwoKeys { path: PathBuf },
    #[error("cannot read {variable}: the value is not UTF-8 text")]
    NotText { variable: &'static str },
    #[error("cannot read {from}: expected a minisign secret key")]
    Malformed { from: String },
    #[error("cannot decrypt {from}: the passphrase is wrong")]
    WrongPassphrase { from: String },
    #[error("cannot decrypt {from}: there is no terminal to ask for the passphrase")]
    NoPassphrase { from: String },
    #[error("cannot encrypt the new key: the passphrase is empty")]
    EmptyPassphrase,
    #[error("cannot use the signing key {}: other users can read the file", path.display())]
    ReadByOthers { path: PathBuf },
    #[error("cannot use the passphrase in {}: other users can read the file", path.display())]
    PassphraseReadByOthers { path: PathBuf },
    #[error("cannot use the passphrase in {}: its first line is empty", path.display())]
    NoPassphraseInFile { path: PathBuf },
    #[error("cannot read or write {}", path.display())]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot create or use the signing key")]
    Minisign(#[source] minisign::PError),
    #[error("cannot use the public key")]
    Public(#[from] PublicKeyError),
    #[error("cannot read the terminal")]
    Terminal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        let hint = match &error {
            KeyError::Missing { .. } => format!(
                "run 'packcast keys generate' to create a key, pass another file with --key, or set {KEY_VARIABLE}"
            ),
            KeyError::WrongPassphrase { .. } => {
                "try again; nobody can recover a lost passphrase, so create a new key if the passphrase is lost"
                    .to_owned()
            }
            KeyError::NoPassphrase { .. } => {
                format!(
                    "run 'packcast unlock' or the command in a terminal, add passphrase_file to the target in packcast.toml, or set {PASSPHRASE_VARIABLE}"
                )
            }
            KeyError::EmptyPassphrase => {
                "pass --unencrypted to create a key without a passphrase".to_owned()
            }
            KeyError::ReadByOthers { path } | KeyError::PassphraseReadByOthers { path } => format!(
                "run 'chmod 600 {}' to make the file readable for you alone",
                path.display()
            ),
            KeyError::NoPassphraseInFile { .. } => {
                "write the passphrase into the first line of the file".to_owned()
            }
            KeyError::TwoKeys { .. } => {
                let hint = format!("unset {KEY_VARIABLE}, or leave out --key");
                return Self::usage(error).hint(hint);
            }
            KeyError::Exists { .. } => {
                return Self::conflict(error).hint("pass another file with --key");
            }
            KeyError::NotText { .. }
            | KeyError::Malformed { .. }
            | KeyError::File { .. }
            | KeyError::Minisign(_)
            | KeyError::Public(_)
            | KeyError::Terminal(_) => return Self::failed(error),
        };
        Self::failed(error).hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::converted;

    #[test]
    fn errors_of_keys_have_next_steps() {
        let (path, from) = (|| "/x.key".into(), || "/x.key".to_owned());
        let errors = [
            KeyError::Missing { path: path() },
            KeyError::Exists { path: path() },
            KeyError::TwoKeys { path: path() },
            KeyError::NotText {
                variable: KEY_VARIABLE,
            },
            KeyError::Malformed { from: from() },
            KeyError::WrongPassphrase { from: from() },
            KeyError::NoPassphrase { from: from() },
            KeyError::EmptyPassphrase,
            KeyError::ReadByOthers { path: path() },
            KeyError::PassphraseReadByOthers { path: path() },
            KeyError::NoPassphraseInFile { path: path() },
            KeyError::File {
                path: path(),
                source: std::io::Error::other("cause"),
            },
            KeyError::Minisign(minisign::PError::new(
                minisign::ErrorKind::Generate,
                "cause",
            )),
            KeyError::Public(
                "RW".parse::<packcast_protocol::signature::PublicKey>()
                    .unwrap_err(),
            ),
            KeyError::Terminal("cause".into()),
        ];
        insta::assert_snapshot!(converted(errors), @r"
        Failed: cannot find the signing key /x.key
          hint: run 'packcast keys generate' to create a key, pass another file with --key, or set PACKCAST_SECRET_KEY
        Conflict: cannot create the signing key /x.key: the file exists, and a signing key is never overwritten
          hint: pass another file with --key
        Usage: cannot choose a signing key: PACKCAST_SECRET_KEY holds one key, and --key names another, /x.key
          hint: unset PACKCAST_SECRET_KEY, or leave out --key
        Failed: cannot read PACKCAST_SECRET_KEY: the value is not UTF-8 text
        Failed: cannot read /x.key: expected a minisign secret key
        Failed: cannot decrypt /x.key: the passphrase is wrong
          hint: try again; nobody can recover a lost passphrase, so create a new key if the passphrase is lost
        Failed: cannot decrypt /x.key: there is no terminal to ask for the passphrase
          hint: run 'packcast unlock' or the command in a terminal, add passphrase_file to the target in packcast.toml, or set PACKCAST_KEY_PASSPHRASE
        Failed: cannot encrypt the new key: the passphrase is empty
          hint: pass --unencrypted to create a key without a passphrase
        Failed: cannot use the signing key /x.key: other users can read the file
          hint: run 'chmod 600 /x.key' to make the file readable for you alone
        Failed: cannot use the passphrase in /x.key: other users can read the file
          hint: run 'chmod 600 /x.key' to make the file readable for you alone
        Failed: cannot use the passphrase in /x.key: its first line is empty
          hint: write the passphrase into the first line of the file
        Failed: cannot read or write /x.key
        Failed: cannot create or use the signing key
        Failed: cannot use the public key
        Failed: cannot read the terminal
        ");
    }
}
