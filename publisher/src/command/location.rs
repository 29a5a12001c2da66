//! `packcast location`: the places that serve a target's objects.

use clap::Subcommand;
use packcast_protocol::{Location, LocationName};
use packcast_rollout::LocationRecord;

use crate::Globals;
use crate::failure::Failure;
use crate::output;

/// Name the places that serve published packages: a CDN, a mirror on a site
#[derive(Debug, Subcommand)]
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
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        match self {
            Self::Add { name, location } => {
                let added = LocationRecord { name, location };
                if let Some(was) = target.records.add_location(&added).await? {
                    output::note(&format!(
                        "location {} was {} before; packages that were activated there stay there",
                        was.name, was.location
                    ));
                }
                print(globals, &[added]);
            }
            Self::Remove { name } => match target.records.remove_location(&name).await? {
                Some(removed) => output::note(&format!(
                    "removed location {} ({})",
                    removed.name, removed.location
                )),
                None => {
                    return Err(Failure::failed(format!("there is no location {name}"))
                        .hint("'packcast location list' shows what there is"));
                }
            },
            Self::List => print(globals, &target.records.locations().await?),
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
