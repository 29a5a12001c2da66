//! The records that decisions are made from, as values.

use std::collections::BTreeSet;

use packcast_protocol::manifest::Audience;
use packcast_protocol::{
    Action, ArchiveFormat, DeviceId, FragmentSize, Location, LocationName, Md5Digest, ObjectPath,
    Outcome, PackageId, PackageName, PackageVersion, Priority, ResultCode, Sha256Digest, UnixTime,
    WindowsTerms,
};
use serde::{Deserialize, Serialize};

/// What is known of a device; at most 1 KiB, so that an idle check-in stays within one read unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRecord {
    pub device: DeviceId,
    pub host_name: String,
    /// The agent's name and version, as it gives it.
    pub agent: String,
    /// The operating system, as the agent names it; empty if it does not.
    pub os: String,
    pub first_seen: UnixTime,
    /// Written at most daily, or with another change.
    pub last_seen: UnixTime,
    /// When an inventory was last asked for (stock agents only).
    pub inventory_asked: Option<UnixTime>,
    /// When an inventory last came (stock agents only).
    pub inventory_received: Option<UnixTime>,
}

/// A package that a device has been assigned and has not finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenTask {
    pub package: PackageId,
    pub priority: Priority,
    /// Counts the assignments of this package to this device, from 1.
    pub attempt: u32,
    pub state: TaskState,
    /// Whether to deploy although the device's history has the package.
    pub force: bool,
    /// Whether it was assigned to the device itself; if not, a group of the device wants it.
    pub direct: bool,
    pub assigned_at: UnixTime,
}

/// How far an open task has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "state")]
pub enum TaskState {
    /// The device has not been told.
    Held,
    /// The device was told at this time, and must be told until it reports.
    Announced { announced_at: UnixTime },
    /// The device was told, and the assignment has been taken back since.
    Withdrawn { announced_at: UnixTime },
}

/// The result of a device's latest attempt at a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishedTask {
    pub package: PackageId,
    pub attempt: u32,
    pub code: ResultCode,
    pub outcome: Outcome,
    pub detail: Option<String>,
    pub output_tail: Option<String>,
    pub finished_at: UnixTime,
}

/// What is known of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageRecord {
    pub id: PackageId,
    pub name: PackageName,
    pub version: PackageVersion,
    pub priority: Priority,
    pub action: Action<ArchiveRecord>,
    /// Exit codes that mean success.
    pub success_codes: BTreeSet<i32>,
    /// Which devices it may be assigned to; our agents check the manifest's own.
    #[serde(default)]
    pub audience: Audience,
    /// What stock Windows agents do beside the action.
    #[serde(default, skip_serializing_if = "WindowsTerms::is_none")]
    pub windows: WindowsTerms,
    /// The digest of everything that makes two publications of one name and version the same.
    pub content: Sha256Digest,
    /// Where its objects are, below the target's prefix and a random segment.
    pub folder: ObjectPath,
    pub created_at: UnixTime,
    pub state: PackageState,
    /// Whether devices may be told of it.
    pub active: bool,
    /// Where it was activated, in the order to try.
    pub locations: Vec<LocationRecord>,
}

/// An archive, as its publisher described it before anything was uploaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveRecord {
    pub format: ArchiveFormat,
    pub bytes: u64,
    pub sha256: Sha256Digest,
    pub fragment_size: FragmentSize,
}

/// How far a package has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "state")]
pub enum PackageState {
    /// Reserved; its objects may be incomplete.
    Draft,
    /// Its fragments and its signed manifest are complete.
    Published(Published),
    /// Deleted: its name, version and id are never used again, and results keep its name.
    Deleted { deleted_at: UnixTime },
}

/// What publishing found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    pub manifest: Sha256Digest,
    /// The digest of the manifest's signature as it was published.
    pub signature: Sha256Digest,
    /// The archive's MD5 for stock agents; none without an archive.
    pub md5: Option<Md5Digest>,
    pub fragments: u32,
    pub expires: UnixTime,
    pub published_at: UnixTime,
}

/// A place that serves a target's objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocationRecord {
    pub name: LocationName,
    pub location: Location,
}

impl PackageRecord {
    pub const fn is_deleted(&self) -> bool {
        matches!(self.state, PackageState::Deleted { .. })
    }

    pub const fn published(&self) -> Option<&Published> {
        match &self.state {
            PackageState::Draft | PackageState::Deleted { .. } => None,
            PackageState::Published(published) => Some(published),
        }
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
            state: TaskState::Held,
            force: false,
            direct: true,
            assigned_at: UnixTime(1_790_000_000),
        }
    }

    /// A published, active package of one fragment.
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
            success_codes: BTreeSet::from([0]),
            audience: Audience::Any,
            windows: WindowsTerms::default(),
            content: digest,
            folder: "d/x".parse().unwrap(),
            created_at: UnixTime(1_790_000_000),
            state: PackageState::Published(Published {
                manifest: digest,
                signature: digest,
                md5: None,
                fragments: 1,
                expires: UnixTime(1_900_000_000),
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
