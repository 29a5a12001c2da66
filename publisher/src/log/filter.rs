//! The filter of a log: changes of a package, of a group, or of a device.

use packcast_protocol::{DeviceId, GroupName, PackageId};
use packcast_rollout::state::{EntryOwner, StateDifference};
use packcast_store::records::EventRecord;

/// The names to which a log is limited.
#[derive(Clone, Debug, Default)]
pub(super) struct LogFilter {
    pub(super) package: Option<PackageId>,
    pub(super) group: Option<GroupName>,
    pub(super) device: Option<DeviceId>,
}

impl LogFilter {
    pub(super) const fn is_empty(&self) -> bool {
        self.package.is_none() && self.group.is_none() && self.device.is_none()
    }

    /// An event that cannot be read may have changed anything.
    pub(super) fn matches_event(&self, event: &EventRecord) -> bool {
        let Ok(event) = &event.event else {
            return true;
        };
        let package = event.change.package();
        self.group.is_none()
            && self.package.is_none_or(|it| package == Some(it))
            && self
                .device
                .as_ref()
                .is_none_or(|it| event.change.devices().contains(&it))
    }

    pub(super) fn matches(&self, change: &StateDifference) -> bool {
        self.package.is_none_or(|it| package(change) == Some(it))
            && self.group.as_ref().is_none_or(|it| is_of_group(change, it))
            && self
                .device
                .as_ref()
                .is_none_or(|it| is_of_device(change, it))
    }
}

fn package(change: &StateDifference) -> Option<PackageId> {
    match change {
        StateDifference::Assigned { entry, .. } | StateDifference::Unassigned { entry, .. } => {
            Some(entry.package)
        }
        StateDifference::RolloutSet { document, .. }
        | StateDifference::RolloutRemoved { document, .. } => Some(document.package),
        _ => None,
    }
}

fn is_of_group(change: &StateDifference, name: &GroupName) -> bool {
    match change {
        StateDifference::GroupRenamed { group, to } => name == group || name == to,
        change => group(change) == Some(name),
    }
}

fn group(change: &StateDifference) -> Option<&GroupName> {
    match change {
        StateDifference::Assigned {
            to: EntryOwner::Group(group),
            ..
        }
        | StateDifference::Unassigned {
            from: EntryOwner::Group(group),
            ..
        }
        | StateDifference::GroupCreated { group, .. }
        | StateDifference::GroupDeleted { group }
        | StateDifference::Preferred { group, .. }
        | StateDifference::Paced { group, .. }
        | StateDifference::Left { group, .. }
        | StateDifference::Joined { group, .. } => Some(group),
        _ => None,
    }
}

fn is_of_device(change: &StateDifference, device: &DeviceId) -> bool {
    match change {
        StateDifference::Assigned {
            to: EntryOwner::Device(owner),
            ..
        }
        | StateDifference::Unassigned {
            from: EntryOwner::Device(owner),
            ..
        } => owner == device,
        StateDifference::Left { devices, .. } | StateDifference::Joined { devices, .. } => {
            devices.contains(device)
        }
        _ => false,
    }
}
