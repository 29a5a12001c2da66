//! Secrets from a person or from the environment.

use std::fmt::Debug;
use std::path::Path;

use super::key_error::KeyError;
use super::unlocked::UnlockedKey;

/// Supplies the secrets for signing. Implementations neither store nor show them.
pub trait Secrets: Debug + Send + Sync {
    /// Returns the content of a secret key file, which is used instead of the file; `None` if there
    /// is no such secret.
    fn key(&self) -> Result<Option<String>, KeyError>;

    /// Returns the key of a file that a person has unlocked for a while; `None` if the key is locked.
    fn unlocked(&self, _file: &Path) -> Option<UnlockedKey> {
        None
    }

    /// Returns the passphrase of an encrypted key. `from` names the key in a question to a person.
    fn passphrase(&self, from: &str) -> Result<String, KeyError>;

    /// Returns the passphrase for a new key.
    fn new_passphrase(&self) -> Result<String, KeyError>;

    /// Returns true if a person can correct a wrong passphrase. Called after each wrong one.
    fn asks_again(&self) -> bool {
        false
    }
}

/// A source without secrets, for keys that are not encrypted.
#[derive(Clone, Copy, Debug)]
pub struct NoSecrets;

impl Secrets for NoSecrets {
    fn key(&self) -> Result<Option<String>, KeyError> {
        Ok(None)
    }

    fn passphrase(&self, from: &str) -> Result<String, KeyError> {
        Err(KeyError::NoPassphrase {
            from: from.to_owned(),
        })
    }

    fn new_passphrase(&self) -> Result<String, KeyError> {
        Err(KeyError::EmptyPassphrase)
    }
}
