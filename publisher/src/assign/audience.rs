//! Warns of assignees that are outside the audience of a package.
//!
//! The assignment is not refused: an agent is also in the groups that its own configuration
//! names.

use std::collections::BTreeSet;

use packcast_protocol::manifest::Audience;
use packcast_protocol::{DeviceId, GroupName};
use packcast_rollout::{Memberships, PackageRecord};

use crate::failure::Failure;
use crate::target::Target;
use crate::warning::Warning;

/// Warns of groups that may have devices outside the audience.
pub(super) fn warn_of_groups(package: &PackageRecord, groups: &[GroupName]) -> Vec<Warning> {
    let Audience::Groups(meant) = &package.audience else {
        return Vec::new();
    };
    let others = groups.iter().filter(|group| !meant.contains(group));
    others
        .map(|group| {
            Warning::new(format!(
                "the package is meant for {}: a device of group {group} refuses it unless it is in one of these",
                named(meant)
            ))
        })
        .collect()
}

/// Warns of devices with a Packcast agent that the records show to be outside the audience.
pub(super) async fn warn_of_devices(
    target: &Target,
    package: &PackageRecord,
    devices: &[DeviceId],
) -> Result<Vec<Warning>, Failure> {
    let Audience::Groups(meant) = &package.audience else {
        return Ok(Vec::new());
    };
    let memberships = target.records.memberships(devices).await?;
    let others = memberships.iter().filter(|(device, memberships)| {
        matches!(device, DeviceId::Agent(_)) && !is_meant(meant, memberships)
    });
    let warnings = others.map(|(device, _)| {
        Warning::new(format!(
            "the package is meant for {}: {device} refuses it unless its own configuration names one of these",
            named(meant)
        ))
    });
    Ok(warnings.collect())
}

fn is_meant(meant: &BTreeSet<GroupName>, memberships: &Memberships) -> bool {
    memberships.joined().any(|group| meant.contains(group))
}

fn named(groups: &BTreeSet<GroupName>) -> String {
    let names: Vec<&str> = groups.iter().map(GroupName::as_str).collect();
    match names.as_slice() {
        [name] => format!("group {name}"),
        names => format!("groups {}", names.join(", ")),
    }
}
