//! Package records that a warm function remembers.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use packcast_protocol::{PackageId, UnixTime};
use packcast_rollout::PackageRecord;
use packcast_store::{Records, RecordsError};

/// How long a record is believed, in seconds. Whether a package is still active is checked
/// again when it is announced, so a device is never told of one that was deactivated.
const TRUSTED_S: u64 = 60;

/// How many records are remembered; past that, all are forgotten.
const ROOM: usize = 1000;

#[derive(Debug, Default)]
pub(crate) struct Packages(Mutex<HashMap<PackageId, (UnixTime, PackageRecord)>>);

impl Packages {
    /// Returns the records of these packages; those that do not exist are left out.
    ///
    /// Only active packages are remembered, so that activation is seen at once.
    pub(crate) async fn of(
        &self,
        records: &Records,
        ids: &[PackageId],
        now: UnixTime,
    ) -> Result<HashMap<PackageId, PackageRecord>, RecordsError> {
        let mut found = HashMap::with_capacity(ids.len());
        for id in ids {
            if let Some(package) = self.one(records, *id, now).await? {
                found.insert(package.id, package);
            }
        }
        Ok(found)
    }

    pub(crate) async fn one(
        &self,
        records: &Records,
        id: PackageId,
        now: UnixTime,
    ) -> Result<Option<PackageRecord>, RecordsError> {
        if let Some(known) = self.recall(id, now) {
            return Ok(Some(known));
        }
        let package = records.package(id).await?;
        if let Some(package) = package.as_ref().filter(|package| package.active) {
            self.remember(package.clone(), now);
        }
        Ok(package)
    }

    pub(crate) fn forget(&self, id: PackageId) {
        self.lock().remove(&id);
    }

    fn recall(&self, id: PackageId, now: UnixTime) -> Option<PackageRecord> {
        let known = self.lock();
        let (read_at, package) = known.get(&id)?;
        (now.since(*read_at) < TRUSTED_S).then(|| package.clone())
    }

    fn remember(&self, package: PackageRecord, now: UnixTime) {
        let mut known = self.lock();
        if known.len() >= ROOM {
            known.clear();
        }
        known.insert(package.id, (now, package));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PackageId, (UnixTime, PackageRecord)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
