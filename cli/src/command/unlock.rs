//! `packcast unlock`: lets commands sign for a while without asking for the passphrase.

use std::path::{Path, PathBuf};

use packcast_protocol::UnixTime;
use packcast_publisher::clock::now;
use packcast_publisher::signing::SigningKey;
use packcast_publisher::signing::key::{is_encrypted_file, read_public};
use packcast_publisher::values::duration::{self, HOUR_S};
use packcast_publisher::{Failure, Places, Target, text};
use serde::Serialize;

use crate::Globals;
use crate::keyring;
use crate::output;
use crate::places;

/// Sign for a while without the passphrase
///
/// Asks for the passphrase once, and keeps the decrypted key of the target in the kernel's keyring of
/// this login session. Commands of the same session sign with it until the time ends, 'packcast lock'
/// runs, or the session ends. The key is never written to disk, but any program of this session can
/// read it. Root keys in files of their own are never unlocked.
///
/// Only Linux has such a keyring. Elsewhere, and for jobs without a terminal, packcast.toml can name a
/// file with the passphrase.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast unlock --target production
  packcast unlock --for 2h
  packcast unlock --status
  packcast lock")]
pub(crate) struct Args {
    /// Lock the key again after this time, such as 2h
    #[arg(long, value_name = "DURATION", default_value = "30min", value_parser = duration::seconds(1, 12 * HOUR_S))]
    r#for: u64,
    /// Show only the time at which the key is locked again
    #[arg(long, conflicts_with = "for")]
    status: bool,
}

/// The state of a target's signing key.
#[derive(Debug, Serialize)]
struct KeyLock {
    secret_key_file: PathBuf,
    /// False if the key has no passphrase.
    encrypted: bool,
    /// The time at which the key is locked again; `None` if it is locked.
    unlocked_until: Option<UnixTime>,
}

impl Args {
    pub(crate) fn run(self, globals: &Globals) -> Result<(), Failure> {
        let places = places::find()?;
        let file = Target::key_file(&globals.target, globals.config.as_deref(), &places)?;
        if !self.status {
            unlock(&file, self.r#for, globals, &places)?;
        }
        let encrypted = is_encrypted_file(&file)?;
        let unlocked = if encrypted {
            keyring::unlocked(&file)?
        } else {
            None
        };
        let lock = KeyLock {
            secret_key_file: file,
            encrypted,
            unlocked_until: unlocked.map(|key| key.until()),
        };
        output::result(globals.format, &lock, |lock| lock.text(&globals.target));
        Ok(())
    }
}

/// Asks for the passphrase of a key, and keeps the key in the keyring. A key without a passphrase
/// stays as it is.
fn unlock(file: &Path, for_s: u64, globals: &Globals, places: &Places) -> Result<(), Failure> {
    let secrets = globals.secrets(places)?;
    if let Some(key) = SigningKey::unlock(file, now().plus(for_s), &secrets)? {
        keyring::unlock(file, &key, for_s)?;
        if is_root(file, globals, places) {
            output::note(ROOT);
        }
    }
    Ok(())
}

const ROOT: &str = "the signing key is also a root key: programs of this session can sign key lists with it until it is locked";

/// Returns true if the signing key is a root key of the target, as far as this machine knows.
fn is_root(file: &Path, globals: &Globals, places: &Places) -> bool {
    let trust = Target::present_trust(&globals.target, places).ok();
    let public = read_public(file).ok();
    trust
        .zip(public)
        .is_some_and(|(trust, public)| trust.roots().contains(&public))
}

impl KeyLock {
    fn text(&self, target: &str) -> String {
        match self.unlocked_until {
            _ if !self.encrypted => {
                format!("not encrypted: the signing key of target {target} has no passphrase")
            }
            Some(until) => format!(
                "unlocked: the signing key of target {target}, until {}",
                text::time(until)
            ),
            None => format!("locked: the signing key of target {target}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::fixtures::NOON;

    #[test]
    fn the_state_of_the_key_is_shown_with_its_target() {
        let lock = |encrypted, unlocked_until| {
            let lock = KeyLock {
                secret_key_file: PathBuf::from("/home/ada/.config/packcast/production.key"),
                encrypted,
                unlocked_until,
            };
            lock.text("production")
        };
        let states = [
            lock(true, Some(UnixTime(NOON))),
            lock(true, None),
            lock(false, None),
        ];
        assert_snapshot!(states.join("\n"), @"
        unlocked: the signing key of target production, until 2026-11-18 11:06:40 UTC
        locked: the signing key of target production
        not encrypted: the signing key of target production has no passphrase
        ");
        assert_snapshot!(ROOT, @"the signing key is also a root key: programs of this session can sign key lists with it until it is locked");
    }
}
