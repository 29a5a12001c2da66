//! The groups of a device, with the observed revision of each.

use std::collections::BTreeMap;
use std::fmt;

use packcast_protocol::GroupName;
use packcast_protocol::state::document::MAX_DEVICE_GROUPS;
use serde::{Deserialize, Serialize};

/// Maximum number of groups of a device, so that its record stays within one read unit. The signed
/// state has the same limit.
pub const MAX_GROUPS: usize = MAX_DEVICE_GROUPS;

/// Number of the changes that a device's groups have made to its tasks.
///
/// Each such change is decided from the device's tasks and its observed revisions together. It is
/// written on the condition that this number is still the same. Otherwise one check-in could
/// withdraw a task while another one relies on the task and raises an observed revision, and the
/// task would never be created again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReconcileCount(u64);

impl ReconcileCount {
    /// Count of a device whose tasks no group has changed.
    pub const FIRST: Self = Self(0);

    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for ReconcileCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Groups of a device, with the observed revision of each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memberships(BTreeMap<GroupName, u64>);

impl Memberships {
    /// Returns the groups that the device has joined, in the order of their names.
    pub fn joined(&self) -> impl Iterator<Item = &GroupName> {
        self.0.keys().filter(|group| !group.is_all())
    }

    /// Returns all groups of the device: the joined ones, and the group `all`.
    pub fn groups(&self) -> impl Iterator<Item = GroupName> {
        self.joined().cloned().chain([GroupName::all()])
    }

    pub fn includes(&self, group: &GroupName) -> bool {
        group.is_all() || self.0.contains_key(group)
    }

    /// Returns the observed revision of a group: the revision up to which the device's tasks are
    /// reconciled. It is 0 for a group with which the device was never reconciled.
    pub fn observed_revision(&self, group: &GroupName) -> u64 {
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
    fn every_device_is_in_the_group_all() {
        let memberships = Memberships::from_iter([(group("lab"), 3), (GroupName::all(), 9)]);
        let groups: Vec<GroupName> = memberships.groups().collect();
        assert_eq!(groups, [group("lab"), GroupName::all()]);
        assert!(Memberships::default().includes(&GroupName::all()));
        assert_eq!(Memberships::default().observed_revision(&group("lab")), 0);
    }
}
