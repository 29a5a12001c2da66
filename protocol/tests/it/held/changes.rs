//! Changes of a content, and the mandates that devices have in it.

use std::collections::BTreeSet;

use packcast_protocol::state::{Mandate, StateEntry};
use packcast_protocol::{AgentId, Assignee, GroupName, PackageId};

use super::world::{Content, DeviceContent, GroupContent, device, entry, group};

/// The devices of the model.
pub(crate) const AGENTS: usize = 2;

/// Number of different packages.
pub(crate) const PACKAGES: u8 = 2;

/// Number of the package that the last, honest commit assigns.
pub(crate) const LAST_PACKAGE: u32 = 9;

/// A mandate for a package, which a device has or has lost.
pub(crate) type Meant = (PackageId, Mandate);

pub(crate) fn agent(number: usize) -> AgentId {
    device(u8::try_from(number).expect("there are few devices"))
}

/// A change of the content. Numbers are taken modulo the possible ones.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    Assign {
        assignee: u8,
        package: u8,
    },
    /// Withdraws one of the assigned packages.
    Unassign {
        which: u8,
    },
    Join {
        device: u8,
        group: u8,
    },
    /// Ends one of the memberships.
    Leave {
        which: u8,
    },
    DeleteGroup {
        group: u8,
    },
    /// Gives a group another name, unless a group has this name.
    RenameGroup {
        group: u8,
    },
}

/// A commit or a list, counted from the newest one. Numbers are taken modulo the possible ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Back(pub(crate) u8);

impl Back {
    pub(crate) fn of(self, length: usize) -> usize {
        length - 1 - usize::from(self.0) % length
    }
}

pub(crate) const GROUPS: [&str; 3] = ["all", "lab", "site"];

/// Returns a group that can be joined, so not `all`.
fn joined(number: u8) -> GroupName {
    group(GROUPS[1 + usize::from(number) % (GROUPS.len() - 1)])
}

impl Change {
    pub(crate) fn apply(self, content: &mut Content, number: u64) {
        match self {
            Self::Assign { assignee, package } => {
                let entries = packages(content, assignee, number);
                let new = entry(u32::from(package % PACKAGES), number);
                entries.retain(|old| old.package != new.package);
                entries.push(new);
            }
            Self::Unassign { which } => {
                let groups = content.groups.values_mut();
                let groups = groups.map(|group| &mut group.packages);
                let devices = content.devices.values_mut();
                let all = groups.chain(devices.map(|device| &mut device.packages));
                let mut all: Vec<_> = all.filter(|entries| !entries.is_empty()).collect();
                let count = all.len().max(1);
                if let Some(entries) = all.get_mut(usize::from(which) % count) {
                    entries.pop();
                }
            }
            Self::Join { device, group } => {
                let created = existing(content, joined(group), number).created;
                member(content, device)
                    .groups
                    .insert(joined(group), created);
            }
            Self::Leave { which } => {
                let members = content.devices.values_mut();
                let mut members: Vec<&mut DeviceContent> =
                    members.filter(|member| !member.groups.is_empty()).collect();
                let count = members.len().max(1);
                if let Some(member) = members.get_mut(usize::from(which) % count) {
                    member.groups.pop_first();
                }
            }
            Self::DeleteGroup { group } => {
                // The memberships stay: the table may have hidden them from the publisher.
                content.groups.remove(&joined(group));
            }
            Self::RenameGroup { group } => {
                let (from, to) = (joined(group), joined(group.wrapping_add(1)));
                if !content.groups.contains_key(&to) {
                    rename(content, &from, &to, number);
                }
            }
        }
    }
}

fn rename(content: &mut Content, from: &GroupName, to: &GroupName, number: u64) {
    let Some(group) = content.groups.remove(from) else {
        return;
    };
    for member in content.devices.values_mut() {
        if member.groups.get(from) == Some(&group.created) {
            member.groups.remove(from);
            member.groups.insert(to.clone(), number);
        }
    }
    let packages = group.packages.iter();
    let renamed = GroupContent {
        created: number,
        packages: packages.map(|entry| entry.renamed(from, to)).collect(),
        ..group
    };
    content.groups.insert(to.clone(), renamed);
}

fn member(content: &mut Content, device: u8) -> &mut DeviceContent {
    let agent = agent(usize::from(device) % AGENTS);
    content.devices.entry(agent).or_default()
}

/// Returns a group, which this commit creates if it does not exist.
fn existing(content: &mut Content, name: GroupName, number: u64) -> &mut GroupContent {
    let created = if name.is_all() { 0 } else { number };
    let new = GroupContent {
        created,
        ..GroupContent::default()
    };
    content.groups.entry(name).or_insert(new)
}

fn packages(content: &mut Content, assignee: u8, number: u64) -> &mut Vec<StateEntry> {
    match usize::from(assignee) % (GROUPS.len() + AGENTS) {
        index if index < GROUPS.len() => {
            &mut existing(content, group(GROUPS[index]), number).packages
        }
        index => {
            let agent = agent(index - GROUPS.len());
            &mut content.devices.entry(agent).or_default().packages
        }
    }
}

/// Returns the mandates of a device in a content.
pub(crate) fn mandates(content: &Content, number: usize) -> BTreeSet<Meant> {
    content.mandates(&agent(number)).into_keys().collect()
}

/// Withdraws mandates of a device from a content.
pub(crate) fn withdraw(content: &mut Content, number: usize, withdrawn: &BTreeSet<Meant>) {
    for (package, mandate) in withdrawn.intersection(&mandates(content, number)) {
        let owner = content.owner(&agent(number), *package, mandate);
        let member = content.devices.entry(agent(number)).or_default();
        match &owner {
            Assignee::Device(_) => {
                member.packages.retain(|entry| entry.package != *package);
            }
            Assignee::Group(group) if group.is_all() => {
                let all = content.groups.entry(group.clone()).or_default();
                all.packages.retain(|entry| entry.package != *package);
            }
            Assignee::Group(group) => {
                member.groups.remove(group);
            }
        }
    }
}
