//! Secrets from the environment, or from a person at the terminal.

use std::env::VarError;
use std::path::{Path, PathBuf};

use packcast_publisher::signing::{
    KEY_VARIABLE, KeyError, PASSPHRASE_VARIABLE, Secrets, UnlockedKey, passphrase_file,
};

use crate::keyring;
use crate::output::{self, is_interactive};
use crate::prompt;

/// Reads secrets from environment variables, from the keyring and from the passphrase file, and asks
/// a person for other passphrases on a terminal.
#[derive(Clone, Debug, Default)]
pub(crate) struct FromPerson {
    /// The file with the passphrase of the target's signing key.
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Nobody is asked, although there may be a terminal.
    pub(crate) asks_nobody: bool,
}

impl Secrets for FromPerson {
    fn key(&self) -> Result<Option<String>, KeyError> {
        variable(KEY_VARIABLE)
    }

    fn unlocked(&self, file: &Path) -> Option<UnlockedKey> {
        // Without a keyring, the person is asked for the passphrase.
        keyring::unlocked(file).ok().flatten()
    }

    fn passphrase(&self, from: &str) -> Result<String, KeyError> {
        if let Some(passphrase) = self.given()? {
            return Ok(passphrase);
        }
        if !self.may_ask() {
            return Err(KeyError::NoPassphrase {
                from: from.to_owned(),
            });
        }
        prompt::passphrase(&question(from))
    }

    fn new_passphrase(&self) -> Result<String, KeyError> {
        if let Some(passphrase) = self.given()? {
            return if passphrase.is_empty() {
                Err(KeyError::EmptyPassphrase)
            } else {
                Ok(passphrase)
            };
        }
        if !self.may_ask() {
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
        if std::env::var_os(PASSPHRASE_VARIABLE).is_some() {
            return false;
        }
        if let Some(file) = &self.passphrase_file {
            output::note(&wrong_in(file));
            return false;
        }
        let asks = self.may_ask();
        if asks {
            output::note(WRONG);
        }
        asks
    }
}

impl FromPerson {
    /// Returns the same secrets, of which a person is never asked.
    pub(crate) fn without_questions(self) -> Self {
        Self {
            asks_nobody: true,
            ..self
        }
    }

    fn may_ask(&self) -> bool {
        !self.asks_nobody && is_interactive()
    }

    /// Returns the passphrase that needs no question: from the environment, or from the file.
    fn given(&self) -> Result<Option<String>, KeyError> {
        match (variable(PASSPHRASE_VARIABLE)?, &self.passphrase_file) {
            (Some(passphrase), _) => Ok(Some(passphrase)),
            (None, Some(file)) => passphrase_file::read(file).map(Some),
            (None, None) => Ok(None),
        }
    }
}

const NEW_KEY: &str = "the new key";
const REPEAT: &str = "Repeat the passphrase:";
const EMPTY: &str = "the passphrase is empty: type at least one character";
const DIFFERENT: &str = "the passphrases differ: type the same passphrase twice";
const WRONG: &str = "the passphrase is wrong: try again, or press Ctrl-C";

fn wrong_in(file: &Path) -> String {
    format!("wrong passphrase in {}", file.display())
}

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
        let from_file = wrong_in(Path::new(
            "/home/ada/.config/packcast/production.passphrase",
        ));
        let answers = [EMPTY, DIFFERENT, WRONG, &from_file];
        assert_snapshot!(answers.join("\n"), @"
        the passphrase is empty: type at least one character
        the passphrases differ: type the same passphrase twice
        the passphrase is wrong: try again, or press Ctrl-C
        wrong passphrase in /home/ada/.config/packcast/production.passphrase
        ");
        assert_snapshot!(questions.join("\n"), @"
        Passphrase of /home/ada/.config/packcast/production.key:
        Passphrase of the new key:
        Repeat the passphrase:
        ");
    }
}
