//! The answers to the questions, in the order of a day.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use packcast_tests::process::Process;
use packcast_tests::world::device::TestDevice;
use serde_json::Value;

use crate::fleet::{FULL, LOCKED, pc_id};
use crate::questions::Questions;
use crate::terminal::shell;

pub(super) fn all(questions: &mut Questions<'_>) {
    which_devices_lack_a_package(questions);
    which_failed_and_why(questions);
    which_have_not_checked_in(questions);
    what_uses_the_most_space(questions);
    a_report_for_somebody_else(questions);
    what_will_happen(questions);
    stop_everything_now(questions);
    go_back_to_the_old_version(questions);
    watch_and_wait(questions);
    rename_a_group(questions);
    uninstall(questions);
    remove_dead_devices(questions);
    who_did_what(questions);
}

fn which_devices_lack_a_package(questions: &mut Questions<'_>) {
    questions.ask("Which devices of the office lack editor 2.0?");
    let lacking = (82..=100).map(pc_id).collect();
    let line = "packcast device list --lacks editor@2.0 --group office --sort host";
    questions.lists(line, "failed and open devices lack it", &lacking);
}

fn which_failed_and_why(questions: &mut Questions<'_>) {
    questions.ask("Which failed, and why, all at once?");
    let status = "packcast status patch@1";
    let shown = questions.run(0, status);
    questions.says(&shown, "E: Could not get lock <path>.");
    let causes = causes(&questions.json(status));
    let cause = |code: &str, devices| (code.to_owned(), devices);
    questions.holds(
        "the most frequent cause comes first",
        &causes,
        &vec![cause(LOCKED, 4), cause(FULL, 2)],
    );
    let failed = [LOCKED, FULL].map(|code| questions.fleet.failed(code));
    let failed: BTreeSet<String> = failed.into_iter().flatten().collect();
    let line = "packcast status patch@1 --devices --state failed";
    questions.lists(line, "six web servers failed", &failed);

    let status = "packcast status editor@2.0";
    let shown = questions.run(0, status);
    questions.says(
        &shown,
        "100 devices: 81 % succeeded, 9 % failed, 10 % open.",
    );
    let found = self::causes(&questions.json(status));
    let expected = vec![cause("ERR_OUT_OF_SPACE", 6), cause("ERR_UNZIP", 3)];
    questions.holds("causes of OCS agents", &found, &expected);
}

/// Returns result codes with the number of their devices.
fn causes(status: &Value) -> Vec<(String, u64)> {
    let causes = status[0]["failures"]["by_cause"].as_array();
    let causes = causes.expect("a package has causes of its failures").iter();
    causes
        .map(|cause| {
            let code = cause["code"].as_str().expect("a cause has a code");
            let devices = cause["devices"].as_u64().expect("a cause has devices");
            (code.to_owned(), devices)
        })
        .collect()
}

fn which_have_not_checked_in(questions: &mut Questions<'_>) {
    questions.ask("Which have not checked in for 30 days?");
    let unseen = (139..=150).map(pc_id).collect();
    let line = "packcast device list --not-seen 30d --sort last-seen";
    questions.lists(line, "twelve devices are gone", &unseen);
}

fn what_uses_the_most_space(questions: &mut Questions<'_>) {
    questions.ask("What uses the most space?");
    let line = "packcast list --sort size";
    let shown = questions.run(0, line);
    let packages = questions.json(line);
    let rows = packages.as_array().expect("the result is a list").iter();
    let stored = rows.filter(|row| row["action"]["archive"].is_object());
    let stored: Vec<(&str, &str, bool)> = stored
        .map(|row| {
            let text = |name: &str| row[name].as_str().expect("a text");
            let unused = row["unused"].as_bool().expect("a mark");
            (text("name"), text("version"), unused)
        })
        .collect();
    let expected = vec![
        ("fonts", "7", true),
        ("editor", "2.0", false),
        ("editor", "1.9", true),
    ];
    questions.holds("the largest first, unused ones marked", &stored, &expected);
    questions.says(&shown, "in 8 packages");
    questions.says(&shown, "packcast delete fonts@7");
}

fn a_report_for_somebody_else(questions: &mut Questions<'_>) {
    questions.ask("A report for somebody else?");
    let line = "packcast status editor@2.0 --devices --state failed --format csv > report.csv; \
         cut -c 1-80 report.csv";
    let shown = questions.run(0, line);
    let lines: Vec<&str> = shown.stdout.lines().collect();
    questions.holds("a heading and nine devices", &lines.len(), &10);
    let begins = lines
        .first()
        .is_some_and(|line| line.starts_with("device,host_name,state,"));
    questions.holds("the heading names the columns", &begins, &true);
}

fn what_will_happen(questions: &mut Questions<'_>) {
    questions.ask("What will happen before I do it?");
    let line = "packcast assign fonts@7 --group office --group lab --dry-run";
    let shown = questions.run(0, line);
    questions.says(&shown, "105 devices");
    let effect = questions.json(line);
    questions.holds(
        "the devices of both groups",
        &effect["devices"],
        &105.into(),
    );
    let group = questions.json("packcast group show office");
    let packages = group["assignments"].as_array().map(Vec::len);
    questions.holds("a dry run assigns nothing", &packages, &Some(1));
}

fn stop_everything_now(questions: &mut Questions<'_>) {
    questions.ask("Stop everything now?");
    let real = questions.fleet.real.id();
    questions.run(0, &format!("packcast assign hello@1 --device {real}"));
    questions.run(0, "packcast pause --all");
    let announced = questions.fleet.real.announced();
    questions.holds("a paused device gets nothing", &announced, &0);
    let shown = questions.run(0, "packcast status hello@1");
    questions.says(&shown, "the target is paused");
    questions.run(0, "packcast resume --all");
    let announced = questions.fleet.real.announced();
    questions.holds("the device gets the package again", &announced, &1);
    questions.run(0, "packcast deactivate hello@1");
}

fn go_back_to_the_old_version(questions: &mut Questions<'_>) {
    questions.ask("Undo, go back to the old version?");
    let real = questions.fleet.real.id();
    questions.run(
        0,
        &format!("packcast assign tool@1.0 --device {real} --allow-downgrade"),
    );
    questions.fleet.real.run();
    let line = format!("packcast wait tool@1.0 --device {real}");
    questions.run(0, &line);

    let log = questions.json("packcast log");
    let changes = log.as_array().expect("the result is a list").iter();
    let before = changes.filter_map(|change| change["number"].as_u64()).max();
    let before = before.expect("the target has a commit");
    questions.run(0, "packcast assign vlc@3.0.21 --group office");
    questions.run(0, &format!("packcast revert {before} --yes"));
    let group = questions.json("packcast group show office");
    let packages = group["assignments"].as_array().map(Vec::len);
    questions.holds("the office has its one package again", &packages, &Some(1));
}

fn watch_and_wait(questions: &mut Questions<'_>) {
    questions.ask("Watch live, wait in a script?");
    questions.run(75, "packcast wait patch@1 --timeout 0");
    let line = "packcast status patch@1 --watch";
    questions.print(format_args!("\n$ {line}"));
    let mut watched = shell(&questions.fleet.world, &format!("exec {line}"));
    let mut watch = Process::start(watched.stdout(Stdio::piped()));
    let lines = BufReader::new(watch.stdout().expect("the output is piped")).lines();
    let mut shares = lines
        .map(|line| line.expect("output is UTF-8"))
        .filter(|line| line.starts_with("20 devices: "));
    let mut expect = |questions: &mut Questions<'_>, expected: &str| {
        let shown = shares.next().expect("the command runs");
        questions.print(&shown);
        questions.holds("the shares of the states", &shown.as_str(), &expected);
    };
    expect(
        questions,
        "20 devices: 65 % succeeded, 30 % failed, 5 % to come.",
    );
    questions.fleet.late.run();
    expect(questions, "20 devices: 70 % succeeded, 30 % failed.");
    watch.kill();
    let waited = questions.run(1, "packcast wait patch@1");
    questions.says(&waited, "patch@1 succeeded on 14 of 20 devices");
}

fn rename_a_group(questions: &mut Questions<'_>) {
    questions.ask("Rename a group?");
    let line = "packcast group rename web servers";
    let shown = questions.run(0, &format!("{line} --dry-run"));
    questions.says(&shown, "20 devices");
    questions.run(0, &format!("{line} --yes"));
    let group = questions.json("packcast group show servers");
    questions.holds("all devices stay members", &group["size"], &20.into());
    let own = [&questions.fleet.real, &questions.fleet.late].map(TestDevice::announced);
    let announced = questions.fleet.announced_on_web() + own.iter().sum::<usize>();
    questions.holds("no device gets a package again", &announced, &0);
    let shown = questions.run(0, "packcast status patch@1");
    questions.says(&shown, "20 devices: 70 % succeeded, 30 % failed.");
}

/// Runs the commands of the document about packages.
fn uninstall(questions: &mut Questions<'_>) {
    questions.ask("Uninstall? (docs/packages.md)");
    let document = include_str!("../../docs/packages.md");
    let (_, section) = document
        .split_once("## Uninstall\n")
        .expect("the section exists");
    let (_, block) = section
        .split_once("```sh\n")
        .expect("the section has commands");
    let (block, _) = block.split_once("```").expect("the block ends");
    let block = block.replace("\\\n", "");
    let lines: Vec<&str> = block
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    questions.holds("four commands", &lines.len(), &4);
    for line in lines {
        let line = line.split("  #").next().unwrap_or(line);
        let line: Vec<&str> = line.split_whitespace().collect();
        questions.run(0, &line.join(" "));
    }
    let package = questions.fleet.package("vlc-removal@1");
    questions.fleet.in_lab(package);
    let waited = questions.run(0, "packcast wait vlc-removal@1 --group lab");
    questions.says(&waited, "succeeded");
    let group = questions.json("packcast group show lab");
    let rows = group["assignments"]
        .as_array()
        .expect("a group has assignments");
    let packages: Vec<&str> = rows
        .iter()
        .filter_map(|row| row["package"].as_str())
        .collect();
    questions.holds(
        "only the removal is assigned",
        &packages,
        &vec![package.to_string().as_str()],
    );
}

fn remove_dead_devices(questions: &mut Questions<'_>) {
    questions.ask("Remove a dead or re-imaged device?");
    let shown = questions.run(1, "packcast device show pc001");
    questions.says(&shown, "ocs:pc001-2026-03-04-05-06-07, last seen ");
    questions.run(0, &format!("packcast device remove {}", pc_id(1)));
    questions.run(0, "packcast device show pc001");
    let dead = (146..=150).map(pc_id).collect();
    let line = "packcast device remove --not-seen 90d --dry-run";
    questions.lists(line, "five devices would be removed", &dead);
    questions.run(0, "packcast device remove --not-seen 90d --yes");
    let left = questions.json("packcast device list");
    let left = left.as_array().map(Vec::len);
    questions.holds("194 devices are left", &left, &Some(194));
}

fn who_did_what(questions: &mut Questions<'_>) {
    questions.ask("Who did what?");
    let shown = questions.run(0, "packcast log --group lab --limit 3");
    questions.says(&shown, "mia@");
    questions.says(&shown, "packcast assign vlc-removal@1 --group lab");
    let log = questions.json("packcast log --group lab --package vlc@3.0.21");
    let commands = log.as_array().expect("the result is a list").iter();
    let commands: Vec<&str> = commands.filter_map(|row| row["command"].as_str()).collect();
    questions.holds(
        "a package of a group was assigned and unassigned",
        &commands,
        &vec![
            "packcast unassign vlc@3.0.21 --group lab",
            "packcast assign vlc@3.0.21 --group lab",
        ],
    );
}
