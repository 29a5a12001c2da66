//! Assigning a package to a device itself, and taking it back.

use std::collections::{BTreeSet, HashMap};

use packcast_protocol::{DeviceId, PackageId, UnixTime};
use packcast_rollout::assign::{Assigned, Assigning, Situation, assign};
use packcast_rollout::reconcile::wanting;
use packcast_rollout::unassign::{Unassigned, unassign};
use packcast_rollout::{FinishedTask, PackageRecord, TaskChange, TaskState};

use super::commit::Commit;
use super::device::packed_ids;
use super::item;
use super::key::Key;
use super::membership::Joining;
use super::write::{self, PRESENT, Terms};
use super::{Records, RecordsError};

/// How often an assignment is decided anew when something changed meanwhile.
const TRIES: usize = 8;

impl Records {
    /// Gives a device a task to deploy a package, if [`assign`] decides so.
    pub async fn assign(
        &self,
        device: &DeviceId,
        package: &PackageRecord,
        force: bool,
        now: UnixTime,
    ) -> Result<Assigned, RecordsError> {
        let by = Assigning {
            direct: true,
            force,
        };
        for _ in 0..TRIES {
            let situation = self.situation(device, package).await?;
            let change = match assign(device, package, &situation, by, now) {
                Ok(change) => change,
                Err(answer) => return Ok(answer),
            };
            let mut writes = self.changing(device, &change);
            let (key, none) = (Key::device(device), Terms::default());
            writes.push(write::check(self.table(), &key, PRESENT, &none));
            writes.push(self.not_deleted(package.id));
            if self.commit(writes).await? == Commit::Done {
                return Ok(answer(&change));
            }
        }
        Err(self.contended())
    }

    /// Takes back the assignment of a package to a device itself, as [`unassign`] decides.
    ///
    /// Once it has returned, a device that was not told is not told, unless a group of it has
    /// the package.
    pub async fn unassign(
        &self,
        device: &DeviceId,
        package: &PackageRecord,
    ) -> Result<Unassigned, RecordsError> {
        for _ in 0..TRIES {
            let situation = self.situation(device, package).await?;
            // The groups after the round: what they get later is news to the device.
            let Joining { groups, round } = self.joining(device).await?.unwrap_or_default();
            let names: Vec<_> = groups.groups().collect();
            let states = self.group_states(&names).await?;
            let wanted = wanting(&groups, &states, package.id);
            let group = wanted.map(|state| &state.group);
            let (open, before) = (situation.open.as_ref(), situation.finished.as_ref());
            let (what, change) = unassign(open, before, group);
            let Some(change) = change else {
                return Ok(what);
            };
            let mut writes = self.changing(device, &change);
            writes.push(self.ending_round(device, round, &[]));
            writes.extend(wanted.map(|state| self.at_revision(&state.group, state.revision)));
            if self.commit(writes).await? == Commit::Done {
                return Ok(what);
            }
        }
        Err(self.contended())
    }

    /// Returns the results of these packages that a device has, whatever became of them since.
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

    async fn situation(
        &self,
        device: &DeviceId,
        package: &PackageRecord,
    ) -> Result<Situation, RecordsError> {
        let task = Key::task(device, package.priority, package.id);
        let finished = Key::finished(device, package.id);
        let history = Key::history(device);
        let keys = [
            Key::device(device),
            task.clone(),
            finished.clone(),
            history.clone(),
        ];
        let mut situation = Situation::default();
        for item in self.batch(&keys).await? {
            let sk = item.get(item::SK).and_then(|sk| sk.as_s().ok());
            match sk.map(String::as_str) {
                Some(sk) if sk == task.sk => situation.open = Some(item::read(item)?),
                Some(sk) if sk == finished.sk => situation.finished = Some(item::read(item)?),
                Some(sk) if sk == history.sk => {
                    situation.in_history = packed_ids(&item).contains(&package.id);
                }
                _ => situation.is_known = true,
            }
        }
        Ok(situation)
    }
}

/// Says what an assignment has changed.
fn answer(change: &TaskChange) -> Assigned {
    match change {
        TaskChange::Alter { from, to }
            if from.attempt == to.attempt && !matches!(from.state, TaskState::Withdrawn { .. }) =>
        {
            Assigned::AlreadyOpen {
                attempt: to.attempt,
            }
        }
        TaskChange::Open { task, .. }
        | TaskChange::Alter { to: task, .. }
        | TaskChange::Renew { to: task, .. }
        | TaskChange::Drop { task, .. } => Assigned::New {
            attempt: task.attempt,
        },
    }
}
