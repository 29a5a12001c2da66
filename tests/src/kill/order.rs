//! The order in which an agent makes changes durable, as a power cut requires it.
//!
//! A killed process loses nothing that it has written, synced or not. So the order is checked in
//! the effects of the agent, and not in the files that it leaves.

use std::fmt;

use super::effect::Kind;
use super::journal::{Stage, package};
use super::step::Step;
use super::tracer::Stop;
use super::verdict::{Expected, Program};

/// A violation of the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disorder {
    /// The journal did not pass through all stages.
    Stages { package: String },
    /// A stage of the journal was not on disk before the next effect.
    Journal { package: String },
    /// The program was not started exactly once while the journal on disk allowed it.
    Program { package: String },
    /// A request was sent before the result was on disk.
    Report { package: String },
    /// The journal was removed before the history was on disk.
    History { package: String },
}

impl fmt::Display for Disorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stages { package } => write!(f, "the journal of {package} skipped a stage"),
            Self::Journal { package } => write!(f, "the journal of {package} was not on disk"),
            Self::Program { package } => {
                write!(f, "{package} did not run once with its journal on disk")
            }
            Self::Report { package } => {
                write!(
                    f,
                    "a request was sent before the result of {package} was on disk"
                )
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
pub(super) fn disorders(steps: &[Step], packages: &[Expected]) -> Vec<Disorder> {
    let each = packages.iter();
    each.flat_map(|package| of_package(steps, *package))
        .collect()
}

fn of_package(steps: &[Step], expected: Expected) -> Vec<Disorder> {
    let package = || expected.name.to_owned();
    let renames: Vec<(usize, Stage)> = stages(steps, expected.name).collect();
    let [
        (_, Stage::Fetching),
        (acting, Stage::Acting),
        (finished, Stage::Finished),
    ] = renames[..]
    else {
        return vec![Disorder::Stages { package: package() }];
    };
    let [Some(acting), Some(finished)] =
        [acting, finished].map(|renamed| durable(steps, renamed, expected.name))
    else {
        return vec![Disorder::Journal { package: package() }];
    };
    let begun = |kind| {
        let meanwhile = steps[acting..finished].iter();
        let begun = meanwhile.filter(|step| step.begins() && step.effect.kind == kind);
        begun.count()
    };
    let mut disorders = Vec::new();
    if begun(Kind::Spawn) != usize::from(expected.program != Program::None) {
        disorders.push(Disorder::Program { package: package() });
    }
    if begun(Kind::Connect) + begun(Kind::Send) > 0 {
        disorders.push(Disorder::Report { package: package() });
    }
    if !is_remembered(steps, finished, expected.name) {
        disorders.push(Disorder::History { package: package() });
    }
    disorders
}

/// Returns the steps in which a package's journal got its name, with its stage.
fn stages(steps: &[Step], name: &str) -> impl Iterator<Item = (usize, Stage)> {
    let each = steps.iter().enumerate();
    each.filter_map(move |(at, step)| {
        let stage = step.stage?;
        (package(&step.effect.object) == Some(name)).then_some((at, stage))
    })
}

/// Returns the step after which a journal that got its name in step `renamed` is on disk.
///
/// `None` if it is not, or if another lasting effect comes in between.
fn durable(steps: &[Step], renamed: usize, name: &str) -> Option<usize> {
    let folder = format!("state/packages/{name}");
    let (journal, new) = (format!("{folder}/journal"), format!("{folder}/journal.new"));
    let before = lasting(&steps[..=renamed]);
    let write = before.len().checked_sub(6)?;
    follows(
        &before[write..],
        &[
            (Kind::Write, &new),
            (Kind::Sync, &new),
            (Kind::Rename, &journal),
        ],
    )?;
    let after = lasting(&steps[renamed + 1..]);
    let synced = follows(&after, &[(Kind::Sync, &folder)])?;
    Some(renamed + 1 + synced)
}

/// Returns whether the history, which grew after step `finished`, is on disk when the journal is
/// removed. For a new history, its name must be on disk as well.
fn is_remembered(steps: &[Step], finished: usize, name: &str) -> bool {
    const WRITE: (Kind, &str) = (Kind::Write, "state/history");
    const SYNC: (Kind, &str) = (Kind::Sync, "state/history");
    const SYNC_NAME: (Kind, &str) = (Kind::Sync, "state");
    let rest = lasting(&steps[finished..]);
    let find = |what| rest.iter().position(|(_, step)| is(step, what));
    let journal = format!("state/packages/{name}/journal");
    let (Some(written), Some(removed)) = (find(WRITE), find((Kind::Remove, &journal))) else {
        return false;
    };
    let is_new = !steps[..finished].iter().any(|step| is(step, WRITE));
    let expected = [WRITE, SYNC, SYNC_NAME];
    let expected = &expected[..if is_new { 3 } else { 2 }];
    written < removed && follows(&rest[written..removed], expected).is_some()
}

/// Returns the steps that are not network traffic, in which other threads take part.
fn lasting(steps: &[Step]) -> Vec<(usize, &Step)> {
    let network = [Kind::Connect, Kind::Send, Kind::Receive];
    let each = steps.iter().enumerate();
    each.filter(|(_, step)| !network.contains(&step.effect.kind))
        .collect()
}

/// Returns the index of the last of these effects, if the steps begin with them in this order
/// and each of them succeeds.
fn follows(steps: &[(usize, &Step)], expected: &[(Kind, &str)]) -> Option<usize> {
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

fn is(step: &Step, (kind, object): (Kind, &str)) -> bool {
    step.effect.kind == kind && step.effect.object == object
}

#[cfg(test)]
mod tests {
    use super::super::tracer::Effect;
    use super::*;

    const PACKAGES: [Expected; 1] = [Expected {
        name: "tool",
        code: "SUCCESS_0",
        program: Program::Once,
    }];

    /// The effects of a correct agent, with the stages of its journal.
    const GOOD: [(Kind, &str, Option<Stage>); 19] = [
        (
            Kind::Rename,
            "state/packages/tool/journal",
            Some(Stage::Fetching),
        ),
        (Kind::Receive, "connection-1", None),
        (Kind::Write, "state/packages/tool/journal.new", None),
        (Kind::Sync, "state/packages/tool/journal.new", None),
        (
            Kind::Rename,
            "state/packages/tool/journal",
            Some(Stage::Acting),
        ),
        (Kind::Sync, "state/packages/tool", None),
        (Kind::Spawn, "program", None),
        (Kind::Create, "state/packages/tool/journal.new", None),
        (Kind::Write, "state/packages/tool/journal.new", None),
        (Kind::Sync, "state/packages/tool/journal.new", None),
        (
            Kind::Rename,
            "state/packages/tool/journal",
            Some(Stage::Finished),
        ),
        (Kind::Sync, "state/packages/tool", None),
        (Kind::Send, "connection-1", None),
        (Kind::Receive, "connection-1", None),
        (Kind::Create, "state/history", None),
        (Kind::Write, "state/history", None),
        (Kind::Sync, "state/history", None),
        (Kind::Sync, "state", None),
        (Kind::Remove, "state/packages/tool/journal", None),
    ];

    fn steps(done: &[(Kind, &str, Option<Stage>)]) -> Vec<Step> {
        let steps = done.iter().flat_map(|(kind, object, stage)| {
            let step = |stop, stage| Step {
                effect: Effect {
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

    fn violations(steps: &[Step]) -> String {
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
        let program = "tool did not run once with its journal on disk";
        let expected = [
            (0, stage),
            (2, journal),
            (3, journal),
            (4, stage),
            (5, journal),
            (6, program),
            (8, journal),
            (9, journal),
            (10, stage),
            (11, journal),
            (15, history),
            (16, history),
            (17, history),
            (18, history),
        ];
        for (at, expected) in expected {
            let mut done = GOOD.to_vec();
            done.remove(at);
            assert_eq!(violations(&steps(&done)), expected, "without {:?}", GOOD[at]);
        }
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
        check(6, 5, journal);
        check(6, 4, journal);
        check(4, 3, journal);
        check(
            12,
            7,
            "a request was sent before the result of tool was on disk",
        );
        check(
            18,
            16,
            "the journal of tool was removed before the history was on disk",
        );
        let mut failed = steps(&GOOD);
        failed[7].stop = Stop::After(-5);
        assert_eq!(violations(&failed), journal);
    }
}
