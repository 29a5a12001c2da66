//! Events: the changes of an administrator that are not part of the signed state, for the log of a
//! target.
//!
//! An event is not signed, and nothing depends on it. Somebody who can write to the table can forge
//! events and delete them.

mod line;

use packcast_protocol::enrolment::BatchId;
use packcast_protocol::state::document::PlainText;
use packcast_protocol::state::{RolloutId, WaveNumber};
use packcast_protocol::{DeviceId, LocationName, PackageId, UnixTime};
use serde::{Deserialize, Serialize};

use crate::command::DeviceCommand;
use crate::exclusion::ExclusionReason;
use crate::pacing::PacingOverride;

/// Maximum number of devices in one event. A command that changes more devices writes several
/// events.
pub const MAX_DEVICES: usize = 25;

/// Time of an event, in microseconds since 1970, so that the changes of one command keep their
/// order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EventTime(u64);

/// The author of a change, and its time by the clock of the author's machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedBy {
    /// Name of the user account.
    pub user: PlainText<128>,
    /// Name of the machine.
    pub host: PlainText<253>,
    pub at: EventTime,
}

/// A change with its author. Its time is a part of its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdministratorEvent {
    /// Name of the user account.
    pub user: PlainText<128>,
    /// Name of the machine.
    pub host: PlainText<253>,
    #[serde(flatten)]
    pub change: UnsignedChange,
}

/// A change of records that is not part of the signed state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum UnsignedChange {
    Published {
        package: PackageId,
    },
    Activated {
        package: PackageId,
        locations: Vec<LocationName>,
    },
    Deactivated {
        package: PackageId,
    },
    Deleted {
        package: PackageId,
    },
    Paused,
    Resumed,
    Blocked {
        #[serde(flatten)]
        devices: ChangedDevices,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<ExclusionReason>,
    },
    Unblocked {
        #[serde(flatten)]
        devices: ChangedDevices,
    },
    Removed {
        #[serde(flatten)]
        devices: ChangedDevices,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<ExclusionReason>,
    },
    Commanded {
        device: DeviceId,
        #[serde(rename = "order")]
        command: DeviceCommand,
    },
    /// The pacing of a device was changed to these settings.
    DevicePaced {
        device: DeviceId,
        pacing: PacingOverride,
    },
    RolloutPaused {
        package: PackageId,
        rollout: RolloutId,
    },
    RolloutResumed {
        package: PackageId,
        rollout: RolloutId,
    },
    /// A wave was opened by an administrator.
    RolloutPromoted {
        package: PackageId,
        rollout: RolloutId,
        wave: WaveNumber,
    },
    RolloutEnded {
        package: PackageId,
        rollout: RolloutId,
    },
    /// The enrolment token of a batch enrols no further device.
    TokenRevoked {
        batch: BatchId,
    },
}

/// Devices in an event, at most [`MAX_DEVICES`], with their host names at that time: the record of a
/// removed device has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedDevices {
    pub devices: Vec<DeviceId>,
    /// The host names, in the order of the devices. A name is empty if the device has none.
    #[serde(default)]
    pub host_names: Vec<String>,
}

impl EventTime {
    pub const fn of_microseconds(microseconds: u64) -> Self {
        Self(microseconds)
    }

    /// Returns the beginning of a second.
    pub const fn of_second(second: UnixTime) -> Self {
        Self(second.0.saturating_mul(1_000_000))
    }

    /// Returns the last microsecond of a second.
    pub const fn end_of(second: UnixTime) -> Self {
        Self(Self::of_second(second).0.saturating_add(999_999))
    }

    pub const fn microseconds(self) -> u64 {
        self.0
    }

    /// Returns the time in whole seconds.
    pub const fn second(self) -> UnixTime {
        UnixTime(self.0 / 1_000_000)
    }
}

impl ChangedBy {
    /// Creates an author from names, which are shortened if necessary.
    pub fn shortened(user: &str, host: &str, at: EventTime) -> Self {
        Self {
            user: PlainText::shortened(user),
            host: PlainText::shortened(host),
            at,
        }
    }

    /// Returns the event of a change by this author.
    pub fn event(&self, change: UnsignedChange) -> AdministratorEvent {
        AdministratorEvent {
            user: self.user.clone(),
            host: self.host.clone(),
            change,
        }
    }
}

impl UnsignedChange {
    /// Returns the package that was changed; `None` if the change is not one of a package.
    pub const fn package(&self) -> Option<PackageId> {
        match self {
            Self::Published { package }
            | Self::Activated { package, .. }
            | Self::Deactivated { package }
            | Self::Deleted { package }
            | Self::RolloutPaused { package, .. }
            | Self::RolloutResumed { package, .. }
            | Self::RolloutPromoted { package, .. }
            | Self::RolloutEnded { package, .. } => Some(*package),
            _ => None,
        }
    }

    /// Returns the devices that were changed.
    pub fn devices(&self) -> Vec<&DeviceId> {
        match self {
            Self::Blocked { devices, .. }
            | Self::Unblocked { devices }
            | Self::Removed { devices, .. } => devices.devices.iter().collect(),
            Self::Commanded { device, .. } | Self::DevicePaced { device, .. } => vec![device],
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_time_of_an_event_keeps_the_second() {
        let time = EventTime::of_microseconds(1_795_000_000_999_999);
        assert_eq!(time.second(), UnixTime(1_795_000_000));
        assert!(EventTime::of_second(UnixTime(1_795_000_000)) < time);
        assert!(EventTime::of_second(UnixTime(u64::MAX)) > time);
        assert_eq!(EventTime::end_of(time.second()), time);
        assert!(EventTime::end_of(UnixTime(u64::MAX)) > time);
    }

    #[test]
    fn names_of_authors_are_short_and_harmless() {
        let by = ChangedBy::shortened(
            &format!("mia\u{1b}[2J{}", "x".repeat(200)),
            &"h".repeat(300),
            EventTime::of_second(UnixTime(0)),
        );
        let event = by.event(UnsignedChange::Paused);
        assert_eq!(event.user.as_str().len(), 128);
        assert!(event.user.as_str().starts_with("mia [2J"));
        assert_eq!(event.host.as_str().len(), 253);
        let forged = json!({ "user": "mia\u{1b}[2J", "host": "", "change": "paused" });
        assert!(serde_json::from_value::<AdministratorEvent>(forged).is_err());
    }

    #[test]
    fn an_event_has_one_form() {
        let device: DeviceId = "ocs:pc-2026-03-04-05-06-07".parse().unwrap();
        let by = ChangedBy::shortened("mia", "desk", EventTime::of_second(UnixTime(0)));
        let event = by.event(UnsignedChange::Blocked {
            devices: ChangedDevices {
                devices: vec![device.clone()],
                host_names: vec!["pc".to_owned()],
            },
            reason: Some("stolen".parse().unwrap()),
        });
        let stored = serde_json::to_value(&event).unwrap();
        let expected = json!({
            "user": "mia", "host": "desk", "change": "blocked", "reason": "stolen",
            "devices": [device], "host_names": ["pc"],
        });
        assert_eq!(stored, expected);
        let read: AdministratorEvent = serde_json::from_value(stored).unwrap();
        assert_eq!(read, event);
        assert_eq!(read.change.devices(), [&device]);
        assert_eq!(read.change.package(), None);
    }
}
