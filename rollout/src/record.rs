//! Records as values: the inputs of all decisions.

use std::collections::BTreeSet;

use packcast_protocol::enrolment::BatchId;
use packcast_protocol::manifest::{Audience, Platform};
use packcast_protocol::signature::PublicKey;
use packcast_protocol::state::Mandate;
use packcast_protocol::{
    Action, ArchiveFormat, DeviceId, FragmentSize, Location, LocationName, Md5Digest, ObjectPath,
    Outcome, PackageId, PackageName, PackageVersion, Priority, ResultCode, Sha256Digest, UnixTime,
    WindowsTerms,
};
use serde::{Deserialize, Serialize};

use crate::daily_facts::FactsMark;
use crate::machine::MachineRecord;
use crate::rollout::Place;
use crate::write_budget::WriteBudget;

/// Record of a device.
///
/// It takes at most 1 KiB, so that an idle check-in stays within one read unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRecord {
    pub device: DeviceId,
    pub host_name: String,
    /// Name and version of the agent, as the agent reports them.
    pub agent: String,
    /// Operating system, as the agent reports it; empty if the agent reports none.
    pub os: String,
    pub first_seen: UnixTime,
    /// Time of the latest check-in or report. That of a check-in is written at most daily, or with
    /// another change; that of each report is written.
    pub last_seen: UnixTime,
    /// Time of the latest request for an inventory (OCS agents only).
    pub inventory_asked: Option<UnixTime>,
    /// Time at which the latest inventory arrived (OCS agents only).
    pub inventory_received: Option<UnixTime>,
    /// The machine, as the agent reports it (Packcast agents only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<MachineRecord>,
    /// The mark of the daily facts on record, which are an item of their own (Packcast agents only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<FactsMark>,
    /// Batch of the token with which the device has enrolled. `None` if the device has enrolled with
    /// the token of all agents (Packcast agents only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchId>,
    /// Writes that the device has caused on its own.
    #[serde(default, skip_serializing_if = "WriteBudget::is_untouched")]
    pub budget: WriteBudget,
}

/// A package that is assigned to a device and that the device has not finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenTask {
    pub package: PackageId,
    pub priority: Priority,
    /// Number of the attempt: counts the assignments of this package to this device, from 1.
    pub attempt: u32,
    pub state: TaskState,
    /// Deploy the package even if the package history of the device lists it.
    pub force: bool,
    /// The package is assigned to the device itself. If false, only a group of the device has
    /// the package.
    pub direct: bool,
    /// `seq` of the device's own entry from which this task, or an earlier attempt, follows. `None`
    /// if the device itself never had an entry for the package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mandate: Option<u64>,
    /// Mandate of the group's entry from which this attempt follows. `None` if it follows from no
    /// group, or from no commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_mandate: Option<Mandate>,
    /// Mandates of groups that earlier attempts have used up.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub used: BTreeSet<Mandate>,
    /// The place of the device in a rollout. `None` if the device has not begun, or begins without
    /// a rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    pub assigned_at: UnixTime,
}

/// State of an open task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "state")]
pub enum TaskState {
    /// The task was not announced yet.
    #[serde(rename = "held")]
    Pending,
    /// The task was announced at this time. It is announced at each check-in until the device
    /// reports.
    Announced { announced_at: UnixTime },
    /// The task was announced, and its package was unassigned afterwards.
    Withdrawn { announced_at: UnixTime },
}

/// Result of a device's latest attempt at a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishedTask {
    pub package: PackageId,
    pub attempt: u32,
    pub code: ResultCode,
    pub outcome: Outcome,
    pub detail: Option<String>,
    pub output_tail: Option<String>,
    /// The mandate of the task, which this result has used up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mandate: Option<u64>,
    /// Mandates of groups that this attempt and earlier ones have used up, at most 64. A device
    /// that leaves one of the groups and joins it again gets no further attempt.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub used: BTreeSet<Mandate>,
    pub finished_at: UnixTime,
}

/// Record of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageRecord {
    pub id: PackageId,
    pub name: PackageName,
    pub version: PackageVersion,
    pub priority: Priority,
    pub action: Action<ArchiveRecord>,
    /// Platform of the devices that can run the package.
    pub platform: Platform,
    /// Exit codes that mean success.
    pub success_codes: BTreeSet<i32>,
    /// Exit codes that mean success, with a restart of the device to follow.
    pub reboot_codes: BTreeSet<i32>,
    /// Time limit of the program, in seconds.
    pub timeout_s: u32,
    /// An agent may run the program again after an interruption.
    pub rerun_after_interruption: bool,
    /// Devices to which the package may be assigned. A Packcast agent checks the audience of the
    /// manifest instead.
    #[serde(default)]
    pub audience: Audience,
    /// Settings for the OCS agent on Windows, in addition to the action.
    #[serde(default, skip_serializing_if = "WindowsTerms::is_none")]
    pub windows: WindowsTerms,
    /// Digest of the content. Two publications of one name and version are the same if this
    /// digest is equal.
    pub content: Sha256Digest,
    /// Folder of the objects, below the target's prefix and a random segment.
    pub folder: ObjectPath,
    pub created_at: UnixTime,
    pub state: PackageState,
    /// The package may be announced to devices.
    pub active: bool,
    /// Locations at which the package is active, in the order to try.
    pub locations: Vec<LocationRecord>,
}

/// An archive, as its publisher described it before the upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveRecord {
    pub format: ArchiveFormat,
    pub bytes: u64,
    pub sha256: Sha256Digest,
    pub fragment_size: FragmentSize,
}

/// State of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "state")]
pub enum PackageState {
    /// The package is reserved. Its objects may be incomplete.
    Draft,
    /// The fragments and the signed manifest are complete.
    Published(Published),
    /// The package was deleted. Its name, version and id are never used again, and results keep
    /// its name.
    Deleted { deleted_at: UnixTime },
}

/// Properties of a package that are known once it is published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    pub manifest: Sha256Digest,
    /// Digest of the manifest's signature, as it was published.
    pub signature: Sha256Digest,
    /// The publisher key that has signed the manifest.
    pub signer: PublicKey,
    /// MD5 of the archive, for OCS agents. `None` if the package has no archive.
    pub md5: Option<Md5Digest>,
    pub fragments: u32,
    /// End of the validity of the manifest; `None` if the package does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<UnixTime>,
    pub published_at: UnixTime,
}

impl Published {
    /// Returns the end of the validity if it has come.
    pub fn expired(&self, now: UnixTime) -> Option<UnixTime> {
        self.expires.filter(|expires| *expires <= now)
    }
}

/// A location with its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocationRecord {
    pub name: LocationName,
    pub location: Location,
}

impl PackageRecord {
    /// Returns whether a device may get the package, judged by its id alone.
    ///
    /// An OCS agent can neither check an audience nor update a Packcast agent.
    pub fn is_for(&self, device: &DeviceId) -> bool {
        let is_update = matches!(self.action, Action::Update { .. });
        let is_for_agent = !is_update || matches!(device, DeviceId::Agent(_));
        is_for_agent && self.audience.includes_device(device)
    }

    pub const fn is_deleted(&self) -> bool {
        matches!(self.state, PackageState::Deleted { .. })
    }

    pub const fn published(&self) -> Option<&Published> {
        match &self.state {
            PackageState::Draft | PackageState::Deleted { .. } => None,
            PackageState::Published(published) => Some(published),
        }
    }

    /// Returns the end of the validity of a published package if it has come.
    pub fn expired(&self, now: UnixTime) -> Option<UnixTime> {
        self.published()?.expired(now)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn id(n: u32) -> PackageId {
        PackageId::try_from(1_790_000_000 + n).unwrap()
    }

    pub(crate) fn task(n: u32, priority: u8) -> OpenTask {
        OpenTask {
            package: id(n),
            priority: Priority::try_from(priority).unwrap(),
            attempt: 1,
            state: TaskState::Pending,
            force: false,
            direct: true,
            mandate: None,
            group_mandate: None,
            used: BTreeSet::new(),
            place: None,
            assigned_at: UnixTime(1_790_000_000),
        }
    }

    /// Returns the action of an update of the Packcast agent.
    pub(crate) fn update() -> Action<ArchiveRecord> {
        Action::Update {
            archive: ArchiveRecord {
                format: ArchiveFormat::TarGz,
                bytes: 3,
                sha256: Sha256Digest::of(b"tar"),
                fragment_size: FragmentSize::try_from(1024).unwrap(),
            },
        }
    }

    /// Returns a published, active package of one fragment.
    pub(crate) fn package(n: u32) -> PackageRecord {
        let digest = Sha256Digest::of(&n.to_be_bytes());
        PackageRecord {
            id: id(n),
            name: "vlc".parse().unwrap(),
            version: n.to_string().parse().unwrap(),
            priority: Priority::DEFAULT,
            action: Action::Execute {
                archive: None,
                command: "true".parse().unwrap(),
            },
            platform: Platform::Any,
            success_codes: BTreeSet::from([0]),
            reboot_codes: BTreeSet::new(),
            timeout_s: 60,
            rerun_after_interruption: false,
            audience: Audience::Any,
            windows: WindowsTerms::default(),
            content: digest,
            folder: "d/x".parse().unwrap(),
            created_at: UnixTime(1_790_000_000),
            state: PackageState::Published(Published {
                manifest: digest,
                signature: digest,
                signer: "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
                    .parse()
                    .unwrap(),
                md5: None,
                fragments: 1,
                expires: Some(UnixTime(1_900_000_000)),
                published_at: UnixTime(1_790_000_000),
            }),
            active: true,
            locations: vec![LocationRecord {
                name: "main".parse().unwrap(),
                location: "cdn.example.net".parse().unwrap(),
            }],
        }
    }
}
