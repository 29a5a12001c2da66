//! The rows of an OCS server about assignments and results, by package.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::PackageId;

use super::super::rows::{AssignmentKind, AssignmentRow, OcsDatabase};

/// The rows about the assignments of packages.
#[derive(Debug, Default)]
pub(super) struct AssignedRows {
    packages: BTreeMap<PackageId, PackageRows>,
    /// Number of rows of each FILEID that is no package id.
    of_unusable: BTreeMap<String, usize>,
    /// Number of rows of each activation that the server does not have.
    pub(super) of_unknown_activations: BTreeMap<i64, usize>,
    /// Number of settings of each package without an assignment.
    pub(super) unused_settings: BTreeMap<PackageId, usize>,
}

/// The rows about one package, by the numbers of computers and groups.
#[derive(Debug, Default)]
pub(super) struct PackageRows {
    pub(super) assigned: BTreeMap<i64, AssignedRow>,
    pub(super) history: BTreeSet<i64>,
}

/// The rows about one package and one computer or group.
#[derive(Debug, Default)]
pub(super) struct AssignedRow {
    is_assigned: bool,
    /// An activation of the package has no result yet.
    pub(super) is_open: bool,
    pub(super) result: Option<String>,
    pub(super) is_forced: bool,
    pub(super) schedule: Option<String>,
    pub(super) afterwards: Option<String>,
    pub(super) carried: Carried,
}

/// The way in which an open assignment is carried over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Carried {
    #[default]
    Itself,
    /// The server has written the row because a group has the package. Only the row of the group has
    /// the schedule and the restart.
    ByGroup,
    /// The assignment cannot be carried over.
    LeftOut,
}

impl AssignedRows {
    pub(super) fn of(database: &OcsDatabase) -> Self {
        let activations = database.activations.iter();
        let activations: BTreeMap<i64, &str> = activations
            .map(|row| (row.id, row.file_id.as_str()))
            .collect();
        // Of several activations with a result, the last one counts.
        let mut sorted: Vec<&AssignmentRow> = database.assignments.iter().collect();
        sorted.sort_by_key(|row| row.activation);
        let mut rows = Self::default();
        for row in sorted {
            rows.add(row, activations.get(&row.activation).copied());
        }
        rows.remove_settings();
        for row in &database.history {
            let number = u32::try_from(row.package).unwrap_or(0);
            match PackageId::try_from(number) {
                Ok(package) => {
                    let of_package = rows.packages.entry(package).or_default();
                    of_package.history.insert(row.computer);
                }
                Err(_) => *rows.of_unusable.entry(row.package.to_string()).or_default() += 1,
            }
        }
        rows
    }

    fn add(&mut self, row: &AssignmentRow, file_id: Option<&str>) {
        let Some(file_id) = file_id else {
            let is_assignment = row.kind == AssignmentKind::Package;
            let number = self.of_unknown_activations.entry(row.activation);
            *number.or_default() += usize::from(is_assignment);
            return;
        };
        let Ok(package) = file_id.parse::<PackageId>() else {
            let is_assignment = row.kind == AssignmentKind::Package;
            let number = self.of_unusable.entry(file_id.to_owned());
            *number.or_default() += usize::from(is_assignment);
            return;
        };
        let of_package = self.packages.entry(package).or_default();
        let assigned = of_package.assigned.entry(row.owner).or_default();
        let value = row.value.clone().filter(|value| !value.is_empty());
        match row.kind {
            AssignmentKind::Package => assigned.add(value),
            AssignmentKind::Force => assigned.is_forced |= value.as_deref() == Some("1"),
            AssignmentKind::Schedule => assigned.schedule = value,
            AssignmentKind::Afterwards => assigned.afterwards = value,
        }
    }

    /// Removes the settings of packages that are not assigned.
    fn remove_settings(&mut self) {
        for (package, rows) in &mut self.packages {
            let before = rows.assigned.len();
            rows.assigned.retain(|_, assigned| assigned.is_assigned);
            let removed = before - rows.assigned.len();
            if removed > 0 {
                self.unused_settings.insert(*package, removed);
            }
        }
    }

    /// Returns the number of assignments and results of a package.
    pub(super) fn number_of(&self, file_id: &str) -> usize {
        match file_id.parse::<PackageId>() {
            Ok(package) => self.packages.get(&package).map_or(0, PackageRows::number),
            Err(_) => self.of_unusable.get(file_id).copied().unwrap_or(0),
        }
    }

    /// Returns the number of assignments and results of each package, by FILEID.
    pub(super) fn numbers(&self) -> impl Iterator<Item = (String, usize)> {
        let packages = self.packages.iter();
        let packages = packages.map(|(id, rows)| (id.to_string(), rows.number()));
        let unusable = self.of_unusable.iter();
        packages.chain(unusable.map(|(id, number)| (id.clone(), *number)))
    }

    pub(super) fn of_package(&self, package: PackageId) -> Option<&PackageRows> {
        self.packages.get(&package)
    }

    pub(super) fn of_package_mut(&mut self, package: PackageId) -> &mut PackageRows {
        self.packages.entry(package).or_default()
    }
}

impl PackageRows {
    fn number(&self) -> usize {
        let owners = self.assigned.keys().chain(&self.history);
        owners.collect::<BTreeSet<_>>().len()
    }

    /// Returns true if the history of a computer lists the package, and no force makes it run again.
    pub(super) fn is_done(&self, owner: i64, row: &AssignedRow) -> bool {
        self.history.contains(&owner) && !row.is_forced
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
