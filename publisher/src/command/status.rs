//! `packcast status`: how far packages have come on their devices.

mod devices;

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::{GroupName, PackageId, PackageRef};
use packcast_rollout::PackageRecord;
use packcast_store::records::Tally;
use serde::Serialize;

use super::each::AT_ONCE;
use super::{NEWEST, find, named, newest, state};
use crate::Globals;
use crate::failure::Failure;
use crate::output;
use crate::target::Target;

/// Show how many devices wait for, work on, have or failed with a package
///
/// The cost of each package is the same, whatever the number of its devices. A device of a group
/// is counted from its first check-in after the assignment on.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast status
  packcast status vlc@3.0.21 --devices")]
pub(crate) struct Args {
    /// The package: its id, or name@version; the newest packages if absent
    #[arg(value_name = "PKG")]
    package: Option<PackageRef>,
    /// Show at most this many packages, the newest
    #[arg(long, default_value_t = NEWEST, value_name = "COUNT", conflicts_with = "package")]
    limit: usize,
    /// List the package's devices, each with its state; the last seconds may be missing
    ///
    /// Devices of its groups that have not checked in since are among them.
    #[arg(long, requires = "package")]
    devices: bool,
}

#[derive(Serialize)]
struct Progress {
    package: PackageId,
    name: String,
    state: &'static str,
    assigned: u64,
    waiting: u64,
    announced: u64,
    withdrawn: u64,
    succeeded: u64,
    failed: u64,
    cancelled: u64,
    groups: Vec<GroupSize>,
}

/// A group that has a package.
#[derive(Serialize)]
struct GroupSize {
    group: GroupName,
    devices: u64,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let packages = match &self.package {
            Some(reference) => vec![find(&target, reference).await?],
            None => newest(&target, self.limit).await?,
        };
        match packages.as_slice() {
            [package] if self.devices => devices::list(globals, &target, package).await,
            packages => {
                let progress = read(&target, packages).await?;
                output::result(globals.format, &progress, |progress| text(progress));
                Ok(())
            }
        }
    }
}

async fn read(target: &Target, packages: &[PackageRecord]) -> Result<Vec<Progress>, Failure> {
    let counted: Vec<(Tally, Vec<GroupName>)> = stream::iter(packages)
        .map(|package| async {
            let tally = target.records.tally(package.id).await?;
            let groups = target.records.groups_with(package.id).await?;
            Ok::<_, Failure>((tally, groups))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let sizes = sizes(target, &counted).await?;
    let progress = packages
        .iter()
        .zip(counted)
        .map(|(package, (tally, groups))| progress(package, &tally, groups, &sizes));
    Ok(progress.collect())
}

/// Returns the size of each group that has one of the packages.
async fn sizes(
    target: &Target,
    counted: &[(Tally, Vec<GroupName>)],
) -> Result<BTreeMap<GroupName, u64>, Failure> {
    let groups: BTreeSet<&GroupName> = counted.iter().flat_map(|(_, groups)| groups).collect();
    stream::iter(groups)
        .map(|group| async { Ok((group.clone(), target.records.size(group).await?)) })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

fn progress(
    package: &PackageRecord,
    tally: &Tally,
    groups: Vec<GroupName>,
    sizes: &BTreeMap<GroupName, u64>,
) -> Progress {
    let groups = groups.into_iter().map(|group| GroupSize {
        devices: sizes.get(&group).copied().unwrap_or_default(),
        group,
    });
    Progress {
        package: package.id,
        name: named(package),
        state: state(package),
        assigned: tally.assigned,
        waiting: tally.waiting(),
        announced: tally.announced,
        withdrawn: tally.withdrawn,
        succeeded: tally.succeeded,
        failed: tally.failed,
        cancelled: tally.cancelled,
        groups: groups.collect(),
    }
}

fn text(progress: &[Progress]) -> String {
    let table = output::table(
        [
            "ID",
            "PACKAGE",
            "STATE",
            "ASSIGNED",
            "WAITING",
            "ANNOUNCED",
            "WITHDRAWN",
            "SUCCEEDED",
            "FAILED",
            "CANCELLED",
        ],
        progress.iter().map(|p| {
            [
                p.package.to_string(),
                p.name.clone(),
                p.state.to_owned(),
                p.assigned.to_string(),
                p.waiting.to_string(),
                p.announced.to_string(),
                p.withdrawn.to_string(),
                p.succeeded.to_string(),
                p.failed.to_string(),
                p.cancelled.to_string(),
            ]
        }),
    );
    let groups: String = progress.iter().filter_map(groups).collect();
    if groups.is_empty() {
        return table;
    }
    format!(
        "{table}\n\n{groups}A device of a group is counted from its first check-in after the assignment on."
    )
}

/// Says which groups have a package, in a line of its own.
fn groups(progress: &Progress) -> Option<String> {
    let groups: Vec<String> = progress
        .groups
        .iter()
        .map(|at| {
            let devices = if at.devices == 1 { "device" } else { "devices" };
            format!("{} ({} {devices})", at.group, at.devices)
        })
        .collect();
    (!groups.is_empty())
        .then(|| format!("{} is assigned to {}.\n", progress.name, groups.join(", ")))
}
