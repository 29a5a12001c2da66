//! The queries of an import.

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Row, Value};
use packcast_protocol::UnixTime;
use packcast_publisher::import_ocs::rows::{
    ActivationRow, AssignmentKind, AssignmentRow, ComputerRow, GroupRow, HistoryRow, MemberRow,
    OcsDatabase, PackageRow, UnreadRow,
};

use super::address::{DatabaseAddress, Password, Tls};
use super::error::ReadError;

/// The versions of the schema with which imports were tried.
pub const TRIED_VERSIONS: [&str; 2] = ["7039", "7069"];

/// The largest number of rows that one query returns.
const MAX_ROWS: usize = 20_000_000;

const PACKAGES: &str =
    "SELECT FILEID, NAME, OSNAME, LEFT(COMMENT, 2000), DELETED FROM download_available";
/// For schemas before the column `DELETED`.
const PACKAGES_BEFORE_DELETED: &str =
    "SELECT FILEID, NAME, OSNAME, LEFT(COMMENT, 2000), 0 FROM download_available";
const ACTIVATIONS: &str = "SELECT ID, FILEID FROM download_enable";
const COMPUTERS: &str = "SELECT ID, DEVICEID, NAME, OSNAME, USERAGENT, UNIX_TIMESTAMP(LASTCOME) \
    FROM hardware WHERE DEVICEID NOT IN ('_SYSTEMGROUP_', '_DOWNLOADGROUP_')";
const GROUPS: &str = "SELECT h.ID, h.NAME, LEFT(g.REQUEST, 4000), LEFT(g.XMLDEF, 4000), \
    CAST(h.LASTDATE AS CHAR) \
    FROM hardware h LEFT JOIN `groups` g ON g.HARDWARE_ID = h.ID WHERE h.DEVICEID = '_SYSTEMGROUP_'";
const MEMBERS: &str = "SELECT GROUP_ID, HARDWARE_ID FROM groups_cache WHERE STATIC IN (0, 1)";
const ASSIGNMENTS: &str = "SELECT HARDWARE_ID, IVALUE, NAME, TVALUE FROM devices WHERE NAME IN \
    ('DOWNLOAD', 'DOWNLOAD_FORCE', 'DOWNLOAD_SCHEDULE', 'DOWNLOAD_POSTCMD') AND IVALUE IS NOT NULL";
const HISTORY: &str = "SELECT HARDWARE_ID, PKG_ID FROM download_history";
const VERSION: &str = "SELECT TVALUE FROM config WHERE NAME = 'GUI_VERSION'";

/// Reads the rows of an import, in one read-only transaction.
///
/// A table that does not exist is named in the result, and the other tables are read.
pub async fn read(
    address: &DatabaseAddress,
    password: &Password,
    tls: &Tls,
) -> Result<OcsDatabase, ReadError> {
    let failed = |source| ReadError::of_connection(address, source);
    let options = address.options(password, tls);
    let mut connection = Conn::new(options).await.map_err(failed)?;
    for statement in [
        // Texts arrive as UTF-8, and dates as text.
        "SET NAMES utf8mb4",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    ] {
        connection.query_drop(statement).await.map_err(failed)?;
    }
    let mut reader = Reader {
        connection,
        unread: Vec::new(),
    };
    let database = reader.database().await?;
    // The transaction ends with the connection. All rows are read, so its end does not matter.
    let _ = reader.connection.disconnect().await;
    if database.computers.is_empty() && database.unread.len() > 3 {
        let database = address.database().to_owned();
        return Err(ReadError::OtherDatabase { database });
    }
    Ok(database)
}

struct Reader {
    connection: Conn,
    unread: Vec<UnreadRow>,
}

impl Reader {
    async fn database(&mut self) -> Result<OcsDatabase, ReadError> {
        let version = self.rows("config", VERSION, |row| text(row, 0)).await?;
        let packages = match self.all("download_available", PACKAGES, package).await {
            Err(error) if error.is_missing() => {
                self.rows("download_available", PACKAGES_BEFORE_DELETED, package)
                    .await?
            }
            read => read?,
        };
        Ok(OcsDatabase {
            version: version.into_iter().next(),
            packages,
            activations: self
                .rows("download_enable", ACTIVATIONS, activation)
                .await?,
            computers: self.rows("hardware", COMPUTERS, computer).await?,
            groups: self.rows("groups", GROUPS, group).await?,
            members: self.rows("groups_cache", MEMBERS, member).await?,
            assignments: self.rows("devices", ASSIGNMENTS, assignment).await?,
            history: self.rows("download_history", HISTORY, history).await?,
            unread: std::mem::take(&mut self.unread),
        })
    }

    /// Reads rows. A missing table has no rows, and is named.
    async fn rows<T>(
        &mut self,
        table: &'static str,
        query: &str,
        value: impl Fn(&Row) -> Option<T>,
    ) -> Result<Vec<T>, ReadError> {
        match self.all(table, query, value).await {
            Err(error) if error.is_missing() => {
                let cause = match &error {
                    ReadError::Table { source, .. } => source.to_string(),
                    _ => String::new(),
                };
                let reason = format!("{error}: {cause}");
                self.unread.push(UnreadRow { table, reason });
                Ok(Vec::new())
            }
            read => read,
        }
    }

    /// Reads rows. Rows without a value are counted.
    async fn all<T>(
        &mut self,
        table: &'static str,
        query: &str,
        value: impl Fn(&Row) -> Option<T>,
    ) -> Result<Vec<T>, ReadError> {
        let failed = |source| ReadError::Table { table, source };
        let mut result = self.connection.query_iter(query).await.map_err(failed)?;
        let (mut values, mut bad) = (Vec::new(), 0_usize);
        while let Some(row) = result.next().await.map_err(failed)? {
            match value(&row) {
                Some(value) => values.push(value),
                None => bad += 1,
            }
            if values.len() > MAX_ROWS {
                let limit = MAX_ROWS;
                return Err(ReadError::TooManyRows { table, limit });
            }
        }
        if bad > 0 {
            let reason = format!("{bad} rows have no usable key");
            self.unread.push(UnreadRow { table, reason });
        }
        Ok(values)
    }
}

fn package(row: &Row) -> Option<PackageRow> {
    Some(PackageRow {
        file_id: text(row, 0)?,
        name: text(row, 1)?,
        os_name: text(row, 2).unwrap_or_default(),
        comment: text(row, 3).unwrap_or_default(),
        is_deleted: number(row, 4).unwrap_or(0) != 0,
    })
}

fn activation(row: &Row) -> Option<ActivationRow> {
    Some(ActivationRow {
        id: number(row, 0)?,
        file_id: text(row, 1)?,
    })
}

fn computer(row: &Row) -> Option<ComputerRow> {
    Some(ComputerRow {
        id: number(row, 0)?,
        device_id: text(row, 1)?,
        host_name: text(row, 2).unwrap_or_default(),
        os_name: text(row, 3).unwrap_or_default(),
        agent: text(row, 4).unwrap_or_default(),
        last_seen: number(row, 5)
            .and_then(|seconds| u64::try_from(seconds).ok())
            .filter(|seconds| *seconds > 0)
            .map(UnixTime),
    })
}

fn group(row: &Row) -> Option<GroupRow> {
    let query = [text(row, 2), text(row, 3)].into_iter().flatten();
    Some(GroupRow {
        id: number(row, 0)?,
        name: text(row, 1)?,
        query: query
            .map(|query| query.trim().to_owned())
            .find(|query| !query.is_empty()),
        // The console sets `LASTDATE` of a group when it creates the group, and nothing changes it.
        // The text does not depend on the time zone of the database.
        created: text(row, 4),
    })
}

fn member(row: &Row) -> Option<MemberRow> {
    Some(MemberRow {
        group: number(row, 0)?,
        computer: number(row, 1)?,
    })
}

fn assignment(row: &Row) -> Option<AssignmentRow> {
    Some(AssignmentRow {
        owner: number(row, 0)?,
        activation: number(row, 1)?,
        kind: match text(row, 2)?.to_ascii_uppercase().as_str() {
            "DOWNLOAD" => AssignmentKind::Package,
            "DOWNLOAD_FORCE" => AssignmentKind::Force,
            "DOWNLOAD_SCHEDULE" => AssignmentKind::Schedule,
            "DOWNLOAD_POSTCMD" => AssignmentKind::Afterwards,
            _ => return None,
        },
        value: text(row, 3),
    })
}

fn history(row: &Row) -> Option<HistoryRow> {
    Some(HistoryRow {
        computer: number(row, 0)?,
        package: number(row, 1)?,
    })
}

/// Returns the text in a column; `None` for NULL.
fn text(row: &Row, column: usize) -> Option<String> {
    match row.as_ref(column)? {
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Value::Int(number) => Some(number.to_string()),
        Value::UInt(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Returns the number in a column; `None` for NULL, or for another text.
fn number(row: &Row, column: usize) -> Option<i64> {
    let text = text(row, column)?;
    // The server writes some times with a fraction.
    let whole = text.split('.').next()?;
    whole.trim().parse().ok()
}
