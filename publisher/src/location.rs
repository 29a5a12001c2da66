//! Locations: the places that serve the objects of a target.

mod check;

use packcast_protocol::LocationName;
use packcast_rollout::LocationRecord;

pub use self::check::{CheckedLocation, check, conclude};
use crate::failure::Failure;
use crate::target::Target;
use crate::warning::Warning;

/// Adds a location, and returns the record of the same name that this one replaces.
pub async fn add(
    target: &Target,
    location: &LocationRecord,
) -> Result<Option<LocationRecord>, Failure> {
    Ok(target.records.add_location(location).await?)
}

/// Removes a location; packages that were activated there stay there.
pub async fn remove(target: &Target, name: &LocationName) -> Result<LocationRecord, Failure> {
    target.records.remove_location(name).await?.ok_or_else(|| {
        Failure::failed(format!("there is no location {name}"))
            .hint("'packcast location list' shows what there is")
    })
}

/// Returns a warning for each group whose devices try a location first.
pub async fn preferring(target: &Target, name: &LocationName) -> Result<Vec<Warning>, Failure> {
    let groups = target.records.groups().await?;
    let preferring = groups
        .into_iter()
        .filter(|group| group.preferred.as_ref() == Some(name));
    Ok(preferring
        .map(|group| {
            let group = group.group;
            Warning::new(format!(
                "group {group} prefers {name}; 'packcast group prefer {group} --none' ends that"
            ))
        })
        .collect())
}

/// Returns all locations.
pub async fn list(target: &Target) -> Result<Vec<LocationRecord>, Failure> {
    Ok(target.records.locations().await?)
}

/// Finds the named locations, or all of them if none is named; a target without locations is an
/// error.
pub async fn choose(
    target: &Target,
    names: &[LocationName],
) -> Result<Vec<LocationRecord>, Failure> {
    let known = list(target).await?;
    if known.is_empty() {
        return Err(
            Failure::failed(format!("target {} has no location", target.name))
                .hint("add one with 'packcast location add NAME HOST/PATH'"),
        );
    }
    if names.is_empty() {
        return Ok(known);
    }
    let pick = |name: &LocationName| {
        known
            .iter()
            .find(|at| at.name == *name)
            .cloned()
            .ok_or_else(|| {
                Failure::usage(format!("there is no location {name}"))
                    .hint("'packcast location list' shows what there is")
            })
    };
    names.iter().map(pick).collect()
}
