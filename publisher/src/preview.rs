//! Previews: the effect of a command, before the command changes anything.

use std::collections::BTreeMap;

use packcast_protocol::{DeviceId, GroupName};
use packcast_rollout::PackageRecord;
use serde::Serialize;

use crate::device_name::host_names;
use crate::failure::Failure;
use crate::status::{self, ExampleDevice, GroupSize};
use crate::target::Target;

/// The number of devices that a preview names.
const EXAMPLES: usize = 5;

/// The effect that a command will have.
///
/// Numbers of devices come from the sizes of groups, so that the cost of a preview does not depend on
/// the number of devices.
#[derive(Clone, Debug, Serialize)]
pub struct Preview {
    /// The change in words, such as `Assigns vlc@3.0.21 to group lab`.
    pub effect: String,
    /// The packages, as `name@version`.
    pub packages: Vec<String>,
    /// The groups with their sizes.
    pub groups: Vec<GroupSize>,
    /// The number of devices.
    pub devices: u64,
    /// True if the number of devices is an upper limit: a device may be in several of the groups.
    pub at_most: bool,
    /// Some of the devices. Empty if the command changes groups.
    pub examples: Vec<ExampleDevice>,
}

impl Preview {
    /// Creates a preview without devices.
    pub fn new(effect: impl Into<String>) -> Self {
        Self {
            effect: effect.into(),
            packages: Vec::new(),
            groups: Vec::new(),
            devices: 0,
            at_most: false,
            examples: Vec::new(),
        }
    }

    /// Returns the preview of a command that starts or stops a package: its devices without a result.
    pub(crate) async fn of_package(
        target: &Target,
        package: &PackageRecord,
        effect: String,
    ) -> Result<Self, Failure> {
        let packages = std::slice::from_ref(package);
        let progress = status::read(target, packages).await?.remove(0);
        Ok(Self {
            packages: vec![progress.name],
            groups: progress.groups,
            devices: progress.to_come + progress.waiting + progress.announced,
            at_most: progress.to_come > 0,
            ..Self::new(effect)
        })
    }

    /// Returns the preview of a change that any device of the target can notice.
    pub async fn of_any_device(target: &Target, effect: String) -> Result<Self, Failure> {
        let preview = Self::new(effect);
        let preview = preview.with_groups(target, &[GroupName::all()]).await?;
        Ok(Self {
            at_most: true,
            ..preview
        })
    }

    /// Names the packages, as `name@version`.
    #[must_use]
    pub(crate) fn with_packages(mut self, packages: impl IntoIterator<Item = String>) -> Self {
        self.packages.extend(packages);
        self
    }

    /// Adds groups, and the number of their devices.
    pub(crate) async fn with_groups(
        mut self,
        target: &Target,
        groups: &[GroupName],
    ) -> Result<Self, Failure> {
        for group in groups {
            let devices = target.records.size(group).await?;
            self.devices += devices;
            self.groups.push(GroupSize {
                group: group.clone(),
                devices,
            });
        }
        self.at_most |= self.groups.len() > 1;
        // Every device is in this group.
        if let Some(all) = self.groups.iter().find(|size| size.group.is_all()) {
            (self.devices, self.at_most) = (all.devices, false);
        }
        Ok(self)
    }

    /// Adds devices, and names some of them.
    pub(crate) async fn with_devices(
        self,
        target: &Target,
        devices: &[DeviceId],
    ) -> Result<Self, Failure> {
        let examples = &devices[..devices.len().min(EXAMPLES)];
        let names = host_names(target, examples).await?;
        Ok(self.with_named_devices(devices, &names))
    }

    /// Adds devices, and names some of them by these host names.
    #[must_use]
    pub(crate) fn with_named_devices(
        mut self,
        devices: &[DeviceId],
        names: &BTreeMap<DeviceId, String>,
    ) -> Self {
        self.devices += devices.len() as u64;
        let examples = devices.iter().take(EXAMPLES).map(|device| ExampleDevice {
            device: device.clone(),
            host_name: names.get(device).cloned().unwrap_or_default(),
        });
        self.examples.extend(examples);
        self
    }
}

/// Names groups for the effect of a command: `group lab`, `groups lab, office` or `all devices`.
pub(crate) fn named_groups(groups: &[GroupName]) -> String {
    let names: Vec<&str> = groups.iter().map(GroupName::as_str).collect();
    match names.as_slice() {
        _ if groups.iter().any(GroupName::is_all) => "all devices".to_owned(),
        [name] => format!("group {name}"),
        names => format!("groups {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_named_in_words() {
        let groups = |names: &[&str]| {
            let names = names.iter().map(|name| name.parse().unwrap());
            named_groups(&names.collect::<Vec<_>>())
        };
        assert_eq!(groups(&["lab"]), "group lab");
        assert_eq!(groups(&["lab", "office"]), "groups lab, office");
        assert_eq!(groups(&["lab", "all"]), "all devices");
    }
}
