//! Group states that a warm function remembers.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use packcast_protocol::keys::SignedKeyList;
use packcast_protocol::{GroupName, UnixTime};
use packcast_rollout::group::GroupRevision;
use packcast_rollout::{GroupState, Memberships};
use packcast_store::records::{NumberedKeyList, Versions};
use packcast_store::{Records, RecordsError};

/// How many groups are remembered; past that, all are forgotten.
const ROOM: usize = 1000;

#[derive(Debug)]
pub(crate) struct Groups {
    /// How long a state is believed, in seconds.
    trusted_s: u64,
    known: Mutex<HashMap<GroupName, Known>>,
    /// Read with the group that every device is in.
    key_lists: Mutex<Vec<NumberedKeyList>>,
}

/// A group as it was read; none if it did not exist.
#[derive(Clone, Debug)]
struct Known {
    read_at: UnixTime,
    state: Option<GroupState>,
}

/// Groups with their states; none for a group that does not exist.
type States = HashMap<GroupName, Option<GroupState>>;

impl Groups {
    /// A state is believed for that long. Whether a group still has a package is checked again
    /// when the package is announced, so nothing is told of that was taken back.
    pub(crate) fn new(trusted_s: u64) -> Self {
        Self {
            trusted_s,
            known: Mutex::default(),
            key_lists: Mutex::default(),
        }
    }

    /// Returns the lists of keys after this one, as they were when the group that every device
    /// is in was last read.
    pub(crate) fn key_lists_after(&self, serial: u64) -> Vec<SignedKeyList> {
        let known = self.key_lists.lock();
        let lists = known.unwrap_or_else(PoisonError::into_inner);
        let later = lists.iter().filter(|list| list.serial > serial);
        later.map(|list| list.signed.clone()).collect()
    }

    /// Returns the states of a device's groups, none older than the device's marks.
    ///
    /// What is not believed any more costs one read of revisions, and one of the states that
    /// have changed.
    pub(crate) async fn of(
        &self,
        records: &Records,
        memberships: &Memberships,
        now: UnixTime,
    ) -> Result<Vec<GroupState>, RecordsError> {
        let believed = self.believed(memberships, now);
        self.completed(records, memberships, believed, now).await
    }

    /// Returns the states of a device's groups as they are now.
    pub(crate) async fn anew(
        &self,
        records: &Records,
        memberships: &Memberships,
        now: UnixTime,
    ) -> Result<Vec<GroupState>, RecordsError> {
        self.completed(records, memberships, States::new(), now)
            .await
    }

    /// Believes nothing of these groups any more.
    pub(crate) fn doubt<'a>(&self, groups: impl IntoIterator<Item = &'a GroupName>) {
        let mut known = self.lock();
        for group in groups {
            known.remove(group);
        }
    }

    /// Reads what is missing. What is remembered changes under other requests, so that it is
    /// looked at once.
    async fn completed(
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
            let read = self.read(records, &missing).await?;
            self.remember(&missing, &read, now);
            states.extend(read.into_iter().map(|(group, state)| (group, Some(state))));
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
    ) -> Result<HashMap<GroupName, GroupState>, RecordsError> {
        let Versions {
            groups: versions,
            key_lists,
        } = records.versions(groups).await?;
        if let Some(lists) = key_lists {
            let known = self.key_lists.lock();
            *known.unwrap_or_else(PoisonError::into_inner) = lists;
        }
        let mut states = self.unchanged(&versions);
        let changed: Vec<GroupName> = versions
            .into_keys()
            .filter(|group| !states.contains_key(group))
            .collect();
        if !changed.is_empty() {
            let read = records.group_states(&changed).await?;
            states.extend(read.into_iter().map(|state| (state.group.clone(), state)));
        }
        Ok(states)
    }

    fn remember(
        &self,
        groups: &[GroupName],
        states: &HashMap<GroupName, GroupState>,
        now: UnixTime,
    ) {
        let mut known = self.lock();
        if known.len() + groups.len() > ROOM {
            known.clear();
        }
        for group in groups {
            let state = states.get(group).cloned();
            let read_at = now;
            known.insert(group.clone(), Known { read_at, state });
        }
    }

    /// Returns what is remembered of the groups that have not changed since.
    fn unchanged(
        &self,
        versions: &HashMap<GroupName, GroupRevision>,
    ) -> HashMap<GroupName, GroupState> {
        let known = self.lock();
        let unchanged = versions.iter().filter_map(|(group, version)| {
            let state = known.get(group)?.state.as_ref()?;
            (state.signed_revision() == *version).then(|| (group.clone(), state.clone()))
        });
        unchanged.collect()
    }

    fn believed(&self, memberships: &Memberships, now: UnixTime) -> States {
        let known = self.lock();
        let believed = memberships.groups().filter_map(|group| {
            let known = known.get(&group)?;
            let revision = known.state.as_ref().map_or(0, |state| state.revision);
            let is_believed = now.since(known.read_at) < self.trusted_s
                && revision >= memberships.observed_revision(&group);
            is_believed.then(|| (group, known.state.clone()))
        });
        believed.collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<GroupName, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
