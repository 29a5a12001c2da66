//! The check-in: a device says who it is and what it did, and is told what to do.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Report, Secret, Text};
use crate::assignments::{Held, MAX_GROUPS, SignedAssignments};
use crate::digest::Sha256Digest;
use crate::group::GroupName;
use crate::keys::SignedKeyList;
use crate::location::Location;
use crate::package::PackageId;
use crate::priority::Priority;

/// What a device posts to `/v1/check-in`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckInRequest {
    /// The target's enrolment token: sent until a pass was received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrolment: Option<Secret>,
    /// What the function gave this device at enrolment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass: Option<Secret>,
    pub facts: DeviceFacts,
    /// Results that no reply has accepted yet, at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = super::MAX_REPORTS))]
    pub results: Vec<Report>,
    /// The signed documents that need not be sent again.
    #[serde(default, skip_serializing_if = "HeldDocuments::is_nothing")]
    pub holds: HeldDocuments,
}

/// Which state of each signed document a device has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeldDocuments {
    /// The number of the last list of keys that it follows, 0 before the first.
    #[serde(default)]
    pub keys: u64,
    /// Its own assignments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Held>,
    /// Those of its groups, of at most 64.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = MAX_GROUPS))]
    pub groups: BTreeMap<GroupName, Held>,
}

impl HeldDocuments {
    /// Tells whether the device has none, as before its first contact.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// What a device says of itself, for people to recognise it by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceFacts {
    pub host_name: Text<253>,
    /// The operating system's family, such as `linux` or `windows`.
    pub os: Text<64>,
    pub arch: Text<32>,
    /// The agent's name and version.
    pub agent: Text<64>,
}

/// What a device is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckInReply {
    /// Shown instead of the enrolment token from now on; present after enrolment only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass: Option<Secret>,
    /// What to do, in this order.
    pub tasks: Vec<Task>,
    /// Attempts that are not wanted any more. Each is listed until its result arrives.
    #[serde(default)]
    pub cancel: Vec<Cancel>,
    /// The results of the request that need not be sent again.
    #[serde(default)]
    pub accepted: Vec<PackageId>,
    /// The lists of keys that follow the one that the device has, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<SignedKeyList>,
    /// The assignments of the device and its groups that are later than those it has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assignments: Vec<SignedAssignments>,
    /// After how many seconds the device should ask again.
    pub next_check_in_s: u32,
}

/// One package to deploy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Task {
    pub id: PackageId,
    /// Counts the times that the package was assigned to the device, from 1.
    pub attempt: u32,
    pub priority: Priority,
    /// Where `<id>/manifest.json` and the fragments are, in the order to try them.
    pub locations: Vec<Location>,
    pub manifest_sha256: Sha256Digest,
    /// Whether to deploy although the device's history has the package.
    #[serde(default)]
    pub force: bool,
}

/// An attempt that a device was told of and that is not wanted any more.
///
/// The device reports `CANCELLED` if it has not begun to act, else what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cancel {
    pub id: PackageId,
    /// The attempt of the task that is called off.
    pub attempt: u32,
}
