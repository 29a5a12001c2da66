//! `packcast location`: the places that serve a target's objects.

mod check;

use clap::Subcommand;
use packcast_protocol::{Location, LocationName};
use packcast_publisher::{Failure, location};
use packcast_rollout::LocationRecord;

use crate::Globals;
use crate::output;

/// Name the places that serve published packages: a CDN, a mirror on a site
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  packcast location add cdn d1234.cloudfront.net
  packcast location add site-berlin mirror.example.net:8443/packcast
  packcast location check")]
pub(crate) enum Args {
    /// Add a location; packages can be activated there from now on
    Add {
        /// What to call it: lower-case letters, digits and '-'
        name: LocationName,
        /// host[:port][/path], without https://, which is always used
        location: Location,
    },
    /// Remove a location; packages that were activated there stay there
    Remove { name: LocationName },
    /// List the locations
    List,
    /// Probe locations as agents would use them
    ///
    /// Fetches manifest, info, first and last fragment of the newest package that is active
    /// there, through the location's public name. Ends with 1 if a location fails. Warns of
    /// what only stock agents mind.
    #[command(after_help = "\
Examples:
  packcast location check
  packcast location check site-berlin --format json")]
    Check {
        /// The locations to probe; all if none is named
        #[arg(value_name = "NAME")]
        names: Vec<LocationName>,
    },
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        match self {
            Self::Add { name, location } => {
                let added = LocationRecord { name, location };
                if let Some(was) = location::add(&target, &added).await? {
                    output::note(&format!(
                        "location {} was {} before; packages that were activated there stay there",
                        was.name, was.location
                    ));
                }
                print(globals, &[added]);
            }
            Self::Remove { name } => {
                let removed = location::remove(&target, &name).await?;
                output::for_scripts(globals.format, &removed);
                output::note(&format!(
                    "removed location {} ({})",
                    removed.name, removed.location
                ));
                output::warn(&location::preferring(&target, &removed.name).await?);
            }
            Self::List => print(globals, &location::list(&target).await?),
            Self::Check { names } => check::run(globals, &target, &names).await?,
        }
        Ok(())
    }
}

fn print(globals: &Globals, locations: &[LocationRecord]) {
    output::result(globals.format, &locations, |locations| {
        output::table(
            ["NAME", "LOCATION"],
            locations
                .iter()
                .map(|at| [at.name.to_string(), at.location.to_string()]),
        )
    });
}
