//! Applies reports: the decision for each state of a task and each report.
//!
//! | open task              | finished task | OCS report        | JSON report of attempt n            |
//! |------------------------|---------------|-------------------|-------------------------------------|
//! | none                   | none          | not assigned      | not assigned                        |
//! | none                   | attempt m     | already finished  | n = m: already finished, else other |
//! | pending, attempt m     | any           | not announced     | n = m: not announced, else other    |
//! | announced, attempt m   | any           | **recorded**      | n = m: **recorded**, else other     |
//! | withdrawn, attempt m   | any           | **recorded**      | n = m: **recorded**, else other     |
//!
//! An OCS report carries no attempt (protocol reference §5.5), so it applies to the attempt that
//! was announced last. The first final result of an attempt stays.
//!
//! In the table, "other" means that the report is for a different attempt.
//!
//! A device can report that it cancelled a withdrawn task although the package was assigned again
//! in the meantime. Such a report begins the next attempt: see [`next_attempt`].

use std::collections::BTreeSet;

use packcast_protocol::state::Mandate;
use packcast_protocol::state::exchange::MAX_MANDATES;
use packcast_protocol::{Assignee, Outcome, UnixTime};

use crate::change::TaskChange;
use crate::record::{FinishedTask, OpenTask, TaskState};

/// Kind of the agent that reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportedBy {
    /// An OCS agent, whose reports name no attempt.
    Ocs,
    /// A Packcast agent, for this attempt.
    Agent { attempt: u32 },
}

/// Decision on a report. In both cases the function confirms to the device that the report
/// arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportDecision<'a> {
    /// The open task ends with the reported result.
    Record(&'a OpenTask),
    /// Nothing is written.
    Ignore(Ignored),
}

/// Reason for ignoring a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// The package was never assigned to the device, or the device or the package is unknown.
    NotAssigned,
    /// The task was not announced, so the device cannot know of it.
    NotAnnounced,
    /// The attempt has a result already.
    AlreadyFinished,
    /// The report is for an attempt other than the recorded one.
    OtherAttempt,
}

/// Decides whether a report is recorded.
pub fn apply_report<'a>(
    open: Option<&'a OpenTask>,
    finished: Option<&FinishedTask>,
    by: ReportedBy,
) -> ReportDecision<'a> {
    let other = |attempt: u32| matches!(by, ReportedBy::Agent { attempt: n } if n != attempt);
    match (open, finished) {
        (None, None) => ReportDecision::Ignore(Ignored::NotAssigned),
        (None, Some(finished)) if other(finished.attempt) => {
            ReportDecision::Ignore(Ignored::OtherAttempt)
        }
        (None, Some(_)) => ReportDecision::Ignore(Ignored::AlreadyFinished),
        (Some(open), _) if other(open.attempt) => ReportDecision::Ignore(Ignored::OtherAttempt),
        (Some(open), _) => match open.state {
            TaskState::Pending => ReportDecision::Ignore(Ignored::NotAnnounced),
            TaskState::Announced { .. } | TaskState::Withdrawn { .. } => {
                ReportDecision::Record(open)
            }
        },
    }
}

/// Decides whether a recorded result begins the next attempt.
///
/// If the device cancelled the task and the task is still withdrawn, the task ends. If the
/// package was assigned to the device again, the device still needs the package, but has finished
/// this attempt, so the next attempt begins.
pub fn next_attempt(open: &OpenTask, result: &FinishedTask, now: UnixTime) -> Option<TaskChange> {
    let is_wanted = matches!(open.state, TaskState::Announced { .. });
    (is_wanted && result.outcome == Outcome::Cancelled).then(|| TaskChange::NextAttempt {
        from: open.clone(),
        to: OpenTask {
            attempt: open.attempt.saturating_add(1),
            state: TaskState::Pending,
            assigned_at: now,
            ..open.clone()
        },
        before: result.clone(),
    })
}

/// Returns the mandates of groups that are used up after a result, at most [`MAX_MANDATES`], the
/// latest.
///
/// A Packcast agent reports the mandates of all groups under which it has acted. An OCS agent knows
/// no mandates. A cancelled attempt uses up none.
pub fn used_mandates(open: &OpenTask, outcome: Outcome, reported: &[Mandate]) -> BTreeSet<Mandate> {
    let mut used = open.used.clone();
    if outcome != Outcome::Cancelled {
        let of_group = |mandate: &&Mandate| matches!(mandate.assignee, Assignee::Group(_));
        used.extend(open.group_mandate.clone());
        used.extend(reported.iter().filter(of_group).cloned());
    }
    latest(used)
}

/// Returns the latest of these mandates, at most [`MAX_MANDATES`].
pub fn latest(mut used: BTreeSet<Mandate>) -> BTreeSet<Mandate> {
    while used.len() > MAX_MANDATES {
        let oldest = used.iter().min_by_key(|mandate| mandate.seq).cloned();
        used.retain(|mandate| Some(mandate) != oldest.as_ref());
    }
    used
}

#[cfg(test)]
mod tests {
    use packcast_protocol::{AgentId, ResultCode, UnixTime};

    use super::*;
    use crate::record::tests::{id, task};

    const AT: UnixTime = UnixTime(1_795_000_000);

    fn open(state: TaskState) -> OpenTask {
        OpenTask {
            attempt: 2,
            state,
            ..task(1, 5)
        }
    }

    fn finished(attempt: u32) -> FinishedTask {
        FinishedTask {
            package: id(1),
            attempt,
            code: ResultCode::Exited(3),
            outcome: Outcome::Failed,
            detail: None,
            output_tail: None,
            mandate: None,
            used: BTreeSet::new(),
            finished_at: AT,
        }
    }

    #[test]
    fn a_cancelled_task_that_was_assigned_again_begins_the_next_attempt() {
        let announced = open(TaskState::Announced { announced_at: AT });
        let dropped = FinishedTask {
            outcome: Outcome::Cancelled,
            ..finished(2)
        };
        let Some(TaskChange::NextAttempt { from, to, before }) =
            next_attempt(&announced, &dropped, AT)
        else {
            panic!("the task was assigned again");
        };
        assert_eq!((from, before), (announced.clone(), dropped.clone()));
        assert_eq!((to.attempt, to.state), (3, TaskState::Pending));
        let withdrawn = open(TaskState::Withdrawn { announced_at: AT });
        assert_eq!(next_attempt(&withdrawn, &dropped, AT), None);
        assert_eq!(next_attempt(&announced, &finished(2), AT), None);
    }

    #[test]
    fn a_result_uses_up_the_mandates_of_groups() {
        let mandate = |group: &str, seq| Mandate {
            assignee: Assignee::Group(group.parse().unwrap()),
            seq,
        };
        let device = Mandate {
            assignee: Assignee::Device(AgentId::of_public_key(&[1; 32])),
            seq: 9,
        };
        let (lab, office, earlier) = (mandate("lab", 7), mandate("office", 8), mandate("lab", 5));
        let task = OpenTask {
            group_mandate: Some(lab.clone()),
            used: [earlier.clone()].into(),
            ..open(TaskState::Announced { announced_at: AT })
        };
        let reported = [office.clone(), device];
        let check = |outcome, reported: &[Mandate], expected: &[&Mandate]| {
            let used = used_mandates(&task, outcome, reported);
            let expected: BTreeSet<Mandate> = expected.iter().copied().cloned().collect();
            assert_eq!(used, expected, "{outcome:?}");
        };
        check(Outcome::Failed, &reported, &[&earlier, &lab, &office]);
        check(Outcome::Succeeded, &[], &[&earlier, &lab]);
        check(Outcome::Cancelled, &[], &[&earlier]);
        let many: Vec<Mandate> = (10..110).map(|seq| mandate("lab", seq)).collect();
        let used = used_mandates(&task, Outcome::Failed, &many);
        assert_eq!(used, many[100 - MAX_MANDATES..].iter().cloned().collect());
    }

    /// Checks every cell of the table; `None` means that the report is recorded.
    #[test]
    fn every_cell_of_the_table() {
        use Ignored::{AlreadyFinished, NotAnnounced, NotAssigned, OtherAttempt};
        let pending = Some(open(TaskState::Pending));
        let announced = Some(open(TaskState::Announced { announced_at: AT }));
        let withdrawn = Some(open(TaskState::Withdrawn { announced_at: AT }));
        let before = Some(finished(1));
        let same = Some(finished(2));
        // Rows: open task, finished task; columns: OCS agent, Packcast agent with attempt 1, 2, 3.
        let table = [
            (&None, &None, [Some(NotAssigned); 4]),
            (
                &None,
                &before,
                [
                    Some(AlreadyFinished),
                    Some(AlreadyFinished),
                    Some(OtherAttempt),
                    Some(OtherAttempt),
                ],
            ),
            (
                &None,
                &same,
                [
                    Some(AlreadyFinished),
                    Some(OtherAttempt),
                    Some(AlreadyFinished),
                    Some(OtherAttempt),
                ],
            ),
            (
                &pending,
                &None,
                [
                    Some(NotAnnounced),
                    Some(OtherAttempt),
                    Some(NotAnnounced),
                    Some(OtherAttempt),
                ],
            ),
            (
                &pending,
                &before,
                [
                    Some(NotAnnounced),
                    Some(OtherAttempt),
                    Some(NotAnnounced),
                    Some(OtherAttempt),
                ],
            ),
            (
                &announced,
                &None,
                [None, Some(OtherAttempt), None, Some(OtherAttempt)],
            ),
            (
                &announced,
                &before,
                [None, Some(OtherAttempt), None, Some(OtherAttempt)],
            ),
            (
                &withdrawn,
                &None,
                [None, Some(OtherAttempt), None, Some(OtherAttempt)],
            ),
            (
                &withdrawn,
                &before,
                [None, Some(OtherAttempt), None, Some(OtherAttempt)],
            ),
        ];
        let by = [
            ReportedBy::Ocs,
            ReportedBy::Agent { attempt: 1 },
            ReportedBy::Agent { attempt: 2 },
            ReportedBy::Agent { attempt: 3 },
        ];
        for (open, finished, expected) in table {
            for (by, expected) in by.into_iter().zip(expected) {
                let decision = apply_report(open.as_ref(), finished.as_ref(), by);
                let ignored = if let ReportDecision::Ignore(why) = decision {
                    Some(why)
                } else {
                    None
                };
                assert_eq!(ignored, expected, "{open:?} {finished:?} {by:?}");
            }
        }
    }
}
