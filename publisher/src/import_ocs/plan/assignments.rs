//! The assignments and results of an import.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::result::NamedCode;
use packcast_protocol::{DeviceId, GroupName, Outcome, PackageId, ResultCode};

use super::assigned_rows::{AssignedRow, AssignedRows, Carried, PackageRows};
use super::groups::{Devices, Groups};
use super::{
    AssignmentImport, ImportPlan, ImportedOwner, IncludedRow, LeftOut, LeftOutKind, ResultImport,
};

/// The assignments and results of one package.
#[derive(Debug, Default)]
struct OfPackage {
    /// The groups that have the package. True if it is forced.
    groups: BTreeMap<GroupName, bool>,
    /// The devices with an open assignment of their own. True if it is forced.
    open: BTreeMap<DeviceId, bool>,
    results: BTreeMap<DeviceId, ResultCode>,
    /// Open rows that the assignments to groups include.
    included: Vec<IncludedRow>,
    left_out: Vec<LeftOut>,
}

/// The part that one group or device has of a package.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ByGroups {
    /// No group of the device has the package.
    None,
    Plain,
    Forced,
}

impl ImportPlan {
    pub(super) fn add_assignments(
        &mut self,
        rows: &AssignedRows,
        devices: &Devices<'_>,
        groups: &Groups,
    ) {
        let packages = self.packages.iter().map(|it| it.id);
        let packages: BTreeSet<PackageId> = packages.collect();
        let (mut to_groups, mut to_devices) = (Vec::new(), Vec::new());
        for package in packages {
            let Some(rows) = rows.of_package(package) else {
                continue;
            };
            let of_package = OfPackage::of(package, rows, devices, groups);
            let assigned = |to, force| AssignmentImport {
                package,
                to,
                force,
                is_again: false,
            };
            let groups = of_package.groups.into_iter();
            to_groups
                .extend(groups.map(|(group, force)| assigned(ImportedOwner::Group(group), force)));
            let open = of_package.open.into_iter();
            to_devices
                .extend(open.map(|(device, force)| assigned(ImportedOwner::Device(device), force)));
            self.left_out.extend(of_package.left_out);
            self.included.extend(of_package.included);
            self.add_results(package, of_package.results);
        }
        self.assignments = to_groups;
        self.assignments.append(&mut to_devices);
        self.results
            .sort_by(|one, other| (&one.device, one.package).cmp(&(&other.device, other.package)));
    }

    fn add_results(&mut self, package: PackageId, results: BTreeMap<DeviceId, ResultCode>) {
        let success_codes = BTreeSet::from([0]);
        for (device, code) in results {
            let outcome = code.outcome(&success_codes);
            if outcome == Outcome::Cancelled {
                let name = format!("package {package} on {device}");
                let reason = "the device has cancelled the package before it acted";
                self.skipped
                    .push(LeftOut::new(LeftOutKind::Result, name, reason));
                continue;
            }
            self.results.push(ResultImport {
                device,
                package,
                code,
                outcome,
            });
        }
    }
}

impl OfPackage {
    fn of(package: PackageId, rows: &PackageRows, devices: &Devices<'_>, groups: &Groups) -> Self {
        let mut of_package = Self::default();
        for (owner, row) in rows
            .assigned
            .iter()
            .filter(|(_, row)| row.carried != Carried::LeftOut)
        {
            if let Some(group) = groups.name(*owner) {
                of_package.groups.insert(group.clone(), row.is_forced);
            }
        }
        for (owner, row) in &rows.assigned {
            let device = devices.id(*owner).filter(|device| {
                let latest = devices.latest_row(device).unwrap_or(*owner);
                latest == *owner || !rows.assigned.contains_key(&latest)
            });
            if let Some(device) = device {
                let by_groups = of_package.by_groups(device, groups);
                let is_done = rows.is_done(*owner, row) && by_groups != ByGroups::Forced;
                of_package.add((package, device), row, (is_done, by_groups), groups);
            }
        }
        let Self { open, results, .. } = &mut of_package;
        results.retain(|device, _| !open.contains_key(device));
        for owner in &rows.history {
            let Some(device) = devices.id(*owner) else {
                continue;
            };
            // A group with force runs the package again on a device that has it in its history.
            let is_open = of_package.open.contains_key(device)
                || of_package.by_groups(device, groups) == ByGroups::Forced;
            if !is_open {
                let code = NamedCode::AlreadyInHistory.into();
                of_package.results.entry(device.clone()).or_insert(code);
            }
        }
        of_package
    }

    fn by_groups(&self, device: &DeviceId, groups: &Groups) -> ByGroups {
        let forced = groups
            .of(device)
            .filter_map(|group| self.groups.get(group).copied());
        match forced.max() {
            None => ByGroups::None,
            Some(false) => ByGroups::Plain,
            Some(true) => ByGroups::Forced,
        }
    }

    /// Adds the rows about one device.
    fn add(
        &mut self,
        (package, device): (PackageId, &DeviceId),
        row: &AssignedRow,
        (is_done, by_groups): (bool, ByGroups),
        groups: &Groups,
    ) {
        if row.is_open && is_done {
            let code = NamedCode::AlreadyInHistory.into();
            self.results.insert(device.clone(), code);
        } else if row.is_open {
            let is_assigned_by_group = match by_groups {
                ByGroups::None => false,
                ByGroups::Plain => !row.is_forced,
                ByGroups::Forced => true,
            };
            if is_assigned_by_group {
                let of_device = groups.of(device);
                let having = of_device.filter(|group| self.groups.contains_key(*group));
                self.included.push(IncludedRow {
                    device: device.clone(),
                    package,
                    force: row.is_forced,
                    groups: having.cloned().collect(),
                });
            } else if row.carried == Carried::Itself {
                self.open.insert(device.clone(), row.is_forced);
            }
        } else if let Some(code) = &row.result {
            match read_code(code) {
                Ok(code) => {
                    self.results.insert(device.clone(), code);
                }
                Err(reason) => self.left_out.push(LeftOut::new(
                    LeftOutKind::Result,
                    format!("package {package} on {device}"),
                    reason,
                )),
            }
        }
    }
}

/// Reads a result code. An older OCS server writes `ERR_ALREADY_IN_HISTORY` for a package that the
/// device has already.
fn read_code(text: &str) -> Result<ResultCode, String> {
    let code: ResultCode = text.parse().map_err(|error| format!("{error}"))?;
    Ok(match code {
        ResultCode::Named(NamedCode::AlreadyInHistoryError) => NamedCode::AlreadyInHistory.into(),
        code => code,
    })
}
