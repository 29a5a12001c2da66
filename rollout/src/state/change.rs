//! Changes of a state, as an administrator asks for them.

mod needed_rollouts;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use packcast_protocol::state::document::MAX_DEVICE_GROUPS;
use packcast_protocol::state::{
    LeafName, RolloutDocument, RolloutId, StateEntry, Terms, WaveNumber,
};
use packcast_protocol::{
    DeviceId, GroupName, Location, LocationName, PackageId, Sha256Digest, UnixTime,
};
use serde::Serialize;

use super::part::StatePart;
use crate::pacing::PacingChange;

use needed_rollouts::leaves_of_rollouts;
pub use needed_rollouts::needs_all_rollouts;

/// One change of a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateChange {
    /// Assigns a package. If the assignee has the package already, this is a new assignment:
    /// devices on which the package failed try again.
    Assign {
        to: EntryOwner,
        assignment: NewAssignment,
    },
    Unassign {
        from: EntryOwner,
        package: PackageId,
    },
    Join {
        group: GroupName,
        devices: BTreeSet<DeviceId>,
    },
    Leave {
        group: GroupName,
        devices: BTreeSet<DeviceId>,
    },
    CreateGroup {
        group: GroupName,
    },
    /// Deletes a group with its packages. The documents of its devices stay as they are: they name
    /// the commit that created the group, so they are in no later group of the same name.
    DeleteGroup {
        group: GroupName,
    },
    /// Gives a group another name. Its devices stay members, and its assignments keep their
    /// mandates, so that no device acts on one of them again.
    RenameGroup {
        group: GroupName,
        to: GroupName,
    },
    /// Sets the location that a group's devices try first, or removes this setting. A location that
    /// does not exist has no effect: locations are removed without a look at all groups.
    Prefer {
        group: GroupName,
        location: Option<LocationName>,
    },
    Pace {
        group: GroupName,
        pacing: PacingChange,
    },
    /// Adds a location, or changes its address.
    AddLocation {
        location: LocationName,
        url: Location,
    },
    RemoveLocation {
        location: LocationName,
    },
    /// Removes the leaves of devices: their groups, and the packages of the devices themselves.
    RemoveDevices {
        devices: BTreeSet<DeviceId>,
    },
    /// Lets a device take the place of another one, which leaves the state: the new device joins its
    /// groups, and is assigned those of its own packages that are named here.
    ReplaceDevice {
        old: DeviceId,
        new: DeviceId,
        packages: BTreeSet<PackageId>,
    },
    /// Adds the calendar of a rollout, or sets other times in it. Entries name the rollout by
    /// [`Terms::rollout`]. A package has at most one rollout at a time.
    SetRollout {
        rollout: RolloutId,
        document: RolloutDocument,
    },
    /// Sets the time from which a wave is open.
    OpenWave {
        rollout: RolloutId,
        wave: WaveNumber,
        from: UnixTime,
    },
    /// Unassigns the package from the groups of a rollout.
    EndRollout {
        rollout: RolloutId,
    },
    /// Makes the entries of a rollout plain assignments. An entry keeps its `seq`, so no device acts
    /// again.
    FinishRollout {
        rollout: RolloutId,
    },
    /// Signs the state again, without a change.
    Renew,
}

/// The owner of entries: a group, or a device itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryOwner {
    Group(GroupName),
    Device(DeviceId),
}

/// An assignment, before its commit has a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAssignment {
    pub package: PackageId,
    /// SHA-256 of the package's manifest, which the publisher has verified.
    pub manifest: Sha256Digest,
    /// Deploy the package even if the device has it already.
    pub force: bool,
    pub terms: Terms,
}

impl EntryOwner {
    /// Returns the leaf with the owner's document.
    pub fn leaf(&self) -> LeafName {
        match self {
            Self::Group(group) => LeafName::Group(group.clone()),
            Self::Device(device) => LeafName::Device(device.clone()),
        }
    }
}

impl fmt::Display for EntryOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(group) => write!(f, "group {group}"),
            Self::Device(device) => write!(f, "device {device}"),
        }
    }
}

impl NewAssignment {
    /// Returns the entry of this assignment in a commit.
    pub fn entry(&self, seq: u64) -> StateEntry {
        StateEntry {
            package: self.package,
            manifest: self.manifest,
            seq,
            assignee: None,
            force: self.force,
            terms: self.terms.clone(),
        }
    }

    /// Returns the assignment of an entry, without its `seq`.
    pub fn of(entry: &StateEntry) -> Self {
        Self {
            package: entry.package,
            manifest: entry.manifest,
            force: entry.force,
            terms: entry.terms.clone(),
        }
    }
}

/// Returns the leaves to load before [`apply`](super::apply) can decide, without those that are
/// loaded.
///
/// A caller loads them and asks again, until the set is empty. Two rounds are enough: devices that
/// are in many groups need a second one, and so do the groups of rollouts and those of a device that
/// is replaced.
/// [`needs_all_rollouts`](super::needs_all_rollouts) tells if all rollouts are needed, too.
pub fn needed(changes: &[StateChange], loaded: &StatePart) -> BTreeSet<LeafName> {
    let mut names = BTreeSet::new();
    let mut joins: BTreeMap<&DeviceId, usize> = BTreeMap::new();
    for change in changes {
        match change {
            StateChange::Assign { to: owner, .. } | StateChange::Unassign { from: owner, .. } => {
                names.insert(owner.leaf());
            }
            StateChange::Join { group, devices } | StateChange::Leave { group, devices } => {
                names.insert(LeafName::Group(group.clone()));
                names.extend(devices.iter().cloned().map(LeafName::Device));
            }
            StateChange::CreateGroup { group }
            | StateChange::DeleteGroup { group }
            | StateChange::Prefer { group, .. }
            | StateChange::Pace { group, .. } => {
                names.insert(LeafName::Group(group.clone()));
            }
            StateChange::RenameGroup { group, to } => {
                names.extend([group, to].map(|group| LeafName::Group(group.clone())));
            }
            StateChange::AddLocation { location, .. }
            | StateChange::RemoveLocation { location } => {
                names.insert(LeafName::Location(location.clone()));
            }
            StateChange::RemoveDevices { devices } => {
                names.extend(devices.iter().cloned().map(LeafName::Device));
            }
            StateChange::ReplaceDevice { old, new, .. } => {
                names.extend([old, new].map(|device| LeafName::Device(device.clone())));
                // The groups of the old device are known in the second round.
                if let Ok(Some(document)) = loaded.device(old) {
                    let groups = document.groups.as_map();
                    names.extend(groups.keys().cloned().map(LeafName::Group));
                    *joins.entry(new).or_default() += groups.len();
                }
            }
            StateChange::SetRollout { .. }
            | StateChange::OpenWave { .. }
            | StateChange::EndRollout { .. }
            | StateChange::FinishRollout { .. }
            | StateChange::Renew => {}
        }
        if let StateChange::Join { devices, .. } = change {
            for device in devices {
                *joins.entry(device).or_default() += 1;
            }
        }
    }
    for (device, joins) in joins {
        // Only a device near the limit needs to forget deleted groups: see `apply`.
        if let Ok(Some(document)) = loaded.device(device) {
            let groups = document.groups.as_map();
            if groups.len() + joins > MAX_DEVICE_GROUPS {
                names.extend(groups.keys().cloned().map(LeafName::Group));
            }
        }
    }
    names.extend(leaves_of_rollouts(changes, loaded));
    names.retain(|name| !loaded.is_loaded(name));
    names
}

/// Returns the groups whose members are to load, too, before [`apply`](super::apply) can decide.
///
/// [`StatePart::add_members`] adds them. They follow from the documents of all devices, because the
/// records may hide a member.
pub fn needed_members(changes: &[StateChange], loaded: &StatePart) -> BTreeSet<GroupName> {
    let renamed = changes.iter().filter_map(|change| match change {
        StateChange::RenameGroup { group, .. } => Some(group),
        _ => None,
    });
    let missing = renamed.filter(|group| !loaded.has_members_of(group));
    missing.cloned().collect()
}
