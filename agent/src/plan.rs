//! What to do with the tasks of a check-in, and in which order.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::api::{Cancel, Task};
use packcast_protocol::result::NamedCode;
use packcast_protocol::{Outcome, PackageId, UnixTime};

use crate::cancel::cancel;
use crate::history::History;
use crate::journal::{Finished, Found, Journal};

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Deploy(Task),
    /// The attempt has a result without anything being done.
    Conclude(Finished),
}

/// Decides on what a device was told, in the order in which to work: what is called off, then
/// the tasks, priority 0 first, then by id.
///
/// Nothing is done twice: an attempt that has a result has that result, and a package that
/// succeeded in an earlier attempt is set up already, unless the task forces it.
pub(crate) fn plan(
    mut tasks: Vec<Task>,
    cancels: &[Cancel],
    history: &History,
    journals: &BTreeMap<PackageId, Found>,
    now: UnixTime,
) -> Vec<Work> {
    tasks.sort_by_key(|task| (task.priority, task.id));
    let mut seen = BTreeSet::new();
    tasks.retain(|task| !is_called_off(task, cancels) && seen.insert(task.id));
    // A package that is told and called off at once has a later attempt, which is what counts.
    let cancels = cancels.iter().filter(|cancel| seen.insert(cancel.id));
    let results = cancels
        .filter_map(|called_off| cancel(*called_off, history, journals.get(&called_off.id), now));
    let mut work: Vec<Work> = results.map(Work::Conclude).collect();
    let tasks = tasks.into_iter();
    work.extend(tasks.map(|task| decide(task, history, journals, now)));
    work
}

/// Whether a task, or a later attempt at its package, is among those that are called off.
pub(crate) fn is_called_off(task: &Task, cancels: &[Cancel]) -> bool {
    cancels
        .iter()
        .any(|cancel| cancel.id == task.id && cancel.attempt >= task.attempt)
}

fn decide(
    task: Task,
    history: &History,
    journals: &BTreeMap<PackageId, Found>,
    now: UnixTime,
) -> Work {
    if let Some(finished) = history.attempt(task.id, task.attempt) {
        return Work::Conclude(finished.clone());
    }
    let mut succeeded = history.succeeded(task.id);
    match journals.get(&task.id) {
        Some(Found::Unreadable { path }) => {
            let reason = format!(
                "journal {} does not read, so what was done is not known",
                path.display()
            );
            return concluded(&task, NamedCode::Interrupted, &reason, now);
        }
        Some(Found::Read(Journal::Finished(finished))) => {
            if finished.report.attempt == task.attempt {
                return Work::Conclude(finished.clone());
            }
            succeeded |= finished.outcome == Outcome::Succeeded;
        }
        Some(Found::Read(Journal::Acting {
            may_repeat: false, ..
        })) => {
            let reason = "the agent stopped while it acted on the package";
            return concluded(&task, NamedCode::Interrupted, reason, now);
        }
        Some(Found::Read(Journal::Fetching(_) | Journal::Acting { .. })) | None => {}
    }
    if succeeded && !task.force {
        let reason = "an earlier attempt succeeded";
        return concluded(&task, NamedCode::AlreadySetup, reason, now);
    }
    Work::Deploy(task)
}

fn concluded(task: &Task, code: NamedCode, reason: &str, now: UnixTime) -> Work {
    Work::Conclude(Finished::concluded(
        task.id,
        task.attempt,
        code,
        reason,
        now,
    ))
}

#[cfg(test)]
mod tests {
    use packcast_protocol::api::Report;
    use packcast_protocol::{Priority, ResultCode, Sha256Digest};

    use super::*;
    use crate::journal::{Fetching, Named};

    const NOW: UnixTime = UnixTime(1_795_000_900);

    fn id(n: u32) -> PackageId {
        PackageId::try_from(1_795_000_000 + n).unwrap()
    }

    fn task(n: u32, attempt: u32, priority: u8) -> Task {
        Task {
            id: id(n),
            attempt,
            priority: Priority::try_from(priority).unwrap(),
            locations: Vec::new(),
            manifest_sha256: Sha256Digest::of(b""),
            force: false,
        }
    }

    fn finished(n: u32, attempt: u32, code: i32) -> Finished {
        Finished {
            report: Report {
                id: id(n),
                attempt,
                code: ResultCode::Exited(code),
                detail: None,
                output_tail: None,
                finished: UnixTime(1),
            },
            outcome: if code == 0 {
                Outcome::Succeeded
            } else {
                Outcome::Failed
            },
            package: None,
        }
    }

    fn acting(may_repeat: bool) -> Found {
        Found::Read(Journal::Acting {
            attempt: 1,
            package: Named {
                name: "x".parse().unwrap(),
                version: "1".parse().unwrap(),
            },
            may_repeat,
        })
    }

    #[test]
    fn priority_0_comes_first_then_the_lower_id() {
        let tasks = vec![
            task(4, 1, 10),
            task(3, 1, 5),
            task(2, 1, 0),
            task(1, 1, 5),
            task(2, 1, 0),
        ];
        let order: Vec<PackageId> = plan(tasks, &[], &History::default(), &BTreeMap::new(), NOW)
            .into_iter()
            .map(|work| match work {
                Work::Deploy(task) => task.id,
                Work::Conclude(_) => panic!("nothing is finished"),
            })
            .collect();
        assert_eq!(order, [id(2), id(1), id(3), id(4)]);
    }

    #[test]
    fn what_is_called_off_comes_first_and_is_not_deployed() {
        let planned = |tasks, cancels: &[(u32, u32)]| -> Vec<String> {
            let cancels: Vec<Cancel> = cancels
                .iter()
                .map(|(n, attempt)| Cancel {
                    id: id(*n),
                    attempt: *attempt,
                })
                .collect();
            let work = plan(tasks, &cancels, &History::default(), &BTreeMap::new(), NOW);
            work.iter()
                .map(|work| match work {
                    Work::Deploy(task) => format!("{}.{}", task.id.get() % 10, task.attempt),
                    Work::Conclude(finished) => finished.report.code.to_string(),
                })
                .collect()
        };
        let tasks = || vec![task(1, 2, 0), task(2, 1, 5)];
        assert_eq!(planned(tasks(), &[(3, 1)]), ["CANCELLED", "1.2", "2.1"]);
        assert_eq!(planned(tasks(), &[(2, 1), (2, 1)]), ["CANCELLED", "1.2"]);
        assert_eq!(
            planned(tasks(), &[(1, 1)]),
            ["1.2", "2.1"],
            "another attempt"
        );
    }

    /// What is known of package 1, and what a task for it leads to.
    struct Case {
        history: &'static [(u32, i32)],
        journal: Option<Found>,
        attempt: u32,
        force: bool,
        expected: &'static str,
    }

    #[test]
    fn nothing_is_done_twice() {
        let done = |attempt, code| Some(Found::Read(Journal::Finished(finished(1, attempt, code))));
        let fetching = Some(Found::Read(Journal::Fetching(Fetching {
            attempt: 1,
            since: None,
            interrupted: false,
        })));
        let torn = Some(Found::Unreadable {
            path: "journal.json".into(),
        });
        let case = |history, journal, attempt, force, expected| Case {
            history,
            journal,
            attempt,
            force,
            expected,
        };
        let cases = [
            case(&[], None, 1, false, "deploy"),
            case(&[], fetching, 1, false, "deploy"),
            case(&[(1, 0)], None, 1, false, "SUCCESS_0"),
            case(&[(1, 0)], None, 1, true, "SUCCESS_0"),
            case(&[(1, 0)], None, 2, false, "SUCCESS_ALREADY_SETUP"),
            case(&[(1, 0)], None, 2, true, "deploy"),
            case(&[(1, 3)], None, 1, false, "SUCCESS_3"),
            case(&[(1, 3)], None, 2, false, "deploy"),
            case(&[], done(1, 0), 1, true, "SUCCESS_0"),
            case(&[], done(1, 0), 2, false, "SUCCESS_ALREADY_SETUP"),
            case(&[], done(1, 0), 2, true, "deploy"),
            case(&[], done(1, 3), 2, false, "deploy"),
            case(&[], Some(acting(false)), 1, true, "ERR_INTERRUPTED"),
            case(&[], Some(acting(true)), 1, false, "deploy"),
            case(&[], torn.clone(), 1, true, "ERR_INTERRUPTED"),
            case(&[(1, 0)], torn, 1, false, "SUCCESS_0"),
        ];
        for (n, case) in cases.into_iter().enumerate() {
            let mut history = History::default();
            for (attempt, code) in case.history {
                history.insert(finished(1, *attempt, *code));
            }
            let journals = case
                .journal
                .into_iter()
                .map(|found| (id(1), found))
                .collect();
            let mut task = task(1, case.attempt, 5);
            task.force = case.force;
            let got = match &plan(vec![task], &[], &history, &journals, NOW)[..] {
                [Work::Deploy(_)] => "deploy".to_owned(),
                [Work::Conclude(finished)] => {
                    assert_eq!(finished.report.attempt, case.attempt, "case {n}");
                    finished.report.code.to_string()
                }
                other => panic!("case {n}: {other:?}"),
            };
            assert_eq!(got, case.expected, "case {n}");
        }
    }
}
