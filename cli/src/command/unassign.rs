//! `packcast unassign`: unassigns a package from devices or groups.

use packcast_protocol::{DeviceId, PackageRef};
use packcast_publisher::Failure;
use packcast_publisher::unassign::{self, DeviceUnassigned, GroupUnassigned, UnassignedFrom};
use packcast_rollout::unassign::Unassigned;

use super::assignees;
use super::key_arg::KeyArg;
use crate::confirm::ConfirmArgs;
use crate::output;
use crate::progress::{Bar, until_interrupted};
use crate::{Globals, stopping};

/// Unassign a package from devices or groups
///
/// Once the command has returned, the package is announced to no more devices. A Packcast agent
/// that was told of the package asks the function before it begins, and gets the answer to wait.
/// For a group of a target in the cloud, this takes effect about 85 seconds after the command. The
/// agent cancels the package at its next check-in, unless it has begun to act. An OCS agent that
/// was told of the package still deploys it; 'packcast device drop DEVICE' makes an OCS Unix agent
/// drop the package.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast unassign vlc@3.0.21 --group lab
  packcast unassign vlc@3.0.21 --device web01")]
pub(crate) struct Args {
    /// Package id, or name@version
    package: PackageRef,
    #[command(flatten)]
    assignees: assignees::Args,
    #[command(flatten)]
    confirm: ConfirmArgs,
    #[command(flatten)]
    key: KeyArg,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let from = self.assignees.names()?;
        let (signer, bar) = (self.key.signer(&target), Bar::new());
        let progress = bar.progress();
        let plan = unassign::plan(&target, &self.package, &from).await?;
        if !self.confirm.is_agreed(globals, plan.preview())? {
            return plan.check().await;
        }
        let permitted_s = plan.permitted_s();
        let work = Box::pin(plan.perform(signer, &progress));
        let result = until_interrupted("devices", work, &bar).await?;
        stopping::wait_for_permissions(permitted_s).await?;
        output::result(globals.format, &result, text);
        let may_begin_s = match permitted_s {
            0 => unassign::may_begin_s(&target, &result),
            _ => 0,
        };
        if let Some(note) = stopping::told(result.told(), may_begin_s) {
            output::note(&note);
        }
        result.complete()
    }
}

fn text(unassigned: &UnassignedFrom) -> String {
    match unassigned {
        UnassignedFrom::Devices(devices) => devices_text(devices),
        UnassignedFrom::Groups(groups) => groups_text(groups),
    }
}

fn groups_text(groups: &[GroupUnassigned]) -> String {
    let rows = groups.iter().map(|at| {
        let result = "unassigned; announced to no more devices of the group".to_owned();
        [at.group.to_string(), result]
    });
    output::table(["GROUP", "RESULT"], rows)
}

fn devices_text(devices: &[DeviceUnassigned]) -> String {
    let rows = devices
        .iter()
        .map(|at| [at.host_name.clone(), at.device.to_string(), result(at)]);
    output::table(["HOST", "DEVICE", "RESULT"], rows)
}

fn result(unassigned: &DeviceUnassigned) -> String {
    match &unassigned.outcome {
        Unassigned::Dropped => "unassigned before it was announced".to_owned(),
        Unassigned::Withdrawn => match &unassigned.device {
            DeviceId::Agent(_) => {
                "withdrawn: the agent cancels the package at its next check-in".to_owned()
            }
            DeviceId::Ocs(_) => "withdrawn: the OCS agent still deploys the package".to_owned(),
        },
        Unassigned::KeptByGroup(group) => {
            format!("unassigned, but its group {group} also has the package")
        }
        Unassigned::AlreadyWithdrawn => "already withdrawn".to_owned(),
        Unassigned::OnlyByGroup(group) => {
            format!("assigned only through group {group}: unassign the package from the group")
        }
        Unassigned::NotAssigned => "no open assignment".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::fixtures::{AGENT, OCS, plain};
    use crate::output::screen::tests::on_terminals;

    fn device(device: &str, outcome: Unassigned) -> DeviceUnassigned {
        DeviceUnassigned {
            device: device.parse().unwrap(),
            host_name: "web01".to_owned(),
            result: "",
            commit: None,
            outcome,
        }
    }

    #[test]
    fn every_outcome_has_a_text() {
        let lab = || "lab".parse().unwrap();
        let devices = vec![
            device(AGENT, Unassigned::Dropped),
            device(AGENT, Unassigned::Withdrawn),
            device(OCS, Unassigned::Withdrawn),
            device(AGENT, Unassigned::KeptByGroup(lab())),
            device(AGENT, Unassigned::AlreadyWithdrawn),
            device(AGENT, Unassigned::OnlyByGroup(lab())),
            device(AGENT, Unassigned::NotAssigned),
        ];
        let shown = UnassignedFrom::Devices(devices);
        assert_snapshot!(on_terminals(|| text(&shown)), @"
        80:
        HOST   DEVICE                          RESULT
        web01  key:abcdefghijklmnopqrstuvwxya  unassigned before it was announced
        web01  key:abcdefghijklmnopqrstuvwxya  withdrawn: the agent cancels the package
                                               at its next check-in
        web01  ocs:web01-2026-03-04-05-06-07   withdrawn: the OCS agent still deploys
                                               the package
        web01  key:abcdefghijklmnopqrstuvwxya  unassigned, but its group lab also has
                                               the package
        web01  key:abcdefghijklmnopqrstuvwxya  already withdrawn
        web01  key:abcdefghijklmnopqrstuvwxya  assigned only through group lab: unassign
                                               the package from the group
        web01  key:abcdefghijklmnopqrstuvwxya  no open assignment

        140:
        HOST   DEVICE                          RESULT
        web01  key:abcdefghijklmnopqrstuvwxya  unassigned before it was announced
        web01  key:abcdefghijklmnopqrstuvwxya  withdrawn: the agent cancels the package at its next check-in
        web01  ocs:web01-2026-03-04-05-06-07   withdrawn: the OCS agent still deploys the package
        web01  key:abcdefghijklmnopqrstuvwxya  unassigned, but its group lab also has the package
        web01  key:abcdefghijklmnopqrstuvwxya  already withdrawn
        web01  key:abcdefghijklmnopqrstuvwxya  assigned only through group lab: unassign the package from the group
        web01  key:abcdefghijklmnopqrstuvwxya  no open assignment
        ");
        assert_snapshot!(plain(&text(&shown)), @"
        HOST   DEVICE                          RESULT
        web01  key:abcdefghijklmnopqrstuvwxya  unassigned before it was announced
        web01  key:abcdefghijklmnopqrstuvwxya  withdrawn: the agent cancels the package at its next check-in
        web01  ocs:web01-2026-03-04-05-06-07   withdrawn: the OCS agent still deploys the package
        web01  key:abcdefghijklmnopqrstuvwxya  unassigned, but its group lab also has the package
        web01  key:abcdefghijklmnopqrstuvwxya  already withdrawn
        web01  key:abcdefghijklmnopqrstuvwxya  assigned only through group lab: unassign the package from the group
        web01  key:abcdefghijklmnopqrstuvwxya  no open assignment
        ");
        let groups = vec![GroupUnassigned {
            group: lab(),
            result: "",
            revision: 8,
            commit: None,
            told: 3,
        }];
        let shown = UnassignedFrom::Groups(groups);
        assert_snapshot!(on_terminals(|| text(&shown)), @"
        80:
        GROUP  RESULT
        lab    unassigned; announced to no more devices of the group

        140:
        GROUP  RESULT
        lab    unassigned; announced to no more devices of the group
        ");
        assert_snapshot!(plain(&text(&shown)), @"
        GROUP  RESULT
        lab    unassigned; announced to no more devices of the group
        ");
    }
}
