//! The plan of an import: a pure function of the rows of the OCS server and of the packages here.

mod assigned_rows;
mod assignments;
mod extras;
mod groups;
mod packages;
mod unused_rows;

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::manifest::Platform;
use packcast_protocol::{
    DeviceId, GroupName, Outcome, PackageId, PackageName, PackageVersion, Priority, ResultCode,
    UnixTime,
};
use packcast_rollout::PackageRecord;
use packcast_store::records::ImportedRows;
use serde::Serialize;

use self::assigned_rows::AssignedRows;
use self::groups::Devices;

use super::info::OcsInfo;
use super::memory::{ImportedRow, OcsGroup};
use super::names::ChosenNames;
use super::rows::OcsDatabase;
use crate::failure::Failure;
use crate::publish::inspect::Inspection;
use crate::publish::plan::{ActionName, Plan};
use crate::state::Leaves;

pub(crate) use self::packages::named_packages;

/// All from which an import is planned.
#[derive(Clone, Copy, Debug)]
pub struct ImportSource<'a> {
    pub database: &'a OcsDatabase,
    /// The files of each package that is not published here, or the reason why they cannot be used.
    pub files: &'a BTreeMap<PackageId, Result<PackageFiles, String>>,
    pub names: &'a ChosenNames,
    /// The packages here that have an id or a name of the import.
    pub existing: &'a [PackageRecord],
    pub now: UnixTime,
}

/// The files of a package in the download directory.
#[derive(Clone, Debug)]
pub struct PackageFiles {
    pub info: OcsInfo,
    /// `None` if the package has no archive, or is published here already.
    pub inspection: Option<Inspection>,
}

/// The plan of an import.
#[derive(Debug, Default, Serialize)]
pub struct ImportPlan {
    pub packages: Vec<PackageImport>,
    pub groups: Vec<GroupImport>,
    /// The devices that are in a group, have an assignment, or have a result.
    pub devices: Vec<DeviceImport>,
    pub assignments: Vec<AssignmentImport>,
    pub results: Vec<ResultImport>,
    /// Rows that the import cannot carry over.
    pub left_out: Vec<LeftOut>,
    /// Rows that need no import: unused rows of the OCS server, and rows of an earlier import that
    /// somebody has changed here since.
    pub skipped: Vec<LeftOut>,
    /// Open rows of devices that the assignments to their groups include.
    #[serde(skip)]
    pub(super) included: Vec<IncludedRow>,
    /// Results that are here already. They use up the mandates of new assignments.
    #[serde(skip)]
    pub(super) known_results: Vec<ResultImport>,
    /// Those of them that no import remembers: an import was interrupted.
    #[serde(skip)]
    pub(super) unremembered: Vec<ResultImport>,
    /// The rows that are here after the import.
    #[serde(skip)]
    pub(super) rows: ImportedRows,
    /// The rows that earlier imports had carried over when this one was planned.
    #[serde(skip)]
    pub(super) remembered: ImportedRows,
    /// The documents from which the import was planned.
    #[serde(skip)]
    pub(super) leaves: Leaves,
    /// All groups that belong to the import, also those without new members.
    #[serde(skip)]
    pub(super) own_groups: BTreeMap<GroupName, OwnGroup>,
}

/// An open row of a device that the assignments to its groups include.
#[derive(Clone, Debug)]
pub(super) struct IncludedRow {
    pub(super) device: DeviceId,
    pub(super) package: PackageId,
    pub(super) force: bool,
    pub(super) groups: Vec<GroupName>,
}

/// A group here that belongs to a group of the OCS server.
#[derive(Clone, Debug)]
pub(super) struct OwnGroup {
    pub(super) ocs_id: i64,
    pub(super) ocs_name: String,
    pub(super) query: Option<String>,
    pub(super) ocs_created: Option<String>,
    origin: GroupName,
}

/// A package of the OCS server.
#[derive(Debug, Serialize)]
pub struct PackageImport {
    pub id: PackageId,
    pub ocs_name: String,
    pub name: PackageName,
    pub version: PackageVersion,
    pub action: ActionName,
    /// The command of LAUNCH or EXECUTE.
    pub command: Option<String>,
    /// The folder of STORE.
    pub folder: Option<String>,
    pub priority: Priority,
    pub platform: Platform,
    /// The comment on the OCS server, which `packcast show` shows.
    pub comment: String,
    /// Repairs of a malformed `info`.
    pub repairs: Vec<String>,
    /// The package is active on the OCS server.
    pub active: bool,
    /// The package is published here already.
    pub exists: bool,
    /// The import activates the package. A package that somebody has deactivated here stays
    /// inactive.
    #[serde(skip)]
    pub activates: bool,
    /// `None` if the package is published here already.
    #[serde(skip)]
    pub plan: Option<Plan>,
}

/// A group of the OCS server.
#[derive(Debug, Serialize)]
pub struct GroupImport {
    pub ocs_id: i64,
    pub ocs_name: String,
    pub group: GroupName,
    /// The query of a dynamic group, whose present members are imported.
    pub query: Option<String>,
    /// The group exists here already.
    pub exists: bool,
    /// First name of the group here.
    #[serde(skip)]
    pub(super) origin: GroupName,
    /// The file of names has a line for the group.
    #[serde(skip)]
    pub is_chosen: bool,
    /// Time of creation on the OCS server.
    #[serde(skip)]
    pub(super) ocs_created: Option<String>,
    pub members: BTreeSet<DeviceId>,
}

/// A device of the OCS server.
#[derive(Debug, Serialize)]
pub struct DeviceImport {
    pub device: DeviceId,
    pub host_name: String,
    pub agent: String,
    pub os: String,
    pub last_seen: Option<UnixTime>,
    pub moves: Move,
}

/// The way in which a device moves to another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Move {
    /// The script for Unix changes the configuration, and renames the folder of the agent's state.
    Unix,
    /// The script for Windows changes `ocsinventory.ini`.
    Windows,
    /// No script is known for the agent.
    ByHand,
}

/// An open assignment.
#[derive(Debug, Serialize)]
pub struct AssignmentImport {
    pub package: PackageId,
    #[serde(flatten)]
    pub to: ImportedOwner,
    pub force: bool,
    /// The OCS server has assigned the package again after a result.
    #[serde(skip)]
    pub(super) is_again: bool,
}

/// The owner of an imported assignment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ImportedOwner {
    Group(GroupName),
    Device(DeviceId),
}

/// A result that a device has reported to the OCS server.
#[derive(Clone, Debug, Serialize)]
pub struct ResultImport {
    pub device: DeviceId,
    pub package: PackageId,
    pub code: ResultCode,
    pub outcome: Outcome,
}

/// A row that the import leaves out.
#[derive(Debug, Serialize)]
pub struct LeftOut {
    pub kind: LeftOutKind,
    /// The name on the OCS server.
    pub name: String,
    pub reason: String,
    /// The number of memberships, assignments and results that are left out with it.
    #[serde(skip_serializing_if = "is_zero")]
    pub rows: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(rows: &usize) -> bool {
    *rows == 0
}

/// The kind of a row that the import leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LeftOutKind {
    Table,
    Package,
    Group,
    Device,
    Membership,
    Assignment,
    Schedule,
    Result,
    Activation,
}

impl GroupImport {
    pub(super) fn ocs_group(&self) -> OcsGroup<'_> {
        OcsGroup {
            id: self.ocs_id,
            name: self.origin.as_str(),
        }
    }

    /// Returns the name with the number on the OCS server.
    pub(super) fn label(&self) -> String {
        format!("{} ({})", self.ocs_name, self.ocs_id)
    }
}

impl OwnGroup {
    pub(super) fn of(group: &GroupImport) -> Self {
        Self {
            ocs_id: group.ocs_id,
            ocs_name: group.ocs_name.clone(),
            query: group.query.clone(),
            ocs_created: group.ocs_created.clone(),
            origin: group.origin.clone(),
        }
    }

    pub(super) fn ocs_group(&self) -> OcsGroup<'_> {
        OcsGroup {
            id: self.ocs_id,
            name: self.origin.as_str(),
        }
    }
}

impl ImportPlan {
    /// Adds rows that need no import.
    pub(super) fn skip(&mut self, kind: LeftOutKind, name: String, reason: &str, rows: usize) {
        let skipped = LeftOut::new(kind, name, reason).with_rows(rows);
        self.skipped.push(skipped);
    }

    /// Returns the row of an assignment. A group of it belongs to the import.
    pub(super) fn row_of(&self, assignment: &AssignmentImport) -> ImportedRow {
        let AssignmentImport {
            package, to, force, ..
        } = assignment;
        match to {
            ImportedOwner::Device(device) => ImportedRow::open(device, *package, *force),
            ImportedOwner::Group(group) => {
                let group = self.own_groups.get(group).map(OwnGroup::ocs_group);
                ImportedRow::open_in_group(group.unwrap_or_default(), *package, *force)
            }
        }
    }
}

impl ResultImport {
    pub(super) fn row(&self) -> ImportedRow {
        ImportedRow::result(&self.device, self.package, &self.code.to_string())
    }
}

impl LeftOut {
    pub(super) fn new(
        kind: LeftOutKind,
        name: impl Into<String>,
        reason: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            name: name.into(),
            reason: reason.into(),
            rows: 0,
        }
    }

    /// Creates a row with the message and the causes of a failure as its reason.
    pub(super) fn failed(kind: LeftOutKind, name: &str, failure: &Failure) -> Self {
        let causes = failure.causes();
        let reason: Vec<String> = std::iter::once(failure.message()).chain(causes).collect();
        Self::new(kind, name, reason.join(": "))
    }

    pub(super) fn with_rows(self, rows: usize) -> Self {
        Self { rows, ..self }
    }
}

/// Plans an import.
pub fn plan(source: ImportSource<'_>) -> ImportPlan {
    let mut plan = ImportPlan::default();
    let unread = source.database.unread.iter();
    plan.left_out
        .extend(unread.map(|it| LeftOut::new(LeftOutKind::Table, it.table, it.reason.clone())));
    let mut rows = AssignedRows::of(source.database);
    let mut devices = Devices::of(source.database);
    let mut groups = plan.add_groups(source, &devices);
    plan.add_packages(source, &mut rows, &devices, &groups);
    plan.add_assignments(&rows, &devices, &groups);
    plan.add_devices(&devices);
    plan.add_unused(source.database, &rows, &mut devices, &mut groups);
    plan.left_out.sort_by_key(|it| it.kind);
    plan.skipped.sort_by_key(|it| it.kind);
    plan
}

#[cfg(test)]
mod tests;
