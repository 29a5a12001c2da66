//! Rows of an OCS server that belong to nothing that is imported, counted and named.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::PackageId;

use super::super::rows::OcsDatabase;
use super::assigned_rows::AssignedRows;
use super::groups::{Devices, Groups};
use super::packages::label;
use super::{ImportPlan, LeftOutKind};

impl ImportPlan {
    /// Names the computers and groups that are left out, each with its number of rows, and the rows
    /// that nothing on the OCS server uses.
    pub(super) fn add_unused(
        &mut self,
        database: &OcsDatabase,
        rows: &AssignedRows,
        devices: &mut Devices<'_>,
        groups: &mut Groups,
    ) {
        self.add_rows_of_packages(database, rows);
        let packages: Vec<PackageId> = self.packages.iter().map(|it| it.id).collect();
        let mut of_owners: BTreeMap<i64, usize> = BTreeMap::new();
        for rows in packages.iter().filter_map(|id| rows.of_package(*id)) {
            let owners: BTreeSet<&i64> = rows.assigned.keys().chain(&rows.history).collect();
            let others = owners.into_iter();
            let is_other =
                |owner: &&i64| devices.id(**owner).is_none() && groups.name(**owner).is_none();
            for owner in others.filter(is_other) {
                *of_owners.entry(*owner).or_default() += 1;
            }
        }
        for row in &database.members {
            let owner = if groups.name(row.group).is_none() {
                row.group
            } else if devices.id(row.computer).is_none() {
                row.computer
            } else {
                continue;
            };
            *of_owners.entry(owner).or_default() += 1;
        }
        self.add_owners(of_owners, devices, groups);
    }

    fn add_owners(
        &mut self,
        of_owners: BTreeMap<i64, usize>,
        devices: &mut Devices<'_>,
        groups: &mut Groups,
    ) {
        for (owner, number) in of_owners {
            let left_out = devices.left_out.get_mut(&owner);
            if let Some(left_out) = left_out.or_else(|| groups.left_out.get_mut(&owner)) {
                left_out.rows = number;
            } else {
                let reason = "the OCS server has no computer or group with this number";
                self.skip(
                    LeftOutKind::Device,
                    format!("number {owner}"),
                    reason,
                    number,
                );
            }
        }
        self.left_out
            .extend(std::mem::take(&mut devices.left_out).into_values());
        self.left_out
            .extend(std::mem::take(&mut groups.left_out).into_values());
    }

    /// Names the rows of packages and activations that the OCS server does not have any more.
    fn add_rows_of_packages(&mut self, database: &OcsDatabase, rows: &AssignedRows) {
        let packages = database.packages.iter();
        let kept: BTreeSet<&str> = packages
            .clone()
            .filter(|row| !row.is_deleted)
            .map(|row| row.file_id.as_str())
            .collect();
        let deleted: BTreeMap<&str, String> = packages
            .filter(|row| row.is_deleted)
            .map(|row| (row.file_id.as_str(), label(row)))
            .collect();
        for (id, name) in &deleted {
            let reason = "the package was deleted on the OCS server";
            let number = rows.number_of(id);
            self.skip(LeftOutKind::Package, name.clone(), reason, number);
        }
        for (id, number) in rows.numbers() {
            let is_known = kept.contains(id.as_str()) || deleted.contains_key(id.as_str());
            if number > 0 && !is_known {
                let reason = "the OCS server has no package with this id";
                self.skip(LeftOutKind::Package, id, reason, number);
            }
        }
        for (activation, number) in &rows.of_unknown_activations {
            if *number > 0 {
                let name = format!("activation {activation}");
                let reason = "the OCS server has no activation with this number";
                self.skip(LeftOutKind::Activation, name, reason, *number);
            }
        }
        for (package, number) in &rows.unused_settings {
            let name = format!("package {package}");
            let reason = "the OCS server has settings for devices without the package";
            self.skip(LeftOutKind::Assignment, name, reason, *number);
        }
    }
}
