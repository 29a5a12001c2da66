//! Assigning a package to a device itself, and unassigning it.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use packcast_protocol::assignments::Held;
use packcast_protocol::{DeviceId, PackageId, UnixTime};
use packcast_rollout::assign::{AssignOutcome, AssignmentRequest, PackageOnDevice, assign};
use packcast_rollout::assignments::Change;
use packcast_rollout::reconcile::group_with;
use packcast_rollout::unassign::{Unassigned, unassign};
use packcast_rollout::{FinishedTask, OpenTask, PackageRecord, TaskChange, TaskState};

use super::commit::Commit;
use super::item;
use super::key::Key;
use super::signing::{AssignError, MOST_BEHIND, NextDeviceAssignments, Signing};
use super::stored::{Joining, packed_ids};
use super::{Records, RecordsError};

/// Inputs of an assignment, read from the records.
#[derive(Debug, Default)]
struct AssignInputs {
    on_device: PackageOnDevice,
    /// All open tasks of the device, if it has a Packcast agent.
    tasks: Vec<OpenTask>,
    /// Latest signed state of the device assignments.
    signed: Option<Held>,
}

impl Records {
    /// Creates a task for a device to deploy a package, if [`assign`] decides so.
    ///
    /// For a device with a Packcast agent the assignment is also added to the signed device
    /// assignments, which must be signed by the publisher already.
    pub async fn signed_assign(
        &self,
        device: &DeviceId,
        package: &PackageRecord,
        force: bool,
        signing: Signing<'_>,
    ) -> Result<AssignOutcome, AssignError> {
        let request = AssignmentRequest {
            direct: true,
            force,
            mandate: None,
        };
        self.retry_on_conflict(0, |behind| async move {
            let assignments = self.read_assignments(device, signing).await?;
            let AssignInputs {
                on_device,
                tasks,
                signed,
            } = self.read_inputs(device, package).await?;
            let change = match assign(device, package, &on_device, request, signing.now) {
                Ok(change) => change,
                Err(reason) => return Ok(ControlFlow::Break(reason)),
            };
            // `assign` refuses drafts, but only here is the digest of the manifest at hand.
            let Some(published) = package.published() else {
                return Ok(ControlFlow::Break(AssignOutcome::NotPublished));
            };
            let is_behind = assignments.is_behind(signed);
            if is_behind && behind < MOST_BEHIND {
                return Ok(ControlFlow::Continue(behind + 1));
            }
            // The records may be forged: never sign the first assignments of a device that has
            // direct tasks already.
            assignments.check_signed(is_behind || tasks.iter().any(|task| task.direct))?;
            let change_of_assignments = Change::Assign {
                package: package.id,
                manifest: published.manifest,
                force,
                tasks: &tasks,
            };
            let next = self.next_assignments(&assignments, change_of_assignments, signing)?;
            let mut writes = self.changing(device, &change);
            writes.push(self.known_device(device, next.as_ref()));
            writes.push(self.not_deleted(package.id));
            writes.extend(next.as_ref().map(NextDeviceAssignments::write));
            if self.commit(writes).await? == Commit::Done {
                signing.remember_assignments(next.as_ref());
                return Ok(ControlFlow::Break(outcome_of(&change)));
            }
            Ok(ControlFlow::Continue(behind))
        })
        .await
    }

    /// Returns the outcome that [`Records::signed_assign`] would have now, without a change.
    pub async fn assign_outcome(
        &self,
        device: &DeviceId,
        package: &PackageRecord,
        force: bool,
        now: UnixTime,
    ) -> Result<AssignOutcome, RecordsError> {
        let request = AssignmentRequest {
            direct: true,
            force,
            mandate: None,
        };
        let AssignInputs { on_device, .. } = self.read_inputs(device, package).await?;
        let decided = assign(device, package, &on_device, request, now);
        Ok(match decided {
            Ok(change) => outcome_of(&change),
            Err(reason) => reason,
        })
    }

    /// Takes away the assignment of a package to a device itself, as [`unassign`] decides.
    ///
    /// After this returns, a task that was not announced is not announced any more, unless a
    /// group of the device has the package.
    pub async fn signed_unassign(
        &self,
        device: &DeviceId,
        package: &PackageRecord,
        signing: Signing<'_>,
    ) -> Result<Unassigned, AssignError> {
        self.retry_on_conflict(0, |behind| async move {
            let assignments = self.read_assignments(device, signing).await?;
            let AssignInputs { on_device, .. } = self.read_inputs(device, package).await?;
            // Read the groups after the count of reconciliations: packages that they get later
            // reach the device at its next check-in.
            let Joining {
                groups,
                round,
                signed,
                ..
            } = self.joining(device).await?.unwrap_or_default();
            let is_behind = assignments.is_behind(signed);
            if is_behind && behind < MOST_BEHIND {
                return Ok(ControlFlow::Continue(behind + 1));
            }
            assignments.check_signed(is_behind)?;
            let names: Vec<_> = groups.groups().collect();
            let states = self.group_states(&names).await?;
            let wanted = group_with(&groups, &states, package.id);
            let group = wanted.map(|state| &state.group);
            let (open, before) = (on_device.open.as_ref(), on_device.finished.as_ref());
            let (outcome, change) = unassign(open, before, group);
            // The signed document may name the package even if no task does.
            let signed_change = Change::Unassign {
                package: package.id,
            };
            let next = self.next_assignments(&assignments, signed_change, signing)?;
            if change.is_none() && next.is_none() {
                return Ok(ControlFlow::Break(outcome));
            }
            let changes = change.iter();
            let mut writes: Vec<_> = changes
                .flat_map(|change| self.changing(device, change))
                .collect();
            writes.push(self.counting_reconciliation(device, round, &[], next.as_ref()));
            // If a group keeps the task, that group must still have the package.
            writes.extend(wanted.map(|state| self.at_revision(&state.group, state.revision)));
            writes.extend(next.as_ref().map(NextDeviceAssignments::write));
            if self.commit(writes).await? == Commit::Done {
                signing.remember_assignments(next.as_ref());
                return Ok(ControlFlow::Break(outcome));
            }
            Ok(ControlFlow::Continue(behind))
        })
        .await
    }

    /// Returns a device's results of these packages, including results before a later attempt.
    pub async fn finished_of(
        &self,
        device: &DeviceId,
        packages: &BTreeSet<PackageId>,
    ) -> Result<HashMap<PackageId, FinishedTask>, RecordsError> {
        let keys: Vec<Key> = packages
            .iter()
            .map(|package| Key::finished(device, *package))
            .collect();
        let mut finished = HashMap::with_capacity(keys.len());
        for found in self.batch(&keys).await? {
            let task: FinishedTask = item::read(found)?;
            finished.insert(task.package, task);
        }
        Ok(finished)
    }

    async fn read_inputs(
        &self,
        device: &DeviceId,
        package: &PackageRecord,
    ) -> Result<AssignInputs, RecordsError> {
        match device {
            DeviceId::Agent(_) => self.read_packcast_agent(device, package).await,
            DeviceId::Ocs(_) => Ok(AssignInputs {
                on_device: self.read_ocs_agent(device, package).await?,
                ..AssignInputs::default()
            }),
        }
    }

    async fn read_packcast_agent(
        &self,
        device: &DeviceId,
        package: &PackageRecord,
    ) -> Result<AssignInputs, RecordsError> {
        let device_state = self.device_state(device).await?;
        let mut tasks = device_state.tasks.iter();
        let on_device = PackageOnDevice {
            is_known: device_state.device.is_some(),
            open: tasks.find(|task| task.package == package.id).cloned(),
            finished: self.finished(device, package.id).await?,
            in_history: false,
        };
        Ok(AssignInputs {
            on_device,
            tasks: device_state.tasks,
            signed: device_state.signed,
        })
    }

    async fn read_ocs_agent(
        &self,
        device: &DeviceId,
        package: &PackageRecord,
    ) -> Result<PackageOnDevice, RecordsError> {
        let task = Key::task(device, package.priority, package.id);
        let finished = Key::finished(device, package.id);
        let history = Key::history(device);
        let keys = [
            Key::device(device),
            task.clone(),
            finished.clone(),
            history.clone(),
        ];
        let mut on_device = PackageOnDevice::default();
        for item in self.batch(&keys).await? {
            let sk = item.get(item::SK).and_then(|sk| sk.as_s().ok());
            match sk.map(String::as_str) {
                Some(sk) if sk == task.sk => on_device.open = Some(item::read(item)?),
                Some(sk) if sk == finished.sk => on_device.finished = Some(item::read(item)?),
                Some(sk) if sk == history.sk => {
                    on_device.in_history = packed_ids(&item).contains(&package.id);
                }
                _ => {
                    let joining: Joining = item::read(item)?;
                    on_device.is_known = !joining.is_removed();
                }
            }
        }
        Ok(on_device)
    }
}

/// Returns the outcome of an assignment that made this change.
pub(super) fn outcome_of(change: &TaskChange) -> AssignOutcome {
    match change {
        TaskChange::Alter { from, to }
            if from.attempt == to.attempt && !matches!(from.state, TaskState::Withdrawn { .. }) =>
        {
            AssignOutcome::AlreadyOpen {
                attempt: to.attempt,
            }
        }
        TaskChange::Open { task, .. }
        | TaskChange::Alter { to: task, .. }
        | TaskChange::NextAttempt { to: task, .. }
        | TaskChange::Drop { task, .. } => AssignOutcome::New {
            attempt: task.attempt,
        },
    }
}
