//! The commits of an import.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::{DeviceId, PackageId};
use packcast_rollout::state::{EntryOwner, StateChange};

/// Splits changes into those of single commits, each with at most this number of packages. Groups and
/// their members come first.
pub(super) fn batches(changes: Vec<StateChange>, most: usize) -> Vec<Vec<StateChange>> {
    let mut first = Vec::new();
    let mut of_packages: BTreeMap<PackageId, Vec<StateChange>> = BTreeMap::new();
    for change in changes {
        match &change {
            StateChange::Assign { assignment, .. } => {
                let of_package = of_packages.entry(assignment.package).or_default();
                of_package.push(change);
            }
            _ => first.push(change),
        }
    }
    let mut of_packages: Vec<Vec<StateChange>> = of_packages.into_values().collect();
    let mut batches = Vec::new();
    while !first.is_empty() || !of_packages.is_empty() {
        let rest = of_packages.split_off(most.min(of_packages.len()));
        let assigned = std::mem::replace(&mut of_packages, rest);
        let groups = std::mem::take(&mut first).into_iter();
        batches.push(groups.chain(assigned.into_iter().flatten()).collect());
    }
    batches
}

/// Returns the packages that changes assign to groups.
pub(super) fn packages_of_groups(changes: &[StateChange]) -> BTreeSet<PackageId> {
    let packages = changes.iter().filter_map(|change| match change {
        StateChange::Assign {
            to: EntryOwner::Group(_),
            assignment,
        } => Some(assignment.package),
        _ => None,
    });
    packages.collect()
}

/// Returns the devices that join groups.
pub(super) fn joining(changes: &[StateChange]) -> BTreeSet<DeviceId> {
    let devices = changes.iter().filter_map(|change| match change {
        StateChange::Join { devices, .. } => Some(devices),
        _ => None,
    });
    devices.flatten().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_target::{assign_lab, create_lab};

    #[test]
    fn many_packages_need_several_commits() {
        let id = |number: u32| PackageId::try_from(1_700_000_000 + number).unwrap();
        let sizes = |packages: u32, most| {
            let assigned =
                (0..packages).flat_map(|number| [assign_lab(id(number)), assign_lab(id(number))]);
            let changes = std::iter::once(create_lab()).chain(assigned).collect();
            let batches = batches(changes, most);
            batches.iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(sizes(0, 90), [1]);
        assert_eq!(sizes(90, 90), [181]);
        assert_eq!(sizes(91, 90), [181, 2]);
        assert_eq!(batches(Vec::new(), 90).len(), 0);
    }
}
