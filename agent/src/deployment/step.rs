//! The state machine: a pure function from a state and an event to the next state and effect.

use packcast_protocol::{PackageId, UnixTime};

use super::decide;
use super::machine::{
    Decision, DeploymentState, Effect, NextStep, ProgramFate, StepEvent, await_state, conclude,
    rest,
};
use crate::state::journal::{Fetching, Finished, Journal, StoredJournal};
use crate::target_state::permits::WaitReason;

/// Decides the next state and effect. An event that does not fit the state changes nothing.
///
/// The journal is on disk before the step that it describes begins. The machine acts only on a
/// prepared package whose journal entry was acknowledged, and with a permission of the function. A
/// result is on disk before it is reported, and stays there until the report is accepted or another
/// attempt begins.
pub(crate) fn step(state: DeploymentState, event: StepEvent) -> NextStep {
    match (state, event) {
        (DeploymentState::Resting(found) | DeploymentState::AwaitingState { found, .. }, event) => {
            resting(found, event)
        }
        (DeploymentState::Waiting { fetching, .. }, event) => resting(
            Some(StoredJournal::Read(Journal::Fetching(fetching))),
            event,
        ),
        (DeploymentState::Pausing { fetching, reason }, StepEvent::Written) => {
            awaiting_state(fetching.paused(), reason)
        }
        (DeploymentState::Pausing { fetching, reason }, StepEvent::EffectFailed { .. }) => {
            awaiting_state(fetching, reason)
        }
        (DeploymentState::Repeating(acting), StepEvent::Written) => {
            tidying(Fetching::interrupted(acting))
        }
        (DeploymentState::Repeating(acting), StepEvent::EffectFailed { .. }) => {
            rest(Journal::Acting(acting))
        }
        (DeploymentState::Tidying(fetching), StepEvent::Tidied) => {
            rest(Journal::Fetching(fetching))
        }
        (DeploymentState::Retiring(decision), StepEvent::Remembered) => follow(None, decision),
        (DeploymentState::Attempting(attempt, waiting), event) => attempt.step(waiting, event),
        (DeploymentState::Finishing(finished), StepEvent::Written) => freeing(finished),
        (DeploymentState::Freeing(finished), StepEvent::Freed)
        | (DeploymentState::Reporting(finished), StepEvent::NotAccepted) => {
            rest(Journal::Finished(finished))
        }
        (DeploymentState::Reporting(finished), StepEvent::ReportAccepted { .. }) => {
            remembering(finished)
        }
        (DeploymentState::Remembering, StepEvent::Remembered) => {
            (DeploymentState::Removing, Some(Effect::Remove))
        }
        (DeploymentState::Removing, StepEvent::Removed) => (DeploymentState::Resting(None), None),
        (state, _) => (state, None),
    }
}

/// Decides on a package without work under way.
fn resting(found: Option<StoredJournal>, event: StepEvent) -> NextStep {
    match (found, event) {
        (Some(StoredJournal::Read(journal)), StepEvent::Restarted { id, program, now }) => {
            restarted(journal, id, program, now)
        }
        (
            Some(StoredJournal::Read(Journal::Acting(acting))),
            StepEvent::Updated { id, end, now },
        ) => conclude(decide::updated(id, acting, &end, now)),
        (
            found,
            StepEvent::Announced {
                task,
                permits,
                past,
                blocked,
                now,
            },
        ) => match decide::on_announced(task, &permits, &past, found.as_ref(), now) {
            Ok(Decision::Begin(_)) if blocked => (DeploymentState::Resting(found), None),
            Ok(decision) => retire_other(found, decision),
            Err(reason) => await_state(found, reason),
        },
        (
            found,
            StepEvent::Cancelled {
                cancel,
                permits,
                past,
                now,
            },
        ) => match decide::on_cancelled(cancel, &permits, &past, found.as_ref(), now) {
            Ok(Some(finished)) => retire_other(found, Decision::Conclude(Box::new(finished))),
            Ok(None) => (DeploymentState::Resting(found), None),
            Err(reason) => await_state(found, reason),
        },
        (Some(StoredJournal::Read(Journal::Finished(finished))), StepEvent::ReportDue) => {
            let report = finished.to_send();
            (
                DeploymentState::Reporting(finished),
                Some(Effect::Report(report)),
            )
        }
        (
            Some(StoredJournal::Read(Journal::Finished(finished))),
            StepEvent::ReportAccepted { attempt },
        ) if finished.report.attempt == attempt => remembering(finished),
        (found, _) => (DeploymentState::Resting(found), None),
    }
}

/// Decides on the journal that a stopped agent has left behind.
///
/// An action that may have happened is not repeated, unless the package allows it.
fn restarted(journal: Journal, id: PackageId, program: ProgramFate, now: UnixTime) -> NextStep {
    match journal {
        Journal::Fetching(fetching) => tidying(fetching),
        Journal::Acting(acting) if acting.is_repeated() => {
            let again = Journal::Fetching(Fetching::interrupted(acting.clone()));
            (
                DeploymentState::Repeating(acting),
                Some(Effect::Write(again)),
            )
        }
        Journal::Acting(acting) => conclude(decide::interrupted_by_stop(id, acting, program, now)),
        Journal::Finished(finished) => freeing(finished),
    }
}

/// Moves the result of another attempt to the history, then carries out the decision.
///
/// The function has announced or cancelled a later attempt, so it does not wait for that result any
/// more.
fn retire_other(found: Option<StoredJournal>, decision: Decision) -> NextStep {
    let Some(StoredJournal::Read(Journal::Finished(other))) = found else {
        return follow(found.as_ref(), decision);
    };
    if other.report.attempt == decision.attempt() {
        return rest(Journal::Finished(other));
    }
    (
        DeploymentState::Retiring(decision),
        Some(Effect::Remember(other)),
    )
}

fn follow(found: Option<&StoredJournal>, decision: Decision) -> NextStep {
    match decision {
        Decision::Begin(attempt) => attempt.begin(found),
        Decision::Conclude(finished) => conclude(*finished),
    }
}

fn awaiting_state(fetching: Fetching, reason: WaitReason) -> NextStep {
    let found = Some(StoredJournal::Read(Journal::Fetching(fetching)));
    (DeploymentState::AwaitingState { found, reason }, None)
}

fn freeing(finished: Finished) -> NextStep {
    (
        DeploymentState::Freeing(finished),
        Some(Effect::FreeContents),
    )
}

fn tidying(fetching: Fetching) -> NextStep {
    (DeploymentState::Tidying(fetching), Some(Effect::Tidy))
}

fn remembering(finished: Finished) -> NextStep {
    (
        DeploymentState::Remembering,
        Some(Effect::Remember(finished)),
    )
}
