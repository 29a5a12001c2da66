//! The data types of the state machine: attempts, states, events and effects.
//!
//! The rules are in `step`, `attempt` and `decide`.

use std::sync::Arc;

use packcast_protocol::api::{BeginRequest, Cancel, Report, Task};
use packcast_protocol::{PackageId, UnixTime};

use super::attempt_error::AttemptError;
use super::go::Go;
use crate::act::{ActResult, Prepared};
use crate::manifest::Accepted;
use crate::stage::{FetchedArchive, VerifiedArchive};
use crate::state::history::PastResults;
use crate::state::journal::{Acting, Fetching, Finished, Journal, StoredJournal};
use crate::target_state::permits::{Authorised, Permits, WaitReason};
use crate::update::TrialEnd;

/// The state of a package. All states but the first four wait for the result of one effect.
#[derive(Debug)]
pub(crate) enum DeploymentState {
    /// No work is under way; the journal as it is on disk.
    Resting(Option<StoredJournal>),
    /// A file is unavailable for now. The journal on disk is `Fetching`.
    Waiting {
        fetching: Fetching,
        reason: String,
    },
    /// The signed state does not permit the package now; the journal as it is on disk.
    AwaitingState {
        found: Option<StoredJournal>,
        reason: WaitReason,
    },
    /// Another version of the agent is staged, and this process ends. The journal on disk is `Acting`.
    Staged,
    /// The package is about to await another state, or another permission of the function. The
    /// attempt's start, in the journal on disk, is being removed.
    Pausing {
        fetching: Fetching,
        reason: WaitReason,
    },
    /// The agent stopped while it acted, and the action will be repeated.
    Repeating(Acting),
    /// The remains of an interrupted download are being removed.
    Tidying(Fetching),
    /// The result of another attempt moves to the history, before the decision is carried out.
    Retiring(Decision),
    Attempting(DeploymentAttempt, AttemptStage),
    /// The attempt has a result, which is being written to the journal.
    Finishing(Finished),
    /// The result is on disk, so the archive and the unpacked files can be removed.
    Freeing(Finished),
    Reporting(Finished),
    /// The report was accepted, and the result moves to the history.
    Remembering,
    Removing,
}

/// One action of the agent on the device, the disk or the network.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Writes the journal. [`StepEvent::Written`] follows when the journal is on disk.
    Write(Journal),
    FetchManifest(Task),
    FetchFragments(Arc<Accepted>),
    Verify(FetchedArchive),
    /// Unpacks, and does everything else that does not change the device.
    Prepare(Arc<Accepted>, Option<VerifiedArchive>),
    /// Checks the manifest again, at the present time.
    Judge(Arc<Accepted>),
    /// Asks the function if the device may begin.
    Ask(Box<BeginRequest>),
    /// Runs the program, stores the files, or stages the version, if the permission is still valid.
    Act(Box<Prepared>, Go),
    /// Removes partial fragments and the folders of programs, as far as possible.
    Tidy,
    /// Removes the archive and the unpacked files, as far as possible.
    FreeContents,
    Report(Report),
    /// Adds the result to the history, unless the history has it.
    Remember(Finished),
    /// Removes the journal, and the rest of the package's folder as far as possible.
    Remove,
}

/// The end of a program whose agent stopped. Its exit code is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProgramFate {
    /// The program did not run when the agent started again.
    Unseen,
    /// The agent waited until the program ended.
    EndedLater,
    /// The agent ended the program at its time limit.
    TimedOut,
}

/// Input of the machine: something happened to a package at rest, or an effect ended.
#[derive(Debug)]
pub(crate) enum StepEvent {
    /// The agent started and found this package on disk.
    Restarted {
        id: PackageId,
        /// The end of the program that the stopped agent had started.
        program: ProgramFate,
        now: UnixTime,
    },
    /// The trial of an update has ended.
    Updated {
        id: PackageId,
        end: TrialEnd,
        now: UnixTime,
    },
    /// The function announced a task.
    Announced {
        task: Task,
        /// The permits of the package.
        permits: Permits,
        past: PastResults,
        /// `true` if a package of higher priority waits, so that this attempt may not begin.
        blocked: bool,
        now: UnixTime,
    },
    /// The function asked to cancel an attempt.
    Cancelled {
        cancel: Cancel,
        /// The permits of the package.
        permits: Permits,
        past: PastResults,
        now: UnixTime,
    },
    /// The function cancelled the attempt under way. Possible until the agent acts.
    AttemptCancelled {
        now: UnixTime,
    },
    /// The agent was asked to end. Possible until the agent acts.
    Stopped,
    ReportDue,
    /// The function has accepted the report of this attempt.
    ReportAccepted {
        attempt: u32,
    },

    Written,
    Manifest(Arc<Accepted>),
    /// `None` if the package has no archive.
    Fetched(Option<FetchedArchive>),
    Verified(VerifiedArchive),
    Prepared(Box<Prepared>),
    /// The manifest is still acceptable.
    Judged {
        /// The permits of the package now.
        permits: Permits,
        past: PastResults,
        now: UnixTime,
    },
    /// The function permits the device to begin.
    Permitted(Go),
    /// The function does not permit the device to begin, or does not answer.
    Held(WaitReason),
    /// The permission was too old when the agent was about to act, so it did not act.
    GoExpired,
    Done {
        result: ActResult,
        now: UnixTime,
    },
    /// Another version of the agent is stored, and the starter will try it.
    Staged,
    EffectFailed {
        error: AttemptError,
        now: UnixTime,
    },
    Tidied,
    Freed,
    Remembered,
    Removed,
    NotAccepted,
}

/// The next state, and its effect; `None` if the state is at rest.
pub(crate) type NextStep = (DeploymentState, Option<Effect>);

impl Effect {
    /// Returns `true` if a request to end, or a cancellation, interrupts the effect.
    ///
    /// Such an effect has not changed the device, and may be repeated.
    pub(crate) const fn is_interruptible(&self) -> bool {
        matches!(
            self,
            Self::FetchManifest(_)
                | Self::FetchFragments(_)
                | Self::Ask(_)
                | Self::Write(Journal::Acting(_))
        )
    }
}

/// The decision on an announced task.
#[derive(Debug)]
pub(crate) enum Decision {
    Begin(Box<DeploymentAttempt>),
    /// The attempt has a result without any work.
    Conclude(Box<Finished>),
}

impl Decision {
    pub(super) fn attempt(&self) -> u32 {
        match self {
            Self::Begin(attempt) => attempt.number(),
            Self::Conclude(finished) => finished.report.attempt,
        }
    }
}

/// An attempt under way, with all that it remembers between the steps.
#[derive(Debug)]
pub(crate) struct DeploymentAttempt {
    pub(super) task: Task,
    pub(super) authorised: Authorised,
    pub(super) fetching: Fetching,
    /// `true` if damaged fragments were already fetched a second time.
    pub(super) refetched: bool,
}

/// The effect that an attempt waits for.
#[derive(Debug)]
pub(crate) enum AttemptStage {
    Beginning,
    Accepting,
    Fetching(Arc<Accepted>),
    Verifying(Arc<Accepted>),
    Preparing(Arc<Accepted>),
    /// The package may have been unassigned while the archive was fetched, or while the function was
    /// asked. The function is asked after the first check.
    Judging(Arc<Accepted>, Box<Prepared>, Option<Go>),
    /// An administrator may have stopped the package since the last check-in.
    Asking(Arc<Accepted>, Box<Prepared>),
    /// The agent acts only after the journal on disk says so.
    Committing(Arc<Accepted>, Box<Prepared>, Go),
    Acting(Arc<Accepted>),
}

impl AttemptStage {
    pub(super) fn manifest(&self) -> Option<&Accepted> {
        match self {
            Self::Beginning | Self::Accepting => None,
            Self::Fetching(manifest)
            | Self::Verifying(manifest)
            | Self::Preparing(manifest)
            | Self::Judging(manifest, ..)
            | Self::Asking(manifest, _)
            | Self::Committing(manifest, ..)
            | Self::Acting(manifest) => Some(manifest),
        }
    }
}

impl DeploymentAttempt {
    pub(super) const fn new(task: Task, authorised: Authorised, fetching: Fetching) -> Self {
        Self {
            task,
            authorised,
            fetching,
            refetched: false,
        }
    }

    pub(super) const fn number(&self) -> u32 {
        self.task.attempt
    }
}

/// Writes the result first, then removes the archive.
///
/// If the agent died in between in the other order, it would have to fetch the verified archive
/// again.
pub(super) fn conclude(finished: Finished) -> NextStep {
    let journal = Journal::Finished(finished.clone());
    (
        DeploymentState::Finishing(finished),
        Some(Effect::Write(journal)),
    )
}

pub(super) fn rest(journal: Journal) -> NextStep {
    (
        DeploymentState::Resting(Some(StoredJournal::Read(journal))),
        None,
    )
}

/// Waits for another signed state, for any time.
///
/// The limit of the time that an attempt waits for its locations begins again after that.
pub(super) fn await_state(found: Option<StoredJournal>, reason: WaitReason) -> NextStep {
    match found {
        Some(StoredJournal::Read(Journal::Fetching(fetching))) if fetching.since.is_some() => {
            let paused = Journal::Fetching(fetching.paused());
            let pausing = DeploymentState::Pausing { fetching, reason };
            (pausing, Some(Effect::Write(paused)))
        }
        found => (DeploymentState::AwaitingState { found, reason }, None),
    }
}
