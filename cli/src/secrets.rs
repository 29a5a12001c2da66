//! Secrets from the environment, or from a person at the terminal.

use std::env::VarError;

use packcast_publisher::signing::Secrets;
use packcast_publisher::signing::{KEY_VARIABLE, KeyError, PASSPHRASE_VARIABLE};

use crate::output::is_interactive;

/// Reads secrets from environment variables, and asks a person for passphrases on a terminal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FromPerson;

impl Secrets for FromPerson {
    fn key(&self) -> Result<Option<String>, KeyError> {
        variable(KEY_VARIABLE)
    }

    fn passphrase(&self, from: &str) -> Result<String, KeyError> {
        if let Some(passphrase) = variable(PASSPHRASE_VARIABLE)? {
            return Ok(passphrase);
        }
        if !is_interactive() {
            return Err(KeyError::NoPassphrase {
                from: from.to_owned(),
            });
        }
        ask(&question(from))
    }

    fn new_passphrase(&self) -> Result<String, KeyError> {
        if let Some(passphrase) = variable(PASSPHRASE_VARIABLE)? {
            return if passphrase.is_empty() {
                Err(KeyError::EmptyPassphrase)
            } else {
                Ok(passphrase)
            };
        }
        if !is_interactive() {
            return Err(KeyError::NoPassphrase {
                from: NEW_KEY.to_owned(),
            });
        }
        // Asked twice: with a mistyped passphrase, the new key would be lost.
        let passphrase = ask(&question(NEW_KEY))?;
        if passphrase.is_empty() {
            return Err(KeyError::EmptyPassphrase);
        }
        if ask(REPEAT)? == passphrase {
            Ok(passphrase)
        } else {
            Err(KeyError::PassphrasesDiffer)
        }
    }
}

const NEW_KEY: &str = "the new key";
const REPEAT: &str = "Repeat the passphrase:";

fn question(key: &str) -> String {
    format!("Passphrase of {key}:")
}

fn ask(question: &str) -> Result<String, KeyError> {
    inquire::Password::new(question)
        .without_confirmation()
        .prompt()
        .map_err(|error| KeyError::Terminal(Box::new(error)))
}

fn variable(variable: &'static str) -> Result<Option<String>, KeyError> {
    match std::env::var(variable) {
        Ok(value) => Ok(Some(value)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(KeyError::NotText { variable }),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn questions_name_the_key() {
        let file = "/home/ada/.config/packcast/production.key";
        let questions = [&question(file), &question(NEW_KEY), REPEAT];
        assert_snapshot!(questions.join("\n"), @"
        Passphrase of /home/ada/.config/packcast/production.key:
        Passphrase of the new key:
        Repeat the passphrase:
        ");
    }
}
