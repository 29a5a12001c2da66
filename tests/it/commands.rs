//! Features of all commands: completions, manual pages, colour; and the two commands that check
//! published objects, `verify` and `location check`.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use packcast_protocol::FragmentNumber;
use packcast_rollout::{LocationRecord, PackageRecord};
use packcast_store::ObjectKey;
use packcast_testing::skip::{Missing, skip};
use packcast_tests::archives::{noise, tar_gz};
use packcast_tests::front::Front;
use packcast_tests::process::{Ran, text};
use packcast_tests::world::{World, clean};
use serde_json::Value;

use crate::PROGRAM;

/// Traps of OCS agents (protocol reference) and the tests that guard against them.
const _: &[(&str, fn())] = &[(
    "§8.6: a location of the administrator may answer 304 as well",
    a_location_that_answers_304_causes_a_warning,
)];

const ESCAPE: char = '\u{1b}';

/// Runs the program in a place without a running system.
fn alone(arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
    let place = tempfile::tempdir().unwrap();
    let mut command = clean(Path::new(PROGRAM), place.path());
    Ran::of(command.args(arguments).envs(environment.iter().copied()))
}

/// Checks a file with another program. `None` if the program is missing; the check is skipped.
fn judged_by(judge: &str, arguments: &[&str], content: &str) -> Option<Ran> {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("judged");
    fs::write(&file, content).unwrap();
    let output = Command::new(judge).args(arguments).arg(&file).output();
    match output {
        Ok(output) => Some(output.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            skip(Missing::Optional(judge));
            None
        }
        Err(error) => panic!("{judge}: {error}"),
    }
}

#[test]
fn completions_are_valid_scripts_of_their_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let script = alone(&["completions", shell], &[]).expect_code(0).stdout;
        assert!(script.contains("PACKCAST_COMPLETE"), "{shell}: {script}");
        if let Some(ran) = judged_by(shell, &["-n"], &script) {
            let ran = ran.expect_code(0);
            assert_eq!(ran.stderr, "", "{shell}");
        }
    }
    let refusal = alone(&["completions", "tcsh"], &[]).expect_code(2).stderr;
    assert!(refusal.contains("bash") && refusal.contains("fish"));
}

#[test]
fn every_command_has_a_valid_manual_page() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("man1");
    let _ = alone(&["man", text(&folder)], &[]).expect_code(0);
    let pages = fs::read_dir(&folder)
        .unwrap()
        .map(|page| page.unwrap().path());
    let pages: Vec<_> = pages.collect();
    for name in ["packcast", "packcast-verify", "packcast-location-check"] {
        assert!(
            pages.contains(&folder.join(format!("{name}.1"))),
            "{pages:?}"
        );
    }
    for page in pages {
        let content = fs::read_to_string(&page).unwrap();
        let lint = ["-man", "-Tutf8", "-ww", "-z"];
        if let Some(ran) = judged_by("groff", &lint, &content) {
            assert_eq!(ran.expect_code(0).stderr, "", "{}", page.display());
        }
    }
    let first = alone(&["man"], &[]).expect_code(0).stdout;
    let written = fs::read_to_string(folder.join("packcast.1")).unwrap();
    assert!(first.starts_with(".ie") && written.contains("packcast\\-verify(1)"));
}

#[test]
fn an_error_names_a_folder_that_cannot_store_the_manual() {
    let refusal = alone(&["man", "/dev/null/man1"], &[]).expect_code(1).stderr;
    assert!(refusal.contains("/dev/null/man1"), "{refusal}");
}

#[test]
fn colour_needs_a_terminal_and_respects_no_color() {
    let world = World::start(PROGRAM);
    world.execute("tool", "true");
    let run = |arguments: &[&str], environment: &[(&str, &str)]| {
        let mut command = world.command(arguments);
        Ran::of(command.envs(environment.iter().copied()))
    };
    // Forces the output of a terminal.
    let terminal = ("CLICOLOR_FORCE", "1");
    let coloured = run(&["list"], &[terminal]).expect_code(0).stdout;
    assert!(coloured.contains("\u{1b}[38;5;2mactive"), "{coloured:?}");
    let failed = run(&["show", "none@1"], &[terminal]).expect_code(1).stderr;
    assert!(failed.contains(ESCAPE), "{failed:?}");

    let list = run(&["list"], &[]).expect_code(0).stdout;
    assert!(
        !list.contains(ESCAPE) && list.contains("active"),
        "{list:?}"
    );
    let no_color = ("NO_COLOR", "1");
    for arguments in [
        &["list"][..],
        &["show", "none@1"],
        &["--help"],
        &["nonsense"],
    ] {
        for environment in [&[][..], &[terminal, no_color]] {
            let Ran { stdout, stderr, .. } = run(arguments, environment);
            assert!(!stdout.contains(ESCAPE), "{arguments:?}: {stdout:?}");
            assert!(!stderr.contains(ESCAPE), "{arguments:?}: {stderr:?}");
        }
    }
    // An empty NO_COLOR counts as not set (https://no-color.org).
    let empty = run(&["list"], &[terminal, ("NO_COLOR", "")]).stdout;
    assert_eq!(empty, coloured);
    let json = run(&["list", "--format", "json"], &[terminal]).expect_code(0);
    assert!(!json.stdout.contains(ESCAPE), "{json:?}");
    assert_eq!(json.stderr, "");
}

/// A world with an active package of three fragments.
struct ThreeFragments {
    world: World,
    package: PackageRecord,
}

impl ThreeFragments {
    fn begin(key: &[&str]) -> Self {
        let world = World::start(PROGRAM);
        let archive = tar_gz(&[("run.sh", b"#!/bin/sh\n"), ("noise", &noise(5, 2 << 20))]);
        let source = world.file("package.tar.gz", &archive);
        let publish = [
            "--action=launch",
            "--command=run.sh",
            "--fragment-size=1MiB",
        ];
        let rest = ["--activate", &source];
        let package = world.publish("tool", &[&publish, &rest[..], key].concat());
        let package = package.package;
        assert_eq!(package.published().unwrap().fragments, 3);
        Self { world, package }
    }

    fn fragment(&self, index: u32) -> ObjectKey {
        let number = FragmentNumber::from_index(index);
        ObjectKey::fragment(&self.package.folder, self.package.id, number)
    }

    /// Flips one bit of an object.
    fn flip(&self, key: &ObjectKey, at: usize) {
        let path = self.world.object(key);
        let mut bytes = fs::read(&path).unwrap();
        bytes[at] ^= 1;
        fs::write(path, bytes).unwrap();
    }

    /// Expects exactly these problems, both at the locations and in the store.
    fn finds(&self, problems: &[&[&str]]) {
        for way in [&[][..], &["--stored"]] {
            let arguments = [&["verify", "tool@1", "--format=json"], way].concat();
            let ran = Ran::of(&mut self.world.command(&arguments)).expect_code(1);
            let verified: Value = serde_json::from_str(&ran.stdout).unwrap();
            let found = verified[0]["problems"].as_array().unwrap();
            assert_eq!(found.len(), problems.len(), "{verified:#}");
            for (found, words) in found.iter().zip(problems) {
                let found = found.as_str().unwrap();
                for word in *words {
                    assert!(found.contains(word), "{word:?} is not in: {found}");
                }
            }
            assert_eq!(verified[0]["is_intact"], false);
            assert!(ran.stderr.contains("{\"error\":"), "{}", ran.stderr);
        }
    }
}

#[test]
fn an_intact_package_is_verified_everywhere() {
    let story = ThreeFragments::begin(&[]);
    let world = &story.world;
    let before = world.requests().len();
    let Ran { stdout, stderr, .. } = world.ok(&["verify", "tool@1"]);
    assert!(
        stdout.contains("local") && stdout.contains("ok"),
        "{stdout}"
    );
    assert_eq!(stderr, "", "a progress bar is shown on terminals only");
    let fetched: Vec<String> = world
        .requests()
        .split_off(before)
        .into_iter()
        .map(|r| r.path)
        .collect();
    for index in 0..3 {
        let path = format!("/{}", story.fragment(index).path());
        assert!(fetched.contains(&path), "{fetched:?}");
    }
    let table = world.ok(&["verify", &story.package.id.to_string(), "--stored"]);
    assert!(table.stdout.contains("store") && table.stdout.contains("ok"));
    world.execute("bare", "true");
    world.ok(&["verify", "bare@1"]);
}

#[test]
fn a_flipped_bit_is_found_in_any_object() {
    let story = ThreeFragments::begin(&[]);
    let (folder, id) = (&story.package.folder, story.package.id);
    let at: &LocationRecord = &story.package.locations[0];
    let keys = [
        story.fragment(1),
        ObjectKey::info(folder, at, id),
        ObjectKey::signature(folder, id),
        ObjectKey::manifest(folder, id),
    ];
    for key in keys {
        story.flip(&key, 60);
        story.finds(&[&[key.path(), "differs from the published object"]]);
        story.flip(&key, 60);
    }
    story.world.ok(&["verify", "tool@1"]);
}

#[test]
fn each_missing_or_too_long_fragment_is_listed() {
    let story = ThreeFragments::begin(&[]);
    let [first, second, third] = [0, 1, 2].map(|index| story.fragment(index));
    fs::remove_file(story.world.object(&first)).unwrap();
    let longer = [fs::read(story.world.object(&third)).unwrap(), vec![0]].concat();
    fs::write(story.world.object(&third), longer).unwrap();
    story.finds(&[&[first.path()], &[third.path()]]);
    fs::remove_file(story.world.object(&second)).unwrap();
    story.finds(&[&[first.path()], &[second.path()], &[third.path()]]);
}

#[test]
fn verification_of_a_place_stops_after_many_faults() {
    let world = World::start(PROGRAM);
    let archive = tar_gz(&[("noise", &noise(6, 1 << 20))]);
    let source = world.file("package.tar.gz", &archive);
    let publish = ["--action=store", "--path=/nowhere", "--fragment-size=32KiB"];
    let publication = world.publish("tool", &[&publish[..], &["--activate", &source]].concat());
    let package = publication.package;
    for index in 0..package.published().unwrap().fragments {
        let number = FragmentNumber::from_index(index);
        let key = ObjectKey::fragment(&package.folder, package.id, number);
        fs::remove_file(world.object(&key)).unwrap();
    }
    let mut command = world.command(&["verify", "tool@1"]);
    let table = Ran::of(&mut command).expect_code(1).stdout;
    assert_eq!(table.matches("404").count(), 20, "{table}");
    assert!(table.contains("the rest was not checked"), "{table}");
}

#[test]
fn a_signature_by_another_key_is_found() {
    let place = tempfile::tempdir().unwrap();
    let key = place.path().join("other.key");
    let key = text(&key);
    let generate = [
        "keys",
        "generate",
        "--unencrypted",
        "--key",
        key,
        "--format=json",
    ];
    let other = alone(&generate, &[]).expect_code(0);
    let other: Value = serde_json::from_str(&other.stdout).unwrap();
    let story = ThreeFragments::begin(&["--key", key]);
    story.finds(&[&["signature", "not by a trusted key"]]);
    let public = other["public_key"].as_str().unwrap();
    story
        .world
        .ok(&["verify", "tool@1", "--public-key", public]);
}

#[test]
fn a_package_that_cannot_be_verified_is_refused_with_a_reason() {
    let story = ThreeFragments::begin(&[]);
    let world = &story.world;
    world.publish("idle", &["--action=execute", "--command=true"]);
    let refusal = world.refused(1, &["verify", "idle@1"]);
    assert!(refusal.contains("--stored"), "{refusal}");
    world.ok(&["verify", "idle@1", "--stored"]);
    let refusal = world.refused(2, &["verify", "tool@1", "--location", "moon"]);
    assert!(refusal.contains("moon"), "{refusal}");
    let refusal = world.refused(2, &["verify", "tool@1", "--public-key", "RW"]);
    assert!(refusal.contains("public key"), "{refusal}");
}

#[test]
fn a_location_check_distinguishes_working_from_unreachable_locations() {
    let story = ThreeFragments::begin(&[]);
    let world = &story.world;
    let table = world.ok(&["location", "check"]).stdout;
    assert!(table.contains("ok: serves tool@1"), "{table}");
    assert_eq!(
        table
            .lines()
            .next()
            .unwrap()
            .split_whitespace()
            .collect::<Vec<_>>(),
        ["NAME", "ADDRESS", "RESULT", "TIME"]
    );

    world.ok(&["location", "add", "dead", "127.0.0.1:1/x"]);
    let mut command = world.command(&["location", "check", "--format=json"]);
    let ran = Ran::of(&mut command).expect_code(1);
    let checked: Vec<Value> = serde_json::from_str(&ran.stdout).unwrap();
    let of = |name: &str| checked.iter().find(|one| one["name"] == name).unwrap();
    assert_eq!(of("local")["problem"], Value::Null);
    assert_eq!(of("local")["warnings"], Value::Array(Vec::new()));
    let problem = of("dead")["problem"].as_str().unwrap();
    assert!(problem.contains("https://127.0.0.1:1/"), "{problem}");
    assert!(ran.stderr.contains("1 of 2 locations"), "{}", ran.stderr);
    world.ok(&["location", "check", "local"]);

    let last = story.fragment(2);
    fs::remove_file(world.object(&last)).unwrap();
    let mut command = world.command(&["location", "check", "local"]);
    let ran = Ran::of(&mut command).expect_code(1);
    assert!(
        ran.stdout.contains("404") && ran.stdout.contains(last.path()),
        "{ran:?}"
    );
}

#[test]
fn a_location_without_a_package_is_checked_as_well() {
    let world = World::start(PROGRAM);
    let table = world.ok(&["location", "check"]).stdout;
    assert!(
        table.contains("none of the newest 100 packages is active there"),
        "{table}"
    );
}

#[test]
fn a_unique_host_name_identifies_a_device() {
    let world = World::start(PROGRAM);
    let device = world.device("pc");
    let host_name = world.device_state(&device).device.host_name;
    let shown = world.device_state_of(&host_name.to_uppercase());
    assert_eq!(shown.device.device.to_string(), device.id());
    world.execute("tool", "true");
    world.ok(&["assign", "tool@1", "--device", &host_name]);
    assert_eq!(world.progress("tool@1").assigned, 1);

    let refusal = world.refused(1, &["device", "show", "nobody"]);
    assert!(
        refusal.contains("no device has the host name \"nobody\""),
        "{refusal}"
    );
    let twin = world.device("twin");
    for command in [
        &["device", "show", &host_name][..],
        &["assign", "tool@1", "--device", &host_name],
    ] {
        let refusal = world.refused(1, command);
        for words in [device.id(), twin.id(), "by its id"] {
            assert!(refusal.contains(words), "{refusal}");
        }
    }
    assert_eq!(world.progress("tool@1").assigned, 1);
}

#[test]
fn a_location_that_answers_304_causes_a_warning() {
    let story = ThreeFragments::begin(&[]);
    let world = &story.world;
    let server = conditional_server(world.state().objects_dir.clone());
    let front = Front::https(server, world.server_identity());
    let address = front.address().to_string();
    world.ok(&["location", "add", "cdn", &address]);
    world.ok(&["activate", "tool@1", "--location", "cdn"]);
    let ran = world.ok(&["location", "check", "cdn"]);
    assert!(ran.stdout.contains("ok: serves tool@1"), "{ran:?}");
    assert!(ran.stderr.contains("warning: location cdn"), "{ran:?}");
    assert!(ran.stderr.contains("304"), "{ran:?}");
}

/// Serves a folder, and answers every conditional request with 304, until the test's process ends.
fn conditional_server(root: PathBuf) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            respond(stream.unwrap(), &root).unwrap();
        }
    });
    address
}

fn respond(mut stream: TcpStream, root: &Path) -> io::Result<()> {
    let head = BufReader::new(stream.try_clone()?).lines();
    let head: Vec<String> = head
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .collect();
    let path = head[0].split(' ').nth(1).unwrap_or_default();
    let is_conditional = head
        .iter()
        .any(|line| line.to_lowercase().starts_with("if-modified-since:"));
    let (status, body) = match fs::read(root.join(path.trim_start_matches('/'))) {
        Ok(_) if is_conditional => ("304 Not Modified", Vec::new()),
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(&[head.as_bytes(), &body].concat())
}
