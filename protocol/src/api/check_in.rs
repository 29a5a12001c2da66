//! The check-in: a device sends its facts and results, and receives its tasks.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BoundedText, Report, Secret};
use crate::assignments::{Held, MAX_GROUPS, SignedAssignments};
use crate::digest::Sha256Digest;
use crate::group::GroupName;
use crate::keys::SignedKeyList;
use crate::location::{Location, LocationName, ObjectPath};
use crate::package::PackageId;
use crate::priority::Priority;
use crate::state::{HeldState, StateText};

/// Body of a request to `/v1/check-in`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckInRequest {
    /// Name, system and agent of the device.
    pub facts: DeviceFacts,
    /// Results that no reply has accepted yet, at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = super::MAX_REPORTS))]
    pub results: Vec<Report>,
    /// The signed documents that the device already has.
    #[serde(default, skip_serializing_if = "HeldDocuments::is_nothing")]
    pub holds: HeldDocuments,
    /// The part of the signed state that the device already has, if the device follows one target
    /// by its trust line. Such a device receives no other signed documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds_state: Option<HeldState>,
}

/// State of each signed document that a device has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeldDocuments {
    /// Serial number of the last key list that the device follows, 0 before the first one.
    #[serde(default)]
    pub keys: u64,
    /// State of the device assignments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Held>,
    /// States of the group assignments, for at most 64 groups.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = MAX_GROUPS))]
    pub groups: BTreeMap<GroupName, Held>,
}

impl HeldDocuments {
    /// Returns whether the device has no document, as before its first check-in.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// Facts that a device reports, so that people recognise it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceFacts {
    /// Host name of the device.
    pub host_name: BoundedText<253>,
    /// Family of the operating system, such as `linux` or `windows`.
    pub os: BoundedText<64>,
    /// Architecture of the processor, such as `x86_64`.
    pub arch: BoundedText<32>,
    /// Name and version of the agent.
    pub agent: BoundedText<64>,
}

/// Reply to a check-in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckInReply {
    /// Pass to send from now on instead of the enrolment token. Only the reply to an enrolment
    /// has a pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass: Option<Secret>,
    /// Packages to deploy, in this order.
    pub tasks: Vec<Task>,
    /// Attempts to cancel. The function lists each one until its result arrives.
    #[serde(default)]
    pub cancel: Vec<Cancel>,
    /// Packages of the results that the function has accepted and the device need not send
    /// again.
    #[serde(default)]
    pub accepted: Vec<PackageId>,
    /// Key lists after the one that the device has, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<SignedKeyList>,
    /// Device and group assignments that are later than the ones that the device has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assignments: Vec<SignedAssignments>,
    /// Parts of the signed state that the device lacks; absent if it lacks nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<StateText>,
    /// Seconds until the device should check in again.
    pub next_check_in_s: u32,
}

/// One package to deploy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Task {
    /// Id of the package.
    pub id: PackageId,
    /// Number of the attempt. Each assignment of the package to the device counts, from 1.
    pub attempt: u32,
    /// Priority of the package among the device's tasks.
    pub priority: Priority,
    /// Locations of `<id>/manifest.json` and the fragments, in the order to try them.
    pub locations: Vec<Location>,
    /// Names of the locations, in the same order. A device that follows the signed state takes
    /// their addresses from it, and uses no other address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub location_names: Vec<LocationName>,
    /// Folder of the package below each named location. It may differ from the package's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<ObjectPath>,
    /// SHA-256 of the package's manifest.
    pub manifest_sha256: Sha256Digest,
    /// True if the device must deploy the package even if its history has the package.
    #[serde(default)]
    pub force: bool,
}

/// An announced attempt that the device is to cancel.
///
/// The device reports `CANCELLED` if it has not started to act. If it has, it reports the
/// result of the attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cancel {
    /// Id of the package.
    pub id: PackageId,
    /// Number of the attempt.
    pub attempt: u32,
}
