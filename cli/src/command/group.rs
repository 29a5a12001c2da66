//! `packcast group`: manages groups of devices, which are assigned packages together.

mod members;
mod pacing;
mod show;

use clap::Subcommand;
use packcast_protocol::{GroupName, LocationName};
use packcast_publisher::group::{self, GroupDeleted, GroupRenamed, GroupSummary};
use packcast_publisher::{Failure, Target};

use super::key_arg::KeyArg;
use crate::Globals;
use crate::confirm::ConfirmArgs;
use crate::output::{self, Format};
use crate::progress::{Bar, until_interrupted};

/// Manage groups of devices
///
/// All devices of a group get the packages that are assigned to the group, and so do devices that
/// join the group later. Every device is in the group 'all'.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  packcast group create lab
  packcast group add lab --device web01 --device web02
  packcast group add lab --from lab.txt
  packcast group prefer lab --location site-berlin
  packcast group pacing lab --fragment-pause 2s --cycle-pause 5s
  packcast group rename lab laboratory
  packcast assign vlc@3.0.21 --group lab")]
pub(crate) enum Args {
    /// Create a group
    Create {
        /// Name: up to 48 lower-case letters, digits, '.', '_' and '-'
        group: GroupName,
        #[command(flatten)]
        key: KeyArg,
    },
    /// Add devices to a group
    ///
    /// All devices join together. A device gets the packages of the group at its next check-in. A
    /// device that is a member already stays one. If the command is interrupted, run it again.
    #[command(after_help = "\
Examples:
  packcast group add lab --device web01 --device web02
  packcast group add lab --from lab.txt")]
    Add(members::Args),
    /// Remove devices from a group
    ///
    /// All devices leave together. A device loses the assignments that it has only through this
    /// group. If the command is interrupted, run it again.
    #[command(
        visible_alias = "rm",
        after_help = "\
Examples:
  packcast group remove lab --device web01
  packcast group remove lab --from lab.txt"
    )]
    Remove(members::Args),
    /// List the groups with their sizes
    #[command(visible_alias = "ls")]
    List,
    /// Show a group with its packages
    #[command(after_help = "\
Examples:
  packcast group show lab
  packcast group show all --devices")]
    Show(show::Args),
    /// Set the location that a group's devices download from first
    ///
    /// A package that is not active at this location is downloaded from its other locations.
    #[command(after_help = "\
Examples:
  packcast group prefer lab --location site-berlin
  packcast group prefer lab --none")]
    Prefer {
        /// Name of the group
        group: GroupName,
        /// Location to download from first
        #[arg(long, value_name = "NAME", required_unless_present = "none")]
        location: Option<LocationName>,
        /// Prefer no location
        #[arg(long, conflicts_with = "location")]
        none: bool,
        #[command(flatten)]
        confirm: ConfirmArgs,
        #[command(flatten)]
        key: KeyArg,
    },
    /// Set the pacing of a group's OCS agents
    ///
    /// Pacing consists of the pauses of OCS agents, the time between their check-ins, and the order
    /// of announcements. Settings that the group does not have are taken from the target. If a
    /// device is in several groups, the slowest value of each setting applies, so that a device at
    /// a site with a slow line does not overload the line. A device's own pacing replaces the
    /// pacing of its groups. The group 'all' is treated like any other group.
    #[command(after_help = "\
Examples:
  packcast group pacing berlin --fragment-pause 2s --cycle-pause 5s
  packcast group pacing lab --strict
  packcast group pacing lab --reset")]
    Pacing(pacing::Args),
    /// Give a group another name
    ///
    /// Devices stay in the group, and packages, pacing and preferred location stay as they are. No
    /// device deploys a package again because of the new name. If the command is interrupted, run it
    /// again.
    ///
    /// A package that was published with '--only-for-group' names groups in its signed manifest. If
    /// such a package is assigned and only for one of both names, the group is renamed only with
    /// '--force'.
    #[command(after_help = "\
Examples:
  packcast group rename lab laboratory")]
    Rename {
        /// Present name of the group
        group: GroupName,
        /// New name: up to 48 lower-case letters, digits, '.', '_' and '-'
        #[arg(value_name = "NEW-NAME")]
        to: GroupName,
        /// Rename the group although assigned packages are only for one of both names: devices wait
        /// with those of the present name, and begin with those of the new one
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        confirm: ConfirmArgs,
        #[command(flatten)]
        key: KeyArg,
    },
    /// Delete a group that has neither devices nor packages
    #[command(after_help = "\
Examples:
  packcast group delete lab
  packcast group delete lab --force")]
    Delete {
        /// Name of the group
        group: GroupName,
        /// First unassign the group's packages and remove its devices
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        confirm: ConfirmArgs,
        #[command(flatten)]
        key: KeyArg,
    },
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let format = globals.format;
        match self {
            Self::Create { group, key } => create(&target, &group, &key, globals).await,
            Self::Add(args) => args.add(&target, globals).await,
            Self::Remove(args) => args.remove(&target, globals).await,
            Self::List => list(&target, format).await,
            Self::Show(args) => args.run(&target, format).await,
            Self::Prefer {
                group,
                location,
                confirm,
                key,
                ..
            } => {
                let location = location.as_ref();
                let plan = group::plan_preference(&target, &group, location).await?;
                if !confirm.is_agreed(globals, plan.preview())? {
                    return Ok(());
                }
                let (signer, bar) = (key.signer(&target), Bar::new());
                let progress = bar.progress();
                let work = Box::pin(group::prefer(plan, signer, &progress));
                let state = until_interrupted("devices", work, &bar).await?;
                output::for_scripts(format, &state);
                output::note(&preferred(&group, location));
                Ok(())
            }
            Self::Pacing(args) => args.run(&target, globals).await,
            Self::Rename {
                group,
                to,
                force,
                confirm,
                key,
            } => {
                let plan = group::plan_rename(&target, &group, &to, force).await?;
                if !confirm.is_agreed(globals, plan.preview())? {
                    return Ok(());
                }
                let (signer, bar) = (key.signer(&target), Bar::new());
                let progress = bar.progress();
                let work = Box::pin(group::rename(plan, signer, &progress));
                let renamed = until_interrupted("devices", work, &bar).await?;
                output::result(format, &renamed, renamed_text);
                Ok(())
            }
            Self::Delete {
                group,
                force,
                confirm,
                key,
            } => {
                // Without --force, the deletion changes no device, so there is no question.
                if confirm.is_dry_run() || force {
                    let plan = group::plan_deletion(&target, &group, force).await?;
                    if !confirm.is_agreed(globals, plan.preview())? {
                        return Ok(());
                    }
                }
                delete(&target, &group, force, &key, format).await
            }
        }
    }
}

async fn create(
    target: &Target,
    group: &GroupName,
    key: &KeyArg,
    globals: &Globals,
) -> Result<(), Failure> {
    let (signer, bar) = (key.signer(target), Bar::new());
    let progress = bar.progress();
    let work = Box::pin(group::create(target, group, signer, &progress));
    let state = until_interrupted("devices", work, &bar).await?;
    output::for_scripts(globals.format, &state);
    output::note(&created(globals, group));
    Ok(())
}

fn created(globals: &Globals, group: &GroupName) -> String {
    let add = globals.command(&format!("group add {group} --device DEVICE"));
    format!("created group {group}; add devices with '{add}'")
}

fn preferred(group: &GroupName, location: Option<&LocationName>) -> String {
    match location {
        Some(name) => format!(
            "devices of group {group} download from {name} first, if the package is active there"
        ),
        None => format!("devices of group {group} prefer no location"),
    }
}

async fn list(target: &Target, format: Format) -> Result<(), Failure> {
    let groups = group::list(target).await?;
    output::result(format, &groups, |groups| text(groups));
    Ok(())
}

fn text(groups: &[GroupSummary]) -> String {
    output::table(
        ["GROUP", "DEVICES", "PACKAGES", "PREFERRED"],
        groups.iter().map(row),
    )
}

fn row(group: &GroupSummary) -> [String; 4] {
    let preferred = group.preferred.as_ref();
    [
        group.group.to_string(),
        group.devices.to_string(),
        group.packages.to_string(),
        preferred.map_or_else(String::new, ToString::to_string),
    ]
}

fn renamed_text(renamed: &GroupRenamed) -> String {
    output::fields([
        ("renamed", renamed.group.to_string()),
        ("new name", renamed.to.to_string()),
        ("devices", renamed.devices.to_string()),
    ])
}

async fn delete(
    target: &Target,
    group: &GroupName,
    force: bool,
    key: &KeyArg,
    format: Format,
) -> Result<(), Failure> {
    let (signer, bar) = (key.signer(target), Bar::new());
    let progress = bar.progress();
    let work = Box::pin(group::delete(target, group, force, signer, &progress));
    let deleted = until_interrupted("devices", work, &bar).await?;
    output::result(format, &deleted, deleted_text);
    Ok(())
}

fn deleted_text(deleted: &GroupDeleted) -> String {
    output::fields([("deleted", deleted.group.to_string())])
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::fixtures::{globals, plain};
    use crate::output::screen::tests::on_terminals;

    fn lab() -> GroupName {
        "lab".parse().unwrap()
    }

    #[test]
    fn groups_are_listed_with_their_sizes() {
        let lab = GroupSummary {
            group: lab(),
            devices: 12,
            packages: 3,
            preferred: Some("site-berlin".parse().unwrap()),
        };
        let all = GroupSummary {
            group: GroupName::all(),
            devices: 240,
            packages: 0,
            preferred: None,
        };
        let shown = [all, lab];
        assert_snapshot!(on_terminals(|| text(&shown)), @"
        80:
        GROUP  DEVICES  PACKAGES  PREFERRED
        all    240      0
        lab    12       3         site-berlin

        140:
        GROUP  DEVICES  PACKAGES  PREFERRED
        all    240      0
        lab    12       3         site-berlin
        ");
        assert_snapshot!(plain(&text(&shown)), @"
        GROUP  DEVICES  PACKAGES  PREFERRED
        all    240      0
        lab    12       3         site-berlin
        ");
    }

    #[test]
    fn notes_name_the_group() {
        assert_snapshot!(created(&globals(), &lab()), @"created group lab; add devices with 'packcast group add lab --device DEVICE'");
        let berlin = "site-berlin".parse().unwrap();
        assert_snapshot!(preferred(&lab(), Some(&berlin)), @"devices of group lab download from site-berlin first, if the package is active there");
        assert_snapshot!(preferred(&lab(), None), @"devices of group lab prefer no location");
        let deleted = GroupDeleted {
            group: lab(),
            commit: None,
        };
        assert_snapshot!(deleted_text(&deleted), @"deleted  lab");
        let renamed = GroupRenamed {
            group: lab(),
            to: "laboratory".parse().unwrap(),
            devices: 12,
            commit: Some(1_795_000_000),
        };
        assert_snapshot!(renamed_text(&renamed), @"
        renamed   lab
        new name  laboratory
        devices   12
        ");
    }
}
