//! `packcast location check`: whether locations serve what they are to serve.

use std::time::Instant;

use futures_util::{StreamExt as _, stream};
use packcast_protocol::{Location, LocationName, with_causes};
use packcast_rollout::{LocationRecord, PackageRecord};
use reqwest::Client;
use serde::Serialize;

use crate::Globals;
use crate::clock::now;
use crate::command::{NEWEST, activate};
use crate::failure::Failure;
use crate::output;
use crate::probe::{self, ProbeError};
use crate::target::Target;

/// How many locations are probed at a time.
const PARALLEL: usize = 8;

const NOT_MODIFIED: &str = "it answers 304 to If-Modified-Since, and a stock agent that is told so \
for a fragment never gets past it: have the header ignored there";

/// What came of a location's probe.
#[derive(Serialize)]
struct Checked {
    name: LocationName,
    location: Location,
    /// The newest package that is active there, as `name@version`.
    package: Option<String>,
    problem: Option<String>,
    /// What only some agents mind.
    warnings: Vec<String>,
    milliseconds: u128,
}

pub(super) async fn run(
    globals: &Globals,
    target: &Target,
    names: &[LocationName],
) -> Result<(), Failure> {
    let locations = activate::choose(target, names).await?;
    let packages = target.records.packages(NEWEST).await?;
    let ca_file = target.ca_file.as_deref();
    let client = probe::client(ca_file, target.route()).map_err(Failure::failed)?;
    let checked: Vec<Checked> = stream::iter(locations)
        .map(|at| check(&client, at, &packages))
        .buffered(PARALLEL)
        .collect()
        .await;
    output::result(globals.format, &checked, |checked| text(checked));
    for checked in &checked {
        for warning in &checked.warnings {
            output::note(&format!("warning: location {}: {warning}", checked.name));
        }
    }
    let failed = checked.iter().filter(|one| one.problem.is_some()).count();
    if failed == 0 {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "{failed} of {} locations do not serve what they are to serve",
        checked.len()
    )))
}

async fn check(client: &Client, at: LocationRecord, packages: &[PackageRecord]) -> Checked {
    let package = newest(packages, &at);
    let begun = Instant::now();
    let probed = probe_with(client, package, &at).await;
    let milliseconds = begun.elapsed().as_millis();
    let (problem, warnings) = match probed {
        Ok(warnings) => (None, warnings),
        Err(error) => (Some(with_causes(&error)), Vec::new()),
    };
    Checked {
        package: package.map(|package| format!("{}@{}", package.name, package.version)),
        name: at.name,
        location: at.location,
        problem,
        warnings,
        milliseconds,
    }
}

/// Probes as an activation does, or only whether anybody answers where no package is.
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

fn text(checked: &[Checked]) -> String {
    output::table(
        ["NAME", "ADDRESS", "RESULT", "TIME"],
        checked.iter().map(|one| {
            [
                one.name.to_string(),
                one.location.to_string(),
                result(one),
                format!("{} ms", one.milliseconds),
            ]
        }),
    )
}

fn result(checked: &Checked) -> String {
    match (&checked.problem, &checked.package) {
        (Some(problem), _) => format!("failed: {problem}"),
        (None, Some(package)) => format!("ok: serves {package}"),
        (None, None) => {
            format!("ok: answers, and none of the newest {NEWEST} packages is active there")
        }
    }
}
