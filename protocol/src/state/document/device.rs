//! The document of a device.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Entries, StateDocument};
use crate::group::GroupName;
use crate::schema::Schema;
use crate::state::number::MAX_NUMBER;

/// Largest number of groups of a device, without `all`.
pub const MAX_DEVICE_GROUPS: usize = 40;

/// The groups of a device, and the packages that are assigned to the device itself.
///
/// A device without a document is in no group but `all`, and has no packages of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceDocument {
    /// Schema of the document; a reader refuses any other.
    schema: Schema<2>,
    /// Groups of the device, sorted, without `all`. Each has the number of the commit that created
    /// the group: the device is not in a later group of the same name.
    pub groups: DeviceGroups,
    /// Assigned packages in the order of their ids, each once.
    pub packages: Entries,
}

/// At most 40 groups, without `all`, each with the number of the commit that created it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    try_from = "BTreeMap<GroupName, u64>",
    into = "BTreeMap<GroupName, u64>"
)]
#[schemars(extend("maxProperties" = MAX_DEVICE_GROUPS))]
pub struct DeviceGroups(BTreeMap<GroupName, u64>);

/// Errors in the groups of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeviceGroupsError {
    #[error("a device is in at most {MAX_DEVICE_GROUPS} groups, not {count}")]
    TooMany { count: usize },
    #[error("a device does not name the group all: every device is in it")]
    NamesAll,
    #[error("a commit with a number of 1 to {MAX_NUMBER} creates a group, not {created}")]
    Created { created: u64 },
}

impl DeviceDocument {
    pub fn new(groups: DeviceGroups, packages: Entries) -> Self {
        Self {
            schema: Schema,
            groups,
            packages,
        }
    }
}

impl DeviceGroups {
    pub fn new(groups: BTreeMap<GroupName, u64>) -> Result<Self, DeviceGroupsError> {
        if groups.len() > MAX_DEVICE_GROUPS {
            let count = groups.len();
            return Err(DeviceGroupsError::TooMany { count });
        }
        if groups.contains_key(&GroupName::all()) {
            return Err(DeviceGroupsError::NamesAll);
        }
        let mut created = groups.values().copied();
        if let Some(created) = created.find(|created| !(1..=MAX_NUMBER).contains(created)) {
            return Err(DeviceGroupsError::Created { created });
        }
        Ok(Self(groups))
    }

    /// Returns the groups with the numbers of the commits that created them.
    pub const fn as_map(&self) -> &BTreeMap<GroupName, u64> {
        &self.0
    }
}

impl TryFrom<BTreeMap<GroupName, u64>> for DeviceGroups {
    type Error = DeviceGroupsError;

    fn try_from(groups: BTreeMap<GroupName, u64>) -> Result<Self, Self::Error> {
        Self::new(groups)
    }
}

impl From<DeviceGroups> for BTreeMap<GroupName, u64> {
    fn from(groups: DeviceGroups) -> Self {
        groups.0
    }
}

impl StateDocument for DeviceDocument {
    const NAME: &'static str = "device document";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::messages;

    #[test]
    fn error_messages() {
        let in_groups = |names: Vec<String>, created: u64| {
            let groups = names.iter().map(|name| (name.parse().unwrap(), created));
            DeviceGroups::new(groups.collect())
        };
        let numbered = |count: usize| (0..count).map(|n| format!("g{n}")).collect();
        assert!(in_groups(numbered(40), MAX_NUMBER).is_ok());
        let errors = [
            in_groups(numbered(41), 7),
            in_groups(vec!["all".to_owned(), "lab".to_owned()], 7),
            in_groups(numbered(1), 0),
            in_groups(numbered(2), MAX_NUMBER + 1),
        ];
        insta::assert_snapshot!(messages(errors.map(Result::unwrap_err)), @"
        a device is in at most 40 groups, not 41
        a device does not name the group all: every device is in it
        a commit with a number of 1 to 1099511627776 creates a group, not 0
        a commit with a number of 1 to 1099511627776 creates a group, not 1099511627777
        ");
    }
}
