//! The records of devices: memberships and direct tasks.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::state::{DeviceDocument, Document};
use packcast_protocol::{DeviceId, GroupName, PackageId, UnixTime};
use packcast_rollout::assign::AssignOutcome;
use packcast_rollout::state::{DeviceLeaf, EarlierDevice, RecordedDevice};
use packcast_rollout::unassign::Unassigned;

use super::super::key::{MEMBER_SHARDS, shard};
use super::super::stored::{Joining, RecordedLeaf};
use super::super::{Records, RecordsError};

/// Number of devices at a time whose tasks change.
const AT_ONCE: usize = 8;

/// A device whose records are to follow from a head.
#[derive(Clone, Copy, Debug)]
pub struct DeviceTarget<'a> {
    pub device: &'a DeviceId,
    /// `None` if the device has no leaf.
    pub document: Option<&'a Document<DeviceDocument>>,
    /// Groups of the device that exist, each with the number of the commit that created it.
    pub groups: &'a BTreeMap<GroupName, u64>,
    pub earlier: &'a EarlierDevice,
}

/// Outcome of writing the records of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceProjected {
    /// The records follow from the head, after these changes.
    Written(DeviceChanges),
    /// The records followed from this head or a later one already.
    AlreadySo,
    /// The device has never checked in, or was removed.
    Unknown,
    /// Nothing was written: a group that the device joins is not on record as it is at the head,
    /// so there is a later head.
    OtherGroup,
}

/// Changes of a device's records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceChanges {
    pub joined: BTreeSet<GroupName>,
    pub left: BTreeSet<GroupName>,
    /// Direct entries without a task, each with the effect of its assignment.
    pub assigned: BTreeMap<PackageId, AssignOutcome>,
    /// Packages without a direct entry that had one, each with the effect on its task.
    pub unassigned: BTreeMap<PackageId, Unassigned>,
}

/// A head, as the records of devices follow from it.
#[derive(Clone, Copy)]
pub(super) struct Projection<'a> {
    pub(super) order: u64,
    pub(super) now: UnixTime,
    /// Is told the number of devices that are complete.
    pub(super) done: &'a (dyn Fn(usize) + Sync),
}

/// A device with the outcome of writing its records.
pub type ProjectedDevice<'a> = (&'a DeviceId, Result<DeviceProjected, RecordsError>);

impl<'a> DeviceTarget<'a> {
    /// Returns the leaf of the device at the head with this order.
    pub(super) fn leaf(&self, order: u64) -> DeviceLeaf<'a> {
        DeviceLeaf {
            document: self.document,
            groups: self.groups,
            earlier: &self.earlier.packages,
            order,
        }
    }

    /// Returns the leaf as it is on record afterwards.
    pub(super) fn recorded_leaf(&self, order: u64) -> RecordedLeaf {
        RecordedLeaf {
            order,
            digest: self.document.map(Document::digest),
        }
    }
}

impl Joining {
    /// Returns the memberships of a device, without its tasks. `order` is that of its records, or 0
    /// if the order on record is forged.
    pub(super) fn recorded(&self, order: u64) -> RecordedDevice {
        RecordedDevice {
            order,
            groups: self.groups.joined().cloned().collect(),
            is_removed: self.is_removed(),
            ..RecordedDevice::default()
        }
    }
}

impl Records {
    /// Writes the records of devices, so that they follow from a head. The groups of the head are
    /// on record already.
    ///
    /// Devices that only join or leave groups are written together, about 49 in a transaction. The
    /// call may be repeated after an error. `done` is told the number of devices that are complete,
    /// each time that some are.
    ///
    /// The records of one device may be unreadable, or other changes may interfere each time. Such
    /// an error is the outcome of this device, and the others are written.
    pub async fn project_devices<'a>(
        &self,
        targets: &[DeviceTarget<'a>],
        order: u64,
        now: UnixTime,
        done: &(dyn Fn(usize) + Sync),
    ) -> Result<Vec<ProjectedDevice<'a>>, RecordsError> {
        let projection = Projection { order, now, done };
        // One lane for each shard of the counts, so that transactions do not conflict.
        let mut lanes = vec![Vec::new(); usize::from(MEMBER_SHARDS)];
        let mut alone = Vec::new();
        for target in targets {
            if target.earlier.has_other_entries {
                alone.push(*target);
            } else {
                let lane = usize::from(shard(target.device, MEMBER_SHARDS));
                lanes[lane].push(*target);
            }
        }
        let lanes = lanes.into_iter();
        let together = try_join_all(lanes.map(|lane| self.project_lane(lane, projection)));
        let alone = stream::iter(alone)
            .map(|target| self.project_single(target, projection))
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<_>>();
        let (together, alone) = futures_util::future::try_join(together, alone).await?;
        Ok(together.into_iter().flatten().chain(alone).collect())
    }
}
