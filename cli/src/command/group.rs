//! `packcast group`: devices that are assigned packages together.

mod members;
mod pace;
mod show;

use clap::Subcommand;
use packcast_protocol::{GroupName, LocationName};
use packcast_publisher::group::{self, GroupSummary};
use packcast_publisher::{Failure, Target};

use super::key_arg::KeyArg;
use crate::Globals;
use crate::output::{self, Format};
use crate::progress::{Bar, until_interrupted};

/// Manage groups of devices
///
/// A package that is assigned to a group is for all its devices, those that join later
/// included. Every device is in the group 'all'.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  packcast group create lab
  packcast group add lab --device web01 --device web02
  packcast group add lab --from lab.txt
  packcast group prefer lab --location site-berlin
  packcast group pacing lab --fragment-pause 2s --cycle-pause 5s
  packcast assign vlc@3.0.21 --group lab")]
pub(crate) enum Args {
    /// Create a group
    Create {
        group: GroupName,
        #[command(flatten)]
        key: KeyArg,
    },
    /// Put devices into a group; each gets what the group has at its next check-in
    Add(members::Args),
    /// Take devices out of a group; each loses what only the group had for it
    Remove(members::Args),
    /// List the groups, with their sizes
    List,
    /// Show a group: its packages, and on request its devices
    Show(show::Args),
    /// Set the location that a group's devices fetch from first
    Prefer {
        group: GroupName,
        /// The location, which need not be among those of every package
        #[arg(long, value_name = "NAME", required_unless_present = "none")]
        location: Option<LocationName>,
        /// Prefer none any more
        #[arg(long, conflicts_with = "location")]
        none: bool,
        #[command(flatten)]
        key: KeyArg,
    },
    /// Set how fast a group's devices with stock agents work
    ///
    /// What is not set stays the target's. Of several groups of a device the slowest wins,
    /// setting by setting, so that a group on a thin line stays slow; what a device has of its
    /// own wins over its groups. The group 'all' counts as any other.
    #[command(after_help = "\
Examples:
  packcast group pacing thin-line --fragment-pause 2s --cycle-pause 5s
  packcast group pacing lab --strict
  packcast group pacing lab --reset")]
    Pacing(pace::Args),
    /// Delete a group that has neither devices nor packages
    Delete {
        group: GroupName,
        /// Take its packages back and its devices out first
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        key: KeyArg,
    },
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let format = globals.format;
        match self {
            Self::Create { group, key } => create(&target, &group, &key, format).await,
            Self::Add(args) => args.add(&target, format).await,
            Self::Remove(args) => args.remove(&target, format).await,
            Self::List => list(&target, format).await,
            Self::Show(args) => args.run(&target, format).await,
            Self::Prefer {
                group,
                location,
                key,
                ..
            } => prefer(&target, &group, location.as_ref(), &key, format).await,
            Self::Pacing(args) => args.run(&target, format).await,
            Self::Delete { group, force, key } => {
                let key = force.then_some(key);
                delete(&target, &group, key.as_ref(), format).await
            }
        }
    }
}

async fn create(
    target: &Target,
    group: &GroupName,
    key: &KeyArg,
    format: Format,
) -> Result<(), Failure> {
    let signer = key.unlocked(target)?;
    let state = group::create(target, group, &signer).await?;
    output::for_scripts(format, &state);
    output::note(&format!(
        "group {group} is there; put devices into it with 'packcast group add {group}'"
    ));
    Ok(())
}

async fn prefer(
    target: &Target,
    group: &GroupName,
    location: Option<&LocationName>,
    key: &KeyArg,
    format: Format,
) -> Result<(), Failure> {
    let signer = key.unlocked(target)?;
    let state = group::prefer(target, group, location, &signer).await?;
    output::for_scripts(format, &state);
    output::note(&match location {
        Some(name) => format!(
            "devices of group {group} fetch from {name} first, where their packages are active there"
        ),
        None => format!("devices of group {group} prefer no location"),
    });
    Ok(())
}

async fn list(target: &Target, format: Format) -> Result<(), Failure> {
    let groups = group::list(target).await?;
    output::warn(&groups.warnings);
    output::result(format, &groups, |groups| {
        output::table(
            ["GROUP", "DEVICES", "PACKAGES", "PREFERRED", "GOOD UNTIL"],
            groups.groups.iter().map(row),
        )
    });
    Ok(())
}

fn row(group: &GroupSummary) -> [String; 5] {
    let preferred = group.preferred.as_ref();
    [
        group.group.to_string(),
        group.devices.to_string(),
        group.packages.to_string(),
        preferred.map_or_else(String::new, ToString::to_string),
        if group.packages == 0 {
            String::new()
        } else {
            output::good_until(group.expires)
        },
    ]
}

/// With a key, the group is emptied first.
async fn delete(
    target: &Target,
    group: &GroupName,
    key: Option<&KeyArg>,
    format: Format,
) -> Result<(), Failure> {
    let signer = key.map(|key| key.unlocked(target)).transpose()?;
    let bar = Bar::new();
    let progress = bar.progress();
    let work = Box::pin(group::delete(target, group, signer.as_ref(), &progress));
    let deleted = until_interrupted("devices", work, &bar).await?;
    output::result(format, &deleted, |deleted| {
        output::fields([("deleted", deleted.group.to_string())])
    });
    Ok(())
}
