//! `packcast location`: the places that serve a target's objects.

mod check;

use clap::Subcommand;
use packcast_protocol::{Location, LocationName};
use packcast_rollout::LocationRecord;

use crate::Globals;
use crate::failure::Failure;
use crate::output;
use crate::target::Target;

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
                if let Some(was) = target.records.add_location(&added).await? {
                    output::note(&format!(
                        "location {} was {} before; packages that were activated there stay there",
                        was.name, was.location
                    ));
                }
                print(globals, &[added]);
            }
            Self::Remove { name } => match target.records.remove_location(&name).await? {
                Some(removed) => {
                    output::for_scripts(globals.format, &removed);
                    output::note(&format!(
                        "removed location {} ({})",
                        removed.name, removed.location
                    ));
                    name_preferring(&target, &removed.name).await?;
                }
                None => {
                    return Err(Failure::failed(format!("there is no location {name}"))
                        .hint("'packcast location list' shows what there is"));
                }
            },
            Self::List => print(globals, &target.records.locations().await?),
            Self::Check { names } => check::run(globals, &target, &names).await?,
        }
        Ok(())
    }
}

/// Names the groups whose devices go on asking a location first.
async fn name_preferring(target: &Target, name: &LocationName) -> Result<(), Failure> {
    for group in target.records.groups().await? {
        if group.preferred.as_ref() == Some(name) {
            let group = group.group;
            output::note(&format!(
                "warning: group {group} prefers {name}; 'packcast group prefer {group} --none' ends that"
            ));
        }
    }
    Ok(())
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
