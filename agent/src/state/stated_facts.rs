//! The memory of the daily facts that the function has on record.

use packcast_protocol::{Sha256Digest, UnixTime};
use serde::{Deserialize, Serialize};

use super::{StateDir, StateError, checked_file};

const DAY_S: u64 = 24 * 3600;

/// The names whose change makes facts due at once: host name, operating system and agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NamesDigest(Sha256Digest);

/// The facts that the function has accepted last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StatedFacts {
    pub(crate) at: UnixTime,
    pub(crate) names: NamesDigest,
}

impl NamesDigest {
    pub(crate) fn of(names: &[&str]) -> Self {
        Self(Sha256Digest::of(names.join("\0").as_bytes()))
    }
}

impl StatedFacts {
    /// Reads the memory. A damaged file is no memory: the agent states its facts again.
    pub(crate) fn load(dir: &StateDir) -> Result<Option<Self>, StateError> {
        let file = checked_file::read(&dir.stated_facts())?;
        Ok(file.and_then(|file| file.value))
    }

    /// Stores the memory; it is on disk when this returns.
    pub(crate) fn store(&self, dir: &StateDir) -> Result<(), StateError> {
        checked_file::replace(&dir.stated_facts(), self)
    }

    /// Returns `true` if the agent states its facts with the next check-in: once a day, after a
    /// change of names, and after the clock was set back.
    pub(crate) fn is_due(known: Option<&Self>, names: NamesDigest, now: UnixTime) -> bool {
        known.is_none_or(|known| {
            known.names != names || now < known.at || now.since(known.at) >= DAY_S
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_795_000_000);

    #[test]
    fn facts_are_due_daily_and_after_a_change_of_names() {
        let names = NamesDigest::of(&["web01", "Debian", "12"]);
        let known = StatedFacts { at: NOW, names };
        let due = |names, now| StatedFacts::is_due(Some(&known), names, now);
        assert!(StatedFacts::is_due(None, names, NOW));
        assert!(!due(names, NOW) && !due(names, NOW.plus(DAY_S - 1)));
        assert!(due(names, NOW.plus(DAY_S)));
        assert!(due(names, UnixTime(NOW.0 - 1)));
        assert!(due(NamesDigest::of(&["web01", "Debian", "13"]), NOW));
        // A text that moves from one name to the next is a change, too.
        assert!(due(NamesDigest::of(&["web01", "Debian1", "2"]), NOW));
    }

    #[test]
    fn a_damaged_memory_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let dir = StateDir::open(&folder.path().join("state")).unwrap();
        assert_eq!(StatedFacts::load(&dir).unwrap(), None);
        let names = NamesDigest::of(&["web01"]);
        let stated = StatedFacts { at: NOW, names };
        stated.store(&dir).unwrap();
        assert_eq!(StatedFacts::load(&dir).unwrap(), Some(stated));
        let mut bytes = std::fs::read(dir.stated_facts()).unwrap();
        bytes[70] ^= 1;
        std::fs::write(dir.stated_facts(), &bytes).unwrap();
        assert_eq!(StatedFacts::load(&dir).unwrap(), None);
        stated.store(&dir).unwrap();
        assert_eq!(StatedFacts::load(&dir).unwrap(), Some(stated));
    }
}
