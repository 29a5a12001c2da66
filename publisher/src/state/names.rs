//! Names of packages and devices for people, from the records.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::{DeviceId, PackageId, terminal};
use packcast_rollout::UnsignedChange;
use packcast_rollout::state::{EntryOwner, StateDifference, StateNames};
use packcast_store::{Records, RecordsError};

use crate::package::named;

/// Number of devices of one difference whose names are read.
const NAMED_DEVICES: usize = 5;

/// The names of packages and host names of devices. A package or device without a record has its id
/// as its name.
#[derive(Clone, Debug, Default)]
pub struct RecordedNames {
    packages: BTreeMap<PackageId, String>,
    devices: BTreeMap<DeviceId, String>,
}

/// The packages and devices whose names are needed.
#[derive(Clone, Debug, Default)]
pub(crate) struct NeededNames {
    packages: BTreeSet<PackageId>,
    devices: BTreeSet<DeviceId>,
}

impl NeededNames {
    /// Adds the names that the line of a difference needs.
    pub(crate) fn add_difference(&mut self, difference: &StateDifference) {
        match difference {
            StateDifference::Assigned { to, entry, .. }
            | StateDifference::Unassigned { from: to, entry } => {
                self.packages.insert(entry.package);
                if let EntryOwner::Device(device) = to {
                    self.devices.insert(device.clone());
                }
            }
            StateDifference::RolloutSet { document, .. }
            | StateDifference::RolloutRemoved { document, .. } => {
                self.packages.insert(document.package);
            }
            StateDifference::Joined { devices, .. } | StateDifference::Left { devices, .. } => {
                let named = devices.iter().take(NAMED_DEVICES);
                self.devices.extend(named.cloned());
            }
            _ => {}
        }
    }

    /// Adds the names that the line of an event needs.
    pub(crate) fn add_event(&mut self, change: &UnsignedChange) {
        self.packages.extend(change.package());
        match change {
            UnsignedChange::Commanded { device, .. }
            | UnsignedChange::DevicePaced { device, .. } => {
                self.devices.insert(device.clone());
            }
            // The other events have the names of their devices.
            _ => {}
        }
    }

    pub(crate) async fn read(self, records: &Records) -> Result<RecordedNames, RecordsError> {
        let packages: Vec<PackageId> = self.packages.into_iter().collect();
        let packages = records.packages_of(&packages).await?;
        let devices: Vec<DeviceId> = self.devices.into_iter().collect();
        let devices = records.device_records(&devices).await?;
        Ok(RecordedNames {
            packages: packages.iter().map(|it| (it.id, named(it))).collect(),
            devices: devices
                .into_iter()
                .filter(|(record, _)| !record.host_name.is_empty())
                .map(|(record, _)| (record.device, terminal::line(&record.host_name)))
                .collect(),
        })
    }
}

impl RecordedNames {
    /// Reads the names that the lines of these differences need.
    pub async fn read<'a>(
        records: &Records,
        differences: impl IntoIterator<Item = &'a StateDifference>,
    ) -> Result<Self, RecordsError> {
        let mut needed = NeededNames::default();
        for difference in differences {
            needed.add_difference(difference);
        }
        needed.read(records).await
    }
}

impl StateNames for RecordedNames {
    fn package(&self, package: PackageId) -> String {
        let name = self.packages.get(&package).cloned();
        name.unwrap_or_else(|| format!("package {package}"))
    }

    fn device(&self, device: &DeviceId) -> String {
        let name = self.devices.get(device).cloned();
        name.unwrap_or_else(|| device.to_string())
    }
}
