//! The kill matrix of self-updates: the starter, and the version on trial, are killed at each of
//! their effects that every run has. Afterwards the device must have a working agent, and the right result.
//!
//! A build of the agent is a script that becomes the program under test, or that ends. So the
//! version on trial can stop itself for the tracer, and a broken build needs no second program.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, mpsc};

use packcast_agent::event::Event;
use packcast_protocol::PackageId;
use serde_json::Value;

use super::journal::tree;
use super::labels::Labels;
use super::point::Point;
use super::step::{TracedStep, effects, points};
use super::subject::{at, numbered};
use super::tracer::{LAUNCHER, Next, trace, trace_stopped};
use super::{TRIES, unpoisoned};
use crate::process::{Ran, eventually, text};
use crate::world::device::{configuration, event};
use crate::world::{World, clean};

/// Newer than the agent under test.
const VERSION: &str = "999.1.0";

/// The package of the update.
const PACKAGE: &str = "packcast-agent";

/// The number of rounds after which a device has no task left.
const MOST_ROUNDS: usize = 6;

/// The number of runs without a kill whose common points are the matrix.
const UNHINDERED: usize = 4;

/// The share of the kills that need not be reached: one of this many.
const ONE_MISSED_IN: usize = 20;

/// The process that is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KilledProcess {
    /// The installed agent: it stages a working version, starts it, and supervises it.
    Starter,
    /// The version on trial.
    Version,
    /// The installed agent, with a version that goes back.
    StarterGoingBack,
}

impl KilledProcess {
    pub const ALL: [Self; 3] = [Self::Starter, Self::Version, Self::StarterGoingBack];

    /// Returns a name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starter => "starter of a working version",
            Self::Version => "version on trial",
            Self::StarterGoingBack => "starter of a broken version",
        }
    }

    const fn code(self) -> &'static str {
        match self {
            Self::Starter | Self::Version => "SUCCESS",
            Self::StarterGoingBack => "ERR_EXECUTE",
        }
    }

    /// Returns the exit codes of single rounds, one of which is that of a broken version.
    const fn codes(self) -> &'static [i32] {
        match self {
            Self::Starter | Self::Version => &[0],
            Self::StarterGoingBack => &[0, 1],
        }
    }

    /// Returns the end of the script that is the build.
    fn build(self, program: &str) -> String {
        // The tracer finds the process by its id, and continues it.
        let traced = "if [ -e \"$HOME/traced\" ]; then rm \"$HOME/traced\"; \
                      echo $$ > \"$HOME/version.new\"; mv \"$HOME/version.new\" \"$HOME/version\"; \
                      kill -STOP $$; fi\n";
        let states = format!("[ \"$1\" = --version ] && echo {PACKAGE} {VERSION} && exit\n");
        match self {
            Self::Starter | Self::Version => {
                format!("#!/bin/sh\n{states}{traced}exec '{program}' agent \"$@\"\n")
            }
            Self::StarterGoingBack => format!("#!/bin/sh\n{states}exit 1\n"),
        }
    }
}

/// The results of all kills.
#[derive(Debug, Default)]
pub struct UpdateReport {
    /// The number of points, and of kills, for each process.
    pub kills: BTreeMap<KilledProcess, (usize, usize)>,
    /// Points that no run reached.
    pub missed: Vec<(KilledProcess, Point)>,
    pub found: Vec<(KilledProcess, Point, String)>,
}

impl UpdateReport {
    /// Returns whether no fault was found and enough points were reached.
    pub fn is_good(&self) -> bool {
        let kills: usize = self.kills.values().map(|(_, kills)| kills).sum();
        self.found.is_empty()
            && KilledProcess::ALL.iter().all(|process| {
                let of_process = self.kills.get(process);
                of_process.is_some_and(|(_, kills)| *kills > 0)
            })
            && self.missed.len() <= kills / ONE_MISSED_IN
    }
}

/// Runs the matrix on several threads, each with a system of its own.
///
/// Each process is killed at one of `one_in` points. `program` is the program under test.
///
/// # Panics
/// A run without a kill has a fault.
pub fn run(program: &str, one_in: usize, threads: usize) -> UpdateReport {
    let report = Mutex::new(UpdateReport::default());
    for process in KilledProcess::ALL {
        let site = UpdateSite::start(program, process);
        let (good, all) = site.unhindered();
        let chosen: Vec<Point> = all.iter().step_by(one_in).cloned().collect();
        let of_process = (all.len(), 0);
        unpoisoned(report.lock()).kills.insert(process, of_process);
        let threads = threads.min(chosen.len());
        let left = Mutex::new(chosen.into_iter().rev().collect::<Vec<Point>>());
        let mut sites = vec![site];
        sites.extend((1..threads).map(|_| UpdateSite::start(program, process)));
        std::thread::scope(|scope| {
            for site in &sites {
                scope.spawn(|| {
                    while let Some(point) = next(&left) {
                        site.reach(&point, &good, &report);
                    }
                });
            }
        });
    }
    unpoisoned(report.into_inner())
}

fn next(left: &Mutex<Vec<Point>>) -> Option<Point> {
    unpoisoned(left.lock()).pop()
}

/// A system whose devices are assigned one update.
struct UpdateSite {
    world: World,
    process: KilledProcess,
    packages: BTreeMap<PackageId, &'static str>,
    devices: Mutex<usize>,
}

impl UpdateSite {
    fn start(program: &str, process: KilledProcess) -> Self {
        let world = World::start(program);
        let build = world.file("build", process.build(program).as_bytes());
        let platform = format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH);
        let build = format!("{platform}={build}");
        let publish = ["publish-agent", &build, "--version", VERSION, "--activate"];
        let published: Value = world.json(&publish);
        let id = published["package"]["id"].as_str().expect("an id is text");
        let id = id.parse().expect("the program prints valid ids");
        world.ok(&["assign", &format!("{PACKAGE}@{VERSION}"), "--all"]);
        Self {
            world,
            process,
            packages: BTreeMap::from([(id, PACKAGE)]),
            devices: Mutex::default(),
        }
    }

    fn device(&self) -> UpdateDevice<'_> {
        let mut devices = unpoisoned(self.devices.lock());
        *devices += 1;
        let folder = self.world.directory().join(format!("device-{devices}"));
        let device = UpdateDevice { site: self, folder };
        fs::create_dir(&device.folder).expect("each device has a name of its own");
        let world = &self.world;
        let config = configuration(world, world.state().edge, &device.state(), "");
        fs::write(device.config(), config).expect("the device's folder is writable");
        device
    }

    /// Runs agents that are not killed. Returns the files that each of them leaves, and the points
    /// that all of them have: data on a connection is divided differently from run to run.
    fn unhindered(&self) -> (BTreeSet<String>, Vec<Point>) {
        let (left, mut points) = self.unhindered_once();
        for _ in 1..UNHINDERED {
            let (also_left, others) = self.unhindered_once();
            assert_eq!(also_left, left);
            points.retain(|point| others.contains(point));
        }
        (left, points)
    }

    fn unhindered_once(&self) -> (BTreeSet<String>, Vec<Point>) {
        let device = self.device();
        let (killed, steps) = device.watch(None);
        assert!(!killed && !steps.is_empty());
        let left = match device.settle() {
            Ok(left) => left,
            Err(fault) => panic!("a run without a kill has a fault: {fault}"),
        };
        let points = points(effects(&steps));
        // The kill matrix of packages covers the enrolment and the first check-in.
        let begins = |point: &Point| {
            self.process == KilledProcess::Version || point.object.starts_with("state/packages/")
        };
        let begin = points.iter().position(begins).unwrap_or_default();
        (left, points[begin..].to_vec())
    }

    /// Retries until the process was killed at the point.
    fn reach(&self, point: &Point, good: &BTreeSet<String>, report: &Mutex<UpdateReport>) {
        let process = self.process;
        for _ in 0..TRIES {
            let device = self.device();
            let (killed, _) = device.watch(Some(point));
            let fault = match device.settle() {
                Ok(left) if left == *good => None,
                Ok(left) => Some(difference(good, &left)),
                Err(fault) => Some(fault),
            };
            let mut report = unpoisoned(report.lock());
            if let Some(fault) = fault {
                report.found.push((process, point.clone(), fault));
            }
            if killed {
                report.kills.entry(process).or_default().1 += 1;
                return;
            }
        }
        unpoisoned(report.lock())
            .missed
            .push((process, point.clone()));
    }
}

fn difference(good: &BTreeSet<String>, found: &BTreeSet<String>) -> String {
    let missing: Vec<&String> = good.difference(found).collect();
    let further: Vec<&String> = found.difference(good).collect();
    format!("missing files {missing:?}, further files {further:?}")
}

/// A device with a folder of its own, which is the home of its agent, too.
struct UpdateDevice<'a> {
    site: &'a UpdateSite,
    folder: PathBuf,
}

impl UpdateDevice<'_> {
    /// Runs the agent until its starter ends. Kills the process at the point.
    ///
    /// Returns `true` if it was killed, with the steps of the traced process.
    fn watch(&self, point: Option<&Point>) -> (bool, Vec<TracedStep>) {
        let labels = Labels::new(&self.folder, &self.site.packages);
        let (mut killed, mut steps) = (false, Vec::new());
        let watch = |effect: &super::tracer::TracedEffect, stop| {
            steps.push(TracedStep {
                effect: effect.clone(),
                stop,
                stage: None,
            });
            let next = point.map_or(Next::Go, |point| at(point, effect, stop));
            killed |= next == Next::Die;
            next
        };
        match self.site.process {
            KilledProcess::Starter | KilledProcess::StarterGoingBack => {
                let [shell, launcher @ ..] = LAUNCHER;
                let mut command = self.agent(shell);
                command.args(launcher).arg(self.program());
                self.arguments(&mut command, &["run", "--once"]);
                trace(&mut command, &labels, watch).expect("a parent can trace its child");
            }
            KilledProcess::Version => self.watch_version(&labels, watch),
        }
        (killed, steps)
    }

    /// Runs the agent, and traces the version on trial that its starter starts.
    fn watch_version(
        &self,
        labels: &Labels<'_>,
        watch: impl FnMut(&super::tracer::TracedEffect, super::tracer::Stop) -> Next,
    ) {
        fs::write(self.folder.join("traced"), "").expect("the device's folder is writable");
        let (send, started) = mpsc::channel();
        // The tracer's thread waits for the traced process only, so the starter needs another one.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut command = self.command(&["run", "--once"]);
                command
                    .process_group(0)
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null());
                let mut child = command.spawn().expect("the program can be started");
                send.send(child.id()).expect("the tracer waits for it");
                child.wait().expect("a child can be waited for");
            });
            let group = started.recv().expect("the starter is started");
            let version = eventually("the version on trial has started", || {
                let id = fs::read_to_string(self.folder.join("version")).ok()?;
                id.trim().parse::<u32>().ok()
            });
            trace_stopped(version, group, labels, watch).expect("root can trace its processes");
        });
    }

    /// Lets the agent complete its tasks, and checks the device. Returns its files.
    fn settle(self) -> Result<BTreeSet<String>, String> {
        self.rounds()?;
        let id: Value = serde_json::from_str(&self.ran(&["id"])?.stdout)
            .map_err(|error| format!("cannot read the id of the device: {error}"))?;
        let world = &self.site.world;
        let state = world.device_state_of(id["device"].as_str().unwrap_or_default());
        let codes = state.finished.iter().map(|task| task.code.to_string());
        let codes: Vec<String> = codes.collect();
        if codes != [self.site.process.code()] || !state.open.is_empty() {
            return Err(format!("results {codes:?}, open {:?}", state.open));
        }
        let memory = self.state().join("versions/memory");
        let memory = fs::read_to_string(memory).unwrap_or_default();
        let is_kept = memory.contains("\"kept\":{\"version\":\"999.1.0\"");
        let may_be_kept = self.site.process != KilledProcess::StarterGoingBack;
        if is_kept != may_be_kept || memory.contains("\"trial\"") {
            return Err(format!("memory {memory}"));
        }
        let labels = Labels::new(&self.folder, &self.site.packages);
        let left = tree(&self.state());
        Ok(numbered(left.iter().map(|path| labels.path(path))))
    }

    /// Checks in until no task is left.
    fn rounds(&self) -> Result<(), String> {
        for _ in 0..MOST_ROUNDS {
            let ran = self.ran_to(&["run", "--once"], self.site.process.codes())?;
            let mut events = ran.stdout.lines().map(event);
            if events.any(|event| matches!(event, Event::CheckedIn { tasks: 0, .. })) {
                return Ok(());
            }
        }
        Err(format!(
            "the device still had tasks after {MOST_ROUNDS} rounds"
        ))
    }

    fn ran(&self, arguments: &[&str]) -> Result<Ran, String> {
        self.ran_to(arguments, &[0])
    }

    /// Runs the agent to an end with one of these exit codes.
    fn ran_to(&self, arguments: &[&str], codes: &[i32]) -> Result<Ran, String> {
        let ran = Ran::of(&mut self.command(arguments));
        if ran.code.is_some_and(|code| codes.contains(&code)) {
            Ok(ran)
        } else {
            Err(format!("exit code {:?}: {}", ran.code, ran.stderr))
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.agent(text(&self.program()));
        self.arguments(&mut command, arguments);
        command
    }

    fn program(&self) -> PathBuf {
        self.site.world.command(&[]).get_program().into()
    }

    fn agent(&self, program: &str) -> Command {
        let mut command = clean(Path::new(program), &self.folder);
        command.env("HOME", &self.folder);
        command
    }

    fn arguments(&self, command: &mut Command, arguments: &[&str]) {
        command
            .args(["agent", "--format", "json", "--config"])
            .arg(self.config())
            .args(arguments);
    }

    fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    fn config(&self) -> PathBuf {
        self.folder.join("agent.toml")
    }
}
