//! Locations: the places that serve the objects of a target.

mod check;

use packcast_protocol::{GroupName, LocationName};
use packcast_rollout::LocationRecord;

pub use self::check::{CheckedLocation, check, conclude};
use crate::failure::Failure;
use crate::target::Target;
use crate::text::for_target;
use crate::warning::Warning;

/// The next step if a location was not found.
const LOCATIONS_HINT: &str = "run 'packcast location list' to see the locations";

fn no_location(name: &LocationName) -> String {
    format!("location {name} does not exist")
}

fn no_locations(target: &str) -> Failure {
    Failure::failed(format!("target {target} has no locations"))
        .hint("run 'packcast location add NAME ADDRESS' to add a location")
}

/// Adds a location. If a location of the same name existed, the function replaces it and returns
/// the earlier record.
pub async fn add(
    target: &Target,
    location: &LocationRecord,
) -> Result<Option<LocationRecord>, Failure> {
    Ok(target.records.add_location(location).await?)
}

/// Removes a location. Packages that are active at the location stay active there.
pub async fn remove(target: &Target, name: &LocationName) -> Result<LocationRecord, Failure> {
    let removed = target.records.remove_location(name).await?;
    removed.ok_or_else(|| Failure::failed(no_location(name)).hint(LOCATIONS_HINT))
}

/// Returns a warning for each group that prefers the location `name`.
pub async fn preferring(target: &Target, name: &LocationName) -> Result<Vec<Warning>, Failure> {
    let groups = target.records.groups().await?;
    let preferring = groups
        .into_iter()
        .filter(|group| group.preferred.as_ref() == Some(name));
    Ok(preferring
        .map(|group| preference(&group.group, name, &target.name))
        .collect())
}

fn preference(group: &GroupName, location: &LocationName, target: &str) -> Warning {
    Warning::new(format!("group {group} still prefers location {location}")).hint(for_target(
        &format!("run 'packcast group prefer {group} --none' to remove the preference"),
        target,
    ))
}

/// Returns all locations.
pub async fn list(target: &Target) -> Result<Vec<LocationRecord>, Failure> {
    Ok(target.records.locations().await?)
}

/// Finds the named locations, or all locations if none is named.
///
/// # Errors
/// The target has no locations, or a name belongs to no location.
pub async fn choose(
    target: &Target,
    names: &[LocationName],
) -> Result<Vec<LocationRecord>, Failure> {
    let known = list(target).await?;
    if known.is_empty() {
        return Err(no_locations(&target.name));
    }
    if names.is_empty() {
        return Ok(known);
    }
    let pick = |name: &LocationName| {
        known
            .iter()
            .find(|at| at.name == *name)
            .cloned()
            .ok_or_else(|| Failure::usage(no_location(name)).hint(LOCATIONS_HINT))
    };
    names.iter().map(pick).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::failures;

    #[test]
    fn errors_of_locations_have_next_steps() {
        let name = "cdn".parse().unwrap();
        let unknown = Failure::failed(no_location(&name)).hint(LOCATIONS_HINT);
        insta::assert_snapshot!(failures([unknown, no_locations("prod")]), @r"
        Failed: location cdn does not exist
        hint: run 'packcast location list' to see the locations
        Failed: target prod has no locations
        hint: run 'packcast location add NAME ADDRESS' to add a location
        ");
        let warning = preference(&"lab".parse().unwrap(), &name, "prod");
        insta::assert_snapshot!(warning, @r"
        warning: group lab still prefers location cdn
        hint: run 'packcast --target prod group prefer lab --none' to remove the preference
        ");
    }
}
