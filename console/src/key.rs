//! The signing key of a session: a passphrase unlocks it, and memory keeps it while it is used.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use packcast_protocol::UnixTime;
use packcast_publisher::signing::{KeyError, Secrets, SigningKey, UnlockedKey};
use packcast_publisher::{Failure, Target};

use crate::Clock;
use crate::change::input::Passphrase;

/// The time without use after which the key is locked again, in seconds.
pub(crate) const KEPT_S: u64 = 600;

/// The unlocked key, if there is one. Each use renews its time.
#[derive(Debug, Default)]
struct KeptKey(Option<Kept>);

#[derive(Debug)]
struct Kept {
    file: PathBuf,
    key: UnlockedKey,
    last_use: UnixTime,
}

/// The unlocked key of a session. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct SessionKey(Arc<Mutex<KeptKey>>);

/// The signing key as pages show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyState {
    /// The console changes nothing.
    ReadOnly,
    Locked,
    /// The console keeps the key in memory.
    Unlocked,
}

/// The secrets of a console. Nobody is asked: a key without its passphrase stays locked.
#[derive(Debug)]
struct SessionSecrets {
    /// The secrets of the program, which ask nobody.
    program: Arc<dyn Secrets>,
    key: SessionKey,
    clock: Clock,
}

/// A passphrase that was typed into a page.
#[derive(Debug)]
struct Typed<'a>(&'a Passphrase);

impl KeptKey {
    fn keep(&mut self, file: PathBuf, key: UnlockedKey, now: UnixTime) {
        let last_use = now;
        self.0 = Some(Kept {
            file,
            key,
            last_use,
        });
    }

    /// Returns the key of a file, and renews its time.
    fn use_of(&mut self, file: &Path, now: UnixTime) -> Option<UnlockedKey> {
        self.lock_if_unused(now);
        let kept = self.0.as_mut().filter(|kept| kept.file == file)?;
        kept.last_use = now;
        Some(kept.key.clone())
    }

    /// Locks the key if nobody has used it for [`KEPT_S`]. A clock that was set back by as much does
    /// not prolong the time.
    fn lock_if_unused(&mut self, now: UnixTime) {
        self.0
            .take_if(|kept| now.0.abs_diff(kept.last_use.0) >= KEPT_S);
    }
}

impl SessionKey {
    /// Returns the key of a target; `None` if it must be unlocked first.
    ///
    /// # Errors
    /// The key cannot be read.
    pub(crate) fn of(target: &Target) -> Result<Option<SigningKey>, Failure> {
        match SigningKey::load(None, &target.key_file, &*target.secrets) {
            Ok(key) => Ok(Some(key)),
            // The passphrase of a page is for the key in the file.
            Err(KeyError::NoPassphrase { .. }) if target.secrets.key()?.is_none() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns true if the key of a target must be unlocked before a change can be signed.
    ///
    /// # Errors
    /// The key cannot be read.
    pub(crate) fn is_locked(target: &Target) -> Result<bool, Failure> {
        Ok(Self::of(target)?.is_none())
    }

    /// Unlocks the key of a target.
    ///
    /// # Errors
    /// The passphrase is wrong.
    pub(crate) fn unlock(
        &self,
        target: &Target,
        passphrase: &Passphrase,
        now: UnixTime,
    ) -> Result<(), Failure> {
        let (file, until) = (&target.key_file, now.plus(KEPT_S));
        if let Some(key) = SigningKey::unlock(file, until, &Typed(passphrase))? {
            self.kept().keep(file.clone(), key, now);
        }
        Ok(())
    }

    /// Returns true if a key is unlocked.
    pub(crate) fn is_unlocked(&self, now: UnixTime) -> bool {
        let mut kept = self.kept();
        kept.lock_if_unused(now);
        kept.0.is_some()
    }

    /// Forgets the unlocked key.
    pub(crate) fn lock(&self) {
        self.kept().0 = None;
    }

    /// Returns the secrets of a program, with this key.
    pub(crate) fn secrets(&self, program: Arc<dyn Secrets>, clock: Clock) -> Arc<dyn Secrets> {
        Arc::new(SessionSecrets {
            program,
            key: self.clone(),
            clock,
        })
    }

    fn kept(&self) -> MutexGuard<'_, KeptKey> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Secrets for SessionSecrets {
    fn key(&self) -> Result<Option<String>, KeyError> {
        self.program.key()
    }

    fn unlocked(&self, file: &Path) -> Option<UnlockedKey> {
        let kept = self.key.kept().use_of(file, self.clock.now());
        kept.or_else(|| self.program.unlocked(file))
    }

    fn passphrase(&self, from: &str) -> Result<String, KeyError> {
        self.program.passphrase(from)
    }

    fn new_passphrase(&self) -> Result<String, KeyError> {
        self.program.new_passphrase()
    }
}

impl Secrets for Typed<'_> {
    fn key(&self) -> Result<Option<String>, KeyError> {
        Ok(None)
    }

    fn passphrase(&self, _from: &str) -> Result<String, KeyError> {
        Ok(self.0.reveal().to_owned())
    }

    fn new_passphrase(&self) -> Result<String, KeyError> {
        Err(KeyError::EmptyPassphrase)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_795_000_000);

    /// Returns a key in the form in which it is kept.
    fn key() -> UnlockedKey {
        UnlockedKey::from_bytes(&[7; 120]).unwrap()
    }

    fn kept() -> KeptKey {
        let mut kept = KeptKey::default();
        kept.keep("prod.key".into(), key(), NOW);
        kept
    }

    #[test]
    fn a_key_is_kept_for_ten_minutes_of_use() {
        let (mut kept, file) = (kept(), Path::new("prod.key"));
        let almost = NOW.plus(KEPT_S - 1);
        assert!(kept.use_of(file, almost).is_some());
        // The use has renewed the time.
        let later = almost.plus(KEPT_S - 1);
        assert!(kept.use_of(file, later).is_some());
        assert!(kept.use_of(file, later.plus(KEPT_S)).is_none());
        assert!(kept.use_of(file, later).is_none());
    }

    #[test]
    fn a_kept_key_belongs_to_its_file() {
        let mut kept = kept();
        assert!(kept.use_of(Path::new("test.key"), NOW).is_none());
        assert!(kept.use_of(Path::new("prod.key"), NOW).is_some());
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_prolong_the_time() {
        let mut kept = kept();
        let before = UnixTime(NOW.0 - KEPT_S);
        assert!(kept.use_of(Path::new("prod.key"), before).is_none());
    }

    #[test]
    fn debug_output_of_a_kept_key_has_no_secret() {
        let text = format!("{:?}", kept());
        assert!(
            text.contains("prod.key") && !text.contains("7, 7"),
            "{text}"
        );
    }
}
