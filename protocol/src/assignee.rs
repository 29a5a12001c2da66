//! The owner of assignments: a group, or a device with a Packcast agent.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::device::AgentId;
use crate::group::GroupName;

/// The group or device that has assignments. Every device is in the group `all`.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Assignee {
    Group(GroupName),
    Device(AgentId),
}

impl fmt::Display for Assignee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(group) => write!(f, "group {group}"),
            Self::Device(agent) => write!(f, "device key:{agent}"),
        }
    }
}
