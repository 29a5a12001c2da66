//! The assignments and results of an import.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::result::NamedCode;
use packcast_protocol::state::document::MAX_ENTRIES;
use packcast_protocol::windows::{Afterwards, Schedule};
use packcast_protocol::{DeviceId, GroupName, Outcome, PackageId, ResultCode};

use super::super::rows::{AssignmentKind, OcsDatabase};
use super::groups::{Devices, Groups};
use super::{AssignmentImport, ImportPlan, ImportedOwner, LeftOut, LeftOutKind, ResultImport};

/// A package with the row of a computer or group that it is assigned to.
type Key = (i64, PackageId);

/// The rows about the assignments of packages.
#[derive(Debug, Default)]
pub(super) struct Rows {
    assigned: BTreeMap<Key, AssignedRow>,
    history: BTreeSet<Key>,
}

/// The rows about one package and one computer or group.
#[derive(Debug, Default)]
struct AssignedRow {
    is_assigned: bool,
    /// An activation of the package has no result yet.
    is_open: bool,
    result: Option<String>,
    is_forced: bool,
    schedule: Option<String>,
    afterwards: Option<String>,
}

/// Schedule and restart of a package.
pub(super) type Extras = (Option<Schedule>, Option<Afterwards>);

impl Rows {
    pub(super) fn of(database: &OcsDatabase) -> Self {
        let activations: BTreeMap<i64, PackageId> = database
            .activations
            .iter()
            .filter_map(|row| Some((row.id, row.file_id.parse().ok()?)))
            .collect();
        let mut rows = Self::default();
        for row in &database.assignments {
            let Some(package) = activations.get(&row.activation) else {
                continue;
            };
            let assigned = rows.assigned.entry((row.owner, *package)).or_default();
            let value = row.value.clone().filter(|value| !value.is_empty());
            match row.kind {
                AssignmentKind::Package => assigned.add(value),
                AssignmentKind::Force => assigned.is_forced |= value.as_deref() == Some("1"),
                AssignmentKind::Schedule => assigned.schedule = value,
                AssignmentKind::Afterwards => assigned.afterwards = value,
            }
        }
        rows.assigned.retain(|_, assigned| assigned.is_assigned);
        for row in &database.history {
            if let Ok(package) = PackageId::try_from(u32::try_from(row.package).unwrap_or(0)) {
                rows.history.insert((row.computer, package));
            }
        }
        rows
    }

    /// Returns the number of assignments and results of a package.
    pub(super) fn number_of(&self, file_id: &str) -> usize {
        let Ok(package) = file_id.parse::<PackageId>() else {
            return 0;
        };
        let keys = self.assigned.keys().chain(&self.history);
        let keys: BTreeSet<&Key> = keys.filter(|(_, id)| *id == package).collect();
        keys.len()
    }

    /// Returns the schedule and the restart of a package, if all open assignments agree on them.
    pub(super) fn extras(&self, file_id: &str) -> Result<Extras, String> {
        let package = file_id.parse::<PackageId>().ok();
        let rows = self.assigned.iter();
        let open = rows.filter(|((_, id), row)| Some(*id) == package && row.is_open);
        let extras: BTreeSet<(Option<&str>, Option<&str>)> = open
            .map(|(_, row)| (row.schedule.as_deref(), row.afterwards.as_deref()))
            .collect();
        let mut extras = extras.into_iter();
        let (schedule, afterwards) = match (extras.next(), extras.next()) {
            (None, _) => (None, None),
            (Some(all), None) => all,
            (Some(_), Some(_)) => {
                return Err(
                    "its assignments have different schedules or restarts: Packcast has them for the whole package"
                        .to_owned(),
                );
            }
        };
        let schedule = schedule
            .map(|text| text.parse().map_err(|error| format!("{error}")))
            .transpose()?;
        let afterwards = match afterwards {
            None => None,
            Some("REBOOT") => Some(Afterwards::Reboot),
            Some("SHUTDOWN") => Some(Afterwards::Shutdown),
            Some(other) => {
                let other: String = other.chars().take(80).collect();
                return Err(format!(
                    "the command {other:?} after the package is neither REBOOT nor SHUTDOWN"
                ));
            }
        };
        Ok((schedule, afterwards))
    }
}

impl AssignedRow {
    fn add(&mut self, value: Option<String>) {
        self.is_assigned = true;
        match value {
            None => self.is_open = true,
            Some(value) if value == "NOTIFIED" => self.is_open = true,
            Some(value) => self.result = Some(value),
        }
    }
}

impl ImportPlan {
    pub(super) fn add_assignments(&mut self, rows: &Rows, devices: &Devices, groups: &Groups) {
        let packages: BTreeSet<PackageId> = self.packages.iter().map(|it| it.id).collect();
        let by_group = self.add_to_groups(rows, groups, &packages);
        let mut results: BTreeMap<(DeviceId, PackageId), ResultCode> = BTreeMap::new();
        let mut open: BTreeMap<(DeviceId, PackageId), bool> = BTreeMap::new();
        for ((owner, package), row) in &rows.assigned {
            let Some(device) = devices.id(*owner).filter(|_| packages.contains(package)) else {
                continue;
            };
            let key = (device.clone(), *package);
            let is_done = rows.history.contains(&(*owner, *package)) && !row.is_forced;
            match &row.result {
                _ if row.is_open && is_done => {
                    results.insert(key, NamedCode::AlreadyInHistory.into());
                }
                _ if row.is_open => {
                    let of_group = groups.of(device);
                    let mut of_group = of_group.filter_map(|it| by_group.get(&(it, *package)));
                    if !of_group.any(|forced| *forced || !row.is_forced) {
                        open.insert(key, row.is_forced);
                    }
                }
                Some(code) => match code.parse() {
                    Ok(code) => {
                        results.insert(key, code);
                    }
                    Err(error) => self.left_out.push(LeftOut::new(
                        LeftOutKind::Result,
                        format!("package {package} on {device}"),
                        format!("{error}"),
                    )),
                },
                None => {}
            }
        }
        for (owner, package) in &rows.history {
            let Some(device) = devices.id(*owner).filter(|_| packages.contains(package)) else {
                continue;
            };
            let key = (device.clone(), *package);
            if !open.contains_key(&key) {
                let code = NamedCode::AlreadyInHistory;
                results.entry(key).or_insert_with(|| code.into());
            }
        }
        self.add_to_devices(open);
        self.add_results(results);
    }

    /// Adds the assignments to groups, and returns which of them are forced.
    fn add_to_groups<'a>(
        &mut self,
        rows: &Rows,
        groups: &'a Groups,
        packages: &BTreeSet<PackageId>,
    ) -> BTreeMap<(&'a GroupName, PackageId), bool> {
        let mut by_group = BTreeMap::new();
        for ((owner, package), row) in &rows.assigned {
            let Some(group) = groups.name(*owner).filter(|_| packages.contains(package)) else {
                continue;
            };
            by_group.insert((group, *package), row.is_forced);
            self.assignments.push(AssignmentImport {
                package: *package,
                to: ImportedOwner::Group(group.clone()),
                force: row.is_forced,
            });
        }
        by_group
    }

    fn add_to_devices(&mut self, open: BTreeMap<(DeviceId, PackageId), bool>) {
        let mut count: BTreeMap<DeviceId, usize> = BTreeMap::new();
        for ((device, package), force) in open {
            let count = count.entry(device.clone()).or_default();
            *count += 1;
            if *count > MAX_ENTRIES {
                self.left_out.push(LeftOut::new(
                    LeftOutKind::Assignment,
                    format!("package {package} to {device}"),
                    format!("a device has at most {MAX_ENTRIES} assignments"),
                ));
                continue;
            }
            self.assignments.push(AssignmentImport {
                package,
                to: ImportedOwner::Device(device),
                force,
            });
        }
    }

    fn add_results(&mut self, results: BTreeMap<(DeviceId, PackageId), ResultCode>) {
        let success_codes = BTreeSet::from([0]);
        self.results = results
            .into_iter()
            .map(|((device, package), code)| ResultImport {
                outcome: code.outcome(&success_codes),
                device,
                package,
                code,
            })
            // The device has not acted, so nothing is known.
            .filter(|result| result.outcome != Outcome::Cancelled)
            .collect();
    }
}
