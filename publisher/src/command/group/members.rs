//! `packcast group add` and `remove`: devices come and go, each by itself.
//!
//! Each device is one transaction. What was done before an interruption stays done, and the
//! same command goes on from there.

use std::collections::HashSet;
use std::path::PathBuf;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use indicatif::ProgressBar;
use packcast_protocol::{DeviceId, GroupName};
use packcast_store::records::Joined;
use serde::Serialize;

use super::super::each::{AT_ONCE, until_interrupted};
use super::super::signer::{KeyArg, Signer};
use super::{failure, known, not_all};
use crate::device_list;
use crate::device_name::{DeviceName, Found};
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::target::Target;

/// How many devices are looked up together.
const BATCH: usize = 100;
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

/// What came of it.
#[derive(Debug, Default, Serialize)]
struct Outcome {
    changed: usize,
    /// They were in the group, or out of it, before.
    unchanged: usize,
    /// No such device was ever in contact.
    unknown: Vec<String>,
    /// Several devices have that host name.
    ambiguous: Vec<String>,
    in_too_many: Vec<DeviceId>,
}

impl Outcome {
    fn count(&mut self, device: DeviceId, joined: Joined) {
        match joined {
            Joined::New => self.changed += 1,
            Joined::AlreadyMember => self.unchanged += 1,
            Joined::UnknownDevice => self.unknown.push(device.to_string()),
            Joined::TooManyGroups => self.in_too_many.push(device),
        }
    }

    fn refused(&self) -> usize {
        self.unknown.len() + self.ambiguous.len() + self.in_too_many.len()
    }

    /// Ends with why some devices were refused, if some were.
    fn end(&self, group: &GroupName) -> Result<(), Failure> {
        if self.refused() == 0 {
            return Ok(());
        }
        let in_too_many: Vec<String> = self.in_too_many.iter().map(ToString::to_string).collect();
        let mut failure = Failure::failed(format!(
            "{} devices were passed over for group {group}",
            self.refused()
        ));
        for (names, why, hint) in [
            (
                &self.unknown,
                "never checked in",
                "a device is known from its first check-in on; run the command again then",
            ),
            (
                &self.ambiguous,
                "several devices have this host name",
                "name those that share a host name by their ids",
            ),
            (
                &in_too_many,
                "in 50 groups, the most there can be",
                "take devices out of a group with 'packcast group remove' first",
            ),
        ] {
            if !names.is_empty() {
                name_some(why, names);
                failure = failure.hint(hint);
            }
        }
        Err(failure)
    }
}

impl Args {
    pub(crate) async fn add(self, target: &Target, format: Format) -> Result<(), Failure> {
        let names = self.names(target).await?;
        let bar = output::counting("adding", names.len() as u64);
        let work = add_all(target, &self.group, &names, self.key.signer(target), &bar);
        let outcome = until_interrupted("devices", work, &bar).await?;
        bar.finish_and_clear();
        print(format, &outcome, ["ADDED", "IN IT BEFORE"]);
        outcome.end(&self.group)
    }

    pub(crate) async fn remove(self, target: &Target, format: Format) -> Result<(), Failure> {
        let names = self.names(target).await?;
        let bar = output::counting("removing", names.len() as u64);
        let signer = self.key.signer(target);
        let work = remove_named(target, &self.group, &names, signer, &bar);
        let outcome = until_interrupted("devices", work, &bar).await?;
        bar.finish_and_clear();
        print(format, &outcome, ["REMOVED", "NOT IN IT"]);
        outcome.end(&self.group)
    }

    async fn names(&self, target: &Target) -> Result<Vec<DeviceName>, Failure> {
        not_all(&self.group)?;
        known(target, &self.group).await?;
        let mut names = match &self.whom.from {
            Some(path) => device_list::read(path)?,
            None => self.whom.device.clone(),
        };
        let mut seen = HashSet::with_capacity(names.len());
        names.retain(|name| seen.insert(name.to_string()));
        Ok(names)
    }
}

/// Takes every device out of a group.
pub(super) async fn empty(
    target: &Target,
    group: &GroupName,
    signer: &Signer,
) -> Result<(), Failure> {
    let devices = target.records.members(group).await?;
    let bar = output::counting("removing", devices.len() as u64);
    let mut outcome = Outcome::default();
    let work = remove_all(target, group, devices, signer, &mut outcome, &bar);
    until_interrupted("devices", work, &bar).await?;
    bar.finish_and_clear();
    Ok(())
}

/// Looks a batch of names up, and notes down those that are nobody's, or not one's only.
async fn look_up(
    target: &Target,
    names: &[DeviceName],
    outcome: &mut Outcome,
    bar: &ProgressBar,
) -> Result<Vec<DeviceId>, Failure> {
    let found: Vec<Found> = stream::iter(names)
        .map(|name| name.look_up(target))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let mut devices = Vec::with_capacity(names.len());
    for (name, found) in names.iter().zip(found) {
        match found {
            Found::One(device) => devices.push(device),
            Found::None => outcome.unknown.push(name.to_string()),
            Found::Several(_) => outcome.ambiguous.push(name.to_string()),
        }
    }
    bar.inc((names.len() - devices.len()) as u64);
    Ok(devices)
}

/// Those that are in the group already cost a hundredth of a read each, and no write.
async fn add_all(
    target: &Target,
    group: &GroupName,
    names: &[DeviceName],
    mut signer: Signer,
    bar: &ProgressBar,
) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::default();
    for batch in names.chunks(BATCH) {
        let devices = look_up(target, batch, &mut outcome, bar).await?;
        let known = target.records.memberships(&devices).await?;
        signer.unlock_for(&devices)?;
        let signer = &signer;
        let mut joined = stream::iter(devices)
            .map(|device| {
                let memberships = known.iter().find(|(known, _)| *known == device);
                let is_member = memberships.map(|(_, groups)| groups.includes(group));
                async move {
                    let joined = match is_member {
                        None => Joined::UnknownDevice,
                        Some(true) => Joined::AlreadyMember,
                        Some(false) => {
                            let (records, signing) = (&target.records, signer.signing());
                            let joined = records.join(&device, group, signing).await;
                            joined.map_err(failure)?
                        }
                    };
                    Ok::<_, Failure>((device, joined))
                }
            })
            .buffer_unordered(AT_ONCE);
        while let Some((device, joined)) = joined.try_next().await? {
            outcome.count(device, joined);
            bar.inc(1);
        }
    }
    Ok(outcome)
}

async fn remove_named(
    target: &Target,
    group: &GroupName,
    names: &[DeviceName],
    mut signer: Signer,
    bar: &ProgressBar,
) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::default();
    for batch in names.chunks(BATCH) {
        let devices = look_up(target, batch, &mut outcome, bar).await?;
        signer.unlock_for(&devices)?;
        remove_all(target, group, devices, &signer, &mut outcome, bar).await?;
    }
    Ok(outcome)
}

async fn remove_all(
    target: &Target,
    group: &GroupName,
    devices: Vec<DeviceId>,
    signer: &Signer,
    outcome: &mut Outcome,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    let mut left = stream::iter(devices)
        .map(|device| async move {
            let (records, signing) = (&target.records, signer.signing());
            records.leave(&device, group, signing).await
        })
        .buffer_unordered(AT_ONCE);
    while let Some(was_member) = left.try_next().await? {
        if was_member {
            outcome.changed += 1;
        } else {
            outcome.unchanged += 1;
        }
        bar.inc(1);
    }
    Ok(())
}

fn print(format: Format, outcome: &Outcome, [changed, unchanged]: [&str; 2]) {
    output::result(format, outcome, |outcome| {
        output::table(
            [changed, unchanged, "REFUSED"],
            [[outcome.changed, outcome.unchanged, outcome.refused()]
                .map(|count| count.to_string())],
        )
    });
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
