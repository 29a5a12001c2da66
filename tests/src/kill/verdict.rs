//! The rules for the final state of a device, at whatever point its agent was killed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use packcast_protocol::ResultCode;
use packcast_protocol::result::NamedCode;

/// A fragment of a package: the package's name, and the fragment's number.
pub(super) type Fragment = (String, u32);

/// The expected result of a package.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExpectedPackage {
    pub(super) name: &'static str,
    pub(super) code: &'static str,
    pub(super) program: ProgramRuns,
}

/// Number of runs that a package's program is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProgramRuns {
    /// The package has no program.
    None,
    Once,
    /// Once, and once more for each kill of the agent while it acted.
    Repeatable,
}

/// The observation of a device during one run of the agent.
#[derive(Clone, Debug, Default)]
pub(super) struct Life {
    /// Number of requests for each fragment.
    pub(super) asked: BTreeMap<Fragment, usize>,
    /// The fragments that were on disk under their final names at some time.
    pub(super) verified: BTreeSet<Fragment>,
    /// The package that was in stage `acting` when the agent was killed.
    pub(super) acted: Option<String>,
}

/// The final state of a device, with the observations of all runs.
#[derive(Clone, Debug, Default)]
pub(super) struct DeviceEvidence {
    /// Number of runs of each package's program.
    pub(super) runs: BTreeMap<String, usize>,
    /// The packages whose program did not end before the next program began.
    pub(super) overlaps: Vec<String>,
    /// The results on record: package, attempt, and code.
    pub(super) results: Vec<(String, u32, ResultCode)>,
    /// Number of tasks that are still open.
    pub(super) open: usize,
    /// The runs of the agent, in order; all but the last were killed.
    pub(super) lives: Vec<Life>,
    /// The reason why a run without a kill did not end regularly.
    pub(super) failed: Option<String>,
    /// The stored files are equal to those of the archive.
    pub(super) stored: bool,
    /// The files and folders on the device.
    pub(super) left: BTreeSet<String>,
}

/// A violation of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    RanAgain { package: String, times: usize },
    Overlap { package: String },
    ReportLost { package: String },
    WrongResult { package: String, result: String },
    FetchedAgain { package: String, fragment: u32 },
    TasksLeft { count: usize },
    Failed { why: String },
    NotStored,
    LeftBehind { path: String },
    Missing { path: String },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RanAgain { package, times } => write!(f, "{package} ran {times} times"),
            Self::Overlap { package } => write!(f, "another program ran beside {package}"),
            Self::ReportLost { package } => write!(f, "{package} has no result"),
            Self::WrongResult { package, result } => write!(f, "{package}: {result}"),
            Self::FetchedAgain { package, fragment } => {
                write!(f, "fragment {fragment} of {package} was fetched again")
            }
            Self::TasksLeft { count } => write!(f, "{count} tasks are open"),
            Self::Failed { why } => write!(f, "the agent failed: {why}"),
            Self::NotStored => write!(f, "the stored files differ from the archive"),
            Self::LeftBehind { path } => write!(f, "{path} is left behind"),
            Self::Missing { path } => write!(f, "{path} is missing"),
        }
    }
}

/// Compares the final state of a device with the expected results, and its files with those of a
/// device whose agent was not killed.
pub(super) fn judge(
    evidence: &DeviceEvidence,
    expected: &[ExpectedPackage],
    left: &BTreeSet<String>,
) -> Vec<Fault> {
    let failed = evidence.failed.clone().into_iter();
    let mut faults: Vec<Fault> = failed.map(|why| Fault::Failed { why }).collect();
    for package in expected {
        faults.extend(of_package(evidence, *package));
    }
    let overlaps = evidence.overlaps.iter().cloned();
    faults.extend(overlaps.map(|package| Fault::Overlap { package }));
    let again = fetched_again(&evidence.lives).into_iter();
    faults.extend(again.map(|(package, fragment)| Fault::FetchedAgain { package, fragment }));
    if evidence.open > 0 {
        let count = evidence.open;
        faults.push(Fault::TasksLeft { count });
    }
    if !evidence.stored {
        faults.push(Fault::NotStored);
    }
    let paths = |these: &BTreeSet<String>, but: &BTreeSet<String>| -> Vec<String> {
        these.difference(but).cloned().collect()
    };
    let behind = paths(&evidence.left, left).into_iter();
    faults.extend(behind.map(|path| Fault::LeftBehind { path }));
    let missing = paths(left, &evidence.left).into_iter();
    faults.extend(missing.map(|path| Fault::Missing { path }));
    faults
}

/// Returns the fragments that were requested although they had been verified.
///
/// Each run may request a fragment once until it is verified. The edge may log the last requests
/// of a run only after the kill; those were not answered.
fn fetched_again(lives: &[Life]) -> BTreeSet<Fragment> {
    let mut again = BTreeSet::new();
    let mut verified = BTreeSet::new();
    let mut asked: BTreeMap<&Fragment, usize> = BTreeMap::new();
    for (life, lived) in lives.iter().zip(1..) {
        for (fragment, times) in &life.asked {
            let asked = asked.entry(fragment).or_default();
            *asked += times;
            let twice = life.verified.contains(fragment) && *asked > lived;
            if verified.contains(fragment) || twice {
                again.insert(fragment.clone());
            }
        }
        verified.extend(&life.verified);
    }
    again
}

/// Checks the runs and the result of a package.
///
/// A program runs once and its own result is reported. If the agent was killed while it acted, the
/// program is reported as interrupted, or runs again if the package allows it.
fn of_package(evidence: &DeviceEvidence, expected: ExpectedPackage) -> Option<Fault> {
    let package = expected.name.to_owned();
    let times = evidence.runs.get(expected.name).copied().unwrap_or(0);
    let lives = evidence.lives.iter();
    let acted = lives.filter(|life| life.acted.as_deref() == Some(expected.name));
    let killed = acted.count();
    let (least, most) = match expected.program {
        ProgramRuns::None => (0, 0),
        ProgramRuns::Once if killed > 0 => (0, 1),
        ProgramRuns::Once => (1, 1),
        ProgramRuns::Repeatable => (1, 1 + killed),
    };
    if times > most {
        return Some(Fault::RanAgain { package, times });
    }
    let of_package = |(name, ..): &&(String, u32, ResultCode)| *name == package;
    let results: Vec<_> = evidence.results.iter().filter(of_package).collect();
    let [(_, attempt, code)] = results[..] else {
        return Some(match results.len() {
            0 => Fault::ReportLost { package },
            many => Fault::WrongResult {
                package,
                result: format!("{many} results"),
            },
        });
    };
    let interrupted = expected.program == ProgramRuns::Once && killed > 0;
    let right = if interrupted {
        *code == NamedCode::Interrupted.into()
    } else {
        code.to_string() == expected.code
    };
    let wrong = *attempt != 1 || !right || times < least;
    wrong.then(|| Fault::WrongResult {
        package,
        result: format!(
            "{code} of attempt {attempt}, run {times} times, killed {killed} times while it acted"
        ),
    })
}

/// Counts the runs of each package in the record of its programs, and finds the programs that did
/// not end before the next began.
pub(super) fn runs(record: &str) -> (BTreeMap<String, usize>, Vec<String>) {
    let (mut runs, mut overlaps) = (BTreeMap::new(), Vec::new());
    let mut running: Option<&str> = None;
    for line in record.lines() {
        match line.split_once(' ') {
            Some(("begin", package)) => {
                *runs.entry(package.to_owned()).or_default() += 1;
                overlaps.extend(running.replace(package).map(str::to_owned));
            }
            Some(("end", package)) if running == Some(package) => running = None,
            _ => {}
        }
    }
    overlaps.extend(running.map(str::to_owned));
    (runs, overlaps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_beside_each_other_are_found() {
        let check = |record: &[&str], expected_runs: &[usize], expected: &[&str]| {
            let (runs, overlaps) = runs(&record.join("\n"));
            assert_eq!(runs.into_values().collect::<Vec<_>>(), expected_runs);
            assert_eq!(overlaps, expected);
        };
        check(&["begin a", "end a", "begin a", "end a"], &[2], &[]);
        check(&["begin a", "begin a", "end a", "end a"], &[2], &["a"]);
        check(&["begin a", "begin b", "end b", "end a"], &[1, 1], &["a"]);
        check(&["begin a"], &[1], &["a"]);
    }

    const EXPECTED: [ExpectedPackage; 2] = [
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

    fn fragment(number: u32) -> Fragment {
        ("tool".to_owned(), number)
    }

    /// The final state of a device whose agent was killed once, before it acted on a package.
    fn good() -> DeviceEvidence {
        let result = |name: &str| (name.to_owned(), 1, ResultCode::Exited(0));
        DeviceEvidence {
            runs: ["tool", "again"].map(|name| (name.to_owned(), 1)).into(),
            overlaps: Vec::new(),
            results: vec![result("tool"), result("again")],
            lives: vec![
                Life {
                    asked: [(fragment(1), 1), (fragment(2), 1)].into(),
                    verified: [fragment(2)].into(),
                    acted: None,
                },
                Life {
                    asked: [(fragment(1), 1)].into(),
                    verified: [fragment(1), fragment(2)].into(),
                    acted: None,
                },
            ],
            stored: true,
            left: BTreeSet::from(["state".to_owned()]),
            open: 0,
            failed: None,
        }
    }

    fn check(change: fn(&mut DeviceEvidence), expected: &str) {
        let (mut evidence, left) = (good(), good().left);
        change(&mut evidence);
        let faults = judge(&evidence, &EXPECTED, &left);
        let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(texts.join("; "), expected);
    }

    fn ran(evidence: &mut DeviceEvidence, package: &str, times: usize) {
        evidence.runs.insert(package.to_owned(), times);
    }

    fn killed_while_acting(evidence: &mut DeviceEvidence, package: &str) {
        evidence.lives[0].acted = Some(package.to_owned());
    }

    #[test]
    fn each_fault_has_a_message() {
        check(|_| {}, "");
        check(|e| e.results.truncate(1), "again has no result");
        check(|e| e.results.push(e.results[0].clone()), "tool: 2 results");
        check(
            |e| e.results[0].1 = 2,
            "tool: SUCCESS_0 of attempt 2, run 1 times, killed 0 times while it acted",
        );
        check(
            |e| e.failed = Some("stuck".to_owned()),
            "the agent failed: stuck",
        );
        check(|e| e.open = 1, "1 tasks are open");
        check(
            |e| e.overlaps.push("tool".to_owned()),
            "another program ran beside tool",
        );
        check(
            |e| e.stored = false,
            "the stored files differ from the archive",
        );
        check(|e| e.left.clear(), "state is missing");
        check(
            |e| e.left.extend(["state/pass.new".to_owned()]),
            "state/pass.new is left behind",
        );
    }

    #[test]
    fn a_program_runs_once_and_has_its_own_result() {
        check(|e| ran(e, "tool", 2), "tool ran 2 times");
        check(|e| ran(e, "again", 2), "again ran 2 times");
        check(
            |e| ran(e, "tool", 0),
            "tool: SUCCESS_0 of attempt 1, run 0 times, killed 0 times while it acted",
        );
        check(
            |e| e.results[0].2 = NamedCode::Interrupted.into(),
            "tool: ERR_INTERRUPTED of attempt 1, run 1 times, killed 0 times while it acted",
        );
    }

    #[test]
    fn a_program_is_interrupted_only_if_the_agent_was_killed_while_it_acted() {
        let interrupted = |e: &mut DeviceEvidence, times| {
            killed_while_acting(e, "tool");
            e.results[0].2 = NamedCode::Interrupted.into();
            ran(e, "tool", times);
        };
        for times in [0, 1] {
            let mut evidence = good();
            interrupted(&mut evidence, times);
            assert_eq!(judge(&evidence, &EXPECTED, &good().left), [], "{times}");
        }
        let mut evidence = good();
        interrupted(&mut evidence, 2);
        let twice = Fault::RanAgain {
            package: "tool".to_owned(),
            times: 2,
        };
        assert_eq!(judge(&evidence, &EXPECTED, &good().left), [twice]);
        check(
            |e| killed_while_acting(e, "tool"),
            "tool: SUCCESS_0 of attempt 1, run 1 times, killed 1 times while it acted",
        );
        check(
            |e| {
                killed_while_acting(e, "again");
                e.results[1].2 = NamedCode::Interrupted.into();
            },
            "again: ERR_INTERRUPTED of attempt 1, run 1 times, killed 1 times while it acted",
        );
    }

    #[test]
    fn a_repeatable_program_runs_once_more_for_each_kill_while_it_acted() {
        check(
            |e| {
                killed_while_acting(e, "again");
                ran(e, "again", 2);
            },
            "",
        );
        check(
            |e| {
                killed_while_acting(e, "again");
                ran(e, "again", 3);
            },
            "again ran 3 times",
        );
        check(
            |e| {
                killed_while_acting(e, "again");
                ran(e, "again", 0);
            },
            "again: SUCCESS_0 of attempt 1, run 0 times, killed 1 times while it acted",
        );
    }

    #[test]
    fn a_verified_fragment_must_not_be_requested_again() {
        check(
            |e| e.lives[1].asked.extend([(fragment(2), 1)]),
            "fragment 2 of tool was fetched again",
        );
        check(
            |e| e.lives[1].asked.extend([(fragment(1), 2)]),
            "fragment 1 of tool was fetched again",
        );
        check(
            |e| e.lives[0].asked.extend([(fragment(2), 2)]),
            "fragment 2 of tool was fetched again",
        );
        // The edge logged the request late.
        check(
            |e| {
                e.lives[0].asked.remove(&fragment(1));
                e.lives[1].asked.extend([(fragment(1), 2)]);
            },
            "",
        );
    }
}
