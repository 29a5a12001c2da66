//! `packcast group add` and `remove`: devices come and go, each by itself.
//!
//! Each device is one transaction. What was done before an interruption stays done, and the
//! same command goes on from there.

use std::path::PathBuf;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use indicatif::ProgressBar;
use packcast_protocol::{DeviceId, GroupName};
use packcast_store::records::Joined;
use serde::Serialize;

use super::super::recipients::{AT_ONCE, find_devices};
use super::{failure, known, not_all};
use crate::device_list;
use crate::device_name::DeviceName;
use crate::failure::{Failure, Kind};
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
    unknown: Vec<DeviceId>,
    in_too_many: Vec<DeviceId>,
}

impl Outcome {
    fn count(&mut self, device: DeviceId, joined: Joined) {
        match joined {
            Joined::New => self.changed += 1,
            Joined::AlreadyMember => self.unchanged += 1,
            Joined::UnknownDevice => self.unknown.push(device),
            Joined::TooManyGroups => self.in_too_many.push(device),
        }
    }
}

impl Args {
    pub(crate) async fn add(self, target: &Target, format: Format) -> Result<(), Failure> {
        let devices = self.devices(target).await?;
        let bar = output::counting("adding", devices.len() as u64);
        let work = add_all(target, &self.group, &devices, &bar);
        let outcome = until_interrupted(work, &bar).await?;
        bar.finish_and_clear();
        print(format, &outcome, ["ADDED", "IN IT BEFORE"]);
        let refused = outcome.unknown.len() + outcome.in_too_many.len();
        if refused == 0 {
            return Ok(());
        }
        name_some("never checked in", &outcome.unknown);
        name_some("in 50 groups, the most there can be", &outcome.in_too_many);
        Err(Failure::failed(format!(
            "{refused} of {} devices are not in group {}",
            devices.len(),
            self.group
        ))
        .hint("a device is known from its first check-in on; run the command again then"))
    }

    pub(crate) async fn remove(self, target: &Target, format: Format) -> Result<(), Failure> {
        let devices = self.devices(target).await?;
        let bar = output::counting("removing", devices.len() as u64);
        let work = remove_all(target, &self.group, devices, &bar);
        let outcome = until_interrupted(work, &bar).await?;
        bar.finish_and_clear();
        print(format, &outcome, ["REMOVED", "NOT IN IT"]);
        Ok(())
    }

    async fn devices(&self, target: &Target) -> Result<Vec<DeviceId>, Failure> {
        not_all(&self.group)?;
        known(target, &self.group).await?;
        let names = match &self.whom.from {
            Some(path) => device_list::read(path)?,
            None => self.whom.device.clone(),
        };
        let mut devices = find_devices(target, &names).await?;
        devices.sort_unstable();
        devices.dedup();
        Ok(devices)
    }
}

/// Takes every device out of a group.
pub(super) async fn empty(target: &Target, group: &GroupName) -> Result<(), Failure> {
    let devices = target.records.members(group).await?;
    let bar = output::counting("removing", devices.len() as u64);
    until_interrupted(remove_all(target, group, devices, &bar), &bar).await?;
    bar.finish_and_clear();
    Ok(())
}

/// Those that are in the group already cost a hundredth of a read each, and no write.
async fn add_all(
    target: &Target,
    group: &GroupName,
    devices: &[DeviceId],
    bar: &ProgressBar,
) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::default();
    for batch in devices.chunks(BATCH) {
        let known = target.records.memberships(batch).await?;
        let mut joined = stream::iter(batch)
            .map(|device| {
                let memberships = known.iter().find(|(known, _)| known == device);
                let is_member = memberships.map(|(_, groups)| groups.includes(group));
                async move {
                    let joined = match is_member {
                        None => Joined::UnknownDevice,
                        Some(true) => Joined::AlreadyMember,
                        Some(false) => {
                            let joined = target.records.join(device, group).await;
                            joined.map_err(failure)?
                        }
                    };
                    Ok::<_, Failure>((device.clone(), joined))
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

async fn remove_all(
    target: &Target,
    group: &GroupName,
    devices: Vec<DeviceId>,
    bar: &ProgressBar,
) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::default();
    let mut left = stream::iter(devices)
        .map(|device| async move { target.records.leave(&device, group).await })
        .buffer_unordered(AT_ONCE);
    while let Some(was_member) = left.try_next().await? {
        if was_member {
            outcome.changed += 1;
        } else {
            outcome.unchanged += 1;
        }
        bar.inc(1);
    }
    Ok(outcome)
}

/// Stops at Ctrl-C and says how far it has come.
async fn until_interrupted<T>(
    work: impl Future<Output = Result<T, Failure>>,
    bar: &ProgressBar,
) -> Result<T, Failure> {
    tokio::select! {
        done = work => done,
        _ = tokio::signal::ctrl_c() => {
            let (done, of) = (bar.position(), bar.length().unwrap_or_default());
            bar.abandon();
            let why = format!("interrupted after {done} of {of} devices");
            Err(Failure::new(Kind::TryLater, why)
                .hint("what was done stays done: run the same command again to go on"))
        }
    }
}

fn print(format: Format, outcome: &Outcome, [changed, unchanged]: [&str; 2]) {
    output::result(format, outcome, |outcome| {
        output::table(
            [changed, unchanged, "REFUSED"],
            [[
                outcome.changed,
                outcome.unchanged,
                outcome.unknown.len() + outcome.in_too_many.len(),
            ]
            .map(|count| count.to_string())],
        )
    });
}

fn name_some(why: &str, devices: &[DeviceId]) {
    for device in devices.iter().take(NAMED) {
        output::note(&format!("{device}: {why}"));
    }
    if devices.len() > NAMED {
        let more = devices.len() - NAMED;
        output::note(&format!("and {more} more: {why}"));
    }
}
