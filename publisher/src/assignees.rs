//! The devices or groups of an assignment.

use std::fmt;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use packcast_protocol::{DeviceId, GroupName};

use crate::concurrency::AT_ONCE;
use crate::device_name::DeviceName;
use crate::distinct::distinct;
use crate::failure::Failure;
use crate::known_group::GroupRefusal;
use crate::target::Target;

/// Assignees by the names that an administrator gives.
#[derive(Clone, Debug)]
pub enum AssigneeNames {
    /// These devices.
    Devices(Vec<DeviceName>),
    /// All members of these groups, future members included.
    Groups(Vec<GroupName>),
    /// All devices, future devices included.
    All,
}

/// Assignees in a target, found by their names.
#[derive(Clone, Debug)]
pub enum Assignees {
    /// These devices. A device that was named by its id may never have checked in.
    Devices(Vec<DeviceId>),
    /// These groups.
    Groups(Vec<GroupName>),
}

impl fmt::Display for AssigneeNames {
    /// Writes the names as the options of a command.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Devices(names) => write_options(f, "--device", names),
            Self::Groups(names) => write_options(f, "--group", names),
            Self::All => f.write_str("--all"),
        }
    }
}

fn write_options(
    f: &mut fmt::Formatter<'_>,
    option: &str,
    names: &[impl fmt::Display],
) -> fmt::Result {
    for (index, name) in names.iter().enumerate() {
        let space = if index == 0 { "" } else { " " };
        write!(f, "{space}{option} {name}")?;
    }
    Ok(())
}

impl AssigneeNames {
    /// Finds all assignees. Callers do so before the first change, so that a mistyped name
    /// changes nothing.
    pub async fn find(&self, target: &Target) -> Result<Assignees, Failure> {
        match self {
            Self::All => Ok(Assignees::Groups(vec![GroupName::all()])),
            Self::Groups(names) => find_groups(target, names).await.map(Assignees::Groups),
            Self::Devices(names) => find_devices(target, names).await.map(Assignees::Devices),
        }
    }
}

async fn find_groups(target: &Target, names: &[GroupName]) -> Result<Vec<GroupName>, Failure> {
    let states = target.records.group_states(names).await?;
    let is_known = |name: &GroupName| states.iter().any(|state| state.group == *name);
    match names.iter().find(|name| !name.is_all() && !is_known(name)) {
        None => Ok(distinct(names.iter()).cloned().collect()),
        Some(missing) => {
            let group = missing.clone();
            Err(GroupRefusal::NoGroup { group }.into())
        }
    }
}

/// Finds the devices with these names, each once, in the order of the names.
async fn find_devices(target: &Target, names: &[DeviceName]) -> Result<Vec<DeviceId>, Failure> {
    let found: Vec<DeviceId> = stream::iter(names)
        .map(|name| name.find(target))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    Ok(distinct(found.into_iter()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_options() {
        let lab = "lab".parse().unwrap();
        let device = |name: &str| name.parse().unwrap();
        let names = [
            AssigneeNames::Devices(vec![device("web01"), device("ocs:pc1-2026-03-04-05-06-07")]),
            AssigneeNames::Groups(vec![lab]),
            AssigneeNames::All,
        ];
        let lines = names.map(|names| names.to_string());
        insta::assert_snapshot!(lines.join("\n"), @r"
        --device web01 --device ocs:pc1-2026-03-04-05-06-07
        --group lab
        --all
        ");
    }
}
