//! Activates a package: from then on the check-in function announces it to its devices.

use packcast_protocol::{LocationName, PackageRef};
use packcast_rollout::{LocationRecord, PackageRecord};
use packcast_store::records::ActivateError;

use crate::clock::now;
use crate::failure::{Failure, kind};
use crate::location::choose;
use crate::package::{find_kept, named, refuse_expired, warn_of_expiry};
use crate::probe::{self, ProbeError};
use crate::publish::info::{self, InfoPublishError};
use crate::target::Target;

/// Activates a package at the named locations, or at all locations if none is named.
///
/// Devices try the locations in this order.
pub async fn activate(
    target: &Target,
    reference: &PackageRef,
    names: &[LocationName],
) -> Result<PackageRecord, Failure> {
    let package = find_kept(target, reference).await?;
    activate_package(target, &package, names).await
}

/// Activates a package whose record was just read or written, as [`activate`] does.
///
/// The function publishes `info` for each location, and probes the location through its public
/// name. It records the package as active only after all probes have succeeded. It refuses an
/// expired package.
pub async fn activate_package(
    target: &Target,
    package: &PackageRecord,
    names: &[LocationName],
) -> Result<PackageRecord, Failure> {
    refuse_expired(package, now())?;
    warn_of_expiry(target, std::slice::from_ref(package));
    let locations = choose(target, names).await?;
    let Some(published) = package.published() else {
        return Err(ActivateError::NotPublished { id: package.id }.into());
    };
    let client = probe::client(target.ca_file.as_deref(), target.route());
    let client = client.map_err(Failure::failed)?;
    for at in &locations {
        info::publish(&target.objects, package, published, at).await?;
        let probed = probe::probe(&client, package, published, at).await;
        probed.map_err(|error| not_served(error, &named(package), at))?;
    }
    let by = target.changed_by();
    let activated = target.records.activate(package.id, &locations, &by);
    Ok(activated.await?)
}

fn not_served(error: ProbeError, package: &str, at: &LocationRecord) -> Failure {
    Failure::new(kind(error.is_retryable()), error).hint(format!(
        "make location {} ({}) serve the published objects, then run 'packcast activate {}'",
        at.name, at.location, package
    ))
}

impl From<ActivateError> for Failure {
    fn from(error: ActivateError) -> Self {
        match error {
            ActivateError::Records(error) => error.into(),
            error => Self::failed(error),
        }
    }
}

impl From<InfoPublishError> for Failure {
    fn from(error: InfoPublishError) -> Self {
        Self::new(kind(error.is_retryable()), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::{failures, next_steps};

    #[test]
    fn errors_of_an_activation_have_next_steps() {
        let id = "1795000000".parse().unwrap();
        let errors = [
            ActivateError::NoPackage { id },
            ActivateError::NotPublished { id },
            ActivateError::Deleted { id },
        ];
        insta::assert_snapshot!(next_steps(errors), @r"
        NoPackage: Failed
        NotPublished: Failed
        Deleted: Failed
        ");
        let at = LocationRecord {
            name: "cdn".parse().unwrap(),
            location: "cdn.example.net/d".parse().unwrap(),
        };
        let errors = [404, 503].map(|status| ProbeError::Status {
            url: "https://cdn.example.net/d/x".to_owned(),
            status,
        });
        let failed = errors.map(|error| not_served(error, "tool@1", &at));
        insta::assert_snapshot!(failures(failed), @r"
        Failed: cannot fetch https://cdn.example.net/d/x: expected status 200, found 404
        hint: make location cdn (cdn.example.net/d) serve the published objects, then run 'packcast activate tool@1'
        TryLater: cannot fetch https://cdn.example.net/d/x: expected status 200, found 503
        hint: make location cdn (cdn.example.net/d) serve the published objects, then run 'packcast activate tool@1'
        ");
    }
}
