//! `packcast assign`: assigns a package to devices or groups.

use packcast_protocol::PackageRef;
use packcast_publisher::Failure;
use packcast_publisher::assign::{self, AssignRequest, AssignedTo, DeviceAssigned, GroupAssigned};
use packcast_rollout::assign::AssignOutcome;

use super::assignees;
use super::key_arg::{AcceptArg, KeyArg};
use crate::Globals;
use crate::confirm::{ConfirmArgs, counted};
use crate::output;
use crate::progress::{Bar, until_interrupted};

/// Assign a package to devices or groups
///
/// Devices get an active package at their next check-in. An assignment to a group takes the same
/// few database writes, however many devices the group has. If a package failed on a device, assign
/// the package again to start the next attempt.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast assign vlc@3.0.21 --device web01
  packcast assign vlc@3.0.21 --device web01 --device web02 --force
  packcast assign vlc@3.0.21 --group lab --group office
  packcast assign vlc@3.0.21 --all --dry-run")]
pub(crate) struct Args {
    /// Package id, or name@version
    package: PackageRef,
    #[command(flatten)]
    assignees: assignees::Args,
    /// Deploy again on devices that already have the package
    #[arg(long)]
    force: bool,
    /// Deploy on devices that have a later package of the same name
    #[arg(long)]
    allow_downgrade: bool,
    #[command(flatten)]
    confirm: ConfirmArgs,
    #[command(flatten)]
    key: KeyArg,
    #[command(flatten)]
    accept: AcceptArg,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let request = AssignRequest {
            package: self.package,
            to: self.assignees.names()?,
            force: self.force,
            allow_downgrade: self.allow_downgrade,
            also_accept: self.accept.also_accept(),
        };
        let (signer, bar) = (self.key.signer(&target), Bar::new());
        let progress = bar.progress();
        let deciding = Box::pin(assign::plan(&target, &request, &progress));
        let plan = until_interrupted("devices", deciding, &bar).await?;
        output::warn(plan.warnings());
        if !self.confirm.is_agreed(globals, plan.preview())? {
            return plan.check();
        }
        let work = Box::pin(plan.perform(signer, &progress));
        let result = until_interrupted("devices", work, &bar).await?;
        output::result(globals.format, &result, |result| text(&result.assigned));
        if !result.is_active {
            output::note(&not_active(globals, &request.package));
        }
        result.complete()
    }
}

/// Returns the note after an assignment of a package that is not active.
fn not_active(globals: &Globals, package: &PackageRef) -> String {
    let activate = globals.command(&format!("activate {package}"));
    format!("hint: the package is not active: devices get it after '{activate}'")
}

fn text(assigned: &AssignedTo) -> String {
    match assigned {
        AssignedTo::Devices(devices) => devices_text(devices),
        AssignedTo::Groups(groups) => groups_text(groups),
    }
}

fn groups_text(groups: &[GroupAssigned]) -> String {
    let lines = groups.iter().map(|at| {
        let whose = if at.devices == 1 { "its" } else { "their" };
        let devices = counted(at.devices);
        format!(
            "assigned to {}: {devices}, at {whose} next check-in",
            at.group
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn devices_text(devices: &[DeviceAssigned]) -> String {
    let rows = devices.iter().map(|at| {
        [
            at.host_name.clone(),
            at.device.to_string(),
            result(&at.outcome),
        ]
    });
    output::table(["HOST", "DEVICE", "RESULT"], rows)
}

fn result(assigned: &AssignOutcome) -> String {
    match assigned {
        AssignOutcome::New { attempt: 1 } => "assigned".to_owned(),
        AssignOutcome::New { attempt } => format!("assigned again, attempt {attempt}"),
        AssignOutcome::AlreadyOpen { .. } => "already assigned, not reported yet".to_owned(),
        AssignOutcome::AlreadyDone(finished) => format!(
            "already succeeded ({} at {}); --force deploys again",
            finished.code,
            output::time(finished.finished_at)
        ),
        AssignOutcome::InHistory => {
            "already in its package history; --force deploys again".to_owned()
        }
        AssignOutcome::Deleted => "the package was deleted".to_owned(),
        AssignOutcome::NotPublished => "the package is not published yet".to_owned(),
        AssignOutcome::NotForDevice => "not in the audience of the package".to_owned(),
        AssignOutcome::Downgrade { deployed } => format!(
            "has version {deployed}, which was published later; --allow-downgrade allows this"
        ),
        AssignOutcome::OtherSystem => {
            "the device runs another system than the package is for".to_owned()
        }
        AssignOutcome::UnknownDevice => {
            "unknown: the device has never checked in, or was removed".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::fixtures::{self, AGENT, plain};
    use crate::output::Format;
    use crate::output::screen::tests::on_terminals;

    fn device(outcome: AssignOutcome) -> DeviceAssigned {
        DeviceAssigned {
            device: AGENT.parse().unwrap(),
            host_name: "web01".to_owned(),
            result: "",
            attempt: None,
            commit: None,
            outcome,
        }
    }

    #[test]
    fn every_outcome_has_a_text() {
        let outcomes = [
            AssignOutcome::New { attempt: 1 },
            AssignOutcome::New { attempt: 2 },
            AssignOutcome::AlreadyOpen { attempt: 1 },
            AssignOutcome::AlreadyDone(Box::new(fixtures::succeeded())),
            AssignOutcome::InHistory,
            AssignOutcome::Deleted,
            AssignOutcome::NotPublished,
            AssignOutcome::NotForDevice,
            AssignOutcome::OtherSystem,
            AssignOutcome::Downgrade {
                deployed: "4.0".parse().unwrap(),
            },
            AssignOutcome::UnknownDevice,
        ];
        let devices = outcomes.into_iter().map(device).collect();
        let shown = AssignedTo::Devices(devices);
        assert_snapshot!(on_terminals(|| text(&shown)), @"
        80:
        HOST   DEVICE                          RESULT
        web01  key:abcdefghijklmnopqrstuvwxya  assigned
        web01  key:abcdefghijklmnopqrstuvwxya  assigned again, attempt 2
        web01  key:abcdefghijklmnopqrstuvwxya  already assigned, not reported yet
        web01  key:abcdefghijklmnopqrstuvwxya  already succeeded (SUCCESS at 2026-11-18
                                               11:06:40 UTC); --force deploys again
        web01  key:abcdefghijklmnopqrstuvwxya  already in its package history; --force
                                               deploys again
        web01  key:abcdefghijklmnopqrstuvwxya  the package was deleted
        web01  key:abcdefghijklmnopqrstuvwxya  the package is not published yet
        web01  key:abcdefghijklmnopqrstuvwxya  not in the audience of the package
        web01  key:abcdefghijklmnopqrstuvwxya  the device runs another system than the
                                               package is for
        web01  key:abcdefghijklmnopqrstuvwxya  has version 4.0, which was published
                                               later; --allow-downgrade allows this
        web01  key:abcdefghijklmnopqrstuvwxya  unknown: the device has never checked in,
                                               or was removed

        140:
        HOST   DEVICE                          RESULT
        web01  key:abcdefghijklmnopqrstuvwxya  assigned
        web01  key:abcdefghijklmnopqrstuvwxya  assigned again, attempt 2
        web01  key:abcdefghijklmnopqrstuvwxya  already assigned, not reported yet
        web01  key:abcdefghijklmnopqrstuvwxya  already succeeded (SUCCESS at 2026-11-18 11:06:40 UTC); --force deploys again
        web01  key:abcdefghijklmnopqrstuvwxya  already in its package history; --force deploys again
        web01  key:abcdefghijklmnopqrstuvwxya  the package was deleted
        web01  key:abcdefghijklmnopqrstuvwxya  the package is not published yet
        web01  key:abcdefghijklmnopqrstuvwxya  not in the audience of the package
        web01  key:abcdefghijklmnopqrstuvwxya  the device runs another system than the package is for
        web01  key:abcdefghijklmnopqrstuvwxya  has version 4.0, which was published later; --allow-downgrade allows this
        web01  key:abcdefghijklmnopqrstuvwxya  unknown: the device has never checked in, or was removed
        ");
        assert_snapshot!(plain(&text(&shown)), @"
        HOST   DEVICE                          RESULT
        web01  key:abcdefghijklmnopqrstuvwxya  assigned
        web01  key:abcdefghijklmnopqrstuvwxya  assigned again, attempt 2
        web01  key:abcdefghijklmnopqrstuvwxya  already assigned, not reported yet
        web01  key:abcdefghijklmnopqrstuvwxya  already succeeded (SUCCESS at 2026-11-18 11:06:40 UTC); --force deploys again
        web01  key:abcdefghijklmnopqrstuvwxya  already in its package history; --force deploys again
        web01  key:abcdefghijklmnopqrstuvwxya  the package was deleted
        web01  key:abcdefghijklmnopqrstuvwxya  the package is not published yet
        web01  key:abcdefghijklmnopqrstuvwxya  not in the audience of the package
        web01  key:abcdefghijklmnopqrstuvwxya  the device runs another system than the package is for
        web01  key:abcdefghijklmnopqrstuvwxya  has version 4.0, which was published later; --allow-downgrade allows this
        web01  key:abcdefghijklmnopqrstuvwxya  unknown: the device has never checked in, or was removed
        ");
    }

    #[test]
    fn groups_have_their_size() {
        let group = |name: &str, devices| GroupAssigned {
            group: name.parse().unwrap(),
            devices,
            revision: 7,
            commit: Some(1_795_000_000),
        };
        let shown = AssignedTo::Groups(vec![group("lab", 4_120), group("desk", 1)]);
        assert_snapshot!(on_terminals(|| text(&shown)), @"
        80:
        assigned to lab: 4,120 devices, at their next check-in
        assigned to desk: 1 device, at its next check-in

        140:
        assigned to lab: 4,120 devices, at their next check-in
        assigned to desk: 1 device, at its next check-in
        ");
        assert_snapshot!(plain(&text(&shown)), @"
        assigned to lab: 4,120 devices, at their next check-in
        assigned to desk: 1 device, at its next check-in
        ");
    }

    #[test]
    fn the_command_in_a_note_works_on_the_same_target() {
        let package: PackageRef = "vlc@3.0.21".parse().unwrap();
        assert_snapshot!(not_active(&fixtures::globals(), &package), @"hint: the package is not active: devices get it after 'packcast activate vlc@3.0.21'");
        let globals = Globals::new("production", Some("packcast.toml"), Format::Text);
        assert_snapshot!(not_active(&globals, &package), @"hint: the package is not active: devices get it after 'packcast activate vlc@3.0.21 --target production --config packcast.toml'");
    }
}
