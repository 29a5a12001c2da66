//! The command of a run with the values of its arguments, for hints and for the format of results.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::ArgMatches;
use clap::parser::ValueSource;
use packcast_protocol::agent_build::AGENT_PACKAGE;

/// The command of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Invocation {
    /// The path of the command, such as `device list`.
    pub(crate) path: String,
    /// The values of the arguments on the command line, by the names of the arguments.
    values: BTreeMap<String, Vec<String>>,
    /// The arguments without those that name the target or the format.
    words: Vec<String>,
}

impl Invocation {
    pub(crate) fn of(matches: &ArgMatches, arguments: &[OsString]) -> Self {
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
            words: words(arguments),
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
        for (path, option) in [
            ("status", "devices"),
            ("device list", "excluded"),
            ("group show", "devices"),
        ] {
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
        match self.after_dry_run().into_iter().next() {
            Some(change) => Some(change),
            None => self.next_after_change(),
        }
    }

    /// Returns the command that makes the change of a dry run, and the next useful command after
    /// it, without the name of the program. Empty if the command is no dry run.
    pub(crate) fn after_dry_run(&self) -> Vec<String> {
        if !self.has("dry_run") {
            return Vec::new();
        }
        let words = self.words.iter().filter(|word| *word != "--dry-run");
        let change = words.map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
        let next = self.next_after_change();
        [Some(change), next].into_iter().flatten().collect()
    }

    fn next_after_change(&self) -> Option<String> {
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
            "publish-agent" => {
                let package = format!("{AGENT_PACKAGE}@{}", word("agent_version")?);
                if self.has("activate") {
                    format!("rollout start {package} --all")
                } else {
                    format!("activate {package}")
                }
            }
            "activate" => format!("assign {} --group GROUP", package?),
            "assign" | "unassign" | "deactivate" | "rollout finish" => {
                format!("status {}", package?)
            }
            "rollout start" | "rollout resume" | "rollout promote" => {
                format!("rollout watch {}", package?)
            }
            "rollout pause" => format!("rollout show {}", package?),
            "rollout end" => "rollout list".to_owned(),
            "delete" => "list".to_owned(),
            "resume" => "status".to_owned(),
            "group add" | "group remove" => format!("group show {} --devices", group?),
            "group prefer" | "group pacing" => format!("group show {}", group?),
            "group rename" => format!("group show {}", word("to")?),
            "group delete" => "group list".to_owned(),
            "location add" => format!("location check {}", word("name")?),
            "location remove" => "location list".to_owned(),
            "device block" | "device unblock" | "device remove" => {
                "device list --excluded".to_owned()
            }
            "device replace" => format!("device show {}", word("new")?),
            "device restart-download" | "device drop" | "device pacing" => {
                format!("device show {}", device?)
            }
            "keys rotate" | "keys trust" | "keys revoke" | "keys replace" => "keys list".to_owned(),
            // Agents need the trust line, on every target.
            "keys generate" => "keys show".to_owned(),
            "keys accept-head" => "audit".to_owned(),
            "sign" | "revert" => "log --limit 1".to_owned(),
            "token" => "agent-config".to_owned(),
            "token revoke" => "token list".to_owned(),
            _ => return None,
        })
    }
}

/// Returns the words of a command line after the name of the program, without the options that name
/// the target or the format.
fn words(arguments: &[OsString]) -> Vec<String> {
    const GLOBAL: [&str; 3] = ["--target", "--config", "--format"];
    let mut arguments = arguments.iter().skip(1).map(|it| it.to_string_lossy());
    let mut words = Vec::new();
    while let Some(word) = arguments.next() {
        let name = word.split('=').next().unwrap_or_default();
        if !GLOBAL.contains(&name) {
            words.push(word.into_owned());
        } else if name == word {
            // The value is the next word.
            arguments.next();
        }
    }
    words
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
    use insta::assert_snapshot;

    use super::*;

    fn invocation(line: &str) -> Invocation {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        Invocation::of(&crate::cli().try_get_matches_from(&words).unwrap(), &words)
    }

    /// Returns each command line with the next one.
    fn next_commands(lines: &[&str]) -> String {
        let next = lines.iter().map(|line| {
            let next = invocation(&format!("packcast {line}")).next().unwrap();
            format!("{line}\n    {next}")
        });
        next.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn keys_tokens_and_updates_have_a_next_command() {
        let lines = [
            "keys generate",
            "token --name berlin --devices 5",
            "token revoke berlin",
            "publish-agent agent.exe --version 1.4.2",
            "publish-agent agent.exe --version 1.4.2 --activate",
        ];
        assert_snapshot!(next_commands(&lines), @"
        keys generate
            keys show
        token --name berlin --devices 5
            agent-config
        token revoke berlin
            token list
        publish-agent agent.exe --version 1.4.2
            activate packcast-agent@1.4.2
        publish-agent agent.exe --version 1.4.2 --activate
            rollout start packcast-agent@1.4.2 --all
        ");
    }

    #[test]
    fn each_change_of_a_rollout_has_a_next_command() {
        let lines = [
            "rollout start tool@1 --group lab",
            "rollout pause tool@1",
            "rollout resume tool@1",
            "rollout promote tool@1",
            "rollout end tool@1",
            "rollout finish tool@1",
        ];
        assert_snapshot!(next_commands(&lines), @"
        rollout start tool@1 --group lab
            rollout watch tool@1
        rollout pause tool@1
            rollout show tool@1
        rollout resume tool@1
            rollout watch tool@1
        rollout promote tool@1
            rollout watch tool@1
        rollout end tool@1
            rollout list
        rollout finish tool@1
            status tool@1
        ");
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
            "resume --all",
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
            "device replace web01 ocs:web01-2026-11-20-08-30-00",
            "device restart-download web01",
            "device drop web01",
            "device pacing web01 --reset",
            "keys rotate",
            "keys accept-head",
            "sign",
            "revert 5",
            "token --devices 1",
        ];
        assert_snapshot!(next_commands(&lines), @"
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
        resume --all
            status
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
        device replace web01 ocs:web01-2026-11-20-08-30-00
            device show ocs:web01-2026-11-20-08-30-00
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
        for line in ["list", "status", "man"] {
            let invocation = invocation(&format!("packcast {line}"));
            assert_eq!(invocation.next(), None, "{line}");
        }
    }

    #[test]
    fn a_dry_run_is_followed_by_the_change() {
        let lines = [
            "packcast assign tool@1 --dry-run --group lab --target prod --format=json",
            "packcast --config x.toml device remove --not-seen 90d --dry-run",
            "packcast revert 5 --dry-run",
        ];
        let next = lines.map(|line| invocation(line).after_dry_run().join("\n"));
        assert_snapshot!(next.join("\n"), @"
        assign tool@1 --group lab
        status tool@1
        device remove --not-seen 90d
        device list --excluded
        revert 5
        log --limit 1
        ");
        let dry_run = invocation(lines[2]);
        assert_eq!(dry_run.next().as_deref(), Some("revert 5"));
        assert_eq!(invocation("packcast revert 5").after_dry_run(), [""; 0]);
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
