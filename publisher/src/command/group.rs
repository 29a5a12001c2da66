//! `packcast group`: devices that are assigned packages together.

mod members;
mod pace;
mod show;

use clap::Subcommand;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::{GroupName, LocationName, UnixTime};
use packcast_rollout::GroupState;
use packcast_store::records::GroupError;
use serde::Serialize;

use super::activate::choose;
use super::each::AT_ONCE;
use super::signer::{self, KeyArg, Signer};
use crate::Globals;
use crate::clock::now;
use crate::failure::{Failure, Kind};
use crate::output::{self, Format};
use crate::target::Target;

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
  packcast group pace lab --fragment-pause 2s --cycle-pause 5s
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
  packcast group pace thin-line --fragment-pause 2s --cycle-pause 5s
  packcast group pace lab --strict
  packcast group pace lab --reset")]
    Pace(pace::Args),
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
        match self {
            Self::Create { group, key } => {
                let signer = key.unlocked(&target)?;
                create(&target, &group, &signer, globals.format).await
            }
            Self::Add(args) => args.add(&target, globals.format).await,
            Self::Remove(args) => args.remove(&target, globals.format).await,
            Self::List => list(&target, globals).await,
            Self::Show(args) => args.run(&target, globals.format).await,
            Self::Prefer {
                group,
                location,
                key,
                ..
            } => {
                let signer = key.unlocked(&target)?;
                prefer(&target, &group, location.as_ref(), &signer, globals.format).await
            }
            Self::Pace(args) => args.run(&target, globals.format).await,
            Self::Delete { group, force, key } => {
                let signer = force.then(|| key.unlocked(&target)).transpose()?;
                delete(&target, &group, signer.as_ref(), globals.format).await
            }
        }
    }
}

/// Says what to do about a group that could not be changed.
pub(crate) fn failure(error: GroupError) -> Failure {
    match error {
        GroupError::Records(error) => error.into(),
        GroupError::Signing(error) => signer::failure(error),
        GroupError::NoGroup { .. } => {
            Failure::failed(error).hint("'packcast group list' shows what there is")
        }
        GroupError::Exists { .. } => Failure::conflict(error),
        GroupError::NotAssigned { .. } | GroupError::Deleted { .. } | GroupError::Assign(_) => {
            Failure::failed(error)
        }
    }
}

/// Refuses what makes no sense for the group that every device is in.
fn not_all(group: &GroupName) -> Result<(), Failure> {
    if group.is_all() {
        let why = "every device is in the group 'all', which cannot be changed";
        return Err(Failure::usage(why));
    }
    Ok(())
}

async fn known(target: &Target, group: &GroupName) -> Result<GroupState, Failure> {
    let state = target.records.group(group).await?;
    state.ok_or_else(|| {
        let group = group.clone();
        failure(GroupError::NoGroup { group })
    })
}

async fn create(
    target: &Target,
    group: &GroupName,
    signer: &Signer,
    format: Format,
) -> Result<(), Failure> {
    not_all(group)?;
    let state = target
        .records
        .create_group(group, signer.signing())
        .await
        .map_err(failure)?;
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
    signer: &Signer,
    format: Format,
) -> Result<(), Failure> {
    if let Some(name) = location {
        choose(target, std::slice::from_ref(name)).await?;
    }
    let changed = target
        .records
        .prefer(group, location, signer.signing())
        .await
        .map_err(failure)?;
    output::for_scripts(format, &changed.state);
    output::note(&match location {
        Some(name) => format!(
            "devices of group {group} fetch from {name} first, where their packages are active there"
        ),
        None => format!("devices of group {group} prefer no location"),
    });
    Ok(())
}

/// A group in the list.
#[derive(serde::Serialize)]
struct Listed {
    group: GroupName,
    devices: u64,
    packages: usize,
    preferred: Option<LocationName>,
    /// Until when its packages are good, as they were signed.
    expires: Option<UnixTime>,
    #[serde(skip)]
    good_until: String,
}

/// Says until when a group's packages are good; nothing if it has none.
fn good_until(state: &GroupState) -> String {
    if state.assignments.is_empty() {
        return String::new();
    }
    let expires = state.seal.as_ref().map(|seal| seal.expires);
    signer::good_until(&format!("group {}", state.group), expires)
}

async fn list(target: &Target, globals: &Globals) -> Result<(), Failure> {
    let mut groups = target.records.groups().await?;
    if !groups.iter().any(|state| state.group.is_all()) {
        groups.insert(0, GroupState::new(GroupName::all(), 0, now()));
    }
    let groups: Vec<Listed> = stream::iter(groups)
        .map(|state| async move {
            Ok::<_, Failure>(Listed {
                devices: target.records.size(&state.group).await?,
                packages: state.assignments.len(),
                good_until: good_until(&state),
                expires: state.seal.map(|seal| seal.expires),
                group: state.group,
                preferred: state.preferred,
            })
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    output::result(globals.format, &groups, |groups| {
        output::table(
            ["GROUP", "DEVICES", "PACKAGES", "PREFERRED", "GOOD UNTIL"],
            groups.iter().map(|at| {
                [
                    at.group.to_string(),
                    at.devices.to_string(),
                    at.packages.to_string(),
                    at.preferred
                        .as_ref()
                        .map_or_else(String::new, ToString::to_string),
                    at.good_until.clone(),
                ]
            }),
        )
    });
    Ok(())
}

#[derive(Serialize)]
struct Deleted {
    group: GroupName,
}

/// With a signer it takes back and out first.
async fn delete(
    target: &Target,
    group: &GroupName,
    signer: Option<&Signer>,
    format: Format,
) -> Result<(), Failure> {
    not_all(group)?;
    let state = known(target, group).await?;
    if let Some(signer) = signer {
        // Its packages first: from here on nobody is told of anything for this group.
        for assignment in &state.assignments {
            target
                .records
                .unassign_group(group, assignment.package, signer.signing())
                .await
                .map_err(failure)?;
        }
        members::empty(target, group, signer).await?;
    }
    if target.records.delete_group(group).await.map_err(failure)? {
        let deleted = Deleted {
            group: group.clone(),
        };
        output::result(format, &deleted, |deleted| {
            output::fields([("deleted", deleted.group.to_string())])
        });
        return Ok(());
    }
    let state = known(target, group).await?;
    let devices = target.records.size(group).await?;
    Err(Failure::new(
        Kind::Conflict,
        format!(
            "group {group} has {devices} devices and {} packages",
            state.assignments.len()
        ),
    )
    .hint("--force takes its packages back and its devices out first"))
}
