//! Secrets that only a person or the environment has.

use std::fmt::Debug;

use super::key_error::KeyError;

/// Supplies the secrets that signing needs. Nothing here is kept or shown.
pub trait Secrets: Debug + Send + Sync {
    /// Returns a whole secret key that replaces the key file; `None` if there is none.
    fn key(&self) -> Result<Option<String>, KeyError>;

    /// Returns the passphrase of an encrypted key; `from` names the key for a question.
    fn passphrase(&self, from: &str) -> Result<String, KeyError>;

    /// Returns the passphrase for a key that is generated now.
    fn new_passphrase(&self) -> Result<String, KeyError>;
}

/// Has no secrets: for keys that are not encrypted.
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
