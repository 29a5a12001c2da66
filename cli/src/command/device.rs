//! `packcast device`: the devices, or one with its packages and results.

pub(super) mod order;
mod pace;

use packcast_protocol::{GroupName, PackageId, UnixTime};
use packcast_publisher::device::{self, DeviceDetails};
use packcast_publisher::device_name::DeviceName;
use packcast_publisher::{Failure, Target};
use packcast_rollout::{DeviceCommand, DeviceRecord, FinishedTask, OpenTask, TaskState};

use super::pace as pace_settings;
use crate::Globals;
use crate::output;

/// List the devices, or show one with its packages and their results
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast device
  packcast device web01
  packcast device ocs:web01-2026-03-04-05-06-07 --format json
  packcast device web01 --drop
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
    #[arg(long, requires = "device", conflicts_with = "drop")]
    restart_download: bool,
    /// Let a stock Unix agent drop what it has not begun to deploy
    ///
    /// What was taken back ends as cancelled; what is still assigned is announced again. Our
    /// agent needs no order: it cancels what was taken back at its next check-in.
    #[arg(long, requires = "device")]
    drop: bool,
    #[command(flatten, next_help_heading = "Pace of a stock agent")]
    pace: pace_settings::Settings,
    /// Take back what the device has of its own, but for what is set with this command
    #[arg(long, requires = "device", help_heading = "Pace of a stock agent")]
    reset_pacing: bool,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let pace = self.pace.change(self.reset_pacing);
        if pace.is_some() && (self.device.is_none() || self.order().is_some()) {
            let why = "a pace is that of one device, and is set by itself";
            return Err(Failure::usage(why));
        }
        let target = globals.open().await?;
        let Some(name) = &self.device else {
            return print_first(globals, &target, self.limit).await;
        };
        if let Some(order) = self.order() {
            return order::give(globals, &target, name, order).await;
        }
        if let Some(change) = pace {
            return pace::change(globals, &target, name, &change).await;
        }
        let details = device::show(&target, name).await?;
        output::warn(&details.warnings);
        output::result(globals.format, &details, text);
        Ok(())
    }

    fn order(&self) -> Option<DeviceCommand> {
        let unstick = self.restart_download.then_some(DeviceCommand::Unstick);
        unstick.or_else(|| self.drop.then_some(DeviceCommand::Cancel))
    }
}

async fn print_first(globals: &Globals, target: &Target, limit: usize) -> Result<(), Failure> {
    let first = device::list(target, limit).await?;
    output::result(globals.format, &first, |first| list(&first.devices));
    let (shown, known) = (first.devices.len(), first.known);
    if known > shown as u64 {
        output::note(&format!(
            "the first {shown} of {known} devices; --limit shows more"
        ));
    }
    Ok(())
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

fn text(details: &DeviceDetails) -> String {
    let device = &details.device;
    let mut text = output::fields([
        ("device", device.device.to_string()),
        ("host", device.host_name.clone()),
        ("system", device.os.clone()),
        ("agent", device.agent.clone()),
        ("first seen", output::time(device.first_seen)),
        ("last seen", last_seen(device.last_seen)),
        ("groups", groups(&details.groups)),
        ("good until", good_until(details)),
        ("ordered", order::pending(&details.orders)),
        ("pace", pace_settings::words(&details.pace)),
        (
            "pace of its groups",
            pace_settings::words(&details.pace_of_groups),
        ),
    ]);
    let name = |id: &PackageId| details.names.get(id).cloned().unwrap_or_default();
    if !details.open.is_empty() {
        text.push('\n');
        text.push_str(&output::table(
            ["OPEN", "PACKAGE", "PRIORITY", "ATTEMPT", "STATE"],
            details.open.iter().map(|task| {
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
    if !details.finished.is_empty() {
        text.push('\n');
        text.push_str(&output::table(
            ["FINISHED", "PACKAGE", "ATTEMPT", "RESULT", "WHEN"],
            details.finished.iter().map(|task| {
                [
                    task.package.to_string(),
                    name(&task.package),
                    task.attempt.to_string(),
                    output::outcome(task),
                    output::time(task.finished_at),
                ]
            }),
        ));
        text.push('\n');
        text.push_str(&tails(&details.finished));
    }
    text
}

/// Writes when a device was last seen.
pub(crate) fn last_seen(at: UnixTime) -> String {
    format!("{} (written at most daily)", output::time(at))
}

/// Writes the end of the signature over what a device has; nothing if it needs none.
fn good_until(details: &DeviceDetails) -> String {
    if details.needs_signature() {
        output::good_until(details.expires)
    } else {
        String::new()
    }
}

fn groups(groups: &[GroupName]) -> String {
    let names: Vec<&str> = groups.iter().map(GroupName::as_str).collect();
    names.join(", ")
}

pub(crate) fn open_state(task: &OpenTask) -> String {
    match task.state {
        TaskState::Pending => "not told; 'packcast explain' says why".to_owned(),
        TaskState::Announced { announced_at } => {
            format!("announced {}", output::time(announced_at))
        }
        TaskState::Withdrawn { announced_at } => {
            format!("withdrawn, was announced {}", output::time(announced_at))
        }
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
