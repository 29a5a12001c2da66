//! Commits of the commands: each change is one commit, and the records follow.

use std::process::Stdio;

use packcast_testing::table;
use packcast_tests::front::{HeldWrite, Hold};
use packcast_tests::process::{Process, Ran, eventually};
use packcast_tests::tree::Tree;
use packcast_tests::world::World;
use serde_json::Value;

use crate::PROGRAM;

/// A world in which each command is compared with the commits that it made.
struct Story {
    world: World,
    tree: Tree,
}

impl Story {
    fn begin() -> Self {
        let world = World::start(PROGRAM);
        let tree = Tree::of(&world);
        Self { world, tree }
    }

    /// Runs a command, which has to make one commit.
    fn commits(&self, arguments: &[&str]) -> Ran {
        self.runs(0, 1, arguments)
    }

    /// Runs a command that has nothing to change.
    fn signs_nothing(&self, arguments: &[&str]) -> Ran {
        self.runs(0, 0, arguments)
    }

    /// Runs a command with this exit code and number of commits. The records have to follow.
    fn runs(&self, code: i32, commits: u64, arguments: &[&str]) -> Ran {
        let before = self.tree.order();
        let ran = Ran::of(&mut self.world.command(arguments)).expect_code(code);
        let made = self.tree.order() - before;
        assert_eq!(made, commits, "{arguments:?}: {ran:#?}");
        self.expect_equal(&format!("{arguments:?}"));
        ran
    }

    fn expect_equal(&self, after: &str) {
        let differences = self.tree.differences();
        assert!(differences.is_empty(), "after {after}: {differences:#?}");
    }

    /// Writes the first check-ins of some devices with OCS agents, and returns a file that names
    /// them.
    fn devices(&self, numbers: std::ops::Range<u32>) -> (Vec<String>, String) {
        let devices: Vec<_> = numbers.map(table::device).collect();
        self.tree.ask(async |records| {
            for device in &devices {
                records.write_check_in(device, None).await.unwrap();
            }
        });
        let ids = devices.iter().map(|device| device.device.to_string());
        let ids: Vec<String> = ids.collect();
        let file = self.world.file("devices.txt", ids.join("\n").as_bytes());
        (ids, file)
    }

    fn size(&self, group: &str) -> Value {
        let group: Value = self.world.json(&["group", "show", group]);
        group["size"].clone()
    }
}

#[test]
fn each_change_is_one_commit_and_the_records_follow() {
    let story = Story::begin();
    story.expect_equal("the start");
    assert_eq!(story.tree.order(), 1, "the location of the system");
    let (ids, file) = story.devices(0..3);
    let [first, second, third] = ids.iter().map(String::as_str).collect::<Vec<_>>()[..] else {
        panic!("three devices");
    };
    let tool = story.world.execute("tool", "true");
    assert_eq!(story.tree.order(), 1, "a publication changes no state");

    story.commits(&["group", "create", "lab"]);
    story.commits(&["group", "create", "office"]);
    story.commits(&["group", "add", "lab", "--from", &file]);
    story.commits(&["assign", "tool@1", "--group", "lab", "--group", "office"]);
    story.commits(&["assign", "tool@1", "--all"]);
    let stranger = "ocs:pc9-2026-03-04-05-06-07";
    let some = ["--device", first, "--device", stranger, "--device", second];
    story.runs(1, 1, &[&["assign", "tool@1"], &some[..]].concat());
    assert_eq!(
        story.tree.direct(first),
        [(tool, story.tree.number())].into()
    );
    assert_eq!(
        story.tree.direct(second),
        [(tool, story.tree.number())].into()
    );
    assert!(!story.tree.has_device(stranger));
    let some = ["--device", first, "--device", third];
    story.runs(1, 1, &[&["unassign", "tool@1"], &some[..]].concat());
    assert_eq!(story.tree.direct(first), [].into());
    story.commits(&["unassign", "tool@1", "--group", "lab"]);
    story.commits(&["group", "remove", "lab", "--device", third]);
    story.commits(&["location", "add", "mirror", "mirror.example.net"]);
    story.commits(&["group", "prefer", "lab", "--location", "mirror"]);
    story.commits(&["group", "pacing", "lab", "--strict"]);
    story.commits(&["location", "remove", "mirror"]);
    story.commits(&["device", "remove", first, third]);
    assert!(!story.tree.has_device(first));
    story.commits(&["delete", "tool@1", "--unassign"]);
    assert_eq!(story.tree.direct(second), [].into());
    story.commits(&["group", "delete", "lab", "--force"]);
    assert!(!story.tree.has_group("lab"));
    story.commits(&["group", "delete", "office"]);
    // A new group of the same name has none of the earlier devices.
    story.commits(&["group", "create", "lab"]);
    assert_eq!(story.size("lab"), 0);
}

#[test]
fn a_change_that_is_already_so_signs_nothing() {
    let story = Story::begin();
    let (ids, file) = story.devices(0..2);
    let assign = ["assign", "tool@1", "--device", &ids[0]];
    let unassign = ["unassign", "tool@1", "--device", &ids[0]];
    let location = ["location", "add", "mirror", "mirror.example.net"];
    story.world.execute("tool", "true");
    story.commits(&["group", "create", "lab"]);
    story.commits(&["group", "add", "lab", "--from", &file]);
    story.commits(&assign);
    story.commits(&location);

    story.runs(3, 0, &["group", "create", "lab"]);
    let added = story.signs_nothing(&["group", "add", "lab", "--from", &file]);
    assert_eq!(added.stderr, "next: 'packcast group show lab --devices'\n");
    let open = story.signs_nothing(&assign);
    assert!(open.stdout.contains("already assigned"), "{open:?}");
    story.signs_nothing(&location);
    story.runs(1, 0, &["unassign", "tool@1", "--group", "lab"]);
    story.runs(1, 0, &["assign", "tool@1", "--group", "none"]);
    story.runs(1, 0, &["group", "remove", "none", "--device", &ids[0]]);
    story.runs(1, 0, &["location", "remove", "none"]);
    story.commits(&unassign);
    story.runs(1, 0, &unassign);
}

#[test]
fn many_devices_join_with_one_commit_and_the_same_command_completes_their_records() {
    let story = Story::begin();
    let (ids, file) = story.devices(0..200);
    story.commits(&["group", "create", "lab"]);
    let before = story.tree.order();
    let add = ["group", "add", "lab", "--from", &file];
    let table = story.world.table();
    table.hold(Hold {
        write: HeldWrite::FirstTransaction,
        is_performed: true,
    });
    let mut command = story.world.command(&add);
    let mut adding = Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
    eventually("the commit is the head", || {
        assert_eq!(adding.ended(), None, "the command has ended too early");
        table.is_holding().then_some(())
    });
    adding.kill();
    table.release();
    assert_eq!(story.tree.order(), before + 1, "killed too early");
    assert!(!story.tree.differences().is_empty(), "killed too late");

    let added: Value = story.world.json(&add);
    assert_eq!(added["commit"], Value::Null, "{added}");
    let known = added["changed"].as_u64().unwrap() + added["unchanged"].as_u64().unwrap();
    assert_eq!(known, ids.len() as u64);
    assert_eq!(story.tree.order(), before + 1);
    story.expect_equal("the second command");
    assert_eq!(story.size("lab"), ids.len());
}

#[test]
fn of_several_commands_at_once_none_loses_its_change() {
    let story = Story::begin();
    let (ids, _) = story.devices(0..4);
    story.world.execute("tool", "true");
    story.commits(&["group", "create", "lab"]);
    let before = story.tree.order();
    let add = |id: &String| {
        story
            .world
            .command(&["group", "add", "lab", "--device", id])
    };
    let assign = |id: &String| {
        let assign = ["assign", "tool@1", "--device", id];
        story.world.command(&assign)
    };
    let commands = ids.iter().map(add).chain(ids.iter().map(assign));
    let mut running: Vec<Process> = commands
        .map(|mut command| Process::start(command.stdout(Stdio::null()).stderr(Stdio::null())))
        .collect();
    for process in &mut running {
        let ended = eventually("a command ends", || process.ended());
        assert!(ended.success(), "{ended}");
    }
    assert_eq!(story.tree.order(), before + 2 * ids.len() as u64);
    story.expect_equal("all commands");
    assert_eq!(story.size("lab"), ids.len());
    assert_eq!(story.world.progress("tool@1").waiting, ids.len() as u64);
}
