//! Whether a package is what it is called, asked before something is signed that names it.

use packcast_protocol::PackageId;
use packcast_protocol::signature::PublicKey;
use packcast_rollout::PackageRecord;
use packcast_rollout::assignments::VerifiedPackages;

use super::key_lists;
use super::signer::Signer;
use crate::failure::{Failure, Kind};
use crate::package::{named, published};
use crate::probe;
use crate::target::Target;
use crate::verify::{self, Expected, Problem, Source};
use crate::warning::Warning;

/// The keys that packages are accepted from, beside those that agents trust and the publisher's
/// own.
#[derive(Clone, Debug, Default)]
pub struct AlsoAccept(pub Vec<PublicKey>);

/// What is on record has no manifest that says the same and is signed.
#[derive(Debug, thiserror::Error)]
#[error("package {package} is not signed to be {name}, so nothing is signed that names it")]
struct Unsigned {
    package: PackageId,
    name: String,
    source: Problem,
}

impl AlsoAccept {
    /// Holds the record of a package against its manifest, which one of the keys has to have
    /// signed.
    ///
    /// What the records say may have been put there by whoever owns them: nothing is signed on
    /// their word alone.
    pub async fn vouch(
        &self,
        target: &Target,
        package: &PackageRecord,
        signer: &Signer,
    ) -> Result<(), Failure> {
        let keys = self.keys(target, signer).await?;
        manifest_of(target, package, &keys).await
    }

    /// Vouches for all of these packages but those that were deleted.
    pub async fn vouch_for(
        &self,
        target: &Target,
        packages: &[PackageId],
        signer: &Signer,
    ) -> Result<VerifiedPackages, Failure> {
        let keys = self.keys(target, signer).await?;
        let mut vouched = VerifiedPackages::new();
        for package in target.records.packages_of(packages).await? {
            if let Some(published) = package.published() {
                manifest_of(target, &package, &keys).await?;
                vouched.insert(package.id, published.manifest);
            }
        }
        Ok(vouched)
    }

    async fn keys(&self, target: &Target, signer: &Signer) -> Result<Vec<PublicKey>, Failure> {
        let mut keys = key_lists::trusted_with_own(target, signer.keys()).await?;
        for key in &self.0 {
            if !keys.contains(key) {
                target.warnings.push(Warning::new(format!(
                    "agents refuse what {key} has signed, unless their configuration names it: 'packcast keys trust' lets them trust it"
                )));
                keys.push(key.clone());
            }
        }
        Ok(keys)
    }
}

/// Looks for the manifest in the store first, and then at the locations: it may have been
/// published from another target of the same records.
async fn manifest_of(
    target: &Target,
    package: &PackageRecord,
    keys: &[PublicKey],
) -> Result<(), Failure> {
    let expected = Expected {
        package,
        published: published(package)?,
        keys,
    };
    let store = Source::Store {
        objects: target.objects.clone(),
        locations: Vec::new(),
    };
    let stored = verify::signed_manifest(expected, &store).await;
    let Err(mut problem) = stored else {
        return Ok(());
    };
    if matches!(problem, Problem::Missing { .. }) {
        let client = probe::client(target.ca_file.as_deref(), target.route());
        let client = client.map_err(Failure::failed)?;
        for at in package.locations.iter().cloned() {
            let client = client.clone();
            let source = Source::Location { client, at };
            match verify::signed_manifest(expected, &source).await {
                Ok(_) => return Ok(()),
                Err(other) => problem = other,
            }
        }
    }
    Err(refused(package, problem))
}

fn refused(package: &PackageRecord, source: Problem) -> Failure {
    let is_retryable = source.is_retryable();
    let unsigned = Unsigned {
        package: package.id,
        name: named(package),
        source,
    };
    if is_retryable {
        return Failure::new(Kind::TryLater, unsigned)
            .hint("nothing is lost; run the command again in a minute");
    }
    Failure::conflict(unsigned).hint(
        "'packcast verify' tells more; if another publisher whom you trust has signed the package, name his key with --accept-key, and let agents trust it with 'packcast keys trust'",
    )
}
