//! One device with its direct tasks, in as many transactions as it needs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;

use aws_sdk_dynamodb::types::TransactWriteItem;
use packcast_protocol::state::StateEntry;
use packcast_protocol::{DeviceId, GroupName, PackageId, UnixTime};
use packcast_rollout::assign::{AssignOutcome, AssignmentRequest, PackageOnDevice, assign};
use packcast_rollout::state::{DeviceProjection, RecordedDevice, project_device};
use packcast_rollout::unassign::{Unassigned, unassign};
use packcast_rollout::{
    DeviceSystem, FinishedTask, GroupState, OpenTask, PackageRecord, TaskChange,
};

use super::super::assign::outcome_of;
use super::super::commit::Commit;
use super::super::key::Range;
use super::super::stored::{self, Joining, RecordedLeaf};
use super::super::write;
use super::super::{Records, RecordsError};
use super::device::{DeviceChanges, DeviceProjected, DeviceTarget, ProjectedDevice, Projection};
use super::group::MAX_WRITES;
use super::update::DeviceUpdate;

/// Maximum number of writes of one change: a direct task with its checks.
const MAX_OF_CHANGE: usize = 5;

/// The records of a device that its projection depends on.
struct DeviceOnRecord {
    joining: Joining,
    tasks: Vec<OpenTask>,
    finished: HashMap<PackageId, FinishedTask>,
    /// The package history of an OCS agent.
    history: Vec<PackageId>,
}

impl DeviceOnRecord {
    /// Returns the records of the device, with their order.
    fn recorded(&self, order: u64) -> RecordedDevice {
        let recorded = self.joining.recorded(order);
        recorded.with_tasks(&self.tasks, self.finished.values())
    }
}

/// One change of a device's records.
enum DeviceChange {
    Leave(GroupName),
    Withdraw {
        package: PackageId,
        outcome: Unassigned,
        change: Option<TaskChange>,
        /// The group that keeps the task, with its revision.
        kept_by: Option<(GroupName, u64)>,
    },
    Join(GroupName, u64),
    Open {
        package: PackageId,
        outcome: AssignOutcome,
        change: Option<TaskChange>,
    },
}

impl DeviceChange {
    /// Returns false for the outcome of an entry that changes no task.
    fn is_written(&self) -> bool {
        match self {
            Self::Leave(_) | Self::Join(..) => true,
            Self::Withdraw { change, .. } | Self::Open { change, .. } => change.is_some(),
        }
    }
}

/// The writes of one transaction.
#[derive(Default)]
struct Part {
    writes: Vec<TransactWriteItem>,
    joined: Vec<GroupName>,
    left: Vec<GroupName>,
    opens: bool,
    /// Groups to check: the commit that created each, and its revision.
    checked: BTreeMap<GroupName, (Option<u64>, Option<u64>)>,
    changes: DeviceChanges,
}

impl Records {
    /// Writes the records of one device. An error that is only about this device is its outcome.
    pub(super) async fn project_single<'a>(
        &self,
        target: DeviceTarget<'a>,
        projection: Projection<'_>,
    ) -> Result<ProjectedDevice<'a>, RecordsError> {
        let projected = self.project_alone(target, projection).await;
        match projected {
            Err(error) if !error.is_of_single_records() => return Err(error),
            Ok(DeviceProjected::OtherGroup) => {}
            Ok(_) | Err(_) => (projection.done)(1),
        }
        Ok((target.device, projected))
    }

    /// Writes the records of one device.
    ///
    /// Removals come first. The last transaction raises the order on record, so an
    /// interrupted projection continues with the remaining changes.
    async fn project_alone(
        &self,
        target: DeviceTarget<'_>,
        projection: Projection<'_>,
    ) -> Result<DeviceProjected, RecordsError> {
        let attempt = |mut made: DeviceChanges| async move {
            let Some(on_record) = self.device_on_record(target).await? else {
                return Ok(ControlFlow::Break(DeviceProjected::Unknown));
            };
            let leaf = on_record.joining.leaf;
            let wanted = target.recorded_leaf(projection.order);
            let recorded = on_record.recorded(self.order_of(leaf, wanted).await?);
            let mut changes = match self
                .device_changes(
                    target,
                    &on_record,
                    &recorded,
                    projection.order,
                    projection.now,
                )
                .await?
            {
                Some(changes) => changes.into_iter().peekable(),
                None => return Ok(ControlFlow::Break(already_so(made))),
            };
            let mut count = on_record.joining.round;
            let mut forgotten = self
                .forged_revisions(&on_record.joining.groups, projection.order)
                .await?;
            forgotten.retain(|(group, _)| group.is_all() || target.groups.contains_key(group));
            loop {
                let mut part = Part::default();
                while changes.peek().is_some() && part.has_room() {
                    part.extend(self, target.device, changes.next());
                }
                let is_last = changes.peek().is_none();
                let update = DeviceUpdate {
                    device: target.device,
                    read: leaf,
                    joined: &part.joined,
                    left: &part.left,
                    // With the last part, because that one is always written.
                    forgotten: if is_last { &forgotten } else { &[] },
                    opens: part.opens,
                    // Always, so that a writer of another head that has read the device before this
                    // part decides again.
                    count: Some(count),
                    leaf: is_last.then(|| target.recorded_leaf(projection.order)),
                };
                // A part may consist of outcomes only.
                if !is_last && part.writes.is_empty() {
                    made.add(part.changes);
                    continue;
                }
                let mut writes = vec![self.updating_device(&update)];
                writes.append(&mut part.writes);
                let before_checks = writes.len();
                let checks = part.checked.iter();
                writes.extend(checks.map(|(group, (created, revision))| {
                    self.checking_group(group, *created, *revision)
                }));
                if let Commit::Refused(failed) = self.commit(writes).await? {
                    let mut checks = part.checked.values().zip(&failed[before_checks..]);
                    // A group that keeps a task may only have changed: decide again.
                    let is_other =
                        checks.any(|((_, revision), failed)| *failed && revision.is_none());
                    return Ok(if is_other {
                        ControlFlow::Break(DeviceProjected::OtherGroup)
                    } else {
                        ControlFlow::Continue(made)
                    });
                }
                made.add(part.changes);
                count = count.next();
                if is_last {
                    return Ok(ControlFlow::Break(DeviceProjected::Written(made)));
                }
            }
        };
        self.retry_on_conflict(DeviceChanges::default(), attempt)
            .await
    }

    /// Returns the leaf on record of a device, and the changes that its records lack to follow from
    /// the leaf of the target. `None` if the device has no record.
    ///
    /// A complete device lacks nothing, and has the digest of the leaf on record. Nothing is
    /// written.
    pub async fn lacking_changes(
        &self,
        target: DeviceTarget<'_>,
        now: UnixTime,
    ) -> Result<Option<(RecordedLeaf, DeviceChanges)>, RecordsError> {
        let Some(on_record) = self.device_on_record(target).await? else {
            return Ok(None);
        };
        // The highest order: the changes are decided although the records are complete.
        let order = u64::MAX;
        let recorded = on_record.recorded(0);
        let changes = self
            .device_changes(target, &on_record, &recorded, order, now)
            .await?;
        let mut lacking = DeviceChanges::default();
        for change in changes
            .into_iter()
            .flatten()
            .filter(DeviceChange::is_written)
        {
            let mut part = Part::default();
            part.extend(self, target.device, Some(change));
            lacking.add(part.changes);
        }
        Ok(Some((on_record.joining.leaf, lacking)))
    }

    /// Reads a device. `None` if it has no record, or only a tombstone.
    async fn device_on_record(
        &self,
        target: DeviceTarget<'_>,
    ) -> Result<Option<DeviceOnRecord>, RecordsError> {
        let device = target.device;
        let found = self.excludable(device).await?;
        let Some(found) = found.filter(|found| found.host_name.is_some()) else {
            return Ok(None);
        };
        let mut on_record = DeviceOnRecord {
            joining: found.joining,
            tasks: Vec::new(),
            finished: HashMap::new(),
            history: Vec::new(),
        };
        if !target.earlier.has_other_entries {
            return Ok(Some(on_record));
        }
        // The tasks are read after the count of reconciliations, on which their changes depend.
        on_record.tasks = self.all(&Range::open_tasks(device)).await?;
        let entries = target.document.map(|document| document.packages.as_slice());
        let entries = entries
            .unwrap_or_default()
            .iter()
            .map(|entry| entry.package);
        let open = on_record.tasks.iter().filter(|task| task.direct);
        let packages: BTreeSet<PackageId> = entries
            .chain(open.map(|task| task.package))
            .chain(target.earlier.packages.iter().copied())
            .collect();
        on_record.finished = self.finished_of(device, &packages).await?;
        if let DeviceId::Ocs(_) = device {
            on_record.history = self.history(device).await?;
        }
        Ok(Some(on_record))
    }

    /// Decides the changes of a device. `None` if its records follow from this head or a later one.
    async fn device_changes(
        &self,
        target: DeviceTarget<'_>,
        on_record: &DeviceOnRecord,
        recorded: &RecordedDevice,
        order: u64,
        now: UnixTime,
    ) -> Result<Option<Vec<DeviceChange>>, RecordsError> {
        let leaf = target.leaf(order);
        let Some(mut changes) = project_device(leaf, recorded) else {
            return Ok(None);
        };
        if !target.earlier.has_other_entries {
            changes.opened.clear();
            changes.withdrawn.clear();
        }
        let DeviceProjection {
            joined,
            left,
            opened,
            withdrawn,
        } = changes;
        let states = if withdrawn.is_empty() {
            Vec::new()
        } else {
            let joined = target.groups.keys().cloned();
            let names: Vec<GroupName> = joined.chain([GroupName::all()]).collect();
            self.group_states(&names).await?
        };
        let new: Vec<PackageId> = opened.iter().map(|entry| entry.package).collect();
        let packages = self.packages_of(&new).await?;
        let left = left.into_iter().map(DeviceChange::Leave);
        let withdrawn = withdrawn.into_iter();
        let withdrawn = withdrawn.map(|package| withdrawal(target, on_record, &states, package));
        let joined = joined.into_iter();
        let joined = joined.map(|(group, created)| DeviceChange::Join(group, created));
        let opened = opened.into_iter().map(|entry| {
            let package = packages.iter().find(|package| package.id == entry.package);
            opening(target, on_record, &entry, package, now)
        });
        let changes = left.chain(withdrawn).chain(joined).chain(opened);
        Ok(Some(changes.collect()))
    }
}

fn already_so(made: DeviceChanges) -> DeviceProjected {
    if made == DeviceChanges::default() {
        DeviceProjected::AlreadySo
    } else {
        DeviceProjected::Written(made)
    }
}

fn withdrawal(
    target: DeviceTarget<'_>,
    on_record: &DeviceOnRecord,
    states: &[GroupState],
    package: PackageId,
) -> DeviceChange {
    let has_package = |state: &&GroupState| {
        let is_same =
            state.group.is_all() || target.groups.get(&state.group).copied() == state.created;
        is_same && state.assignment(package).is_some()
    };
    let group = states.iter().find(has_package);
    let mut tasks = on_record.tasks.iter();
    let open = tasks.find(|task| task.package == package);
    let before = on_record.finished.get(&package);
    let (outcome, change) = unassign(open, before, group.map(|state| &state.group));
    let is_kept = matches!(outcome, Unassigned::KeptByGroup(_));
    let kept_by = group.filter(|_| is_kept);
    DeviceChange::Withdraw {
        package,
        outcome,
        change,
        kept_by: kept_by.map(|state| (state.group.clone(), state.revision)),
    }
}

fn opening(
    target: DeviceTarget<'_>,
    on_record: &DeviceOnRecord,
    entry: &StateEntry,
    package: Option<&PackageRecord>,
    now: UnixTime,
) -> DeviceChange {
    let mut tasks = on_record.tasks.iter();
    let on_device = PackageOnDevice {
        is_known: true,
        // The publisher refuses the assignment to a device of another system before the commit. The
        // function compares the systems again before it announces the task.
        system: DeviceSystem::Unknown,
        open: tasks.find(|task| task.package == entry.package).cloned(),
        finished: on_record.finished.get(&entry.package).cloned(),
        in_history: on_record.history.contains(&entry.package),
    };
    let request = AssignmentRequest {
        direct: true,
        force: entry.force,
        mandate: Some(entry.seq),
    };
    let decided = match package {
        Some(package) => assign(target.device, package, &on_device, request, now),
        None => Err(AssignOutcome::Deleted),
    };
    let package = entry.package;
    match decided {
        Ok(change) => DeviceChange::Open {
            package,
            outcome: outcome_of(&change),
            change: Some(change),
        },
        Err(outcome) => DeviceChange::Open {
            package,
            outcome,
            change: None,
        },
    }
}

impl Part {
    fn has_room(&self) -> bool {
        // One more write for the device.
        self.writes.len() + self.checked.len() + MAX_OF_CHANGE < MAX_WRITES
    }

    fn extend(&mut self, records: &Records, device: &DeviceId, change: Option<DeviceChange>) {
        match change {
            None => {}
            Some(DeviceChange::Leave(group)) => {
                self.writes.push(records.leaving(&group, device));
                self.writes
                    .push(records.counting_members(&group, device, -1));
                self.changes.left.insert(group.clone());
                self.left.push(group);
            }
            Some(DeviceChange::Join(group, created)) => {
                let member = stored::member(&group, device);
                self.writes.push(write::replace(records.table(), member));
                self.writes
                    .push(records.counting_members(&group, device, 1));
                self.checked.entry(group.clone()).or_default().0 = Some(created);
                self.changes.joined.insert(group.clone());
                self.joined.push(group);
            }
            Some(DeviceChange::Withdraw {
                package,
                outcome,
                change,
                kept_by,
            }) => {
                self.change_task(records, device, change.as_ref());
                if let Some((group, revision)) = kept_by {
                    self.checked.entry(group).or_default().1 = Some(revision);
                }
                self.changes.unassigned.insert(package, outcome);
            }
            Some(DeviceChange::Open {
                package,
                outcome,
                change,
            }) => {
                if self.change_task(records, device, change.as_ref()) {
                    self.writes.push(records.not_deleted(package));
                    self.opens = true;
                }
                self.changes.assigned.insert(package, outcome);
            }
        }
    }

    /// Returns false if no task changes.
    fn change_task(
        &mut self,
        records: &Records,
        device: &DeviceId,
        change: Option<&TaskChange>,
    ) -> bool {
        let writes = change.map(|change| records.changing(device, change));
        let changes = writes.is_some();
        self.writes.extend(writes.into_iter().flatten());
        changes
    }
}

impl DeviceChanges {
    fn add(&mut self, later: Self) {
        self.joined.extend(later.joined);
        self.left.extend(later.left);
        self.assigned.extend(later.assigned);
        self.unassigned.extend(later.unassigned);
    }
}
