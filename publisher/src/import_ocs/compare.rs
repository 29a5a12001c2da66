//! The results of an OCS server beside those here, until the OCS server is switched off.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::{DeviceId, Outcome, PackageId};
use packcast_rollout::{FinishedTask, OpenTask};
use serde::Serialize;

use super::plan::{ImportPlan, ImportedOwner};
use crate::concurrency::AT_ONCE;
use crate::failure::Failure;
use crate::target::Target;

/// A package on a device, as the OCS server and as the target has it.
#[derive(Debug, Serialize)]
pub struct Compared {
    pub device: DeviceId,
    pub host_name: String,
    pub package: PackageId,
    /// The package, as `name@version`.
    pub name: String,
    pub ocs: Standing,
    pub packcast: Standing,
    /// Both servers have the same outcome.
    pub same: bool,
}

/// The state of a package on a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state", content = "code")]
pub enum Standing {
    /// Not assigned, and without a result.
    None,
    /// Assigned, without a result.
    Open,
    Succeeded(String),
    Failed(String),
    /// Cancelled, or not applicable.
    Other(String),
}

impl Standing {
    fn of(outcome: Outcome, code: String) -> Self {
        match outcome {
            Outcome::Succeeded => Self::Succeeded(code),
            Outcome::Failed => Self::Failed(code),
            Outcome::Cancelled | Outcome::NotApplicable => Self::Other(code),
        }
    }

    /// Returns true if the outcomes are the same. The codes may differ.
    fn has_outcome_of(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// The packages of one device on the OCS server.
type OfDevice = BTreeMap<PackageId, Standing>;

/// Compares each device and package of an import with the target. The plan must be complete: also
/// with the rows that exist here already.
pub async fn compare(target: &Target, plan: &ImportPlan) -> Result<Vec<Compared>, Failure> {
    let packages = plan.packages.iter();
    let names: BTreeMap<PackageId, String> = packages
        .map(|it| (it.id, format!("{}@{}", it.name, it.version)))
        .collect();
    let devices = plan.devices.iter();
    let hosts: BTreeMap<&DeviceId, &str> = devices
        .map(|it| (&it.device, it.host_name.as_str()))
        .collect();
    let mut found = stream::iter(on_server(plan))
        .map(|(device, packages)| async move {
            let here = here(target, device, &packages).await?;
            Ok::<_, Failure>((device, packages, here))
        })
        .buffered(AT_ONCE);
    let mut compared = Vec::new();
    while let Some((device, packages, mut here)) = found.try_next().await? {
        for (package, ocs) in packages {
            let packcast = here.remove(&package).unwrap_or(Standing::None);
            compared.push(Compared {
                device: device.clone(),
                host_name: hosts.get(device).copied().unwrap_or_default().to_owned(),
                package,
                name: names.get(&package).cloned().unwrap_or_default(),
                same: ocs.has_outcome_of(&packcast),
                ocs,
                packcast,
            });
        }
    }
    drop(found);
    Ok(compared)
}

/// Returns the packages of each device on the OCS server. A device has the packages of its groups.
fn on_server(plan: &ImportPlan) -> BTreeMap<&DeviceId, OfDevice> {
    let mut devices: BTreeMap<&DeviceId, OfDevice> = BTreeMap::new();
    for assignment in &plan.assignments {
        let mut open = |device| {
            let of_device = devices.entry(device).or_default();
            of_device.insert(assignment.package, Standing::Open);
        };
        match &assignment.to {
            ImportedOwner::Device(device) => open(device),
            ImportedOwner::Group(name) => {
                let groups = plan.groups.iter().filter(|group| group.group == *name);
                groups.flat_map(|group| &group.members).for_each(open);
            }
        }
    }
    for result in &plan.results {
        let of_device = devices.entry(&result.device).or_default();
        let standing = Standing::of(result.outcome, result.code.to_string());
        of_device.insert(result.package, standing);
    }
    devices
}

async fn here(
    target: &Target,
    device: &DeviceId,
    packages: &OfDevice,
) -> Result<OfDevice, Failure> {
    let ids: BTreeSet<PackageId> = packages.keys().copied().collect();
    let finished = target.records.finished_of(device, &ids).await?;
    let state = target.records.device_state(device).await?;
    let of_finished = |it: FinishedTask| {
        let standing = Standing::of(it.outcome, it.code.to_string());
        (it.package, standing)
    };
    let mut here: OfDevice = finished.into_values().map(of_finished).collect();
    let open = |task: &OpenTask| (task.package, Standing::Open);
    // A later attempt replaces a result.
    here.extend(state.tasks.iter().map(open));
    for group in target
        .records
        .group_states(&state.memberships.joined().cloned().collect::<Vec<_>>())
        .await?
    {
        for assignment in &group.assignments {
            here.entry(assignment.package).or_insert(Standing::Open);
        }
    }
    Ok(here)
}
