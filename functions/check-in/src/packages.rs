//! Cache of the package records that a warm function has read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use packcast_protocol::{PackageId, UnixTime};
use packcast_rollout::PackageRecord;
use packcast_store::{Records, RecordsError};

/// Maximum age of a cached record, in seconds. An older record is read again.
///
/// An announcement is written only if the package is still active, so a stale record never
/// announces a package that was deactivated. A device that was told of the package before may begin
/// with it until the record is read again.
const MAX_AGE_S: u64 = 60;

/// Capacity of the cache, in records of about 1 KiB. A full cache loses its older half.
const MAX_PACKAGES: usize = 10_000;

/// Cached package records.
#[derive(Debug)]
pub(crate) struct Packages {
    /// Maximum age of a cached active package, in seconds.
    max_active_age_s: u64,
    /// Maximum age of a cached inactive package, in seconds.
    max_inactive_age_s: u64,
    cached: Mutex<HashMap<PackageId, (UnixTime, Arc<PackageRecord>)>>,
}

impl Packages {
    /// Creates an empty cache. An activation takes effect after at most `max_age_s` seconds, and a
    /// deactivation after at most a minute, or earlier if `max_age_s` is less.
    pub(crate) fn new(max_age_s: u64) -> Self {
        Self {
            max_active_age_s: max_age_s.min(MAX_AGE_S),
            max_inactive_age_s: max_age_s,
            cached: Mutex::default(),
        }
    }

    /// Returns the records of these packages, without those that do not exist.
    ///
    /// One read fetches all records that are missing from the cache.
    pub(crate) async fn records(
        &self,
        records: &Records,
        ids: &[PackageId],
        now: UnixTime,
    ) -> Result<HashMap<PackageId, Arc<PackageRecord>>, RecordsError> {
        self.records_within(records, ids, u64::MAX, now).await
    }

    /// Returns the records of these packages, as [`Self::records`] does. Cached records are used if
    /// they are younger than `max_age_s` seconds.
    async fn records_within(
        &self,
        records: &Records,
        ids: &[PackageId],
        max_age_s: u64,
        now: UnixTime,
    ) -> Result<HashMap<PackageId, Arc<PackageRecord>>, RecordsError> {
        let mut found = self.fresh(ids, max_age_s, now);
        let missing: Vec<PackageId> = ids
            .iter()
            .filter(|id| !found.contains_key(id))
            .copied()
            .collect();
        if !missing.is_empty() {
            let read = records.packages_of(&missing).await?;
            let read: Vec<_> = read.into_iter().map(Arc::new).collect();
            self.cache(&read, now);
            found.extend(read.into_iter().map(|package| (package.id, package)));
        }
        Ok(found)
    }

    pub(crate) async fn one(
        &self,
        records: &Records,
        id: PackageId,
        now: UnixTime,
    ) -> Result<Option<Arc<PackageRecord>>, RecordsError> {
        Ok(self.records(records, &[id], now).await?.remove(&id))
    }

    /// Returns the record of a package, as [`Self::one`] does. A cached record is used if it is
    /// younger than `max_age_s` seconds.
    pub(crate) async fn one_within(
        &self,
        records: &Records,
        id: PackageId,
        max_age_s: u64,
        now: UnixTime,
    ) -> Result<Option<Arc<PackageRecord>>, RecordsError> {
        let ids = [id];
        let found = self.records_within(records, &ids, max_age_s, now);
        Ok(found.await?.remove(&id))
    }

    /// Returns a record that was read before, however old.
    pub(crate) fn cached(&self, id: PackageId) -> Option<Arc<PackageRecord>> {
        let cached = self.lock();
        cached.get(&id).map(|(_, package)| Arc::clone(package))
    }

    pub(crate) fn invalidate(&self, id: PackageId) {
        self.lock().remove(&id);
    }

    fn fresh(
        &self,
        ids: &[PackageId],
        max_age_s: u64,
        now: UnixTime,
    ) -> HashMap<PackageId, Arc<PackageRecord>> {
        let cached = self.lock();
        let fresh = ids.iter().filter_map(|id| {
            let (read_at, package) = cached.get(id)?;
            let max_state_age_s = if package.active {
                self.max_active_age_s
            } else {
                self.max_inactive_age_s
            };
            (now.since(*read_at) < max_age_s.min(max_state_age_s))
                .then(|| (*id, Arc::clone(package)))
        });
        fresh.collect()
    }

    fn cache(&self, packages: &[Arc<PackageRecord>], now: UnixTime) {
        let mut cached = self.lock();
        for package in packages {
            cached.insert(package.id, (now, Arc::clone(package)));
        }
        // Evict half of the records together, so that evictions are rare.
        if cached.len() > MAX_PACKAGES {
            let mut times: Vec<UnixTime> = cached.values().map(|(read_at, _)| *read_at).collect();
            let (_, middle, _) = times.select_nth_unstable(MAX_PACKAGES / 2);
            let middle = *middle;
            cached.retain(|_, (read_at, _)| *read_at > middle);
        }
    }

    fn lock(
        &self,
    ) -> std::sync::MutexGuard<'_, HashMap<PackageId, (UnixTime, Arc<PackageRecord>)>> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
