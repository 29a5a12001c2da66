//! The check-in: a device sends its facts and results, and receives its tasks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BoundedText, DailyFacts, Report, Secret};
use crate::digest::Sha256Digest;
use crate::location::{LocationName, ObjectPath};
use crate::package::PackageId;
use crate::priority::Priority;
use crate::state::exchange::{BoundedList, MachineFacts, WaitingPackages};
use crate::state::{HeldState, StateText};

/// Body of a request to `/v1/check-in`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckInRequest {
    /// Name, system and agent of the device.
    pub facts: DeviceFacts,
    /// Platform, ids and clock of the machine.
    pub machine: MachineFacts,
    /// Further facts, at most 2 KiB: once a day, and after a change of the host name, the operating
    /// system or the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daily: Option<DailyFacts>,
    /// Results that no reply has accepted yet, at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = super::MAX_REPORTS))]
    pub results: Vec<Report>,
    /// Announced packages with which the device does not begin, each with the reason.
    #[serde(default, skip_serializing_if = "BoundedList::is_empty")]
    pub waits: WaitingPackages,
    /// The part of the signed state that the device already has.
    #[serde(default)]
    pub holds: HeldState,
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
    /// True if the function has the daily facts of the request on record. The device sends them
    /// again with the next check-in otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub daily_recorded: bool,
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
    /// Locations of the package, in the order to try them. Their addresses are in the signed state,
    /// and the device uses no other address.
    pub locations: Vec<LocationName>,
    /// Folder of `manifest.json` and the fragments below each location.
    pub folder: ObjectPath,
    /// SHA-256 of the package's manifest.
    pub manifest_sha256: Sha256Digest,
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
