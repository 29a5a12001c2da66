//! A system for one thread, in which all devices are assigned four packages.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use packcast_protocol::PackageId;

use super::verdict::{ExpectedPackage, Fragment, ProgramRuns};
use crate::archives::{noise, tar_gz};
use crate::world::{LoggedRequest, StatusOutput, World};

/// The packages of all devices, in the order of their priorities.
pub(super) const PACKAGES: [ExpectedPackage; 4] = [
    ExpectedPackage {
        name: "files",
        code: "SUCCESS",
        program: ProgramRuns::None,
    },
    ExpectedPackage {
        name: "command",
        code: "SUCCESS",
        program: ProgramRuns::Once,
    },
    ExpectedPackage {
        name: "tool",
        code: "SUCCESS_0",
        program: ProgramRuns::Once,
    },
    ExpectedPackage {
        name: "again",
        code: "SUCCESS_0",
        program: ProgramRuns::Repeatable,
    },
];

/// Four fragments for most archives; two for the program that may run again.
const FRAGMENT_SIZE: &str = "16KiB";
const NOISE_BYTES: usize = 50_000;
const LESS_NOISE_BYTES: usize = 20_000;

/// More files than the agent synchronises one by one.
const SMALL_FILES: [&str; 7] = ["0", "1", "2", "3", "4", "5", "6"];

/// A shell command that records its beginning and its end in a file in the device's home.
///
/// If its agent dies meanwhile, so that it gets another parent, it runs longer than the agent needs
/// to start again.
const RUNS: &str = r#"echo "begin $PACKCAST_PACKAGE_NAME" >> "$HOME/runs"; sleep 0.1; read -r _ _ _ parent _ < /proc/$$/stat; [ "$parent" = "$PPID" ] || sleep 3; echo "end $PACKCAST_PACKAGE_NAME" >> "$HOME/runs""#;

/// A system whose devices run one at a time, so that new lines in the edge's log belong to the
/// current device.
#[derive(Debug)]
pub(super) struct KillSite {
    world: World,
    log: BufReader<File>,
    /// The beginning of a line of the log that the edge was still writing.
    partial_line: String,
    packages: BTreeMap<PackageId, &'static str>,
    /// The files that STORE puts into its folder.
    files: Vec<(&'static str, Vec<u8>)>,
    devices: usize,
}

impl KillSite {
    pub(super) fn start(program: &str) -> Self {
        let world = World::start(program);
        let mut files = vec![
            ("noise", noise(1, NOISE_BYTES)),
            ("folder/read me", b"in a folder".to_vec()),
        ];
        files.extend(SMALL_FILES.map(|name| (name, name.as_bytes().to_vec())));
        let packages = publish(&world, &files);
        for package in packages.values() {
            world.ok(&["assign", &format!("{package}@1"), "--all"]);
        }
        let log = File::open(&world.state().edge_log).expect("the edge has a log");
        Self {
            world,
            log: BufReader::new(log),
            partial_line: String::new(),
            packages,
            files,
            devices: 0,
        }
    }

    /// Returns the name of the next device.
    pub(super) fn next_device(&mut self) -> String {
        self.devices += 1;
        // Skips the requests of earlier devices.
        self.fetched();
        format!("device-{}", self.devices)
    }

    pub(super) const fn world(&self) -> &World {
        &self.world
    }

    pub(super) const fn packages(&self) -> &BTreeMap<PackageId, &'static str> {
        &self.packages
    }

    /// Returns the number of devices so far.
    pub(super) const fn devices(&self) -> usize {
        self.devices
    }

    /// Returns the tallies of the packages on record.
    pub(super) fn progress(&self) -> Vec<(&'static str, StatusOutput)> {
        let of = |name: &&'static str| (*name, self.world.progress(&format!("{name}@1")));
        self.packages.values().map(of).collect()
    }

    /// Returns how often each fragment was requested since the last call.
    pub(super) fn fetched(&mut self) -> BTreeMap<Fragment, usize> {
        let mut fetched = BTreeMap::new();
        let mut line = std::mem::take(&mut self.partial_line);
        while self.log.read_line(&mut line).expect("the log is text") > 0 {
            // A write is not atomic for its readers.
            if !line.ends_with('\n') {
                continue;
            }
            let request = serde_json::from_str(&line).expect("a line of the log is JSON");
            if let Some(fragment) = self.fragment(&request) {
                *fetched.entry(fragment).or_default() += 1;
            }
            line.clear();
        }
        self.partial_line = line;
        fetched
    }

    fn fragment(&self, request: &LoggedRequest) -> Option<Fragment> {
        let (_, name) = request.path.rsplit_once('/')?;
        let (package, number) = name.split_once('-')?;
        let package = self.packages.get(&package.parse().ok()?)?;
        (request.method == "GET").then_some(())?;
        Some(((*package).to_owned(), number.parse().ok()?))
    }

    /// Returns whether a folder contains the stored files.
    pub(super) fn is_stored(&self, folder: &Path) -> bool {
        let mut files = self.files.iter();
        files.all(|(path, content)| fs::read(folder.join(path)).is_ok_and(|it| it == *content))
    }
}

fn publish(world: &World, files: &[(&str, Vec<u8>)]) -> BTreeMap<PackageId, &'static str> {
    let files: Vec<(&str, &[u8])> = files.iter().map(|(path, it)| (*path, &it[..])).collect();
    let script = format!("#!/bin/sh\n{RUNS}\n");
    let less = &files[0].1[..LESS_NOISE_BYTES];
    let tool = [("run.sh", script.as_bytes()), ("noise", files[0].1)];
    let again = [("run.sh", script.as_bytes()), ("noise", less)];
    let archive = |name, files: &[_]| world.file(name, &tar_gz(files));
    let (files, tool, again) = (
        archive("files.tar.gz", &files),
        archive("tool.tar.gz", &tool),
        archive("again.tar.gz", &again),
    );
    let store = ["--action", "store", "--path", "INSTALL_PATH/stored"];
    let execute = ["--action", "execute", "--command", RUNS];
    let launch = ["--action", "launch", "--command", "run.sh"];
    let size = ["--fragment-size", FRAGMENT_SIZE];
    let actions: [Vec<&str>; 4] = [
        [&store[..], &size, &[&files]].concat(),
        execute.to_vec(),
        [&launch[..], &size, &[&tool]].concat(),
        [&launch[..], &size, &["--rerun-after-interruption", &again]].concat(),
    ];
    let mut packages = BTreeMap::new();
    for ((package, action), priority) in PACKAGES.iter().zip(actions).zip(["1", "2", "3", "4"]) {
        let rest = ["--priority", priority, "--activate"];
        let published = world.publish(package.name, &[&action[..], &rest].concat());
        packages.insert(published.package.id, package.name);
    }
    packages
}
