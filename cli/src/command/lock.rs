//! `packcast lock`: lets commands ask for the passphrase again.

use std::path::PathBuf;

use packcast_publisher::{Failure, Target};
use serde::Serialize;

use crate::Globals;
use crate::keyring;
use crate::output;
use crate::places;

/// Ask for the passphrase again, after 'packcast unlock'
///
/// Removes the key of the target from the keyring of this login session.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast lock
  packcast lock --target production")]
pub(crate) struct Args {}

/// A signing key that is locked.
#[derive(Debug, Serialize)]
struct LockedKey {
    secret_key_file: PathBuf,
    /// False if the key was locked before.
    was_unlocked: bool,
}

impl Args {
    #[expect(clippy::unused_self, reason = "commands are called alike")]
    pub(crate) fn run(self, globals: &Globals) -> Result<(), Failure> {
        let config = globals.config.as_deref();
        let file = Target::key_file(&globals.target, config, &places::find()?)?;
        let locked = LockedKey {
            was_unlocked: keyring::lock(&file)?,
            secret_key_file: file,
        };
        output::result(globals.format, &locked, |locked| {
            locked.text(&globals.target)
        });
        Ok(())
    }
}

impl LockedKey {
    fn text(&self, target: &str) -> String {
        if self.was_unlocked {
            format!("locked: the signing key of target {target}")
        } else {
            format!("nothing to lock: the signing key of target {target} was not unlocked")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_was_not_unlocked_is_named() {
        let texts = [true, false].map(|was_unlocked| {
            let locked = LockedKey {
                secret_key_file: PathBuf::from("/home/ada/.config/packcast/production.key"),
                was_unlocked,
            };
            locked.text("production")
        });
        insta::assert_snapshot!(texts.join("\n"), @"
        locked: the signing key of target production
        nothing to lock: the signing key of target production was not unlocked
        ");
    }
}
