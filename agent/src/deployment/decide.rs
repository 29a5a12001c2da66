//! What to do about a package that nothing is being done about.

use std::collections::BTreeSet;

use packcast_protocol::api::{Cancel, Task};
use packcast_protocol::result::NamedCode;
use packcast_protocol::{PackageId, UnixTime};

use super::machine::{Attempt, Decision};
use crate::state::history::Past;
use crate::state::journal::{Acting, Fetching, Finished, Found, Journal};
use crate::trust::mandates::{Authorised, Mandate, Mandates};

/// Decides on an attempt that the device was told of.
///
/// Nothing is done twice: an attempt that has a result has that result, and a package that
/// succeeded in an earlier attempt is set up already, unless the task forces it and the
/// publisher means it. Nothing else is done than what the publisher has assigned, and that once.
pub(super) fn told(
    task: Task,
    mandates: &Mandates,
    past: &Past,
    found: Option<&Found>,
    now: UnixTime,
) -> Decision {
    if let Some(finished) = past.attempt(task.attempt) {
        return Decision::Conclude(finished.clone());
    }
    let mut past = past.clone();
    match found {
        // Which attempt it was of is not known either: this one takes the blame.
        Some(Found::Unreadable { path }) => {
            let reason = format!(
                "journal {} does not read, so what was done is not known",
                path.display()
            );
            let finished = unknown(task.id, task.attempt, mandates, &reason, now);
            return Decision::Conclude(finished);
        }
        Some(Found::Read(Journal::Finished(finished))) => {
            if finished.report.attempt == task.attempt {
                return Decision::Conclude(finished.clone());
            }
            past.insert(finished.clone());
        }
        Some(Found::Read(Journal::Acting(acting))) if !acting.is_repeated() => {
            return Decision::Conclude(interrupted(task.id, acting.clone(), now));
        }
        Some(Found::Read(Journal::Fetching(_) | Journal::Acting(_))) | None => {}
    }
    let fetching = Fetching::begin(task.attempt, found, now);
    match wanted(&task, mandates, &past, &fetching, now) {
        Ok(by) => Decision::Begin(Attempt::new(task, by, fetching)),
        Err(finished) => Decision::Conclude(*finished),
    }
}

/// Decides whether an attempt is to be acted on, and returns the assignments that this uses up.
///
/// It is decided when the attempt begins, and again when nothing but acting is left to do.
///
/// # Errors
/// What the attempt ends with instead.
pub(super) fn wanted(
    task: &Task,
    mandates: &Mandates,
    past: &Past,
    fetching: &Fetching,
    now: UnixTime,
) -> Result<BTreeSet<Mandate>, Box<Finished>> {
    let concluded = |code, reason: &str| {
        let Task { id, attempt, .. } = *task;
        Box::new(Finished::concluded(id, attempt, code, reason, now))
    };
    // What was interrupted is repeated by the assignments that it was acted on by.
    let authorised = mandates.authorise(&past.acted_on(), task.manifest_sha256);
    let forced = task.force && authorised.as_ref().is_ok_and(|given| given.force);
    if past.succeeded() && !forced {
        let reason = "an earlier attempt succeeded";
        return Err(concluded(NamedCode::AlreadySetup, reason));
    }
    match (authorised, &fetching.interrupted) {
        (Ok(Authorised { by, .. }), _) => Ok(by),
        (Err(refusal), Some(acting)) => {
            let then = format!("which is not done again: {refusal}");
            Err(Box::new(stopped(task.id, acting.clone(), &then, now)))
        }
        (Err(refusal), None) => Err(concluded(refusal.code(), &refusal.to_string())),
    }
}

/// Decides the one result of an attempt that is not wanted any more; none for as long as the
/// package is being acted on, or has a later attempt.
///
/// An attempt that came to a result keeps it. One that this device never heard of is called
/// off like any other, so that the record of it comes to an end.
pub(super) fn called_off(
    cancel: Cancel,
    mandates: &Mandates,
    past: &Past,
    found: Option<&Found>,
    now: UnixTime,
) -> Option<Finished> {
    let Cancel { id, attempt } = cancel;
    let concluded = |code, reason| Some(Finished::concluded(id, attempt, code, reason, now));
    if let Some(finished) = past.attempt(attempt) {
        return Some(finished.clone());
    }
    match found {
        Some(Found::Unreadable { path }) => {
            let reason = format!(
                "called off, but journal {} does not read, so what was done is not known",
                path.display()
            );
            Some(unknown(id, attempt, mandates, &reason, now))
        }
        Some(Found::Read(journal)) if journal.attempt() > attempt => None,
        Some(Found::Read(Journal::Acting(_))) => None,
        Some(Found::Read(Journal::Finished(finished))) if finished.report.attempt == attempt => {
            Some(finished.clone())
        }
        Some(Found::Read(Journal::Fetching(Fetching {
            attempt: begun,
            interrupted: Some(acting),
            ..
        }))) if *begun == attempt => {
            let then = "which was called off before it was done again";
            Some(stopped(id, acting.clone(), then, now))
        }
        Some(Found::Read(Journal::Fetching(_) | Journal::Finished(_))) | None => {
            concluded(NamedCode::Cancelled, "called off before anything was done")
        }
    }
}

/// Returns the result of an attempt at a package whose journal does not read. Any assignment of
/// the package may have been acted on.
fn unknown(
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

/// Returns the result of an attempt that was being acted on when the agent stopped, and may not
/// be repeated.
pub(super) fn interrupted(id: PackageId, acting: Acting, now: UnixTime) -> Finished {
    stopped(id, acting, "so what was done is not known", now)
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
    use crate::state::journal::{MAX_REPEATS, Named};

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

    fn past(finished: &[Finished]) -> Past {
        let mut past = Past::default();
        finished.iter().cloned().for_each(|one| past.insert(one));
        past
    }

    fn acted(attempt: u32, may_repeat: bool) -> Acting {
        let package = Named {
            name: "x".parse().unwrap(),
            version: "1".parse().unwrap(),
        };
        Acting {
            attempt,
            package,
            may_repeat,
            repeats: 0,
            by: [Mandate::of_all(attempt.into())].into(),
        }
    }

    fn fetching(attempt: u32, interrupted: bool) -> Found {
        Found::Read(Journal::Fetching(Fetching {
            attempt,
            since: None,
            interrupted: interrupted.then(|| acted(attempt, true)),
        }))
    }

    fn acting(attempt: u32, may_repeat: bool) -> Found {
        Found::Read(Journal::Acting(acted(attempt, may_repeat)))
    }

    fn acting_again(repeats: u32) -> Found {
        Found::Read(Journal::Acting(Acting {
            repeats,
            ..acted(1, true)
        }))
    }

    fn done(finished: Finished) -> Found {
        Found::Read(Journal::Finished(finished))
    }

    fn torn() -> Found {
        Found::Unreadable {
            path: "journal".into(),
        }
    }

    #[test]
    fn nothing_is_done_twice() {
        let check =
            |before: &[Finished], found: Option<&Found>, attempt: u32, force, expected: &str| {
                let mandates = Mandates::of_all(attempt.into(), force);
                let code = match told(task(attempt, force), &mandates, &past(before), found, NOW) {
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
        check(&[], Some(&torn()), 1, true, interrupted);
        check(&[success(1)], Some(&torn()), 1, false, was_set_up);
    }

    /// Tells of attempt 2 at a package whose assignment of this number is signed, and returns
    /// what follows.
    fn second(before: &[Finished], found: Option<&Found>, mandates: &Mandates) -> Decision {
        told(task(2, true), mandates, &past(before), found, NOW)
    }

    #[test]
    fn nothing_is_done_but_what_is_assigned_and_that_once() {
        let check = |before: &[Finished], found: Option<&Found>, mandates: &Mandates, expected| {
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
        // What the device has needs no assignment to be said, and no force but a signed one.
        check(&[by(1, success(1))], None, &none, already);
        check(&[by(3, success(1))], None, &one, already);
        check(&[by(3, success(1))], None, &forced, "begin");
        check(&[by(1, success(1))], None, &forced, already);
        // Interrupted, and allowed to be done again.
        check(&[], Some(&fetching(2, true)), &one, "begin");
        check(&[], Some(&fetching(2, true)), &none, "ERR_INTERRUPTED");
        check(&[], Some(&fetching(2, false)), &none, not_assigned);
    }

    #[test]
    fn what_does_not_read_may_have_used_up_every_assignment() {
        let Decision::Conclude(finished) = second(&[], Some(&torn()), &Mandates::of_all(7, false))
        else {
            panic!("it is not begun again");
        };
        assert_eq!(finished.by, [Mandate::of_all(7)].into());
        let cancel = Cancel {
            id: id(),
            attempt: 2,
        };
        let mandates = Mandates::of_all(7, false);
        let finished = called_off(cancel, &mandates, &past(&[]), Some(&torn()), NOW);
        assert_eq!(finished.unwrap().by, [Mandate::of_all(7)].into());
    }

    #[test]
    fn what_was_interrupted_has_used_up_its_assignments_whatever_becomes_of_it() {
        let by = BTreeSet::from([Mandate::of_all(2)]);
        let found = [
            acting(2, false),
            fetching(2, true), // which is not assigned any more
        ];
        for found in found {
            let Decision::Conclude(finished) = second(&[], Some(&found), &Mandates::default())
            else {
                panic!("it is not begun again");
            };
            assert_eq!((finished.acted, finished.by), (true, by.clone()));
        }
        let cancel = Cancel {
            id: id(),
            attempt: 2,
        };
        let interrupted = fetching(2, true);
        let none = Mandates::default();
        let finished = called_off(cancel, &none, &past(&[]), Some(&interrupted), NOW);
        assert_eq!(finished.unwrap().by, by);
    }

    /// Holds what attempt 2 ends with if it is called off, given what is on disk.
    fn check_off(before: &[Finished], found: Option<&Found>, expected: Option<&str>) {
        let cancel = Cancel {
            id: id(),
            attempt: 2,
        };
        let result = called_off(
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
    fn what_was_not_acted_on_is_cancelled() {
        let cancelled = Some("CANCELLED");
        check_off(&[], None, cancelled);
        check_off(&[failure(1), failure(3)], None, cancelled);
        check_off(&[], Some(&fetching(2, false)), cancelled);
        check_off(&[], Some(&fetching(1, true)), cancelled);
        check_off(&[], Some(&done(failure(1))), cancelled);
    }

    #[test]
    fn what_was_acted_on_keeps_its_result() {
        check_off(&[failure(2)], None, Some("ERR_EXECUTE"));
        check_off(&[], Some(&done(failure(2))), Some("ERR_EXECUTE"));
        check_off(&[], Some(&fetching(2, true)), Some("ERR_INTERRUPTED"));
        check_off(&[], Some(&acting(2, true)), None);
    }

    #[test]
    fn a_later_attempt_goes_on() {
        check_off(&[], Some(&fetching(3, false)), None);
        check_off(&[], Some(&acting(3, true)), None);
        check_off(&[], Some(&done(failure(3))), None);
    }

    #[test]
    fn what_does_not_read_may_have_been_done() {
        check_off(&[], Some(&torn()), Some("ERR_INTERRUPTED"));
    }
}
