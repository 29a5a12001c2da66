//! Platform and audience: the devices that a package is for.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::device::{AgentId, DeviceId};
use crate::group::GroupName;

/// Platform that a package needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    #[default]
    Any,
    Linux,
    Windows,
    Macos,
}

/// Audience of a package: any device, the named devices, or the devices in any of the named
/// groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Audience {
    #[default]
    Any,
    Devices(BTreeSet<AgentId>),
    Groups(BTreeSet<GroupName>),
}

impl Audience {
    /// Returns whether the audience includes a device that is in these groups and in `all`.
    pub fn includes(&self, agent: &AgentId, groups: &BTreeSet<GroupName>) -> bool {
        match self {
            Self::Any => true,
            Self::Devices(devices) => devices.contains(agent),
            Self::Groups(named) => !named.is_disjoint(groups),
        }
    }

    /// Returns whether the audience may include a device, judged by its id alone.
    ///
    /// A Packcast agent may know more groups from its own configuration. An OCS agent cannot
    /// check an audience, so only [`Audience::Any`] includes it.
    pub fn includes_device(&self, device: &DeviceId) -> bool {
        match (self, device) {
            (Self::Any, _) | (Self::Groups(_), DeviceId::Agent(_)) => true,
            (Self::Devices(devices), DeviceId::Agent(agent)) => devices.contains(agent),
            (_, DeviceId::Ocs(_)) => false,
        }
    }
}
