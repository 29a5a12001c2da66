//! The document of a device.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Entries, StateDocument};
use crate::group::GroupName;
use crate::signed::Schema;

/// Largest number of groups of a device, without `all`.
pub const MAX_DEVICE_GROUPS: usize = 64;

/// The groups of a device, and the packages that are assigned to the device itself.
///
/// A device without a document is in no group but `all`, and has no packages of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceDocument {
    /// Schema of the document; a reader refuses any other.
    schema: Schema<2>,
    /// Groups of the device, sorted, without `all`.
    pub groups: DeviceGroups,
    /// Assigned packages in the order of their ids, each once.
    pub packages: Entries,
}

/// At most 64 groups, without `all`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "BTreeSet<GroupName>", into = "BTreeSet<GroupName>")]
#[schemars(extend("maxItems" = MAX_DEVICE_GROUPS))]
pub struct DeviceGroups(BTreeSet<GroupName>);

/// Errors in the groups of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeviceGroupsError {
    #[error("a device is in at most {MAX_DEVICE_GROUPS} groups, not {count}")]
    TooMany { count: usize },
    #[error("a device does not name the group all: every device is in it")]
    NamesAll,
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
    pub fn new(groups: BTreeSet<GroupName>) -> Result<Self, DeviceGroupsError> {
        if groups.len() > MAX_DEVICE_GROUPS {
            let count = groups.len();
            return Err(DeviceGroupsError::TooMany { count });
        }
        if groups.contains(&GroupName::all()) {
            return Err(DeviceGroupsError::NamesAll);
        }
        Ok(Self(groups))
    }

    pub const fn as_set(&self) -> &BTreeSet<GroupName> {
        &self.0
    }
}

impl TryFrom<BTreeSet<GroupName>> for DeviceGroups {
    type Error = DeviceGroupsError;

    fn try_from(groups: BTreeSet<GroupName>) -> Result<Self, Self::Error> {
        Self::new(groups)
    }
}

impl From<DeviceGroups> for BTreeSet<GroupName> {
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
        let created = |names: Vec<String>| {
            let groups = names.iter().map(|name| name.parse().unwrap()).collect();
            DeviceGroups::new(groups)
        };
        let numbered = |count: usize| (0..count).map(|n| format!("g{n}")).collect();
        assert!(created(numbered(64)).is_ok());
        let errors = [numbered(65), vec!["all".to_owned(), "lab".to_owned()]];
        insta::assert_snapshot!(messages(errors.map(|names| created(names).unwrap_err())), @"
        a device is in at most 64 groups, not 65
        a device does not name the group all: every device is in it
        ");
    }
}
