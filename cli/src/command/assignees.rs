//! The options that name the assignees of a package.

use std::path::PathBuf;

use packcast_protocol::GroupName;
use packcast_publisher::Failure;
use packcast_publisher::assignees::AssigneeNames;
use packcast_publisher::device_name::DeviceName;

use super::device_list;

#[derive(Debug, clap::Args)]
#[group(id = "assignees", required = true, multiple = false)]
pub(crate) struct Args {
    /// Device, by its id or host name (repeatable)
    #[arg(long, value_name = "DEVICE")]
    device: Vec<DeviceName>,
    /// File with one device per line; '-' reads standard input
    #[arg(long, value_name = "FILE")]
    devices_from: Option<PathBuf>,
    /// Group, with its present and future devices (repeatable)
    #[arg(long, value_name = "GROUP")]
    group: Vec<GroupName>,
    /// All present and future devices
    #[arg(long)]
    all: bool,
}

impl Args {
    /// Returns the assignees that the options name. Reads the file of `--devices-from`.
    pub(crate) fn names(self) -> Result<AssigneeNames, Failure> {
        Ok(if self.all {
            AssigneeNames::All
        } else if !self.group.is_empty() {
            AssigneeNames::Groups(self.group)
        } else if let Some(path) = &self.devices_from {
            AssigneeNames::Devices(device_list::read(path)?)
        } else {
            AssigneeNames::Devices(self.device)
        })
    }
}
