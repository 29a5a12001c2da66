//! A device whose agent is killed, once or twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use packcast_agent::event::Event;
use packcast_protocol::PackageId;

use super::effect::EffectKind;
use super::journal::{self, JournalStage, Journals, tree};
use super::labels::Labels;
use super::point::{Moment, Point};
use super::site::KillSite;
use super::step::TracedStep;
use super::tracer::{LAUNCHER, Next, Stop, TracedEffect, trace};
use super::verdict::{self, DeviceEvidence, Fragment, Life};
use crate::process::{Ran, text};
use crate::world::clean;
use crate::world::device::{configuration, event};

/// Number of rounds after which a device has no task left.
const MOST_ROUNDS: usize = 6;

/// A device with a folder of its own.
///
/// The folder contains the agent's state and a home, which the packages' programs write to.
#[derive(Debug)]
pub(super) struct KillSubject {
    folder: PathBuf,
    program: PathBuf,
}

/// The observation of one agent run, killed or not.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// The agent was killed at the intended point.
    pub(super) killed: bool,
    pub(super) steps: Vec<TracedStep>,
    /// The stages of the packages at the end of the run.
    pub(super) journals: Journals,
    life: Life,
    /// The reason why the run did not end regularly.
    failed: Option<String>,
}

impl KillSubject {
    /// Returns a new device of a site; its agent has never run.
    pub(super) fn new(site: &mut KillSite) -> Self {
        let name = site.next_device();
        let world = site.world();
        let subject = Self {
            folder: world.directory().join(name),
            program: world.command(&[]).get_program().into(),
        };
        fs::create_dir_all(subject.home()).expect("each device has a name of its own");
        let config = configuration(world, world.state().edge, &subject.state(), "");
        fs::write(subject.config(), config).expect("the device's folder is writable");
        subject
    }

    /// Runs the agent until it is killed, or until its round ends.
    pub(super) fn watch(&self, site: &mut KillSite, point: Option<&Point>) -> Watched {
        let mut watched = self.trace(site, point);
        watched.life.asked = site.fetched();
        watched
    }

    fn trace(&self, site: &KillSite, point: Option<&Point>) -> Watched {
        let labels = Labels::new(&self.folder, site.packages());
        let mut watched = Watched::default();
        let [shell, launcher @ ..] = LAUNCHER;
        let mut command = self.agent(shell);
        command.args(launcher).arg(&self.program);
        self.arguments(&mut command, &["run", "--once"]);
        let ended = trace(&mut command, &labels, |effect, stop| {
            let stage = self.stage(effect, stop, site);
            watched.see(effect, stop, stage, point)
        });
        let ended = ended.expect("a parent can trace its child");
        let state = self.state();
        let left = tree(&state).into_iter().map(|path| labels.path(&path));
        let verified = left.filter_map(|label| fragment(&label));
        watched.life.verified.extend(verified);
        watched.journals = journal::read_all(&state, &labels);
        if watched.killed {
            let mut journals = watched.journals.iter();
            let acting = journals.find(|(_, stage)| **stage == JournalStage::Acting);
            watched.life.acted = acting.map(|(package, _)| package.clone());
        } else if ended.code != Some(0) {
            let why = format!("exit code {:?}: {}", ended.code, ended.output);
            watched.failed = Some(why);
        }
        watched
    }

    /// Returns the stage in a journal that has just got its name.
    fn stage(&self, effect: &TracedEffect, stop: Stop, site: &KillSite) -> Option<JournalStage> {
        let renamed = effect.kind == EffectKind::Rename && stop == Stop::After(0);
        let name = renamed
            .then(|| journal::package(&effect.object))
            .flatten()?;
        let mut packages = site.packages().iter();
        let (id, _) = packages.find(|(_, package)| **package == name)?;
        journal::read(&self.state().join(format!("packages/{id}/journal")))
    }

    /// Lets the agent complete its remaining tasks, and returns the final state of the device.
    pub(super) fn settle(self, site: &mut KillSite, watched: Vec<Watched>) -> DeviceEvidence {
        let settled = self.rounds().err();
        let failed = watched.iter().find_map(|watched| watched.failed.clone());
        let id = Ran::of(&mut self.command(&["id"])).expect_code(0).stdout;
        let device_state = site.world().device_state_of(device(&id).trim());
        let name = |id: &PackageId| site.packages()[id].to_owned();
        let results = device_state.finished.into_iter();
        let results = results.map(|task| (name(&task.package), task.attempt, task.code));
        let results = results.collect();
        let labels = Labels::new(&self.folder, site.packages());
        let left = tree(&self.state());
        let left = numbered(left.iter().map(|path| labels.path(path)));
        let mut lives: Vec<Life> = watched.into_iter().map(|watched| watched.life).collect();
        let asked = site.fetched();
        lives.push(Life {
            verified: asked.keys().cloned().collect(),
            asked,
            acted: None,
        });
        let record = fs::read_to_string(self.home().join("runs")).unwrap_or_default();
        let (runs, overlaps) = verdict::runs(&record);
        DeviceEvidence {
            runs,
            overlaps,
            results,
            open: device_state.open.len(),
            lives,
            failed: failed.or(settled),
            stored: site.is_stored(&self.state().join("installed/stored")),
            left,
        }
    }

    /// Checks in until no task is left.
    fn rounds(&self) -> Result<(), String> {
        for _ in 0..MOST_ROUNDS {
            let ran = Ran::of(&mut self.command(&["run", "--once"]));
            if ran.code != Some(0) {
                return Err(format!("exit code {:?}: {}", ran.code, ran.stderr));
            }
            let mut events = ran.stdout.lines().map(event);
            if events.any(|event| matches!(event, Event::CheckedIn { tasks: 0, .. })) {
                return Ok(());
            }
        }
        Err(format!(
            "the device still had tasks after {MOST_ROUNDS} rounds"
        ))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.agent(text(&self.program));
        self.arguments(&mut command, arguments);
        command
    }

    fn agent(&self, program: &str) -> Command {
        let mut command = clean(Path::new(program), &self.folder);
        command.env("HOME", self.home());
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

    fn home(&self) -> PathBuf {
        self.folder.join("home")
    }

    fn config(&self) -> PathBuf {
        self.folder.join("agent.toml")
    }
}

impl Watched {
    fn see(
        &mut self,
        effect: &TracedEffect,
        stop: Stop,
        stage: Option<JournalStage>,
        point: Option<&Point>,
    ) -> Next {
        if stop == Stop::After(0) && effect.kind == EffectKind::Rename {
            self.life.verified.extend(fragment(&effect.object));
        }
        self.steps.push(TracedStep {
            effect: effect.clone(),
            stop,
            stage,
        });
        let next = point.map_or(Next::Go, |point| at(point, effect, stop));
        self.killed |= next == Next::Die;
        next
    }
}

pub(super) fn at(point: &Point, effect: &TracedEffect, stop: Stop) -> Next {
    let wanted = (point.kind, &point.object, point.ordinal);
    if (effect.kind, &effect.object, effect.ordinal) != wanted {
        return Next::Go;
    }
    match (point.moment, stop) {
        (Moment::Torn, Stop::Before) => Next::Tear,
        (Moment::Before, Stop::Before) | (Moment::Torn | Moment::After, Stop::After(_)) => {
            Next::Die
        }
        _ => Next::Go,
    }
}

/// Numbers equal labels, so that each file has a label of its own.
pub(super) fn numbered(labels: impl Iterator<Item = String>) -> BTreeSet<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut numbered = BTreeSet::new();
    for label in labels {
        let count = counts.entry(label.clone()).or_default();
        *count += 1;
        numbered.insert(if *count == 1 {
            label
        } else {
            format!("{label} {count}")
        });
    }
    numbered
}

/// Reads the label of a file with a verified fragment.
fn fragment(label: &str) -> Option<Fragment> {
    let (package, number) = label
        .strip_prefix("state/packages/")?
        .split_once("/fragments/")?;
    Some((package.to_owned(), number.parse().ok()?))
}

/// Reads the output of the agent's command `id`.
fn device(json: &str) -> String {
    let output: serde_json::Value = serde_json::from_str(json).expect("the output is JSON");
    output["device"]
        .as_str()
        .expect("the id is text")
        .to_owned()
}
