//! Decisions on a package without work under way.

use std::collections::BTreeSet;

use packcast_protocol::api::{Cancel, Task};
use packcast_protocol::result::NamedCode;
use packcast_protocol::{PackageId, UnixTime};

use super::machine::{Decision, DeploymentAttempt, ProgramFate};
use crate::state::history::PastResults;
use crate::state::journal::{Acting, Fetching, Finished, Journal, StoredJournal};
use crate::trust::mandates::{Authorised, Mandate, Mandates};

/// Decides on a task that the function announced.
///
/// Nothing is done twice. An attempt with a result keeps it. After a success in an earlier attempt,
/// the package is already set up, unless the task forces it and the publisher has signed that. The
/// device acts only on packages that the publisher has assigned, once for each assignment.
pub(super) fn on_announced(
    task: Task,
    mandates: &Mandates,
    past: &PastResults,
    found: Option<&StoredJournal>,
    now: UnixTime,
) -> Decision {
    if let Some(finished) = past.attempt(task.attempt) {
        return Decision::Conclude(finished.clone());
    }
    let mut past = past.clone();
    match found {
        // The journal does not show its attempt either, so the announced attempt gets the result.
        Some(StoredJournal::Unreadable { path }) => {
            let reason = format!(
                "cannot read journal {}: it is unknown if the package was deployed",
                path.display()
            );
            let finished = interrupted_by_damage(task.id, task.attempt, mandates, &reason, now);
            return Decision::Conclude(finished);
        }
        Some(StoredJournal::Read(Journal::Finished(finished))) => {
            if finished.report.attempt == task.attempt {
                return Decision::Conclude(finished.clone());
            }
            past.insert(finished.clone());
        }
        Some(StoredJournal::Read(Journal::Acting(acting))) if !acting.is_repeated() => {
            let program = ProgramFate::Unseen;
            let finished = interrupted_by_stop(task.id, acting.clone(), program, now);
            return Decision::Conclude(finished);
        }
        Some(StoredJournal::Read(Journal::Fetching(_) | Journal::Acting(_))) | None => {}
    }
    if past.is_barred() {
        let reason = "records of this device's history are lost: it is unknown if the package was deployed, so assign it again";
        let finished = interrupted_by_damage(task.id, task.attempt, mandates, reason, now);
        return Decision::Conclude(finished);
    }
    let fetching = Fetching::begin(task.attempt, found, now);
    match authorise(&task, mandates, &past, &fetching, now) {
        Ok(by) => Decision::Begin(DeploymentAttempt::new(task, by, fetching)),
        Err(finished) => Decision::Conclude(*finished),
    }
}

/// Decides if the device acts on an attempt, and returns the assignments that acting uses up.
///
/// The decision is made when the attempt begins, and again directly before the device acts.
///
/// # Errors
/// The device does not act on the attempt; the error is its result.
pub(super) fn authorise(
    task: &Task,
    mandates: &Mandates,
    past: &PastResults,
    fetching: &Fetching,
    now: UnixTime,
) -> Result<BTreeSet<Mandate>, Box<Finished>> {
    let concluded = |code, reason: &str| {
        let Task { id, attempt, .. } = *task;
        Box::new(Finished::concluded(id, attempt, code, reason, now))
    };
    // An interrupted action is repeated under the assignments that it has used up already.
    let authorised = mandates.authorise(&past.acted_on(), task.manifest_sha256);
    let forced = task.force && authorised.as_ref().is_ok_and(|given| given.force);
    if past.succeeded() && !forced {
        let reason = "an earlier attempt succeeded";
        return Err(concluded(NamedCode::AlreadySetup, reason));
    }
    match (authorised, &fetching.interrupted) {
        (Ok(Authorised { by, .. }), _) => Ok(by),
        (Err(refusal), Some(acting)) => {
            let then = format!("and the action is not repeated: {refusal}");
            Err(Box::new(stopped(task.id, acting.clone(), &then, now)))
        }
        (Err(refusal), None) => Err(concluded(refusal.code(), &refusal.to_string())),
    }
}

/// Decides the result of a cancelled attempt.
///
/// An attempt with a result keeps it. An attempt that this device never saw is cancelled like any
/// other, so that its record ends. Returns `None` while the device acts on the package, or if the
/// package has a later attempt.
pub(super) fn on_cancelled(
    cancel: Cancel,
    mandates: &Mandates,
    past: &PastResults,
    found: Option<&StoredJournal>,
    now: UnixTime,
) -> Option<Finished> {
    let Cancel { id, attempt } = cancel;
    let concluded = |code, reason| Some(Finished::concluded(id, attempt, code, reason, now));
    if let Some(finished) = past.attempt(attempt) {
        return Some(finished.clone());
    }
    match found {
        Some(StoredJournal::Unreadable { path }) => {
            let reason = format!(
                "cancelled, but cannot read journal {}: it is unknown if the package was deployed",
                path.display()
            );
            Some(interrupted_by_damage(id, attempt, mandates, &reason, now))
        }
        Some(StoredJournal::Read(journal)) if journal.attempt() > attempt => None,
        Some(StoredJournal::Read(Journal::Acting(_))) => None,
        Some(StoredJournal::Read(Journal::Finished(finished)))
            if finished.report.attempt == attempt =>
        {
            Some(finished.clone())
        }
        Some(StoredJournal::Read(Journal::Fetching(Fetching {
            attempt: begun,
            interrupted: Some(acting),
            ..
        }))) if *begun == attempt => {
            let then = "and the attempt was cancelled before it was repeated";
            Some(stopped(id, acting.clone(), then, now))
        }
        Some(StoredJournal::Read(Journal::Fetching(_) | Journal::Finished(_))) | None
            if past.is_barred() =>
        {
            let reason = "cancelled, but records of this device's history are lost: it is unknown if the package was deployed";
            Some(interrupted_by_damage(id, attempt, mandates, reason, now))
        }
        Some(StoredJournal::Read(Journal::Fetching(_) | Journal::Finished(_))) | None => {
            concluded(NamedCode::Cancelled, "cancelled before it was deployed")
        }
    }
}

/// Returns the result of an attempt whose journal or history is damaged.
///
/// The agent may have acted under any assignment of the package, so all of them count as used up.
fn interrupted_by_damage(
    id: PackageId,
    attempt: u32,
    mandates: &Mandates,
    reason: &str,
    now: UnixTime,
) -> Finished {
    Finished {
        acted: true,
        by: mandates.all(),
        ..Finished::concluded(id, attempt, NamedCode::Interrupted, reason, now)
    }
}

/// Returns the result of an attempt that was interrupted while the agent acted, and that may not be
/// repeated.
pub(super) fn interrupted_by_stop(
    id: PackageId,
    acting: Acting,
    program: ProgramFate,
    now: UnixTime,
) -> Finished {
    let then = match program {
        ProgramFate::Unseen => "so it is unknown if the package was deployed",
        ProgramFate::EndedLater => {
            "and the exit code of the program, which ended later, is unknown"
        }
        ProgramFate::TimedOut => {
            "and the next agent ended the program, which ran longer than its time limit"
        }
    };
    stopped(id, acting, then, now)
}

fn stopped(id: PackageId, acting: Acting, then: &str, now: UnixTime) -> Finished {
    let reason = format!("the agent stopped while it acted on the package, {then}");
    Finished {
        package: Some(acting.package),
        acted: true,
        by: acting.by,
        ..Finished::concluded(id, acting.attempt, NamedCode::Interrupted, &reason, now)
    }
}

#[cfg(test)]
mod tests {
    use packcast_protocol::{Priority, Sha256Digest};

    use super::*;
    use crate::state::journal::{MAX_REPEATS, PackageLabel};

    const NOW: UnixTime = UnixTime(1_795_000_900);

    fn id() -> PackageId {
        PackageId::try_from(1_795_000_000).unwrap()
    }

    fn task(attempt: u32, force: bool) -> Task {
        Task {
            id: id(),
            attempt,
            priority: Priority::DEFAULT,
            locations: Vec::new(),
            manifest_sha256: Sha256Digest::of(b""),
            force,
            location_names: Vec::new(),
            folder: None,
        }
    }

    fn finished(attempt: u32, code: NamedCode) -> Finished {
        Finished::concluded(id(), attempt, code, "", NOW)
    }

    fn success(attempt: u32) -> Finished {
        finished(attempt, NamedCode::RebootRequired)
    }

    fn failure(attempt: u32) -> Finished {
        finished(attempt, NamedCode::Execute)
    }

    fn past(finished: &[Finished]) -> PastResults {
        let mut past = PastResults::default();
        finished.iter().cloned().for_each(|one| past.insert(one));
        past
    }

    fn acted(attempt: u32, may_repeat: bool) -> Acting {
        let package = PackageLabel {
            name: "x".parse().unwrap(),
            version: "1".parse().unwrap(),
        };
        Acting {
            attempt,
            package,
            may_repeat,
            repeats: 0,
            program: None,
            by: [Mandate::of_all(attempt.into())].into(),
        }
    }

    fn fetching(attempt: u32, interrupted: bool) -> StoredJournal {
        StoredJournal::Read(Journal::Fetching(Fetching {
            attempt,
            since: None,
            interrupted: interrupted.then(|| acted(attempt, true)),
        }))
    }

    fn acting(attempt: u32, may_repeat: bool) -> StoredJournal {
        StoredJournal::Read(Journal::Acting(acted(attempt, may_repeat)))
    }

    fn acting_again(repeats: u32) -> StoredJournal {
        StoredJournal::Read(Journal::Acting(Acting {
            repeats,
            ..acted(1, true)
        }))
    }

    fn done(finished: Finished) -> StoredJournal {
        StoredJournal::Read(Journal::Finished(finished))
    }

    fn damaged() -> StoredJournal {
        StoredJournal::Unreadable {
            path: "journal".into(),
        }
    }

    #[test]
    fn nothing_is_done_twice() {
        let check = |before: &[Finished],
                     found: Option<&StoredJournal>,
                     attempt: u32,
                     force,
                     expected: &str| {
            let mandates = Mandates::of_all(attempt.into(), force);
            let code =
                match on_announced(task(attempt, force), &mandates, &past(before), found, NOW) {
                    Decision::Begin(begun) => {
                        assert_eq!(begun.number(), attempt);
                        "begin".to_owned()
                    }
                    Decision::Conclude(finished) => {
                        assert_eq!(finished.report.attempt, attempt);
                        finished.report.code.to_string()
                    }
                };
            assert_eq!(code, expected, "{before:?} {found:?} {attempt} {force}");
        };
        let (was_set_up, failed) = ("SUCCESS_REBOOT_REQUIRED", "ERR_EXECUTE");
        let (already, interrupted) = ("SUCCESS_ALREADY_SETUP", "ERR_INTERRUPTED");
        check(&[], None, 1, false, "begin");
        check(&[], Some(&fetching(1, false)), 1, false, "begin");
        check(&[success(1)], None, 1, false, was_set_up);
        check(&[success(1)], None, 1, true, was_set_up);
        check(&[success(1)], None, 2, false, already);
        check(&[success(1)], None, 2, true, "begin");
        check(&[failure(1)], None, 1, false, failed);
        check(&[failure(1)], None, 2, false, "begin");
        check(&[], Some(&done(success(1))), 1, true, was_set_up);
        check(&[], Some(&done(success(1))), 2, false, already);
        check(&[], Some(&done(success(1))), 2, true, "begin");
        check(&[], Some(&done(failure(1))), 2, false, "begin");
        check(&[], Some(&acting(1, false)), 1, true, interrupted);
        check(&[], Some(&acting(1, true)), 1, false, "begin");
        let (last, ended) = (acting_again(MAX_REPEATS - 1), acting_again(MAX_REPEATS));
        check(&[], Some(&last), 1, false, "begin");
        check(&[], Some(&ended), 1, true, interrupted);
        check(&[], Some(&damaged()), 1, true, interrupted);
        check(&[success(1)], Some(&damaged()), 1, false, was_set_up);
    }

    /// Announces attempt 2 of a package under these signed assignments, and returns the decision.
    fn second(before: &[Finished], found: Option<&StoredJournal>, mandates: &Mandates) -> Decision {
        on_announced(task(2, true), mandates, &past(before), found, NOW)
    }

    #[test]
    fn each_assignment_is_acted_on_once_and_nothing_else_is() {
        let check =
            |before: &[Finished], found: Option<&StoredJournal>, mandates: &Mandates, expected| {
                let code = match second(before, found, mandates) {
                    Decision::Begin(_) => "begin".to_owned(),
                    Decision::Conclude(finished) => finished.report.code.to_string(),
                };
                assert_eq!(code, expected, "{before:?} {found:?} {mandates:?}");
            };
        let by = |seq, finished| Finished {
            by: [Mandate::of_all(seq)].into(),
            ..finished
        };
        let (not_assigned, already) = ("ERR_NOT_ASSIGNED", "SUCCESS_ALREADY_SETUP");
        let none = Mandates::default();
        let (one, forced) = (Mandates::of_all(1, false), Mandates::of_all(1, true));
        check(&[], None, &none, not_assigned);
        check(&[], None, &one, "begin");
        check(&[by(1, failure(1))], None, &one, not_assigned);
        check(&[], Some(&done(by(1, failure(1)))), &forced, not_assigned);
        check(&[], Some(&done(failure(1))), &one, "begin");
        check(&[by(3, failure(1))], None, &one, "begin");
        // An earlier success needs no assignment to be reported, and only signed force repeats it.
        check(&[by(1, success(1))], None, &none, already);
        check(&[by(3, success(1))], None, &one, already);
        check(&[by(3, success(1))], None, &forced, "begin");
        check(&[by(1, success(1))], None, &forced, already);
        // Interrupted, and allowed to repeat.
        check(&[], Some(&fetching(2, true)), &one, "begin");
        check(&[], Some(&fetching(2, true)), &none, "ERR_INTERRUPTED");
        check(&[], Some(&fetching(2, false)), &none, not_assigned);
    }

    #[test]
    fn a_damaged_journal_uses_up_every_assignment() {
        let Decision::Conclude(finished) =
            second(&[], Some(&damaged()), &Mandates::of_all(7, false))
        else {
            panic!("a damaged journal must not begin an attempt");
        };
        assert_eq!(finished.by, [Mandate::of_all(7)].into());
        let cancel = Cancel {
            id: id(),
            attempt: 2,
        };
        let mandates = Mandates::of_all(7, false);
        let finished = on_cancelled(cancel, &mandates, &past(&[]), Some(&damaged()), NOW);
        assert_eq!(finished.unwrap().by, [Mandate::of_all(7)].into());
    }

    #[test]
    fn an_interrupted_attempt_has_used_up_its_assignments() {
        let by = BTreeSet::from([Mandate::of_all(2)]);
        let found = [
            acting(2, false),
            fetching(2, true), // no longer assigned
        ];
        for found in found {
            let Decision::Conclude(finished) = second(&[], Some(&found), &Mandates::default())
            else {
                panic!("the attempt must not begin again");
            };
            assert_eq!((finished.acted, finished.by), (true, by.clone()));
        }
        let cancel = Cancel {
            id: id(),
            attempt: 2,
        };
        let interrupted = fetching(2, true);
        let none = Mandates::default();
        let finished = on_cancelled(cancel, &none, &past(&[]), Some(&interrupted), NOW);
        assert_eq!(finished.unwrap().by, by);
    }

    /// Checks the result of cancelling attempt 2, given the journal on disk.
    fn check_cancelled(before: &[Finished], found: Option<&StoredJournal>, expected: Option<&str>) {
        let cancel = Cancel {
            id: id(),
            attempt: 2,
        };
        let result = on_cancelled(
            cancel,
            &Mandates::of_all(7, false),
            &past(before),
            found,
            NOW,
        );
        let code = result.as_ref().map(|result| result.report.code.to_string());
        assert_eq!(code.as_deref(), expected, "{before:?} {found:?}");
        assert!(result.is_none_or(|result| result.report.attempt == 2));
    }

    #[test]
    fn an_attempt_without_an_action_is_cancelled() {
        let cancelled = Some("CANCELLED");
        check_cancelled(&[], None, cancelled);
        check_cancelled(&[failure(1), failure(3)], None, cancelled);
        check_cancelled(&[], Some(&fetching(2, false)), cancelled);
        check_cancelled(&[], Some(&fetching(1, true)), cancelled);
        check_cancelled(&[], Some(&done(failure(1))), cancelled);
    }

    #[test]
    fn an_attempt_with_an_action_keeps_its_result() {
        check_cancelled(&[failure(2)], None, Some("ERR_EXECUTE"));
        check_cancelled(&[], Some(&done(failure(2))), Some("ERR_EXECUTE"));
        check_cancelled(&[], Some(&fetching(2, true)), Some("ERR_INTERRUPTED"));
        check_cancelled(&[], Some(&acting(2, true)), None);
    }

    #[test]
    fn a_later_attempt_goes_on() {
        check_cancelled(&[], Some(&fetching(3, false)), None);
        check_cancelled(&[], Some(&acting(3, true)), None);
        check_cancelled(&[], Some(&done(failure(3))), None);
    }

    #[test]
    fn an_interrupted_result_states_the_end_of_the_program() {
        let fates = [
            ProgramFate::Unseen,
            ProgramFate::EndedLater,
            ProgramFate::TimedOut,
        ];
        let details = fates.map(|fate| {
            let finished = interrupted_by_stop(id(), acted(2, false), fate, NOW);
            assert_eq!(finished.report.code, NamedCode::Interrupted.into());
            finished.report.detail.unwrap().to_string()
        });
        insta::assert_snapshot!(details.join("\n"), @r"
        the agent stopped while it acted on the package, so it is unknown if the package was deployed
        the agent stopped while it acted on the package, and the exit code of the program, which ended later, is unknown
        the agent stopped while it acted on the package, and the next agent ended the program, which ran longer than its time limit
        ");
    }

    #[test]
    fn a_package_whose_records_are_lost_does_not_begin() {
        let mandates = Mandates::of_all(7, false);
        let check = |found: Option<StoredJournal>, expected: Option<&str>| {
            let announced = on_announced(
                task(2, true),
                &mandates,
                &PastResults::barred(),
                found.as_ref(),
                NOW,
            );
            let code = match announced {
                Decision::Begin(_) => None,
                Decision::Conclude(finished) => {
                    let interrupted = finished.report.code == NamedCode::Interrupted.into();
                    assert_eq!(finished.acted && finished.by == mandates.all(), interrupted);
                    Some(finished.report.code.to_string())
                }
            };
            assert_eq!(code.as_deref(), expected, "{found:?}");
        };
        let interrupted = Some("ERR_INTERRUPTED");
        check(None, interrupted);
        check(Some(fetching(2, false)), interrupted);
        check(Some(done(failure(1))), interrupted);
        // The journal has the result of the attempt.
        check(Some(done(failure(2))), Some("ERR_EXECUTE"));
        let cancel = Cancel {
            id: id(),
            attempt: 2,
        };
        let cancelled = on_cancelled(cancel, &mandates, &PastResults::barred(), None, NOW);
        let cancelled = cancelled.unwrap();
        assert_eq!(cancelled.report.code, NamedCode::Interrupted.into());
        assert_eq!(cancelled.by, mandates.all());
    }

    #[test]
    fn an_attempt_with_a_damaged_journal_counts_as_interrupted() {
        check_cancelled(&[], Some(&damaged()), Some("ERR_INTERRUPTED"));
    }
}
