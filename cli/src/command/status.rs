//! `packcast status`: shows the progress of packages on their devices.

use packcast_protocol::PackageRef;
use packcast_publisher::Failure;
use packcast_publisher::device::waits;
use packcast_publisher::package::NEWEST;
use packcast_publisher::pause::current;
use packcast_publisher::status::{self, DeviceProgress, PackageProgress};

use super::device::list as device_list;
use super::{list, pause};
use crate::Globals;
use crate::output;

/// Show the progress of a package: number of devices in each state
///
/// This command reads the same amount of data for any number of devices. A device of a group is
/// counted from its first check-in after the assignment.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast status
  packcast status vlc@3.0.21 --devices")]
pub(crate) struct Args {
    /// Package id, or name@version; the newest packages if absent
    package: Option<PackageRef>,
    /// Show only this many of the newest packages
    ///
    /// The default is 100 for text; JSON and CSV have all packages.
    #[arg(long, value_name = "COUNT", conflicts_with = "package")]
    limit: Option<usize>,
    /// List the devices of the package with their states
    ///
    /// The list includes devices of assigned groups that have not checked in since the assignment.
    /// Changes from the last few seconds may be missing.
    #[arg(long, requires = "package")]
    devices: bool,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let progress = match &self.package {
            Some(package) if self.devices => {
                let devices = status::devices(&target, package).await?;
                output::result(globals.format, &devices, |devices| devices_text(devices));
                return Ok(());
            }
            Some(package) => vec![status::of_package(&target, package).await?],
            None => {
                let limit = globals.limit(self.limit, NEWEST);
                let newest = status::of_newest(&target, limit).await?;
                if newest.len() == limit {
                    output::note(&list::limited(limit));
                }
                newest
            }
        };
        output::result(globals.format, &progress, |progress| text(progress));
        let blocked = status::blocked(&target).await?;
        if blocked > 0 {
            output::note(&blocked_note(blocked, globals));
        }
        if let Some(found) = current(&target).await? {
            output::note(&pause::note(&found, globals));
        }
        Ok(())
    }
}

/// Returns the note that some devices of the target get no packages.
fn blocked_note(devices: usize, globals: &Globals) -> String {
    let are_blocked = match devices {
        1 => "1 device is blocked".to_owned(),
        _ => format!("{devices} devices are blocked"),
    };
    let command = globals.command("device list --excluded");
    format!("{are_blocked}; run '{command}' to list excluded devices")
}

fn devices_text(devices: &[DeviceProgress]) -> String {
    let rows = devices.iter().map(|at| {
        let excluded = device_list::words(at.excluded.as_ref());
        let state = match &at.waits {
            None => at.state.to_string(),
            Some(waiting) => format!("{}; waits: {}", at.state, waits::words(waiting)),
        };
        [at.device.to_string(), state, excluded]
    });
    output::table(["DEVICE", "STATE", "EXCLUDED"], rows)
}

fn text(progress: &[PackageProgress]) -> String {
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
    let table = progress
        .iter()
        .filter_map(not_applicable)
        .fold(table, |text, line| format!("{text}\n{line}"));
    let groups: String = progress.iter().filter_map(groups).collect();
    if groups.is_empty() {
        return table;
    }
    format!(
        "{table}\n\n{groups}A device of a group is counted from its first check-in after the assignment."
    )
}

/// Writes a line with the number of devices that run another system; `None` if there are none.
fn not_applicable(progress: &PackageProgress) -> Option<String> {
    let devices = match progress.not_applicable {
        0 => return None,
        1 => "1 device".to_owned(),
        more => format!("{more} devices"),
    };
    Some(format!(
        "{} does not apply to {devices} of another system.",
        progress.name
    ))
}

/// Writes a line with the groups that have the package; `None` if there are none.
fn groups(progress: &PackageProgress) -> Option<String> {
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

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use packcast_publisher::status::GroupSize;
    use packcast_store::records::DeploymentState;

    use super::*;
    use crate::fixtures::{self, AGENT, plain};
    use crate::output::screen::tests::on_terminals;

    fn progress(groups: Vec<GroupSize>) -> PackageProgress {
        PackageProgress {
            package: fixtures::id(),
            name: "vlc@3.0.21".to_owned(),
            state: "active",
            expires: None,
            assigned: 21,
            waiting: 6,
            announced: 5,
            withdrawn: 4,
            succeeded: 3,
            failed: 2,
            cancelled: 1,
            not_applicable: 0,
            groups,
        }
    }

    #[test]
    fn the_devices_in_each_state_are_counted() {
        let shown = [progress(Vec::new())];
        assert_snapshot!(on_terminals(|| text(&shown)), @"
        80:
        id         1795327754
        package    vlc@3.0.21
        state      active
        assigned   21
        waiting    6
        announced  5
        withdrawn  4
        succeeded  3
        failed     2
        cancelled  1

        140:
        ID          PACKAGE     STATE   ASSIGNED  WAITING  ANNOUNCED  WITHDRAWN  SUCCEEDED  FAILED  CANCELLED
        1795327754  vlc@3.0.21  active  21        6        5          4          3          2       1
        ");
        assert_snapshot!(plain(&text(&shown)), @"
        ID          PACKAGE     STATE   ASSIGNED  WAITING  ANNOUNCED  WITHDRAWN  SUCCEEDED  FAILED  CANCELLED
        1795327754  vlc@3.0.21  active  21        6        5          4          3          2       1
        ");
    }

    #[test]
    fn devices_of_another_system_have_a_line_of_their_own() {
        let progress = [2, 1, 0].map(|not_applicable| PackageProgress {
            not_applicable,
            ..progress(Vec::new())
        });
        assert_snapshot!(plain(&text(&progress)), @"
        ID          PACKAGE     STATE   ASSIGNED  WAITING  ANNOUNCED  WITHDRAWN  SUCCEEDED  FAILED  CANCELLED
        1795327754  vlc@3.0.21  active  21        6        5          4          3          2       1
        1795327754  vlc@3.0.21  active  21        6        5          4          3          2       1
        1795327754  vlc@3.0.21  active  21        6        5          4          3          2       1
        vlc@3.0.21 does not apply to 2 devices of another system.
        vlc@3.0.21 does not apply to 1 device of another system.
        ");
    }

    #[test]
    fn groups_are_listed_below_the_table() {
        let groups = [("lab", 12), ("office", 1)].map(|(group, devices)| GroupSize {
            group: group.parse().unwrap(),
            devices,
        });
        let shown = [progress(groups.into())];
        assert_snapshot!(on_terminals(|| text(&shown)), @"
        80:
        id         1795327754
        package    vlc@3.0.21
        state      active
        assigned   21
        waiting    6
        announced  5
        withdrawn  4
        succeeded  3
        failed     2
        cancelled  1

        vlc@3.0.21 is assigned to lab (12 devices), office (1 device).
        A device of a group is counted from its first check-in after the assignment.

        140:
        ID          PACKAGE     STATE   ASSIGNED  WAITING  ANNOUNCED  WITHDRAWN  SUCCEEDED  FAILED  CANCELLED
        1795327754  vlc@3.0.21  active  21        6        5          4          3          2       1

        vlc@3.0.21 is assigned to lab (12 devices), office (1 device).
        A device of a group is counted from its first check-in after the assignment.
        ");
        assert_snapshot!(plain(&text(&shown)), @"
        ID          PACKAGE     STATE   ASSIGNED  WAITING  ANNOUNCED  WITHDRAWN  SUCCEEDED  FAILED  CANCELLED
        1795327754  vlc@3.0.21  active  21        6        5          4          3          2       1

        vlc@3.0.21 is assigned to lab (12 devices), office (1 device).
        A device of a group is counted from its first check-in after the assignment.
        ");
    }

    #[test]
    fn blocked_devices_are_counted() {
        let globals = fixtures::globals();
        assert_snapshot!(blocked_note(1, &globals), @"1 device is blocked; run 'packcast device list --excluded' to list excluded devices");
        assert_snapshot!(blocked_note(2, &globals), @"2 devices are blocked; run 'packcast device list --excluded' to list excluded devices");
    }

    #[test]
    fn every_state_of_a_device_has_a_word() {
        let states = [
            DeploymentState::Unreached,
            DeploymentState::Pending,
            DeploymentState::Announced,
            DeploymentState::Withdrawn,
            DeploymentState::Succeeded,
            DeploymentState::Failed,
            DeploymentState::Cancelled,
            DeploymentState::NotApplicable,
        ];
        let devices = states.map(|state| DeviceProgress {
            device: AGENT.parse().unwrap(),
            state,
            excluded: (state == DeploymentState::Pending).then(fixtures::blocked),
            waits: (state == DeploymentState::Announced).then(fixtures::waiting),
        });
        assert_snapshot!(on_terminals(|| devices_text(&devices)), @"
        80:
        DEVICE                          STATE                    EXCLUDED
        key:abcdefghijklmnopqrstuvwxya  not checked in since
                                        the assignment
        key:abcdefghijklmnopqrstuvwxya  waiting                  blocked since
                                                                 2026-11-18 11:06:40
                                                                 UTC: stolen
        key:abcdefghijklmnopqrstuvwxya  announced; waits: the
                                        state of the device has
                                        expired
        key:abcdefghijklmnopqrstuvwxya  withdrawn
        key:abcdefghijklmnopqrstuvwxya  succeeded
        key:abcdefghijklmnopqrstuvwxya  failed
        key:abcdefghijklmnopqrstuvwxya  cancelled
        key:abcdefghijklmnopqrstuvwxya  not applicable

        140:
        DEVICE                          STATE                                                  EXCLUDED
        key:abcdefghijklmnopqrstuvwxya  not checked in since the assignment
        key:abcdefghijklmnopqrstuvwxya  waiting                                                blocked since 2026-11-18 11:06:40 UTC: stolen
        key:abcdefghijklmnopqrstuvwxya  announced; waits: the state of the device has expired
        key:abcdefghijklmnopqrstuvwxya  withdrawn
        key:abcdefghijklmnopqrstuvwxya  succeeded
        key:abcdefghijklmnopqrstuvwxya  failed
        key:abcdefghijklmnopqrstuvwxya  cancelled
        key:abcdefghijklmnopqrstuvwxya  not applicable
        ");
        assert_snapshot!(plain(&devices_text(&devices)), @"
        DEVICE                          STATE                                                  EXCLUDED
        key:abcdefghijklmnopqrstuvwxya  not checked in since the assignment
        key:abcdefghijklmnopqrstuvwxya  waiting                                                blocked since 2026-11-18 11:06:40 UTC: stolen
        key:abcdefghijklmnopqrstuvwxya  announced; waits: the state of the device has expired
        key:abcdefghijklmnopqrstuvwxya  withdrawn
        key:abcdefghijklmnopqrstuvwxya  succeeded
        key:abcdefghijklmnopqrstuvwxya  failed
        key:abcdefghijklmnopqrstuvwxya  cancelled
        key:abcdefghijklmnopqrstuvwxya  not applicable
        ");
    }
}
