//! The kill matrix: the agent is killed at each of its effects and started again. The agent that
//! recovers is killed at each of its effects as well.
//!
//! The agent is the real process, without hooks; it is stopped at its system calls. Effects are
//! compared by the objects that they change, because threads interleave differently in each run.

mod effect;
mod journal;
mod labels;
mod order;
mod point;
mod recovery;
pub mod self_update;
mod site;
mod step;
mod subject;
mod tracer;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use packcast_protocol::result::NamedCode;

pub use self::effect::EffectKind;
pub use self::order::Disorder;
use self::order::disorders;
pub use self::point::{Kill, Moment, Point};
use self::recovery::{Recovery, second_kills};
use self::site::{KillSite, PACKAGES};
use self::step::{TracedStep, effects, points};
use self::subject::KillSubject;
pub use self::verdict::Fault;
use self::verdict::{DeviceEvidence, ProgramRuns, judge};

/// Number of attempts to reach a point; the threads of a run may interleave in another order.
const TRIES: usize = 6;

/// Share of the kills that need not be reached: one of this many.
const ONE_MISSED_IN: usize = 20;

/// The choice of the points at which the agent is killed.
#[derive(Clone, Debug)]
pub enum Choice {
    /// One of this many, evenly over the matrix and over the points seen in recoveries; at least 1.
    OneIn(usize),
    Only(Kill),
}

/// The results of all kills.
#[derive(Debug, Default)]
pub struct MatrixReport {
    /// The number of effects and points in the matrix, for each kind.
    pub matrix: BTreeMap<EffectKind, (usize, usize)>,
    /// Effects in a wrong order, seen in a run without a kill.
    pub disorders: Vec<Disorder>,
    /// Number of agents that were killed in their first run on a device.
    pub killed: usize,
    /// Number of agents that were killed during their recovery.
    pub killed_again: usize,
    /// Points that no run reached.
    pub missed: Vec<Kill>,
    /// Number of packages that were reported as interrupted.
    pub interrupted: usize,
    /// Number of repeated runs of programs that may run again.
    pub repeated: usize,
    pub found: Vec<(Kill, Fault)>,
    /// Differences between the tallies on record and the sums of the results.
    pub differences: Vec<String>,
}

impl MatrixReport {
    pub fn double_runs(&self) -> usize {
        self.count(|fault| matches!(fault, Fault::RanAgain { .. }))
    }

    pub fn lost_reports(&self) -> usize {
        self.count(|fault| matches!(fault, Fault::ReportLost { .. }))
    }

    pub fn fetched_again(&self) -> usize {
        self.count(|fault| matches!(fault, Fault::FetchedAgain { .. }))
    }

    /// Counts all other faults.
    pub fn others(&self) -> usize {
        let counted = self.double_runs() + self.lost_reports() + self.fetched_again();
        self.found.len() - counted + self.differences.len()
    }

    fn count(&self, one: impl Fn(&Fault) -> bool) -> usize {
        self.found.iter().filter(|(_, fault)| one(fault)).count()
    }

    /// Returns whether no fault was found and enough points were reached.
    pub fn is_good(&self) -> bool {
        let kills = self.killed + self.killed_again;
        self.found.is_empty()
            && self.differences.is_empty()
            && self.disorders.is_empty()
            && self.killed > 0
            && self.missed.len() <= kills / ONE_MISSED_IN
    }
}

/// Runs the matrix on several threads, each with a system of its own.
///
/// `program` is the program under test; `progress` receives the number of kills done and in total.
pub fn run(
    program: &str,
    choice: &Choice,
    threads: usize,
    progress: impl Fn(usize, usize) + Sync,
) -> MatrixReport {
    let mut sites: Vec<KillSite> = (0..threads).map(|_| KillSite::start(program)).collect();
    let unhindered = unhindered(&mut sites[0]);
    let points = points(effects(&unhindered.steps));
    let mut matrix = Matrix {
        good: unhindered.left,
        report: Mutex::new(MatrixReport {
            matrix: size(&unhindered.steps, &points),
            disorders: disorders(&unhindered.steps, &PACKAGES),
            ..MatrixReport::default()
        }),
        recoveries: Mutex::default(),
    };
    match choice {
        Choice::Only(kill) => matrix.kill(&mut sites, vec![kill.clone()], &progress),
        Choice::OneIn(count) => {
            let points = points.into_iter().step_by(*count);
            // Second kills are chosen from the recoveries that the first kills show.
            let first = points.map(|at| Kill { at, then: None });
            matrix.kill(&mut sites, first.collect(), &progress);
            let recoveries = std::mem::take(unpoisoned(matrix.recoveries.get_mut()));
            let second = second_kills(recoveries).into_iter().step_by(*count);
            matrix.kill(&mut sites, second.collect(), &progress);
        }
    }
    let report = matrix.report.into_inner();
    MatrixReport {
        differences: sites.iter().flat_map(differences).collect(),
        ..unpoisoned(report)
    }
}

fn unpoisoned<T>(result: Result<T, PoisonError<T>>) -> T {
    result.unwrap_or_else(PoisonError::into_inner)
}

/// The steps of an agent that is not killed, and the files that it leaves on its device.
struct Unhindered {
    steps: Vec<TracedStep>,
    left: BTreeSet<String>,
}

fn unhindered(site: &mut KillSite) -> Unhindered {
    let subject = KillSubject::new(site);
    let watched = subject.watch(site, None);
    let steps = watched.steps.clone();
    let evidence = subject.settle(site, vec![watched]);
    let faults = judge(&evidence, &PACKAGES, &evidence.left);
    assert_eq!(faults, [], "a run without a kill has faults: {evidence:?}");
    let left = evidence.left;
    Unhindered { steps, left }
}

fn size(steps: &[TracedStep], points: &[Point]) -> BTreeMap<EffectKind, (usize, usize)> {
    let mut size = BTreeMap::new();
    for effect in effects(steps) {
        size.entry(effect.kind).or_insert((0, 0)).0 += 1;
    }
    for point in points {
        size.entry(point.kind).or_insert((0, 0)).1 += 1;
    }
    size
}

/// The state that the threads share.
struct Matrix {
    /// The files on a device whose agent was not killed.
    good: BTreeSet<String>,
    report: Mutex<MatrixReport>,
    recoveries: Mutex<Vec<Recovery>>,
}

impl Matrix {
    fn kill(
        &self,
        sites: &mut [KillSite],
        kills: Vec<Kill>,
        progress: &(impl Fn(usize, usize) + Sync),
    ) {
        let total = kills.len();
        // A stack: reversed, so that the kills are taken in their order.
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

    /// Retries until the agents were killed at the intended points.
    fn reach(&self, site: &mut KillSite, kill: Kill) {
        if !(0..TRIES).any(|_| self.attempt(site, &kill)) {
            unpoisoned(self.report.lock()).missed.push(kill);
        }
    }

    fn attempt(&self, site: &mut KillSite, kill: &Kill) -> bool {
        let subject = KillSubject::new(site);
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

/// Counts repeated runs of the packages that may run again.
fn repeated(evidence: &DeviceEvidence) -> usize {
    let packages = PACKAGES.iter();
    let repeatable = packages.filter(|package| package.program == ProgramRuns::Repeatable);
    let runs = repeatable.filter_map(|package| evidence.runs.get(package.name));
    runs.map(|times| times.saturating_sub(1)).sum()
}

/// Compares the tallies with the number of devices: each has one result of each package.
fn differences(site: &KillSite) -> Vec<String> {
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
