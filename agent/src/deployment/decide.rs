//! Decisions on a package without work under way.

use packcast_protocol::api::{Cancel, Task};
use packcast_protocol::result::NamedCode;
use packcast_protocol::{PackageId, UnixTime};

use super::machine::{Decision, DeploymentAttempt, ProgramFate};
use crate::authority::permits::{Authorised, NotPermitted, Permits, WaitReason};
use crate::state::history::PastResults;
use crate::state::journal::{Acting, Fetching, Finished, Journal, StoredJournal};

/// The reason why the device does not act on an attempt.
#[derive(Debug)]
pub(super) enum NotBegun {
    /// The result of the attempt.
    Concluded(Box<Finished>),
    /// The attempt waits, without a result.
    Waits(WaitReason),
}

/// Decides on a task that the function announced.
///
/// Nothing is done twice. An attempt with a result keeps it. After a success in an earlier attempt,
/// the package is already set up, unless the publisher has signed that it is forced. The device acts
/// only on packages that the publisher has assigned, once for each assignment.
///
/// # Errors
/// The package waits for another signed state, without a result.
pub(super) fn on_announced(
    task: Task,
    permits: &Permits,
    past: &PastResults,
    found: Option<&StoredJournal>,
    now: UnixTime,
) -> Result<Decision, WaitReason> {
    if let Some(finished) = past.attempt(task.attempt) {
        return Ok(Decision::Conclude(finished.clone()));
    }
    let mut past = past.clone();
    match found {
        // The journal does not show its attempt either, so the announced attempt gets the result.
        Some(StoredJournal::Unreadable { path }) => {
            let reason = format!(
                "cannot read journal {}: it is unknown if the package was deployed",
                path.display()
            );
            let finished = interrupted_by_damage(task.id, task.attempt, permits, &reason, now)?;
            return Ok(Decision::Conclude(finished));
        }
        Some(StoredJournal::Read(Journal::Finished(finished))) => {
            if finished.report.attempt == task.attempt {
                return Ok(Decision::Conclude(finished.clone()));
            }
            past.insert(finished.clone());
        }
        Some(StoredJournal::Read(Journal::Acting(acting))) if !acting.is_repeated() => {
            let program = ProgramFate::Unseen;
            let finished = interrupted_by_stop(task.id, acting.clone(), program, now);
            return Ok(Decision::Conclude(finished));
        }
        Some(StoredJournal::Read(Journal::Fetching(_) | Journal::Acting(_))) | None => {}
    }
    if past.is_barred() {
        let reason = "records of this device's history are lost: it is unknown if the package was deployed, so assign it again";
        let finished = interrupted_by_damage(task.id, task.attempt, permits, reason, now)?;
        return Ok(Decision::Conclude(finished));
    }
    let fetching = Fetching::begin(task.attempt, found, now);
    match authorise(&task, permits, &past, &fetching, now) {
        Ok(authorised) => {
            let attempt = DeploymentAttempt::new(task, authorised, fetching);
            Ok(Decision::Begin(Box::new(attempt)))
        }
        Err(NotBegun::Concluded(finished)) => Ok(Decision::Conclude(*finished)),
        Err(NotBegun::Waits(reason)) => Err(reason),
    }
}

/// Decides if the device acts on an attempt, and returns the assignments that acting uses up.
///
/// The decision is made when the attempt begins, and again directly before the device acts.
///
/// # Errors
/// The device does not act on the attempt; the error is its result, or the reason to wait.
pub(super) fn authorise(
    task: &Task,
    permits: &Permits,
    past: &PastResults,
    fetching: &Fetching,
    now: UnixTime,
) -> Result<Authorised, NotBegun> {
    let concluded = |code, reason: &str| {
        let Task { id, attempt, .. } = *task;
        let finished = Finished::concluded(id, attempt, code, reason, now);
        NotBegun::Concluded(Box::new(finished))
    };
    // An interrupted action is repeated under the assignments that it has used up already.
    let authorised = match permits.authorise(task, past) {
        Ok(authorised) => Ok(authorised),
        Err(NotPermitted::Refused(refusal)) => Err(refusal),
        // A state that the device does not have may force the package, so an earlier success is no
        // result yet.
        Err(NotPermitted::Waits(reason)) => return Err(NotBegun::Waits(reason)),
    };
    let forced = authorised.as_ref().is_ok_and(|given| given.force);
    if past.succeeded() && !forced {
        let reason = "an earlier attempt succeeded";
        return Err(concluded(NamedCode::AlreadySetup, reason));
    }
    match (authorised, &fetching.interrupted) {
        (Ok(authorised), _) => Ok(authorised),
        (Err(refusal), Some(acting)) => {
            let then = format!("and the action is not repeated: {refusal}");
            let finished = stopped(task.id, acting.clone(), &then, now);
            Err(NotBegun::Concluded(Box::new(finished)))
        }
        (Err(refusal), None) => Err(concluded(refusal.code(), &refusal.to_string())),
    }
}

/// Returns the result of an attempt that is cancelled before it acts.
pub(super) fn on_cancelled_fetch(id: PackageId, fetching: Fetching, now: UnixTime) -> Finished {
    if let Some(acting) = fetching.interrupted {
        let then = "and the attempt was cancelled before it was repeated";
        return stopped(id, acting, then, now);
    }
    let reason = "cancelled before it was deployed";
    Finished::concluded(id, fetching.attempt, NamedCode::Cancelled, reason, now)
}

/// Decides the result of a cancelled attempt.
///
/// An attempt with a result keeps it. An attempt that this device never saw is cancelled like any
/// other, so that its record ends. Returns `None` while the device acts on the package, or if the
/// package has a later attempt.
///
/// # Errors
/// It is unknown if the device has acted, and the assignments are unknown, too, until the device has
/// another signed state.
pub(super) fn on_cancelled(
    cancel: Cancel,
    permits: &Permits,
    past: &PastResults,
    found: Option<&StoredJournal>,
    now: UnixTime,
) -> Result<Option<Finished>, WaitReason> {
    let Cancel { id, attempt } = cancel;
    if let Some(finished) = past.attempt(attempt) {
        return Ok(Some(finished.clone()));
    }
    let result = match found {
        Some(StoredJournal::Unreadable { path }) => {
            let reason = format!(
                "cancelled, but cannot read journal {}: it is unknown if the package was deployed",
                path.display()
            );
            Some(interrupted_by_damage(id, attempt, permits, &reason, now)?)
        }
        Some(StoredJournal::Read(journal)) if journal.attempt() > attempt => None,
        Some(StoredJournal::Read(Journal::Acting(_))) => None,
        Some(StoredJournal::Read(Journal::Finished(finished)))
            if finished.report.attempt == attempt =>
        {
            Some(finished.clone())
        }
        Some(StoredJournal::Read(Journal::Fetching(fetching)))
            if fetching.attempt == attempt && fetching.interrupted.is_some() =>
        {
            Some(on_cancelled_fetch(id, fetching.clone(), now))
        }
        Some(StoredJournal::Read(Journal::Fetching(_) | Journal::Finished(_))) | None
            if past.is_barred() =>
        {
            let reason = "cancelled, but records of this device's history are lost: it is unknown if the package was deployed";
            Some(interrupted_by_damage(id, attempt, permits, reason, now)?)
        }
        Some(StoredJournal::Read(Journal::Fetching(_) | Journal::Finished(_))) | None => {
            let never_acted = Fetching {
                attempt,
                since: None,
                interrupted: None,
            };
            Some(on_cancelled_fetch(id, never_acted, now))
        }
    };
    Ok(result)
}

/// Returns the result of an attempt whose journal or history is damaged.
///
/// The agent may have acted under any assignment of the package, so all of them count as used up.
fn interrupted_by_damage(
    id: PackageId,
    attempt: u32,
    permits: &Permits,
    reason: &str,
    now: UnixTime,
) -> Result<Finished, WaitReason> {
    let Authorised { by, under, .. } = permits.all(id)?;
    Ok(Finished {
        acted: true,
        by,
        under,
        ..Finished::concluded(id, attempt, NamedCode::Interrupted, reason, now)
    })
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
        under: acting.under,
        ..Finished::concluded(id, acting.attempt, NamedCode::Interrupted, &reason, now)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use packcast_protocol::{Priority, Sha256Digest};

    use super::*;
    use crate::authority::test_state::{entry, permits_of_all, without_state};
    use crate::state::journal::{MAX_REPEATS, PackageLabel};
    use crate::trust::mandates::{Mandates, mandate_of_all};

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
            by: [mandate_of_all(attempt.into())].into(),
            under: None,
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
            let mandates = of_all(attempt.into(), force);
            let code =
                match on_announced(task(attempt, force), &mandates, &past(before), found, NOW)
                    .unwrap()
                {
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

    /// Returns the permits of an assignment to the group `all`, in the old form of trust.
    fn of_all(seq: u64, force: bool) -> Permits {
        Permits::Documents(Mandates::of_all(seq, force))
    }

    fn none() -> Permits {
        Permits::Documents(Mandates::default())
    }

    /// Announces attempt 2 of a package under these signed assignments, and returns the decision.
    fn second(before: &[Finished], found: Option<&StoredJournal>, permits: &Permits) -> Decision {
        on_announced(task(2, true), permits, &past(before), found, NOW).unwrap()
    }

    #[test]
    fn each_assignment_is_acted_on_once_and_nothing_else_is() {
        let check =
            |before: &[Finished], found: Option<&StoredJournal>, mandates: &Permits, expected| {
                let code = match second(before, found, mandates) {
                    Decision::Begin(_) => "begin".to_owned(),
                    Decision::Conclude(finished) => finished.report.code.to_string(),
                };
                assert_eq!(code, expected, "{before:?} {found:?} {mandates:?}");
            };
        let by = |seq, finished| Finished {
            by: [mandate_of_all(seq)].into(),
            ..finished
        };
        let (not_assigned, already) = ("ERR_NOT_ASSIGNED", "SUCCESS_ALREADY_SETUP");
        let none = none();
        let (one, forced) = (of_all(1, false), of_all(1, true));
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
    fn the_signed_state_permits_waits_and_forces() {
        let assigned = |seq, force| {
            let manifest = Sha256Digest::of(b"");
            permits_of_all(Some(entry(id(), manifest, seq, force)))
        };
        let used = |finished: Finished, by: &Permits| {
            let Authorised { by, under, .. } = by.all(id()).unwrap();
            Finished {
                by,
                under,
                ..finished
            }
        };
        let check =
            |before: &[Finished], found: Option<&StoredJournal>, permits, expected: &str| {
                // The force of the task does not count.
                let decided = on_announced(task(2, true), permits, &past(before), found, NOW);
                let word = match decided {
                    Ok(Decision::Begin(_)) => "begin".to_owned(),
                    Ok(Decision::Conclude(finished)) => finished.report.code.to_string(),
                    Err(waits) => format!("{:?}", waits.reason),
                };
                assert_eq!(word, expected, "{before:?} {found:?}");
            };
        let (nothing, no_state) = (permits_of_all(None), without_state());
        let (one, forced) = (assigned(1, false), assigned(1, true));
        check(&[], None, &one, "begin");
        check(&[], None, &nothing, "NotAssigned");
        check(&[], None, &no_state, "NoKeyList");
        check(&[failure(1)], None, &one, "begin");
        check(&[used(failure(1), &one)], None, &one, "Used");
        // A mandate of the old form, or of another target, is another mandate.
        let of_documents = Finished {
            by: [mandate_of_all(1)].into(),
            ..failure(1)
        };
        check(&[of_documents], None, &one, "begin");
        check(&[success(1)], None, &one, "SUCCESS_ALREADY_SETUP");
        check(&[success(1)], None, &forced, "begin");
        check(&[used(success(1), &one)], None, &forced, "Used");
        check(&[success(1)], None, &nothing, "NotAssigned");
        // The device's own results need no state.
        check(&[success(2)], None, &no_state, "SUCCESS_REBOOT_REQUIRED");
        check(&[], Some(&acting(2, false)), &no_state, "ERR_INTERRUPTED");
        // An interrupted action is repeated only if the state still permits it.
        check(&[], Some(&fetching(2, true)), &one, "begin");
        check(&[], Some(&fetching(2, true)), &nothing, "NotAssigned");
        // The mandates of a lost attempt are unknown without a state.
        check(&[], Some(&damaged()), &no_state, "NoKeyList");
        check(&[], Some(&damaged()), &one, "ERR_INTERRUPTED");
        let cancel = Cancel {
            id: id(),
            attempt: 2,
        };
        let cancelled = |permits| on_cancelled(cancel, permits, &past(&[]), Some(&damaged()), NOW);
        assert!(cancelled(&no_state).is_err());
        let finished = cancelled(&one).unwrap().unwrap();
        assert_eq!(finished, used(finished.clone(), &one));
        assert!(finished.under.is_some() && finished.acted);
    }

    #[test]
    fn a_damaged_journal_uses_up_every_assignment() {
        let Decision::Conclude(finished) = second(&[], Some(&damaged()), &of_all(7, false)) else {
            panic!("a damaged journal must not begin an attempt");
        };
        assert_eq!(finished.by, [mandate_of_all(7)].into());
        let cancel = Cancel {
            id: id(),
            attempt: 2,
        };
        let mandates = of_all(7, false);
        let finished = on_cancelled(cancel, &mandates, &past(&[]), Some(&damaged()), NOW);
        assert_eq!(finished.unwrap().unwrap().by, [mandate_of_all(7)].into());
    }

    #[test]
    fn an_interrupted_attempt_has_used_up_its_assignments() {
        let by = BTreeSet::from([mandate_of_all(2)]);
        let found = [
            acting(2, false),
            fetching(2, true), // no longer assigned
        ];
        for found in found {
            let Decision::Conclude(finished) = second(&[], Some(&found), &none()) else {
                panic!("the attempt must not begin again");
            };
            assert_eq!((finished.acted, finished.by), (true, by.clone()));
        }
        let cancel = Cancel {
            id: id(),
            attempt: 2,
        };
        let interrupted = fetching(2, true);
        let none = none();
        let finished = on_cancelled(cancel, &none, &past(&[]), Some(&interrupted), NOW);
        assert_eq!(finished.unwrap().unwrap().by, by);
    }

    /// Checks the result of cancelling attempt 2, given the journal on disk.
    fn check_cancelled(before: &[Finished], found: Option<&StoredJournal>, expected: Option<&str>) {
        let cancel = Cancel {
            id: id(),
            attempt: 2,
        };
        let result = on_cancelled(cancel, &of_all(7, false), &past(before), found, NOW).unwrap();
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
        let mandates = of_all(7, false);
        let check = |found: Option<StoredJournal>, expected: Option<&str>| {
            let announced = on_announced(
                task(2, true),
                &mandates,
                &PastResults::barred(),
                found.as_ref(),
                NOW,
            );
            let code = match announced.unwrap() {
                Decision::Begin(_) => None,
                Decision::Conclude(finished) => {
                    let interrupted = finished.report.code == NamedCode::Interrupted.into();
                    let all = mandates.all(id()).unwrap().by;
                    assert_eq!(finished.acted && finished.by == all, interrupted);
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
        let cancelled = cancelled.unwrap().unwrap();
        assert_eq!(cancelled.report.code, NamedCode::Interrupted.into());
        assert_eq!(cancelled.by, mandates.all(id()).unwrap().by);
    }

    #[test]
    fn an_attempt_with_a_damaged_journal_counts_as_interrupted() {
        check_cancelled(&[], Some(&damaged()), Some("ERR_INTERRUPTED"));
    }
}
