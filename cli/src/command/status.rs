//! `packcast status`: shows the progress of packages on their devices.

mod devices;
mod failures;
mod watch;

use clap::ValueEnum;
use packcast_protocol::{GroupName, PackageRef};
use packcast_publisher::package::NEWEST;
use packcast_publisher::pause::current;
use packcast_publisher::rollout;
use packcast_publisher::status::{self, PackageProgress};
use packcast_publisher::{Failure, Target};
use packcast_store::records::DeploymentState;

use super::{list, pause};
use crate::Globals;
use crate::output;

/// Show the progress of a package: number of devices in each state
///
/// Without --devices and --group, this command reads the same amount of data for any number of
/// devices. A device of a group is counted as assigned from its first check-in after the
/// assignment; until then it is to come, which is an estimate from the sizes of the groups.
///
/// The status of one package ends with its failures, grouped by result and last line of output: at
/// most 1000 failures are read.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast status
  packcast status vlc@3.0.21
  packcast status vlc@3.0.21 --devices --state failed
  packcast status vlc@3.0.21 --group lab
  packcast status vlc@3.0.21 --watch")]
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
    /// List only the devices in this state
    ///
    /// Devices with an outcome are listed with their results.
    #[arg(long, value_enum, requires = "devices")]
    state: Option<StateChoice>,
    /// Count or list only devices of this group
    ///
    /// Without a package, the packages of the group are shown. The command reads the state of each
    /// device of a package, so that its cost grows with their number.
    #[arg(long)]
    group: Option<GroupName>,

    /// Show the status again after each change, until Ctrl-C
    #[arg(long, conflicts_with = "devices")]
    watch: bool,
}

/// The states of devices, as the columns of this command name them.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum StateChoice {
    /// Not checked in since the assignment of a group
    ToCome,
    /// Not announced yet
    Waiting,
    Announced,
    /// Announced, and unassigned afterwards
    Withdrawn,
    Succeeded,
    Failed,
    Cancelled,
    /// The device runs another system
    NotApplicable,
}

impl From<StateChoice> for DeploymentState {
    fn from(choice: StateChoice) -> Self {
        match choice {
            StateChoice::ToCome => Self::Unreached,
            StateChoice::Waiting => Self::Pending,
            StateChoice::Announced => Self::Announced,
            StateChoice::Withdrawn => Self::Withdrawn,
            StateChoice::Succeeded => Self::Succeeded,
            StateChoice::Failed => Self::Failed,
            StateChoice::Cancelled => Self::Cancelled,
            StateChoice::NotApplicable => Self::NotApplicable,
        }
    }
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        if self.watch {
            watch::check_format(globals.format)?;
            let read = async || {
                let progress = self.read(&target, globals).await?;
                let warnings = target.warnings.take();
                let warnings = warnings.iter().map(|warning| format!("\n\n{warning}"));
                Ok(text(&progress) + &warnings.collect::<String>())
            };
            return watch::watch(read).await;
        }
        if let Some(package) = self.package.as_ref().filter(|_| self.devices) {
            let state = self.state.map(DeploymentState::from);
            let devices = status::devices(&target, package, state, self.group.as_ref()).await?;
            devices::print(&devices, state, globals.format);
            return Ok(());
        }
        let progress = self.read(&target, globals).await?;
        if self.package.is_none() && progress.len() == globals.limit(self.limit, NEWEST) {
            output::note(&list::limited(progress.len()));
        }
        output::result(globals.format, &progress, |progress| text(progress));
        if let (Some(_), [one]) = (&self.package, &*progress)
            && rollout::has_live(&target, one.package).await?
        {
            output::note(&rollout_note(&one.name, globals));
        }
        let blocked = status::blocked(&target).await?;
        if blocked > 0 {
            output::note(&blocked_note(blocked, globals));
        }
        if let Some(found) = current(&target).await? {
            output::note(&pause::note(&found, globals));
        }
        Ok(())
    }

    /// Reads the progress of the package, or of the newest packages.
    async fn read(
        &self,
        target: &Target,
        globals: &Globals,
    ) -> Result<Vec<PackageProgress>, Failure> {
        let limit = globals.limit(self.limit, NEWEST);
        match (&self.package, &self.group) {
            (Some(package), None) => Ok(vec![status::of_package(target, package).await?]),
            (Some(package), Some(group)) => {
                Ok(vec![status::of_package_in(target, package, group).await?])
            }
            (None, None) => status::of_newest(target, limit).await,
            (None, Some(group)) => status::of_group(target, group, limit).await,
        }
    }
}

/// Returns the note that a package has a rollout, so that devices to come wait for their waves.
fn rollout_note(name: &str, globals: &Globals) -> String {
    let command = globals.command(&format!("rollout show {name}"));
    format!("{name} has a live rollout; run '{command}' to see its waves")
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

fn text(progress: &[PackageProgress]) -> String {
    let table = output::table(
        [
            "ID",
            "PACKAGE",
            "STATE",
            "TO COME",
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
                p.to_come.to_string(),
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
    let mut parts = vec![table];
    // Shares and causes are for one package.
    if let [one] = progress {
        parts.extend(shares(one));
    }
    if !groups.is_empty() {
        parts.push(format!(
            "{groups}A device of a group is counted as assigned from its first check-in after the assignment."
        ));
    }
    let failures = progress
        .iter()
        .filter_map(|one| failures::text(one.failures.as_ref()?, one.failed));
    parts.extend(failures);
    parts.join("\n\n")
}

/// Writes the share of the devices in each state; `None` if there are no devices.
fn shares(progress: &PackageProgress) -> Option<String> {
    let open = progress.waiting + progress.announced + progress.withdrawn;
    let all = progress.assigned + progress.to_come;
    let parts = [
        (progress.succeeded, "succeeded"),
        (progress.failed, "failed"),
        (progress.cancelled, "cancelled"),
        (progress.not_applicable, "not applicable"),
        (open, "open"),
        (progress.to_come, "to come"),
    ];
    let parts = parts.into_iter().filter(|(devices, _)| *devices > 0);
    let shares: Vec<String> = parts
        .map(|(devices, name)| format!("{} {name}", percent(devices, all)))
        .collect();
    let devices = if all == 1 { "device" } else { "devices" };
    (all > 0).then(|| format!("{all} {devices}: {}.", shares.join(", ")))
}

/// Writes a share. `100 %` stands for all, and no part is `0 %`.
fn percent(part: u64, whole: u64) -> String {
    match part.saturating_mul(100) / whole.max(1) {
        0 if part > 0 => "<1 %".to_owned(),
        share => format!("{share} %"),
    }
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

    use super::*;
    use crate::fixtures::{self, plain};
    use crate::output::screen::tests::on_terminals;

    fn progress(groups: Vec<GroupSize>) -> PackageProgress {
        PackageProgress {
            package: fixtures::id(),
            name: "vlc@3.0.21".to_owned(),
            state: "active",
            expires: None,
            to_come: 0,
            assigned: 21,
            waiting: 6,
            announced: 5,
            withdrawn: 4,
            succeeded: 3,
            failed: 2,
            cancelled: 1,
            not_applicable: 0,
            groups,
            failures: None,
        }
    }

    #[test]
    fn shares_add_up_to_all_devices() {
        let mut one = progress(Vec::new());
        assert_snapshot!(shares(&one).unwrap(), @"21 devices: 14 % succeeded, 9 % failed, 4 % cancelled, 71 % open.");
        one.to_come = 979;
        one.not_applicable = 1;
        assert_snapshot!(shares(&one).unwrap(), @"1000 devices: <1 % succeeded, <1 % failed, <1 % cancelled, <1 % not applicable, 1 % open, 97 % to come.");
        let none = PackageProgress {
            assigned: 0,
            to_come: 0,
            ..progress(Vec::new())
        };
        assert_eq!(shares(&none), None);
    }

    #[test]
    fn the_devices_in_each_state_are_counted() {
        let shown = [progress(Vec::new())];
        assert_snapshot!(on_terminals(|| text(&shown)), @"
        80:
        id         1795327754
        package    vlc@3.0.21
        state      active
        to come    0
        assigned   21
        waiting    6
        announced  5
        withdrawn  4
        succeeded  3
        failed     2
        cancelled  1

        21 devices: 14 % succeeded, 9 % failed, 4 % cancelled, 71 % open.

        140:
        ID          PACKAGE     STATE   TO COME  ASSIGNED  WAITING  ANNOUNCED  WITHDRAWN  SUCCEEDED  FAILED  CANCELLED
        1795327754  vlc@3.0.21  active  0        21        6        5          4          3          2       1

        21 devices: 14 % succeeded, 9 % failed, 4 % cancelled, 71 % open.
        ");
        assert_snapshot!(plain(&text(&shown)), @"
        ID          PACKAGE     STATE   TO COME  ASSIGNED  WAITING  ANNOUNCED  WITHDRAWN  SUCCEEDED  FAILED  CANCELLED
        1795327754  vlc@3.0.21  active  0        21        6        5          4          3          2       1

        21 devices: 14 % succeeded, 9 % failed, 4 % cancelled, 71 % open.
        ");
    }

    #[test]
    fn devices_of_another_system_have_a_line_of_their_own() {
        let progress = [2, 1, 0].map(|not_applicable| PackageProgress {
            not_applicable,
            ..progress(Vec::new())
        });
        assert_snapshot!(plain(&text(&progress)), @"
        ID          PACKAGE     STATE   TO COME  ASSIGNED  WAITING  ANNOUNCED  WITHDRAWN  SUCCEEDED  FAILED  CANCELLED
        1795327754  vlc@3.0.21  active  0        21        6        5          4          3          2       1
        1795327754  vlc@3.0.21  active  0        21        6        5          4          3          2       1
        1795327754  vlc@3.0.21  active  0        21        6        5          4          3          2       1
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
        to come    0
        assigned   21
        waiting    6
        announced  5
        withdrawn  4
        succeeded  3
        failed     2
        cancelled  1

        21 devices: 14 % succeeded, 9 % failed, 4 % cancelled, 71 % open.

        vlc@3.0.21 is assigned to lab (12 devices), office (1 device).
        A device of a group is counted as assigned from its first check-in after the assignment.

        140:
        ID          PACKAGE     STATE   TO COME  ASSIGNED  WAITING  ANNOUNCED  WITHDRAWN  SUCCEEDED  FAILED  CANCELLED
        1795327754  vlc@3.0.21  active  0        21        6        5          4          3          2       1

        21 devices: 14 % succeeded, 9 % failed, 4 % cancelled, 71 % open.

        vlc@3.0.21 is assigned to lab (12 devices), office (1 device).
        A device of a group is counted as assigned from its first check-in after the assignment.
        ");
        assert_snapshot!(plain(&text(&shown)), @"
        ID          PACKAGE     STATE   TO COME  ASSIGNED  WAITING  ANNOUNCED  WITHDRAWN  SUCCEEDED  FAILED  CANCELLED
        1795327754  vlc@3.0.21  active  0        21        6        5          4          3          2       1

        21 devices: 14 % succeeded, 9 % failed, 4 % cancelled, 71 % open.

        vlc@3.0.21 is assigned to lab (12 devices), office (1 device).
        A device of a group is counted as assigned from its first check-in after the assignment.
        ");
    }

    #[test]
    fn notes_name_blocked_devices_and_a_rollout() {
        let globals = fixtures::globals();
        assert_snapshot!(rollout_note("vlc@3.0.21", &globals), @"vlc@3.0.21 has a live rollout; run 'packcast rollout show vlc@3.0.21' to see its waves");
        assert_snapshot!(blocked_note(1, &globals), @"1 device is blocked; run 'packcast device list --excluded' to list excluded devices");
        assert_snapshot!(blocked_note(2, &globals), @"2 devices are blocked; run 'packcast device list --excluded' to list excluded devices");
    }
}
