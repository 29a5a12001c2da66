//! Completing the records of a target, so that all of them follow from the head.
//!
//! A command completes the records of every commit whose records may be incomplete, also those of
//! other machines, in this order:
//!
//! 1. Groups, in one transaction each: from then on no package is announced that the group does
//!    not have. A group that was deleted and created again loses its members before.
//! 2. Devices that have lost a package or a group.
//! 3. Members of deleted groups, entries of groups in the partitions of packages, other devices.
//! 4. The number of changes whose records are complete.
//!
//! Each part may be repeated, and several machines can do the same work at the same time. A part
//! that meets a later head ends, and the work begins again from that head: a later head may still
//! be incomplete.

mod open;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::state::TrustedRoots;
use packcast_protocol::{DeviceId, GroupName, UnixTime};
use packcast_rollout::state::GroupPackages;
use packcast_store::Records;
use packcast_store::records::{DeviceProjected, GroupProjected, GroupTarget};
use tokio::time::{Instant, sleep};

use self::open::OpenRecords;
pub(super) use self::open::groups_of;
use super::error::StateError;
use super::reader::TargetState;
use crate::concurrency::AT_ONCE;
use crate::progress::{Progress, Work};

/// Maximum number of heads from which a command begins, while later ones come first.
const ATTEMPTS: u32 = 16;

/// Time in which urgent records are written again after a failure.
const URGENT_FOR: Duration = Duration::from_mins(1);

/// Pause before urgent records are written again.
const PAUSE: Duration = Duration::from_millis(200);

/// The records that a command has completed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completed {
    /// Number of changes of the head whose records are complete.
    pub order: u64,
    pub groups: BTreeSet<GroupName>,
    /// Devices whose records were open, with the outcome of each.
    pub devices: BTreeMap<DeviceId, DeviceProjected>,
}

/// A completion whose urgent records are written.
///
/// No device is told any more of a package that it has lost. If the completion is dropped, the next
/// command continues.
#[derive(Debug)]
pub struct Completing<'a> {
    records: &'a Records,
    trust: &'a TrustedRoots,
    now: UnixTime,
    /// `None` if all records are complete.
    open: Option<OpenRecords>,
    /// The groups that are written, each with its remaining records.
    groups: BTreeMap<GroupName, RestOfGroup>,
    is_overtaken: bool,
    completed: Completed,
}

/// The records of a group that are not urgent.
#[derive(Clone, Debug)]
struct RestOfGroup {
    is_deleted: bool,
    packages: GroupPackages,
}

/// Completes all records; see [`Completing`].
pub async fn complete(
    records: &Records,
    trust: &TrustedRoots,
    now: UnixTime,
    progress: &Progress,
) -> Result<Completed, StateError> {
    let completing = Completing::urgent(records, trust, now).await?;
    completing.rest(progress).await
}

impl<'a> Completing<'a> {
    /// Writes the urgent records: groups, and devices that have lost a package or a group.
    ///
    /// If a request fails and may succeed later, the function tries again for 60 seconds.
    pub async fn urgent(
        records: &'a Records,
        trust: &'a TrustedRoots,
        now: UnixTime,
    ) -> Result<Self, StateError> {
        let (begun, mut opened) = (Instant::now(), None);
        loop {
            let failed = match opened {
                None => match Self::open(records, trust, now).await {
                    Ok(completing) => {
                        opened = Some(completing);
                        continue;
                    }
                    Err(error) => error,
                },
                Some(mut completing) => match completing.write_urgent().await {
                    Ok(()) => return Ok(completing),
                    Err(error) => {
                        opened = Some(completing);
                        error
                    }
                },
            };
            match failed {
                StateError::Records(error)
                    if error.is_retryable() && begun.elapsed() < URGENT_FOR =>
                {
                    sleep(PAUSE).await;
                }
                error => return Err(error),
            }
        }
    }

    /// Returns the records that are written so far.
    pub const fn completed(&self) -> &Completed {
        &self.completed
    }

    /// Writes the remaining records.
    pub async fn rest(mut self, progress: &Progress) -> Result<Completed, StateError> {
        for _ in 0..ATTEMPTS {
            if self.write_rest(progress).await? {
                if self.open.is_some() {
                    self.records.record_changes(self.completed.order).await?;
                }
                return Ok(self.completed);
            }
            let later = Self::urgent(self.records, self.trust, self.now).await?;
            let earlier = std::mem::replace(&mut self, later).completed;
            self.completed.add_earlier(earlier);
        }
        Err(StateError::Overtaken)
    }

    async fn open(
        records: &'a Records,
        trust: &'a TrustedRoots,
        now: UnixTime,
    ) -> Result<Self, StateError> {
        let mut state = TargetState::read(records, trust).await?;
        let order = state.head.as_ref().map_or(0, |head| head.stored.order);
        Ok(Self {
            records,
            trust,
            now,
            open: OpenRecords::read(records, &mut state).await?,
            groups: BTreeMap::new(),
            is_overtaken: false,
            completed: Completed {
                order,
                ..Completed::default()
            },
        })
    }

    async fn write_urgent(&mut self) -> Result<(), StateError> {
        let Some(open) = &self.open else {
            return Ok(());
        };
        let left = open
            .groups()
            .filter(|it| !self.groups.contains_key(it.group));
        let written: Vec<(GroupName, GroupProjected)> = stream::iter(left)
            .map(|target| write_group(self.records, target))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        for (group, projected) in written {
            let rest = match projected {
                GroupProjected::Written { left } => RestOfGroup {
                    is_deleted: false,
                    packages: left,
                },
                GroupProjected::Deleted => RestOfGroup {
                    is_deleted: true,
                    packages: open.packages(&group).clone(),
                },
                GroupProjected::Superseded => {
                    self.is_overtaken = true;
                    continue;
                }
            };
            self.completed.groups.insert(group.clone());
            self.groups.insert(group, rest);
        }
        self.write_devices(true, &Progress::none()).await
    }

    /// Returns false if there is a later head.
    async fn write_rest(&mut self, progress: &Progress) -> Result<bool, StateError> {
        let Some(open) = &self.open else {
            return Ok(true);
        };
        let done = self.completed.devices.len();
        let total = open.devices().count().saturating_sub(done);
        progress.begin(Work::Recording, total.try_into().unwrap_or(u64::MAX));
        let order = self.completed.order;
        let written: Vec<bool> = stream::iter(&self.groups)
            .map(|(group, rest)| write_rest_of_group(self.records, group, rest, order))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        self.is_overtaken |= written.contains(&false);
        self.write_devices(false, progress).await?;
        progress.end();
        Ok(!self.is_overtaken)
    }

    /// Writes the devices that have lost something, or all that are left.
    async fn write_devices(
        &mut self,
        only_urgent: bool,
        progress: &Progress,
    ) -> Result<(), StateError> {
        let Some(open) = &self.open else {
            return Ok(());
        };
        let done = &self.completed.devices;
        let targets: Vec<_> = open
            .devices()
            .filter(|target| !done.contains_key(target.device))
            .filter(|target| !only_urgent || target.earlier.has_lost)
            .collect();
        let advance = |devices: usize| progress.advance(devices.try_into().unwrap_or(u64::MAX));
        let order = self.completed.order;
        let written = self
            .records
            .project_devices(&targets, order, self.now, &advance)
            .await?;
        for (device, projected) in written {
            if projected == DeviceProjected::OtherGroup {
                self.is_overtaken = true;
            } else {
                self.completed.devices.insert(device.clone(), projected);
            }
        }
        Ok(())
    }
}

impl Completed {
    /// Adds the records that were completed before a later head came.
    fn add_earlier(&mut self, earlier: Self) {
        self.groups.extend(earlier.groups);
        for (device, projected) in earlier.devices {
            let later = self.devices.get(&device);
            if later.is_none_or(|later| *later == DeviceProjected::AlreadySo) {
                self.devices.insert(device, projected);
            }
        }
    }
}

/// Writes the state of a group, or deletes it.
async fn write_group(
    records: &Records,
    target: GroupTarget<'_>,
) -> Result<(GroupName, GroupProjected), StateError> {
    for _ in 0..ATTEMPTS {
        match records.project_group(&target).await? {
            // The group was deleted and created again.
            GroupProjected::Deleted if target.document.is_some() => {
                records.remove_members(target.group, target.order).await?;
            }
            projected => return Ok((target.group.clone(), projected)),
        }
    }
    Err(StateError::Overtaken)
}

/// Returns false if the group on record follows from a later head.
async fn write_rest_of_group(
    records: &Records,
    group: &GroupName,
    rest: &RestOfGroup,
    order: u64,
) -> Result<bool, StateError> {
    if rest.is_deleted && !records.remove_members(group, order).await? {
        return Ok(false);
    }
    Ok(records
        .write_group_packages(group, &rest.packages, order)
        .await?)
}
