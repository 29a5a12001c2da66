//! `packcast group show`: shows a group with its packages and, on request, its devices.

use packcast_protocol::GroupName;
use packcast_publisher::group::{self, GroupDetails, GroupPackage};
use packcast_publisher::{Failure, Target};
use packcast_store::records::ImportedGroup;

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
        output::result(format, &details, text);
        Ok(())
    }
}

fn text(details: &GroupDetails) -> String {
    let preferred = details.preferred.as_ref();
    let mut text = output::fields([
        ("group", details.group.to_string()),
        ("devices", details.size.to_string()),
        ("revision", details.revision.to_string()),
        (
            "preferred",
            preferred.map_or_else(String::new, ToString::to_string),
        ),
        ("pacing", pacing::words(&details.pacing)),
        (
            "imported",
            details.imported.as_ref().map_or_else(String::new, imported),
        ),
    ]);
    if !details.assignments.is_empty() {
        let rows = details.assignments.iter().map(|package| {
            let assignment = &package.assignment;
            [
                assignment.package.to_string(),
                package.name.clone(),
                package.state.to_owned(),
                assignment.priority.to_string(),
                terms(package),
                output::when(assignment.assigned_at),
            ]
        });
        let heading = ["ID", "PACKAGE", "STATE", "PRIORITY", "TERMS", "ASSIGNED"];
        text = format!("{text}\n{}\n", output::table(heading, rows));
    }
    if let Some(devices) = &details.devices {
        let rows = devices
            .iter()
            .map(|at| [at.host_name.clone(), at.device.to_string()]);
        text = format!("{text}\n{}\n", output::table(["HOST", "DEVICE"], rows));
    }
    text
}

/// Writes the group of an OCS server from which a group was imported.
fn imported(group: &ImportedGroup) -> String {
    let from = format!("OCS group {} ({})", group.ocs_name, group.ocs_id);
    match &group.query {
        Some(query) => format!("{from}, a snapshot of the query {query}"),
        None => from,
    }
}

/// Writes the options that an assignment was made with, as `packcast log` does.
fn terms(package: &GroupPackage) -> String {
    let force = package.assignment.force.then_some("force");
    let downgrade = (package.downgrade == Some(true)).then_some("downgrade");
    let terms: Vec<&str> = [force, downgrade].into_iter().flatten().collect();
    terms.join(", ")
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use packcast_protocol::state::GroupOrigin;
    use packcast_publisher::group::GroupMember;

    use super::*;
    use crate::fixtures::{self, AGENT, OCS, plain};
    use crate::output::screen::tests::on_terminals;

    fn member((id, host_name): (&str, &str)) -> GroupMember {
        GroupMember {
            device: id.parse().unwrap(),
            host_name: host_name.to_owned(),
        }
    }

    #[test]
    fn an_imported_group_is_shown_with_its_query() {
        let group = |query: Option<&str>| ImportedGroup {
            ocs_created: None,
            origin: GroupOrigin {
                name: "debian".parse().unwrap(),
                created: 7,
            },
            ocs_id: 1017,
            ocs_name: "Debian".to_owned(),
            query: query.map(ToOwned::to_owned),
        };
        let shown = [None, Some("SELECT 1")].map(|query| imported(&group(query)));
        assert_snapshot!(shown.join("\n"), @"
        OCS group Debian (1017)
        OCS group Debian (1017), a snapshot of the query SELECT 1
        ");
    }

    #[test]
    fn a_group_is_shown_with_its_packages_and_devices() {
        let group = fixtures::group();
        let assignments = group
            .assignments
            .into_iter()
            .map(|assignment| GroupPackage {
                assignment,
                downgrade: Some(true),
                name: "vlc@3.0.21".to_owned(),
                state: "active",
            });
        let details = GroupDetails {
            group: group.group,
            revision: group.revision,
            size: 2,
            preferred: group.preferred,
            pacing: group.pace,
            assignments: assignments.collect(),
            devices: Some([(AGENT, "web01"), (OCS, "")].map(member).into()),
            imported: None,
            created_at: group.created_at,
            created: group.created,
            origin: group.origin,
            document: group.document,
        };
        assert_snapshot!(on_terminals(|| text(&details)), @"
        80:
        group      lab
        devices    2
        revision   7
        preferred  site-berlin
        pacing     fragment pause 2s, cycle pause 5s

        ID          PACKAGE     STATE   PRIORITY  TERMS             ASSIGNED
        1795327754  vlc@3.0.21  active  5         force, downgrade  2026-11-18 11:06:40
                                                                    UTC

        HOST   DEVICE
        web01  key:abcdefghijklmnopqrstuvwxya
               ocs:web01-2026-03-04-05-06-07

        140:
        group      lab
        devices    2
        revision   7
        preferred  site-berlin
        pacing     fragment pause 2s, cycle pause 5s

        ID          PACKAGE     STATE   PRIORITY  TERMS             ASSIGNED
        1795327754  vlc@3.0.21  active  5         force, downgrade  2026-11-18 11:06:40 UTC

        HOST   DEVICE
        web01  key:abcdefghijklmnopqrstuvwxya
               ocs:web01-2026-03-04-05-06-07
        ");
        assert_snapshot!(plain(&text(&details)), @"
        group      lab
        devices    2
        revision   7
        preferred  site-berlin
        pacing     fragment pause 2s, cycle pause 5s

        ID          PACKAGE     STATE   PRIORITY  TERMS             ASSIGNED
        1795327754  vlc@3.0.21  active  5         force, downgrade  2026-11-18 11:06:40 UTC

        HOST   DEVICE
        web01  key:abcdefghijklmnopqrstuvwxya
               ocs:web01-2026-03-04-05-06-07
        ");
    }
}
