//! The packages of an import.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::manifest::{Audience, Platform};
use packcast_protocol::{
    Action, PackageId, PackageName, PackageVersion, WindowsTerms, with_causes,
};
use packcast_rollout::PackageRecord;

use super::super::info::OcsInfo;
use super::super::names::{ChosenNames, NamedVersion, package_name, unescaped};
use super::super::rows::{OcsDatabase, PackageRow};
use super::assigned_rows::AssignedRows;
use super::extras::{Extras, future};
use super::groups::{Devices, Groups};
use super::{ImportPlan, ImportSource, LeftOut, LeftOutKind, PackageFiles, PackageImport};
use crate::package::named;
use crate::publish::plan::{PackageTerms, PlanError, PublishRequest};

/// The time limit of an imported command, in seconds: the default of `packcast publish`.
const TIMEOUT_S: u32 = 2 * 3600;

/// The length of the longest name that is kept, in characters.
const MAX_NAME_CHARS: usize = 255;

/// Returns the name and version of each package of an OCS server that is not deleted there.
pub(crate) fn named_packages(
    database: &OcsDatabase,
    chosen: &ChosenNames,
) -> BTreeMap<PackageId, NamedVersion> {
    let rows = database.packages.iter().filter(|row| !row.is_deleted);
    let ids = rows.filter_map(|row| Some((row.file_id.parse().ok()?, row)));
    ids.map(|(id, row)| {
        let named = chosen.package(id).cloned();
        let named = named.unwrap_or_else(|| package_name(&unescaped(&row.name), id));
        (id, named)
    })
    .collect()
}

/// The reason why a package is left out.
type Reason = String;

/// The packages here that have an id or a name of the import.
struct ExistingPackages<'a> {
    by_id: BTreeMap<PackageId, &'a PackageRecord>,
    by_name: BTreeMap<(&'a PackageName, &'a PackageVersion), &'a PackageRecord>,
}

impl<'a> ExistingPackages<'a> {
    fn of(existing: &'a [PackageRecord]) -> Self {
        let by_name = existing.iter().map(|it| ((&it.name, &it.version), it));
        Self {
            by_id: existing.iter().map(|it| (it.id, it)).collect(),
            by_name: by_name.collect(),
        }
    }
}

impl ImportPlan {
    pub(super) fn add_packages(
        &mut self,
        source: ImportSource<'_>,
        rows: &mut AssignedRows,
        devices: &Devices<'_>,
        groups: &Groups,
    ) {
        let of_packages = named_packages(source.database, source.names);
        let existing = ExistingPackages::of(source.existing);
        let active: BTreeSet<&str> = source
            .database
            .activations
            .iter()
            .map(|row| row.file_id.as_str())
            .collect();
        // Names of the packages that are imported: a damaged package does not take a name.
        let mut taken: BTreeMap<&NamedVersion, &str> = BTreeMap::new();
        let mut packages: Vec<&PackageRow> = source.database.packages.iter().collect();
        packages.sort_by_key(|row| row.file_id.parse::<PackageId>().ok());
        for row in packages.into_iter().filter(|row| !row.is_deleted) {
            let id = row.file_id.parse::<PackageId>();
            let importing = id.map_err(|error| error.to_string()).and_then(|id| {
                let named = &of_packages[&id];
                if let Some(other) = taken.get(named) {
                    return Err(same_name(other, named));
                }
                Ok(Importing {
                    source,
                    existing: &existing,
                    row,
                    id,
                    named,
                })
            });
            if let Ok(importing) = &importing
                && let Some(deleted) = importing.deleted_here()
            {
                let number = rows.number_of(&row.file_id);
                let skipped = LeftOut::new(LeftOutKind::Package, label(row), deleted);
                self.skipped.push(skipped.with_rows(number));
                continue;
            }
            if let Ok(importing) = &importing {
                rows.of_package_mut(importing.id)
                    .mark_traced(devices, groups);
            }
            let planned = importing.and_then(|it| Ok((it, it.planned(rows)?)));
            match planned {
                Ok((importing, (package, extras))) => {
                    let named = importing.named;
                    taken.insert(named, &row.name);
                    self.leave_out_others(rows, &package, extras, source, (devices, groups));
                    let active = active.contains(row.file_id.as_str());
                    self.packages.push(PackageImport {
                        active,
                        activates: active && package.activates,
                        ..package
                    });
                }
                Err(reason) => {
                    let number = rows.number_of(&row.file_id);
                    let left_out = LeftOut::new(LeftOutKind::Package, label(row), reason);
                    self.left_out.push(left_out.with_rows(number));
                }
            }
        }
    }

    /// Leaves out the open assignments whose schedule or restart is another one than the package's.
    fn leave_out_others(
        &mut self,
        rows: &mut AssignedRows,
        package: &PackageImport,
        extras: Option<Extras>,
        source: ImportSource<'_>,
        (devices, groups): (&Devices<'_>, &Groups),
    ) {
        let Some(extras) = extras else {
            return;
        };
        let of_package = rows.of_package_mut(package.id);
        for (owner, reason) in of_package.leave_out_others(extras, source.now) {
            let owner = match (devices.id(owner), groups.name(owner)) {
                (Some(device), _) => device.to_string(),
                (None, Some(group)) => format!("group {group}"),
                // The row is left out with its computer or group.
                (None, None) => continue,
            };
            let name = format!("{} to {owner}", package.ocs_name);
            let left_out = LeftOut::new(LeftOutKind::Schedule, name, reason);
            self.left_out.push(left_out);
        }
    }
}

fn same_name(other: &str, (name, version): &NamedVersion) -> Reason {
    format!(
        "package {other:?} has the same name {name}@{version} here: choose another with --names"
    )
}

pub(super) fn label(row: &PackageRow) -> String {
    format!("{} ({})", unescaped(&row.name), row.file_id)
}

/// A package that is planned.
#[derive(Clone, Copy)]
struct Importing<'a> {
    source: ImportSource<'a>,
    existing: &'a ExistingPackages<'a>,
    row: &'a PackageRow,
    id: PackageId,
    named: &'a NamedVersion,
}

/// A planned package, with the schedule and restart of all of its assignments. `None` if its agents
/// know neither.
type Planned = (PackageImport, Option<Extras>);

impl<'a> Importing<'a> {
    /// Returns the reason why a package that was deleted here needs no import.
    fn deleted_here(self) -> Option<Reason> {
        let existing = self.existing.by_id.get(&self.id)?;
        existing.is_deleted().then(|| {
            let named = named(existing);
            format!("the package was deleted here as {named}: it is not imported again")
        })
    }

    fn planned(self, rows: &mut AssignedRows) -> Result<Planned, Reason> {
        let existing = self.existing.by_id.get(&self.id).copied();
        if let Some(existing) = existing.filter(|it| it.published().is_some()) {
            return self.present(existing);
        }
        let (name, version) = self.named;
        let same_name = self.existing.by_name.get(&(name, version));
        if let Some(other) = same_name.filter(|it| it.id != self.id) {
            return Err(format!(
                "{name}@{version} is package {} here: choose another name with --names",
                other.id
            ));
        }
        let files = self.files()?;
        let extras = self.has_extras().then(|| {
            let rows = rows.of_package_mut(self.id);
            rows.common_extras(self.source.now)
        });
        let (schedule, afterwards) = extras.unwrap_or_default();
        let windows = WindowsTerms {
            dialogue: files.info.dialogue.clone(),
            schedule,
            afterwards,
        };
        let request = self.request(&files.info, windows);
        let mut plan = request
            .plan(files.inspection.as_ref())
            .map_err(|error: PlanError| with_causes(&error))?;
        plan.id = Some(self.id);
        let package = PackageImport {
            plan: Some(plan),
            ..self.import(&files.info)
        };
        Ok((package, extras))
    }

    /// Returns true if the agents of the package know schedules and restarts: those on Windows.
    fn has_extras(self) -> bool {
        matches!(
            platform(&self.row.os_name),
            Platform::Windows | Platform::Any
        )
    }

    /// Returns a package that is published here under the same id.
    fn present(self, existing: &PackageRecord) -> Result<Planned, Reason> {
        let info = &self.files()?.info;
        let md5 = existing.published().and_then(|published| published.md5);
        let command = command_of(&existing.action);
        let is_same = md5 == info.md5 && command.as_deref() == info.command.as_deref();
        if !is_same {
            return Err(format!(
                "id {} is package {} here, which has other content",
                self.id,
                named(existing)
            ));
        }
        let windows = &existing.windows;
        let schedule = future(windows.schedule, self.source.now);
        let extras = self.has_extras().then_some((schedule, windows.afterwards));
        let package = PackageImport {
            name: existing.name.clone(),
            version: existing.version.clone(),
            exists: true,
            activates: !existing.active && existing.locations.is_empty(),
            ..self.import(info)
        };
        Ok((package, extras))
    }

    fn files(self) -> Result<&'a PackageFiles, Reason> {
        match self.source.files.get(&self.id) {
            Some(files) => files.as_ref().map_err(Clone::clone),
            None => Err("its files were not read".to_owned()),
        }
    }

    fn import(self, info: &OcsInfo) -> PackageImport {
        PackageImport {
            id: self.id,
            ocs_name: unescaped(&self.row.name)
                .chars()
                .take(MAX_NAME_CHARS)
                .collect(),
            name: self.named.0.clone(),
            version: self.named.1.clone(),
            action: info.action,
            command: info.command.clone(),
            folder: info.folder.clone(),
            priority: info.priority,
            platform: platform(&self.row.os_name),
            comment: unescaped(&self.row.comment),
            repairs: info.repairs.clone(),
            active: false,
            exists: false,
            activates: true,
            plan: None,
        }
    }

    fn request(self, info: &OcsInfo, windows: WindowsTerms) -> PublishRequest {
        PublishRequest {
            name: self.named.0.clone(),
            version: self.named.1.clone(),
            priority: info.priority,
            action: info.action,
            command: info.command.clone(),
            folder: info.folder.clone(),
            terms: PackageTerms {
                platform: platform(&self.row.os_name),
                success_codes: BTreeSet::from([0]),
                reboot_codes: BTreeSet::new(),
                timeout_s: TIMEOUT_S,
                validity_s: None,
                rerun_after_interruption: false,
                audience: Audience::Any,
                windows,
            },
        }
    }
}

fn command_of<A>(action: &Action<A>) -> Option<String> {
    match action {
        Action::Launch { command, .. } => Some(command.to_string()),
        Action::Execute { command, .. } => Some(command.to_string()),
        Action::Store { .. } | Action::Update { .. } => None,
    }
}

fn platform(os_name: &str) -> Platform {
    match os_name.to_ascii_uppercase().as_str() {
        "WINDOWS" => Platform::Windows,
        "LINUX" => Platform::Linux,
        "MAC" | "MACOS" | "MACOSX" => Platform::Macos,
        _ => Platform::Any,
    }
}
