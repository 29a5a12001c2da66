//! The announced packages with which the agent does not begin, for `status` and for check-ins.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::state::exchange::{MAX_WAITING, WaitWord, WaitingPackage, WaitingPackages};
use packcast_protocol::{PackageId, UnixTime};
use serde::{Deserialize, Serialize};

use super::damage::DamagedFile;
use super::{StateDir, StateError, checked_file, remove_file};

/// Waiting packages, each with the reason; at most 64, as many as a check-in has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WaitList(BTreeMap<PackageId, WaitingTask>);

/// A task with which the device does not begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WaitingTask {
    pub(crate) attempt: u32,
    pub(crate) reason: WaitWord,
    /// The reason in words, with the remedy.
    pub(crate) detail: String,
    /// Time from which the device may begin, if the state names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<UnixTime>,
}

impl WaitList {
    /// Reads the list, without a change on disk. A damaged list is empty.
    pub(crate) fn load(dir: &StateDir) -> Result<Self, StateError> {
        let file = checked_file::read(&dir.waiting())?;
        Ok(file.and_then(|file| file.value).unwrap_or_default())
    }

    /// Reads the list. A damaged file is moved aside. The caller holds the lock of the state folder.
    pub(crate) fn open(dir: &StateDir) -> Result<(Self, Option<DamagedFile>), StateError> {
        let path = dir.waiting();
        let Some(file) = checked_file::read::<Self>(&path)? else {
            return Ok((Self::default(), None));
        };
        if file.is_damaged() {
            let effect = "the next check-in shows again which packages wait";
            let damaged = file.move_aside(&path, effect)?;
            return Ok((Self::default(), Some(damaged)));
        }
        Ok((file.value.unwrap_or_default(), None))
    }

    /// Adds a package, or replaces its reason. Returns `true` if the list has changed.
    pub(crate) fn insert(&mut self, id: PackageId, task: WaitingTask) -> bool {
        if self.0.get(&id) == Some(&task) {
            return false;
        }
        if self.0.len() >= MAX_WAITING && !self.0.contains_key(&id) {
            return false;
        }
        self.0.insert(id, task);
        true
    }

    /// Removes a package. Returns `true` if the list has changed.
    pub(crate) fn remove(&mut self, id: PackageId) -> bool {
        self.0.remove(&id).is_some()
    }

    /// Removes every other package. Returns `true` if the list has changed.
    pub(crate) fn retain(&mut self, announced: &BTreeSet<PackageId>) -> bool {
        let before = self.0.len();
        self.0.retain(|id, _| announced.contains(id));
        self.0.len() != before
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (PackageId, &WaitingTask)> {
        self.0.iter().map(|(id, task)| (*id, task))
    }

    /// Returns the packages for a check-in.
    pub(crate) fn for_request(&self) -> WaitingPackages {
        WaitingPackages::first(self.iter().map(|(package, task)| WaitingPackage {
            package,
            attempt: task.attempt,
            reason: task.reason,
            until: task.until,
        }))
    }

    /// Stores the list; it is on disk when this returns. An empty list has no file.
    pub(crate) fn store(&self, dir: &StateDir) -> Result<(), StateError> {
        let path = dir.waiting();
        if self.0.is_empty() {
            return remove_file(&path);
        }
        checked_file::replace(&path, self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u32) -> PackageId {
        PackageId::try_from(1_795_000_000 + n).unwrap()
    }

    fn task(attempt: u32) -> WaitingTask {
        WaitingTask {
            attempt,
            reason: WaitWord::Used,
            detail: "assign the package again".to_owned(),
            until: Some(UnixTime(1_795_000_000)),
        }
    }

    #[test]
    fn only_changes_are_changes() {
        let mut list = WaitList::default();
        assert!(list.insert(id(1), task(1)) && !list.insert(id(1), task(1)));
        assert!(list.insert(id(1), task(2)) && list.insert(id(2), task(1)));
        assert!(!list.retain(&[id(1), id(2), id(3)].into()));
        assert!(list.retain(&[id(1)].into()));
        assert!(list.remove(id(1)) && !list.remove(id(1)));
    }

    #[test]
    fn the_list_is_bounded() {
        let mut list = WaitList::default();
        for n in 0..100 {
            list.insert(id(n), task(1));
        }
        assert_eq!(list.iter().count(), MAX_WAITING);
        assert!(list.insert(id(0), task(2)));
        let request = list.for_request();
        assert_eq!(request.as_slice().len(), MAX_WAITING);
        let first = request.as_slice()[0];
        assert_eq!((first.package, first.attempt), (id(0), 2));
        assert_eq!(first.reason, WaitWord::Used);
        assert_eq!(first.until, Some(UnixTime(1_795_000_000)));
    }

    #[test]
    fn a_stored_list_reads_back_and_a_damaged_one_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let dir = StateDir::open(&folder.path().join("state")).unwrap();
        assert_eq!(WaitList::open(&dir).unwrap(), (WaitList::default(), None));
        let mut list = WaitList::default();
        list.insert(id(1), task(1));
        list.store(&dir).unwrap();
        assert_eq!(WaitList::open(&dir).unwrap(), (list.clone(), None));
        let mut bytes = std::fs::read(dir.waiting()).unwrap();
        bytes[70] ^= 1;
        std::fs::write(dir.waiting(), &bytes).unwrap();
        assert_eq!(WaitList::load(&dir).unwrap(), WaitList::default());
        let (read, damaged) = WaitList::open(&dir).unwrap();
        assert_eq!(read, WaitList::default());
        assert_eq!(std::fs::read(damaged.unwrap().kept).unwrap(), bytes);
        list.store(&dir).unwrap();
        WaitList::default().store(&dir).unwrap();
        assert!(!dir.waiting().exists());
    }
}
