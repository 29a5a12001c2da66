//! The plan of an import: a pure function of the rows of the OCS server and of the packages here.

mod assignments;
mod groups;
mod packages;

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::manifest::Platform;
use packcast_protocol::{
    DeviceId, GroupName, Outcome, PackageId, PackageName, PackageVersion, Priority, ResultCode,
    UnixTime,
};
use packcast_rollout::PackageRecord;
use serde::Serialize;

use super::info::OcsInfo;
use super::names::ChosenNames;
use super::rows::OcsDatabase;
use crate::publish::inspect::Inspection;
use crate::publish::plan::{ActionName, Plan};

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
    /// The comment on the OCS server, which Packcast does not keep.
    pub comment: String,
    /// Repairs of a malformed `info`.
    pub repairs: Vec<String>,
    /// The package is active on the OCS server.
    pub active: bool,
    /// The package is published here already.
    pub exists: bool,
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
    /// The number of assignments and results that are left out with a package.
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
}

/// Plans an import.
pub fn plan(source: ImportSource<'_>) -> ImportPlan {
    let mut plan = ImportPlan::default();
    let unread = source.database.unread.iter();
    plan.left_out
        .extend(unread.map(|it| LeftOut::new(LeftOutKind::Table, it.table, it.reason.clone())));
    let rows = assignments::Rows::of(source.database);
    plan.add_packages(source, &rows);
    let devices = groups::Devices::of(source.database, &mut plan.left_out);
    let groups = plan.add_groups(source, &devices);
    plan.add_assignments(&rows, &devices, &groups);
    plan.add_devices(&devices);
    plan
}

#[cfg(test)]
mod tests;
