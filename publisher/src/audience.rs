//! Warns of assignees that are outside the audience of a package.
//!
//! The publisher does not refuse the assignment: a device may join a group of the audience later.

use std::collections::BTreeSet;

use packcast_protocol::manifest::Audience;
use packcast_protocol::{DeviceId, GroupName};
use packcast_rollout::{Memberships, PackageRecord};

use crate::failure::Failure;
use crate::target::Target;
use crate::warning::Warning;

/// Warns of groups that may have devices outside the audience.
pub(crate) fn warn_of_groups(package: &PackageRecord, groups: &[GroupName]) -> Vec<Warning> {
    let Audience::Groups(audience) = &package.audience else {
        return Vec::new();
    };
    let others = groups.iter().filter(|group| !audience.contains(group));
    others.map(|group| group_outside(group, audience)).collect()
}

/// Warns of devices with a Packcast agent that the records show to be outside the audience.
pub(crate) async fn warn_of_devices(
    target: &Target,
    package: &PackageRecord,
    devices: &[DeviceId],
) -> Result<Vec<Warning>, Failure> {
    let Audience::Groups(audience) = &package.audience else {
        return Ok(Vec::new());
    };
    let memberships = target.records.memberships(devices).await?;
    let others = memberships.iter().filter(|(device, memberships)| {
        matches!(device, DeviceId::Agent(_)) && !is_inside(audience, memberships)
    });
    let warnings = others.map(|(device, _)| device_outside(device, audience));
    Ok(warnings.collect())
}

fn group_outside(group: &GroupName, audience: &BTreeSet<GroupName>) -> Warning {
    Warning::new(format!(
        "the package is only for devices in {}: other devices of group {group} refuse the package",
        named(audience)
    ))
}

fn device_outside(device: &DeviceId, audience: &BTreeSet<GroupName>) -> Warning {
    Warning::new(format!(
        "the package is only for devices in {}: {device} refuses the package",
        named(audience)
    ))
}

fn is_inside(audience: &BTreeSet<GroupName>, memberships: &Memberships) -> bool {
    memberships.joined().any(|group| audience.contains(group))
}

fn named(groups: &BTreeSet<GroupName>) -> String {
    let names: Vec<&str> = groups.iter().map(GroupName::as_str).collect();
    match names.as_slice() {
        [name] => format!("group {name}"),
        names => format!("one of the groups {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_of_assignees_outside_the_audience() {
        let groups = |names: &[&str]| -> BTreeSet<GroupName> {
            names.iter().map(|name| name.parse().unwrap()).collect()
        };
        let (one, two) = (groups(&["lab"]), groups(&["lab", "office"]));
        let (group, device) = (
            "hall".parse().unwrap(),
            "key:aaaaaaaaaaaaaaaaaaaaaaaaaa".parse().unwrap(),
        );
        let warnings = [
            group_outside(&group, &one),
            group_outside(&group, &two),
            device_outside(&device, &one),
            device_outside(&device, &two),
        ];
        let warnings = warnings.map(|warning| warning.to_string());
        insta::assert_snapshot!(warnings.join("\n"), @r"
        warning: the package is only for devices in group lab: other devices of group hall refuse the package
        warning: the package is only for devices in one of the groups lab, office: other devices of group hall refuse the package
        warning: the package is only for devices in group lab: key:aaaaaaaaaaaaaaaaaaaaaaaaaa refuses the package
        warning: the package is only for devices in one of the groups lab, office: key:aaaaaaaaaaaaaaaaaaaaaaaaaa refuses the package
        ");
    }
}
