//! Cache of the group states that a warm function has read.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use packcast_protocol::{GroupName, UnixTime};
use packcast_rollout::{GroupState, Memberships};
use packcast_store::{Records, RecordsError};

/// Capacity of the cache. A full cache is emptied.
const MAX_GROUPS: usize = 1000;

/// Age from which a state is read again although its revision has not changed, in seconds.
///
/// Somebody who writes to the table can forge a state with a revision that a later change of the group
/// will have. The true state would then never be read.
const MAX_UNCHANGED_S: u64 = 10 * 60;

/// Cached group states.
#[derive(Debug)]
pub(crate) struct Groups {
    /// Age up to which a state is used without a read, in seconds.
    max_age_s: u64,
    cached: Mutex<HashMap<GroupName, CachedGroup>>,
}

/// A cached group.
#[derive(Clone, Debug)]
struct CachedGroup {
    /// The time of the last read of the revision.
    checked_at: UnixTime,
    /// `None` if the group did not exist.
    read: Option<ReadGroup>,
}

/// A group state and the time of its read.
#[derive(Clone, Debug)]
struct ReadGroup {
    read_at: UnixTime,
    state: GroupState,
}

/// States of groups; `None` for a group that does not exist.
type States = HashMap<GroupName, Option<GroupState>>;

impl Groups {
    /// Creates an empty cache whose states are used for `max_age_s` seconds.
    ///
    /// A stale state announces no withdrawn package: an announcement is written only if the
    /// group still has the package.
    pub(crate) fn new(max_age_s: u64) -> Self {
        Self {
            max_age_s,
            cached: Mutex::default(),
        }
    }

    /// Returns the states of a device's groups, none older than the device's observed
    /// revisions.
    ///
    /// States that are too old cost one read of revisions, and one read of the states that have
    /// changed. Every ten minutes, states that have not changed are read, too.
    pub(crate) async fn states(
        &self,
        records: &Records,
        memberships: &Memberships,
        now: UnixTime,
    ) -> Result<Vec<GroupState>, RecordsError> {
        self.states_within(records, memberships, self.max_age_s, now)
            .await
    }

    /// Returns the states of a device's groups, as [`Self::states`] does. Cached states are used if
    /// they are younger than `max_age_s` seconds.
    pub(crate) async fn states_within(
        &self,
        records: &Records,
        memberships: &Memberships,
        max_age_s: u64,
        now: UnixTime,
    ) -> Result<Vec<GroupState>, RecordsError> {
        let fresh = self.fresh(memberships, max_age_s.min(self.max_age_s), now);
        self.read_missing(records, memberships, fresh, now).await
    }

    /// Returns the states of a device's groups as they are now, bypassing the cache.
    pub(crate) async fn current_states(
        &self,
        records: &Records,
        memberships: &Memberships,
        now: UnixTime,
    ) -> Result<Vec<GroupState>, RecordsError> {
        self.read_missing(records, memberships, States::new(), now)
            .await
    }

    /// Removes groups from the cache.
    pub(crate) fn invalidate<'a>(&self, groups: impl IntoIterator<Item = &'a GroupName>) {
        let mut cached = self.lock();
        for group in groups {
            cached.remove(group);
        }
    }

    /// Adds the missing states by reading them.
    ///
    /// Concurrent requests change the cache, so the caller looks it up once and passes the
    /// result.
    async fn read_missing(
        &self,
        records: &Records,
        memberships: &Memberships,
        mut states: States,
        now: UnixTime,
    ) -> Result<Vec<GroupState>, RecordsError> {
        let groups: Vec<GroupName> = memberships.groups().collect();
        let missing: Vec<GroupName> = groups
            .iter()
            .filter(|group| !states.contains_key(group))
            .cloned()
            .collect();
        if !missing.is_empty() {
            let read = self.read(records, &missing, now).await?;
            self.cache(&missing, &read, now);
            let read = read.into_iter();
            states.extend(read.map(|(group, read)| (group, Some(read.state))));
        }
        Ok(groups
            .iter()
            .filter_map(|group| states.remove(group)?)
            .collect())
    }

    async fn read(
        &self,
        records: &Records,
        groups: &[GroupName],
        now: UnixTime,
    ) -> Result<HashMap<GroupName, ReadGroup>, RecordsError> {
        let revisions = records.revisions(groups).await?;
        let mut states = self.unchanged(&revisions, now);
        let changed: Vec<GroupName> = revisions
            .into_keys()
            .filter(|group| !states.contains_key(group))
            .collect();
        if !changed.is_empty() {
            let read = records.group_states(&changed).await?;
            let read_at = now;
            let read = read.into_iter();
            states.extend(read.map(|state| (state.group.clone(), ReadGroup { read_at, state })));
        }
        Ok(states)
    }

    fn cache(&self, groups: &[GroupName], read: &HashMap<GroupName, ReadGroup>, now: UnixTime) {
        let mut cached = self.lock();
        // Emptying is rare and cheap: each device reads its own few groups again.
        if cached.len() + groups.len() > MAX_GROUPS {
            cached.clear();
        }
        for group in groups {
            let found = CachedGroup {
                checked_at: now,
                read: read.get(group).cloned(),
            };
            cached.insert(group.clone(), found);
        }
    }

    /// Returns the cached states of the groups that have not changed since their read, unless that
    /// read is too long ago.
    fn unchanged(
        &self,
        revisions: &HashMap<GroupName, u64>,
        now: UnixTime,
    ) -> HashMap<GroupName, ReadGroup> {
        let cached = self.lock();
        let unchanged = revisions.iter().filter_map(|(group, revision)| {
            let read = cached.get(group)?.read.as_ref()?;
            let is_kept =
                read.state.revision == *revision && now.since(read.read_at) < MAX_UNCHANGED_S;
            is_kept.then(|| (group.clone(), read.clone()))
        });
        unchanged.collect()
    }

    /// Returns the cached states that are younger than `max_age_s` seconds, and not older than the
    /// observed revisions.
    fn fresh(&self, memberships: &Memberships, max_age_s: u64, now: UnixTime) -> States {
        let cached = self.lock();
        let fresh = memberships.groups().filter_map(|group| {
            let cached = cached.get(&group)?;
            let state = cached.read.as_ref().map(|read| &read.state);
            let revision = state.map_or(0, |state| state.revision);
            let is_fresh = now.since(cached.checked_at) < max_age_s
                && revision >= memberships.observed_revision(&group);
            is_fresh.then(|| (group, state.cloned()))
        });
        fresh.collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<GroupName, CachedGroup>> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
