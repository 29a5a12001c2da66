//! The data types of the machine: what an attempt waits for, its states, events and effects.
//!
//! The rules that work on them are in `step`, `attempt` and `decide`.

use std::collections::BTreeSet;
use std::sync::Arc;

use packcast_protocol::api::{Cancel, Report, Task};
use packcast_protocol::{PackageId, UnixTime};

use super::halt::Halt;
use crate::act::{Done, Prepared};
use crate::manifest::Accepted;
use crate::stage::{Fetched, Verified};
use crate::state::history::Past;
use crate::state::journal::{Acting, Fetching, Finished, Found, Journal};
use crate::trust::mandates::{Mandate, Mandates};

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

/// What follows from what the device was told.
#[derive(Debug)]
pub(crate) enum Decision {
    Begin(Attempt),
    /// The attempt has a result without anything being done.
    Conclude(Finished),
}

impl Decision {
    pub(super) fn attempt(&self) -> u32 {
        match self {
            Self::Begin(attempt) => attempt.number(),
            Self::Conclude(finished) => finished.report.attempt,
        }
    }
}

/// What the attempt is made from, and what it remembers on its way.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(super) task: Task,
    /// The assignments that acting on it uses up.
    pub(super) by: BTreeSet<Mandate>,
    pub(super) fetching: Fetching,
    /// Whether fragments that went wrong on disk were fetched again.
    pub(super) mended: bool,
}

/// What an attempt waits for.
#[derive(Debug)]
pub(crate) enum Stage {
    Beginning,
    Accepting,
    Fetching(Arc<Accepted>),
    Verifying(Arc<Accepted>),
    Preparing(Arc<Accepted>),
    /// What was heard while it was fetched may have taken it back.
    Judging(Arc<Accepted>, Box<Prepared>),
    /// Until the journal says so, nothing is acted on.
    Committing(Arc<Accepted>, Box<Prepared>),
    Acting(Arc<Accepted>),
}

impl Stage {
    pub(super) fn manifest(&self) -> Option<&Accepted> {
        match self {
            Self::Beginning | Self::Accepting => None,
            Self::Fetching(manifest)
            | Self::Verifying(manifest)
            | Self::Preparing(manifest)
            | Self::Judging(manifest, _)
            | Self::Committing(manifest, _)
            | Self::Acting(manifest) => Some(manifest),
        }
    }
}

impl Attempt {
    pub(super) const fn new(task: Task, by: BTreeSet<Mandate>, fetching: Fetching) -> Self {
        Self {
            task,
            by,
            fetching,
            mended: false,
        }
    }

    pub(super) const fn number(&self) -> u32 {
        self.task.attempt
    }
}

/// Writes the result first: whoever dies between the two would have to fetch again what was
/// verified, to store it again.
pub(super) fn conclude(finished: Finished) -> Next {
    let journal = Journal::Finished(finished.clone());
    (State::Finishing(finished), Some(Effect::Write(journal)))
}

pub(super) fn rest(journal: Journal) -> Next {
    (State::Resting(Some(Found::Read(journal))), None)
}
