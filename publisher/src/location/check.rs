//! Probes of locations, with the requests that agents send.

use std::time::Instant;

use futures_util::{StreamExt as _, stream};
use packcast_protocol::{Location, LocationName, with_causes};
use packcast_rollout::{LocationRecord, PackageRecord};
use reqwest::Client;
use serde::Serialize;

use crate::clock::now;
use crate::failure::Failure;
use crate::package::{NEWEST, named};
use crate::probe::{self, ProbeError};
use crate::target::Target;
use crate::text::count;

/// The number of locations that are probed at a time.
const PARALLEL: usize = 8;

/// The warning for a location that stalls OCS agents (see [`probe::answers_not_modified`]).
const NOT_MODIFIED: &str = "the location answers 304 to If-Modified-Since, and an OCS agent that \
gets 304 for a fragment requests it forever: configure the location to ignore the header";

/// The result of the probe of a location.
#[derive(Debug, Serialize)]
pub struct CheckedLocation {
    pub name: LocationName,
    pub location: Location,
    /// The package of the probe, as `name@version`.
    ///
    /// It is the newest package that is active at the location. The function looks only among the
    /// [`NEWEST`] newest packages of the target.
    pub package: Option<String>,
    pub problem: Option<String>,
    /// Findings that affect OCS agents only.
    pub warnings: Vec<String>,
    pub milliseconds: u128,
}

/// Probes the named locations, or all locations if none is named.
pub async fn check(
    target: &Target,
    names: &[LocationName],
) -> Result<Vec<CheckedLocation>, Failure> {
    let locations = super::choose(target, names).await?;
    let packages = target.records.packages(NEWEST).await?;
    let client = probe::client(target.ca_file.as_deref(), target.route());
    let client = client.map_err(Failure::failed)?;
    Ok(stream::iter(locations)
        .map(|at| check_one(&client, at, &packages))
        .buffered(PARALLEL)
        .collect()
        .await)
}

/// Returns an error if one of the locations has a problem.
pub fn conclude(checked: &[CheckedLocation]) -> Result<(), Failure> {
    let failed = checked.iter().filter(|one| one.problem.is_some()).count();
    if failed == 0 {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "found problems at {failed} of {}",
        count(checked.len() as u64, "location")
    )))
}

async fn check_one(
    client: &Client,
    at: LocationRecord,
    packages: &[PackageRecord],
) -> CheckedLocation {
    let package = newest(packages, &at);
    let begun = Instant::now();
    let probed = probe_with(client, package, &at).await;
    let milliseconds = begun.elapsed().as_millis();
    let (problem, warnings) = match probed {
        Ok(warnings) => (None, warnings),
        Err(error) => (Some(with_causes(&error)), Vec::new()),
    };
    CheckedLocation {
        package: package.map(named),
        name: at.name,
        location: at.location,
        problem,
        warnings,
        milliseconds,
    }
}

/// Probes a location with a package, as an activation does. Without a package, the function only
/// checks that the location answers.
async fn probe_with(
    client: &Client,
    package: Option<&PackageRecord>,
    at: &LocationRecord,
) -> Result<Vec<String>, ProbeError> {
    let found = package.and_then(|package| Some((package, package.published()?)));
    let Some((package, published)) = found else {
        probe::answers(client, at).await?;
        return Ok(Vec::new());
    };
    probe::probe(client, package, published, at).await?;
    let stalls = probe::answers_not_modified(client, package, published, at, now()).await?;
    Ok(stalls
        .then(|| NOT_MODIFIED.to_owned())
        .into_iter()
        .collect())
}

/// Returns the newest package that is active at a location.
fn newest<'a>(packages: &'a [PackageRecord], at: &LocationRecord) -> Option<&'a PackageRecord> {
    packages
        .iter()
        .filter(|package| package.active && package.locations.contains(at))
        .max_by_key(|package| package.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::failures;

    #[test]
    fn a_check_fails_if_a_location_has_a_problem() {
        let checked = ["a", "b"].map(|name| CheckedLocation {
            name: name.parse().unwrap(),
            location: "cdn.example.net/d".parse().unwrap(),
            package: None,
            problem: (name == "a").then(|| "problem".to_owned()),
            warnings: Vec::new(),
            milliseconds: 1,
        });
        let failure = conclude(&checked).unwrap_err();
        insta::assert_snapshot!(failures([failure]), @"Failed: found problems at 1 of 2 locations");
        assert!(conclude(&checked[1..]).is_ok());
        insta::assert_snapshot!(NOT_MODIFIED, @"the location answers 304 to If-Modified-Since, and an OCS agent that gets 304 for a fragment requests it forever: configure the location to ignore the header");
    }
}
