//! Names of packages and devices for people, from the records.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::{DeviceId, PackageId, terminal};
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

impl RecordedNames {
    /// Reads the names that the lines of these differences need.
    pub async fn read<'a>(
        records: &Records,
        differences: impl IntoIterator<Item = &'a StateDifference>,
    ) -> Result<Self, RecordsError> {
        let (mut packages, mut devices) = (BTreeSet::new(), BTreeSet::new());
        for difference in differences {
            match difference {
                StateDifference::Assigned { to, entry, .. }
                | StateDifference::Unassigned { from: to, entry } => {
                    packages.insert(entry.package);
                    if let EntryOwner::Device(device) = to {
                        devices.insert(device.clone());
                    }
                }
                StateDifference::RolloutSet { document, .. }
                | StateDifference::RolloutRemoved { document, .. } => {
                    packages.insert(document.package);
                }
                StateDifference::Joined { devices: some, .. }
                | StateDifference::Left { devices: some, .. } => {
                    devices.extend(some.iter().take(NAMED_DEVICES).cloned());
                }
                _ => {}
            }
        }
        let packages: Vec<PackageId> = packages.into_iter().collect();
        let packages = records.packages_of(&packages).await?;
        let devices: Vec<DeviceId> = devices.into_iter().collect();
        let devices = records.device_records(&devices).await?;
        Ok(Self {
            packages: packages.iter().map(|it| (it.id, named(it))).collect(),
            devices: devices
                .into_iter()
                .filter(|(record, _)| !record.host_name.is_empty())
                .map(|(record, _)| (record.device, terminal::line(&record.host_name)))
                .collect(),
        })
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
