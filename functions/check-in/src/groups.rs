//! Group states that a warm function remembers.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use packcast_protocol::{GroupName, UnixTime};
use packcast_rollout::{GroupState, Memberships};
use packcast_store::{Records, RecordsError};

/// How many groups are remembered; past that, all are forgotten.
const ROOM: usize = 1000;

#[derive(Debug)]
pub(crate) struct Groups {
    /// How long a state is believed, in seconds.
    trusted_s: u64,
    known: Mutex<HashMap<GroupName, Known>>,
}

/// A group as it was read; none if it did not exist.
#[derive(Clone, Debug)]
struct Known {
    read_at: UnixTime,
    state: Option<GroupState>,
}

impl Groups {
    /// A state is believed for that long. Whether a group still has a package is checked again
    /// when the package is announced, so nothing is told of that was taken back.
    pub(crate) fn new(trusted_s: u64) -> Self {
        Self {
            trusted_s,
            known: Mutex::default(),
        }
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
        let groups: Vec<GroupName> = memberships.groups().collect();
        let doubted: Vec<GroupName> = groups
            .iter()
            .filter(|group| !self.is_believed(group, memberships.mark(group), now))
            .cloned()
            .collect();
        if !doubted.is_empty() {
            self.read(records, &doubted, now).await?;
        }
        let known = self.lock();
        Ok(groups
            .iter()
            .filter_map(|group| known.get(group)?.state.clone())
            .collect())
    }

    /// Believes nothing of these groups any more.
    pub(crate) fn doubt<'a>(&self, groups: impl IntoIterator<Item = &'a GroupName>) {
        let mut known = self.lock();
        for group in groups {
            known.remove(group);
        }
    }

    async fn read(
        &self,
        records: &Records,
        doubted: &[GroupName],
        now: UnixTime,
    ) -> Result<(), RecordsError> {
        let revisions = records.group_revisions(doubted).await?;
        let changed: Vec<GroupName> = revisions
            .iter()
            .filter(|(group, revision)| self.revision(group) != Some(**revision))
            .map(|(group, _)| group.clone())
            .collect();
        let states = if changed.is_empty() {
            Vec::new()
        } else {
            records.group_states(&changed).await?
        };
        let mut known = self.lock();
        if known.len() + doubted.len() > ROOM {
            known.clear();
        }
        for group in doubted {
            let entry = known.entry(group.clone()).or_insert(Known {
                read_at: now,
                state: None,
            });
            entry.read_at = now;
            if !revisions.contains_key(group) {
                entry.state = None;
            }
        }
        for state in states {
            let (group, state) = (state.group.clone(), Some(state));
            known.insert(
                group,
                Known {
                    read_at: now,
                    state,
                },
            );
        }
        Ok(())
    }

    fn revision(&self, group: &GroupName) -> Option<u64> {
        let known = self.lock();
        Some(known.get(group)?.state.as_ref()?.revision)
    }

    fn is_believed(&self, group: &GroupName, mark: u64, now: UnixTime) -> bool {
        self.lock().get(group).is_some_and(|known| {
            let revision = known.state.as_ref().map_or(0, |state| state.revision);
            now.since(known.read_at) < self.trusted_s && revision >= mark
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<GroupName, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
