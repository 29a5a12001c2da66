//! The devices that a package is for.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::device::{AgentId, DeviceId};
use crate::group::GroupName;

/// Which devices can act on a package at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    #[default]
    Any,
    Linux,
    Windows,
    Macos,
}

/// Which devices a package is meant for: any, or those named and no other, or those in one of
/// the groups named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Audience {
    #[default]
    Any,
    Devices(BTreeSet<AgentId>),
    Groups(BTreeSet<GroupName>),
}

impl Audience {
    /// Tells whether a device is meant, given all groups that it is in besides `all`.
    pub fn includes(&self, agent: &AgentId, groups: &BTreeSet<GroupName>) -> bool {
        match self {
            Self::Any => true,
            Self::Devices(devices) => devices.contains(agent),
            Self::Groups(meant) => !meant.is_disjoint(groups),
        }
    }

    /// Tells whether a device of either namespace may be meant, as far as its id says: a device
    /// knows of groups in its own configuration, too. A stock agent cannot check the audience
    /// itself, so it is only meant where any device is.
    pub fn includes_device(&self, device: &DeviceId) -> bool {
        match (self, device) {
            (Self::Any, _) | (Self::Groups(_), DeviceId::Agent(_)) => true,
            (Self::Devices(devices), DeviceId::Agent(agent)) => devices.contains(agent),
            (_, DeviceId::Ocs(_)) => false,
        }
    }
}
