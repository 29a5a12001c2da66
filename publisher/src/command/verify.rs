//! `packcast verify`: fetches a package back, and compares it with what was published.

use packcast_protocol::signature::PublicKey;
use packcast_protocol::{LocationName, PackageId, PackageRef, with_causes};
use packcast_rollout::{LocationRecord, PackageRecord, Published};
use serde::Serialize;

use super::{find, published};
use crate::Globals;
use crate::clock::now;
use crate::failure::Failure;
use crate::keys::public_half;
use crate::output;
use crate::probe;
use crate::target::Target;
use crate::verify::{Expected, Findings, MAX_PROBLEMS, Source, verify_all};

/// Fetch a package back and check every byte of it
///
/// Fetches manifest, signature, info and every fragment through each location that the package
/// is active at, and checks every digest, those of the whole archive, and the signature. Ends
/// with 1 if anything is not what was published.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast verify vlc@3.0.21
  packcast verify vlc@3.0.21 --location site-berlin
  packcast verify 1795327754 --stored")]
pub(crate) struct Args {
    /// The package: its id, or name@version
    #[arg(value_name = "PKG")]
    package: PackageRef,
    /// Fetch through this location of the package only (repeatable)
    #[arg(long, value_name = "NAME", conflicts_with = "stored")]
    location: Vec<LocationName>,
    /// Read what is stored, instead of what locations serve
    #[arg(long)]
    stored: bool,
    /// The public key that has to have signed the package, instead of the target's own
    #[arg(long, value_name = "KEY")]
    public_key: Option<PublicKey>,
}

/// What was found at one source.
#[derive(Serialize)]
struct Verified {
    package: PackageId,
    source: String,
    is_intact: bool,
    problems: Vec<String>,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let package = find(&target, &self.package).await?;
        let published = published(&package)?;
        let key = self.key(&target)?;
        let sources = self.sources(&target, &package)?;
        let expected = Expected {
            package: &package,
            published,
            keys: &[key],
        };
        let findings = fetch(expected, &sources).await;
        tell(published, &findings);
        let verified: Vec<Verified> = sources
            .iter()
            .zip(&findings.problems)
            .map(|(source, problems)| Verified {
                package: package.id,
                source: source.name(),
                is_intact: problems.is_empty(),
                problems: problems
                    .iter()
                    .map(|problem| with_causes(problem))
                    .collect(),
            })
            .collect();
        output::result(globals.format, &verified, |verified| text(verified));
        conclude(&verified)
    }

    fn key(&self, target: &Target) -> Result<PublicKey, Failure> {
        match &self.public_key {
            Some(key) => Ok(key.clone()),
            None => public_half(&target.key_file).map_err(|error| {
                Failure::failed(error).hint("give the key that signs packages with --public-key")
            }),
        }
    }

    fn sources(&self, target: &Target, package: &PackageRecord) -> Result<Vec<Source>, Failure> {
        if self.stored {
            return Ok(vec![Source::Store {
                objects: target.objects.clone(),
                locations: package.locations.clone(),
            }]);
        }
        let ca_file = target.ca_file.as_deref();
        let client = probe::client(ca_file, target.route()).map_err(Failure::failed)?;
        let locations = choose(package, &self.location)?;
        Ok(locations
            .into_iter()
            .map(|at| Source::Location {
                client: client.clone(),
                at,
            })
            .collect())
    }
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

/// Verifies with a progress bar on a terminal.
async fn fetch(expected: Expected<'_>, sources: &[Source]) -> Findings {
    let archive = expected.package.action.archive();
    let bytes = archive.map_or(0, |archive| archive.bytes) * sources.len() as u64;
    let bar = output::progress("verifying", bytes);
    let findings = verify_all(expected, sources, |bytes| bar.inc(bytes)).await;
    bar.finish_and_clear();
    findings
}

fn tell(published: &Published, findings: &Findings) {
    if !findings.archive_checked {
        output::note("warning: the archive was not looked at, as the manifest is nowhere intact");
    }
    if published.expires <= now() {
        output::note(&format!(
            "warning: no agent of Packcast acts on the package any more: it expired at {}",
            output::time(published.expires)
        ));
    }
}

fn text(verified: &[Verified]) -> String {
    let rows = verified.iter().flat_map(|one| {
        let results = if one.is_intact {
            vec!["ok".to_owned()]
        } else {
            results(&one.problems)
        };
        results
            .into_iter()
            .map(|result| [one.source.clone(), result])
    });
    output::table(["LOCATION", "RESULT"], rows)
}

fn results(problems: &[String]) -> Vec<String> {
    let mut results: Vec<String> = problems
        .iter()
        .map(|problem| format!("failed: {problem}"))
        .collect();
    if problems.len() >= MAX_PROBLEMS {
        results.push("failed: and the rest was not looked at".to_owned());
    }
    results
}

fn conclude(verified: &[Verified]) -> Result<(), Failure> {
    let wrong: Vec<&str> = verified
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
