//! The interface for scripts: exit codes, fields of JSON and columns of CSV, as in
//! `docs/interface.md`.
//!
//! Each command runs with `--format json`, and the paths of its fields are compared with the
//! document. `UPDATE_INTERFACE=1` writes the paths into the document; the meaning of each new name is
//! written by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use packcast_tests::process::Ran;
use packcast_tests::world::World;
use serde_json::{Value, json};

use crate::PROGRAM;

const BEGIN: &str = "<!-- fields: written by the test of the interface -->\n";
const END: &str = "<!-- end of fields -->";

/// A key that no world has.
const OTHER_KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

/// The fields of each command.
#[derive(Default)]
struct Fields(BTreeMap<&'static str, BTreeSet<String>>);

impl Fields {
    /// Runs a command with any exit code, and collects the fields of its result.
    fn run(&mut self, world: &World, command: &'static str, arguments: &[&str]) {
        let words: Vec<&str> = command.split_whitespace().collect();
        let line = [&words[..], arguments, &["--format", "json"]].concat();
        let ran = Ran::of(&mut world.command(&line));
        let result: Value = serde_json::from_str(&ran.stdout)
            .unwrap_or_else(|error| panic!("{line:?}: {error}: {ran:#?}"));
        collect(&result, "", self.0.entry(command).or_default());
    }

    /// Writes the fields as a part of the document.
    fn text(&self) -> String {
        let commands = self.0.iter().map(|(command, fields)| {
            let fields: Vec<&str> = known(fields).collect();
            format!("### {command}\n\n```text\n{}\n```\n\n", fields.join("\n"))
        });
        commands.collect()
    }

    /// Returns the names of all fields.
    fn names(&self) -> BTreeSet<&str> {
        let fields = self.0.values().flat_map(known);
        let parts = fields.flat_map(|path| path.split('.'));
        let names = parts.map(|part| part.trim_end_matches("[]"));
        names
            .filter(|name| !name.is_empty() && *name != "<id>")
            .collect()
    }
}

/// Returns the paths without those of empty arrays whose elements are known.
fn known(paths: &BTreeSet<String>) -> impl Iterator<Item = &str> {
    let has_elements = |path: &str| {
        let below = [format!("{path}."), format!("{path}[]")];
        let is_below = |it: &String| below.iter().any(|start| it.starts_with(start));
        path.ends_with("[]") && paths.iter().any(is_below)
    };
    let paths = paths.iter().map(String::as_str);
    paths.filter(move |path| !has_elements(path))
}

/// Collects the paths of a value. An array is `[]`, also without elements, and a key that is the id
/// of a package `<id>`.
///
/// The daily facts of a device depend on the machine of the test, so the document describes them by
/// hand.
fn collect(value: &Value, path: &str, paths: &mut BTreeSet<String>) {
    let fact = path.strip_prefix("facts.");
    if fact.is_some_and(|fact| !["at", "device"].contains(&fact)) {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let is_id = name.bytes().all(|byte| byte.is_ascii_digit());
                let name = if is_id { "<id>" } else { name };
                let path = if path.is_empty() {
                    name.to_owned()
                } else {
                    format!("{path}.{name}")
                };
                collect(value, &path, paths);
            }
        }
        Value::Array(values) => {
            let path = format!("{path}[]");
            if values.is_empty() {
                paths.insert(path.clone());
            }
            for value in values {
                collect(value, &path, paths);
            }
        }
        _ => {
            paths.insert(path.to_owned());
        }
    }
}

fn document() -> (std::path::PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/interface.md");
    let text = fs::read_to_string(&path).unwrap();
    (path, text)
}

/// Runs every command on a world, so that each field of a result has a value once.
fn all_fields() -> Fields {
    let world = World::start(PROGRAM);
    let mut fields = Fields::default();
    let devices = ["web01", "web02", "web03"].map(|name| world.device(name));
    let [first, second, third] = [0, 1, 2].map(|index| devices[index].id());
    run_on_publication(&world, &mut fields);
    let build = format!(
        "linux-x86_64={}",
        world.file(
            "build",
            b"#!/bin/sh
"
        )
    );
    fields.run(&world, "publish-agent", &[&build, "--version", "1.0.0"]);
    world.execute("tool", "echo running; exit 7");
    world.execute("late", "true");
    let urgent = ["--action", "execute", "--command", "true", "--activate"];
    world.publish("urgent", &[&urgent[..], &["--priority", "0"]].concat());
    world.execute("audience", "true");
    fields.run(&world, "group create", &["lab"]);
    fields.run(
        &world,
        "group add",
        &["lab", "--device", first, "--device", "nobody"],
    );
    fields.run(
        &world,
        "group pacing",
        &["lab", "--fragment-pause", "2s", "--cycle-pause", "5s"],
    );
    fields.run(&world, "location add", &["mirror", "mirror.example.net"]);
    fields.run(&world, "group prefer", &["lab", "--location", "mirror"]);
    let assign = |package: &'static str| [package, "--device", first, "--device", second];
    fields.run(&world, "assign --dry-run", &assign("tool@1"));
    fields.run(&world, "assign --dry-run", &["late@1", "--group", "lab"]);
    fields.run(&world, "assign", &assign("tool@1"));
    fields.run(&world, "assign", &["late@1", "--group", "lab"]);
    world.ok(&["assign", "urgent@1", "--device", first]);
    fields.run(&world, "explain", &[first, "tool@1"]);
    devices[0].run();
    fields.run(&world, "assign", &assign("late@1"));
    fields.run(&world, "explain", &[first, "tool@1"]);
    fields.run(&world, "device pacing", &[second, "--strict"]);
    fields.run(&world, "device block", &[second, "--reason", "stolen"]);
    fields.run(&world, "explain", &[second, "tool@1"]);
    for device in [first, second] {
        fields.run(&world, "device show", &[device]);
    }
    fields.run(&world, "status", &[]);
    fields.run(&world, "wait", &["tool@1", "--timeout", "0"]);
    fields.run(&world, "status", &["tool@1"]);
    fields.run(&world, "status --devices", &["tool@1"]);
    fields.run(&world, "status --devices", &["tool@1", "--state", "failed"]);
    fields.run(&world, "status --devices", &["late@1"]);
    fields.run(&world, "group show", &["lab", "--devices"]);
    fields.run(&world, "group list", &[]);
    fields.run(&world, "location list", &[]);
    fields.run(&world, "location check", &[]);
    fields.run(&world, "list", &["--sort", "size"]);
    fields.run(&world, "show", &["site@1"]);
    fields.run(&world, "show", &["tool@1"]);
    fields.run(&world, "verify", &["tool@1"]);
    fields.run(&world, "device list", &[]);
    fields.run(&world, "device list --excluded", &[]);
    fields.run(&world, "device remove --dry-run", &[third]);
    fields.run(
        &world,
        "unassign",
        &["tool@1", "--device", first, "--device", second],
    );
    fields.run(&world, "unassign", &["late@1", "--group", "lab"]);
    run_on_rollouts(&world, &mut fields);
    fields.run(&world, "device unblock", &[second]);
    run_on_new_installation(&world, &mut fields, third);
    fields.run(&world, "group remove", &["lab", "--device", first]);
    fields.run(&world, "group rename", &["lab", "hall", "--force"]);
    fields.run(&world, "group delete", &["hall", "--force"]);
    fields.run(&world, "location remove", &["mirror"]);
    fields.run(&world, "delete", &["audience@1"]);
    run_on_history_and_keys(&world, &mut fields);
    fields
}

/// Publishes a package with all terms, activates and deactivates it.
fn run_on_publication(world: &World, fields: &mut Fields) {
    let folder = world.path("site");
    fs::create_dir(&folder).unwrap();
    fs::write(Path::new(&folder).join("index.html"), "site").unwrap();
    let site = [
        "--name",
        "site",
        "--version",
        "1",
        "--action",
        "store",
        "--path",
    ];
    let dialogue = [
        "--notify",
        "Soon",
        "--notify-done",
        "Done",
        "--not-before",
        "2026-12-01",
    ];
    let more = [
        "--afterwards",
        "reboot",
        "--expires-in",
        "90d",
        "--reboot-code",
        "3010",
        &folder,
    ];
    let target = world.path("target");
    let publish = [&site[..], &[target.as_str()], &dialogue, &more].concat();
    fields.run(world, "publish", &publish);
    fields.run(world, "activate", &["site@1"]);
    fields.run(world, "deactivate", &["site@1"]);
}

/// Runs the commands on a rollout to the group of a world.
fn run_on_rollouts(world: &World, fields: &mut Fields) {
    let start = ["late@1", "--group", "lab", "--pilot", "lab", "--manual"];
    fields.run(world, "rollout start --dry-run", &start);
    fields.run(world, "rollout start", &start);
    fields.run(world, "rollout list", &[]);
    fields.run(world, "rollout show", &["late@1"]);
    fields.run(world, "rollout watch", &["late@1", "--for", "0"]);
    fields.run(world, "rollout pause --dry-run", &["late@1"]);
    fields.run(world, "rollout end --dry-run", &["late@1"]);
    fields.run(world, "rollout resume", &["late@1"]);
    fields.run(world, "rollout promote", &["late@1"]);
    fields.run(world, "rollout finish", &["late@1"]);
}

/// Runs the commands on the history of a target, and on its keys.
fn run_on_history_and_keys(world: &World, fields: &mut Fields) {
    fields.run(world, "log", &["--limit", "1000"]);
    let commits: Vec<Value> = world.json(&["log", "--signed"]);
    let oldest = commits.last().unwrap()["number"].to_string();
    fields.run(world, "diff", &[&oldest]);
    fields.run(world, "revert --dry-run", &[&oldest]);
    fields.run(world, "revert", &[&oldest, "--yes"]);
    fields.run(world, "audit", &[]);
    fields.run(world, "sign", &[]);
    fields.run(world, "token", &["--name", "berlin", "--devices", "1"]);
    let batch = "berlin-a4dqobyha4dqobyha4dqobyha4";
    fields.run(world, "token revoke", &[batch]);
    fields.run(world, "token list", &[]);
    fields.run(world, "agent-config", &[]);
    fields.run(world, "keys show", &[]);
    fields.run(world, "keys list", &[]);
    fields.run(world, "unlock", &["--status"]);
    fields.run(world, "lock", &[]);
    fields.run(world, "keys trust", &[OTHER_KEY]);
    fields.run(world, "keys revoke", &[OTHER_KEY]);
    fields.run(world, "keys rotate", &["--unencrypted"]);
}

#[test]
fn an_empty_array_is_a_field_until_its_elements_are_known() {
    let mut paths = BTreeSet::new();
    collect(&json!({ "ahead": [], "all": [] }), "", &mut paths);
    assert_eq!(known(&paths).collect::<Vec<_>>(), ["ahead[]", "all[]"]);
    collect(&json!({ "all": [{ "id": 1 }] }), "", &mut paths);
    assert_eq!(known(&paths).collect::<Vec<_>>(), ["ahead[]", "all[].id"]);
}

#[test]
fn every_field_of_a_result_is_documented() {
    let fields = all_fields();
    let (path, text) = document();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (written, after) = rest.split_once(END).unwrap();
    let found = format!("\n{}", fields.text());
    if std::env::var_os("UPDATE_INTERFACE").is_some() {
        fs::write(path, format!("{before}{BEGIN}{found}{END}{after}")).unwrap();
    } else {
        assert_eq!(written, found, "run this test with UPDATE_INTERFACE=1");
    }
    let missing: Vec<&str> = fields
        .names()
        .into_iter()
        .filter(|name| !before.contains(&format!("| `{name}` |")))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/interface.md does not explain {missing:?}"
    );
}

/// Replaces a device by one that was installed again on the same machine, and removes the new one.
fn run_on_new_installation(world: &World, fields: &mut Fields, old: &str) {
    world.ok(&["group", "add", "lab", "--device", old]);
    world.ok(&["assign", "late@1", "--device", old]);
    let new = world.device("web04");
    fields.run(world, "device replace", &[old, new.id()]);
    fields.run(world, "device remove", &[new.id()]);
}
