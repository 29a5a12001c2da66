//! Whom an assignment is for, as every command spells it.

use std::path::PathBuf;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::{DeviceId, GroupName};
use packcast_store::records::GroupError;

use super::each::AT_ONCE;
use super::group;
use crate::device_list;
use crate::device_name::DeviceName;
use crate::failure::Failure;
use crate::target::Target;

#[derive(Debug, clap::Args)]
#[group(id = "recipients", required = true, multiple = false)]
pub(crate) struct Args {
    /// This device: its id, or its host name (repeatable)
    #[arg(long, value_name = "DEVICE")]
    device: Vec<DeviceName>,
    /// The devices in this file, one in a line; '-' reads standard input
    #[arg(long, value_name = "FILE")]
    devices_from: Option<PathBuf>,
    /// Every device of this group, those that join later included (repeatable)
    #[arg(long, value_name = "GROUP")]
    group: Vec<GroupName>,
    /// Every device, those to come included
    #[arg(long)]
    all: bool,
}

/// Whom an assignment is for.
#[derive(Debug)]
pub(crate) enum Recipients {
    Devices(Vec<DeviceId>),
    Groups(Vec<GroupName>),
}

impl Args {
    /// Finds them all before anything is changed: a name that is mistyped changes nothing.
    pub(crate) async fn find(&self, target: &Target) -> Result<Recipients, Failure> {
        if self.all {
            return Ok(Recipients::Groups(vec![GroupName::all()]));
        }
        if !self.group.is_empty() {
            return find_groups(target, &self.group)
                .await
                .map(Recipients::Groups);
        }
        let names = match &self.devices_from {
            Some(path) => device_list::read(path)?,
            None => self.device.clone(),
        };
        find_devices(target, &names).await.map(Recipients::Devices)
    }
}

async fn find_groups(target: &Target, names: &[GroupName]) -> Result<Vec<GroupName>, Failure> {
    let states = target.records.group_states(names).await?;
    let is_known = |name: &GroupName| states.iter().any(|state| state.group == *name);
    match names.iter().find(|name| !name.is_all() && !is_known(name)) {
        None => Ok(names.to_vec()),
        Some(missing) => {
            let group = missing.clone();
            Err(group::failure(GroupError::NoGroup { group }))
        }
    }
}

/// Finds the devices of these names, in their order.
pub(crate) async fn find_devices(
    target: &Target,
    names: &[DeviceName],
) -> Result<Vec<DeviceId>, Failure> {
    stream::iter(names)
        .map(|name| name.find(target))
        .buffered(AT_ONCE)
        .try_collect()
        .await
}
