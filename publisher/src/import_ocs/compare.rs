//! The results of an OCS server beside those here, until the OCS server is switched off.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::{DeviceId, GroupName, Outcome, PackageId};
use packcast_rollout::{FinishedTask, GroupState, OpenTask};
use serde::Serialize;

use super::plan::{ImportPlan, ImportedOwner, LeftOut};
use crate::concurrency::AT_ONCE;
use crate::failure::Failure;
use crate::target::Target;

/// The packages of an OCS server on its devices, beside those here.
#[derive(Debug, Serialize)]
pub struct Comparison {
    pub compared: Vec<Compared>,
    /// Rows that the import leaves out, so that nothing here can be compared with them.
    pub left_out: Vec<LeftOut>,
}

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
    /// The device has finished the package here, and the OCS server waits for it: the device has moved.
    pub finished_here: bool,
}

impl Comparison {
    /// Returns the packages whose outcomes differ for another reason than a move.
    pub fn differences(&self) -> impl Iterator<Item = &Compared> {
        let compared = self.compared.iter();
        compared.filter(|it| !it.same && !it.finished_here)
    }
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

    const fn is_finished(&self) -> bool {
        matches!(self, Self::Succeeded(_) | Self::Failed(_) | Self::Other(_))
    }
}

/// The packages of one device on the OCS server.
type OfDevice = BTreeMap<PackageId, Standing>;

/// Compares each device and package of an import with the target. The plan must be complete: also
/// with the rows that exist here already.
pub async fn compare(target: &Target, plan: ImportPlan) -> Result<Comparison, Failure> {
    let packages = plan.packages.iter();
    let names: BTreeMap<PackageId, String> = packages
        .map(|it| (it.id, format!("{}@{}", it.name, it.version)))
        .collect();
    let devices = plan.devices.iter();
    let hosts: BTreeMap<&DeviceId, &str> = devices
        .map(|it| (&it.device, it.host_name.as_str()))
        .collect();
    let mut found = stream::iter(on_server(&plan))
        .map(|(device, packages)| async move {
            let here = Here::read(target, device, &packages).await?;
            Ok::<_, Failure>((device, packages, here))
        })
        .buffered(AT_ONCE);
    let mut devices = Vec::new();
    while let Some(device) = found.try_next().await? {
        devices.push(device);
    }
    drop(found);
    let groups = Groups::read(target, devices.iter().map(|(_, _, here)| here)).await?;
    let mut compared = Vec::new();
    for (device, packages, here) in devices {
        let mut here = groups.with_packages(here);
        for (package, ocs) in packages {
            let packcast = here.remove(&package).unwrap_or(Standing::None);
            compared.push(Compared {
                device: device.clone(),
                host_name: hosts.get(device).copied().unwrap_or_default().to_owned(),
                package,
                name: names.get(&package).cloned().unwrap_or_default(),
                same: ocs.has_outcome_of(&packcast),
                finished_here: ocs == Standing::Open && packcast.is_finished(),
                ocs,
                packcast,
            });
        }
    }
    Ok(Comparison {
        compared,
        left_out: plan.left_out,
    })
}

/// Returns the packages of each device on the OCS server. A device has the packages of its groups.
fn on_server(plan: &ImportPlan) -> BTreeMap<&DeviceId, OfDevice> {
    let groups = plan.groups.iter();
    let members: HashMap<&GroupName, &BTreeSet<DeviceId>> =
        groups.map(|it| (&it.group, &it.members)).collect();
    let mut devices: BTreeMap<&DeviceId, OfDevice> = BTreeMap::new();
    for assignment in &plan.assignments {
        let mut open = |device| {
            let of_device = devices.entry(device).or_default();
            of_device.insert(assignment.package, Standing::Open);
        };
        match &assignment.to {
            ImportedOwner::Device(device) => open(device),
            ImportedOwner::Group(name) => {
                let members = members.get(name).copied();
                members.into_iter().flatten().for_each(open);
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

/// The packages of a device here, without those of its groups.
struct Here {
    packages: OfDevice,
    groups: Vec<GroupName>,
}

impl Here {
    async fn read(
        target: &Target,
        device: &DeviceId,
        packages: &OfDevice,
    ) -> Result<Self, Failure> {
        let ids: BTreeSet<PackageId> = packages.keys().copied().collect();
        let finished = target.records.finished_of(device, &ids).await?;
        let state = target.records.device_state(device).await?;
        let of_finished = |it: FinishedTask| {
            let standing = Standing::of(it.outcome, it.code.to_string());
            (it.package, standing)
        };
        let mut packages: OfDevice = finished.into_values().map(of_finished).collect();
        let open = |task: &OpenTask| (task.package, Standing::Open);
        // A later attempt replaces a result.
        packages.extend(state.tasks.iter().map(open));
        let groups = state.memberships.joined().cloned().collect();
        Ok(Self { packages, groups })
    }
}

/// The groups of compared devices. Each is read once.
struct Groups(HashMap<GroupName, GroupState>);

impl Groups {
    async fn read(target: &Target, devices: impl Iterator<Item = &Here>) -> Result<Self, Failure> {
        let names: BTreeSet<GroupName> = devices.flat_map(|it| it.groups.clone()).collect();
        let names: Vec<GroupName> = names.into_iter().collect();
        let states = target.records.group_states(&names).await?;
        let states = states.into_iter();
        Ok(Self(states.map(|it| (it.group.clone(), it)).collect()))
    }

    /// Returns the packages of a device, with those of its groups.
    fn with_packages(&self, device: Here) -> OfDevice {
        let mut packages = device.packages;
        let groups = device.groups.iter().filter_map(|name| self.0.get(name));
        for assignment in groups.flat_map(|group| &group.assignments) {
            packages.entry(assignment.package).or_insert(Standing::Open);
        }
        packages
    }
}
