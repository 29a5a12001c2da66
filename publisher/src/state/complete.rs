//! Completing the records of a target, so that all of them follow from the head.
//!
//! A command completes the records of every commit whose records may be incomplete, also those of
//! other machines, in this order:
//!
//! 1. Groups that were renamed, with their members: see [`Records::move_group`]. Then the other
//!    groups, in one transaction each: from then on no package is announced that the group does not
//!    have. A group that was deleted and created again loses its members before.
//! 2. Devices that have lost a package or a group.
//! 3. Locations, members of deleted groups, entries of groups in the partitions of packages, other
//!    devices.
//! 4. The head up to which all records are complete.
//!
//! [`Scope::All`] also completes the copies of the activations of all packages, which do not follow
//! from a head.
//!
//! The command compares the head with its ancestors down to the one whose records are complete. If
//! one of them is missing or unreadable, as after a thief's commit, it writes all records from the
//! head alone.
//!
//! Each part may be repeated, and several machines can do the same work at the same time. A part
//! that meets a later head ends, and the work begins again from that head: a later head may still
//! be incomplete.

mod open;
mod recorded;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::state::{LeafName, TrustedRoots};
use packcast_protocol::{DeviceId, GroupName, LocationName, UnixTime};
use packcast_rollout::state::GroupPackages;
use packcast_store::records::{
    DeviceProjected, DeviceTarget, GroupMoved, GroupProjected, GroupTarget, RecordedHead,
};
use packcast_store::{Records, RecordsError};
use tokio::time::{Instant, sleep};

use self::open::{OpenRecords, Urgent};
pub(super) use self::open::{addresses, groups_of};
pub(crate) use self::recorded::RecordedUpTo;
use super::error::StateError;
use super::failed_records::FailedRecords;
use super::reader::{TargetState, VerifiedHead};
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
    source: Source<'a>,
    /// `None` before the first commit.
    head: Option<RecordedHead>,
    /// The earlier statement of the table up to which head all records are complete.
    recorded: RecordedUpTo,
    /// `None` if all records are complete.
    open: Option<OpenRecords>,
    /// The groups that are written, each with its remaining records.
    groups: BTreeMap<GroupName, RestOfGroup>,
    /// Errors of single groups and devices.
    failed: BTreeMap<LeafName, RecordsError>,
    is_overtaken: bool,
    /// Both names of each renamed group that could not be moved to its present name.
    stuck: BTreeSet<GroupName>,
    completed: Completed,
    /// The records that were completed for an earlier head.
    earlier: Completed,
}

/// A completion that a later head has overtaken.
#[derive(Debug)]
struct Overtaken {
    head: Option<RecordedHead>,
    completed: Completed,
}

/// The table whose records a command completes.
#[derive(Clone, Copy, Debug)]
struct Source<'a> {
    records: &'a Records,
    trust: &'a TrustedRoots,
    now: UnixTime,
    scope: Scope,
}

/// The records that a command completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The records that commits have changed since all records were complete.
    Changed,
    /// All records, also those that somebody has changed by hand.
    All,
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
    let completing = Completing::urgent(records, trust, now, Scope::Changed).await?;
    completing.rest(progress).await
}

/// Writes the records of locations, so that they follow from the head. The records of an unchanged
/// state may lack them.
pub(super) async fn complete_locations(
    records: &Records,
    trust: &TrustedRoots,
    locations: &BTreeSet<LocationName>,
) -> Result<(), StateError> {
    for _ in 0..ATTEMPTS {
        let mut state = TargetState::read(records, trust).await?;
        let Some(head) = state.head.as_ref().map(VerifiedHead::recorded) else {
            return Ok(());
        };
        let names = locations.iter().cloned().map(LeafName::Location);
        let part = state.trees.part(records, names.collect()).await?;
        let locations = addresses(&part);
        if records.project_locations(&locations, head.order).await? {
            return Ok(());
        }
    }
    Err(StateError::Overtaken)
}

impl<'a> Completing<'a> {
    /// Writes the urgent records: groups, and devices that have lost a package or a group.
    ///
    /// If a request fails and may succeed later, the function tries again for 60 seconds. An error
    /// of a single group or device does not stop the others: [`Completing::rest`] returns it.
    pub async fn urgent(
        records: &'a Records,
        trust: &'a TrustedRoots,
        now: UnixTime,
        scope: Scope,
    ) -> Result<Self, StateError> {
        let source = Source {
            records,
            trust,
            now,
            scope,
        };
        Self::begin(source, None).await
    }

    /// Writes the urgent records of the present head, after those of an earlier one.
    async fn begin(source: Source<'a>, mut earlier: Option<Overtaken>) -> Result<Self, StateError> {
        let begun = Instant::now();
        for _ in 0..ATTEMPTS {
            let mut completing = loop {
                match Self::open(source, earlier.as_ref()).await {
                    Ok(completing) => break completing,
                    Err(error) => pause_after(error, begun).await?,
                }
            };
            loop {
                match completing.write_urgent().await {
                    Ok(()) if completing.may_retry() && begun.elapsed() < URGENT_FOR => {
                        sleep(PAUSE).await;
                    }
                    Ok(()) => break,
                    Err(error) => pause_after(error, begun).await?,
                }
            }
            // A later head may name other records that are urgent.
            if !completing.is_overtaken || !completing.failed.is_empty() {
                return Ok(completing);
            }
            earlier = Some(completing.overtaken());
        }
        Err(StateError::Overtaken)
    }

    /// Returns the records that are written so far.
    pub fn completed(&self) -> Completed {
        let mut completed = self.completed.clone();
        completed.add_earlier(self.earlier.clone());
        completed
    }

    /// Writes the remaining records.
    ///
    /// If single groups or devices fail, all others are written, and the head is not recorded as
    /// complete.
    pub async fn rest(mut self, progress: &Progress) -> Result<Completed, StateError> {
        self.write_remaining(progress).await
    }

    /// Writes the remaining records, as [`Completing::rest`] does. If the future is dropped, the value
    /// keeps the errors so far.
    pub(super) async fn write_remaining(
        &mut self,
        progress: &Progress,
    ) -> Result<Completed, StateError> {
        // They do not follow from the head, so an error does not stop the other records.
        let activations = match self.source.scope {
            Scope::Changed => Ok(()),
            Scope::All => self.source.records.complete_activations().await,
        };
        let completed = self.rest_of_head(progress).await?;
        activations?;
        Ok(completed)
    }

    /// Returns the error for the groups and devices whose records could not be written so far. `None`
    /// if there are none.
    pub(super) fn take_failed(&mut self) -> Option<FailedRecords> {
        FailedRecords::new(std::mem::take(&mut self.failed))
    }

    /// Writes the remaining records that follow from the head.
    async fn rest_of_head(&mut self, progress: &Progress) -> Result<Completed, StateError> {
        for _ in 0..ATTEMPTS {
            let is_complete = self.write_rest(progress).await?;
            if let Some(failed) = self.take_failed() {
                return Err(failed.into());
            }
            if is_complete {
                if let Some(head) = self.head.filter(|_| self.open.is_some()) {
                    recorded::record(self.source.records, &head, self.recorded).await?;
                }
                return Ok(self.completed());
            }
            *self = Self::begin(self.source, Some(self.overtaken())).await?;
        }
        Err(StateError::Overtaken)
    }

    fn overtaken(&self) -> Overtaken {
        Overtaken {
            head: self.head,
            completed: self.completed(),
        }
    }

    async fn open(source: Source<'a>, earlier: Option<&Overtaken>) -> Result<Self, StateError> {
        let Source { records, trust, .. } = source;
        // Before the head, so that a later head than the one that is read next is forged.
        let recorded = RecordedUpTo::read(records).await?;
        let mut state = TargetState::read(records, trust).await?;
        let head = state.head.as_ref().map(VerifiedHead::recorded);
        // Records that contradict the same head do not follow from a later one.
        let is_contradicted = earlier.is_some_and(|earlier| earlier.head == head);
        let open = if is_contradicted {
            OpenRecords::all(records, &mut state, &Urgent::All).await?
        } else if source.scope == Scope::All {
            OpenRecords::all_since(records, &mut state, recorded).await?
        } else {
            OpenRecords::read(records, &mut state, recorded).await?
        };
        Ok(Self {
            source,
            head,
            recorded,
            open,
            groups: BTreeMap::new(),
            failed: BTreeMap::new(),
            is_overtaken: false,
            stuck: BTreeSet::new(),
            completed: Completed {
                order: head.map_or(0, |head| head.order),
                ..Completed::default()
            },
            earlier: earlier
                .map(|earlier| earlier.completed.clone())
                .unwrap_or_default(),
        })
    }

    /// Returns true if other changes have interfered with a record each time.
    fn may_retry(&self) -> bool {
        self.failed.values().any(RecordsError::is_retryable)
    }

    async fn write_urgent(&mut self) -> Result<(), StateError> {
        self.failed.clear();
        let stuck = self.move_groups().await?;
        let Some(open) = &self.open else {
            return Ok(());
        };
        let records = self.source.records;
        let is_left = |target: &GroupTarget<'_>| {
            !self.groups.contains_key(target.group) && !stuck.contains(target.group)
        };
        let left = open.groups().filter(is_left);
        let written: Vec<_> = stream::iter(left)
            .map(async |target| {
                let projected = single(write_group(records, target).await)?;
                Ok::<_, StateError>((target.group.clone(), projected))
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        for (group, projected) in written {
            let rest = match projected {
                Ok(GroupProjected::Written { left }) => RestOfGroup {
                    is_deleted: false,
                    packages: left,
                },
                Ok(GroupProjected::Deleted) => RestOfGroup {
                    is_deleted: true,
                    packages: open.packages(&group).clone(),
                },
                Ok(GroupProjected::Superseded) => {
                    self.is_overtaken = true;
                    continue;
                }
                Err(error) => {
                    self.failed.insert(LeafName::Group(group), error);
                    continue;
                }
            };
            self.completed.groups.insert(group.clone());
            self.groups.insert(group, rest);
        }
        self.stuck = stuck;
        self.write_devices(true, &Progress::none()).await
    }

    /// Moves the records of renamed groups to their present names, one after the other: a present
    /// name may be the earlier name of another group. Returns both names of each group that could not
    /// be moved, or whose names another such group has.
    async fn move_groups(&mut self) -> Result<BTreeSet<GroupName>, StateError> {
        let mut stuck = BTreeSet::new();
        let Some(open) = &self.open else {
            return Ok(stuck);
        };
        let records = self.source.records;
        // The records of both names are open. The earlier name is absent from the head, or a renamed
        // group has the name.
        let is_of_rename = |target: GroupTarget<'_>| {
            target
                .document
                .is_none_or(|document| document.origin.is_some())
        };
        let names: Vec<GroupName> = open.groups().map(|it| it.group.clone()).collect();
        if names.len() < 2 || !open.groups().any(is_of_rename) {
            return Ok(stuck);
        }
        let recorded = records.recorded_origins(&names).await?;
        for (from, to) in open.renamed(&recorded)? {
            let target = open.groups().find(|target| *target.group == to);
            let Some(target) = target else {
                continue;
            };
            // Moving to this name would remove the records that could not be moved away from it.
            if stuck.contains(&from) || stuck.contains(&to) {
                stuck.extend([from, to]);
                continue;
            }
            match single(records.move_group(&from, &target).await.map_err(Into::into))? {
                Ok(GroupMoved::Done) => {}
                Ok(GroupMoved::Superseded) => {
                    self.is_overtaken = true;
                    stuck.extend([from, to]);
                }
                Err(error) => {
                    self.failed.insert(LeafName::Group(to.clone()), error);
                    stuck.extend([from, to]);
                }
            }
        }
        Ok(stuck)
    }

    /// Returns false if there is a later head.
    async fn write_rest(&mut self, progress: &Progress) -> Result<bool, StateError> {
        let Some(open) = &self.open else {
            return Ok(true);
        };
        let done = self.completed.devices.len();
        let total = open.devices().count().saturating_sub(done);
        progress.begin(Work::Recording, total.try_into().unwrap_or(u64::MAX));
        let (records, order) = (self.source.records, self.completed.order);
        let located = records.project_locations(open.locations(), order).await?;
        let written: Vec<_> = stream::iter(&self.groups)
            .map(async |(group, rest)| {
                let written = write_rest_of_group(records, group, rest, order).await;
                Ok::<_, StateError>((group, single(written)?))
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        self.is_overtaken |= !located;
        for (group, written) in written {
            match written {
                Ok(is_current) => self.is_overtaken |= !is_current,
                Err(error) => {
                    self.failed.insert(LeafName::Group(group.clone()), error);
                }
            }
        }
        self.write_devices(false, progress).await?;
        self.correct_members().await?;
        progress.end();
        Ok(!self.is_overtaken)
    }

    /// Corrects the lists of members if all records are written.
    async fn correct_members(&self) -> Result<(), StateError> {
        // Without the devices of a stuck group, the members of its other groups are not known.
        let is_correctable = |open: &&OpenRecords| open.is_all() && self.stuck.is_empty();
        let Some(open) = self.open.as_ref().filter(is_correctable) else {
            return Ok(());
        };
        let mut members: BTreeMap<&GroupName, BTreeSet<&DeviceId>> = open
            .groups()
            .filter(|it| it.document.is_some() && !it.group.is_all())
            .map(|it| (it.group, BTreeSet::new()))
            .collect();
        for target in open.devices() {
            let is_known = self.completed.devices.get(target.device);
            if is_known.is_some_and(|projected| *projected != DeviceProjected::Unknown) {
                for group in target.groups.keys() {
                    members.entry(group).or_default().insert(target.device);
                }
            }
        }
        let records = self.source.records;
        stream::iter(members)
            .map(async |(group, members)| records.correct_members(group, &members).await)
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        Ok(())
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
        // A device must not join a group under its present name before it has moved: it would count
        // as a new member. A device that has left the group is written, under any of its names.
        let is_stuck =
            |target: &DeviceTarget<'_>| target.groups.keys().any(|it| self.stuck.contains(it));
        let targets: Vec<_> = open
            .devices()
            .filter(|target| !done.contains_key(target.device) && !is_stuck(target))
            .filter(|target| !only_urgent || target.earlier.has_lost)
            .collect();
        let advance = |devices: usize| progress.advance(devices.try_into().unwrap_or(u64::MAX));
        let Source { records, now, .. } = self.source;
        let written = records
            .project_devices(&targets, self.completed.order, now, &advance)
            .await?;
        for (device, projected) in written {
            match projected {
                Ok(DeviceProjected::OtherGroup) => self.is_overtaken = true,
                Ok(projected) => {
                    // An earlier attempt may have failed.
                    self.failed.remove(&LeafName::Device(device.clone()));
                    self.completed.devices.insert(device.clone(), projected);
                }
                Err(error) => {
                    self.failed.insert(LeafName::Device(device.clone()), error);
                }
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

/// Waits before another attempt. Returns the error if another attempt does not help, or if the time
/// for urgent records is over.
async fn pause_after(error: StateError, begun: Instant) -> Result<(), StateError> {
    match error {
        StateError::Records(error) if error.is_retryable() && begun.elapsed() < URGENT_FOR => {
            sleep(PAUSE).await;
            Ok(())
        }
        error => Err(error),
    }
}

/// Separates the errors of single records from those that stop a command.
fn single<T>(result: Result<T, StateError>) -> Result<Result<T, RecordsError>, StateError> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(StateError::Records(error)) if error.is_of_single_records() => Ok(Err(error)),
        Err(error) => Err(error),
    }
}

/// Writes the state of a group, or deletes it.
async fn write_group(
    records: &Records,
    target: GroupTarget<'_>,
) -> Result<GroupProjected, StateError> {
    for _ in 0..ATTEMPTS {
        match records.project_group(&target).await? {
            // The group was deleted and created again.
            GroupProjected::Deleted if target.document.is_some() => {
                records.remove_members(target.group, target.order).await?;
            }
            projected => return Ok(projected),
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
