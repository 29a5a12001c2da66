//! Verifies one package at chosen sources.

use packcast_protocol::signature::PublicKey;
use packcast_protocol::{LocationName, PackageId, PackageRef, UnixTime, with_causes};
use packcast_rollout::{LocationRecord, PackageRecord};
use serde::Serialize;

use super::{ExpectedPackage, Findings, ObjectSource, verify_all};
use crate::clock::now;
use crate::failure::Failure;
use crate::package::{find, published};
use crate::probe;
use crate::progress::{Progress, Work};
use crate::signing::KeyError;
use crate::signing::key::public_half;
use crate::state::TargetState;
use crate::target::Target;
use crate::text::time;
use crate::warning::Warning;

/// The sources of a verification.
#[derive(Clone, Debug)]
pub enum Through {
    /// These locations of the package, or all its locations if none is named.
    Locations(Vec<LocationName>),
    /// The store, which the publisher writes objects to.
    Store,
}

/// The result of a verification. It serializes as the list of its sources.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Verification {
    pub sources: Vec<VerifiedSource>,
    #[serde(skip)]
    pub warnings: Vec<Warning>,
}

/// The result at one source.
#[derive(Debug, Serialize)]
pub struct VerifiedSource {
    pub package: PackageId,
    pub source: String,
    pub is_intact: bool,
    /// The problems. With [`MAX_PROBLEMS`](super::MAX_PROBLEMS) or more of them, the verification of
    /// the source has ended early.
    pub problems: Vec<String>,
}

/// Fetches a package, and compares every byte with the publication.
///
/// `key` must have signed the package. The default is any publisher key of the target, retired keys
/// included, and the target's own key.
pub async fn verify(
    target: &Target,
    reference: &PackageRef,
    through: &Through,
    key: Option<PublicKey>,
    progress: &Progress,
) -> Result<Verification, Failure> {
    let package = find(target, reference).await?;
    let published = published(&package)?;
    let keys = match key {
        Some(key) => vec![key],
        None => publisher_keys(target).await?,
    };
    let sources = sources(target, &package, through)?;
    let expected = ExpectedPackage {
        package: &package,
        published,
        keys: &keys,
    };
    let findings = fetch(expected, &sources, progress).await;
    Ok(Verification {
        warnings: warnings(published.expired(now()), findings.archive_checked),
        sources: verified(package.id, &sources, &findings),
    })
}

impl Verification {
    /// Returns an error if a source is not intact.
    pub fn conclude(&self) -> Result<(), Failure> {
        let wrong: Vec<&VerifiedSource> =
            self.sources.iter().filter(|one| !one.is_intact).collect();
        let Some(package) = wrong.first().map(|one| one.package) else {
            return Ok(());
        };
        let wrong: Vec<&str> = wrong.iter().map(|one| one.source.as_str()).collect();
        Err(Failure::failed(format!(
            "the verification of the package failed at {}",
            wrong.join(", ")
        ))
        .hint(format!(
            "run 'packcast deactivate {package}' to stop announcing the package to more devices; Packcast agents refuse damaged objects"
        )))
    }
}

/// Returns the publisher keys that the newest key list names, and the target's own key.
///
/// A machine that does not know the root keys of the target knows only its own key.
async fn publisher_keys(target: &Target) -> Result<Vec<PublicKey>, Failure> {
    let mut keys = match target.trust() {
        Ok(trust) => TargetState::read(&target.records, &trust).await?.keys(),
        Err(_) => Vec::new(),
    };
    match public_half(&target.key_file, &*target.secrets) {
        Ok(own) => keys.push(own),
        // A reader of the target has no key.
        Err(error) if keys.is_empty() => return Err(no_own_key(error)),
        Err(_) => {}
    }
    Ok(keys)
}

fn no_own_key(error: KeyError) -> Failure {
    Failure::failed(error)
        .hint("use --public-key to pass the publisher's public key, or run 'packcast keys accept-trust LINE' to accept all publishers of the target")
}

fn sources(
    target: &Target,
    package: &PackageRecord,
    through: &Through,
) -> Result<Vec<ObjectSource>, Failure> {
    let names = match through {
        Through::Locations(names) => names,
        Through::Store => {
            return Ok(vec![ObjectSource::Store {
                objects: target.objects.clone(),
                locations: package.locations.clone(),
            }]);
        }
    };
    let client = probe::client(target.ca_file.as_deref(), target.route());
    let client = client.map_err(Failure::failed)?;
    let locations = choose(package.id, &package.locations, names)?;
    Ok(locations
        .into_iter()
        .map(|at| ObjectSource::Location {
            client: client.clone(),
            at,
        })
        .collect())
}

/// Finds the named locations of a package, or all its locations if none is named.
fn choose(
    package: PackageId,
    locations: &[LocationRecord],
    names: &[LocationName],
) -> Result<Vec<LocationRecord>, Failure> {
    if locations.is_empty() {
        return Err(Failure::failed(format!(
            "cannot verify package {package}: it was never activated at a location"
        ))
        .hint(format!(
            "run 'packcast activate {package}' first, or pass --stored to verify the stored objects"
        )));
    }
    if names.is_empty() {
        return Ok(locations.to_vec());
    }
    let pick = |name: &LocationName| {
        let found = locations.iter().find(|at| at.name == *name);
        found.cloned().ok_or_else(|| {
            Failure::usage(format!(
                "cannot verify package {package} at location {name}: it was not activated there"
            ))
            .hint(format!(
                "run 'packcast show {package}' to see the locations of the package"
            ))
        })
    };
    names.iter().map(pick).collect()
}

async fn fetch(
    expected: ExpectedPackage<'_>,
    sources: &[ObjectSource],
    progress: &Progress,
) -> Findings {
    let archive = expected.package.action.archive();
    // The archive is fetched from each source.
    let bytes = archive.map_or(0, |archive| archive.bytes) * sources.len() as u64;
    progress.begin(Work::Verifying, bytes);
    let findings = verify_all(expected, sources, progress).await;
    progress.end();
    findings
}

fn warnings(expired_at: Option<UnixTime>, was_archive_checked: bool) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if !was_archive_checked {
        warnings.push(Warning::new(
            "the archive was not verified: no source has an intact manifest",
        ));
    }
    if let Some(expired_at) = expired_at {
        warnings.push(Warning::new(format!(
            "Packcast agents no longer deploy the package: it expired {}",
            time(expired_at)
        )));
    }
    warnings
}

fn verified(
    package: PackageId,
    sources: &[ObjectSource],
    findings: &Findings,
) -> Vec<VerifiedSource> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::failures;

    #[test]
    fn errors_of_verifications_have_next_steps() {
        let id = "1795000000".parse().unwrap();
        let at = LocationRecord {
            name: "cdn".parse().unwrap(),
            location: "cdn.example.net/d".parse().unwrap(),
        };
        let moon = ["moon".parse().unwrap()];
        let damaged = Verification {
            sources: vec![VerifiedSource {
                package: id,
                source: "cdn".to_owned(),
                is_intact: false,
                problems: Vec::new(),
            }],
            warnings: Vec::new(),
        };
        let errors = [
            choose(id, &[], &[]).unwrap_err(),
            choose(id, &[at], &moon).unwrap_err(),
            no_own_key(KeyError::EmptyPassphrase),
            damaged.conclude().unwrap_err(),
        ];
        insta::assert_snapshot!(failures(errors), @r"
        Failed: cannot verify package 1795000000: it was never activated at a location
        hint: run 'packcast activate 1795000000' first, or pass --stored to verify the stored objects
        Usage: cannot verify package 1795000000 at location moon: it was not activated there
        hint: run 'packcast show 1795000000' to see the locations of the package
        Failed: cannot encrypt the new key: the passphrase is empty
        hint: use --public-key to pass the publisher's public key, or run 'packcast keys accept-trust LINE' to accept all publishers of the target
        Failed: the verification of the package failed at cdn
        hint: run 'packcast deactivate 1795000000' to stop announcing the package to more devices; Packcast agents refuse damaged objects
        ");
    }

    #[test]
    fn warnings_of_verifications() {
        let now = UnixTime(1_795_000_000);
        assert_eq!(warnings(None, true), []);
        let warnings = warnings(Some(now), false);
        let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(warnings.join("\n"), @r"
        warning: the archive was not verified: no source has an intact manifest
        warning: Packcast agents no longer deploy the package: it expired 2026-11-18 11:06:40 UTC
        ");
    }
}
