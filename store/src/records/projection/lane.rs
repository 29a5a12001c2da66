//! Devices that only join or leave groups, many in each transaction.

use std::collections::{BTreeMap, HashMap};

use packcast_protocol::{DeviceId, GroupName};
use packcast_rollout::state::project_device;

use super::super::commit::Commit;
use super::super::item::{self, Item, PK};
use super::super::key::{Key, MEMBER_SHARDS, shard};
use super::super::names::HOST_NAME;
use super::super::stored::{self, Joining, RecordedLeaf};
use super::super::write;
use super::super::{Records, RecordsError};
use super::device::{DeviceChanges, DeviceProjected, DeviceTarget, ProjectedDevice, Projection};
use super::forged::revisions_above;
use super::group::MAX_WRITES;
use super::update::DeviceUpdate;

/// Number of devices in one read: two transactions of devices that join one group.
const READ: usize = 98;

/// Maximum number of groups of a device that is written together with others.
const MAX_GROUPS: usize = 8;

/// Changes that several devices have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct SharedChanges {
    /// Groups with the number of the commit that created each.
    joined: Vec<(GroupName, u64)>,
    left: Vec<GroupName>,
}

impl SharedChanges {
    fn groups(&self) -> usize {
        self.joined.len() + self.left.len()
    }

    /// Returns the number of devices in one transaction: an update and a membership for each group,
    /// beside a count for each group and a check for each joined group.
    fn capacity(&self) -> usize {
        (MAX_WRITES - self.groups() - self.joined.len()) / (1 + self.groups())
    }
}

/// A device of a transaction, with its leaf on record.
type ReadDevice<'a> = (DeviceTarget<'a>, RecordedLeaf);

impl Records {
    /// Writes the records of devices in one shard, one transaction after the other.
    pub(super) async fn project_lane<'a>(
        &self,
        mut left: Vec<DeviceTarget<'a>>,
        projection: Projection<'_>,
    ) -> Result<Vec<ProjectedDevice<'a>>, RecordsError> {
        let mut projected = Vec::with_capacity(left.len());
        let mut alone = Vec::new();
        while !left.is_empty() {
            let batch = left.split_off(left.len().saturating_sub(READ));
            let mut read = self.joinings(&batch).await?;
            let mut together: BTreeMap<SharedChanges, Vec<ReadDevice<'a>>> = BTreeMap::new();
            for target in batch {
                let Some(joining) = read.remove(target.device) else {
                    (projection.done)(1);
                    projected.push((target.device, Ok(DeviceProjected::Unknown)));
                    continue;
                };
                let joining = match joining {
                    Ok(joining) => joining,
                    Err(unreadable) => {
                        (projection.done)(1);
                        projected.push((target.device, Err(unreadable)));
                        continue;
                    }
                };
                let wanted = target.recorded_leaf(projection.order);
                let order = self.order_of(joining.leaf, wanted).await?;
                let leaf = target.leaf(projection.order);
                // The entries are the same, so the part about tasks does not matter.
                let Some(changes) = project_device(leaf, &joining.recorded(order)) else {
                    (projection.done)(1);
                    projected.push((target.device, Ok(DeviceProjected::AlreadySo)));
                    continue;
                };
                let changes = SharedChanges {
                    joined: changes.joined.into_iter().collect(),
                    left: changes.left.into_iter().collect(),
                };
                let has_later = !revisions_above(&joining.groups, projection.order).is_empty();
                if changes.groups() > MAX_GROUPS || has_later {
                    alone.push(target);
                } else {
                    together
                        .entry(changes)
                        .or_default()
                        .push((target, joining.leaf));
                }
            }
            for (changes, devices) in together {
                for devices in devices.chunks(changes.capacity()) {
                    let outcome = self
                        .write_together(&changes, devices, projection.order)
                        .await;
                    let of_each = |outcome: &dyn Fn() -> Result<DeviceProjected, RecordsError>| {
                        let devices = devices.iter().map(|(it, _)| (it.device, outcome()));
                        devices.collect::<Vec<_>>()
                    };
                    match outcome {
                        Err(error) if error.is_of_single_records() => {
                            (projection.done)(devices.len());
                            projected.extend(of_each(&|| Err(self.conflict())));
                        }
                        Err(error) => return Err(error),
                        Ok(Together::Written) => {
                            (projection.done)(devices.len());
                            let written = || Ok(DeviceProjected::Written(made(&changes)));
                            projected.extend(of_each(&written));
                        }
                        Ok(Together::OtherGroup) => {
                            projected.extend(of_each(&|| Ok(DeviceProjected::OtherGroup)));
                        }
                        Ok(Together::Changed(changed)) => {
                            for ((target, _), is_changed) in devices.iter().zip(changed) {
                                let next = if is_changed { &mut alone } else { &mut left };
                                next.push(*target);
                            }
                        }
                    }
                }
            }
            for target in alone.drain(..) {
                projected.push(self.project_single(target, projection).await?);
            }
        }
        Ok(projected)
    }

    /// Reads the memberships of devices. Devices without a record, and tombstones, are left out.
    async fn joinings<'a>(
        &self,
        targets: &[DeviceTarget<'a>],
    ) -> Result<HashMap<&'a DeviceId, Result<Joining, RecordsError>>, RecordsError> {
        let keys: Vec<Key> = targets.iter().map(|it| Key::device(it.device)).collect();
        let items = self.batch(&keys).await?;
        let partitions = keys.into_iter().map(|key| key.pk);
        let devices: HashMap<String, &DeviceId> =
            partitions.zip(targets.iter().map(|it| it.device)).collect();
        let known = items
            .into_iter()
            .filter(|found| found.contains_key(HOST_NAME));
        // The device follows from the key, because the content may be unreadable.
        let of_device = |found: Item| {
            let partition = found.get(PK)?.as_s().ok()?;
            Some((*devices.get(partition)?, item::read(found)))
        };
        Ok(known.filter_map(of_device).collect())
    }

    async fn write_together(
        &self,
        changes: &SharedChanges,
        devices: &[ReadDevice<'_>],
        order: u64,
    ) -> Result<Together, RecordsError> {
        let joined: Vec<GroupName> = changes.joined.iter().map(|it| it.0.clone()).collect();
        let mut writes = Vec::with_capacity(MAX_WRITES);
        for (target, read) in devices {
            writes.push(self.updating_device(&DeviceUpdate {
                device: target.device,
                read: *read,
                joined: &joined,
                left: &changes.left,
                forgotten: &[],
                opens: false,
                count: None,
                leaf: Some(target.recorded_leaf(order)),
            }));
            let joins = joined.iter().map(|group| {
                let member = stored::member(group, target.device);
                write::replace(self.table(), member)
            });
            writes.extend(joins);
            let leaves = changes.left.iter();
            writes.extend(leaves.map(|group| self.leaving(group, target.device)));
        }
        let of_devices = writes.len();
        // All devices of a lane are in the same shard of a group.
        let shard = shard(devices[0].0.device, MEMBER_SHARDS);
        let number = i8::try_from(devices.len()).expect("a transaction has at most 100 devices");
        let counted = joined.iter().map(|group| (group, number));
        let counted = counted.chain(changes.left.iter().map(|group| (group, -number)));
        let counts = counted.map(|(group, change)| {
            let key = Key::member_count(group, shard);
            self.counting_at(&key, change)
        });
        writes.extend(counts);
        let before_checks = writes.len();
        let checks = changes.joined.iter();
        writes.extend(
            checks.map(|(group, created)| self.checking_group(group, Some(*created), None)),
        );
        let Commit::Refused(failed) = self.commit(writes).await? else {
            return Ok(Together::Written);
        };
        if failed[before_checks..].contains(&true) {
            return Ok(Together::OtherGroup);
        }
        let of_each = failed[..of_devices].chunks(of_devices / devices.len());
        Ok(Together::Changed(
            of_each.map(|failed| failed.contains(&true)).collect(),
        ))
    }
}

/// Outcome of a transaction of several devices.
enum Together {
    Written,
    OtherGroup,
    /// Nothing was written. For each device, in order, the value is true if its records have
    /// changed since they were read.
    Changed(Vec<bool>),
}

fn made(changes: &SharedChanges) -> DeviceChanges {
    DeviceChanges {
        joined: changes.joined.iter().map(|it| it.0.clone()).collect(),
        left: changes.left.iter().cloned().collect(),
        ..DeviceChanges::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_of_one_group_fill_a_transaction() {
        let group = |n: usize| format!("g{n}").parse::<GroupName>().unwrap();
        let changes = |joined: usize, left: usize| SharedChanges {
            joined: (0..joined).map(|n| (group(n), 1)).collect(),
            left: (joined..joined + left).map(group).collect(),
        };
        for (joined, left, expected) in [(1, 0, 49), (0, 1, 49), (0, 0, 100), (1, 1, 32), (8, 0, 9)]
        {
            let changes = changes(joined, left);
            assert_eq!(changes.capacity(), expected, "{joined} {left}");
            let writes = expected * (1 + joined + left) + joined + left + joined;
            assert!(writes <= MAX_WRITES);
        }
    }
}
