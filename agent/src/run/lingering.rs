//! Programs that an earlier agent process has started, and that still run.

use std::pin::pin;

use futures_util::future::{Either, select};
use packcast_protocol::PackageId;

use super::Agent;
use super::interim_check_in::InterimCheckIns;
use crate::act::GRACE;
use crate::clock::now;
use crate::deployment::{ProgramFate, StepEvent};
use crate::event::Event;
use crate::state::StateError;
use crate::state::journal::{self, Acting, Journal, RunningProgram, StoredJournal};

impl Agent {
    /// Waits until no program of an earlier agent runs, each at most until its time limit.
    ///
    /// The agent continues to check in meanwhile. Returns `false` if a program still runs, because
    /// the agent was asked to end or because the program cannot be ended.
    pub(super) async fn outlast_programs(
        &self,
        meanwhile: &InterimCheckIns,
    ) -> Result<bool, StateError> {
        for (id, program) in self.lingering() {
            let remaining_s = program.remaining(now()).as_secs();
            (self.observer)(Event::ProgramFound { id, remaining_s });
            let ended = pin!(self.outlast(id, &program));
            let checking_in = pin!(self.check_in_while_waiting(meanwhile));
            let ended = self.stop.run_until_cancelled(select(ended, checking_in));
            match ended.await {
                Some(Either::Left((Ok(true), _))) => {}
                Some(Either::Left((ended, _))) => return ended,
                Some(Either::Right((never, _))) => match never {},
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Ends the program of a stopped agent if its time limit has passed, even without a check-in.
    pub(super) async fn end_overdue(
        &self,
        id: PackageId,
        acting: &Acting,
    ) -> Result<(), StateError> {
        match &acting.program {
            Some(program) if program.remaining(now()).is_zero() => {
                self.outlast(id, program).await.map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Waits for a program until its time limit, ends it then, and continues with its package.
    async fn outlast(&self, id: PackageId, program: &RunningProgram) -> Result<bool, StateError> {
        let record = &program.record;
        let fate = if record.ends_within(program.remaining(now())).await {
            ProgramFate::EndedLater
        } else if record.end(GRACE).await {
            ProgramFate::TimedOut
        } else {
            tracing::error!(package = %id, process = record.process, "cannot end the program of an earlier agent: no package begins before it has ended");
            return Ok(false);
        };
        self.restarted(id, fate).await?;
        Ok(true)
    }

    pub(super) async fn restarted(
        &self,
        id: PackageId,
        program: ProgramFate,
    ) -> Result<(), StateError> {
        let now = now();
        let restarted = StepEvent::Restarted { id, program, now };
        self.happened(id, restarted).await.map(drop)
    }

    fn lingering(&self) -> Vec<(PackageId, RunningProgram)> {
        let journals = journal::read_all(&self.state).into_iter();
        let programs = journals.filter_map(|(id, journal)| match journal {
            StoredJournal::Read(Journal::Acting(acting)) => Some((id, acting.program?)),
            _ => None,
        });
        programs.collect()
    }
}
