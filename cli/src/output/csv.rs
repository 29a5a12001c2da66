//! Lists as CSV, for spreadsheets.
//!
//! The columns are an interface: `docs/interface.md` lists them.

use jiff::Timestamp;
use packcast_protocol::terminal;
use serde_json::Value;

/// The CSV form of a command's result.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CsvForm {
    /// The command, such as `device list`.
    pub(crate) command: &'static str,
    /// The field of the result that has the rows; `None` if the result is the list of rows.
    rows: Option<&'static str>,
    pub(crate) columns: &'static [CsvColumn],
}

/// A column: its name, and the path of its value in the JSON form of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CsvColumn {
    pub(crate) name: &'static str,
    path: &'static str,
    is_time: bool,
}

const fn column(name: &'static str, path: &'static str) -> CsvColumn {
    CsvColumn {
        name,
        path,
        is_time: false,
    }
}

const fn time(name: &'static str, path: &'static str) -> CsvColumn {
    CsvColumn {
        name,
        path,
        is_time: true,
    }
}

/// The commands that print CSV.
pub(crate) const FORMS: [CsvForm; 15] = [
    CsvForm {
        command: "list",
        rows: None,
        columns: &[
            column("package", "id"),
            column("name", "name"),
            column("version", "version"),
            column("priority", "priority"),
            column("action", "action.type"),
            column("bytes", "action.archive.bytes"),
            column("state", "state.state"),
            column("active", "active"),
            time("expires", "state.expires"),
            time("created_at", "created_at"),
            column("unused", "unused"),
        ],
    },
    CsvForm {
        command: "status",
        rows: None,
        columns: &[
            column("package", "package"),
            column("name", "name"),
            column("state", "state"),
            column("to_come", "to_come"),
            column("assigned", "assigned"),
            column("waiting", "waiting"),
            column("announced", "announced"),
            column("withdrawn", "withdrawn"),
            column("succeeded", "succeeded"),
            column("failed", "failed"),
            column("cancelled", "cancelled"),
            column("not_applicable", "not_applicable"),
        ],
    },
    CsvForm {
        command: "status --devices",
        rows: None,
        columns: &[
            column("device", "device"),
            column("host_name", "host_name"),
            column("state", "state"),
            column("excluded", "excluded.kind"),
            column("code", "code"),
            column("line", "line"),
            time("finished_at", "finished_at"),
            column("waits", "waits.reason"),
        ],
    },
    CsvForm {
        command: "device list",
        rows: None,
        columns: &[
            column("device", "device"),
            column("host_name", "host_name"),
            column("system", "os"),
            column("agent", "agent"),
            time("first_seen", "first_seen"),
            time("last_seen", "last_seen"),
            column("excluded", "excluded.kind"),
            column("site", "facts.site"),
            column("batch", "batch"),
        ],
    },
    CsvForm {
        command: "device list --excluded",
        rows: None,
        columns: &[
            column("device", "device"),
            column("host_name", "host_name"),
            column("excluded", "kind"),
            time("since", "since"),
            column("reason", "reason"),
        ],
    },
    CsvForm {
        command: "rollout list",
        rows: None,
        columns: &[
            column("package", "package"),
            column("name", "name"),
            column("status", "status"),
            column("wave", "wave"),
            column("waves", "waves"),
            column("devices", "devices"),
            column("begun", "begun"),
            column("healthy", "healthy"),
            column("failed", "failed"),
        ],
    },
    CsvForm {
        command: "group list",
        rows: None,
        columns: &[
            column("group", "group"),
            column("devices", "devices"),
            column("packages", "packages"),
            column("preferred", "preferred"),
        ],
    },
    CsvForm {
        command: "group show",
        rows: Some("assignments"),
        columns: &[
            column("package", "package"),
            column("name", "name"),
            column("state", "state"),
            column("priority", "priority"),
            column("force", "force"),
            column("downgrade", "downgrade"),
            time("assigned_at", "assigned_at"),
        ],
    },
    CsvForm {
        command: "group show --devices",
        rows: Some("devices"),
        columns: &[column("device", "device"), column("host_name", "host_name")],
    },
    CsvForm {
        command: "keys list",
        rows: None,
        columns: &[
            column("public_key", "public_key"),
            column("signs", "signs"),
            column("root", "root"),
            column("retired", "retired"),
        ],
    },
    CsvForm {
        command: "verify",
        rows: None,
        columns: &[
            column("package", "package"),
            column("source", "source"),
            column("is_intact", "is_intact"),
            column("problems", "problems"),
        ],
    },
    CsvForm {
        command: "location list",
        rows: None,
        columns: &[column("name", "name"), column("location", "location")],
    },
    CsvForm {
        command: "token list",
        rows: None,
        columns: &[
            column("batch", "batch"),
            column("enrolled", "enrolled"),
            column("limit", "limit"),
            time("expires", "expires"),
            time("revoked", "revoked"),
        ],
    },
    CsvForm {
        command: "location check",
        rows: None,
        columns: &[
            column("name", "name"),
            column("location", "location"),
            column("package", "package"),
            column("problem", "problem"),
            column("milliseconds", "milliseconds"),
        ],
    },
    CsvForm {
        command: "log",
        rows: None,
        columns: &[
            column("number", "number"),
            time("issued", "issued"),
            column("author", "author"),
            column("host", "host"),
            column("command", "command"),
            column("key", "key"),
            column("standing", "standing"),
            column("changes", "lines"),
        ],
    },
];

/// Returns the CSV form of a command; `None` if its result is no list.
pub(crate) fn form(command: &str) -> Option<&'static CsvForm> {
    FORMS.iter().find(|form| form.command == command)
}

impl CsvForm {
    /// Returns the rows of a result.
    pub(crate) fn rows(&self, result: Value) -> Vec<Value> {
        let rows = match (self.rows, result) {
            (Some(field), Value::Object(mut fields)) => fields.remove(field),
            (_, result) => Some(result),
        };
        match rows {
            Some(Value::Array(rows)) => rows,
            other => other.into_iter().collect(),
        }
    }
}

/// Writes rows as CSV with a heading.
pub(crate) fn document(form: &CsvForm, rows: &[Value]) -> String {
    let heading: Vec<&str> = form.columns.iter().map(|column| column.name).collect();
    let rows = rows.iter().map(|row| {
        let cells = form.columns.iter().map(|column| cell(*column, row));
        cells.collect::<Vec<_>>().join(",")
    });
    let lines: Vec<String> = [heading.join(",")].into_iter().chain(rows).collect();
    lines.join("\n")
}

fn cell(column: CsvColumn, row: &Value) -> String {
    let mut parts = column.path.split('.');
    let value = parts.try_fold(row, |value, part| value.get(part));
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::Number(seconds)) if column.is_time => seconds
            .as_i64()
            .and_then(|seconds| Timestamp::from_second(seconds).ok())
            .map_or_else(|| seconds.to_string(), |at| at.to_string()),
        Some(Value::String(text)) => quoted(text),
        Some(Value::Array(values)) => {
            let texts = values.iter().map(|value| match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            });
            quoted(&texts.collect::<Vec<_>>().join("; "))
        }
        Some(other) => quoted(&other.to_string()),
    }
}

/// Writes a text as a cell. A text that a spreadsheet would calculate gets an apostrophe: devices
/// choose their host names.
fn quoted(text: &str) -> String {
    let mut text = terminal::line(text);
    if text.starts_with(['=', '+', '-', '@']) {
        text.insert(0, '\'');
    }
    if text.contains([',', '"']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::json;

    use super::*;

    #[test]
    fn every_column_is_documented() {
        let document = include_str!("../../../docs/interface.md");
        for form in &FORMS {
            let names = form
                .columns
                .iter()
                .map(|column| format!("`{}`", column.name));
            let names = names.collect::<Vec<_>>().join(", ");
            let row = format!("| `{}` | {names} |\n", form.command);
            assert!(
                document.contains(&row),
                "docs/interface.md does not have {row}"
            );
        }
    }

    #[test]
    fn rows_of_a_group_are_its_packages_or_its_devices() {
        let group = json!({
            "group": "lab",
            "assignments": [{
                "package": "1795000000", "name": "vlc@3", "priority": 5, "force": false,
                "downgrade": true,
            }],
            "devices": [{ "device": "key:a", "host_name": "web01" }],
        });
        let texts = ["group show", "group show --devices"].map(|command| {
            let form = form(command).unwrap();
            document(form, &form.rows(group.clone()))
        });
        assert_snapshot!(texts.join("\n\n"), @"
        package,name,state,priority,force,downgrade,assigned_at
        1795000000,vlc@3,,5,false,true,

        device,host_name
        key:a,web01
        ");
    }

    #[test]
    fn rows_have_all_columns_of_their_command() {
        let rows = [
            json!({
                "device": "ocs:pc-2026-03-04-05-06-07", "host_name": "pc, \"old\"",
                "os": "Debian 12", "agent": "OCS", "first_seen": 1_795_000_000, "last_seen": 0,
                "excluded": { "kind": "blocked" },
            }),
            json!({ "device": "key:a", "host_name": "=1+1\n\u{1b}[2J", "os": null }),
        ];
        let text = document(form("device list").unwrap(), &rows);
        assert_snapshot!(text, @r#"
        device,host_name,system,agent,first_seen,last_seen,excluded,site,batch
        ocs:pc-2026-03-04-05-06-07,"pc, ""old""",Debian 12,OCS,2026-11-18T11:06:40Z,1970-01-01T00:00:00Z,blocked,,
        key:a,'=1+1\n\u{1b}[2J,,,,,,,
        "#);
        assert_snapshot!(document(form("group list").unwrap(), &[]), @"group,devices,packages,preferred");
        let log =
            json!({ "number": 5, "lines": ["group lab: created", "group lab: web01 joined"] });
        assert_snapshot!(document(form("log").unwrap(), &[log]), @"
        number,issued,author,host,command,key,standing,changes
        5,,,,,,,group lab: created; group lab: web01 joined
        ");
    }
}
