//! One attempt at a package, from its beginning to its result.

use std::sync::Arc;

use packcast_protocol::api::{BeginRequest, Report};
use packcast_protocol::result::NamedCode;
use packcast_protocol::state::exchange::UsedMandates;
use packcast_protocol::{Action, Outcome, ResultCode, UnixTime};

use super::attempt_error::AttemptError;
use super::decide::{self, NotBegun};
use super::go::{self, Go};
use super::machine::{
    AttemptStage, DeploymentAttempt, DeploymentState, Effect, NextStep, StepEvent, await_state,
    conclude, rest,
};
use crate::act::{ActResult, Prepared};
use crate::failure::DeploymentFailure;
use crate::manifest::Accepted;
use crate::stage::VerifiedArchive;
use crate::state::journal::{Acting, Finished, Journal, PackageLabel, StoredJournal};
use crate::target_state::permits::WaitReason;

/// The longest time an attempt waits for unreachable locations: as long as OCS agents wait.
///
/// The attempt blocks packages of lower priority for this time.
const MAX_WAIT_S: u64 = 30 * 86_400;

impl DeploymentAttempt {
    /// Begins the attempt, or continues it if the journal on disk already has it.
    pub(super) fn begin(self, found: Option<&StoredJournal>) -> NextStep {
        let journal = Journal::Fetching(self.fetching.clone());
        match found {
            // Writing the same entry again would only cost a disk synchronisation.
            Some(StoredJournal::Read(before)) if *before == journal => self.accept(),
            _ => self.then(AttemptStage::Beginning, Effect::Write(journal)),
        }
    }

    /// Decides the next step of an attempt that waits in `stage`.
    pub(super) fn step(mut self, stage: AttemptStage, event: StepEvent) -> NextStep {
        match (stage, event) {
            (AttemptStage::Beginning, StepEvent::Written) => self.accept(),
            (AttemptStage::Accepting, StepEvent::Manifest(manifest)) => self.fetch(manifest),
            (AttemptStage::Fetching(manifest), StepEvent::Fetched(Some(fetched))) => {
                self.then(AttemptStage::Verifying(manifest), Effect::Verify(fetched))
            }
            (AttemptStage::Fetching(manifest), StepEvent::Fetched(None)) => {
                self.prepare(manifest, None)
            }
            (AttemptStage::Verifying(manifest), StepEvent::Verified(verified)) => {
                self.prepare(manifest, Some(verified))
            }
            (AttemptStage::Preparing(manifest), StepEvent::Prepared(prepared)) => {
                let judge = Effect::Judge(Arc::clone(&manifest));
                self.then(AttemptStage::Judging(manifest, prepared, None), judge)
            }
            (AttemptStage::Asking(manifest, prepared), StepEvent::Permitted(go)) => {
                let judge = Effect::Judge(Arc::clone(&manifest));
                self.then(AttemptStage::Judging(manifest, prepared, Some(go)), judge)
            }
            (AttemptStage::Asking(..), StepEvent::Held(reason)) => self.await_state(reason),
            (
                AttemptStage::Judging(manifest, prepared, go),
                StepEvent::Judged { permits, past, now },
            ) => {
                let is_update = matches!(manifest.action, Action::Update { .. });
                match decide::authorise(&self.task, &permits, &past, Some(is_update), now) {
                    Ok(authorised) => {
                        self.authorised = authorised;
                        match go {
                            None => self.ask(manifest, prepared),
                            Some(go) => self.commit(manifest, prepared, go),
                        }
                    }
                    Err(NotBegun::Concluded(finished)) => conclude(*finished),
                    Err(NotBegun::Waits(reason)) => self.await_state(reason),
                }
            }
            (AttemptStage::Committing(manifest, prepared, go), StepEvent::Written) => {
                self.then(AttemptStage::Acting(manifest), Effect::Act(prepared, go))
            }
            (AttemptStage::Acting(_), StepEvent::GoExpired) => self.withdraw(go::expired()),
            (stage @ AttemptStage::Acting(_), StepEvent::Done { result, now }) => {
                self.finish(result, &stage, now)
            }
            // The journal stays `Acting` until the trial of the staged version has ended.
            (AttemptStage::Acting(_), StepEvent::Staged) => (DeploymentState::Staged, None),
            (stage, StepEvent::EffectFailed { error, now }) => match (stage, error) {
                (stage, AttemptError::Failed(failure)) => self.finish(failure.into(), &stage, now),
                // Repeated damage points to a bad disk, so the second failure waits for the next
                // check-in.
                (AttemptStage::Verifying(manifest), AttemptError::Damaged(_))
                    if !self.refetched =>
                {
                    self.refetched = true;
                    self.fetch(manifest)
                }
                (stage, AttemptError::Later(reason) | AttemptError::Damaged(reason)) => {
                    self.wait(&stage, reason, now)
                }
                (_, AttemptError::NotPermitted(reason)) => self.await_state(reason),
            },
            (stage @ AttemptStage::Acting(_), _) => {
                (DeploymentState::Attempting(self, stage), None)
            }
            (_, StepEvent::Stopped) => rest(Journal::Fetching(self.fetching)),
            (_, StepEvent::AttemptCancelled { now }) => self.cancel(now),
            (stage, _) => (DeploymentState::Attempting(self, stage), None),
        }
    }

    fn then(self, stage: AttemptStage, effect: Effect) -> NextStep {
        (DeploymentState::Attempting(self, stage), Some(effect))
    }

    fn accept(self) -> NextStep {
        let fetch = Effect::FetchManifest(self.task.clone());
        self.then(AttemptStage::Accepting, fetch)
    }

    fn fetch(self, manifest: Arc<Accepted>) -> NextStep {
        let fetch = Effect::FetchFragments(Arc::clone(&manifest));
        self.then(AttemptStage::Fetching(manifest), fetch)
    }

    fn prepare(self, manifest: Arc<Accepted>, verified: Option<VerifiedArchive>) -> NextStep {
        let prepare = Effect::Prepare(Arc::clone(&manifest), verified);
        self.then(AttemptStage::Preparing(manifest), prepare)
    }

    fn ask(self, manifest: Arc<Accepted>, prepared: Box<Prepared>) -> NextStep {
        let permission = &self.authorised.permission;
        let request = BeginRequest {
            id: self.task.id,
            attempt: self.task.attempt,
            commit: permission.under.highest.commit,
            mandates: UsedMandates::first(permission.mandates.iter().cloned()),
        };
        let ask = Effect::Ask(Box::new(request));
        self.then(AttemptStage::Asking(manifest, prepared), ask)
    }

    fn commit(self, manifest: Arc<Accepted>, prepared: Box<Prepared>, go: Go) -> NextStep {
        let acting = Acting {
            attempt: self.task.attempt,
            package: named(&manifest),
            // Storing the same files, or staging the same version again is harmless.
            may_repeat: manifest.rerun_after_interruption
                || matches!(*prepared, Prepared::Store { .. } | Prepared::Update { .. }),
            repeats: self.fetching.repeats(),
            program: None,
            permission: self.authorised.permission.clone(),
        };
        let write = Effect::Write(Journal::Acting(acting));
        self.then(AttemptStage::Committing(manifest, prepared, go), write)
    }

    fn wait(self, stage: &AttemptStage, reason: String, now: UnixTime) -> NextStep {
        if self.fetching.seconds_since_start(now) < MAX_WAIT_S {
            let fetching = self.fetching;
            return (DeploymentState::Waiting { fetching, reason }, None);
        }
        let detail = format!("gave up after {} days: {reason}", MAX_WAIT_S / 86_400);
        let failure = DeploymentFailure::new(NamedCode::Timeout, &detail);
        self.finish(failure.into(), stage, now)
    }

    /// Replaces the journal entry for acting with the entry for fetching, because the agent did not
    /// act.
    fn withdraw(self, reason: WaitReason) -> NextStep {
        let fetching = self.fetching;
        let write = Effect::Write(Journal::Fetching(fetching.paused()));
        let pausing = DeploymentState::Pausing { fetching, reason };
        (pausing, Some(write))
    }

    fn await_state(self, reason: WaitReason) -> NextStep {
        let found = StoredJournal::Read(Journal::Fetching(self.fetching));
        await_state(Some(found), reason)
    }

    fn cancel(self, now: UnixTime) -> NextStep {
        conclude(decide::on_cancelled_fetch(self.task.id, self.fetching, now))
    }

    fn finish(self, result: ActResult, stage: &AttemptStage, now: UnixTime) -> NextStep {
        let manifest = stage.manifest();
        let acted = matches!(stage, AttemptStage::Acting(_));
        let outcome = manifest.map_or(Outcome::Failed, |manifest| {
            result.code.outcome(&manifest.success_codes)
        });
        let report = Report {
            id: self.task.id,
            attempt: self.task.attempt,
            code: result.code,
            detail: result.detail,
            output_tail: result.output_tail,
            finished: now,
            boot: result.boot,
            mandates: UsedMandates::default(),
        };
        // An attempt that acted before an interruption has used up its permission, even if the
        // second try failed before it acted.
        let before = self.fetching.interrupted.map(|before| before.permission);
        let acted = acted.then_some(self.authorised.permission).or(before);
        conclude(Finished {
            report,
            outcome,
            package: manifest.map(named),
            acted,
        })
    }
}

fn named(manifest: &Accepted) -> PackageLabel {
    PackageLabel {
        name: manifest.name.clone(),
        version: manifest.version.clone(),
    }
}

impl From<DeploymentFailure> for ActResult {
    fn from(failure: DeploymentFailure) -> Self {
        Self {
            code: ResultCode::from(failure.code),
            detail: Some(failure.detail),
            output_tail: None,
            stored: None,
            boot: None,
        }
    }
}
