//! `packcast group add` and `remove`: devices come and go, each by itself.

use std::path::PathBuf;

use packcast_protocol::GroupName;
use packcast_publisher::device_name::DeviceName;
use packcast_publisher::group::{self, MembersChanged};
use packcast_publisher::{Failure, Target};

use crate::command::device_list;
use crate::command::key_arg::KeyArg;
use crate::output::{self, Format};
use crate::progress::{Bar, until_interrupted};

/// How many refused devices are named.
const NAMED: usize = 10;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    group: GroupName,
    #[command(flatten)]
    whom: Whom,
    #[command(flatten)]
    key: KeyArg,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Whom {
    /// This device: its id, or its host name (repeatable)
    #[arg(long, value_name = "DEVICE")]
    device: Vec<DeviceName>,
    /// The devices in this file, one in a line; '-' reads standard input
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

impl Args {
    pub(crate) async fn add(self, target: &Target, format: Format) -> Result<(), Failure> {
        let names = self.whom.names()?;
        let (signer, bar) = (self.key.signer(target), Bar::new());
        let progress = bar.progress();
        let work = group::add(target, &self.group, &names, signer, &progress);
        let changed = until_interrupted("devices", work, &bar).await?;
        print(format, &changed, ["ADDED", "IN IT BEFORE"]);
        changed.complete(&self.group)
    }

    pub(crate) async fn remove(self, target: &Target, format: Format) -> Result<(), Failure> {
        let names = self.whom.names()?;
        let (signer, bar) = (self.key.signer(target), Bar::new());
        let progress = bar.progress();
        let work = group::remove(target, &self.group, &names, signer, &progress);
        let changed = until_interrupted("devices", work, &bar).await?;
        print(format, &changed, ["REMOVED", "NOT IN IT"]);
        changed.complete(&self.group)
    }
}

impl Whom {
    fn names(self) -> Result<Vec<DeviceName>, Failure> {
        match &self.from {
            Some(path) => device_list::read(path),
            None => Ok(self.device),
        }
    }
}

/// Prints the counts, and names some of the refused devices.
fn print(format: Format, changed: &MembersChanged, [done, unchanged]: [&str; 2]) {
    output::result(format, changed, |changed| {
        output::table(
            [done, unchanged, "REFUSED"],
            [[changed.changed, changed.unchanged, changed.refused()]
                .map(|count| count.to_string())],
        )
    });
    let in_too_many: Vec<String> = changed
        .in_too_many
        .iter()
        .map(ToString::to_string)
        .collect();
    name_some("never checked in", &changed.unknown);
    name_some("several devices have this host name", &changed.ambiguous);
    name_some("in 50 groups, the most there can be", &in_too_many);
}

fn name_some(why: &str, names: &[String]) {
    for name in names.iter().take(NAMED) {
        output::note(&format!("{}: {why}", output::printable(name)));
    }
    if names.len() > NAMED {
        let more = names.len() - NAMED;
        output::note(&format!("and {more} more: {why}"));
    }
}
