//! Updates of the agent: the end of the trial becomes the result of the package.

use packcast_protocol::api::Task;
use packcast_protocol::{PackageId, with_causes};

use super::Agent;
use crate::clock::now;
use crate::command::version_role::VersionRole;
use crate::deployment::StepEvent;
use crate::state::StateError;
use crate::update::{TrialEnd, UpdateState};

impl Agent {
    /// Declares the role in which a starter runs this process.
    pub(crate) fn run_as(&self, role: VersionRole) {
        self.updates.run_as(role);
    }

    /// Tells the starter that this version has checked in. After an error, the next check-in does.
    pub(super) fn note_check_in(&self) {
        if let Err(error) = self.updates.note_check_in() {
            let error = with_causes(&error);
            tracing::error!(error, "cannot tell the starter about the check-in");
        }
    }

    /// Returns `true` if a task is the update whose trial is under way.
    pub(super) fn is_on_trial(&self, task: &Task) -> bool {
        let state = self.updates.state(task.id, task.attempt);
        matches!(state, Ok(Some(UpdateState::OnTrial)))
    }

    /// Returns `true` if the starter has to run another version, so that this process ends.
    pub(crate) fn has_staged_version(&self) -> bool {
        self.updates.has_staged()
    }

    /// Ends the trial of this version with a success, if it has checked in.
    ///
    /// After an error, the next round tries again.
    pub(super) async fn confirm_update(&self) {
        let confirmed = match self.updates.confirm() {
            Ok(Some(task)) => {
                let end = UpdateState::Ended(TrialEnd::Succeeded);
                let rests = self.update_rests(task.package, end).await;
                self.report(task.package, StepEvent::ReportDue).await;
                rests
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
            TrialEnd::Overtaken { installed } => {
                tracing::info!(package = %id, "version {installed} of the agent is installed");
            }
        }
        let now = now();
        self.happened(id, StepEvent::Updated { id, end, now })
            .await?;
        Ok(())
    }
}
