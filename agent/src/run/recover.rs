//! Recovery at the beginning of a round: of packages that a stopped agent has left in the middle.

use packcast_protocol::{PackageId, with_causes};

use super::Agent;
use crate::clock::now;
use crate::deployment::Event;
use crate::state::StateError;
use crate::state::journal::{self, Found, Journal};

impl Agent {
    /// Brings every package to rest that an agent that stopped in the middle has left. What is
    /// wrong with one is no reason not to check in.
    pub(super) async fn recover(&self) {
        let packages = self.state.packages().unwrap_or_else(|error| {
            let error = with_causes(&error);
            tracing::error!(error, "what is under way is not known");
            Vec::new()
        });
        for id in packages {
            if let Err(error) = self.recover_package(id).await {
                let error = with_causes(&error);
                tracing::error!(package = %id, error, "the package is not at rest");
            }
        }
    }

    async fn recover_package(&self, id: PackageId) -> Result<(), StateError> {
        match journal::read(&self.state.package(id))? {
            None => self.state.package(id).remove_unused()?,
            Some(Found::Unreadable { path }) => {
                tracing::error!(package = %id, path = %path.display(), "the journal does not read: the package will not be acted on again");
            }
            Some(Found::Read(journal)) => {
                if matches!(journal, Journal::Acting(_)) {
                    tracing::warn!(package = %id, "the last run stopped while it acted on the package");
                }
                self.happened(id, Event::Restarted { id, now: now() })
                    .await?;
            }
        }
        Ok(())
    }
}
