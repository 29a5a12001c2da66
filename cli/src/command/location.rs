//! `packcast location`: manages the addresses that serve a target's objects.

mod check;

use clap::Subcommand;
use packcast_protocol::{Location, LocationName};
use packcast_publisher::{Failure, location};
use packcast_rollout::LocationRecord;

use super::key_arg::KeyArg;
use crate::Globals;
use crate::confirm::ConfirmArgs;
use crate::output;
use crate::progress::{Bar, until_interrupted};

/// Manage the locations that serve packages
///
/// A location is an address that serves the objects of the target over HTTPS, such as a CDN or a
/// mirror on a site.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  packcast location add cdn d1234.cloudfront.net
  packcast location add site-berlin mirror.example.net:8443/packcast
  packcast location check")]
pub(crate) enum Args {
    /// Add a location, so that packages can be activated there
    ///
    /// If a location has this name already, the address of the location is replaced. Packages that
    /// are already active at the old address stay active there.
    #[command(after_help = "\
Examples:
  packcast location add cdn d1234.cloudfront.net
  packcast location add site-berlin mirror.example.net:8443/packcast")]
    Add {
        /// Name: lower-case letters, digits and '-'
        name: LocationName,
        /// Address: host[:port][/path], without https://
        #[arg(value_name = "ADDRESS")]
        location: Location,
        #[command(flatten)]
        confirm: ConfirmArgs,
        #[command(flatten)]
        key: KeyArg,
    },
    /// Remove a location
    ///
    /// Packages can no longer be activated at the location. Packages that are already active there
    /// stay active there.
    #[command(visible_alias = "rm")]
    Remove {
        /// Name of the location
        name: LocationName,
        #[command(flatten)]
        confirm: ConfirmArgs,
        #[command(flatten)]
        key: KeyArg,
    },
    /// List the locations
    #[command(visible_alias = "ls")]
    List,
    /// Check that locations serve packages as agents need them
    ///
    /// Fetches the manifest, the info, and the first and last fragment of the newest active package
    /// through the public address of each location. Problems that affect only OCS agents are
    /// warnings. The exit code is 1 if a location fails.
    #[command(after_help = "\
Examples:
  packcast location check
  packcast location check site-berlin --format json")]
    Check {
        /// Locations to check; all if none is named
        #[arg(value_name = "NAME")]
        names: Vec<LocationName>,
    },
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        match self {
            Self::Add {
                name,
                location,
                confirm,
                key,
            } => {
                let added = LocationRecord { name, location };
                let plan = location::plan_addition(&target, &added).await?;
                if !confirm.is_agreed(globals, plan.preview())? {
                    return Ok(());
                }
                let (signer, bar) = (key.signer(&target), Bar::new());
                let progress = bar.progress();
                let work = Box::pin(plan.perform(signer, &progress));
                if let Some(was) = until_interrupted("devices", work, &bar).await? {
                    output::note(&replaced(&was));
                }
                print(globals, &[added]);
            }
            Self::Remove { name, confirm, key } => {
                let plan = location::plan_removal(&target, &name).await?;
                if !confirm.is_agreed(globals, plan.preview())? {
                    return Ok(());
                }
                let (signer, bar) = (key.signer(&target), Bar::new());
                let progress = bar.progress();
                let work = Box::pin(plan.perform(signer, &progress));
                let removed = until_interrupted("devices", work, &bar).await?;
                output::for_scripts(globals.format, &removed);
                output::note(&removed_note(&removed));
                output::warn(&location::preferring(&target, &removed.name).await?);
            }
            Self::List => print(globals, &location::list(&target).await?),
            Self::Check { names } => check::run(globals, &target, &names).await?,
        }
        Ok(())
    }
}

fn replaced(old: &LocationRecord) -> String {
    format!(
        "replaced address {} of location {}; packages that are active at this address stay active there",
        old.location, old.name
    )
}

fn removed_note(removed: &LocationRecord) -> String {
    format!("removed location {} ({})", removed.name, removed.location)
}

fn print(globals: &Globals, locations: &[LocationRecord]) {
    output::result(globals.format, &locations, |locations| text(locations));
}

fn text(locations: &[LocationRecord]) -> String {
    output::table(
        ["NAME", "ADDRESS"],
        locations
            .iter()
            .map(|at| [at.name.to_string(), at.location.to_string()]),
    )
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::json;

    use super::*;
    use crate::fixtures::{self, plain};
    use crate::output::screen::tests::on_terminals;

    #[test]
    fn locations_are_listed_with_their_addresses() {
        let berlin: LocationRecord = fixtures::read(json!({
            "name": "site-berlin",
            "location": "mirror.example.net:8443/packcast",
        }));
        assert_snapshot!(replaced(&berlin), @"replaced address mirror.example.net:8443/packcast of location site-berlin; packages that are active at this address stay active there");
        assert_snapshot!(removed_note(&berlin), @"removed location site-berlin (mirror.example.net:8443/packcast)");
        let shown = [berlin];
        assert_snapshot!(on_terminals(|| text(&shown)), @"
        80:
        NAME         ADDRESS
        site-berlin  mirror.example.net:8443/packcast

        140:
        NAME         ADDRESS
        site-berlin  mirror.example.net:8443/packcast
        ");
        assert_snapshot!(plain(&text(&shown)), @"
        NAME         ADDRESS
        site-berlin  mirror.example.net:8443/packcast
        ");
    }
}
