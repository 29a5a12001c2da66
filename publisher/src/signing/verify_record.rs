//! Verifies the record of a package before the publisher signs an assignment of the package.

use packcast_protocol::PackageId;
use packcast_protocol::signature::PublicKey;
use packcast_rollout::assignments::VerifiedPackages;
use packcast_rollout::{PackageRecord, Published};

use super::key_lists;
use super::signer::Signer;
use crate::failure::{Failure, Kind, RETRY_HINT};
use crate::package::{named, published};
use crate::probe;
use crate::target::Target;
use crate::text::for_target;
use crate::verify::{self, ExpectedPackage, ObjectSource, VerifyProblem};
use crate::warning::Warning;

/// Additional keys whose packages the publisher accepts, besides the keys that agents trust and the
/// publisher's own keys.
#[derive(Clone, Debug, Default)]
pub struct AlsoAccept(pub Vec<PublicKey>);

/// An error: no signed manifest confirms the record of a package.
#[derive(Debug, thiserror::Error)]
#[error("cannot verify package {package}: no signed manifest has the name {name}")]
struct NotSigned {
    package: PackageId,
    name: String,
    source: VerifyProblem,
}

impl AlsoAccept {
    /// Compares the record of a package with the package's manifest. One of the accepted keys must
    /// have signed the manifest.
    ///
    /// Somebody who controls the table can change the records. So the publisher never signs an
    /// assignment because of a record alone.
    pub async fn verify(
        &self,
        target: &Target,
        package: &PackageRecord,
        signer: &Signer,
    ) -> Result<(), Failure> {
        let keys = self.keys(target, signer).await?;
        manifest_of(target, package, &keys).await
    }

    /// Verifies all of these packages, except deleted packages.
    pub async fn verify_all(
        &self,
        target: &Target,
        packages: &[PackageId],
        signer: &Signer,
    ) -> Result<VerifiedPackages, Failure> {
        let keys = self.keys(target, signer).await?;
        let mut verified = VerifiedPackages::new();
        for package in target.records.packages_of(packages).await? {
            if let Some(published) = package.published() {
                manifest_of(target, &package, &keys).await?;
                verified.insert(package.id, published.manifest);
            }
        }
        Ok(verified)
    }

    async fn keys(&self, target: &Target, signer: &Signer) -> Result<Vec<PublicKey>, Failure> {
        let mut keys = key_lists::trusted_with_own(target, signer.keys()).await?;
        for key in &self.0 {
            if !keys.contains(key) {
                target.warnings.push(untrusted(key, &target.name));
                keys.push(key.clone());
            }
        }
        Ok(keys)
    }
}

fn untrusted(key: &PublicKey, target: &str) -> Warning {
    Warning::new(format!(
        "agents refuse packages that {key} has signed, unless their configuration has this key"
    ))
    .hint(for_target(
        &format!("run 'packcast keys trust {key}' to make all agents trust this key"),
        target,
    ))
}

/// Looks for the signed manifest of a package.
async fn manifest_of(
    target: &Target,
    package: &PackageRecord,
    keys: &[PublicKey],
) -> Result<(), Failure> {
    let found = find_manifest(target, package, published(package)?, keys).await?;
    found.map_err(|problem| refused(package.id, &named(package), problem))
}

/// Looks for the signed manifest of a package in the store, and then at the locations of the
/// package.
///
/// The store may lack the manifest if the package was published from another target with the same
/// table.
pub(crate) async fn find_manifest(
    target: &Target,
    package: &PackageRecord,
    published: &Published,
    keys: &[PublicKey],
) -> Result<Result<(), VerifyProblem>, Failure> {
    let expected = ExpectedPackage {
        package,
        published,
        keys,
    };
    let store = ObjectSource::Store {
        objects: target.objects.clone(),
        locations: Vec::new(),
    };
    let stored = verify::signed_manifest(expected, &store).await;
    let Err(mut problem) = stored else {
        return Ok(Ok(()));
    };
    if matches!(problem, VerifyProblem::Missing { .. }) {
        let client = probe::client(target.ca_file.as_deref(), target.route());
        let client = client.map_err(Failure::failed)?;
        for at in package.locations.iter().cloned() {
            let client = client.clone();
            let source = ObjectSource::Location { client, at };
            match verify::signed_manifest(expected, &source).await {
                Ok(_) => return Ok(Ok(())),
                Err(other) => problem = other,
            }
        }
    }
    Ok(Err(problem))
}

fn refused(package: PackageId, name: &str, source: VerifyProblem) -> Failure {
    let is_retryable = source.is_retryable();
    let unsigned = NotSigned {
        package,
        name: name.to_owned(),
        source,
    };
    if is_retryable {
        return Failure::new(Kind::TryLater, unsigned).hint(RETRY_HINT);
    }
    Failure::conflict(unsigned)
        .hint(format!("run 'packcast verify {name}' to see all problems"))
        .hint("if a publisher whom you trust has signed the package, pass the public key of that publisher with --accept-key, and run 'packcast keys trust KEY'")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::failures;

    #[test]
    fn an_unverified_record_has_next_steps() {
        let id = "1795000000".parse().unwrap();
        let problem = VerifyProblem::OtherPackage;
        let server_error = VerifyProblem::Served(probe::ProbeError::Status {
            url: "https://cdn.example.net/d/x".to_owned(),
            status: 503,
        });
        let errors = [problem, server_error].map(|problem| refused(id, "tool@1", problem));
        insta::assert_snapshot!(failures(errors), @r"
        Conflict: cannot verify package 1795000000: no signed manifest has the name tool@1: the manifest describes another package than the record
        hint: run 'packcast verify tool@1' to see all problems
        hint: if a publisher whom you trust has signed the package, pass the public key of that publisher with --accept-key, and run 'packcast keys trust KEY'
        TryLater: cannot verify package 1795000000: no signed manifest has the name tool@1: cannot fetch https://cdn.example.net/d/x: expected status 200, found 503
        hint: run the command again in a minute; nothing is lost
        ");
    }

    #[test]
    fn a_key_that_agents_do_not_trust_causes_a_warning() {
        let bytes = [&b"Ed"[..], &[1; 40]].concat();
        let key = data_encoding::BASE64.encode(&bytes).parse().unwrap();
        insta::assert_snapshot!(untrusted(&key, "prod"), @r"
        warning: agents refuse packages that RWQBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB has signed, unless their configuration has this key
        hint: run 'packcast --target prod keys trust RWQBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB' to make all agents trust this key
        ");
    }
}
