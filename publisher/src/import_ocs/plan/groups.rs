//! The groups and devices of an import.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::state::document::MAX_DEVICE_GROUPS;
use packcast_protocol::{DeviceId, GroupName, OcsDeviceId};

use super::super::names::{group_name, unescaped};
use super::super::rows::{ComputerRow, GroupRow, OcsDatabase};
use super::{
    DeviceImport, GroupImport, ImportPlan, ImportSource, ImportedOwner, LeftOut, LeftOutKind, Move,
};

/// The length of the longest query that is kept, in characters.
const MAX_QUERY_CHARS: usize = 1_000;

/// The length of the longest name that is kept, in characters.
const MAX_NAME_CHARS: usize = 255;

/// The computers of an OCS server with valid ids.
#[derive(Debug, Default)]
pub(super) struct Devices<'a> {
    by_row: BTreeMap<i64, DeviceId>,
    computers: BTreeMap<DeviceId, &'a ComputerRow>,
    /// Computers that are left out, by their numbers.
    pub(super) left_out: BTreeMap<i64, LeftOut>,
}

/// The groups of an import.
#[derive(Debug, Default)]
pub(super) struct Groups {
    by_row: BTreeMap<i64, GroupName>,
    of_device: BTreeMap<DeviceId, BTreeSet<GroupName>>,
    /// Groups that are left out, by their numbers.
    pub(super) left_out: BTreeMap<i64, LeftOut>,
}

impl<'a> Devices<'a> {
    pub(super) fn of(database: &'a OcsDatabase) -> Self {
        let mut devices = Self::default();
        for row in &database.computers {
            let id: OcsDeviceId = match row.device_id.parse() {
                Ok(id) => id,
                Err(error) => {
                    let name = format!("{} ({})", row.host_name, row.id);
                    let reason = format!("{error}");
                    let left_out = LeftOut::new(LeftOutKind::Device, name, reason);
                    devices.left_out.insert(row.id, left_out);
                    continue;
                }
            };
            let device = DeviceId::Ocs(id);
            devices.by_row.insert(row.id, device.clone());
            let known = devices.computers.entry(device).or_insert(row);
            // Of two rows with one id, the one of the latest contact counts.
            if known.last_seen < row.last_seen {
                *known = row;
            }
        }
        devices
    }

    pub(super) fn id(&self, row: i64) -> Option<&DeviceId> {
        self.by_row.get(&row)
    }

    /// Returns the row of a device: of several rows with one id, the one of the latest contact.
    pub(super) fn latest_row(&self, device: &DeviceId) -> Option<i64> {
        self.computers.get(device).map(|row| row.id)
    }
}

impl Groups {
    pub(super) fn name(&self, row: i64) -> Option<&GroupName> {
        self.by_row.get(&row)
    }

    pub(super) fn of(&self, device: &DeviceId) -> impl Iterator<Item = &GroupName> {
        self.of_device.get(device).into_iter().flatten()
    }

    fn leave_out(&mut self, row: &GroupRow, reason: String) {
        let name = format!("{} ({})", unescaped(&row.name), row.id);
        let left_out = LeftOut::new(LeftOutKind::Group, name, reason);
        self.left_out.insert(row.id, left_out);
    }
}

impl ImportPlan {
    pub(super) fn add_groups(&mut self, source: ImportSource<'_>, devices: &Devices<'_>) -> Groups {
        let mut groups = Groups::default();
        let mut names: BTreeMap<GroupName, &str> = BTreeMap::new();
        let mut rows: Vec<_> = source.database.groups.iter().collect();
        rows.sort_by_key(|row| row.id);
        for row in rows {
            let ocs_name = unescaped(&row.name);
            let chosen = source.names.group(row.id).cloned();
            let is_chosen = chosen.is_some();
            let group = chosen.unwrap_or_else(|| group_name(&ocs_name, row.id));
            if group.is_all() {
                let reason = "every device is in the group all: choose another with --names";
                groups.leave_out(row, reason.to_owned());
                continue;
            }
            if let Some(other) = names.get(&group) {
                let reason = format!(
                    "group {other:?} has the same name {group} here: choose another with --names"
                );
                groups.leave_out(row, reason);
                continue;
            }
            names.insert(group.clone(), &row.name);
            groups.by_row.insert(row.id, group.clone());
            let query = row.query.as_ref();
            self.groups.push(GroupImport {
                ocs_id: row.id,
                ocs_name: ocs_name.chars().take(MAX_NAME_CHARS).collect(),
                origin: group.clone(),
                group,
                query: query.map(|query| query.chars().take(MAX_QUERY_CHARS).collect()),
                exists: false,
                is_chosen,
                ocs_created: row.created.clone(),
                members: BTreeSet::new(),
            });
        }
        self.add_members(source.database, devices, &mut groups);
        groups
    }

    fn add_members(&mut self, database: &OcsDatabase, devices: &Devices<'_>, groups: &mut Groups) {
        let positions = self.groups.iter().enumerate();
        let positions: BTreeMap<i64, usize> = positions.map(|(at, it)| (it.ocs_id, at)).collect();
        let mut rows = database.members.clone();
        rows.sort_by_key(|row| (row.group, row.computer));
        for row in rows {
            let position = positions.get(&row.group);
            let Some((device, position)) = devices.id(row.computer).zip(position) else {
                continue;
            };
            let group = &mut self.groups[*position];
            let of_device = groups.of_device.entry(device.clone()).or_default();
            let reason = if group.members.contains(device) {
                "the group has two rows of the device: it joins once".to_owned()
            } else if of_device.len() >= MAX_DEVICE_GROUPS {
                format!("a device is in at most {MAX_DEVICE_GROUPS} groups")
            } else {
                group.members.insert(device.clone());
                of_device.insert(group.group.clone());
                continue;
            };
            let name = format!("{device} in {}", group.ocs_name);
            self.left_out
                .push(LeftOut::new(LeftOutKind::Membership, name, reason));
        }
    }

    /// Adds the devices that are in a group, have an assignment, or have a result.
    pub(super) fn add_devices(&mut self, devices: &Devices<'_>) {
        let members = self.groups.iter().flat_map(|group| &group.members);
        let assigned = self.assignments.iter().filter_map(|it| match &it.to {
            ImportedOwner::Device(device) => Some(device),
            ImportedOwner::Group(_) => None,
        });
        let results = self.results.iter().map(|result| &result.device);
        let needed: BTreeSet<&DeviceId> = members.chain(assigned).chain(results).collect();
        self.devices = needed
            .into_iter()
            .filter_map(|device| Some(imported(device, devices.computers.get(device)?)))
            .collect();
    }
}

fn imported(device: &DeviceId, row: &ComputerRow) -> DeviceImport {
    DeviceImport {
        device: device.clone(),
        host_name: row.host_name.clone(),
        agent: row.agent.clone(),
        os: row.os_name.clone(),
        last_seen: row.last_seen,
        moves: Move::of(&row.agent),
    }
}

impl Move {
    pub(super) fn of(agent: &str) -> Self {
        let agent = agent.to_ascii_lowercase();
        if agent.contains("unix") {
            Self::Unix
        } else if agent.contains("windows") {
            Self::Windows
        } else {
            Self::ByHand
        }
    }
}
