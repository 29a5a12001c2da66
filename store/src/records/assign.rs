//! Outcomes of assignments to devices themselves, and earlier results.

use std::collections::{BTreeSet, HashMap};

use packcast_protocol::{DeviceId, PackageId, UnixTime};
use packcast_rollout::assign::{AssignOutcome, AssignmentRequest, PackageOnDevice, assign};
use packcast_rollout::{DeviceSystem, FinishedTask, PackageRecord, TaskChange, TaskState};

use super::item;
use super::key::Key;
use super::stored::{Joining, packed_ids};
use super::{Records, RecordsError};

impl Records {
    /// Returns the outcome that an assignment of a package to a device itself would have now.
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
        let on_device = match device {
            DeviceId::Agent(_) => self.read_packcast_agent(device, package).await?,
            DeviceId::Ocs(_) => self.read_ocs_agent(device, package).await?,
        };
        let decided = assign(device, package, &on_device, request, now);
        Ok(match decided {
            Ok(change) => outcome_of(&change),
            Err(reason) => reason,
        })
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

    async fn read_packcast_agent(
        &self,
        device: &DeviceId,
        package: &PackageRecord,
    ) -> Result<PackageOnDevice, RecordsError> {
        let device_state = self.device_state(device).await?;
        let system = device_state.system();
        let mut tasks = device_state.tasks.into_iter();
        Ok(PackageOnDevice {
            is_known: device_state.device.is_some(),
            system,
            open: tasks.find(|task| task.package == package.id),
            finished: self.finished(device, package.id).await?,
            in_history: false,
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
                    let joining: Joining = item::read(item.clone())?;
                    on_device.is_known = !joining.is_removed();
                    if on_device.is_known {
                        on_device.system = DeviceSystem::of(&item::read(item)?);
                    }
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
