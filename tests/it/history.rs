//! The history of changes: log, diff, revert and audit.

use std::process::Stdio;

use packcast_protocol::PackageId;
use packcast_store::ObjectKey;
use packcast_testing::raw::RawEngine;
use packcast_tests::front::{HeldWrite, Hold};
use packcast_tests::process::{Process, Ran, eventually};
use packcast_tests::tree::Tree;
use packcast_tests::world::World;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::PROGRAM;

/// The JSON output of `log`, for one commit.
#[derive(Debug, Deserialize)]
struct LoggedCommit {
    number: u64,
    commit: String,
    command: String,
    standing: String,
    lines: Vec<String>,
}

/// The JSON output of `audit`.
#[derive(Debug, Deserialize)]
struct AuditOutput {
    commits: u64,
    groups: u64,
    devices: u64,
    packages: u64,
    findings: Vec<Value>,
    unwritten: Vec<Value>,
}

fn log(world: &World) -> Vec<LoggedCommit> {
    world.json(&["log", "--signed"])
}

/// Runs a command with a result that needs attention.
fn alarming(world: &World, arguments: &[&str]) -> Ran {
    Ran::of(&mut world.command(arguments)).expect_code(3)
}

/// Audits a world, which has to be without findings.
fn audited(world: &World) -> AuditOutput {
    let report: AuditOutput = world.json(&["audit"]);
    assert!(report.findings.is_empty(), "{report:#?}");
    assert!(report.unwritten.is_empty(), "{report:#?}");
    report
}

#[test]
fn changes_are_logged_compared_and_reverted() {
    let world = World::start(PROGRAM);
    let device = world.device("pc");
    world.execute("tool", "true");
    world.execute("other", "true");
    world.ok(&["group", "create", "lab"]);
    world.ok(&["group", "add", "lab", "--device", device.id()]);
    world.ok(&["assign", "tool@1", "--group", "lab"]);
    let good = log(&world).swap_remove(0).number.to_string();
    world.ok(&["assign", "other@1", "--group", "lab"]);
    world.ok(&["unassign", "tool@1", "--group", "lab"]);

    let commits = log(&world);
    assert!(
        commits.iter().all(|it| it.standing == "verified"),
        "{commits:#?}"
    );
    let newest = &commits[0];
    assert_eq!(newest.lines, ["group lab: unassigned tool@1"]);
    assert!(
        newest.command.starts_with("packcast unassign tool@1"),
        "{newest:?}"
    );
    let numbers: Vec<u64> = commits.iter().map(|it| it.number).collect();
    assert!(
        numbers.is_sorted_by(|newer, older| newer > older),
        "{numbers:?}"
    );
    let of_other: Vec<LoggedCommit> = world.json(&["log", "--package", "other@1", "--signed"]);
    assert_eq!(of_other.len(), 1);
    let text = world.ok(&["log", "--limit", "1"]).stdout;
    assert!(text.contains("  group lab: unassigned tool@1\n"), "{text}");

    let expected = "group lab: unassigned tool@1\ngroup lab: assigned other@1\n";
    assert_eq!(world.ok(&["diff", &good]).stdout, expected);
    audited(&world);

    let refused = world.refused(2, &["revert", &good]);
    assert!(
        refused.contains("cannot ask for a confirmation"),
        "{refused}"
    );
    let dry = world.ok(&["revert", &good, "--dry-run"]).stdout;
    let expected = "group lab: unassigned other@1\ngroup lab: assigned tool@1\n";
    assert_eq!(dry, expected);
    assert_eq!(log(&world).len(), commits.len(), "nothing was changed yet");
    let reverted = world.ok(&["revert", &good, "--yes"]).stdout;
    assert!(reverted.starts_with(expected), "{reverted}");
    assert_eq!(log(&world).len(), commits.len() + 1);
    let tree = Tree::of(&world);
    assert_eq!(tree.differences(), [] as [String; 0]);
    let report = audited(&world);
    assert_eq!((report.groups, report.devices, report.packages), (1, 1, 1));
    assert_eq!(report.commits, tree.order());
    device.run();
    let progress = world.progress("tool@1");
    assert_eq!(progress.succeeded, 1, "{progress:?}");
    assert_eq!(world.progress("other@1").assigned, 0);
    let again = world.ok(&["revert", &good, "--yes"]).stdout;
    assert!(again.contains("already"), "{again}");
}

/// Returns the lines of `log` without times, numbers, keys and authors, and without the commit that
/// the local system has made.
fn words(world: &World, arguments: &[&str]) -> Vec<String> {
    let text = world.ok(&[&["log"], arguments].concat()).stdout;
    let short = |line: &str| match line.split_once(' ') {
        Some(("unsigned", _)) => "unsigned".to_owned(),
        Some((number, _)) if number.parse::<u64>().is_ok() => "commit".to_owned(),
        _ => line.to_owned(),
    };
    let entries = text.split("\n\n");
    entries
        .filter(|entry| !entry.contains("packcast location add local"))
        .flat_map(|entry| entry.lines().map(short))
        .collect()
}

#[test]
fn changes_outside_the_signed_state_are_logged_as_unsigned() {
    let world = World::start(PROGRAM);
    let device = world.device("pc");
    let id = device.id();
    let host = world.device_state(&device).device.host_name;
    world.ok(&[
        "publish",
        "--name=tool",
        "--version=1",
        "--action=execute",
        "--command=true",
    ]);
    for command in [
        &["activate", "tool@1"][..],
        &["activate", "tool@1"],
        &["deactivate", "tool@1"],
        &["deactivate", "tool@1"],
        &["device", "block", id, "--reason", "stolen"],
        &["device", "unblock", id],
        &["pause", "--all"],
        &["resume", "--all"],
        &["assign", "tool@1", "--device", id],
    ] {
        world.ok(command);
    }
    // The second of two equal commands has changed nothing.
    let expected = [
        "commit",
        &format!("    packcast assign tool@1 --device {id}"),
        &format!("  device {host}: assigned tool@1"),
        "unsigned",
        "  resumed the target",
        "unsigned",
        "  paused the target",
        "unsigned",
        &format!("  unblocked device {host}"),
        "unsigned",
        &format!("  blocked device {host}: stolen"),
        "unsigned",
        "  deactivated tool@1",
        "unsigned",
        "  activated tool@1 at local",
        "unsigned",
        "  published tool@1",
    ];
    assert_eq!(words(&world, &[]), expected);
    assert_eq!(words(&world, &["--limit", "1"]), expected[..3]);
    let of_device = words(&world, &["--device", id]);
    assert_eq!(of_device, [&expected[..3], &expected[7..11]].concat());
    let of_package = words(&world, &["--package", "tool@1"]);
    assert_eq!(of_package, [&expected[..3], &expected[11..]].concat());
    assert_eq!(words(&world, &["--signed"]), expected[..3]);
    let entries: Vec<Value> = world.json(&["log"]);
    let mut entries = entries.iter();
    let resumed = entries.find(|it| it["changes"][0]["change"] == "resumed");
    assert_eq!(
        resumed.expect("the event is listed")["standing"],
        "unsigned"
    );
    let csv = world.ok(&["log", "--format", "csv"]).stdout;
    let resumed = csv.lines().find(|line| line.contains("resumed"));
    let resumed = resumed.expect("the event is listed");
    assert!(resumed.starts_with(','), "{resumed}");
    assert!(
        resumed.ends_with(",unsigned,resumed the target"),
        "{resumed}"
    );
}

/// Kills commands directly before and after their only write to the table. The change and its event
/// are both on record, or neither is.
#[test]
fn a_killed_command_leaves_no_change_without_its_event() {
    let world = World::start(PROGRAM);
    let device = world.device("pc");
    let id = device.id();
    world.execute("tool", "true");
    let is_active = || world.packages()[0].active;
    let is_blocked = || {
        let excluded: Vec<Value> = world.json(&["device", "list", "--excluded"]);
        !excluded.is_empty()
    };
    for (command, undo, is_performed) in [
        (
            ["deactivate", "tool@1", "--format=json"],
            ["activate", "tool@1", "--format=json"],
            false,
        ),
        (
            ["deactivate", "tool@1", "--format=json"],
            ["activate", "tool@1", "--format=json"],
            true,
        ),
        (["device", "block", id], ["device", "unblock", id], false),
        (["device", "block", id], ["device", "unblock", id], true),
    ] {
        let state = || (is_active(), is_blocked());
        let (before, events) = (state(), words(&world, &[]).len());
        kill_at_first_write(&world, &command, is_performed);
        assert_eq!(state() != before, is_performed, "{command:?}");
        let expected = if is_performed { events + 2 } else { events };
        assert_eq!(words(&world, &[]).len(), expected, "{command:?}");
        world.ok(&undo);
    }
}

/// Starts a command, and kills it at its first write to the table.
fn kill_at_first_write(world: &World, command: &[&str], is_performed: bool) {
    let table = world.table();
    table.hold(Hold {
        write: HeldWrite::Number(1),
        is_performed,
    });
    let process = Process::start(
        world
            .command(command)
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    );
    eventually("the command is held", || table.is_holding().then_some(()));
    process.kill();
    table.release();
}

/// Changes the manifest of a package, and returns its content before.
fn damage(world: &World, package: PackageId) -> Vec<u8> {
    let package = world.packages().into_iter().find(|it| it.id == package);
    let package = package.unwrap();
    let manifest = world.object(&ObjectKey::manifest(&package.folder, package.id));
    let content = std::fs::read(&manifest).unwrap();
    std::fs::write(&manifest, [&content[..], b" "].concat()).unwrap();
    content
}

/// Replaces the signature of a commit on record.
fn forge(world: &World, tree: &Tree, commit: &LoggedCommit) {
    let state = world.state();
    let (number, digest) = commit.commit.split_once('-').unwrap();
    let key = format!("{number:0>20}-{}", &digest[..8]);
    let question = json!({
        "TableName": state.table,
        "Key": { "pk": { "S": "COMMIT" }, "sk": { "S": key } },
        "UpdateExpression": "SET signature = :forged",
        "ExpressionAttributeValues": { ":forged": { "S": "untrusted comment: none" } },
    });
    tree.ask(async |_| {
        let engine = RawEngine::at(&state.endpoint);
        engine.ask("UpdateItem", &question).await;
    });
}

#[test]
fn an_audit_finds_damaged_packages_and_forged_commits() {
    let world = World::start(PROGRAM);
    let tool = world.execute("tool", "true");
    world.ok(&["assign", "tool@1", "--all"]);
    audited(&world);
    damage(&world, tool);
    let found = alarming(&world, &["audit"]);
    let expected = format!("cannot verify the manifest of package {tool}");
    assert!(found.stdout.contains(&expected), "{found:#?}");
    assert!(
        found.stderr.contains("the audit found 1 problem"),
        "{found:#?}"
    );

    let tree = Tree::of(&world);
    let commits = log(&world);
    forge(&world, &tree, commits.last().unwrap());
    let found = alarming(&world, &["audit", "--format", "json"]);
    let report: AuditOutput = serde_json::from_str(&found.stdout).unwrap();
    let parts: Vec<&Value> = report.findings.iter().map(|it| &it["part"]).collect();
    assert_eq!(parts, ["history", "packages"]);
    let shown = alarming(&world, &["log", "--signed", "--format", "json"]);
    let shown: Vec<LoggedCommit> = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(shown.last().unwrap().standing, "unverified");
    let number = commits.last().unwrap().number.to_string();
    let refused = world.refused(3, &["diff", &number]);
    assert!(refused.contains("cannot verify commit"), "{refused}");

    // Without the root keys nothing can be checked: that is no finding.
    std::fs::remove_file(world.local_dir().join("commits.jsonl")).unwrap();
    world.refused(1, &["audit"]);
}
