//! Verifies the record of a package before the publisher signs an assignment of the package.

use packcast_protocol::PackageId;
use packcast_protocol::signature::PublicKey;
use packcast_rollout::{PackageRecord, Published};

use super::signer::Signer;
use crate::failure::{Failure, Kind, RETRY_HINT};
use crate::package::{named, published};
use crate::probe;
use crate::state::TargetState;
use crate::target::Target;
use crate::verify::{self, ExpectedPackage, ObjectSource, VerifyProblem};

/// Additional keys whose packages the publisher accepts, besides the publisher keys of the target
/// and the key of the signer.
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

    async fn keys(&self, target: &Target, signer: &Signer) -> Result<Vec<PublicKey>, Failure> {
        let state = TargetState::read(&target.records, &target.trust()?).await?;
        let mut keys = state.keys();
        let others = signer.key().into_iter().chain(&self.0);
        keys.extend(others.cloned());
        Ok(keys)
    }
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
        .hint("if a publisher whom you trust has signed the package, pass the public key of that publisher with --accept-key, or run 'packcast keys trust KEY'")
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
        hint: if a publisher whom you trust has signed the package, pass the public key of that publisher with --accept-key, or run 'packcast keys trust KEY'
        TryLater: cannot verify package 1795000000: no signed manifest has the name tool@1: cannot fetch https://cdn.example.net/d/x: expected status 200, found 503
        hint: run the command again in a minute; nothing is lost
        ");
    }
}
