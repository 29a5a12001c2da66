//! Bad input is refused with an exit code and a message that names its object, and changes nothing
//! that a device could see.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use packcast_testing::skip::{Missing, skip};
use packcast_tests::archives::{noise, tar_gz, zip};
use packcast_tests::process::{Ran, text};
use packcast_tests::world::device::TestDevice;
use packcast_tests::world::{World, clean};

use crate::PROGRAM;

const NAMED: [&str; 5] = ["publish", "--name", "tool", "--version", "1"];

/// A world and a device, which bad input must not change.
struct BadInput {
    world: World,
    device: TestDevice,
}

impl BadInput {
    fn begin() -> Self {
        let world = World::start(PROGRAM);
        let device = world.device("pc");
        Self { world, device }
    }

    /// Expects that a publication is refused with these words, and that it has no effect.
    fn refused(&self, code: i32, arguments: &[&str], words: &[&str]) {
        let refusal = self.world.refused(code, &[&NAMED, arguments].concat());
        expect_words(&refusal, words);
        assert!(self.world.packages().is_empty(), "{refusal}");
        assert_eq!(self.device.announced(), 0);
    }

    fn stores(&self, source: &str, words: &[&str]) {
        let action = ["--action", "store", "--path", "/nowhere", source];
        self.refused(1, &action, &[words, &[source]].concat());
    }

    /// Adds a target that uses this world's records, with additional lines.
    fn target(&self, name: &str, lines: &str) {
        let state = self.world.state();
        let target = format!(
            "[target.{name}]\ntable = {:?}\nendpoint = {:?}\nca_file = {:?}\n{lines}\n",
            state.table,
            state.endpoint,
            text(&state.ca_file)
        );
        self.world.configure(&target);
    }
}

fn expect_words(refusal: &str, words: &[&str]) {
    assert!(!refusal.contains("panicked"), "{refusal}");
    for word in words {
        assert!(refusal.contains(word), "{word:?} is not in: {refusal}");
    }
}

#[test]
fn a_truncated_archive_is_refused() {
    let story = BadInput::begin();
    let files: [(&str, &[u8]); 2] = [("one", &noise(4, 50_000)), ("two", b"2")];
    for (name, archive) in [("cut.tar.gz", tar_gz(&files)), ("cut.zip", zip(&files))] {
        for length in [archive.len() / 2, archive.len() - 1, 20] {
            let source = story.world.file(name, &archive[..length]);
            story.stores(&source, &["cut off"]);
        }
    }
}

#[test]
fn an_archive_that_claims_more_bytes_than_it_has_is_refused() {
    let story = BadInput::begin();
    let source = story.world.file("claims.tar.gz", &claiming(100 << 30));
    story.stores(&source, &["cut off"]);
}

/// Packs an entry whose header promises more bytes than any device unpacks.
fn claiming(bytes: u64) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_path("huge").unwrap();
    header.set_mode(0o644);
    header.set_size(bytes);
    header.set_cksum();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, header.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn the_name_of_a_file_cannot_control_the_terminal() {
    let story = BadInput::begin();
    let hostile = "x\u{1b}]0;owned\u{7}\u{1b}[2J.tar.gz";
    let source = story.world.file(hostile, b"no archive");
    let action = ["--action", "store", "--path", "/nowhere", &source];
    let refusal = story.world.refused(1, &[&NAMED, &action[..]].concat());
    assert!(refusal.contains("owned"), "{refusal:?}");
    let controls = |c: char| c.is_control() && c != '\n';
    assert!(!refusal.contains(controls), "{refusal:?}");
}

#[test]
fn an_entry_that_leaves_the_folder_is_refused() {
    let story = BadInput::begin();
    let source = story
        .world
        .file("climbs.tar.gz", &tar_gz(&[("../climbs", b"x")]));
    story.stores(&source, &["\"../climbs\"", "unsafe path"]);
    let source = story
        .world
        .file("climbs.zip", &zip(&[("a/../../climbs", b"x")]));
    story.stores(&source, &["climbs\"", "unsafe path"]);
}

#[test]
fn an_archive_that_agents_do_not_read_is_refused() {
    let story = BadInput::begin();
    let source = story.world.file("notes.tar.xz", b"not an archive");
    story.stores(&source, &[".tar.gz", ".zip"]);
    let source = story.world.file("empty.zip", b"");
    story.stores(&source, &["empty"]);
    story.stores(&story.world.path("absent.zip"), &["does not exist"]);
}

#[test]
fn an_action_that_the_archive_does_not_support_is_refused() {
    let story = BadInput::begin();
    let source = story.world.file(
        "x.tar.gz",
        &tar_gz(&[("bin/run.sh", b"#!/bin/sh\n"), ("setup", b"x")]),
    );
    let launch = |command| ["--action", "launch", "--command", command, &source];
    story.refused(2, &launch("run.sh"), &["\"run.sh\"", "setup"]);
    story.refused(2, &launch("bin/run.sh"), &["bin/run.sh"]);
    let whole = "sh ./setup.sh && touch x";
    story.refused(
        2,
        &launch("setup.sh && touch x"),
        &["--action execute", whole],
    );
    story.refused(2, &launch("setup 'a"), &["not closed"]);
    story.refused(2, &["--action", "launch", &source], &["--command"]);
    story.refused(
        2,
        &["--action", "launch", "--command", "setup"],
        &["archive"],
    );
    story.refused(2, &["--action", "store", &source], &["--path"]);
    story.refused(2, &["--action", "store"], &["archive"]);
    story.refused(2, &["--action", "execute"], &["--command"]);
    story.refused(2, &[&source], &["--action"]);
}

#[test]
fn values_out_of_their_range_are_refused() {
    let story = BadInput::begin();
    let execute = ["--action", "execute", "--command", "true"];
    let with = |more: [&'static str; 2]| [&execute[..], &more].concat();
    story.refused(2, &with(["--priority", "11"]), &["--priority", "11"]);
    story.refused(2, &with(["--fragment-size", "0"]), &["--fragment-size"]);
    story.refused(2, &with(["--timeout", "0"]), &["--timeout"]);
    let refusal = story
        .world
        .refused(2, &["location", "add", "cdn", "https://cdn.example.net/"]);
    expect_words(&refusal, &["https://cdn.example.net/"]);
    let refusal = story
        .world
        .refused(2, &["activate", "tool@1", "--location", "no such"]);
    expect_words(&refusal, &["no such"]);
    let refusal = story.world.refused(1, &["activate", "tool@1"]);
    expect_words(&refusal, &["tool@1", "packcast list"]);
}

#[test]
fn an_error_names_an_unknown_or_unreachable_target() {
    let story = BadInput::begin();
    let execute = ["--action", "execute", "--command", "true", "--target"];
    story.refused(
        2,
        &[&execute[..], &["nowhere"]].concat(),
        &["\"nowhere\"", "packcast.toml", "--target"],
    );
    let far = "[target.far]\ntable = \"t\"\nregion = \"eu-west-1\"\nendpoint = \"http://127.0.0.1:1\"\ndirectory = \"objects\"\n";
    let config = story.world.file("far.toml", far.as_bytes());
    let key = story.world.local_dir().join("packcast.key");
    let key = text(&key);
    let rest = ["far", "--config", &config, "--key", key];
    story.refused(
        75,
        &[&execute[..], &rest].concat(),
        &["127.0.0.1:1", "endpoint"],
    );
    let config = story.world.file("typo.toml", b"[target.far]\ntabel = 1\n");
    story.refused(
        2,
        &[&execute[..], &["far", "--config", &config]].concat(),
        &["typo.toml", "tabel"],
    );
}

#[test]
fn an_error_says_that_the_system_is_not_running() {
    let place = tempfile::tempdir().unwrap();
    let mut command = clean(Path::new(PROGRAM), place.path());
    command.arg("list");
    let refusal = Ran::of(&mut command).expect_code(1).stderr;
    expect_words(&refusal, &["not running", "packcast local"]);
}

#[test]
fn a_key_that_cannot_sign_is_refused() {
    let story = BadInput::begin();
    let execute = ["--action", "execute", "--command", "true", "--key"];
    let absent = story.world.path("absent.key");
    story.refused(
        1,
        &[&execute[..], &[&absent]].concat(),
        &[&absent, "keys generate"],
    );

    let open = story.world.path("open.key");
    story
        .world
        .ok(&["keys", "generate", "--unencrypted", "--key", &open]);
    let refusal = story
        .world
        .refused(3, &["keys", "generate", "--unencrypted", "--key", &open]);
    expect_words(&refusal, &[&open, "exists"]);
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    story.refused(1, &[&execute[..], &[&open]].concat(), &[&open, "chmod 600"]);

    let damaged = story.world.file("damaged.key", b"no key\n");
    fs::set_permissions(&damaged, fs::Permissions::from_mode(0o600)).unwrap();
    story.refused(
        1,
        &[&execute[..], &[&damaged]].concat(),
        &[&damaged, "minisign"],
    );
}

#[test]
fn a_wrong_passphrase_is_refused_and_the_right_one_signs() {
    let story = BadInput::begin();
    let key = story.world.path("site.key");
    story.target(
        "site",
        &format!(
            "directory = {:?}\nkey_file = {key:?}",
            text(&story.world.state().objects_dir)
        ),
    );
    let with = |passphrase: Option<&str>, arguments: &[&str]| {
        let mut command = story.world.command(arguments);
        command.args(["--target", "site"]);
        command.envs(passphrase.map(|passphrase| ("PACKCAST_KEY_PASSPHRASE", passphrase)));
        Ran::of(&mut command)
    };
    let made = with(Some("correct horse"), &["keys", "generate"]).expect_code(0);
    let shown = with(None, &["keys", "show"]).expect_code(0);
    assert_eq!(made.stdout, shown.stdout);
    let publish = [&NAMED[..], &["--action", "execute", "--command", "true"]].concat();
    let refusal = with(Some("battery staple"), &publish).expect_code(1).stderr;
    expect_words(&refusal, &[&key, "passphrase", "wrong"]);
    let refusal = with(None, &publish).expect_code(1).stderr;
    expect_words(&refusal, &[&key, "PACKCAST_KEY_PASSPHRASE"]);
    assert!(story.world.packages().is_empty());
    assert_eq!(story.device.announced(), 0);
    let _ = with(Some("correct horse"), &publish).expect_code(0);
    assert_eq!(story.world.progress("tool@1").state, "published");
}

#[test]
fn an_error_names_a_full_disk_and_the_package_stays_a_draft() {
    let story = BadInput::begin();
    let disk = story.world.path("disk");
    fs::create_dir(&disk).unwrap();
    // A file system of 64 KiB that only the command and its children see.
    let small_disk = "mount -t tmpfs -o size=64k tmpfs \"$0\" && exec \"$@\"";
    let on_small_disk = |program: &mut Command| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", small_disk, &disk]);
        command.arg(program.get_program()).args(program.get_args());
        let environment = program
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?)));
        command
            .env_clear()
            .envs(environment)
            .current_dir(story.world.directory());
        Ran::of(&mut command)
    };
    if on_small_disk(&mut Command::new("true")).code != Some(0) {
        skip(Missing::Optional("mounting a small disk"));
        return;
    }
    let key = story.world.local_dir().join("packcast.key");
    story.target("full", &format!("directory = {disk:?}\nkey_file = {key:?}"));
    let source = story
        .world
        .file("x.tar.gz", &tar_gz(&[("noise", &noise(5, 1 << 20))]));
    let rest = [
        "--action",
        "store",
        "--path",
        "/nowhere",
        "--activate",
        "--target",
        "full",
        &source,
    ];
    let publish = [&NAMED[..], &rest].concat();
    let refusal = on_small_disk(&mut story.world.command(&publish))
        .expect_code(1)
        .stderr;
    expect_words(&refusal, &[&disk, "same command again"]);

    assert_eq!(story.world.progress("tool@1").state, "draft");
    let assign = ["assign", "tool@1", "--device", story.device.id()];
    expect_words(&story.world.refused(3, &assign), &["not published yet"]);
    let _ = story.world.refused(1, &["activate", "tool@1"]);
    assert_eq!(story.device.announced(), 0);
}
