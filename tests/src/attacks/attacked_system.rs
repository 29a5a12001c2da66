//! The set-up of an attack: a running system, one of its devices, and files that must not change.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use packcast_agent::event::Event;
use packcast_protocol::{
    Archive, ArchiveFormat, FragmentNumber, FragmentSize, Manifest, PackageId, Sha256Digest,
};
use packcast_publisher::signing::{NoSecrets, SigningKey};
use packcast_rollout::PackageRecord;
use packcast_store::ObjectKey;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::function::OwnedFunction;
use crate::archives::tar_gz;
use crate::process::text;
use crate::world::World;
use crate::world::device::TestDevice;
use packcast_testing::raw::RawEngine;

/// The file name in hostile archives, wherever they try to write it.
pub const STOLEN: &str = "stolen";

/// A world whose objects, table and function the attacker controls, but none of its keys.
#[derive(Debug)]
pub struct AttackedSystem {
    pub function: OwnedFunction,
    pub device: TestDevice,
    pub world: World,
}

/// The result of an attack.
#[derive(Debug, Default)]
pub struct AttackResult {
    /// The answers of the agent and the publisher, in order.
    pub answered: Vec<String>,
    /// The number of programs that ran beyond the allowed ones.
    pub ran: usize,
    /// Files that were written where nothing may be written.
    pub written: Vec<PathBuf>,
    /// Secrets that another host received and that only the function may know.
    pub leaked: Vec<String>,
}

impl AttackResult {
    /// Returns whether the attack did no harm.
    pub fn is_harmless(&self) -> bool {
        self.ran == 0 && self.written.is_empty() && self.leaked.is_empty()
    }

    pub fn contains(&self, answer: &str) -> bool {
        self.answered.iter().any(|text| text.contains(answer))
    }

    /// Adds the message of a command of the publisher.
    #[must_use]
    pub fn with_message(mut self, message: String) -> Self {
        self.answered.push(message);
        self
    }

    /// Adds the result of another attempt.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.answered.extend(other.answered);
        self.ran += other.ran;
        self.written.extend(other.written);
        self.leaked.extend(other.leaked);
        self
    }

    /// Does not count this many runs, which the publisher intended.
    #[must_use]
    pub fn allowing(mut self, runs: usize) -> Self {
        self.ran = self.ran.saturating_sub(runs);
        self
    }
}

impl AttackedSystem {
    /// Starts a world with one device, which has checked in.
    pub fn new(program: &str) -> Self {
        let world = World::start(program);
        for folder in ["ran", "outside"] {
            fs::create_dir(world.directory().join(folder)).expect("the folder can be created");
        }
        fs::write(world.directory().join("outside/canary"), "sings")
            .expect("a new folder is writable");
        let device = world.device("pc");
        let function = OwnedFunction::before(&world);
        device.configure_for(&world, function.address(), "");
        Self {
            function,
            device,
            world,
        }
    }

    /// Publishes and activates a package of two fragments, whose program records each run.
    pub fn package(&self, name: &str, options: &[&str]) -> PackageRecord {
        let source = self
            .world
            .file(&format!("{name}.tar.gz"), &self.archive(name));
        let action = ["--action", "launch", "--command", "run.sh", "--activate"];
        let rest = ["--fragment-size", "1KiB", &source];
        self.world
            .publish(name, &[&action, options, &rest].concat())
            .package
    }

    /// Publishes a package, activates it and assigns it to the device.
    pub fn assigned(&self, name: &str) -> PackageRecord {
        let package = self.package(name, &[]);
        self.world.assign(&format!("{name}@1"), &self.device);
        package
    }

    /// Returns an archive a little larger than a fragment, whose program records its run.
    pub fn archive(&self, name: &str) -> Vec<u8> {
        let script = self.script(name);
        tar_gz(&[("run.sh", script.as_bytes()), (name, &[0; 200])])
    }

    pub fn script(&self, name: &str) -> String {
        let line = self.world.directory().join("ran").join(name);
        format!("#!/bin/sh\necho x >> '{}'\n", line.display())
    }

    /// Returns the number of runs of a package's program.
    pub fn runs(&self, name: &str) -> usize {
        let lines = fs::read_to_string(self.world.directory().join("ran").join(name));
        lines.map_or(0, |lines| lines.lines().count())
    }

    pub fn manifest_file(&self, package: &PackageRecord) -> PathBuf {
        self.world
            .object(&ObjectKey::manifest(&package.folder, package.id))
    }

    pub fn signature_file(&self, package: &PackageRecord) -> PathBuf {
        self.world
            .object(&ObjectKey::signature(&package.folder, package.id))
    }

    pub fn fragment_file(&self, package: &PackageRecord, index: u32) -> PathBuf {
        let number = FragmentNumber::from_index(index);
        let key = ObjectKey::fragment(&package.folder, package.id, number);
        self.world.object(&key)
    }

    /// Returns the publisher's key, which a careless publisher signs with.
    pub fn key(&self) -> SigningKey {
        let file = self.world.local_dir().join("packcast.key");
        SigningKey::read(&file, &NoSecrets).expect("packcast local has a key")
    }

    /// Returns a key that the attacker has generated.
    pub fn attackers_key(&self) -> SigningKey {
        let file = self.world.directory().join("attacker.key");
        SigningKey::generate(&file, None).expect("a key can be generated")
    }

    /// Replaces the archive and the manifest of a package, with a signature by `key`; the function
    /// announces the new manifest.
    pub fn publish_again(
        &self,
        package: &PackageRecord,
        key: &SigningKey,
        archive: Option<(ArchiveFormat, &[u8])>,
        change: impl FnOnce(&mut Manifest),
    ) {
        let file = self.manifest_file(package);
        let mut manifest = manifest(&file);
        if let Some((format, bytes)) = archive {
            manifest.action = manifest
                .action
                .map_archive(|_| self.cut(package, format, bytes));
        }
        change(&mut manifest);
        let document = manifest.to_bytes().expect("a manifest can be written");
        let signature = key.sign(&document, "").expect("a key signs");
        self.announce(package, &document, &signature);
    }

    /// Replaces a package with the publisher's key, and assigns it to all devices.
    pub fn publish_carelessly(
        &self,
        package: &PackageRecord,
        archive: Option<(ArchiveFormat, &[u8])>,
        change: impl FnOnce(&mut Manifest),
    ) {
        self.publish_again(package, &self.key(), archive, change);
        let manifest = fs::read(self.manifest_file(package)).expect("the package is published");
        self.assign_unchecked(package, Sha256Digest::of(&manifest));
    }

    /// Stores a manifest and its signature, and lets the function announce the manifest.
    pub fn announce(&self, package: &PackageRecord, document: &[u8], signature: &str) {
        store(&self.manifest_file(package), document);
        store(&self.signature_file(package), signature.as_bytes());
        let (id, digest) = (package.id, Sha256Digest::of(document));
        self.function.edit(move |reply| announce(reply, id, digest));
    }

    fn cut(&self, package: &PackageRecord, format: ArchiveFormat, bytes: &[u8]) -> Archive {
        const FRAGMENT: u32 = 1 << 20;
        let size = FragmentSize::try_from(u64::from(FRAGMENT)).expect("a usual size");
        let mut digests = Vec::new();
        for (index, fragment) in (0..).zip(bytes.chunks(FRAGMENT as usize)) {
            store(&self.fragment_file(package, index), fragment);
            digests.push(Sha256Digest::of(fragment));
        }
        let length = bytes.len() as u64;
        Archive::new(format, length, Sha256Digest::of(bytes), size, digests)
            .expect("one digest of each fragment")
    }

    /// Returns the task with which the function would announce a package.
    pub fn task(&self, package: &PackageRecord) -> Value {
        let manifest = fs::read(self.manifest_file(package)).expect("the package is published");
        let locations = package.locations.iter();
        let names: Vec<_> = locations.map(|at| &at.name).collect();
        json!({
            "id": package.id,
            "attempt": 1,
            "priority": 5,
            "locations": names,
            "folder": package.folder,
            "manifest_sha256": Sha256Digest::of(&manifest),
        })
    }

    /// Sets up a machine with the publisher's key, which knows the target and no commit. Its commands
    /// have the option `--target=second`.
    pub fn add_machine_without_memory(&self) {
        let (state, key) = (
            self.world.state(),
            self.world.local_dir().join("packcast.key"),
        );
        self.world.configure_machine(&format!(
            "[target.second]\ntable = {:?}\nendpoint = {:?}\ndirectory = {:?}\nkey_file = {:?}\n",
            state.table,
            state.endpoint,
            text(&state.objects_dir),
            text(&key),
        ));
        let trust = self.trust().to_string();
        let accept = ["keys", "accept-trust", &trust, "--target=second"];
        self.world.ok(&accept);
    }

    /// Sets up a machine as [`Self::add_machine_without_memory`] does, which knows the head, too.
    pub fn add_second_machine(&self) {
        self.add_machine_without_memory();
        let head = self.head().head.expect("there is a commit").commit.id();
        let accept = ["keys", "accept-head", &head.to_string(), "--target=second"];
        self.world.ok(&accept);
    }

    /// Writes each item of the table that `edit` changes, and returns their number.
    pub fn edit_table(&self, mut edit: impl FnMut(&mut Value)) -> usize {
        self.with_engine(async |engine, table| {
            let mut changed = 0;
            for before in engine.items(table).await {
                let mut item = before.clone();
                edit(&mut item);
                if item != before {
                    let put = json!({ "TableName": table, "Item": item });
                    engine.ask("PutItem", &put).await;
                    changed += 1;
                }
            }
            changed
        })
    }

    /// Returns the items in the partitions whose names contain this text.
    pub fn items_with(&self, text: &str) -> Vec<Value> {
        let mut found = Vec::new();
        self.edit_table(|item| {
            if partition(item).contains(text) {
                found.push(item.clone());
            }
        });
        assert!(!found.is_empty(), "the table has items of {text}");
        found
    }

    /// Puts items back as they were, even if they were deleted since.
    pub fn put_back(&self, items: &[Value]) {
        self.with_engine(async |engine, table| {
            for item in items {
                let put = json!({ "TableName": table, "Item": item });
                engine.ask("PutItem", &put).await;
            }
        });
    }

    /// Deletes items.
    pub fn delete(&self, items: &[Value]) {
        self.with_engine(async |engine, table| {
            for item in items {
                let key = json!({ "pk": item["pk"], "sk": item["sk"] });
                let delete = json!({ "TableName": table, "Key": key });
                engine.ask("DeleteItem", &delete).await;
            }
        });
    }

    fn with_engine<T>(&self, act: impl AsyncFnOnce(&RawEngine<'_>, &str) -> T) -> T {
        let state = self.world.state();
        let runtime = Runtime::new().expect("a runtime can be created");
        runtime.block_on(act(&RawEngine::at(&state.endpoint), &state.table))
    }

    /// Lets the agent run once, and returns its answers and effects.
    pub fn attempt(&self) -> AttackResult {
        // Digests, because an overwritten file may keep its length and its time.
        let before = (self.total_runs(), self.around());
        let ran = self.device.attempt();
        let mut answered: Vec<String> = ran.stdout.lines().filter_map(answer).collect();
        if ran.code != Some(0) {
            let why = ran.stderr.lines().last().unwrap_or("no message");
            answered.push(format!("ended with {:?}: {why}", ran.code));
        }
        let after = self.around();
        let mut written: Vec<PathBuf> = before
            .1
            .keys()
            .chain(after.keys())
            .filter(|path| before.1.get(*path) != after.get(*path))
            .cloned()
            .collect();
        written.dedup();
        written.extend(self.stolen());
        AttackResult {
            answered,
            ran: self.total_runs() - before.0,
            written,
            leaked: Vec::new(),
        }
    }

    fn total_runs(&self) -> usize {
        files(&self.world.directory().join("ran"))
            // Each run adds the two bytes of "x\n".
            .map(|path| fs::read(path).map_or(0, |lines| lines.len() / 2))
            .sum()
    }

    /// Returns the digests of all files outside of the agent's state and the files of the service.
    fn around(&self) -> BTreeMap<PathBuf, Sha256Digest> {
        let place = self.world.directory();
        let own = [
            self.world.local_dir(),
            place.join("pc/state"),
            place.join("ran"),
            place.join("local.log"),
        ];
        files(place)
            .filter(|path| !own.iter().any(|own| path.starts_with(own)))
            .map(|path| {
                let content = fs::read(&path).unwrap_or_default();
                (path, Sha256Digest::of(&content))
            })
            .collect()
    }

    /// Returns the files that hostile archives have written, even within the agent's own state.
    fn stolen(&self) -> impl Iterator<Item = PathBuf> {
        let named = |path: &PathBuf| path.file_name().is_some_and(|name| name == STOLEN);
        files(self.world.directory()).filter(named)
    }
}

/// Returns the partition key of an item.
pub fn partition(item: &Value) -> &str {
    item["pk"]["S"].as_str().unwrap_or_default()
}

/// Changes the announced manifest of a package in a reply.
fn announce(reply: &mut Value, package: PackageId, digest: Sha256Digest) {
    for task in tasks(reply)
        .iter_mut()
        .filter(|task| task["id"] == json!(package))
    {
        task["manifest_sha256"] = json!(digest);
    }
}

/// Returns the tasks of a reply.
pub fn tasks(reply: &mut Value) -> &mut Vec<Value> {
    reply["tasks"].as_array_mut().expect("a reply has tasks")
}

/// Replaces a file.
pub fn store(path: &Path, content: &[u8]) {
    fs::write(path, content).expect("the owner of the bucket can write");
}

/// Reads a published manifest.
pub fn manifest(path: &Path) -> Manifest {
    let document = fs::read(path).expect("the package is published");
    serde_json::from_slice(&document).expect("the publisher writes manifests")
}

/// Returns all files below a folder; links count as files.
fn files(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        // A folder that was removed in the meantime has no entries.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder {
                folders.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    found.into_iter()
}

fn answer(line: &str) -> Option<String> {
    match serde_json::from_str(line).ok()? {
        Event::Finished { code, detail, .. } => {
            Some(format!("{code}: {}", detail.unwrap_or_default()))
        }
        Event::DocumentRefused { detail } => Some(format!("refused: {detail}")),
        Event::Deferred { detail, .. } | Event::Waits { detail, .. } => {
            Some(format!("waits: {detail}"))
        }
        Event::CheckedIn {
            tasks: 0,
            next_check_in_s,
        } => Some(format!("no tasks, next in {next_check_in_s} s")),
        _ => None,
    }
}
