//! One attempt at a package, from its beginning to its result.

use std::collections::BTreeSet;
use std::sync::Arc;

use packcast_protocol::api::{Cancel, Report, Task};
use packcast_protocol::result::NamedCode;
use packcast_protocol::{Outcome, ResultCode, UnixTime};

use super::decide;
use super::halt::Halt;
use super::machine::{Attempt, Effect, Event, Next, Stage, State, conclude, rest};
use crate::act::{Done, Prepared};
use crate::failure::Failure;
use crate::manifest::Accepted;
use crate::stage::Verified;
use crate::state::history::Past;
use crate::state::journal::{Acting, Finished, Found, Journal, Named};
use crate::trust::mandates::Mandates;

/// How long an attempt waits for locations that do not answer: as long as stock agents wait.
/// For so long it holds up all that has a lower priority.
const MAX_WAIT_S: u64 = 30 * 86_400;

impl Attempt {
    /// Begins, or goes on if the journal says already that it was begun.
    pub(super) fn begin(self, found: Option<&Found>) -> Next {
        let journal = Journal::Fetching(self.fetching.clone());
        match found {
            Some(Found::Read(before)) if *before == journal => self.accept(),
            _ => self.then(Stage::Beginning, Effect::Write(journal)),
        }
    }

    /// Decides what follows while the attempt waits in `stage`.
    pub(super) fn step(mut self, stage: Stage, event: Event) -> Next {
        match (stage, event) {
            (Stage::Beginning, Event::Written) => self.accept(),
            (Stage::Accepting, Event::Manifest(manifest)) => self.fetch(manifest),
            (Stage::Fetching(manifest), Event::Fetched(Some(fetched))) => {
                self.then(Stage::Verifying(manifest), Effect::Verify(fetched))
            }
            (Stage::Fetching(manifest), Event::Fetched(None)) => self.prepare(manifest, None),
            (Stage::Verifying(manifest), Event::Verified(verified)) => {
                self.prepare(manifest, Some(verified))
            }
            (Stage::Preparing(manifest), Event::Prepared(prepared)) => {
                let judge = Effect::Judge(Arc::clone(&manifest));
                self.then(Stage::Judging(manifest, prepared), judge)
            }
            (
                Stage::Judging(manifest, prepared),
                Event::Judged {
                    mandates,
                    past,
                    now,
                },
            ) => match decide::wanted(&self.task, &mandates, &past, &self.fetching, now) {
                Ok(by) => {
                    self.by = by;
                    self.commit(manifest, prepared)
                }
                Err(finished) => conclude(*finished),
            },
            (Stage::Committing(manifest, prepared), Event::Written) => {
                self.then(Stage::Acting(manifest), Effect::Act(prepared))
            }
            (stage @ Stage::Acting(_), Event::Done { done, now }) => self.finish(done, &stage, now),
            (stage, Event::Halted { why, now }) => match (stage, why) {
                (stage, Halt::Failed(failure)) => self.finish(failure.into(), &stage, now),
                // A disk that goes on like that has to wait for the next check-in.
                (Stage::Verifying(manifest), Halt::Damaged(_)) if !self.mended => {
                    self.mended = true;
                    self.fetch(manifest)
                }
                (stage, Halt::Later(reason) | Halt::Damaged(reason)) => {
                    self.wait(&stage, reason, now)
                }
            },
            (stage @ Stage::Acting(_), _) => (State::Attempting(self, stage), None),
            (_, Event::Stopped) => rest(Journal::Fetching(self.fetching)),
            (_, Event::BrokenOff { now }) => self.break_off(now),
            (stage, _) => (State::Attempting(self, stage), None),
        }
    }

    fn then(self, stage: Stage, effect: Effect) -> Next {
        (State::Attempting(self, stage), Some(effect))
    }

    fn accept(self) -> Next {
        let fetch = Effect::FetchManifest(self.task.clone());
        self.then(Stage::Accepting, fetch)
    }

    fn fetch(self, manifest: Arc<Accepted>) -> Next {
        let fetch = Effect::FetchFragments(Arc::clone(&manifest));
        self.then(Stage::Fetching(manifest), fetch)
    }

    fn prepare(self, manifest: Arc<Accepted>, verified: Option<Verified>) -> Next {
        let prepare = Effect::Prepare(Arc::clone(&manifest), verified);
        self.then(Stage::Preparing(manifest), prepare)
    }

    fn commit(self, manifest: Arc<Accepted>, prepared: Box<Prepared>) -> Next {
        let acting = Acting {
            attempt: self.task.attempt,
            package: named(&manifest),
            // Files that are stored again are the same files.
            may_repeat: manifest.rerun_after_interruption
                || matches!(*prepared, Prepared::Store { .. }),
            repeats: self.fetching.repeats(),
            by: self.by.clone(),
        };
        let write = Effect::Write(Journal::Acting(acting));
        self.then(Stage::Committing(manifest, prepared), write)
    }

    fn wait(self, stage: &Stage, reason: String, now: UnixTime) -> Next {
        if self.fetching.waited(now) < MAX_WAIT_S {
            let fetching = self.fetching;
            return (State::Waiting { fetching, reason }, None);
        }
        let detail = format!("given up after {} days: {reason}", MAX_WAIT_S / 86_400);
        let failure = Failure::new(NamedCode::Timeout, &detail);
        self.finish(failure.into(), stage, now)
    }

    fn break_off(self, now: UnixTime) -> Next {
        let Task { id, attempt, .. } = self.task;
        let journal = Journal::Fetching(self.fetching);
        let found = Found::Read(journal.clone());
        let cancel = Cancel { id, attempt };
        let (mandates, past) = (Mandates::default(), Past::default());
        match decide::called_off(cancel, &mandates, &past, Some(&found), now) {
            Some(finished) => conclude(finished),
            None => rest(journal),
        }
    }

    fn finish(self, done: Done, stage: &Stage, now: UnixTime) -> Next {
        let manifest = stage.manifest();
        let acted = matches!(stage, Stage::Acting(_));
        let outcome = manifest.map_or(Outcome::Failed, |manifest| {
            done.code.outcome(&manifest.success_codes)
        });
        let report = Report {
            id: self.task.id,
            attempt: self.task.attempt,
            code: done.code,
            detail: done.detail,
            output_tail: done.output_tail,
            finished: now,
        };
        let before = self.fetching.interrupted;
        let (acted, by) = match (acted, before) {
            (true, _) => (true, self.by),
            (false, Some(before)) => (true, before.by),
            (false, None) => (false, BTreeSet::new()),
        };
        conclude(Finished {
            report,
            outcome,
            package: manifest.map(named),
            acted,
            by,
        })
    }
}

fn named(manifest: &Accepted) -> Named {
    Named {
        name: manifest.name.clone(),
        version: manifest.version.clone(),
    }
}

impl From<Failure> for Done {
    fn from(failure: Failure) -> Self {
        Self {
            code: ResultCode::from(failure.code),
            detail: Some(failure.detail),
            output_tail: None,
            stored: None,
        }
    }
}
