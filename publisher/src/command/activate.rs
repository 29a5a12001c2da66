//! `packcast activate`: from here on devices may be told of a package.

use packcast_protocol::{LocationName, PackageRef};
use packcast_rollout::{LocationRecord, PackageRecord};
use packcast_store::records::ActivateError;

use super::{deactivate, find_kept, show};
use crate::Globals;
use crate::failure::{Failure, kind};
use crate::output::{self, Format};
use crate::probe;
use crate::publish::info;
use crate::target::Target;

/// Let devices be told of a published package
///
/// Fetches manifest, info, first and last fragment through each location's public name first,
/// so that no device is sent where there is nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast activate vlc@3.0.21
  packcast activate vlc@3.0.21 --location site-berlin --location cdn")]
pub(crate) struct Args {
    /// The package: its id, or name@version
    #[arg(value_name = "PKG")]
    package: PackageRef,
    /// Activate at this location only (repeatable, in the order that devices try them)
    #[arg(long, value_name = "NAME")]
    location: Vec<LocationName>,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let package = find_kept(&target, &self.package).await?;
        let locations = choose(&target, &self.location).await?;
        let package = activate(&target, &package, &locations).await?;
        print(globals.format, &package);
        Ok(())
    }
}

pub(crate) fn print(format: Format, package: &PackageRecord) {
    output::result(format, package, show::text);
}

/// Finds the named locations, or all of them if none is named.
pub(crate) async fn choose(
    target: &Target,
    names: &[LocationName],
) -> Result<Vec<LocationRecord>, Failure> {
    let known = target.records.locations().await?;
    if known.is_empty() {
        return Err(
            Failure::failed(format!("target {} has no location", target.name))
                .hint("add one with 'packcast location add NAME HOST/PATH'"),
        );
    }
    if names.is_empty() {
        return Ok(known);
    }
    let pick = |name: &LocationName| {
        known
            .iter()
            .find(|at| at.name == *name)
            .cloned()
            .ok_or_else(|| {
                Failure::usage(format!("there is no location {name}"))
                    .hint("'packcast location list' shows what there is")
            })
    };
    names.iter().map(pick).collect()
}

/// Completes `info` at each location, probes it, and only then makes the package active.
pub(crate) async fn activate(
    target: &Target,
    package: &PackageRecord,
    locations: &[LocationRecord],
) -> Result<PackageRecord, Failure> {
    let Some(published) = package.published() else {
        return Err(Failure::failed(ActivateError::NotPublished {
            id: package.id,
        }));
    };
    let ca_file = target.ca_file.as_deref();
    let client = probe::client(ca_file, target.route()).map_err(Failure::failed)?;
    for at in locations {
        info::publish(&target.objects, package, published, at)
            .await
            .map_err(|error| Failure::new(kind(error.is_retryable()), error))?;
        probe::probe(&client, package, published, at)
            .await
            .map_err(|error| {
                Failure::new(kind(error.is_retryable()), error).hint(format!(
                "location {} ({}) must serve what is published; the package is not active there",
                at.name, at.location
            ))
            })?;
    }
    target
        .records
        .activate(package.id, locations)
        .await
        .map_err(deactivate::failure)
}
