//! The commands that are killed.

use std::fmt;
use std::str::FromStr;

use crate::world::World;
use crate::world::device::TestDevice;

/// A command that makes one commit, and changes the packages of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KilledCommand {
    AssignToGroup,
    UnassignFromGroup,
    AssignToDevice,
    UnassignFromDevice,
    GroupAdd,
    GroupRemove,
    GroupRename,
    GroupDelete,
}

/// The names in a trial, which no other trial uses.
#[derive(Clone, Debug)]
pub(super) struct TrialNames {
    pub(super) group: String,
    /// The name of the group after it was renamed.
    pub(super) renamed: String,
    pub(super) package: String,
}

impl KilledCommand {
    pub const ALL: [Self; 8] = [
        Self::AssignToGroup,
        Self::UnassignFromGroup,
        Self::AssignToDevice,
        Self::UnassignFromDevice,
        Self::GroupAdd,
        Self::GroupRemove,
        Self::GroupRename,
        Self::GroupDelete,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::AssignToGroup => "assign-to-group",
            Self::UnassignFromGroup => "unassign-from-group",
            Self::AssignToDevice => "assign-to-device",
            Self::UnassignFromDevice => "unassign-from-device",
            Self::GroupAdd => "group-add",
            Self::GroupRemove => "group-remove",
            Self::GroupRename => "group-rename",
            Self::GroupDelete => "group-delete",
        }
    }

    /// Returns true if the device is to have the package afterwards. All other commands withdraw it.
    pub(super) const fn assigns(self) -> bool {
        matches!(
            self,
            Self::AssignToGroup | Self::AssignToDevice | Self::GroupAdd | Self::GroupRename
        )
    }

    /// Returns the arguments of the command.
    pub(super) fn arguments<'a>(
        self,
        names: &'a TrialNames,
        device: &'a TestDevice,
    ) -> Vec<&'a str> {
        let TrialNames {
            group,
            renamed,
            package,
        } = names;
        let device = device.id();
        match self {
            Self::AssignToGroup => vec!["assign", package, "--group", group],
            Self::UnassignFromGroup => vec!["unassign", package, "--group", group],
            Self::AssignToDevice => vec!["assign", package, "--device", device],
            Self::UnassignFromDevice => vec!["unassign", package, "--device", device],
            Self::GroupAdd => vec!["group", "add", group, "--device", device],
            Self::GroupRemove => vec!["group", "remove", group, "--device", device],
            Self::GroupRename => vec!["group", "rename", group, renamed],
            Self::GroupDelete => vec!["group", "delete", group, "--force"],
        }
    }

    /// Makes the state that the command changes: group, membership and assignment, without the last
    /// if the command makes it.
    pub(super) fn prepare(self, world: &World, names: &TrialNames, device: &TestDevice) {
        let run = |command: Self| world.ok(&command.arguments(names, device));
        world.ok(&["group", "create", &names.group]);
        let before = match self {
            Self::AssignToGroup => &[Self::GroupAdd][..],
            Self::GroupAdd => &[Self::AssignToGroup],
            Self::AssignToDevice => &[],
            Self::UnassignFromDevice => &[Self::AssignToDevice],
            Self::UnassignFromGroup | Self::GroupRemove | Self::GroupRename | Self::GroupDelete => {
                &[Self::GroupAdd, Self::AssignToGroup]
            }
        };
        for command in before {
            run(*command);
        }
        if self == Self::GroupRename {
            // The device must not run the package again.
            device.run();
        }
    }
}

impl fmt::Display for KilledCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for KilledCommand {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|command| command.name() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("unknown command {text}: expected one of {names}")
        })
    }
}
