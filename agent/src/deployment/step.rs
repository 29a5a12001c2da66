//! The machine: from a state and what happened to the next state and what to do.

use packcast_protocol::{PackageId, UnixTime};

use super::decide;
use super::machine::{Decision, Effect, Event, Next, State, conclude, rest};
use crate::state::journal::{Fetching, Finished, Found, Journal};

/// Decides what follows. An event that does not belong to the state changes nothing.
///
/// The journal is written before what it tells of is done, and only what its acknowledgement
/// finds prepared is acted on. A result is on disk before it is reported, and stays there until
/// the report was accepted or another attempt was begun.
pub(crate) fn step(state: State, event: Event) -> Next {
    match (state, event) {
        (State::Resting(found), event) => resting(found, event),
        (State::Waiting { fetching, .. }, event) => {
            resting(Some(Found::Read(Journal::Fetching(fetching))), event)
        }
        (State::Repeating(acting), Event::Written) => tidying(Fetching::interrupted(acting)),
        (State::Repeating(acting), Event::Halted { .. }) => rest(Journal::Acting(acting)),
        (State::Tidying(fetching), Event::Tidied) => rest(Journal::Fetching(fetching)),
        (State::Retiring(decision), Event::Remembered) => follow(None, decision),
        (State::Attempting(attempt, waiting), event) => attempt.step(waiting, event),
        (State::Finishing(finished), Event::Written) => freeing(finished),
        (State::Freeing(finished), Event::Freed)
        | (State::Reporting(finished), Event::NotAccepted) => rest(Journal::Finished(finished)),
        (State::Reporting(finished), Event::ReportAccepted { .. }) => remembering(finished),
        (State::Remembering, Event::Remembered) => (State::Removing, Some(Effect::Remove)),
        (State::Removing, Event::Removed) => (State::Resting(None), None),
        (state, _) => (state, None),
    }
}

/// Decides on a package about which nothing is being done.
fn resting(found: Option<Found>, event: Event) -> Next {
    match (found, event) {
        (Some(Found::Read(journal)), Event::Restarted { id, now }) => restarted(journal, id, now),
        (
            found,
            Event::Told {
                task,
                mandates,
                past,
                held,
                now,
            },
        ) => match decide::told(task, &mandates, &past, found.as_ref(), now) {
            Decision::Begin(_) if held => (State::Resting(found), None),
            decision => make_way(found, decision),
        },
        (
            found,
            Event::CalledOff {
                cancel,
                mandates,
                past,
                now,
            },
        ) => match decide::called_off(cancel, &mandates, &past, found.as_ref(), now) {
            Some(finished) => make_way(found, Decision::Conclude(finished)),
            None => (State::Resting(found), None),
        },
        (Some(Found::Read(Journal::Finished(finished))), Event::ReportDue) => {
            let report = finished.report.clone();
            (State::Reporting(finished), Some(Effect::Report(report)))
        }
        (Some(Found::Read(Journal::Finished(finished))), Event::ReportAccepted { attempt })
            if finished.report.attempt == attempt =>
        {
            remembering(finished)
        }
        (found, _) => (State::Resting(found), None),
    }
}

/// Draws the conclusion from what an agent that stopped in the middle has left.
///
/// What may have been done is not done again, unless the package allows it.
fn restarted(journal: Journal, id: PackageId, now: UnixTime) -> Next {
    match journal {
        Journal::Fetching(fetching) => tidying(fetching),
        Journal::Acting(acting) if acting.is_repeated() => {
            let again = Journal::Fetching(Fetching::interrupted(acting.clone()));
            (State::Repeating(acting), Some(Effect::Write(again)))
        }
        Journal::Acting(acting) => conclude(decide::interrupted(id, acting, now)),
        Journal::Finished(finished) => freeing(finished),
    }
}

/// Follows a decision once the result of another attempt is in the history: who tells of this
/// attempt does not wait for the other any more.
fn make_way(found: Option<Found>, decision: Decision) -> Next {
    let Some(Found::Read(Journal::Finished(before))) = found else {
        return follow(found.as_ref(), decision);
    };
    if before.report.attempt == decision.attempt() {
        return rest(Journal::Finished(before));
    }
    (State::Retiring(decision), Some(Effect::Remember(before)))
}

fn follow(found: Option<&Found>, decision: Decision) -> Next {
    match decision {
        Decision::Begin(attempt) => attempt.begin(found),
        Decision::Conclude(finished) => conclude(finished),
    }
}

fn freeing(finished: Finished) -> Next {
    (State::Freeing(finished), Some(Effect::FreeContents))
}

fn tidying(fetching: Fetching) -> Next {
    (State::Tidying(fetching), Some(Effect::Tidy))
}

fn remembering(finished: Finished) -> Next {
    (State::Remembering, Some(Effect::Remember(finished)))
}
