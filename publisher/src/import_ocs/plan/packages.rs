//! The packages of an import.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::manifest::{Audience, Platform};
use packcast_protocol::{Action, PackageId, WindowsTerms, with_causes};
use packcast_rollout::PackageRecord;

use super::super::info::OcsInfo;
use super::super::names::{ChosenNames, NamedVersion, package_name};
use super::super::rows::{OcsDatabase, PackageRow};
use super::assignments::Rows;
use super::{ImportPlan, ImportSource, LeftOut, LeftOutKind, PackageFiles, PackageImport};
use crate::package::named;
use crate::publish::plan::{PackageTerms, PlanError, PublishRequest};

/// The time limit of an imported command, in seconds: the default of `packcast publish`.
const TIMEOUT_S: u32 = 2 * 3600;

/// Returns the name and version of each package of an OCS server that is not deleted there.
pub(crate) fn named_packages(
    database: &OcsDatabase,
    chosen: &ChosenNames,
) -> BTreeMap<PackageId, NamedVersion> {
    let rows = database.packages.iter().filter(|row| !row.is_deleted);
    let ids = rows.filter_map(|row| Some((row.file_id.parse().ok()?, row)));
    ids.map(|(id, row)| {
        let named = chosen.package(id).cloned();
        (id, named.unwrap_or_else(|| package_name(&row.name, id)))
    })
    .collect()
}

/// The reason why a package is left out.
type Reason = String;

impl ImportPlan {
    pub(super) fn add_packages(&mut self, source: ImportSource<'_>, rows: &Rows) {
        let of_packages = named_packages(source.database, source.names);
        let active: BTreeSet<&str> = source
            .database
            .activations
            .iter()
            .map(|row| row.file_id.as_str())
            .collect();
        let mut begun: BTreeMap<&NamedVersion, &str> = BTreeMap::new();
        let mut packages: Vec<&PackageRow> = source.database.packages.iter().collect();
        packages.sort_by_key(|row| row.file_id.parse::<PackageId>().ok());
        for row in packages.into_iter().filter(|row| !row.is_deleted) {
            let id = row.file_id.parse::<PackageId>();
            let importing = id.map_err(|error| error.to_string()).and_then(|id| {
                let named = &of_packages[&id];
                if let Some(other) = begun.insert(named, &row.name) {
                    begun.insert(named, other);
                    return Err(same_name(other, named));
                }
                Ok(Importing {
                    source,
                    row,
                    id,
                    named,
                })
            });
            let planned = importing.and_then(|it| it.planned(rows, &mut self.left_out));
            match planned {
                Ok(package) => self.packages.push(PackageImport {
                    active: active.contains(row.file_id.as_str()),
                    ..package
                }),
                Err(reason) => self.left_out.push(LeftOut {
                    rows: rows.number_of(&row.file_id),
                    ..LeftOut::new(LeftOutKind::Package, label(row), reason)
                }),
            }
        }
    }
}

fn same_name(other: &str, (name, version): &NamedVersion) -> Reason {
    format!(
        "package {other:?} has the same name {name}@{version} here: choose another with --names"
    )
}

fn label(row: &PackageRow) -> String {
    format!("{} ({})", row.name, row.file_id)
}

/// A package that is planned.
#[derive(Clone, Copy)]
struct Importing<'a> {
    source: ImportSource<'a>,
    row: &'a PackageRow,
    id: PackageId,
    named: &'a NamedVersion,
}

impl<'a> Importing<'a> {
    fn planned(self, rows: &Rows, left_out: &mut Vec<LeftOut>) -> Result<PackageImport, Reason> {
        let mut existing = self.source.existing.iter();
        if let Some(existing) = existing.find(|it| it.id == self.id) {
            if existing.is_deleted() {
                return Err(format!(
                    "the package was deleted here as {}",
                    named(existing)
                ));
            }
            if existing.published().is_some() {
                return self.present(existing);
            }
        }
        let (name, version) = self.named;
        let mut others = self.source.existing.iter();
        let same_name = |it: &&PackageRecord| (&it.name, &it.version) == (name, version);
        if let Some(other) = others.find(|it| same_name(it) && it.id != self.id) {
            return Err(format!(
                "{name}@{version} is package {} here: choose another name with --names",
                other.id
            ));
        }
        let files = self.files()?;
        let windows = self.windows(&files.info, rows, left_out);
        let request = self.request(&files.info, windows);
        let mut plan = request
            .plan(files.inspection.as_ref())
            .map_err(|error: PlanError| with_causes(&error))?;
        plan.id = Some(self.id);
        Ok(PackageImport {
            plan: Some(plan),
            ..self.import(&files.info)
        })
    }

    /// Returns a package that is published here under the same id.
    fn present(self, existing: &PackageRecord) -> Result<PackageImport, Reason> {
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
        Ok(PackageImport {
            name: existing.name.clone(),
            version: existing.version.clone(),
            exists: true,
            ..self.import(info)
        })
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
            ocs_name: self.row.name.clone(),
            name: self.named.0.clone(),
            version: self.named.1.clone(),
            action: info.action,
            command: info.command.clone(),
            folder: info.folder.clone(),
            priority: info.priority,
            platform: platform(&self.row.os_name),
            comment: self.row.comment.clone(),
            repairs: info.repairs.clone(),
            active: false,
            exists: false,
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

    /// Returns the terms for Windows agents.
    ///
    /// An OCS server has schedules and restarts for each assignment, Packcast for each package. They
    /// are carried over if all open assignments of the package have the same ones.
    fn windows(self, info: &OcsInfo, rows: &Rows, left_out: &mut Vec<LeftOut>) -> WindowsTerms {
        let mut terms = WindowsTerms {
            dialogue: info.dialogue.clone(),
            ..WindowsTerms::default()
        };
        match rows.extras(&self.row.file_id) {
            Ok((schedule, afterwards)) => {
                (terms.schedule, terms.afterwards) = (schedule, afterwards);
            }
            Err(reason) => {
                left_out.push(LeftOut::new(LeftOutKind::Schedule, label(self.row), reason));
            }
        }
        terms
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
