//! The kill matrix: the agent is killed at each of its effects, and started again; and killed
//! again at each effect with which it recovers.
//!
//! The agent is the real process, without hooks: it is stopped at its system calls. Effects
//! are compared by what they change, as threads do not meet in the same order in every run.

mod effect;
mod journal;
mod labels;
mod order;
mod point;
mod recovery;
mod site;
mod step;
mod subject;
mod tracer;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use packcast_protocol::result::NamedCode;

pub use self::effect::Kind;
pub use self::order::Disorder;
use self::order::disorders;
pub use self::point::{Kill, Moment, Point};
use self::recovery::{Recovery, second_kills};
use self::site::{PACKAGES, Site};
use self::step::{Step, effects, points};
use self::subject::Subject;
pub use self::verdict::Fault;
use self::verdict::{Evidence, Program, judge};

/// How often a point is tried that a run did not come to, as its threads met in another order.
const TRIES: usize = 6;

/// Of so many kills, one may not be reached.
const ONE_MISSED_IN: usize = 20;

/// At which points the agent is killed.
#[derive(Clone, Debug)]
pub enum Choice {
    /// One of so many, evenly over the matrix and over what is seen of recoveries; at least 1.
    OneIn(usize),
    Only(Kill),
}

/// What became of the devices.
#[derive(Debug, Default)]
pub struct Report {
    /// How many effects and points the matrix has of each kind.
    pub matrix: BTreeMap<Kind, (usize, usize)>,
    /// What the agent did in a wrong order, before anybody killed it.
    pub disorders: Vec<Disorder>,
    /// How many agents were killed that were the first on their devices.
    pub killed: usize,
    /// How many were killed that recovered from that.
    pub killed_again: usize,
    /// What no run came to.
    pub missed: Vec<Kill>,
    /// How many packages were reported as interrupted.
    pub interrupted: usize,
    /// How often programs were run again that may be.
    pub repeated: usize,
    pub found: Vec<(Kill, Fault)>,
    /// Where the tallies on record are not the sums of the results.
    pub differences: Vec<String>,
}

impl Report {
    pub fn double_runs(&self) -> usize {
        self.count(|fault| matches!(fault, Fault::RanAgain { .. }))
    }

    pub fn lost_reports(&self) -> usize {
        self.count(|fault| matches!(fault, Fault::ReportLost { .. }))
    }

    pub fn fetched_again(&self) -> usize {
        self.count(|fault| matches!(fault, Fault::FetchedAgain { .. }))
    }

    /// Counts what is wrong beside these.
    pub fn others(&self) -> usize {
        let counted = self.double_runs() + self.lost_reports() + self.fetched_again();
        self.found.len() - counted + self.differences.len()
    }

    fn count(&self, one: impl Fn(&Fault) -> bool) -> usize {
        self.found.iter().filter(|(_, fault)| one(fault)).count()
    }

    /// Whether all is as it has to be, and enough of it was tried.
    pub fn is_good(&self) -> bool {
        let kills = self.killed + self.killed_again;
        self.found.is_empty()
            && self.differences.is_empty()
            && self.disorders.is_empty()
            && self.killed > 0
            && self.missed.len() <= kills / ONE_MISSED_IN
    }
}

/// Runs the matrix on some threads, each with a system of its own, and tells `progress` how many
/// kills of how many are done. `program` is the program under test.
pub fn run(
    program: &str,
    choice: &Choice,
    threads: usize,
    progress: impl Fn(usize, usize) + Sync,
) -> Report {
    let mut sites: Vec<Site> = (0..threads).map(|_| Site::start(program)).collect();
    let unhindered = unhindered(&mut sites[0]);
    let points = points(effects(&unhindered.steps));
    let mut matrix = Matrix {
        good: unhindered.left,
        report: Mutex::new(Report {
            matrix: size(&unhindered.steps, &points),
            disorders: disorders(&unhindered.steps, &PACKAGES),
            ..Report::default()
        }),
        recoveries: Mutex::default(),
    };
    match choice {
        Choice::Only(kill) => matrix.kill(&mut sites, vec![kill.clone()], &progress),
        Choice::OneIn(count) => {
            let points = points.into_iter().step_by(*count);
            let first = points.map(|at| Kill { at, then: None });
            matrix.kill(&mut sites, first.collect(), &progress);
            let recoveries = std::mem::take(unpoisoned(matrix.recoveries.get_mut()));
            let second = second_kills(recoveries).into_iter().step_by(*count);
            matrix.kill(&mut sites, second.collect(), &progress);
        }
    }
    let report = matrix.report.into_inner();
    Report {
        differences: sites.iter().flat_map(differences).collect(),
        ..unpoisoned(report)
    }
}

fn unpoisoned<T>(result: Result<T, PoisonError<T>>) -> T {
    result.unwrap_or_else(PoisonError::into_inner)
}

/// What an agent does that nobody kills, and what it leaves on its device.
struct Unhindered {
    steps: Vec<Step>,
    left: BTreeSet<String>,
}

fn unhindered(site: &mut Site) -> Unhindered {
    let subject = Subject::new(site);
    let watched = subject.watch(site, None);
    let steps = watched.steps.clone();
    let evidence = subject.settle(site, vec![watched]);
    let faults = judge(&evidence, &PACKAGES, &evidence.left);
    assert_eq!(faults, [], "an agent that nobody kills: {evidence:?}");
    let left = evidence.left;
    Unhindered { steps, left }
}

fn size(steps: &[Step], points: &[Point]) -> BTreeMap<Kind, (usize, usize)> {
    let mut size = BTreeMap::new();
    for effect in effects(steps) {
        size.entry(effect.kind).or_insert((0, 0)).0 += 1;
    }
    for point in points {
        size.entry(point.kind).or_insert((0, 0)).1 += 1;
    }
    size
}

/// What the threads share.
struct Matrix {
    /// What is left on a device whose agent nobody killed.
    good: BTreeSet<String>,
    report: Mutex<Report>,
    recoveries: Mutex<Vec<Recovery>>,
}

impl Matrix {
    fn kill(
        &self,
        sites: &mut [Site],
        kills: Vec<Kill>,
        progress: &(impl Fn(usize, usize) + Sync),
    ) {
        let total = kills.len();
        let left = Mutex::new(kills.into_iter().rev().collect::<Vec<Kill>>());
        let next = || {
            let mut left = unpoisoned(left.lock());
            let kill = left.pop()?;
            Some((kill, total - left.len()))
        };
        std::thread::scope(|scope| {
            for site in sites {
                scope.spawn(|| {
                    while let Some((kill, done)) = next() {
                        self.reach(site, kill);
                        progress(done, total);
                    }
                });
            }
        });
    }

    /// Tries until the agents were killed where they were to be.
    fn reach(&self, site: &mut Site, kill: Kill) {
        if !(0..TRIES).any(|_| self.attempt(site, &kill)) {
            unpoisoned(self.report.lock()).missed.push(kill);
        }
    }

    fn attempt(&self, site: &mut Site, kill: &Kill) -> bool {
        let subject = Subject::new(site);
        let first = subject.watch(site, Some(&kill.at));
        let second = subject.watch(site, kill.then.as_ref());
        let reached = first.killed && second.killed == kill.then.is_some();
        if first.killed && kill.then.is_none() {
            let recovery = Recovery::new(&kill.at, &first.journals, &second.steps);
            unpoisoned(self.recoveries.lock()).push(recovery);
        }
        let (killed, killed_again) = (first.killed, first.killed && second.killed);
        let evidence = subject.settle(site, vec![first, second]);
        let faults = judge(&evidence, &PACKAGES, &self.good);
        let interrupted = NamedCode::Interrupted.into();
        let results = evidence.results.iter();
        let interrupted = results.filter(|(.., code)| *code == interrupted).count();
        let mut report = unpoisoned(self.report.lock());
        report.killed += usize::from(killed);
        report.killed_again += usize::from(killed_again);
        report.interrupted += interrupted;
        report.repeated += repeated(&evidence);
        let found = faults.into_iter().map(|fault| (kill.clone(), fault));
        report.found.extend(found);
        reached
    }
}

/// Counts the runs after the first of packages that may be run again.
fn repeated(evidence: &Evidence) -> usize {
    let packages = PACKAGES.iter();
    let repeatable = packages.filter(|package| package.program == Program::Repeatable);
    let runs = repeatable.filter_map(|package| evidence.runs.get(package.name));
    runs.map(|times| times.saturating_sub(1)).sum()
}

/// Each device has one result of each package.
fn differences(site: &Site) -> Vec<String> {
    let mut differences = Vec::new();
    for (name, progress) in site.progress() {
        let finished = progress.succeeded + progress.failed;
        if finished != site.devices() as u64 || progress.announced + progress.cancelled > 0 {
            differences.push(format!(
                "{name} on {} devices: {progress:?}",
                site.devices()
            ));
        }
    }
    differences
}
