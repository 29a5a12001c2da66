//! Explanations why a device has a package, or does not have it.

mod rollout;
mod sentences;

use packcast_protocol::{DeviceId, PackageId, PackageRef, Priority, UnixTime};
use packcast_rollout::rollout::Settling;
use packcast_rollout::{
    DeviceCommands, DeviceRecord, Exclusion, ExplainInputs, Explanation, FinishedTask, GroupState,
    OpenTask, Pacing, PackageRecord, RolloutWait,
};
use packcast_store::records::{DeviceState, Pause};
use serde::Serialize;

use self::sentences::{SentenceSubject, Sentences};
use crate::clock::now;
use crate::device::open_task;
use crate::device_name::DeviceName;
use crate::failure::Failure;
use crate::package::{find, named, state, warn_of_packages};
use crate::pause::current;
use crate::target::Target;
use crate::text::for_target;

/// The first reason why a device has a package, or does not have it, with the next step.
#[derive(Debug, Serialize)]
pub struct Explained {
    pub device: DeviceId,
    pub host_name: Option<String>,
    pub package: PackageId,
    /// `name@version`.
    pub name: String,
    #[serde(flatten)]
    pub explanation: Explanation,
    /// The reason as a sentence.
    pub says: String,
    /// The next step.
    pub next: String,
    #[serde(serialize_with = "open_task::optional")]
    pub task: Option<OpenTask>,
    pub result: Option<FinishedTask>,
    /// The history of the device's OCS agent lists the package.
    pub in_history: bool,
    pub last_seen: Option<UnixTime>,
    /// The device is blocked or removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excluded: Option<Exclusion>,
    /// The pause of the target, which stops this package like all others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// The state of the package in one word.
    #[serde(skip)]
    pub state: &'static str,
    /// Open packages of a higher priority, which are announced along with the package.
    #[serde(skip)]
    pub ahead: Vec<Ahead>,
    #[serde(skip)]
    pub commands: DeviceCommands,
}

/// A package of a higher priority than the explained package.
#[derive(Debug)]
pub struct Ahead {
    /// `name@version`.
    pub name: String,
    pub priority: Priority,
}

/// The records of a device and a package.
struct ExplainRecords {
    device: DeviceId,
    package: PackageRecord,
    device_state: DeviceState,
    groups: Vec<GroupState>,
    others: Vec<PackageRecord>,
    finished: Option<FinishedTask>,
    in_history: bool,
    rollout: Option<RolloutWait>,
}

/// Explains why a device has a package, or does not have it. The function changes nothing.
pub async fn explain(
    target: &Target,
    device: &DeviceName,
    package: &PackageRef,
) -> Result<Explained, Failure> {
    let package = find(target, package).await?;
    let device = device.find(target).await?;
    warn_of_packages(target, std::slice::from_ref(&package)).await?;
    let read = read(target, device, package).await?;
    let explanation = packcast_rollout::explain(&read.evidence(target.pace), now());
    let mut explained = read.explained(explanation);
    explained.next = for_target(&explained.next, &target.name);
    explained.pause = current(target).await?;
    Ok(explained)
}

async fn read(
    target: &Target,
    device: DeviceId,
    package: PackageRecord,
) -> Result<ExplainRecords, Failure> {
    let records = &target.records;
    let device_state = records.device_state(&device).await?;
    let groups: Vec<_> = device_state.memberships.groups().collect();
    let others: Vec<PackageId> = device_state
        .tasks
        .iter()
        .map(|task| task.package)
        .filter(|id| *id != package.id)
        .collect();
    let in_history = match &device {
        DeviceId::Ocs(_) => records.history(&device).await?.contains(&package.id),
        // Packcast agents send no package history.
        DeviceId::Agent(_) => false,
    };
    let groups = records.group_states(&groups).await?;
    Ok(ExplainRecords {
        rollout: rollout::wait(target, &device, &device_state, &groups, package.id).await?,
        groups,
        others: records.packages_of(&others).await?,
        finished: records.finished(&device, package.id).await?,
        in_history,
        device,
        package,
        device_state,
    })
}

impl ExplainRecords {
    fn evidence(&self, target: Pacing) -> ExplainInputs<'_> {
        let groups = self.groups.iter().map(|state| &state.pace);
        let pace = target.in_force(groups, &self.device_state.pace);
        ExplainInputs {
            device: &self.device,
            is_known: self.device_state.device.is_some(),
            system: self.device_state.system(),
            excluded: self
                .device_state
                .excluded
                .as_ref()
                .map(|excluded| excluded.kind),
            memberships: &self.device_state.memberships,
            groups: &self.groups,
            tasks: &self.device_state.tasks,
            waits: &self.device_state.waits,
            commands: self.device_state.commands,
            package: &self.package,
            others: &self.others,
            finished: self.finished.as_ref(),
            in_history: self.in_history,
            strict: pace.strict,
            rollout: self.rollout,
        }
    }

    fn record(&self) -> Option<&DeviceRecord> {
        self.device_state.device.as_ref()
    }

    fn task(&self) -> Option<&OpenTask> {
        let mut tasks = self.device_state.tasks.iter();
        tasks.find(|task| task.package == self.package.id)
    }

    fn settling(&self) -> Option<&Settling> {
        let mut settling = self.device_state.settling.iter();
        settling.find(|settling| settling.package == self.package.id)
    }

    /// Returns the name of a package that the device has an open task for.
    fn name_of(&self, id: PackageId) -> String {
        let package = self.others.iter().find(|package| package.id == id);
        package.map_or_else(|| id.to_string(), named)
    }

    fn ahead(&self, explanation: &Explanation) -> Vec<Ahead> {
        let tasks = self.device_state.tasks.iter();
        tasks
            .filter(|task| explanation.ahead.contains(&task.package))
            .map(|task| Ahead {
                name: self.name_of(task.package),
                priority: task.priority,
            })
            .collect()
    }

    fn sentences(&self, explanation: &Explanation) -> Sentences {
        let name_of = |id| self.name_of(id);
        Sentences::new(
            &SentenceSubject {
                device: &self.device,
                record: self.record(),
                excluded: self.device_state.excluded.as_ref(),
                package: &self.package,
                finished: self.finished.as_ref(),
                settling: self.settling(),
                name_of: &name_of,
            },
            &explanation.reason,
        )
    }

    fn explained(self, explanation: Explanation) -> Explained {
        let Sentences { says, next } = self.sentences(&explanation);
        let record = self.record();
        Explained {
            host_name: record.map(|record| record.host_name.clone()),
            package: self.package.id,
            name: named(&self.package),
            says,
            next,
            task: self.task().cloned(),
            last_seen: record.map(|record| record.last_seen),
            state: state(&self.package, now()),
            ahead: self.ahead(&explanation),
            commands: self.device_state.commands,
            excluded: self.device_state.excluded,
            pause: None,
            device: self.device,
            explanation,
            result: self.finished,
            in_history: self.in_history,
        }
    }
}
