//! Commands of an administrator on a gate, each with its event.

use std::ops::ControlFlow;

use packcast_protocol::PackageId;
use packcast_protocol::state::RolloutId;
use packcast_protocol::state::document::Waves;
use packcast_rollout::rollout::{ControlError, Gate, GateChange, end, pause, promote, resume};
use packcast_rollout::{ChangedBy, UnsignedChange};

use super::super::commit::Commit;
use super::super::{Records, RecordsError};

/// Errors from commands on the gate of a rollout.
#[derive(Debug, thiserror::Error)]
pub enum GateControlError {
    #[error("rollout {rollout} has no gate")]
    NoGate { rollout: RolloutId },
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error(transparent)]
    Records(#[from] RecordsError),
}

impl Records {
    /// Pauses a rollout of a package. After this returns, no device takes a place. Returns false if
    /// the rollout was paused or halted already.
    pub async fn pause_rollout(
        &self,
        package: PackageId,
        rollout: RolloutId,
        by: &ChangedBy,
    ) -> Result<bool, GateControlError> {
        let event = UnsignedChange::RolloutPaused { package, rollout };
        let decide = |gate: &Gate| pause(gate);
        self.control_gate(rollout, by, &event, &decide).await
    }

    /// Resumes a rollout of a package. Returns false if it runs and has free places.
    pub async fn resume_rollout(
        &self,
        package: PackageId,
        rollout: RolloutId,
        after_halt: bool,
        by: &ChangedBy,
    ) -> Result<bool, GateControlError> {
        let event = UnsignedChange::RolloutResumed { package, rollout };
        let decide = |gate: &Gate| resume(gate, self.table(), after_halt, by.at.second());
        self.control_gate(rollout, by, &event, &decide).await
    }

    /// Opens the next wave of a rollout of a package. `waves` are those of the signed document, which
    /// has a time for this wave that has come.
    ///
    /// Returns false if the wave was opened in the
    /// meantime, by another command or by a check-in: it is not followed by another one.
    pub async fn promote_rollout(
        &self,
        package: PackageId,
        rollout: RolloutId,
        waves: &Waves,
        by: &ChangedBy,
    ) -> Result<bool, GateControlError> {
        let Some(gate) = self.gate(rollout).await? else {
            return Err(GateControlError::NoGate { rollout });
        };
        let next = gate.wave.next();
        let event = UnsignedChange::RolloutPromoted {
            package,
            rollout,
            wave: next.unwrap_or(gate.wave),
        };
        let decide = |gate: &Gate| {
            let is_open = next.is_some_and(|next| gate.wave >= next);
            (!is_open)
                .then(|| promote(gate, self.table(), waves, by.at.second()))
                .transpose()
        };
        self.control_gate(rollout, by, &event, &decide).await
    }

    /// Ends a rollout of a package. After this returns, no device takes a place. Returns false if the
    /// rollout has ended already.
    pub async fn end_rollout(
        &self,
        package: PackageId,
        rollout: RolloutId,
        by: &ChangedBy,
    ) -> Result<bool, GateControlError> {
        let event = UnsignedChange::RolloutEnded { package, rollout };
        let decide = |gate: &Gate| Ok(end(gate));
        self.control_gate(rollout, by, &event, &decide).await
    }

    /// Writes a change of a gate with its event. Returns false if nothing changes by the decision.
    async fn control_gate(
        &self,
        rollout: RolloutId,
        by: &ChangedBy,
        event: &UnsignedChange,
        decide: &(impl Fn(&Gate) -> Result<Option<GateChange>, ControlError> + Sync),
    ) -> Result<bool, GateControlError> {
        self.retry_on_conflict((), |()| async move {
            let Some(gate) = self.gate(rollout).await? else {
                return Err(GateControlError::NoGate { rollout });
            };
            let Some(change) = decide(&gate)? else {
                return Ok(ControlFlow::Break(false));
            };
            let writes = vec![
                self.changing_gate(rollout, &change),
                self.event(by, event.clone()),
            ];
            Ok(match self.commit(writes).await? {
                Commit::Done => ControlFlow::Break(true),
                Commit::Refused(_) => ControlFlow::Continue(()),
            })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_messages() {
        let rollout = RolloutId::from_bytes([7; 16]);
        let error = GateControlError::NoGate { rollout };
        insta::assert_snapshot!(error, @"rollout a4dqobyha4dqobyha4dqobyha4 has no gate");
    }
}
