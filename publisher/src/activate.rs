//! Activation: from then on devices may be told of a package.

use packcast_protocol::{LocationName, PackageRef};
use packcast_rollout::{LocationRecord, PackageRecord};
use packcast_store::records::ActivateError;

use crate::failure::{Failure, kind};
use crate::location::choose;
use crate::package::find_kept;
use crate::probe::{self, ProbeError};
use crate::publish::info::{self, InfoPublishError};
use crate::target::Target;

/// Activates a package at the named locations, in the order in which devices try them; at all
/// locations if none is named.
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
/// Completes `info` at each location and probes the location through its public name; only then
/// the record says that the package is active.
pub async fn activate_package(
    target: &Target,
    package: &PackageRecord,
    names: &[LocationName],
) -> Result<PackageRecord, Failure> {
    let locations = choose(target, names).await?;
    let Some(published) = package.published() else {
        return Err(ActivateError::NotPublished { id: package.id }.into());
    };
    let client = probe::client(target.ca_file.as_deref(), target.route());
    let client = client.map_err(Failure::failed)?;
    for at in &locations {
        info::publish(&target.objects, package, published, at).await?;
        let probed = probe::probe(&client, package, published, at).await;
        probed.map_err(|error| not_served(error, at))?;
    }
    Ok(target.records.activate(package.id, &locations).await?)
}

fn not_served(error: ProbeError, at: &LocationRecord) -> Failure {
    Failure::new(kind(error.is_retryable()), error).hint(format!(
        "location {} ({}) must serve what is published; the package is not active there",
        at.name, at.location
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
