//! What becomes of a report: the table of task states and reports.
//!
//! | open task              | finished task | OCS report        | JSON report of attempt n            |
//! |------------------------|---------------|-------------------|-------------------------------------|
//! | none                   | none          | not assigned      | not assigned                        |
//! | none                   | attempt m     | already finished  | n = m: already finished, else other |
//! | held, attempt m        | any           | not announced     | n = m: not announced, else other    |
//! | announced, attempt m   | any           | **recorded**      | n = m: **recorded**, else other     |
//! | withdrawn, attempt m   | any           | **recorded**      | n = m: **recorded**, else other     |
//!
//! An OCS report carries no attempt (protocol reference §5.5), so it counts for what the
//! device was last told. The first final result of an attempt stays.
//!
//! A result that says that the device has dropped the task, which was withdrawn and is wanted
//! again, begins the next attempt: see [`renew`].

use packcast_protocol::{Outcome, UnixTime};

use crate::change::TaskChange;
use crate::record::{FinishedTask, OpenTask, TaskState};

/// Whose words a report is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportedBy {
    /// A stock agent, which knows no attempts.
    Ocs,
    /// Our agent, for this attempt.
    Agent { attempt: u32 },
}

/// What to do with a report. Either way the device is told that it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold<'a> {
    /// The open task ends with the reported result.
    Record(&'a OpenTask),
    /// Nothing is written.
    Ignore(Ignored),
}

/// Why a report changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// The device was never assigned the package, or either is unknown.
    NotAssigned,
    /// The device cannot know of the task yet.
    NotAnnounced,
    /// The attempt has its result.
    AlreadyFinished,
    /// The report is for another attempt than the records'.
    OtherAttempt,
}

/// Decides what a report changes.
pub fn fold<'a>(
    open: Option<&'a OpenTask>,
    finished: Option<&FinishedTask>,
    by: ReportedBy,
) -> Fold<'a> {
    let other = |attempt: u32| matches!(by, ReportedBy::Agent { attempt: n } if n != attempt);
    match (open, finished) {
        (None, None) => Fold::Ignore(Ignored::NotAssigned),
        (None, Some(finished)) if other(finished.attempt) => Fold::Ignore(Ignored::OtherAttempt),
        (None, Some(_)) => Fold::Ignore(Ignored::AlreadyFinished),
        (Some(open), _) if other(open.attempt) => Fold::Ignore(Ignored::OtherAttempt),
        (Some(open), _) => match open.state {
            TaskState::Held => Fold::Ignore(Ignored::NotAnnounced),
            TaskState::Announced { .. } | TaskState::Withdrawn { .. } => Fold::Record(open),
        },
    }
}

/// Decides what becomes of a recorded result that says that the device has dropped its task.
///
/// A task that is withdrawn ends so. One that is announced again is to be had all the same, as
/// another attempt: the device is done with this one.
pub fn renew(open: &OpenTask, result: &FinishedTask, now: UnixTime) -> Option<TaskChange> {
    let is_wanted = matches!(open.state, TaskState::Announced { .. });
    (is_wanted && result.outcome == Outcome::Cancelled).then(|| TaskChange::Renew {
        from: open.clone(),
        to: OpenTask {
            attempt: open.attempt.saturating_add(1),
            state: TaskState::Held,
            assigned_at: now,
            ..open.clone()
        },
        before: result.clone(),
    })
}

#[cfg(test)]
mod tests {
    use packcast_protocol::{ResultCode, UnixTime};

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
            finished_at: AT,
        }
    }

    #[test]
    fn what_was_dropped_and_is_wanted_again_begins_anew() {
        let told = open(TaskState::Announced { announced_at: AT });
        let dropped = FinishedTask {
            outcome: Outcome::Cancelled,
            ..finished(2)
        };
        let Some(TaskChange::Renew { from, to, before }) = renew(&told, &dropped, AT) else {
            panic!("it is wanted again");
        };
        assert_eq!((from, before), (told.clone(), dropped.clone()));
        assert_eq!((to.attempt, to.state), (3, TaskState::Held));
        let withdrawn = open(TaskState::Withdrawn { announced_at: AT });
        assert_eq!(renew(&withdrawn, &dropped, AT), None);
        assert_eq!(renew(&told, &finished(2), AT), None);
    }

    /// Holds every cell: `None` is recorded.
    #[test]
    fn every_cell_of_the_table() {
        use Ignored::{AlreadyFinished, NotAnnounced, NotAssigned, OtherAttempt};
        let held = Some(open(TaskState::Held));
        let announced = Some(open(TaskState::Announced { announced_at: AT }));
        let withdrawn = Some(open(TaskState::Withdrawn { announced_at: AT }));
        let before = Some(finished(1));
        let same = Some(finished(2));
        // Rows: open task, finished task; columns: OCS, attempts 1, 2 and 3 of ours.
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
                &held,
                &None,
                [
                    Some(NotAnnounced),
                    Some(OtherAttempt),
                    Some(NotAnnounced),
                    Some(OtherAttempt),
                ],
            ),
            (
                &held,
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
                let fold = fold(open.as_ref(), finished.as_ref(), by);
                let ignored = if let Fold::Ignore(why) = fold {
                    Some(why)
                } else {
                    None
                };
                assert_eq!(ignored, expected, "{open:?} {finished:?} {by:?}");
            }
        }
    }
}
