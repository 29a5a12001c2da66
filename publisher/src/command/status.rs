//! `packcast status`: how far packages have come on their devices.

use packcast_protocol::{DeviceId, PackageId, PackageRef};
use packcast_rollout::PackageRecord;
use packcast_store::records::DeviceState;
use serde::Serialize;

use super::{find, state};
use crate::Globals;
use crate::failure::Failure;
use crate::output;
use crate::target::Target;

/// Show how many devices wait for, work on, have or failed with a package
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast status
  packcast status vlc@3.0.21 --devices")]
pub(crate) struct Args {
    /// The package: its id, or name@version; all packages if absent
    #[arg(value_name = "PKG")]
    package: Option<PackageRef>,
    /// List the package's devices, each with its state; the last seconds may be missing
    #[arg(long, requires = "package")]
    devices: bool,
}

#[derive(Serialize)]
struct Progress {
    package: PackageId,
    name: String,
    state: &'static str,
    assigned: u64,
    waiting: u64,
    announced: u64,
    succeeded: u64,
    failed: u64,
    cancelled: u64,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let packages: Vec<PackageRecord> = match &self.package {
            Some(reference) => vec![find(&target, reference).await?],
            None => target.records.packages().await?,
        };
        if self.devices {
            return list_devices(globals, &target, &packages).await;
        }
        let mut progress = Vec::with_capacity(packages.len());
        for package in &packages {
            let tally = target.records.tally(package.id).await?;
            progress.push(Progress {
                package: package.id,
                name: format!("{}@{}", package.name, package.version),
                state: state(package),
                assigned: tally.assigned,
                waiting: tally.waiting(),
                announced: tally.announced,
                succeeded: tally.succeeded,
                failed: tally.failed,
                cancelled: tally.cancelled,
            });
        }
        output::result(globals.format, &progress, |progress| {
            output::table(
                [
                    "ID",
                    "PACKAGE",
                    "STATE",
                    "ASSIGNED",
                    "WAITING",
                    "ANNOUNCED",
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
                        p.succeeded.to_string(),
                        p.failed.to_string(),
                        p.cancelled.to_string(),
                    ]
                }),
            )
        });
        Ok(())
    }
}

/// A device and how far it is with the package.
#[derive(Serialize)]
struct DeviceProgress {
    device: DeviceId,
    state: DeviceState,
}

async fn list_devices(
    globals: &Globals,
    target: &Target,
    packages: &[PackageRecord],
) -> Result<(), Failure> {
    let mut devices = Vec::new();
    for package in packages {
        let states = target.records.devices_of(package.id).await?;
        devices.extend(
            states
                .into_iter()
                .map(|(device, state)| DeviceProgress { device, state }),
        );
    }
    output::result(globals.format, &devices, |devices| {
        output::table(
            ["DEVICE", "STATE"],
            devices
                .iter()
                .map(|at| [at.device.to_string(), at.state.to_string()]),
        )
    });
    Ok(())
}
