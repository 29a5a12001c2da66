//! Warns of recipients that the publisher of a package did not mean.
//!
//! It is no refusal: an agent is in the groups that its own configuration names, too.

use std::collections::BTreeSet;

use packcast_protocol::manifest::Audience;
use packcast_protocol::{DeviceId, GroupName};
use packcast_rollout::{Memberships, PackageRecord};

use crate::failure::Failure;
use crate::output;
use crate::target::Target;

/// Warns of groups whose devices are not all meant.
pub(super) fn warn_of_groups(package: &PackageRecord, groups: &[GroupName]) {
    let Audience::Groups(meant) = &package.audience else {
        return;
    };
    for group in groups.iter().filter(|group| !meant.contains(group)) {
        output::note(&format!(
            "warning: the package is meant for {}: a device of group {group} refuses it unless it is in one of these",
            named(meant)
        ));
    }
}

/// Warns of devices with our agent that are, as far as the records say, not meant.
pub(super) async fn warn_of_devices(
    target: &Target,
    package: &PackageRecord,
    devices: &[DeviceId],
) -> Result<(), Failure> {
    let Audience::Groups(meant) = &package.audience else {
        return Ok(());
    };
    for (device, memberships) in target.records.memberships(devices).await? {
        if matches!(device, DeviceId::Agent(_)) && !is_meant(meant, &memberships) {
            output::note(&format!(
                "warning: the package is meant for {}: {device} refuses it unless its own configuration names one of these",
                named(meant)
            ));
        }
    }
    Ok(())
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
