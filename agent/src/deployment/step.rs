//! The machine: from a state and what happened to the next state and what to do.

use std::sync::Arc;

use packcast_protocol::api::{Cancel, Report, Task};
use packcast_protocol::{PackageId, UnixTime};

use super::attempt::{Attempt, Stage};
use super::decide::{self, Decision};
use super::halt::Halt;
use crate::act::{Done, Prepared};
use crate::manifest::Accepted;
use crate::stage::{Fetched, Verified};
use crate::state::history::Past;
use crate::state::journal::{Acting, Fetching, Finished, Found, Journal};
use crate::trust::mandates::Mandates;

/// How far a package is. All but the first two wait for what comes of one effect.
#[derive(Debug)]
pub(crate) enum State {
    /// Nothing is being done; this is what is on disk.
    Resting(Option<Found>),
    /// What is missing may be had later. On disk the attempt is being fetched.
    Waiting {
        fetching: Fetching,
        reason: String,
    },
    /// What was acted on when the agent stopped is to be done again.
    Repeating(Acting),
    /// What a download left half done is being removed.
    Tidying(Fetching),
    /// The result of another attempt makes way.
    Retiring(Decision),
    Attempting(Attempt, Stage),
    /// The result is known.
    Finishing(Finished),
    /// It is on disk, so that what it was reached with is not needed any more.
    Freeing(Finished),
    Reporting(Finished),
    /// The report was accepted.
    Remembering,
    Removing,
}

/// One thing to do. What a deployment may do to the device is in here.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Writes the journal, answered by [`Event::Written`] when it is on disk.
    Write(Journal),
    FetchManifest(Task),
    FetchFragments(Arc<Accepted>),
    Verify(Fetched),
    /// Unpacks, and does all that can be done without touching the device.
    Prepare(Arc<Accepted>, Option<Verified>),
    /// Judges the manifest once more, by whom is trusted now and what time it is.
    Judge(Arc<Accepted>),
    /// Runs or stores.
    Act(Box<Prepared>),
    /// Removes parts of fragments and the folders of programs, as far as that can be done.
    Tidy,
    /// Removes the archive and what was unpacked of it, as far as that can be done.
    FreeContents,
    Report(Report),
    /// Adds the result to the history, unless it is there.
    Remember(Finished),
    /// Removes the journal, and what else can be removed of the package's.
    Remove,
}

/// What happened: to a package at rest, or as an effect.
#[derive(Debug)]
pub(crate) enum Event {
    /// The agent has started, and this package was there.
    Restarted {
        id: PackageId,
        now: UnixTime,
    },
    Told {
        task: Task,
        /// What is signed about the package.
        mandates: Mandates,
        past: Past,
        /// Whether a package of higher priority waits, so that this one may not begin.
        held: bool,
        now: UnixTime,
    },
    CalledOff {
        cancel: Cancel,
        /// What is signed about the package.
        mandates: Mandates,
        past: Past,
        now: UnixTime,
    },
    /// The attempt that is being made is called off. Heard until it is acted on.
    BrokenOff {
        now: UnixTime,
    },
    /// The agent is asked to end. Heard until the attempt is acted on.
    Stopped,
    ReportDue,
    /// The function has accepted the report of this attempt.
    ReportAccepted {
        attempt: u32,
    },

    Written,
    Manifest(Arc<Accepted>),
    /// None if the package has no archive.
    Fetched(Option<Fetched>),
    Verified(Verified),
    Prepared(Box<Prepared>),
    /// The manifest still holds.
    Judged {
        /// What is signed about the package now.
        mandates: Mandates,
        past: Past,
        now: UnixTime,
    },
    Done {
        done: Done,
        now: UnixTime,
    },
    Halted {
        why: Halt,
        now: UnixTime,
    },
    Tidied,
    Freed,
    Remembered,
    Removed,
    NotAccepted,
}

/// The next state, and what to do in it; nothing if it is at rest.
pub(crate) type Next = (State, Option<Effect>);

impl Effect {
    /// Whether the wish to end is heard before it and during it: it changes nothing that
    /// matters, or has not begun.
    pub(crate) const fn gives_way(&self) -> bool {
        matches!(
            self,
            Self::FetchManifest(_) | Self::FetchFragments(_) | Self::Write(Journal::Acting(_))
        )
    }
}

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

/// Writes the result first: whoever dies between the two would have to fetch again what was
/// verified, to store it again.
pub(super) fn conclude(finished: Finished) -> Next {
    let journal = Journal::Finished(finished.clone());
    (State::Finishing(finished), Some(Effect::Write(journal)))
}

fn freeing(finished: Finished) -> Next {
    (State::Freeing(finished), Some(Effect::FreeContents))
}

pub(super) fn rest(journal: Journal) -> Next {
    (State::Resting(Some(Found::Read(journal))), None)
}

fn tidying(fetching: Fetching) -> Next {
    (State::Tidying(fetching), Some(Effect::Tidy))
}

fn remembering(finished: Finished) -> Next {
    (State::Remembering, Some(Effect::Remember(finished)))
}
