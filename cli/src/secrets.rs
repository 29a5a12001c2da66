//! Secrets from the environment, or from a person at the terminal.

use std::env::VarError;

use packcast_publisher::signing::Secrets;
use packcast_publisher::signing::{KEY_VARIABLE, KeyError, PASSPHRASE_VARIABLE};

use crate::output::{self, is_interactive};
use crate::prompt;

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
        prompt::passphrase(&question(from))
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
        loop {
            let passphrase = prompt::passphrase(&question(NEW_KEY))?;
            if passphrase.is_empty() {
                output::note(EMPTY);
            } else if prompt::passphrase(REPEAT)? == passphrase {
                return Ok(passphrase);
            } else {
                output::note(DIFFERENT);
            }
        }
    }

    fn asks_again(&self) -> bool {
        let asks = is_interactive() && std::env::var_os(PASSPHRASE_VARIABLE).is_none();
        if asks {
            output::note(WRONG);
        }
        asks
    }
}

const NEW_KEY: &str = "the new key";
const REPEAT: &str = "Repeat the passphrase:";
const EMPTY: &str = "the passphrase is empty: type at least one character";
const DIFFERENT: &str = "the passphrases differ: type the same passphrase twice";
const WRONG: &str = "the passphrase is wrong: try again, or press Ctrl-C";

fn question(key: &str) -> String {
    format!("Passphrase of {key}:")
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
        let answers = [EMPTY, DIFFERENT, WRONG];
        assert_snapshot!(answers.join("\n"), @"
        the passphrase is empty: type at least one character
        the passphrases differ: type the same passphrase twice
        the passphrase is wrong: try again, or press Ctrl-C
        ");
        assert_snapshot!(questions.join("\n"), @"
        Passphrase of /home/ada/.config/packcast/production.key:
        Passphrase of the new key:
        Repeat the passphrase:
        ");
    }
}
