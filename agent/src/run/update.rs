//! Updates of the agent: the end of the trial becomes the result of the package.

use packcast_protocol::{PackageId, with_causes};

use super::Agent;
use crate::clock::now;
use crate::deployment::StepEvent;
use crate::state::StateError;
use crate::update::{TrialEnd, UpdateState};

impl Agent {
    /// Declares that this process is a version on trial.
    pub(crate) fn begin_trial(&self) {
        self.updates.begin_trial();
    }

    /// Returns `true` if the starter has to run another version, so that this process ends.
    pub(crate) fn has_staged_version(&self) -> bool {
        self.updates.has_staged()
    }

    /// Ends the trial of this version with a success, because it has checked in.
    ///
    /// After an error, the next check-in tries again.
    pub(super) async fn confirm_update(&self) {
        let confirmed = match self.updates.confirm() {
            Ok(Some(task)) => {
                let end = UpdateState::Ended(TrialEnd::Succeeded);
                self.update_rests(task.package, end).await
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = confirmed {
            let error = with_causes(&error);
            tracing::error!(error, "cannot complete the update of the agent");
        }
    }

    /// Turns the end of a trial into a result. Until the end, the package rests.
    pub(super) async fn update_rests(
        &self,
        id: PackageId,
        update: UpdateState,
    ) -> Result<(), StateError> {
        let UpdateState::Ended(end) = update else {
            return Ok(());
        };
        match &end {
            TrialEnd::Succeeded => tracing::info!(package = %id, "the agent is updated"),
            TrialEnd::Failed { reason } => tracing::error!(package = %id, "{reason}"),
        }
        let now = now();
        self.happened(id, StepEvent::Updated { id, end, now })
            .await?;
        Ok(())
    }
}
