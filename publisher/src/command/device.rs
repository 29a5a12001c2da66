//! `packcast device`: the devices, or one with its packages and results.

pub(super) mod order;
mod pace;

use std::collections::BTreeMap;

use packcast_protocol::assignments::{Assignments, SignedAssignments};
use packcast_protocol::{DeviceId, GroupName, PackageId, UnixTime};
use packcast_rollout::{
    DeviceRecord, FinishedTask, OpenTask, OrderKind, Orders, PaceOverride, PackageRecord, TaskState,
};
use serde::Serialize;

use super::{named, pace as settings, signer};
use crate::Globals;
use crate::device_name::DeviceName;
use crate::failure::Failure;
use crate::output;
use crate::target::Target;

/// List the devices, or show one with its packages and their results
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast device
  packcast device web01
  packcast device ocs:web01-2026-03-04-05-06-07 --format json
  packcast device web01 --cancel
  packcast device web01 --fragment-pause 2s --cycle-pause 5s")]
pub(crate) struct Args {
    /// The device: its id (key:<agent id> or ocs:<DEVICEID>), or its host name if no other has
    /// it; all devices if absent
    device: Option<DeviceName>,
    /// List at most this many devices, the first by their ids
    #[arg(
        long,
        default_value_t = 100,
        value_name = "COUNT",
        conflicts_with = "device"
    )]
    limit: usize,
    /// Let a stock Unix agent kill its download process, and resume at the contact after
    ///
    /// For an agent that a command holds up, or that no longer downloads. A command that is
    /// running then goes on by itself, and is run again.
    #[arg(long, requires = "device", conflicts_with = "cancel")]
    unstick: bool,
    /// Let a stock Unix agent drop what it has not begun to deploy
    ///
    /// What was taken back ends as cancelled; what is still assigned is announced again. Our
    /// agent needs no order: it cancels what was taken back at its next check-in.
    #[arg(long, requires = "device")]
    cancel: bool,
    #[command(flatten, next_help_heading = "Pace of a stock agent")]
    pace: settings::Settings,
    /// Take back what the device has of its own, but for what is set with this command
    #[arg(long, requires = "device", help_heading = "Pace of a stock agent")]
    reset_pace: bool,
}

#[derive(Serialize)]
struct Shown {
    device: DeviceRecord,
    groups: Vec<GroupName>,
    orders: Orders,
    /// What the device has of its own, which wins.
    pace: PaceOverride,
    /// The slowest of what its groups have.
    pace_of_groups: PaceOverride,
    /// Until when its own packages and its groups are good, as they were signed.
    expires: Option<UnixTime>,
    open: Vec<OpenTask>,
    finished: Vec<FinishedTask>,
    /// What the packages are called, those that were deleted included.
    names: BTreeMap<PackageId, String>,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let pace = self.pace.change(self.reset_pace);
        if pace.is_some() && (self.device.is_none() || self.order().is_some()) {
            let why = "a pace is that of one device, and is set by itself";
            return Err(Failure::usage(why));
        }
        let target = globals.open().await?;
        let Some(name) = &self.device else {
            return print_first(globals, &target, self.limit).await;
        };
        let id = name.find(&target).await?;
        let shown = read(&target, &id).await?;
        if let Some(order) = self.order() {
            return order::give(globals, &target, &shown.device, order).await;
        }
        if let Some(change) = pace {
            return pace::change(globals, &target, &id, &change).await;
        }
        output::result(globals.format, &shown, text);
        Ok(())
    }

    fn order(&self) -> Option<OrderKind> {
        let unstick = self.unstick.then_some(OrderKind::Unstick);
        unstick.or_else(|| self.cancel.then_some(OrderKind::Cancel))
    }
}

async fn print_first(globals: &Globals, target: &Target, limit: usize) -> Result<(), Failure> {
    let devices = target.records.devices(limit).await?;
    output::result(globals.format, &devices, |devices| list(devices));
    let known = target.records.size(&GroupName::all()).await?;
    if known > devices.len() as u64 {
        let shown = devices.len();
        output::note(&format!(
            "the first {shown} of {known} devices; --limit shows more"
        ));
    }
    Ok(())
}

async fn read(target: &Target, id: &DeviceId) -> Result<Shown, Failure> {
    let standing = target.records.standing(id).await?;
    let device = standing.device.ok_or_else(|| {
        Failure::failed(format!("device {id} is not known"))
            .hint("a device is known from its first check-in on; 'packcast device' lists them")
    })?;
    let finished = target.records.finished_tasks(id).await?;
    let own = target.records.own_assignments(id).await?;
    let groups: Vec<GroupName> = standing.memberships.groups().collect();
    let states = target.records.group_states(&groups).await?;
    let ids: Vec<PackageId> = standing
        .tasks
        .iter()
        .map(|task| task.package)
        .chain(finished.iter().map(|task| task.package))
        .collect();
    let packages = target.records.packages_of(&ids).await?;
    let names = packages
        .into_iter()
        .map(|package| (package.id, lasting_name(&package)))
        .collect();
    Ok(Shown {
        device,
        groups: standing.memberships.joined().cloned().collect(),
        orders: standing.orders,
        pace: standing.pace,
        pace_of_groups: PaceOverride::slowest(states.iter().map(|state| &state.pace)),
        expires: own.as_ref().and_then(expires),
        open: standing.tasks,
        finished,
        names,
    })
}

/// Reads until when assignments are good, whoever has signed them.
fn expires(signed: &SignedAssignments) -> Option<UnixTime> {
    let assignments: Option<Assignments> = serde_json::from_str(signed.document()).ok();
    assignments.map(|assignments| assignments.expires())
}

/// Says until when what a device has of its own is good; nothing if it has nothing.
fn good_until(shown: &Shown) -> String {
    let has_some = !shown.groups.is_empty() || shown.open.iter().any(|task| task.direct);
    match &shown.device.device {
        DeviceId::Agent(_) if has_some => signer::good_until("the device", shown.expires),
        DeviceId::Agent(_) | DeviceId::Ocs(_) => String::new(),
    }
}

/// Names a package, also one that is gone: its results stay.
fn lasting_name(package: &PackageRecord) -> String {
    if package.is_deleted() {
        format!("{} (deleted)", named(package))
    } else {
        named(package)
    }
}

fn list(devices: &[DeviceRecord]) -> String {
    output::table(
        ["DEVICE", "HOST", "SYSTEM", "AGENT", "LAST SEEN"],
        devices.iter().map(|device| {
            [
                device.device.to_string(),
                device.host_name.clone(),
                device.os.clone(),
                device.agent.clone(),
                output::time(device.last_seen),
            ]
        }),
    )
}

fn text(shown: &Shown) -> String {
    let device = &shown.device;
    let mut text = output::fields([
        ("device", device.device.to_string()),
        ("host", device.host_name.clone()),
        ("system", device.os.clone()),
        ("agent", device.agent.clone()),
        ("first seen", output::time(device.first_seen)),
        (
            "last seen",
            format!("{} (written at most daily)", output::time(device.last_seen)),
        ),
        ("groups", groups(&shown.groups)),
        ("good until", good_until(shown)),
        ("ordered", order::pending(&shown.orders)),
        ("pace", settings::words(&shown.pace)),
        ("pace of its groups", settings::words(&shown.pace_of_groups)),
    ]);
    let name = |id: &PackageId| shown.names.get(id).cloned().unwrap_or_default();
    if !shown.open.is_empty() {
        text.push('\n');
        text.push_str(&output::table(
            ["OPEN", "PACKAGE", "PRIORITY", "ATTEMPT", "STATE"],
            shown.open.iter().map(|task| {
                [
                    task.package.to_string(),
                    name(&task.package),
                    task.priority.to_string(),
                    task.attempt.to_string(),
                    open_state(task),
                ]
            }),
        ));
        text.push('\n');
    }
    if !shown.finished.is_empty() {
        text.push('\n');
        text.push_str(&output::table(
            ["FINISHED", "PACKAGE", "ATTEMPT", "RESULT", "WHEN"],
            shown.finished.iter().map(|task| {
                [
                    task.package.to_string(),
                    name(&task.package),
                    task.attempt.to_string(),
                    result(task),
                    output::time(task.finished_at),
                ]
            }),
        ));
        text.push('\n');
        text.push_str(&tails(&shown.finished));
    }
    text
}

fn groups(groups: &[GroupName]) -> String {
    let names: Vec<&str> = groups.iter().map(GroupName::as_str).collect();
    names.join(", ")
}

pub(crate) fn open_state(task: &OpenTask) -> String {
    match task.state {
        TaskState::Held => "not told; 'packcast explain' says why".to_owned(),
        TaskState::Announced { announced_at } => {
            format!("announced {}", output::time(announced_at))
        }
        TaskState::Withdrawn { announced_at } => {
            format!("withdrawn, was announced {}", output::time(announced_at))
        }
    }
}

/// Says what happened: a program that ran and failed is not a success, whatever its agent calls it.
pub(crate) fn result(task: &FinishedTask) -> String {
    let outcome = match task.outcome {
        packcast_protocol::Outcome::Succeeded => "succeeded",
        packcast_protocol::Outcome::Failed => "failed",
        packcast_protocol::Outcome::Cancelled => "cancelled",
    };
    let code = &task.code;
    match (code.meaning(), &task.detail) {
        (Some(meaning), _) if code.exit_code().is_some() => format!("{outcome}: {meaning}"),
        (_, Some(detail)) => format!("{outcome}: {code} ({detail})"),
        (Some(meaning), None) => format!("{outcome}: {code}, {meaning}"),
        (None, None) => format!("{outcome}: {code}"),
    }
}

fn tails(finished: &[FinishedTask]) -> String {
    finished
        .iter()
        .filter_map(|task| task.output_tail.as_ref().map(|tail| (task.package, tail)))
        .filter(|(_, tail)| !tail.trim().is_empty())
        .map(|(package, tail)| {
            let lines: String = tail
                .trim_end()
                .lines()
                .map(|line| format!("  {}\n", output::printable(line)))
                .collect();
            format!("\nend of the output of {package}:\n{lines}")
        })
        .collect()
}
