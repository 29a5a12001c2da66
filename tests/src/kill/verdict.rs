//! What must hold of a device, wherever its agent was killed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use packcast_protocol::ResultCode;
use packcast_protocol::result::NamedCode;

/// A fragment of a package: the package's name, and the fragment's number.
pub(super) type Fragment = (String, u32);

/// What is to become of a package.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    pub(super) name: &'static str,
    pub(super) code: &'static str,
    /// Whether it runs a program, which must not be run a second time.
    pub(super) runs: bool,
}

/// What became of a device.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence {
    /// How often the program of each package has run.
    pub(super) runs: BTreeMap<String, usize>,
    /// The results on record: package, attempt, and code.
    pub(super) results: Vec<(String, u32, ResultCode)>,
    /// How many tasks are open still.
    pub(super) open: usize,
    /// How often each fragment was asked for.
    pub(super) fetched: BTreeMap<Fragment, usize>,
    /// The fragments that were on disk under their final names at some time before the kill.
    pub(super) verified: BTreeSet<Fragment>,
    /// Why an agent that nobody killed did not come to its end.
    pub(super) failed: Option<String>,
    /// Whether the stored files are those of the archive.
    pub(super) stored: bool,
    /// The files and folders that the device has now.
    pub(super) left: BTreeSet<String>,
}

/// Something that must not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    RanAgain { package: String, times: usize },
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
            Self::ReportLost { package } => write!(f, "{package} has no result"),
            Self::WrongResult { package, result } => write!(f, "{package}: {result}"),
            Self::FetchedAgain { package, fragment } => {
                write!(f, "fragment {fragment} of {package} was fetched again")
            }
            Self::TasksLeft { count } => write!(f, "{count} tasks are open"),
            Self::Failed { why } => write!(f, "the agent failed: {why}"),
            Self::NotStored => write!(f, "the stored files are not the archive's"),
            Self::LeftBehind { path } => write!(f, "{path} is left behind"),
            Self::Missing { path } => write!(f, "{path} is missing"),
        }
    }
}

/// Compares what became of a device with what was to become of it, and with what is left on a
/// device whose agent nobody killed.
pub(super) fn judge(
    evidence: &Evidence,
    expected: &[Expected],
    left: &BTreeSet<String>,
) -> Vec<Fault> {
    let failed = evidence.failed.clone().into_iter();
    let mut faults: Vec<Fault> = failed.map(|why| Fault::Failed { why }).collect();
    for package in expected {
        faults.extend(of_package(evidence, *package));
    }
    let again = evidence.fetched.iter();
    faults.extend(
        again
            .filter(|(fragment, times)| **times > 1 && evidence.verified.contains(fragment))
            .map(|((package, fragment), _)| Fault::FetchedAgain {
                package: package.clone(),
                fragment: *fragment,
            }),
    );
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

/// A program ran once, or it is reported as interrupted and ran at most once.
fn of_package(evidence: &Evidence, expected: Expected) -> Option<Fault> {
    let package = expected.name.to_owned();
    let times = evidence.runs.get(expected.name).copied().unwrap_or(0);
    if times > 1 {
        return Some(Fault::RanAgain { package, times });
    }
    let mut results = evidence.results.iter();
    let Some((_, attempt, code)) = results.find(|(name, ..)| *name == package) else {
        return Some(Fault::ReportLost { package });
    };
    let interrupted = expected.runs && *code == NamedCode::Interrupted.into();
    let done = code.to_string() == expected.code && times == usize::from(expected.runs);
    (*attempt != 1 || !(done || interrupted)).then(|| Fault::WrongResult {
        package,
        result: format!("{code} of attempt {attempt}, run {times} times"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPECTED: [Expected; 1] = [Expected {
        name: "tool",
        code: "SUCCESS_0",
        runs: true,
    }];

    fn good() -> Evidence {
        Evidence {
            runs: BTreeMap::from([("tool".to_owned(), 1)]),
            results: vec![("tool".to_owned(), 1, ResultCode::Exited(0))],
            fetched: BTreeMap::from([(("tool".to_owned(), 1), 2), (("tool".to_owned(), 2), 1)]),
            verified: BTreeSet::from([("tool".to_owned(), 2)]),
            stored: true,
            left: BTreeSet::from(["state".to_owned()]),
            open: 0,
            failed: None,
        }
    }

    #[test]
    fn each_fault_is_told() {
        let check = |change: fn(&mut Evidence), expected: &str| {
            let (mut evidence, left) = (good(), good().left);
            change(&mut evidence);
            let faults = judge(&evidence, &EXPECTED, &left);
            let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
            assert_eq!(told.join("; "), expected);
        };
        check(|_| {}, "");
        check(|e| e.results[0].2 = NamedCode::Interrupted.into(), "");
        check(
            |e| e.runs.clear(),
            "tool: SUCCESS_0 of attempt 1, run 0 times",
        );
        check(
            |e| {
                e.runs.clear();
                e.results[0].2 = NamedCode::Interrupted.into();
            },
            "",
        );
        check(|e| *e.runs.get_mut("tool").unwrap() = 2, "tool ran 2 times");
        check(|e| e.results.clear(), "tool has no result");
        check(
            |e| e.results[0].1 = 2,
            "tool: SUCCESS_0 of attempt 2, run 1 times",
        );
        check(
            |e| e.verified.extend([("tool".to_owned(), 1)]),
            "fragment 1 of tool was fetched again",
        );
        check(
            |e| e.failed = Some("stuck".to_owned()),
            "the agent failed: stuck",
        );
        check(|e| e.open = 1, "1 tasks are open");
        check(
            |e| e.stored = false,
            "the stored files are not the archive's",
        );
        check(|e| e.left.clear(), "state is missing");
        check(
            |e| e.left.extend(["state/pass.new".to_owned()]),
            "state/pass.new is left behind",
        );
    }
}
