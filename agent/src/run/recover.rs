//! Recovery at the start of a round: brings interrupted packages to rest.

use packcast_protocol::{PackageId, with_causes};

use super::Agent;
use crate::deployment::ProgramFate;
use crate::state::StateError;
use crate::state::journal::{self, Journal, StoredJournal};

impl Agent {
    /// Brings every package to rest that a stopped agent has left in the middle.
    ///
    /// A faulty package does not prevent the check-in.
    pub(super) async fn recover(&self) {
        let packages = self.state.packages().unwrap_or_else(|error| {
            let error = with_causes(&error);
            tracing::error!(error, "cannot list the packages under way");
            Vec::new()
        });
        for id in packages {
            if let Err(error) = self.recover_package(id).await {
                let error = with_causes(&error);
                tracing::error!(package = %id, error, "cannot recover the package");
            }
        }
    }

    async fn recover_package(&self, id: PackageId) -> Result<(), StateError> {
        match journal::read(&self.state.package(id))? {
            // Without a journal, no work is under way, so the folder holds nothing of value.
            None => self.state.package(id).remove_unused()?,
            Some(StoredJournal::Unreadable { path }) => {
                tracing::error!(package = %id, path = %path.display(), "cannot read the journal: the package will not be deployed again");
            }
            Some(StoredJournal::Read(journal)) => {
                if let Journal::Acting(acting) = &journal {
                    tracing::warn!(package = %id, "the agent stopped while it acted on the package");
                    if acting.is_running() {
                        // No package begins before this program has ended.
                        return self.end_overdue(id, acting).await;
                    }
                }
                self.restarted(id, ProgramFate::Unseen).await?;
            }
        }
        Ok(())
    }
}
