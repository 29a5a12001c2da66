//! `packcast device`: lists devices, shows one, sends it a command, or sets its pacing.

pub(super) mod commands;
mod pacing;

use packcast_protocol::{GroupName, PackageId, UnixTime};
use packcast_publisher::device::{self, DeviceDetails};
use packcast_publisher::device_name::DeviceName;
use packcast_publisher::{Failure, Target};
use packcast_rollout::{DeviceCommand, DeviceRecord, FinishedTask, OpenTask, TaskState};

use super::pacing as settings;
use crate::Globals;
use crate::output;

/// List devices, or show a device with its packages and results
///
/// With --drop or --restart-download, sends a command to an OCS Unix agent. With a pacing option,
/// sets the pacing of the device.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast device
  packcast device web01
  packcast device ocs:web01-2026-03-04-05-06-07 --format json
  packcast device web01 --drop
  packcast device web01 --fragment-pause 2s --cycle-pause 5s")]
pub(crate) struct Args {
    /// Device id (key:<agent id> or ocs:<DEVICEID>), or a host name that no other device has
    device: Option<DeviceName>,
    /// List at most this many devices, in the order of their ids
    #[arg(
        long,
        default_value_t = 100,
        value_name = "COUNT",
        conflicts_with = "device"
    )]
    limit: usize,
    /// Restart the downloads of an OCS Unix agent
    ///
    /// Helps if the agent has stopped downloading, or waits for a command that does not end. At its
    /// next check-in the agent kills its download process, and at the check-in after that the agent
    /// resumes. A command that is already running keeps running, and the agent runs it again later.
    #[arg(long, requires = "device", conflicts_with = "drop")]
    restart_download: bool,
    /// Make an OCS Unix agent drop the packages that it has not begun to deploy
    ///
    /// Dropped packages that are no longer assigned are recorded as cancelled. Packages that are
    /// still assigned are announced again. A Packcast agent needs no command: the agent cancels
    /// unassigned packages at its next check-in.
    #[arg(long, requires = "device")]
    drop: bool,
    #[command(flatten, next_help_heading = "Pacing of an OCS agent")]
    pacing: settings::Settings,
    /// Remove the device's other pacing settings
    #[arg(long, requires = "device", help_heading = "Pacing of an OCS agent")]
    reset_pacing: bool,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let pacing = self.pacing.change(self.reset_pacing);
        // clap has no conflicts between an option and a flattened set of options.
        if pacing.is_some() && self.device.is_none() {
            let hint = "name one device, or run 'packcast group pacing GROUP' to set the pacing of many devices";
            return Err(Failure::usage("cannot set a pacing: no device is named").hint(hint));
        }
        if pacing.is_some() && self.command().is_some() {
            let why = "cannot set a pacing together with --drop or --restart-download";
            return Err(Failure::usage(why));
        }
        let target = globals.open().await?;
        let Some(name) = &self.device else {
            return print_first(globals, &target, self.limit).await;
        };
        if let Some(command) = self.command() {
            return commands::send(globals, &target, name, command).await;
        }
        if let Some(change) = pacing {
            return pacing::change(globals, &target, name, &change).await;
        }
        let details = device::show(&target, name).await?;
        output::warn(&details.warnings);
        output::result(globals.format, &details, text);
        Ok(())
    }

    fn command(&self) -> Option<DeviceCommand> {
        let restart = self
            .restart_download
            .then_some(DeviceCommand::RestartDownload);
        restart.or_else(|| self.drop.then_some(DeviceCommand::Drop))
    }
}

async fn print_first(globals: &Globals, target: &Target, limit: usize) -> Result<(), Failure> {
    let first = device::list(target, limit).await?;
    output::result(globals.format, &first, |first| list(&first.devices));
    let (shown, known) = (first.devices.len(), first.known);
    if known > shown as u64 {
        output::note(&limited(shown, known));
    }
    Ok(())
}

/// Returns the note for a list of `shown` devices out of `known`.
fn limited(shown: usize, known: u64) -> String {
    format!("showing {shown} of {known} devices; pass a higher --limit for more")
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
        ("valid until", valid_until(details)),
        ("commands", commands::pending(&details.orders)),
        ("pacing", settings::words(&details.pace)),
        ("pacing of groups", settings::words(&details.pace_of_groups)),
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

/// Writes the time of the last check-in on record.
pub(crate) fn last_seen(at: UnixTime) -> String {
    format!("{} (recorded at most once a day)", output::time(at))
}

/// Writes the end of the validity of a device's signed assignments; nothing if the device needs
/// no signature.
fn valid_until(details: &DeviceDetails) -> String {
    if details.needs_signature() {
        output::valid_until(details.expires)
    } else {
        String::new()
    }
}

fn groups(groups: &[GroupName]) -> String {
    let names: Vec<&str> = groups.iter().map(GroupName::as_str).collect();
    names.join(", ")
}

/// Writes the state of an open task.
pub(crate) fn open_state(task: &OpenTask) -> String {
    match task.state {
        TaskState::Pending => "waiting; 'packcast explain' gives the reason".to_owned(),
        TaskState::Announced { announced_at } => {
            format!("announced {}", output::time(announced_at))
        }
        TaskState::Withdrawn { announced_at } => {
            format!("withdrawn, announced {}", output::time(announced_at))
        }
    }
}

/// Writes the recorded output of each finished task that has some.
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
            format!("\nend of the output of package {package}:\n{lines}")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use packcast_rollout::{DeviceCommands, PacingOverride};
    use serde_json::json;

    use super::*;
    use crate::fixtures::{self, AGENT, OCS, plain};

    fn details(device: &str) -> DeviceDetails {
        DeviceDetails {
            device: fixtures::device(device),
            groups: vec!["lab".parse().unwrap(), "office".parse().unwrap()],
            orders: fixtures::read(json!({
                "unstick": null,
                "cancel": { "order": "cancel", "asked_at": fixtures::NOON, "told_at": null },
            })),
            pace: fixtures::read(json!({ "fragment_pause_s": 2, "strict": true })),
            pace_of_groups: fixtures::read(json!({ "cycle_pause_s": 5 })),
            expires: Some(UnixTime(fixtures::NOON + 180 * 86_400)),
            open: fixtures::task_states().iter().map(fixtures::task).collect(),
            finished: vec![fixtures::failed(), fixtures::succeeded()],
            names: [(fixtures::id(), "vlc@3.0.21".to_owned())].into(),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn devices_are_listed_with_their_last_check_in() {
        let devices = [AGENT, OCS].map(fixtures::device);
        assert_snapshot!(plain(&list(&devices)), @"
        DEVICE                          HOST   SYSTEM               AGENT                              LAST SEEN
        key:abcdefghijklmnopqrstuvwxya  web01  Debian GNU/Linux 12  packcast-agent 0.1.0               2026-11-18 11:06:40 UTC
        ocs:web01-2026-03-04-05-06-07   web01  Debian GNU/Linux 12  OCS-NG_unified_unix_agent_v2.10.0  2026-11-18 11:06:40 UTC
        ");
        assert_snapshot!(limited(100, 240), @"showing 100 of 240 devices; pass a higher --limit for more");
    }

    #[test]
    fn a_device_is_shown_with_its_packages() {
        assert_snapshot!(plain(&text(&details(AGENT))), @"
        device            key:abcdefghijklmnopqrstuvwxya
        host              web01
        system            Debian GNU/Linux 12
        agent             packcast-agent 0.1.0
        first seen        2026-11-17 11:06:40 UTC
        last seen         2026-11-18 11:06:40 UTC (recorded at most once a day)
        groups            lab, office
        valid until       2027-05-17 11:06:40 UTC
        commands          drop, requested 2026-11-18 11:06:40 UTC, waiting for the device's next check-in
        pacing            fragment pause 2s, strict
        pacing of groups  cycle pause 5s

        OPEN        PACKAGE     PRIORITY  ATTEMPT  STATE
        1795327754  vlc@3.0.21  5         1        waiting; 'packcast explain' gives the reason
        1795327754  vlc@3.0.21  5         1        announced 2026-11-18 11:06:40 UTC
        1795327754  vlc@3.0.21  5         1        withdrawn, announced 2026-11-18 11:06:40 UTC

        FINISHED    PACKAGE     ATTEMPT  RESULT                   WHEN
        1795327754  vlc@3.0.21  2        failed: ERR_EXIT_CODE_7  2026-11-18 11:06:40 UTC
        1795327754  vlc@3.0.21  1        succeeded: SUCCESS       2026-11-18 11:06:40 UTC

        end of the output of package 1795327754:
          unpacking
          disk full
        ");
    }

    #[test]
    fn a_device_without_packages_has_its_facts_only() {
        let details = DeviceDetails {
            groups: Vec::new(),
            orders: DeviceCommands::default(),
            pace: PacingOverride::default(),
            pace_of_groups: PacingOverride::default(),
            expires: None,
            open: Vec::new(),
            finished: Vec::new(),
            ..details(OCS)
        };
        assert_snapshot!(plain(&text(&details)), @"
        device            ocs:web01-2026-03-04-05-06-07
        host              web01
        system            Debian GNU/Linux 12
        agent             OCS-NG_unified_unix_agent_v2.10.0
        first seen        2026-11-17 11:06:40 UTC
        last seen         2026-11-18 11:06:40 UTC (recorded at most once a day)
        ");
    }
}
