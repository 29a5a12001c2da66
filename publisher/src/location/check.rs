//! Probes of locations, made as agents would use them.

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

/// The number of locations that are probed at a time.
const PARALLEL: usize = 8;

const NOT_MODIFIED: &str = "it answers 304 to If-Modified-Since, and a stock agent that is told so \
for a fragment never gets past it: have the header ignored there";

/// The result of a location's probe.
#[derive(Debug, Serialize)]
pub struct CheckedLocation {
    pub name: LocationName,
    pub location: Location,
    /// The newest package that is active there, as `name@version`; the newest [`NEWEST`] packages
    /// of the target are considered.
    pub package: Option<String>,
    pub problem: Option<String>,
    /// Findings that only stock agents mind.
    pub warnings: Vec<String>,
    pub milliseconds: u128,
}

/// Probes the named locations, or all of them if none is named.
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
        "{failed} of {} locations do not serve what they are to serve",
        checked.len()
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

/// Probes as an activation does; where no package is active, only whether anybody answers.
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

/// Returns the newest package that devices may be sent to this location for.
fn newest<'a>(packages: &'a [PackageRecord], at: &LocationRecord) -> Option<&'a PackageRecord> {
    packages
        .iter()
        .filter(|package| package.active && package.locations.contains(at))
        .max_by_key(|package| package.id)
}
