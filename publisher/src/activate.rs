//! Activates a package: from then on the check-in function announces it to its devices.

use packcast_protocol::{LocationName, PackageId, PackageRef};
use packcast_rollout::record::Published;
use packcast_rollout::{LocationRecord, PackageRecord};
use packcast_store::records::ActivateError;

use crate::clock::now;
use crate::failure::{Failure, kind};
use crate::location::choose;
use crate::package::{find_kept, named, refuse_expired, warn_of_expiry};
use crate::preview::Preview;
use crate::probe::{self, ProbeError};
use crate::publish::info::{self, InfoPublishError};
use crate::target::Target;

/// An activation whose package and locations were found. Nothing is changed yet.
#[derive(Debug)]
pub struct ActivatePlan<'a> {
    target: &'a Target,
    package: PackageRecord,
    published: Published,
    locations: Vec<LocationRecord>,
}

/// Plans to activate a package at the named locations, or at all locations if none is named.
///
/// Devices try the locations in this order. Nothing is changed yet.
///
/// # Errors
/// The package has expired, or is not published.
pub async fn plan<'a>(
    target: &'a Target,
    reference: &PackageRef,
    names: &[LocationName],
) -> Result<ActivatePlan<'a>, Failure> {
    let package = find_kept(target, reference).await?;
    plan_of(target, package, names).await
}

/// Activates a package whose record was just read or written, at the named locations, or at all
/// locations if none is named.
pub async fn activate_package(
    target: &Target,
    package: &PackageRecord,
    names: &[LocationName],
) -> Result<PackageRecord, Failure> {
    let plan = plan_of(target, package.clone(), names).await?;
    plan.perform().await
}

async fn plan_of<'a>(
    target: &'a Target,
    package: PackageRecord,
    names: &[LocationName],
) -> Result<ActivatePlan<'a>, Failure> {
    refuse_expired(&package, now())?;
    warn_of_expiry(target, std::slice::from_ref(&package));
    let locations = choose(target, names).await?;
    let Some(published) = package.published().cloned() else {
        return Err(ActivateError::NotPublished { id: package.id }.into());
    };
    Ok(ActivatePlan {
        target,
        package,
        published,
        locations,
    })
}

impl ActivatePlan<'_> {
    /// Returns the id of the package.
    pub const fn package(&self) -> PackageId {
        self.package.id
    }

    /// Returns the locations, with their addresses.
    pub fn locations(&self) -> &[LocationRecord] {
        &self.locations
    }

    /// Returns the effect of the activation: the devices that are to get the package.
    pub async fn preview(&self) -> Result<Preview, Failure> {
        let names: Vec<String> = self
            .locations
            .iter()
            .map(|at| at.name.to_string())
            .collect();
        let effect = format!("Activates {} at {}", named(&self.package), names.join(", "));
        Preview::of_package(self.target, &self.package, effect).await
    }

    /// Activates the package.
    ///
    /// The function publishes `info` for each location, and probes the location through its public
    /// name. It records the package as active only after all probes have succeeded.
    pub async fn perform(self) -> Result<PackageRecord, Failure> {
        let (target, package) = (self.target, &self.package);
        let client = probe::client(target.ca_file.as_deref(), target.route());
        let client = client.map_err(Failure::failed)?;
        for at in &self.locations {
            info::publish(&target.objects, package, &self.published, at).await?;
            let probed = probe::probe(&client, package, &self.published, at).await;
            probed.map_err(|error| not_served(error, &named(package), at))?;
        }
        let by = target.changed_by();
        let activated = target.records.activate(package.id, &self.locations, &by);
        Ok(activated.await?)
    }
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
