//! Package records that a warm function remembers.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use packcast_protocol::{PackageId, UnixTime};
use packcast_rollout::PackageRecord;
use packcast_store::{Records, RecordsError};

/// How long a record is believed, in seconds. Whether a package is still active is checked
/// again when it is announced, so a device is never told of one that was deactivated.
const TRUSTED_S: u64 = 60;

/// How many records are remembered, of about a KiB each; past that, the oldest go.
const ROOM: usize = 10_000;

#[derive(Debug)]
pub(crate) struct Packages {
    /// How long a package that is not active is believed not to be, in seconds.
    inactive_s: u64,
    known: Mutex<HashMap<PackageId, (UnixTime, PackageRecord)>>,
}

impl Packages {
    /// An activation is seen that much later.
    pub(crate) fn new(inactive_s: u64) -> Self {
        Self {
            inactive_s,
            known: Mutex::default(),
        }
    }

    /// Returns the records of these packages; those that do not exist are left out.
    ///
    /// What is not remembered is read together.
    pub(crate) async fn of(
        &self,
        records: &Records,
        ids: &[PackageId],
        now: UnixTime,
    ) -> Result<HashMap<PackageId, PackageRecord>, RecordsError> {
        let mut found = self.recall(ids, now);
        let missing: Vec<PackageId> = ids
            .iter()
            .filter(|id| !found.contains_key(id))
            .copied()
            .collect();
        if !missing.is_empty() {
            let read = records.packages_of(&missing).await?;
            self.remember(&read, now);
            found.extend(read.into_iter().map(|package| (package.id, package)));
        }
        Ok(found)
    }

    pub(crate) async fn one(
        &self,
        records: &Records,
        id: PackageId,
        now: UnixTime,
    ) -> Result<Option<PackageRecord>, RecordsError> {
        Ok(self.of(records, &[id], now).await?.remove(&id))
    }

    pub(crate) fn forget(&self, id: PackageId) {
        self.lock().remove(&id);
    }

    fn recall(&self, ids: &[PackageId], now: UnixTime) -> HashMap<PackageId, PackageRecord> {
        let known = self.lock();
        let believed = ids.iter().filter_map(|id| {
            let (read_at, package) = known.get(id)?;
            let trusted_s = if package.active {
                TRUSTED_S
            } else {
                self.inactive_s
            };
            (now.since(*read_at) < trusted_s).then(|| (*id, package.clone()))
        });
        believed.collect()
    }

    fn remember(&self, packages: &[PackageRecord], now: UnixTime) {
        let mut known = self.lock();
        for package in packages {
            known.insert(package.id, (now, package.clone()));
        }
        if known.len() > ROOM {
            let mut times: Vec<UnixTime> = known.values().map(|(read_at, _)| *read_at).collect();
            let (_, middle, _) = times.select_nth_unstable(ROOM / 2);
            let middle = *middle;
            known.retain(|_, (read_at, _)| *read_at > middle);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PackageId, (UnixTime, PackageRecord)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
