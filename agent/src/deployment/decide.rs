//! Decisions on a package without work under way.

use packcast_protocol::agent_build::{AGENT_PACKAGE, AgentVersion};
use packcast_protocol::api::{BoundedText, Cancel, Report, Task};
use packcast_protocol::result::NamedCode;
use packcast_protocol::state::exchange::UsedMandates;
use packcast_protocol::{Outcome, PackageId, ResultCode, UnixTime};

use super::machine::{Decision, DeploymentAttempt, ProgramFate};
use crate::state::history::PastResults;
use crate::state::journal::{Acting, Fetching, Finished, Journal, PackageLabel, StoredJournal};
use crate::target_state::permits::{Authorised, Permits, WaitReason};
use crate::update::{TrialEnd, installed_version};

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
/// the package is already set up, unless the signed state forces it. The device acts only on packages
/// that the state assigns, once for each mandate.
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
        return Ok(Decision::Conclude(Box::new(finished.clone())));
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
            return Ok(Decision::Conclude(Box::new(finished)));
        }
        Some(StoredJournal::Read(Journal::Finished(finished))) => {
            if finished.report.attempt == task.attempt {
                return Ok(Decision::Conclude(Box::new(finished.clone())));
            }
            past.insert(finished.clone());
        }
        Some(StoredJournal::Read(Journal::Acting(acting))) if !acting.is_repeated() => {
            let program = ProgramFate::Unseen;
            let finished = interrupted_by_stop(task.id, acting.clone(), program, now);
            return Ok(Decision::Conclude(Box::new(finished)));
        }
        Some(StoredJournal::Read(Journal::Fetching(_) | Journal::Acting(_))) | None => {}
    }
    if past.is_barred() {
        let reason = "records of this device's history are lost: it is unknown if the package was deployed, so assign it again";
        let finished = interrupted_by_damage(task.id, task.attempt, permits, reason, now)?;
        return Ok(Decision::Conclude(Box::new(finished)));
    }
    let fetching = Fetching::begin(task.attempt, found, now);
    match authorise(&task, permits, &past, None, now) {
        Ok(authorised) => {
            let attempt = DeploymentAttempt::new(task, authorised, fetching);
            Ok(Decision::Begin(Box::new(attempt)))
        }
        Err(NotBegun::Concluded(finished)) => Ok(Decision::Conclude(finished)),
        Err(NotBegun::Waits(reason)) => Err(reason),
    }
}

/// Decides if the device acts on an attempt, and returns the permission, which acting uses up.
///
/// The decision is made when the attempt begins, and again directly before the device acts. Only then
/// it is known if the package updates the agent (`is_update`).
///
/// # Errors
/// The device does not act on the attempt; the error is its result, or the reason to wait.
pub(super) fn authorise(
    task: &Task,
    permits: &Permits,
    past: &PastResults,
    is_update: Option<bool>,
    now: UnixTime,
) -> Result<Authorised, NotBegun> {
    // A state that the device does not have may force the package, so an earlier success is no
    // result yet.
    let authorised = permits.authorise(task, past).map_err(NotBegun::Waits)?;
    if past.succeeded() && !authorised.force && !is_undone_update(past, is_update) {
        let Task { id, attempt, .. } = *task;
        let (code, reason) = (NamedCode::AlreadySetup, "an earlier attempt succeeded");
        let finished = Finished::concluded(id, attempt, code, reason, now);
        return Err(NotBegun::Concluded(Box::new(finished)));
    }
    Ok(authorised)
}

/// Returns `true` if a package, which has succeeded, updates the agent to a version that does not run.
///
/// The package manager, or damage, may have replaced that version since then. The name of the package
/// decides as long as its action is unknown.
fn is_undone_update(past: &PastResults, is_update: Option<bool>) -> bool {
    let success = past.label_of_success();
    is_update != Some(false) && success.is_some_and(is_other_version)
}

/// Returns `true` if a package is named like an update of the agent to another version than this.
fn is_other_version(package: &PackageLabel) -> bool {
    let version = package.version.to_string().parse::<AgentVersion>();
    package.name.to_string() == AGENT_PACKAGE
        && version.is_ok_and(|version| version != installed_version())
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
/// It is unknown if the device has acted, and the mandates are unknown, too, until the device has
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
/// The agent may have acted under any mandate of the package, so all of them count as used up.
fn interrupted_by_damage(
    id: PackageId,
    attempt: u32,
    permits: &Permits,
    reason: &str,
    now: UnixTime,
) -> Result<Finished, WaitReason> {
    Ok(Finished {
        acted: Some(permits.all(id)?),
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

/// Returns the result of an update whose trial has ended.
pub(super) fn updated(id: PackageId, acting: Acting, end: &TrialEnd, now: UnixTime) -> Finished {
    let (code, outcome, reason) = match end {
        TrialEnd::Overtaken { installed } => {
            let reason = format!("version {installed} of the agent is installed");
            return Finished {
                package: Some(acting.package),
                acted: Some(acting.permission),
                ..Finished::concluded(id, acting.attempt, NamedCode::AlreadySetup, &reason, now)
            };
        }
        TrialEnd::Succeeded => (ResultCode::Success, Outcome::Succeeded, None),
        TrialEnd::Failed { reason } => (
            NamedCode::Execute.into(),
            Outcome::Failed,
            Some(reason.as_str()),
        ),
    };
    Finished {
        report: Report {
            id,
            attempt: acting.attempt,
            code,
            detail: reason.map(BoundedText::tail),
            output_tail: reason.map(BoundedText::tail),
            finished: now,
            boot: None,
            mandates: UsedMandates::default(),
        },
        outcome,
        package: Some(acting.package),
        acted: Some(acting.permission),
    }
}

fn stopped(id: PackageId, acting: Acting, then: &str, now: UnixTime) -> Finished {
    let reason = format!("the agent stopped while it acted on the package, {then}");
    Finished {
        package: Some(acting.package),
        acted: Some(acting.permission),
        ..Finished::concluded(id, acting.attempt, NamedCode::Interrupted, &reason, now)
    }
}

#[cfg(test)]
mod tests {
    use packcast_protocol::state::TargetId;
    use packcast_protocol::{Priority, Sha256Digest};

    use super::*;
    use crate::state::journal::{MAX_REPEATS, Permission};
    use crate::target_state::test_state::{entry, permits_of_all, without_state};

    const NOW: UnixTime = UnixTime(1_795_000_900);

    fn id() -> PackageId {
        PackageId::try_from(1_795_000_000).unwrap()
    }

    fn task(attempt: u32) -> Task {
        Task {
            id: id(),
            attempt,
            priority: Priority::DEFAULT,
            manifest_sha256: Sha256Digest::of(b""),
            locations: Vec::new(),
            folder: "d/package".parse().unwrap(),
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
            permission: Permission::of_all(attempt.into()),
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
            let permits = of_all(attempt.into(), force);
            let announced = on_announced(task(attempt), &permits, &past(before), found, NOW);
            let code = match announced.unwrap() {
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

    #[test]
    fn an_update_to_a_version_that_does_not_run_is_done_again() {
        let check = |name: &str, version: &str, is_update: Option<bool>, again: bool| {
            let label = PackageLabel {
                name: name.parse().unwrap(),
                version: version.parse().unwrap(),
            };
            let before = Finished {
                package: Some(label),
                ..success(1)
            };
            let decided = authorise(
                &task(2),
                &of_all(2, false),
                &past(&[before]),
                is_update,
                NOW,
            );
            assert_eq!(decided.is_ok(), again, "{name} {version} {is_update:?}");
        };
        let own = installed_version().to_string();
        for known in [None, Some(true)] {
            check(AGENT_PACKAGE, "999.0.0", known, true);
            check(AGENT_PACKAGE, &own, known, false);
            check("other", "999.0.0", known, false);
        }
        check(AGENT_PACKAGE, "999.0.0", Some(false), false);
    }

    #[test]
    fn the_end_of_a_trial_is_the_result_of_its_package() {
        let check = |end: TrialEnd, expected: &str| {
            let result = updated(id(), acted(1, false), &end, NOW);
            assert_eq!(result.report.code.to_string(), expected);
            assert!(result.package.is_some() && result.acted.is_some());
        };
        let installed = installed_version();
        check(TrialEnd::Overtaken { installed }, "SUCCESS_ALREADY_SETUP");
        check(TrialEnd::Succeeded, "SUCCESS");
        let reason = "it ended".to_owned();
        check(TrialEnd::Failed { reason }, "ERR_EXECUTE");
    }

    /// Returns the permits of a state that assigns the package to the group `all`.
    fn of_all(seq: u64, force: bool) -> Permits {
        let manifest = Sha256Digest::of(b"");
        permits_of_all(Some(entry(id(), manifest, seq, force)))
    }

    #[test]
    fn the_signed_state_permits_waits_and_forces() {
        let used = |finished: Finished, seq| Finished {
            acted: Some(Permission::of_all(seq)),
            ..finished
        };
        let check =
            |before: &[Finished], found: Option<&StoredJournal>, permits, expected: &str| {
                let decided = on_announced(task(2), permits, &past(before), found, NOW);
                let word = match decided {
                    Ok(Decision::Begin(_)) => "begin".to_owned(),
                    Ok(Decision::Conclude(finished)) => finished.report.code.to_string(),
                    Err(waits) => format!("{:?}", waits.reason),
                };
                assert_eq!(word, expected, "{before:?} {found:?}");
            };
        let (nothing, no_state) = (permits_of_all(None), without_state());
        let (one, forced) = (of_all(1, false), of_all(1, true));
        check(&[], None, &one, "begin");
        check(&[], None, &nothing, "NotAssigned");
        check(&[], None, &no_state, "NoKeyList");
        check(&[failure(1)], None, &one, "begin");
        check(&[used(failure(1), 1)], None, &one, "Used");
        check(&[], Some(&done(used(failure(1), 1))), &forced, "Used");
        check(&[used(failure(1), 3)], None, &one, "begin");
        // A mandate of another target is another mandate.
        let mut of_other_target = Permission::of_all(1);
        of_other_target.under.target = TargetId::from_bytes([8; 16]);
        let elsewhere = Finished {
            acted: Some(of_other_target),
            ..failure(1)
        };
        check(&[elsewhere], None, &one, "begin");
        check(&[success(1)], None, &one, "SUCCESS_ALREADY_SETUP");
        check(&[success(1)], None, &forced, "begin");
        check(&[used(success(1), 1)], None, &forced, "Used");
        check(&[used(success(1), 3)], None, &one, "SUCCESS_ALREADY_SETUP");
        check(&[used(success(1), 3)], None, &forced, "begin");
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
        assert_eq!(finished.acted, Some(one.all(id()).unwrap()));
    }

    #[test]
    fn a_damaged_journal_uses_up_every_mandate() {
        let permits = of_all(7, false);
        let announced = on_announced(task(2), &permits, &past(&[]), Some(&damaged()), NOW);
        let Decision::Conclude(finished) = announced.unwrap() else {
            panic!("a damaged journal must not begin an attempt");
        };
        let mandates = Permission::of_all(7).mandates;
        assert_eq!(finished.acted.unwrap().mandates, mandates);
        let cancel = Cancel {
            id: id(),
            attempt: 2,
        };
        let finished = on_cancelled(cancel, &permits, &past(&[]), Some(&damaged()), NOW);
        let finished = finished.unwrap().unwrap();
        assert_eq!(finished.acted.unwrap().mandates, mandates);
    }

    #[test]
    fn an_interrupted_attempt_has_used_up_its_permission() {
        let acted = Some(Permission::of_all(2));
        let (nothing, found) = (permits_of_all(None), acting(2, false));
        let announced = on_announced(task(2), &nothing, &past(&[]), Some(&found), NOW);
        let Decision::Conclude(finished) = announced.unwrap() else {
            panic!("the attempt must not begin again");
        };
        assert_eq!(finished.acted, acted);
        let cancel = Cancel {
            id: id(),
            attempt: 2,
        };
        let interrupted = fetching(2, true);
        let finished = on_cancelled(cancel, &nothing, &past(&[]), Some(&interrupted), NOW);
        assert_eq!(finished.unwrap().unwrap().acted, acted);
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
        let permits = of_all(7, false);
        let check = |found: Option<StoredJournal>, expected: Option<&str>| {
            let announced = on_announced(
                task(2),
                &permits,
                &PastResults::barred(),
                found.as_ref(),
                NOW,
            );
            let code = match announced.unwrap() {
                Decision::Begin(_) => None,
                Decision::Conclude(finished) => {
                    let interrupted = finished.report.code == NamedCode::Interrupted.into();
                    let all = interrupted.then(|| permits.all(id()).unwrap());
                    assert_eq!(finished.acted, all);
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
        let cancelled = on_cancelled(cancel, &permits, &PastResults::barred(), None, NOW);
        let cancelled = cancelled.unwrap().unwrap();
        assert_eq!(cancelled.report.code, NamedCode::Interrupted.into());
        assert_eq!(cancelled.acted, Some(permits.all(id()).unwrap()));
    }

    #[test]
    fn an_attempt_with_a_damaged_journal_counts_as_interrupted() {
        check_cancelled(&[], Some(&damaged()), Some("ERR_INTERRUPTED"));
    }
}
