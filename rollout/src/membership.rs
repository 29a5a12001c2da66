//! The groups of a device, and how far the device is reconciled with each.

use std::collections::BTreeMap;
use std::fmt;

use packcast_protocol::GroupName;
use serde::{Deserialize, Serialize};

/// How many groups a device can be in, so that its record stays within one read unit.
pub const MAX_GROUPS: usize = 50;

/// Counts the changes of a device's tasks that its groups had a part in.
///
/// Each is decided from the device's tasks and marks together, and holds only for the round
/// in which both were read: else a task could be taken back while another check-in counts on
/// it and moves a mark, and nobody would begin it anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Round(u64);

impl Round {
    /// The round of a device whose tasks no group has changed.
    pub const FIRST: Self = Self(0);

    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which groups a device is in, and up to which revision of each its tasks are reconciled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memberships(BTreeMap<GroupName, u64>);

impl Memberships {
    /// Returns the groups that the device was put in, in the order of their names.
    pub fn joined(&self) -> impl Iterator<Item = &GroupName> {
        self.0.keys().filter(|group| !group.is_all())
    }

    /// Returns all groups of the device: those it was put in, and the one that all are in.
    pub fn groups(&self) -> impl Iterator<Item = GroupName> {
        self.joined().cloned().chain([GroupName::all()])
    }

    pub fn includes(&self, group: &GroupName) -> bool {
        group.is_all() || self.0.contains_key(group)
    }

    /// Tells whether the device was ever reconciled with the group that all are in.
    pub fn has_mark_of_all(&self) -> bool {
        self.0.contains_key(&GroupName::all())
    }

    /// Returns the revision up to which a group is reconciled, 0 for one that never was.
    pub fn mark(&self, group: &GroupName) -> u64 {
        self.0.get(group).copied().unwrap_or_default()
    }
}

impl FromIterator<(GroupName, u64)> for Memberships {
    fn from_iter<T: IntoIterator<Item = (GroupName, u64)>>(marks: T) -> Self {
        Self(marks.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::tests::group;

    #[test]
    fn every_device_is_in_all() {
        let memberships = Memberships::from_iter([(group("lab"), 3), (GroupName::all(), 9)]);
        let groups: Vec<GroupName> = memberships.groups().collect();
        assert_eq!(groups, [group("lab"), GroupName::all()]);
        assert!(Memberships::default().includes(&GroupName::all()));
        assert_eq!(Memberships::default().mark(&group("lab")), 0);
    }
}
