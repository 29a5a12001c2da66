//! `packcast group show`: what a group has, and who is in it.

use packcast_protocol::{DeviceId, GroupName, PackageId};
use packcast_rollout::{GroupState, PackageRecord};
use serde::Serialize;

use super::known;
use crate::command::pace;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::target::Target;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    group: GroupName,
    /// List its devices
    #[arg(long)]
    devices: bool,
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    state: GroupState,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    devices: Option<Vec<DeviceId>>,
    #[serde(skip)]
    packages: Vec<PackageRecord>,
}

impl Args {
    pub(crate) async fn run(self, target: &Target, format: Format) -> Result<(), Failure> {
        let state = if self.group.is_all() {
            let state = target.records.group(&self.group).await?;
            state.unwrap_or_else(|| GroupState::new(self.group.clone(), 0, crate::clock::now()))
        } else {
            known(target, &self.group).await?
        };
        let ids: Vec<PackageId> = state.assignments.iter().map(|a| a.package).collect();
        let devices = if self.devices {
            Some(target.records.members(&self.group).await?)
        } else {
            None
        };
        let shown = Shown {
            size: target.records.size(&self.group).await?,
            packages: target.records.packages_of(&ids).await?,
            devices,
            state,
        };
        output::result(format, &shown, text);
        Ok(())
    }
}

fn text(shown: &Shown) -> String {
    let state = &shown.state;
    let mut text = output::fields([
        ("group", state.group.to_string()),
        ("devices", shown.size.to_string()),
        ("revision", state.revision.to_string()),
        ("good until", super::good_until(state)),
        (
            "preferred",
            state
                .preferred
                .as_ref()
                .map_or_else(String::new, ToString::to_string),
        ),
        ("pace", pace::words(&state.pace)),
    ]);
    if !state.assignments.is_empty() {
        let rows = state.assignments.iter().map(|assignment| {
            let package = shown.packages.iter().find(|p| p.id == assignment.package);
            [
                assignment.package.to_string(),
                package.map_or_else(String::new, |p| format!("{}@{}", p.name, p.version)),
                package.map_or_else(String::new, |p| super::super::state(p).to_owned()),
                assignment.priority.to_string(),
                if assignment.force { "yes" } else { "" }.to_owned(),
                output::time(assignment.assigned_at),
            ]
        });
        let heading = ["ID", "PACKAGE", "STATE", "PRIORITY", "FORCED", "ASSIGNED"];
        text = format!("{text}\n{}\n", output::table(heading, rows));
    }
    if let Some(devices) = &shown.devices {
        let rows = devices.iter().map(|device| [device.to_string()]);
        text = format!("{text}\n{}\n", output::table(["DEVICE"], rows));
    }
    text
}
