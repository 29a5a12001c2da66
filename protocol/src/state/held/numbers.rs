//! The highest commit of each publisher key, as protection against older and divided states.

use serde::{Deserialize, Serialize};

use super::refusal::Refusal;
use crate::signature::PublicKey;
use crate::state::commit::{CommitId, MAX_COMMIT_VALIDITY_S, VerifiedCommit};
use crate::state::target::TargetId;
use crate::time::UnixTime;

/// The highest commit of a publisher key that a device has accepted, or acted under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HighestCommit {
    /// The key that signed the commit.
    pub key: PublicKey,
    pub commit: CommitId,
    /// A later commit that was issued before this time must contain the commit.
    ///
    /// It is the expiry of the commit, or of a commit that it has replaced. So a commit that is
    /// valid for a day only does not make the device forget the commits before it.
    pub until: UnixTime,
}

/// The commit and the key list under which a device has acted, for its history.
///
/// If the device loses its state, it accepts nothing earlier. Only entries of its target count, and
/// only while the newest key list names the keys: a thief's numbers end with the thief's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActedUnder {
    pub target: TargetId,
    pub highest: HighestCommit,
    /// Serial number of the newest key list at that time.
    pub list: u64,
    /// The root key that signed the list.
    pub root: PublicKey,
}

impl HighestCommit {
    /// Returns the entry of an accepted commit, which contains the highest commit before it.
    ///
    /// Later commits list their ancestors for 91 days from the ancestors' numbers, so the time ends
    /// before. Otherwise a long pause of the publisher would lock the device out.
    pub(super) fn accepted(commit: &VerifiedCommit, before: Option<&Self>) -> Self {
        let before = before.map_or(UnixTime(0), |before| before.until);
        let accepted = Self {
            key: commit.signer().clone(),
            commit: commit.id(),
            until: commit.expires.max(before),
        };
        accepted.limited()
    }

    fn limited(self) -> Self {
        let last = UnixTime(self.commit.number).plus(MAX_COMMIT_VALIDITY_S);
        let until = self.until.min(last);
        Self { until, ..self }
    }
}

/// The highest commit of each key; each key once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct HighestCommits(Vec<HighestCommit>);

impl HighestCommits {
    /// Remembers a commit, unless a commit of the same key with a higher number is remembered
    /// already.
    pub(super) fn raise(&mut self, given: HighestCommit) {
        // A damaged file must not lock the device out.
        let given = given.limited();
        match self.0.iter_mut().find(|known| known.key == given.key) {
            Some(known) if known.commit.number <= given.commit.number => *known = given,
            Some(_) => {}
            None => self.0.push(given),
        }
    }

    /// Returns the highest commit of a key.
    pub(super) fn get(&self, key: &PublicKey) -> Option<&HighestCommit> {
        self.0.iter().find(|known| known.key == *key)
    }

    /// Forgets the commits of all other keys.
    pub(super) fn retain(&mut self, keys: &[PublicKey]) {
        self.0.retain(|known| keys.contains(&known.key));
    }

    pub(super) fn as_slice(&self) -> &[HighestCommit] {
        &self.0
    }

    /// Returns the highest commit of the named keys.
    pub(super) fn highest(&self, named: &[PublicKey]) -> Option<&HighestCommit> {
        let known = self.0.iter().filter(|known| named.contains(&known.key));
        known.max_by_key(|known| known.commit.number)
    }
}

/// Compares a commit with the highest commit of the named keys.
///
/// # Errors
/// The other commit is later, or has the same number.
pub(super) fn check_later(given: CommitId, highest: Option<&HighestCommit>) -> Result<(), Refusal> {
    match highest.map(|highest| highest.commit) {
        Some(held) if held.number > given.number => Err(Refusal::NotLater { given, held }),
        Some(held) if held.number == given.number && held != given => {
            Err(Refusal::Fork { given, held })
        }
        _ => Ok(()),
    }
}

impl FromIterator<HighestCommit> for HighestCommits {
    fn from_iter<I: IntoIterator<Item = HighestCommit>>(commits: I) -> Self {
        let mut highest = Self::default();
        commits.into_iter().for_each(|given| highest.raise(given));
        highest
    }
}
