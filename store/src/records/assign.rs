//! Assigning a package to a device itself, and taking it back.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use packcast_protocol::assignments::Held;
use packcast_protocol::{DeviceId, PackageId};
use packcast_rollout::assign::{Assigned, Assigning, Situation, assign};
use packcast_rollout::assignments::Change;
use packcast_rollout::reconcile::wanting;
use packcast_rollout::unassign::{Unassigned, unassign};
use packcast_rollout::{FinishedTask, OpenTask, PackageRecord, TaskChange, TaskState};

use super::commit::Commit;
use super::item;
use super::key::Key;
use super::signing::{AssignError, MOST_BEHIND, NextOwn, Signing};
use super::stored::{Joining, packed_ids};
use super::{Records, RecordsError};

/// What is known of a device and a package.
#[derive(Debug, Default)]
struct Situated {
    situation: Situation,
    /// All open tasks of a device with our agent.
    tasks: Vec<OpenTask>,
    /// Which state of its own assignments is signed.
    signed: Option<Held>,
}

impl Records {
    /// Gives a device a task to deploy a package, if [`assign`] decides so.
    ///
    /// A device with our agent gets it signed; only to what the publisher has signed something
    /// is added.
    pub async fn assign(
        &self,
        device: &DeviceId,
        package: &PackageRecord,
        force: bool,
        signing: Signing<'_>,
    ) -> Result<Assigned, AssignError> {
        let by = Assigning {
            direct: true,
            force,
        };
        self.retry_on_conflict(0, |behind| async move {
            let own = self.own(device, signing).await?;
            let Situated {
                situation,
                tasks,
                signed,
            } = self.situated(device, package).await?;
            let change = match assign(device, package, &situation, by, signing.now) {
                Ok(change) => change,
                Err(answer) => return Ok(ControlFlow::Break(answer)),
            };
            let Some(published) = package.published() else {
                return Ok(ControlFlow::Break(Assigned::NotPublished));
            };
            let is_behind = own.is_behind(signed);
            if is_behind && behind < MOST_BEHIND {
                return Ok(ControlFlow::Continue(behind + 1));
            }
            own.signed_unless(is_behind || tasks.iter().any(|task| task.direct))?;
            let what = Change::Assign {
                package: package.id,
                manifest: published.manifest,
                force,
                tasks: &tasks,
            };
            let next = self.next_own(&own, what, signing)?;
            let mut writes = self.changing(device, &change);
            writes.push(self.known_device(device, next.as_ref()));
            writes.push(self.not_deleted(package.id));
            writes.extend(next.as_ref().map(NextOwn::write));
            if self.commit(writes).await? == Commit::Done {
                signing.written_own(next.as_ref());
                return Ok(ControlFlow::Break(answer(&change)));
            }
            Ok(ControlFlow::Continue(behind))
        })
        .await
    }

    /// Takes back the assignment of a package to a device itself, as [`unassign`] decides.
    ///
    /// Once it has returned, a device that was not told is not told, unless a group of it has
    /// the package.
    pub async fn unassign(
        &self,
        device: &DeviceId,
        package: &PackageRecord,
        signing: Signing<'_>,
    ) -> Result<Unassigned, AssignError> {
        self.retry_on_conflict(0, |behind| async move {
            let own = self.own(device, signing).await?;
            let Situated { situation, .. } = self.situated(device, package).await?;
            // The groups after the round: what they get later is news to the device.
            let Joining {
                groups,
                round,
                signed,
            } = self.joining(device).await?.unwrap_or_default();
            let is_behind = own.is_behind(signed);
            if is_behind && behind < MOST_BEHIND {
                return Ok(ControlFlow::Continue(behind + 1));
            }
            own.signed_unless(is_behind)?;
            let names: Vec<_> = groups.groups().collect();
            let states = self.group_states(&names).await?;
            let wanted = wanting(&groups, &states, package.id);
            let group = wanted.map(|state| &state.group);
            let (open, before) = (situation.open.as_ref(), situation.finished.as_ref());
            let (what, change) = unassign(open, before, group);
            // What is signed may name it still when the records do not.
            let what_is_signed = Change::Unassign {
                package: package.id,
            };
            let next = self.next_own(&own, what_is_signed, signing)?;
            if change.is_none() && next.is_none() {
                return Ok(ControlFlow::Break(what));
            }
            let changes = change.iter();
            let mut writes: Vec<_> = changes
                .flat_map(|change| self.changing(device, change))
                .collect();
            writes.push(self.ending_round(device, round, &[], next.as_ref()));
            writes.extend(wanted.map(|state| self.at_revision(&state.group, state.revision)));
            writes.extend(next.as_ref().map(NextOwn::write));
            if self.commit(writes).await? == Commit::Done {
                signing.written_own(next.as_ref());
                return Ok(ControlFlow::Break(what));
            }
            Ok(ControlFlow::Continue(behind))
        })
        .await
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

    async fn situated(
        &self,
        device: &DeviceId,
        package: &PackageRecord,
    ) -> Result<Situated, RecordsError> {
        match device {
            DeviceId::Agent(_) => self.situated_agent(device, package).await,
            DeviceId::Ocs(_) => Ok(Situated {
                situation: self.situation_of_stock_agent(device, package).await?,
                ..Situated::default()
            }),
        }
    }

    async fn situated_agent(
        &self,
        device: &DeviceId,
        package: &PackageRecord,
    ) -> Result<Situated, RecordsError> {
        let standing = self.standing(device).await?;
        let mut tasks = standing.tasks.iter();
        let situation = Situation {
            is_known: standing.device.is_some(),
            open: tasks.find(|task| task.package == package.id).cloned(),
            finished: self.finished(device, package.id).await?,
            in_history: false,
        };
        Ok(Situated {
            situation,
            tasks: standing.tasks,
            signed: standing.signed,
        })
    }

    async fn situation_of_stock_agent(
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
