//! `packcast device replace`: lets a device take the place of another one.

use packcast_protocol::GroupName;
use packcast_publisher::device::replacement::{self, DeviceReplaced, PackageOfOld};
use packcast_publisher::device_name::DeviceName;
use packcast_publisher::{Failure, Target};

use crate::command::key_arg::KeyArg;
use crate::confirm::ConfirmArgs;
use crate::globals::Globals;
use crate::output;
use crate::progress::{Bar, until_interrupted};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The device from before the new installation: its id (key:<agent id> or ocs:<DEVICEID>)
    old: DeviceName,
    /// The device that takes its place: its id
    new: DeviceName,
    #[command(flatten)]
    confirm: ConfirmArgs,
    #[command(flatten)]
    key: KeyArg,
}

impl Args {
    pub(crate) async fn run(self, target: &Target, globals: &Globals) -> Result<(), Failure> {
        let plan = replacement::plan(target, &self.old, &self.new).await?;
        output::warn(plan.warnings());
        if !self.confirm.is_agreed(globals, plan.preview())? {
            return Ok(());
        }
        let (signer, bar) = (self.key.signer(target), Bar::new());
        let progress = bar.progress();
        let work = Box::pin(plan.perform(signer, &progress));
        let replaced = until_interrupted("devices", work, &bar).await?;
        output::result(globals.format, &replaced, text);
        Ok(())
    }
}

fn text(replaced: &DeviceReplaced) -> String {
    let groups: Vec<&str> = replaced.groups.iter().map(GroupName::as_str).collect();
    let assigned = replaced.packages.iter().filter(|it| it.is_assigned);
    let others = replaced.packages.iter().filter(|it| !it.is_assigned);
    let with_reason = |it: &PackageOfOld| format!("{} ({})", it.package, it.result);
    let listed = |names: Vec<String>| names.join(", ");
    output::fields([
        ("old device", replaced.device.to_string()),
        ("new device", replaced.replaced_by.to_string()),
        ("host name", replaced.host_name.clone()),
        ("new groups", groups.join(", ")),
        (
            "assigned",
            listed(assigned.map(|it| it.package.clone()).collect()),
        ),
        ("not assigned", listed(others.map(with_reason).collect())),
        ("removal", replaced.result.words().to_owned()),
    ])
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use packcast_publisher::device::exclusion::DeviceResult;

    use super::*;
    use crate::fixtures::{AGENT, OCS, plain};

    #[test]
    fn a_replacement_shows_the_changes_of_the_new_device() {
        let package = |package: &str, result, is_assigned| PackageOfOld {
            package: package.to_owned(),
            result,
            is_assigned,
        };
        let mut replaced = DeviceReplaced {
            device: OCS.parse().unwrap(),
            replaced_by: AGENT.parse().unwrap(),
            host_name: "web01".to_owned(),
            groups: ["lab", "office"].map(|name| name.parse().unwrap()).into(),
            packages: vec![
                package("7zip@26.0", "finished", false),
                package("tool@1", "assigned", true),
            ],
            commit: Some(7),
            result: DeviceResult::Removed,
        };
        assert_snapshot!(plain(&text(&replaced)), @"
        old device    ocs:web01-2026-03-04-05-06-07
        new device    key:abcdefghijklmnopqrstuvwxya
        host name     web01
        new groups    lab, office
        assigned      tool@1
        not assigned  7zip@26.0 (finished)
        removal       removed
        ");
        // The command was interrupted, and is run again.
        replaced.groups.clear();
        replaced.packages.clear();
        replaced.host_name.clear();
        replaced.result = DeviceResult::AlreadyRemoved;
        assert_snapshot!(plain(&text(&replaced)), @"
        old device    ocs:web01-2026-03-04-05-06-07
        new device    key:abcdefghijklmnopqrstuvwxya
        removal       removed before
        ");
    }
}
