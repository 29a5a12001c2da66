//! Checks of the manifests of all assigned packages.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::signature::PublicKey;
use packcast_protocol::{PackageId, Sha256Digest};
use packcast_rollout::state::{EntryOwner, StatePart};

use super::Findings;
use super::finding::Finding;
use crate::failure::{Failure, Kind, RETRY_HINT};
use crate::signing::verify_record::find_manifest;
use crate::target::Target;

/// The manifests of an assigned package, each with one of its owners.
pub(super) type Assigned = BTreeMap<PackageId, BTreeMap<Sha256Digest, EntryOwner>>;

/// Returns all assigned packages of a state.
pub(super) fn assigned(state: &StatePart) -> Assigned {
    let mut assigned = Assigned::new();
    let groups = state.groups().filter_map(|(group, document)| {
        Some((EntryOwner::Group(group.clone()), &document?.packages))
    });
    let devices = state.devices().filter_map(|(device, document)| {
        Some((EntryOwner::Device(device.clone()), &document?.packages))
    });
    for (owner, entries) in groups.chain(devices) {
        for entry in entries.as_slice() {
            let manifests = assigned.entry(entry.package).or_default();
            let first = manifests.entry(entry.manifest);
            first.or_insert_with(|| owner.clone());
        }
    }
    assigned
}

/// Verifies that each assigned package has the manifest of its entry, which one of these keys has
/// signed.
pub(super) async fn check(
    target: &Target,
    assigned: &Assigned,
    keys: &[PublicKey],
    found: &mut Findings,
) -> Result<(), Failure> {
    let ids: Vec<PackageId> = assigned.keys().copied().collect();
    let packages = target.records.packages_of(&ids).await?;
    for (id, manifests) in assigned {
        let record = packages.iter().find(|it| it.id == *id);
        let published = record.and_then(|record| Some((record, record.published()?)));
        let Some((record, published)) = published else {
            let owners: BTreeSet<&EntryOwner> = manifests.values().collect();
            found.extend(owners.into_iter().map(|owner| Finding::NoPackage {
                package: *id,
                owner: owner.clone(),
            }));
            continue;
        };
        let others = manifests
            .iter()
            .filter(|(it, _)| **it != published.manifest);
        found.extend(others.map(|(_, owner)| Finding::OtherManifest {
            package: *id,
            owner: owner.clone(),
        }));
        match find_manifest(target, record, published, keys).await? {
            Ok(()) => {}
            Err(problem) if problem.is_retryable() => {
                return Err(Failure::new(Kind::TryLater, problem).hint(RETRY_HINT));
            }
            Err(source) => found.push(Finding::Manifest {
                package: *id,
                source,
            }),
        }
    }
    Ok(())
}
