//! `packcast group show`: shows a group with its packages and, on request, its devices.

use packcast_protocol::{GroupName, UnixTime};
use packcast_publisher::clock::now;
use packcast_publisher::group::{self, GroupDetails};
use packcast_publisher::package;
use packcast_publisher::{Failure, Target};

use crate::command::pacing;
use crate::output::{self, Format};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the group
    group: GroupName,
    /// Also list the devices of the group
    #[arg(long)]
    devices: bool,
}

impl Args {
    pub(crate) async fn run(self, target: &Target, format: Format) -> Result<(), Failure> {
        let details = group::show(target, &self.group, self.devices).await?;
        output::result(format, &details, |details| text(details, now()));
        Ok(())
    }
}

fn text(details: &GroupDetails, now: UnixTime) -> String {
    let state = &details.state;
    let mut text = output::fields([
        ("group", state.group.to_string()),
        ("devices", details.size.to_string()),
        ("revision", state.revision.to_string()),
        (
            "preferred",
            state
                .preferred
                .as_ref()
                .map_or_else(String::new, ToString::to_string),
        ),
        ("pacing", pacing::words(&state.pace)),
    ]);
    if !state.assignments.is_empty() {
        let rows = state.assignments.iter().map(|assignment| {
            let recorded = details.packages.iter().find(|p| p.id == assignment.package);
            [
                assignment.package.to_string(),
                recorded.map_or_else(String::new, package::named),
                recorded.map_or_else(String::new, |p| package::state(p, now).to_owned()),
                assignment.priority.to_string(),
                if assignment.force { "yes" } else { "" }.to_owned(),
                output::when(assignment.assigned_at),
            ]
        });
        let heading = ["ID", "PACKAGE", "STATE", "PRIORITY", "FORCED", "ASSIGNED"];
        text = format!("{text}\n{}\n", output::table(heading, rows));
    }
    if let Some(devices) = &details.devices {
        let rows = devices.iter().map(|device| [device.to_string()]);
        text = format!("{text}\n{}\n", output::table(["DEVICE"], rows));
    }
    text
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::fixtures::{self, AGENT, NOON, OCS, plain};
    use crate::output::screen::tests::on_terminals;

    #[test]
    fn a_group_is_shown_with_its_packages_and_devices() {
        let details = GroupDetails {
            state: fixtures::group(),
            size: 2,
            devices: Some(vec![AGENT.parse().unwrap(), OCS.parse().unwrap()]),
            packages: vec![fixtures::active()],
        };
        assert_snapshot!(on_terminals(|| text(&details, UnixTime(NOON))), @"
        80:
        group      lab
        devices    2
        revision   7
        preferred  site-berlin
        pacing     fragment pause 2s, cycle pause 5s

        ID          PACKAGE     STATE   PRIORITY  FORCED  ASSIGNED
        1795327754  vlc@3.0.21  active  5         yes     2026-11-18 11:06:40 UTC

        DEVICE
        key:abcdefghijklmnopqrstuvwxya
        ocs:web01-2026-03-04-05-06-07

        140:
        group      lab
        devices    2
        revision   7
        preferred  site-berlin
        pacing     fragment pause 2s, cycle pause 5s

        ID          PACKAGE     STATE   PRIORITY  FORCED  ASSIGNED
        1795327754  vlc@3.0.21  active  5         yes     2026-11-18 11:06:40 UTC

        DEVICE
        key:abcdefghijklmnopqrstuvwxya
        ocs:web01-2026-03-04-05-06-07
        ");
        assert_snapshot!(plain(&text(&details, UnixTime(NOON))), @"
        group      lab
        devices    2
        revision   7
        preferred  site-berlin
        pacing     fragment pause 2s, cycle pause 5s

        ID          PACKAGE     STATE   PRIORITY  FORCED  ASSIGNED
        1795327754  vlc@3.0.21  active  5         yes     2026-11-18 11:06:40 UTC

        DEVICE
        key:abcdefghijklmnopqrstuvwxya
        ocs:web01-2026-03-04-05-06-07
        ");
    }
}
