//! An interrupted publication is not visible to devices, and the same command completes it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use packcast_rollout::{LocationRecord, PackageRecord};
use packcast_store::ObjectKey;
use packcast_tests::archives::{noise, tar_gz};
use packcast_tests::process::{Process, Ran, eventually, interrupt};
use packcast_tests::terminal::OnTerminal;
use packcast_tests::world::device::TestDevice;
use packcast_tests::world::{PublishOutput, World};

use crate::PROGRAM;

const ARCHIVE_BYTES: usize = 64 << 20;
/// Start of the names of objects that are not complete.
const PARTIAL: &str = ".partial-";
const PUBLISH: [&str; 9] = [
    "publish",
    "--name=big",
    "--version=1",
    "--action=launch",
    "--command=run.sh",
    "--fragment-size=256KiB",
    "--format=json",
    "--priority=1",
    "big.tar.gz",
];

/// Folder of fragments that are not objects yet.
const STAGING: &str = ".staging";

/// A world with a device, and an archive that is large enough to interrupt its publication.
struct BigArchive {
    world: World,
    device: TestDevice,
}

impl BigArchive {
    /// Begins a story in which fragments cannot be staged, so each is uploaded after the reservation.
    fn without_staging() -> Self {
        let story = Self::begin();
        fs::create_dir_all(story.staging().join("lock")).unwrap();
        story
    }

    fn begin() -> Self {
        let world = World::start(PROGRAM);
        let script: &[u8] = b"#!/bin/sh\n";
        let archive = tar_gz(&[("run.sh", script), ("noise", &noise(2, ARCHIVE_BYTES))]);
        world.file("big.tar.gz", &archive);
        let device = world.device("pc");
        Self { world, device }
    }

    fn staging(&self) -> PathBuf {
        self.world.state().objects_dir.join(STAGING)
    }

    /// Waits until a publication has staged some fragments.
    fn stages(&self) {
        eventually("fragments are staged", || {
            let staged = all_files(&self.staging()).into_keys();
            let partial = staged.filter(|name| name.starts_with(PARTIAL));
            (partial.count() > 3).then_some(())
        });
    }

    /// Expects that nobody sees a package, and that an interrupted publication has left no object.
    fn expect_nothing(&self) {
        assert_eq!(self.world.packages(), []);
        let mut stored = files(&self.world.state().objects_dir);
        stored.remove("lock");
        assert_eq!(stored, BTreeMap::new());
        assert_eq!(self.device.announced(), 0);
    }

    /// Kills a publication after it has stored some fragments, and returns the draft.
    fn kill_between_fragments(&self) -> PackageRecord {
        let mut command = self.world.command(&PUBLISH);
        let publisher = Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
        let objects = &self.world.state().objects_dir;
        eventually("fragments are stored", || {
            (files(objects).len() > 3).then_some(())
        });
        publisher.kill();
        self.draft()
    }

    /// Expects a draft that no device can see.
    fn draft(&self) -> PackageRecord {
        let world = &self.world;
        assert_eq!(world.progress("big@1").state, "draft");
        let refusal = world.refused(1, &["activate", "big@1"]);
        assert!(refusal.contains("publish"), "{refusal}");
        let assign = ["assign", "big@1", "--device", self.device.id()];
        let refusal = world.refused(3, &assign);
        assert!(refusal.contains("not published yet"), "{refusal}");
        assert_eq!(self.device.announced(), 0);
        let mut packages = world.packages();
        assert_eq!(packages.len(), 1);
        packages.remove(0)
    }

    /// Returns the folder with the fragments of a package.
    fn folder(&self, package: &PackageRecord) -> PathBuf {
        let manifest = ObjectKey::manifest(&package.folder, package.id);
        let file = self.world.object(&manifest);
        file.parent().unwrap().to_owned()
    }

    fn publish(&self) -> (PublishOutput, String) {
        let ran = Ran::of(&mut self.world.command(&PUBLISH)).expect_code(0);
        (serde_json::from_str(&ran.stdout).unwrap(), ran.stderr)
    }

    /// Publishes again, and expects that the draft is completed.
    fn complete(&self, draft: &PackageRecord) -> (PublishOutput, String) {
        let (publication, messages) = self.publish();
        assert!(publication.resumed);
        assert_eq!(publication.package.id, draft.id);
        assert_eq!(publication.package.folder, draft.folder);
        assert!(publication.package.published().is_some());
        (publication, messages)
    }

    /// Creates a folder in the place of an object, so that the object cannot be stored.
    fn obstruct(&self, path: &Path) {
        fs::create_dir_all(path).unwrap();
        let refusal = self.world.refused(1, &PUBLISH);
        assert!(refusal.contains("same command again"), "{refusal}");
        fs::remove_dir(path).unwrap();
    }
}

#[test]
fn a_publication_that_is_killed_while_it_stages_leaves_nothing_that_stays() {
    let story = BigArchive::begin();
    let mut command = story.world.command(&PUBLISH);
    let publisher = Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
    story.stages();
    publisher.kill();
    story.expect_nothing();

    let (publication, _) = story.publish();
    assert!(!publication.resumed);
    assert_eq!(publication.kept.fragments, 0);
    // The leftovers of the killed command are gone, and so is the folder of the second one.
    let left: Vec<_> = all_files(&story.staging()).into_keys().collect();
    assert_eq!(left, ["lock"]);
    story.world.ok(&["activate", "big@1"]);
    story.world.assign("big@1", &story.device);
    assert_eq!(story.device.announced(), 1);
    assert_eq!(story.world.progress("big@1").succeeded, 1);
}

#[test]
fn a_directory_that_is_killed_while_it_is_packed_and_staged_is_published_by_the_same_command() {
    let story = BigArchive::begin();
    let world = &story.world;
    let folder = world.path("folder");
    fs::create_dir(&folder).unwrap();
    for (name, seed) in [("first", 3), ("second", 4)] {
        let content = noise(seed, ARCHIVE_BYTES / 2);
        fs::write(Path::new(&folder).join(name), content).unwrap();
    }
    let named = ["publish", "--name=big", "--version=1", &folder];
    let size = ["--fragment-size=256KiB"];
    let action = ["--action=store", "--path=/srv/big"];
    let line = [&named[..], &size, &action].concat();
    let mut command = world.command(&line);
    let publisher = Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
    story.stages();
    publisher.kill();
    story.expect_nothing();

    let publication: PublishOutput = world.json(&line);
    assert!(!publication.resumed);
    let left: Vec<_> = all_files(&story.staging()).into_keys().collect();
    assert_eq!(left, ["lock"]);
    // The same files are packed to the same bytes.
    let again: PublishOutput = world.json(&line);
    assert!(again.resumed);
    let fragments = again.package.published().unwrap().fragments;
    assert_eq!(again.kept.fragments, fragments);
    assert!(fragments > 200, "{fragments}");
}

#[test]
fn ctrl_c_while_fragments_are_staged_leaves_no_file() {
    let story = BigArchive::begin();
    let mut command = story.world.command(&PUBLISH);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let publisher = command.stderr(Stdio::piped()).spawn().unwrap();
    story.stages();
    interrupt(&publisher);
    let ran = Ran::from(publisher.wait_with_output().unwrap()).expect_code(75);
    assert!(ran.stderr.contains("interrupted after"), "{ran:#?}");
    let hint = "run the same command again";
    assert!(ran.stderr.contains(hint), "{ran:#?}");
    let left: Vec<_> = all_files(&story.staging()).into_keys().collect();
    assert_eq!(left, ["lock"]);
    story.expect_nothing();
}

#[test]
fn a_killed_publication_is_completed_and_uploads_only_what_is_missing() {
    let story = BigArchive::without_staging();
    let draft = story.kill_between_fragments();
    let folder = story.folder(&draft);
    let before = files(&folder);
    let stored = u32::try_from(before.len()).unwrap();

    let (publication, messages) = story.complete(&draft);
    let fragments = publication.package.published().unwrap().fragments;
    assert_eq!(publication.kept.fragments, stored);
    assert!(
        messages.contains(&format!("{stored} of {fragments} fragments")),
        "{messages}"
    );
    let after = files(&folder);
    let unchanged = before
        .iter()
        .all(|(name, inode)| after.get(name) == Some(inode));
    assert!(unchanged, "a stored fragment was written again");

    let (publication, messages) = story.complete(&draft);
    assert_eq!(publication.kept.fragments, fragments);
    assert!(messages.contains("already published"), "{messages}");
    assert_eq!(files(&folder), after);
}

#[test]
fn ctrl_c_between_two_fragments_says_how_to_continue() {
    let story = BigArchive::without_staging();
    let mut command = story.world.command(&PUBLISH);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let publisher = command.stderr(Stdio::piped()).spawn().unwrap();
    let objects = &story.world.state().objects_dir;
    eventually("fragments are stored", || {
        (files(objects).len() > 3).then_some(())
    });
    interrupt(&publisher);
    let ran = Ran::from(publisher.wait_with_output().unwrap()).expect_code(75);
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.contains("interrupted after"), "{ran:#?}");
    assert!(
        ran.stderr.contains("run the same command again"),
        "{ran:#?}"
    );
    let stored = all_files(objects);
    let partial: Vec<_> = stored
        .keys()
        .filter(|name| name.starts_with(PARTIAL))
        .collect();
    assert!(partial.is_empty(), "{partial:?}");

    let draft = story.draft();
    let (publication, _) = story.complete(&draft);
    assert!(publication.kept.fragments > 0);
}

#[test]
fn ctrl_c_while_a_directory_is_packed_ends_the_command_and_leaves_no_file() {
    let world = World::start(PROGRAM);
    let (site, temporary) = (world.path("site"), world.path("temporary"));
    for folder in [&site, &temporary] {
        fs::create_dir(folder).unwrap();
    }
    // Takes no space on the disk, and packing takes longer than the signal.
    let large = fs::File::create(Path::new(&site).join("large")).unwrap();
    large.set_len(64 << 30).unwrap();
    let named = ["publish", "--name", "site", "--version", "1", &site];
    let action = ["--action", "store", "--path", "/srv/site"];
    let mut command = world.command(&[&named[..], &action].concat());
    command.env("TERM", "xterm").env("TMPDIR", &temporary);
    let mut publisher = OnTerminal::start(command);
    publisher.expect("packing");
    publisher.interrupt();
    let ran = publisher.end().expect_code(75);
    // Before the first chunk, the message has no number of bytes.
    assert!(ran.stderr.contains(" interrupted"), "{ran:#?}");
    assert!(
        ran.stderr.contains("run the same command again"),
        "{ran:#?}"
    );
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
    assert_eq!(world.packages(), []);
}

#[test]
fn a_failed_activation_still_prints_the_publication() {
    let world = World::start(PROGRAM);
    // Nothing listens on this port.
    world.ok(&["location", "add", "bad", "127.0.0.1:9"]);
    let named = ["publish", "--name", "act", "--version", "1", "--activate"];
    let action = ["--action", "execute", "--command", "true"];
    let line = [&named[..], &action].concat();
    let ran = Ran::of(&mut world.command(&line)).expect_code(75);
    let note = "act@1 is published, and its activation is not complete";
    assert!(ran.stderr.contains(note), "{ran:#?}");
    assert!(ran.stderr.contains("packcast activate"), "{ran:#?}");
    assert!(
        ran.stdout.contains("act@1\nstate      published\n"),
        "{ran:#?}"
    );

    world.ok(&["location", "remove", "bad"]);
    world.ok(&["activate", "act@1"]);
}

#[test]
fn a_publication_is_completed_from_each_point() {
    let story = BigArchive::without_staging();
    let world = &story.world;
    let draft = story.kill_between_fragments();
    let folder = story.folder(&draft);

    // Killed after the reservation and before the first fragment.
    for name in files(&folder).keys() {
        fs::remove_file(folder.join(name)).unwrap();
    }
    story.draft();
    let manifest = world.object(&ObjectKey::manifest(&draft.folder, draft.id));
    let signature = world.object(&ObjectKey::signature(&draft.folder, draft.id));
    let locations: Vec<LocationRecord> = world.json(&["location", "list"]);
    let info = world.object(&ObjectKey::info(&draft.folder, &locations[0], draft.id));
    for object in [&manifest, &signature, &info] {
        story.obstruct(object);
        assert_eq!(story.draft().id, draft.id);
    }
    assert!(manifest.is_file() && signature.is_file());

    let (publication, _) = story.complete(&draft);
    let fragments = publication.package.published().unwrap().fragments;
    assert_eq!(publication.kept.fragments, fragments);
    world.ok(&["activate", "big@1"]);
    world.assign("big@1", &story.device);
    assert_eq!(story.device.announced(), 1);
    assert_eq!(world.progress("big@1").succeeded, 1);
}

#[test]
fn other_content_under_a_used_name_is_a_conflict() {
    let world = World::start(PROGRAM);
    let device = world.device("pc");
    let named = ["publish", "--name", "tool", "--version", "1"];
    let action = ["--action", "execute", "--command"];
    let publish = |command| [&named[..], &action, &[command]].concat();
    world.ok(&publish("true"));
    let refusal = world.refused(3, &publish("false"));
    assert!(refusal.contains("tool@1"), "{refusal}");
    assert!(refusal.contains("--version"), "{refusal}");
    assert_eq!(world.packages().len(), 1);
    assert_eq!(device.announced(), 0);
}

#[test]
fn a_package_that_cannot_be_activated_is_not_published() {
    let world = World::start(PROGRAM);
    world.ok(&["location", "remove", "local"]);
    let named = ["publish", "--name", "tool", "--version", "1", "--activate"];
    let action = ["--action", "execute", "--command", "true"];
    let refused = world.refused(1, &[&named[..], &action].concat());
    assert!(refused.contains("location add"), "{refused}");
    assert_eq!(world.packages(), []);
}

#[test]
fn a_program_that_fails_on_every_device_is_published_with_a_warning() {
    let world = World::start(PROGRAM);
    let archive = tar_gz(&[("run.sh", b"#!/bin/sh\r\nexit 0\r\n")]);
    let source = world.file("tool.tar.gz", &archive);
    let named = ["publish", "--name", "tool", "--version", "1", &source];
    let action = ["--action", "launch", "--command", "run.sh"];
    let ran = world.ok(&[&named[..], &action].concat());
    assert!(ran.stderr.contains("Windows line break"), "{ran:?}");
    assert_eq!(world.packages().len(), 1);
}

/// Returns the names of the complete objects below a folder, with their inodes, which change when
/// an object is written again.
fn files(folder: &Path) -> BTreeMap<String, u64> {
    let mut found = all_files(folder);
    found.retain(|name, _| !name.starts_with(PARTIAL));
    found
}

/// Returns the names of all files below a folder, with their inodes.
fn all_files(folder: &Path) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let entries = fs::read_dir(next).into_iter().flatten().flatten();
        for entry in entries {
            // A partial object may have been completed and renamed by now.
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            let name = entry.file_name().into_string().unwrap();
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                found.insert(name, metadata.ino());
            }
        }
    }
    found
}
