//! The order in which an agent makes changes durable, as a power cut requires it.
//!
//! A killed process loses nothing that it has written, synced or not. So the order is checked in
//! the effects of the agent, and not in the files that it leaves.

use std::collections::BTreeSet;
use std::fmt;

use super::effect::EffectKind;
use super::journal::{JournalStage, package};
use super::step::TracedStep;
use super::tracer::Stop;
use super::verdict::{ExpectedPackage, ProgramRuns};

/// The beginning of the names of temporary files in the folder of STORE.
const PART: &str = "/.packcast.part";

/// The beginning of the labels of stored files.
const STORED: &str = "state/installed/";

/// A violation of the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disorder {
    /// The journal did not pass through all stages.
    Stages { package: String },
    /// A stage of the journal was not on disk before the next effect.
    Journal { package: String },
    /// The journal said that the agent acts before the function had permitted it.
    Permission { package: String },
    /// The program was not started exactly once while the journal on disk allowed it.
    Program { package: String },
    /// A request was sent before the result was on disk.
    MatrixReport { package: String },
    /// The journal was removed before the history was on disk.
    History { package: String },
    /// A stored file got its name before its content was on disk.
    Content { file: String },
}

impl fmt::Display for Disorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stages { package } => write!(f, "the journal of {package} skipped a stage"),
            Self::Journal { package } => write!(f, "the journal of {package} was not on disk"),
            Self::Permission { package } => {
                write!(f, "{package} began without the permission of the function")
            }
            Self::Program { package } => {
                write!(f, "{package} did not run once with its journal on disk")
            }
            Self::MatrixReport { package } => {
                write!(
                    f,
                    "a request was sent before the result of {package} was on disk"
                )
            }
            Self::Content { file } => {
                write!(f, "{file} got its name before its content was on disk")
            }
            Self::History { package } => {
                write!(
                    f,
                    "the journal of {package} was removed before the history was on disk"
                )
            }
        }
    }
}

/// Finds violations of the order in the steps of an agent that was not killed.
pub(super) fn disorders(steps: &[TracedStep], packages: &[ExpectedPackage]) -> Vec<Disorder> {
    let each = packages.iter();
    each.flat_map(|package| of_package(steps, *package))
        .chain(of_contents(steps))
        .collect()
}

/// Finds the first stored file that got its name while a temporary file was not on disk.
///
/// A name of a temporary file says nothing of the file that it becomes, so all of them must be on
/// disk.
fn of_contents(steps: &[TracedStep]) -> Option<Disorder> {
    let mut unsynced = BTreeSet::new();
    for step in steps {
        let object = step.effect.object.as_str();
        let is_done = matches!(step.stop, Stop::After(returned) if returned >= 0);
        match step.effect.kind {
            EffectKind::Write if object.contains(PART) => {
                unsynced.insert(object);
            }
            EffectKind::Sync if is_done => {
                unsynced.remove(object);
            }
            EffectKind::SyncVolume if is_done => unsynced.clear(),
            EffectKind::Rename if object.starts_with(STORED) && !unsynced.is_empty() => {
                let file = object.to_owned();
                return Some(Disorder::Content { file });
            }
            _ => {}
        }
    }
    None
}

fn of_package(steps: &[TracedStep], expected: ExpectedPackage) -> Vec<Disorder> {
    let package = || expected.name.to_owned();
    let renames: Vec<(usize, JournalStage)> = stages(steps, expected.name).collect();
    let has_program = expected.program != ProgramRuns::None;
    // A program gets a second entry, with its process, before it runs.
    let (acting, running, finished) = match renames[..] {
        [
            (_, JournalStage::Fetching),
            (acting, JournalStage::Acting),
            (finished, JournalStage::Finished),
        ] if !has_program => (acting, acting, finished),
        [
            (_, JournalStage::Fetching),
            (acting, JournalStage::Acting),
            (running, JournalStage::Acting),
            (finished, JournalStage::Finished),
        ] if has_program => (acting, running, finished),
        _ => return vec![Disorder::Stages { package: package() }],
    };
    let is_permitted = is_permitted(steps, acting, expected.name);
    let [Some(acting), Some(running), Some(finished)] =
        [acting, running, finished].map(|renamed| durable(steps, renamed, expected.name))
    else {
        return vec![Disorder::Journal { package: package() }];
    };
    let begun = |kind, from: usize, to: usize| {
        let meanwhile = steps[from..to].iter();
        let begun = meanwhile.filter(|step| step.begins() && step.effect.kind == kind);
        begun.count()
    };
    let mut disorders = Vec::new();
    if !is_permitted {
        disorders.push(Disorder::Permission { package: package() });
    }
    let programs = [
        begun(EffectKind::Spawn, acting, running),
        begun(EffectKind::Spawn, acting, finished),
        begun(EffectKind::Release, running, finished),
        begun(EffectKind::Release, acting, finished),
    ];
    if programs != [usize::from(has_program); 4] {
        disorders.push(Disorder::Program { package: package() });
    }
    let sent = [EffectKind::Connect, EffectKind::Send].map(|kind| begun(kind, acting, finished));
    if sent != [0, 0] {
        disorders.push(Disorder::MatrixReport { package: package() });
    }
    if !is_remembered(steps, finished, expected.name) {
        disorders.push(Disorder::History { package: package() });
    }
    disorders
}

/// Returns the steps in which a package's journal got its name, with its stage.
fn stages(steps: &[TracedStep], name: &str) -> impl Iterator<Item = (usize, JournalStage)> {
    let each = steps.iter().enumerate();
    each.filter_map(move |(at, step)| {
        let stage = step.stage?;
        (package(&step.effect.object) == Some(name)).then_some((at, stage))
    })
}

/// Returns the step after which a journal that got its name in step `renamed` is on disk.
///
/// `None` if it is not, or if another lasting effect comes in between.
fn durable(steps: &[TracedStep], renamed: usize, name: &str) -> Option<usize> {
    let folder = format!("state/packages/{name}");
    let (journal, new) = (format!("{folder}/journal"), format!("{folder}/journal.new"));
    let before = lasting(&steps[..=renamed]);
    let write = before.len().checked_sub(6)?;
    follows(
        &before[write..],
        &[
            (EffectKind::Write, &new),
            (EffectKind::Sync, &new),
            (EffectKind::Rename, &journal),
        ],
    )?;
    let after = lasting(&steps[renamed + 1..]);
    let synced = follows(&after, &[(EffectKind::Sync, &folder)])?;
    Some(renamed + 1 + synced)
}

/// Returns whether a request was answered after the package was prepared, and before step `acting`.
///
/// Nothing is left to fetch then, so it is the question before the package begins.
fn is_permitted(steps: &[TracedStep], acting: usize, name: &str) -> bool {
    let folder = format!("state/packages/{name}/work");
    let before = &steps[..acting];
    let is_work = |step: &TracedStep| is(step, (EffectKind::MakeFolder, &folder));
    let Some(prepared) = before.iter().rposition(is_work) else {
        return false;
    };
    let mut kinds = before[prepared..].iter().map(|step| step.effect.kind);
    kinds.any(|kind| kind == EffectKind::Send) && kinds.any(|kind| kind == EffectKind::Receive)
}

/// Returns whether the history, which grew after step `finished`, is on disk when the journal is
/// removed. For a new history, its name must be on disk as well.
fn is_remembered(steps: &[TracedStep], finished: usize, name: &str) -> bool {
    const WRITE: (EffectKind, &str) = (EffectKind::Write, "state/history");
    const SYNC: (EffectKind, &str) = (EffectKind::Sync, "state/history");
    const SYNC_NAME: (EffectKind, &str) = (EffectKind::Sync, "state");
    let rest = lasting(&steps[finished..]);
    let find = |what| rest.iter().position(|(_, step)| is(step, what));
    let journal = format!("state/packages/{name}/journal");
    let (Some(written), Some(removed)) = (find(WRITE), find((EffectKind::Remove, &journal))) else {
        return false;
    };
    let is_new = !steps[..finished].iter().any(|step| is(step, WRITE));
    let expected = [WRITE, SYNC, SYNC_NAME];
    let expected = &expected[..if is_new { 3 } else { 2 }];
    written < removed && follows(&rest[written..removed], expected).is_some()
}

/// Returns the steps that are not network traffic, in which other threads take part.
fn lasting(steps: &[TracedStep]) -> Vec<(usize, &TracedStep)> {
    let network = [EffectKind::Connect, EffectKind::Send, EffectKind::Receive];
    let each = steps.iter().enumerate();
    each.filter(|(_, step)| !network.contains(&step.effect.kind))
        .collect()
}

/// Returns the index of the last of these effects, if the steps begin with them in this order
/// and each of them succeeds.
fn follows(steps: &[(usize, &TracedStep)], expected: &[(EffectKind, &str)]) -> Option<usize> {
    let done = |stop| matches!(stop, Stop::After(returned) if returned >= 0);
    let mut steps = steps.iter();
    let mut last = None;
    for what in expected {
        let ((_, begun), (at, ended)) = (steps.next()?, steps.next()?);
        let right = is(begun, *what) && is(ended, *what);
        if !(right && begun.stop == Stop::Before && done(ended.stop)) {
            return None;
        }
        last = Some(*at);
    }
    last
}

fn is(step: &TracedStep, (kind, object): (EffectKind, &str)) -> bool {
    step.effect.kind == kind && step.effect.object == object
}

#[cfg(test)]
mod tests {
    use super::super::tracer::TracedEffect;
    use super::*;

    const PACKAGES: [ExpectedPackage; 1] = [ExpectedPackage {
        name: "tool",
        code: "SUCCESS_0",
        program: ProgramRuns::Once,
    }];

    /// The effects of a correct agent, with the stages of its journal.
    const GOOD: [(EffectKind, &str, Option<JournalStage>); 27] = [
        (
            EffectKind::Rename,
            "state/packages/tool/journal",
            Some(JournalStage::Fetching),
        ),
        (EffectKind::Receive, "connection-1", None),
        (EffectKind::MakeFolder, "state/packages/tool/work", None),
        (EffectKind::Send, "connection-1", None),
        (EffectKind::Receive, "connection-1", None),
        (EffectKind::Write, "state/packages/tool/journal.new", None),
        (EffectKind::Sync, "state/packages/tool/journal.new", None),
        (
            EffectKind::Rename,
            "state/packages/tool/journal",
            Some(JournalStage::Acting),
        ),
        (EffectKind::Sync, "state/packages/tool", None),
        (EffectKind::Spawn, "program", None),
        (EffectKind::Write, "state/packages/tool/journal.new", None),
        (EffectKind::Sync, "state/packages/tool/journal.new", None),
        (
            EffectKind::Rename,
            "state/packages/tool/journal",
            Some(JournalStage::Acting),
        ),
        (EffectKind::Sync, "state/packages/tool", None),
        (EffectKind::Release, "program", None),
        (EffectKind::Create, "state/packages/tool/journal.new", None),
        (EffectKind::Write, "state/packages/tool/journal.new", None),
        (EffectKind::Sync, "state/packages/tool/journal.new", None),
        (
            EffectKind::Rename,
            "state/packages/tool/journal",
            Some(JournalStage::Finished),
        ),
        (EffectKind::Sync, "state/packages/tool", None),
        (EffectKind::Send, "connection-1", None),
        (EffectKind::Receive, "connection-1", None),
        (EffectKind::Create, "state/history", None),
        (EffectKind::Write, "state/history", None),
        (EffectKind::Sync, "state/history", None),
        (EffectKind::Sync, "state", None),
        (EffectKind::Remove, "state/packages/tool/journal", None),
    ];

    fn steps(done: &[(EffectKind, &str, Option<JournalStage>)]) -> Vec<TracedStep> {
        let steps = done.iter().flat_map(|(kind, object, stage)| {
            let step = |stop, stage| TracedStep {
                effect: TracedEffect {
                    kind: *kind,
                    object: (*object).to_owned(),
                    ordinal: 1,
                    halves: false,
                },
                stop,
                stage,
            };
            [step(Stop::Before, None), step(Stop::After(0), *stage)]
        });
        steps.collect()
    }

    fn violations(steps: &[TracedStep]) -> String {
        let disorders = disorders(steps, &PACKAGES);
        let texts: Vec<String> = disorders.iter().map(ToString::to_string).collect();
        texts.join("; ")
    }

    #[test]
    fn missing_effects_are_found() {
        assert_eq!(violations(&steps(&GOOD)), "");
        let journal = "the journal of tool was not on disk";
        let stage = "the journal of tool skipped a stage";
        let history = "the journal of tool was removed before the history was on disk";
        let permission = "tool began without the permission of the function";
        let program = "tool did not run once with its journal on disk";
        let expected = [
            (0, stage),
            (2, permission),
            (3, permission),
            (4, permission),
            (5, journal),
            (6, journal),
            (7, stage),
            (8, journal),
            (9, program),
            (10, journal),
            (11, journal),
            (12, stage),
            (13, journal),
            (14, program),
            (16, journal),
            (17, journal),
            (18, stage),
            (19, journal),
            (23, history),
            (24, history),
            (25, history),
            (26, history),
        ];
        for (at, expected) in expected {
            let mut done = GOOD.to_vec();
            done.remove(at);
            assert_eq!(
                violations(&steps(&done)),
                expected,
                "without {:?}",
                GOOD[at]
            );
        }
    }

    #[test]
    fn stored_files_are_on_disk_before_they_get_their_names() {
        const A: &str = "state/installed/stored/.packcast.part-0";
        const B: &str = "state/installed/stored/f/.packcast.part-1";
        const NAME: &str = "state/installed/stored/a";
        let check = |done: &[(EffectKind, &str)], is_good: bool| {
            let done: Vec<_> = done
                .iter()
                .map(|(kind, object)| (*kind, *object, None))
                .collect();
            let found = of_contents(&steps(&done)).map(|it| it.to_string());
            let bad = format!("{NAME} got its name before its content was on disk");
            assert_eq!(found, (!is_good).then_some(bad), "{done:?}");
        };
        let (write_a, write_b) = ((EffectKind::Write, A), (EffectKind::Write, B));
        let (sync_a, sync_b) = ((EffectKind::Sync, A), (EffectKind::Sync, B));
        let (volume, rename) = (
            (EffectKind::SyncVolume, "state"),
            (EffectKind::Rename, NAME),
        );
        check(&[write_a, write_b, sync_b, sync_a, rename], true);
        check(&[write_a, write_b, volume, rename], true);
        check(&[write_a, write_b, sync_b, rename], false);
        check(&[write_a, volume, write_b, rename], false);
        check(&[write_a, sync_a, write_a, rename], false);
        check(&[write_a, rename, volume], false);
        let mut failed = steps(&[write_a, volume, rename].map(|(kind, at)| (kind, at, None)));
        failed[3].stop = Stop::After(-5);
        assert!(of_contents(&failed).is_some());
    }

    #[test]
    fn early_and_failed_effects_are_found() {
        let check = |from: usize, to: usize, expected: &str| {
            let mut done = GOOD.to_vec();
            let early = done.remove(from);
            done.insert(to, early);
            assert_eq!(violations(&steps(&done)), expected, "{early:?} at {to}");
        };
        let journal = "the journal of tool was not on disk";
        check(9, 8, journal);
        check(9, 7, journal);
        check(7, 6, journal);
        check(14, 13, journal);
        check(14, 10, "tool did not run once with its journal on disk");
        check(
            20,
            15,
            "a request was sent before the result of tool was on disk",
        );
        check(
            26,
            24,
            "the journal of tool was removed before the history was on disk",
        );
        let mut failed = steps(&GOOD);
        failed[13].stop = Stop::After(-5);
        assert_eq!(violations(&failed), journal);
    }
}
