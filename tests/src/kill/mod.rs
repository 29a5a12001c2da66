//! The kill matrix: the agent is killed at each of its effects, and started again.
//!
//! The agent is the real process, without hooks: it is stopped at its system calls. Effects
//! are compared by what they change, as threads do not meet in the same order in every run.

mod effect;
mod labels;
mod point;
mod site;
mod subject;
mod tracer;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use packcast_protocol::result::NamedCode;

pub use self::effect::Kind;
pub use self::point::{Moment, Point};
use self::site::{PACKAGES, Site};
use self::tracer::Effect;
pub use self::verdict::Fault;
use self::verdict::judge;

/// At which points the agent is killed.
#[derive(Clone, Debug)]
pub enum Choice {
    /// One of so many, evenly over the matrix; at least 1.
    OneIn(usize),
    Only(Point),
}

/// What became of the devices.
#[derive(Debug, Default)]
pub struct Report {
    /// How many effects and points the matrix has of each kind.
    pub matrix: BTreeMap<Kind, (usize, usize)>,
    /// How many agents were killed.
    pub killed: usize,
    /// The points that a run did not come to, whose agents nobody killed.
    pub missed: Vec<Point>,
    /// How many packages were reported as interrupted.
    pub interrupted: usize,
    pub found: Vec<(Point, Fault)>,
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

    pub fn is_good(&self) -> bool {
        self.found.is_empty() && self.differences.is_empty()
    }
}

/// Runs the matrix on some threads, each with a system of its own, and tells `progress` how many
/// points of how many are done. `program` is the program under test.
pub fn run(
    program: &str,
    choice: &Choice,
    threads: usize,
    progress: impl Fn(usize, usize) + Sync,
) -> Report {
    let mut sites: Vec<Site> = (0..threads).map(|_| Site::start(program)).collect();
    let unhindered = unhindered(&mut sites[0]);
    let points = points(&unhindered.effects);
    let mut report = Report {
        matrix: matrix(&unhindered.effects, &points),
        ..Report::default()
    };
    let chosen = chosen(choice, points);
    let total = chosen.len();
    let shared = Shared {
        left: Mutex::new(chosen.into_iter().rev().collect()),
        report: Mutex::new(&mut report),
        good: unhindered.left,
    };
    std::thread::scope(|scope| {
        for site in &mut sites {
            let (shared, progress) = (&shared, &progress);
            scope.spawn(move || {
                while let Some((point, left)) = shared.next() {
                    shared.attempt(site, point);
                    progress(total - left, total);
                }
            });
        }
    });
    let differences = sites.iter().flat_map(differences).collect();
    Report {
        differences,
        ..report
    }
}

/// What an agent does that nobody kills, and what it leaves on its device.
struct Unhindered {
    effects: Vec<Effect>,
    left: BTreeSet<String>,
}

fn unhindered(site: &mut Site) -> Unhindered {
    let subject = site.device();
    let watched = subject.watch(site, None);
    let effects = watched.effects.clone();
    let evidence = subject.settle(site, watched);
    let faults = judge(&evidence, &PACKAGES, &evidence.left);
    assert_eq!(faults, [], "an agent that nobody kills: {evidence:?}");
    let left = evidence.left;
    Unhindered { effects, left }
}

fn points(effects: &[Effect]) -> Vec<Point> {
    let points = effects.iter().flat_map(|effect| {
        let moments = Moment::of(effect.kind, effect.halves).into_iter();
        moments.map(|moment| Point {
            kind: effect.kind,
            object: effect.object.clone(),
            ordinal: effect.ordinal,
            moment,
        })
    });
    points.collect()
}

fn matrix(effects: &[Effect], points: &[Point]) -> BTreeMap<Kind, (usize, usize)> {
    let mut matrix = BTreeMap::new();
    for effect in effects {
        matrix.entry(effect.kind).or_insert((0, 0)).0 += 1;
    }
    for point in points {
        matrix.entry(point.kind).or_insert((0, 0)).1 += 1;
    }
    matrix
}

fn chosen(choice: &Choice, points: Vec<Point>) -> Vec<Point> {
    match choice {
        Choice::OneIn(count) => points.into_iter().step_by(*count).collect(),
        Choice::Only(point) => vec![point.clone()],
    }
}

/// What the threads share.
struct Shared<'a> {
    /// The points to come, the next one last.
    left: Mutex<Vec<Point>>,
    report: Mutex<&'a mut Report>,
    /// What is left on a device whose agent nobody killed.
    good: BTreeSet<String>,
}

impl Shared<'_> {
    /// Returns the next point, and how many come after it.
    fn next(&self) -> Option<(Point, usize)> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let point = left.pop()?;
        Some((point, left.len()))
    }

    fn attempt(&self, site: &mut Site, point: Point) {
        let subject = site.device();
        let watched = subject.watch(site, Some(&point));
        let killed = watched.killed;
        let evidence = subject.settle(site, watched);
        let faults = judge(&evidence, &PACKAGES, &self.good);
        let interrupted = NamedCode::Interrupted.into();
        let results = evidence.results.iter();
        let interrupted = results.filter(|(.., code)| *code == interrupted).count();
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.interrupted += interrupted;
        report.killed += usize::from(killed);
        let found = faults.into_iter().map(|fault| (point.clone(), fault));
        report.found.extend(found);
        if !killed {
            report.missed.push(point);
        }
    }
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
