//! The plan and the result of an import, as text.

use std::collections::BTreeMap;

use packcast_protocol::{Outcome, PackageId};
use packcast_publisher::Failure;
use packcast_publisher::import_ocs::Imported;
use packcast_publisher::import_ocs::compare::{Comparison, Standing};
use packcast_publisher::import_ocs::plan::{ImportPlan, ImportedOwner, LeftOut, Move};

use crate::confirm::counted;
use crate::output;

/// The number of rows of one list that the text of a plan shows. JSON has all rows.
const SHOWN: usize = 200;

/// Writes a plan.
pub(super) fn plan(plan: &ImportPlan) -> String {
    let tables = [
        summary(plan),
        packages(plan),
        groups(plan),
        repairs(plan),
        left_out("LEFT OUT", &plan.left_out),
        left_out("SKIPPED", &plan.skipped),
    ];
    let tables = tables.iter().map(|table| table.trim_end());
    let tables: Vec<&str> = tables.filter(|table| !table.is_empty()).collect();
    tables.join("\n\n")
}

fn summary(plan: &ImportPlan) -> String {
    let new = plan.packages.iter().filter(|it| !it.exists).count();
    let created = plan.groups.iter().filter(|it| !it.exists).count();
    let joins: usize = plan.groups.iter().map(|it| it.members.len()).sum();
    let to_groups = |is_group: bool| {
        let assignments = plan.assignments.iter();
        let owners = assignments.filter(|it| matches!(it.to, ImportedOwner::Group(_)) == is_group);
        owners.count()
    };
    let with = |outcome: Outcome| {
        let results = plan.results.iter();
        results.filter(|it| it.outcome == outcome).count()
    };
    output::fields([
        ("dry run", "Imports from the OCS server".to_owned()),
        (
            "packages",
            format!(
                "{new} to publish, {} published already",
                plan.packages.len() - new
            ),
        ),
        (
            "groups",
            format!("{created} to create, {joins} memberships"),
        ),
        ("devices", devices(plan)),
        (
            "assignments",
            format!(
                "{} to groups, {} to devices",
                to_groups(true),
                to_groups(false)
            ),
        ),
        (
            "results",
            format!(
                "{} succeeded, {} failed",
                with(Outcome::Succeeded),
                with(Outcome::Failed)
            ),
        ),
        ("left out", plan.left_out.len().to_string()),
        ("skipped", skipped(&plan.skipped)),
    ])
}

/// Writes the number of rows that need no import. Empty without such rows.
fn skipped(skipped: &[LeftOut]) -> String {
    match skipped.len() {
        0 => String::new(),
        number => number.to_string(),
    }
}

fn devices(plan: &ImportPlan) -> String {
    let mut number: BTreeMap<Move, usize> = BTreeMap::new();
    for device in &plan.devices {
        *number.entry(device.moves).or_default() += 1;
    }
    let moves = number.into_iter().map(|(moves, number)| match moves {
        Move::Unix => format!("{number} move by the script for Unix"),
        Move::Windows => format!("{number} move by the script for Windows"),
        Move::ByHand => format!("{number} move by hand"),
    });
    let moves: Vec<String> = moves.collect();
    let new = format!("{} to add", plan.devices.len());
    if moves.is_empty() {
        new
    } else {
        format!("{new}: {}", moves.join(", "))
    }
}

/// The open assignments and the results of one package.
#[derive(Clone, Default)]
struct OfPackage {
    groups: Vec<String>,
    devices: usize,
    succeeded: usize,
    failed: BTreeMap<String, usize>,
}

impl OfPackage {
    fn open(&self) -> String {
        let devices = match self.devices {
            0 => None,
            number => Some(counted(number as u64)),
        };
        let owners: Vec<String> = self.groups.iter().cloned().chain(devices).collect();
        owners.join(", ")
    }

    fn results(&self) -> String {
        let succeeded = match self.succeeded {
            0 => None,
            number => Some(format!("{number} succeeded")),
        };
        let failed = self.failed.iter();
        let failed = failed.map(|(code, number)| format!("{number} {}", output::printable(code)));
        let results: Vec<String> = succeeded.into_iter().chain(failed).collect();
        results.join(", ")
    }
}

fn of_packages(plan: &ImportPlan) -> BTreeMap<PackageId, OfPackage> {
    let mut packages: BTreeMap<PackageId, OfPackage> = BTreeMap::new();
    for assignment in &plan.assignments {
        let of_package = packages.entry(assignment.package).or_default();
        match &assignment.to {
            ImportedOwner::Group(group) => of_package.groups.push(group.to_string()),
            ImportedOwner::Device(_) => of_package.devices += 1,
        }
    }
    for result in &plan.results {
        let of_package = packages.entry(result.package).or_default();
        if result.outcome == Outcome::Succeeded {
            of_package.succeeded += 1;
        } else {
            let code = result.code.to_string();
            *of_package.failed.entry(code).or_default() += 1;
        }
    }
    packages
}

fn packages(plan: &ImportPlan) -> String {
    let of_packages = of_packages(plan);
    let rows = plan.packages.iter().map(|package| {
        let of_package = of_packages.get(&package.id).cloned().unwrap_or_default();
        let state = match (package.exists, package.active) {
            (true, _) => "published",
            (false, true) => "new, active",
            (false, false) => "new",
        };
        [
            package.id.to_string(),
            output::printable(&package.ocs_name),
            format!("{}@{}", package.name, package.version),
            state.to_owned(),
            of_package.open(),
            of_package.results(),
        ]
    });
    let heads = [
        "ID",
        "OCS NAME",
        "PACKAGE",
        "STATE",
        "ASSIGNED TO",
        "RESULTS",
    ];
    shown(heads, rows.collect())
}

fn groups(plan: &ImportPlan) -> String {
    let rows = plan.groups.iter().map(|group| {
        let state = if group.exists { "exists" } else { "new" };
        [
            group.ocs_id.to_string(),
            output::printable(&group.ocs_name),
            group.group.to_string(),
            state.to_owned(),
            group.members.len().to_string(),
            match &group.query {
                Some(_) => "snapshot of a dynamic group".to_owned(),
                None => String::new(),
            },
        ]
    });
    let heads = ["ID", "OCS NAME", "GROUP", "STATE", "JOINING", "NOTE"];
    shown(heads, rows.collect())
}

fn repairs(plan: &ImportPlan) -> String {
    let repaired = plan.packages.iter().flat_map(|package| {
        let repairs = package.repairs.iter();
        repairs.map(|repair| [package.id.to_string(), output::printable(repair)])
    });
    shown(["ID", "REPAIR OF INFO"], repaired.collect())
}

fn left_out(head: &'static str, left_out: &[LeftOut]) -> String {
    let rows = left_out.iter().map(|it| {
        let rows = match it.rows {
            0 => String::new(),
            1 => " (with 1 row)".to_owned(),
            rows => format!(" (with {rows} rows)"),
        };
        let kind = format!("{:?}", it.kind).to_lowercase();
        [
            kind,
            output::printable(&it.name),
            format!("{}{rows}", output::printable(&it.reason)),
        ]
    });
    shown([head, "NAME", "REASON"], rows.collect())
}

/// Writes a table, at most [`SHOWN`] rows of it.
fn shown<const N: usize>(heads: [&'static str; N], rows: Vec<[String; N]>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let more = rows.len().saturating_sub(SHOWN);
    let table = output::table(heads, rows.into_iter().take(SHOWN));
    match more {
        0 => table,
        more => format!("{}\n… and {more} more: see --format json", table.trim_end()),
    }
}

/// Returns the question before an import.
pub(super) fn question(plan: &ImportPlan) -> Option<String> {
    let new = plan.packages.iter().filter(|it| !it.exists).count();
    (!plan.is_empty()).then(|| {
        format!(
            "Imports from the OCS server: {new} packages, {} groups, {}. Continue?",
            plan.groups.len(),
            counted(plan.devices.len() as u64)
        )
    })
}

/// Writes the result of an import.
pub(super) fn imported(imported: &Imported) -> String {
    let fields = output::fields([
        ("published", imported.packages.join(", ")),
        ("groups created", imported.groups.to_string()),
        ("memberships", imported.memberships.to_string()),
        ("devices added", imported.devices.to_string()),
        ("assignments", imported.assignments.to_string()),
        ("results", imported.results.to_string()),
        ("activated", imported.activated.join(", ")),
        (
            "commit",
            imported.commit.map(|it| it.to_string()).unwrap_or_default(),
        ),
        ("left out", imported.left_out.len().to_string()),
        ("skipped", skipped(&imported.skipped)),
    ]);
    let left_out = left_out("LEFT OUT", &imported.left_out);
    if left_out.is_empty() {
        fields
    } else {
        format!("{}\n\n{left_out}", fields.trim_end())
    }
}

/// Writes the packages that have different outcomes on the OCS server and here.
pub(super) fn compared(comparison: &Comparison) -> String {
    let rows = comparison.differences().map(|it| {
        [
            output::printable(&it.host_name),
            it.device.to_string(),
            it.name.clone(),
            standing(&it.ocs),
            standing(&it.packcast),
        ]
    });
    let compared = &comparison.compared;
    let same = compared.iter().filter(|it| it.same).count();
    let finished = compared.iter().filter(|it| it.finished_here).count();
    let heads = ["HOST", "DEVICE", "PACKAGE", "OCS", "PACKCAST"];
    let tables = [
        shown(heads, rows.collect()),
        left_out("LEFT OUT", &comparison.left_out),
        format!(
            "{same} of {} have the same outcome, {finished} are open there and finished here",
            compared.len()
        ),
    ];
    let tables = tables.iter().map(|table| table.trim_end());
    let tables: Vec<&str> = tables.filter(|table| !table.is_empty()).collect();
    tables.join("\n\n")
}

/// Returns an error if outcomes differ, or if rows cannot be compared.
pub(super) fn conclude_comparison(comparison: &Comparison) -> Result<(), Failure> {
    let differences = comparison.differences().count();
    let left_out = comparison.left_out.len();
    if differences + left_out == 0 {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "found {differences} packages with different outcomes, and {left_out} rows that cannot be compared"
    ))
    .hint("repeat the import if the OCS server has newer results; 'packcast explain' shows the state of a package on a device"))
}

fn standing(standing: &Standing) -> String {
    match standing {
        Standing::None => "not assigned".to_owned(),
        Standing::Open => "open".to_owned(),
        Standing::Succeeded(code) => format!("succeeded ({})", output::printable(code)),
        Standing::Failed(code) => format!("failed ({})", output::printable(code)),
        Standing::Other(code) => output::printable(code),
    }
}

/// Returns an error if something is left out.
pub(super) fn conclude(left_out: &[LeftOut]) -> Result<(), Failure> {
    let message = match left_out.len() {
        0 => return Ok(()),
        1 => "cannot import 1 row of the OCS server: see the reason above".to_owned(),
        number => format!("cannot import {number} rows of the OCS server: see the reasons above"),
    };
    Err(Failure::failed(message)
        .hint("correct the causes on the OCS server or with --names, and run the command again"))
}

#[cfg(test)]
mod tests;
