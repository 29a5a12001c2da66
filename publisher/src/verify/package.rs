//! Verifying one package at the sources that were chosen for it.

use packcast_protocol::signature::PublicKey;
use packcast_protocol::{LocationName, PackageId, PackageRef, with_causes};
use packcast_rollout::{LocationRecord, PackageRecord, Published};
use serde::Serialize;

use super::{Expected, Findings, Source, verify_all};
use crate::clock::now;
use crate::failure::Failure;
use crate::package::{find, published};
use crate::probe;
use crate::progress::{Progress, Work};
use crate::signing::key::public_half;
use crate::target::Target;
use crate::text::time;
use crate::warning::Warning;

/// The sources that a package is fetched back from.
#[derive(Clone, Debug)]
pub enum Through {
    /// These locations of the package, or all of its locations if none is named.
    Locations(Vec<LocationName>),
    /// The place that the publisher writes objects to.
    Store,
}

/// The findings of a verification; serialized, the list of its sources.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Verification {
    pub sources: Vec<VerifiedSource>,
    #[serde(skip)]
    pub warnings: Vec<Warning>,
}

/// The findings at one source.
#[derive(Debug, Serialize)]
pub struct VerifiedSource {
    pub package: PackageId,
    pub source: String,
    pub is_intact: bool,
    /// At most [`MAX_PROBLEMS`](super::MAX_PROBLEMS), or a few more: if there are so many, the
    /// verification of the source ended early.
    pub problems: Vec<String>,
}

/// Fetches a package back and compares every byte with the publication.
///
/// `key` has to have signed the package; if absent, the target's own key.
pub async fn verify(
    target: &Target,
    reference: &PackageRef,
    through: &Through,
    key: Option<PublicKey>,
    progress: &Progress,
) -> Result<Verification, Failure> {
    let package = find(target, reference).await?;
    let published = published(&package)?;
    let key = match key {
        Some(key) => key,
        None => own_key(target)?,
    };
    let sources = sources(target, &package, through)?;
    let expected = Expected {
        package: &package,
        published,
        keys: &[key],
    };
    let findings = fetch(expected, &sources, progress).await;
    Ok(Verification {
        warnings: warnings(published, &findings),
        sources: verified(package.id, &sources, &findings),
    })
}

impl Verification {
    /// Returns an error if a source is not intact.
    pub fn conclude(&self) -> Result<(), Failure> {
        let wrong: Vec<&str> = self
            .sources
            .iter()
            .filter(|one| !one.is_intact)
            .map(|one| one.source.as_str())
            .collect();
        if wrong.is_empty() {
            return Ok(());
        }
        Err(Failure::failed(format!(
            "the package is not what was published at: {}",
            wrong.join(", ")
        ))
        .hint("agents of Packcast refuse what is wrong; 'packcast deactivate' keeps the package from further devices"))
    }
}

fn own_key(target: &Target) -> Result<PublicKey, Failure> {
    public_half(&target.key_file, &*target.secrets).map_err(|error| {
        Failure::failed(error).hint("give the key that signs packages with --public-key")
    })
}

fn sources(
    target: &Target,
    package: &PackageRecord,
    through: &Through,
) -> Result<Vec<Source>, Failure> {
    let names = match through {
        Through::Locations(names) => names,
        Through::Store => {
            return Ok(vec![Source::Store {
                objects: target.objects.clone(),
                locations: package.locations.clone(),
            }]);
        }
    };
    let client = probe::client(target.ca_file.as_deref(), target.route());
    let client = client.map_err(Failure::failed)?;
    let locations = choose(package, names)?;
    Ok(locations
        .into_iter()
        .map(|at| Source::Location {
            client: client.clone(),
            at,
        })
        .collect())
}

/// Finds the named locations of a package, or all of them if none is named.
fn choose(package: &PackageRecord, names: &[LocationName]) -> Result<Vec<LocationRecord>, Failure> {
    if package.locations.is_empty() {
        return Err(Failure::failed(format!(
            "package {} was never activated at a location",
            package.id
        ))
        .hint("'packcast activate' does so; --stored verifies what is stored"));
    }
    if names.is_empty() {
        return Ok(package.locations.clone());
    }
    let pick = |name: &LocationName| {
        let found = package.locations.iter().find(|at| at.name == *name);
        found.cloned().ok_or_else(|| {
            Failure::usage(format!(
                "package {} was not activated at location {name}",
                package.id
            ))
            .hint("'packcast show PKG' tells where it was")
        })
    };
    names.iter().map(pick).collect()
}

async fn fetch(expected: Expected<'_>, sources: &[Source], progress: &Progress) -> Findings {
    let archive = expected.package.action.archive();
    let bytes = archive.map_or(0, |archive| archive.bytes) * sources.len() as u64;
    progress.begin(Work::Verifying, bytes);
    let findings = verify_all(expected, sources, progress).await;
    progress.end();
    findings
}

fn warnings(published: &Published, findings: &Findings) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if !findings.archive_checked {
        warnings.push(Warning::new(
            "the archive was not looked at, as the manifest is nowhere intact",
        ));
    }
    if published.expires <= now() {
        warnings.push(Warning::new(format!(
            "no agent of Packcast acts on the package any more: it expired at {}",
            time(published.expires)
        )));
    }
    warnings
}

fn verified(package: PackageId, sources: &[Source], findings: &Findings) -> Vec<VerifiedSource> {
    let found = sources.iter().zip(&findings.problems);
    found
        .map(|(source, problems)| VerifiedSource {
            package,
            source: source.name(),
            is_intact: problems.is_empty(),
            problems: problems
                .iter()
                .map(|problem| with_causes(problem))
                .collect(),
        })
        .collect()
}
