//! The rows of an OCS database, from which an import is planned.

use packcast_protocol::UnixTime;

/// The rows of an OCS database that the import needs.
#[derive(Clone, Debug, Default)]
pub struct OcsDatabase {
    /// Version of the schema. `None` if the database does not name one.
    pub version: Option<String>,
    pub packages: Vec<PackageRow>,
    pub activations: Vec<ActivationRow>,
    pub computers: Vec<ComputerRow>,
    pub groups: Vec<GroupRow>,
    pub members: Vec<MemberRow>,
    pub assignments: Vec<AssignmentRow>,
    pub history: Vec<HistoryRow>,
    /// Rows and tables that could not be read, each with the reason.
    pub unread: Vec<UnreadRow>,
}

/// A row of `download_available`.
#[derive(Clone, Debug)]
pub struct PackageRow {
    pub file_id: String,
    pub name: String,
    pub os_name: String,
    pub comment: String,
    pub is_deleted: bool,
}

/// A row of `download_enable`: an activation of a package.
#[derive(Clone, Debug)]
pub struct ActivationRow {
    pub id: i64,
    pub file_id: String,
}

/// A row of `hardware` that is a computer.
#[derive(Clone, Debug)]
pub struct ComputerRow {
    pub id: i64,
    pub device_id: String,
    pub host_name: String,
    pub os_name: String,
    pub agent: String,
    /// Time of the latest contact with the OCS server.
    pub last_seen: Option<UnixTime>,
}

/// A row of `hardware` that is a group, with its row of `groups`.
#[derive(Clone, Debug)]
pub struct GroupRow {
    pub id: i64,
    pub name: String,
    /// The query of a dynamic group. `None` for a static group.
    pub query: Option<String>,
    /// Time of creation, as the database shows it. `None` if the database does not name one.
    pub created: Option<String>,
}

/// A row of `groups_cache` for a computer that is in the group.
#[derive(Clone, Copy, Debug)]
pub struct MemberRow {
    pub group: i64,
    pub computer: i64,
}

/// A row of `devices` about a package.
#[derive(Clone, Debug)]
pub struct AssignmentRow {
    /// The id of a computer or of a group.
    pub owner: i64,
    /// The id of the activation.
    pub activation: i64,
    pub kind: AssignmentKind,
    pub value: Option<String>,
}

/// The meaning of a row of `devices`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssignmentKind {
    /// `DOWNLOAD`: the package is assigned; the value is the result.
    Package,
    /// `DOWNLOAD_FORCE`
    Force,
    /// `DOWNLOAD_SCHEDULE`
    Schedule,
    /// `DOWNLOAD_POSTCMD`
    Afterwards,
}

/// A row of `download_history`.
#[derive(Clone, Copy, Debug)]
pub struct HistoryRow {
    pub computer: i64,
    pub package: i64,
}

/// A row or a table that could not be read.
#[derive(Clone, Debug)]
pub struct UnreadRow {
    /// The name of the table.
    pub table: &'static str,
    pub reason: String,
}
