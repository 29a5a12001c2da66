//! The command of a run with the values of its arguments, for hints and for the format of results.

use std::collections::BTreeMap;

use clap::ArgMatches;
use clap::parser::ValueSource;

/// The command of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Invocation {
    /// The path of the command, such as `device list`.
    pub(crate) path: String,
    /// The values of the arguments on the command line, by the names of the arguments.
    values: BTreeMap<String, Vec<String>>,
}

impl Invocation {
    pub(crate) fn of(matches: &ArgMatches) -> Self {
        let mut path = Vec::new();
        let mut matches = matches;
        while let Some((name, below)) = matches.subcommand() {
            path.push(name);
            matches = below;
        }
        let given = matches.ids().map(clap::Id::as_str).filter(|id| {
            let source = matches.try_get_raw(id).ok().flatten();
            source.is_some() && matches.value_source(id) == Some(ValueSource::CommandLine)
        });
        let values = given.map(|id| {
            let raw = matches.get_raw(id).into_iter().flatten();
            let texts = raw.map(|value| value.to_string_lossy().into_owned());
            (id.to_owned(), texts.collect())
        });
        Self {
            path: path.join(" "),
            values: values.collect(),
        }
    }

    /// Returns the first value of an argument; `None` if it is not on the command line.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name)?.first().map(String::as_str)
    }

    /// Returns true if an argument is on the command line.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Returns the name of the result's form: the path, and the option that changes the form.
    pub(crate) fn form(&self) -> String {
        for (path, option) in [("status", "devices"), ("device list", "excluded")] {
            if self.path == path && self.has(option) {
                return format!("{path} --{option}");
            }
        }
        self.path.clone()
    }

    /// Returns true if the command works on a target.
    pub(crate) fn has_target(&self) -> bool {
        !matches!(self.path.as_str(), "demo" | "local" | "completions" | "man")
    }

    /// Returns the next useful command after a change, without the name of the program; `None` if
    /// the command changes nothing, or names the next command itself.
    pub(crate) fn next(&self) -> Option<String> {
        let word = |name: &str| self.value(name).map(quoted);
        let package = word("package");
        let group = word("group");
        let device = word("device");
        Some(match self.path.as_str() {
            "publish" => {
                let (name, version) = (word("name")?, word("package_version")?);
                if self.has("activate") {
                    format!("assign {name}@{version} --group GROUP")
                } else {
                    format!("activate {name}@{version}")
                }
            }
            "activate" => format!("assign {} --group GROUP", package?),
            "assign" | "unassign" | "deactivate" => format!("status {}", package?),
            "delete" => "list".to_owned(),
            "group add" | "group remove" => format!("group show {} --devices", group?),
            "group prefer" | "group pacing" => format!("group show {}", group?),
            "group rename" => format!("group show {}", word("to")?),
            "group delete" => "group list".to_owned(),
            "location add" => format!("location check {}", word("name")?),
            "location remove" => "location list".to_owned(),
            "device block" | "device unblock" | "device remove" if !self.has("dry_run") => {
                "device list --excluded".to_owned()
            }
            "device restart-download" | "device drop" | "device pacing" => {
                format!("device show {}", device?)
            }
            "keys rotate" | "keys trust" | "keys revoke" | "keys replace" => "keys list".to_owned(),
            "keys accept-head" => "audit".to_owned(),
            "sign" => "log --limit 1".to_owned(),
            "revert" if !self.has("dry_run") => "log --limit 1".to_owned(),
            "token" => "agent-config".to_owned(),
            _ => return None,
        })
    }
}

/// Quotes a word for a shell, if it is necessary. The command is between single quotes already.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "@._+~:-/%,=".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("{word:?}")
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use insta::assert_snapshot;

    use super::*;

    fn invocation(line: &str) -> Invocation {
        let words = line.split_whitespace().map(OsString::from);
        Invocation::of(&crate::cli().try_get_matches_from(words).unwrap())
    }

    #[test]
    fn each_change_has_a_next_command() {
        let lines = [
            "publish tool.zip --name tool --version 1",
            "publish tool.zip --name tool --version 1 --activate",
            "activate tool@1",
            "deactivate tool@1",
            "assign tool@1 --all",
            "unassign tool@1 --group lab",
            "delete tool@1",
            "group add lab --device web01",
            "group remove lab --device web01",
            "group prefer lab --none",
            "group pacing lab --strict",
            "group rename lab laboratory",
            "group delete lab",
            "location add cdn cdn.example.net",
            "location remove cdn",
            "device block web01",
            "device unblock web01",
            "device remove web01",
            "device restart-download web01",
            "device drop web01",
            "device pacing web01 --reset",
            "keys rotate",
            "keys accept-head",
            "sign",
            "revert 5",
            "token --devices 1",
        ];
        let next = lines.map(|line| {
            let next = invocation(&format!("packcast {line}")).next().unwrap();
            format!("{line}\n    {next}")
        });
        assert_snapshot!(next.join("\n"), @"
        publish tool.zip --name tool --version 1
            activate tool@1
        publish tool.zip --name tool --version 1 --activate
            assign tool@1 --group GROUP
        activate tool@1
            assign tool@1 --group GROUP
        deactivate tool@1
            status tool@1
        assign tool@1 --all
            status tool@1
        unassign tool@1 --group lab
            status tool@1
        delete tool@1
            list
        group add lab --device web01
            group show lab --devices
        group remove lab --device web01
            group show lab --devices
        group prefer lab --none
            group show lab
        group pacing lab --strict
            group show lab
        group rename lab laboratory
            group show laboratory
        group delete lab
            group list
        location add cdn cdn.example.net
            location check cdn
        location remove cdn
            location list
        device block web01
            device list --excluded
        device unblock web01
            device list --excluded
        device remove web01
            device list --excluded
        device restart-download web01
            device show web01
        device drop web01
            device show web01
        device pacing web01 --reset
            device show web01
        keys rotate
            keys list
        keys accept-head
            audit
        sign
            log --limit 1
        revert 5
            log --limit 1
        token --devices 1
            agent-config
        ");
        for line in [
            "list",
            "status",
            "device remove web01 --dry-run",
            "revert 5 --dry-run",
            "man",
        ] {
            let invocation = invocation(&format!("packcast {line}"));
            assert_eq!(invocation.next(), None, "{line}");
        }
    }

    #[test]
    fn the_form_of_a_result_depends_on_options() {
        let form = |line: &str| invocation(&format!("packcast {line}")).form();
        assert_eq!(form("status"), "status");
        assert_eq!(form("status tool@1 --devices"), "status --devices");
        assert_eq!(form("device list --format csv"), "device list");
        assert_eq!(form("device list --excluded"), "device list --excluded");
        assert_eq!(quoted("my pc"), "\"my pc\"");
    }
}
