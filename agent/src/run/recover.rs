//! Recovery at the start of a round: brings interrupted packages to rest.

use std::path::PathBuf;

use packcast_protocol::{PackageId, with_causes};

use super::{Agent, damage};
use crate::deployment::ProgramFate;
use crate::state::damage::{DamagedFile, keep_new_copy};
use crate::state::journal::{self, Journal, StoredJournal};
use crate::state::{PackageDir, StateError};

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
            None => {
                let dir = self.state.package(id);
                let unused = self.removals.run(id, &dir, PackageDir::remove_unused);
                unused.await??;
            }
            Some(StoredJournal::Unreadable { path }) => {
                tracing::error!(package = %id, path = %path.display(), "cannot read the journal: the package will not be deployed again");
                self.keep_damaged_journal(id, path)?;
            }
            Some(StoredJournal::Read(journal)) => {
                if let Journal::Acting(acting) = &journal {
                    if let Some(update) = self.updates.state(id, acting.attempt)? {
                        return self.update_rests(id, update).await;
                    }
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

    /// Keeps a copy of a damaged journal, which the result of its package will replace.
    fn keep_damaged_journal(&self, id: PackageId, path: PathBuf) -> Result<(), StateError> {
        let base = self.state.damaged_journal(id);
        let content = std::fs::read(&path).map_err(StateError::at(&path))?;
        let kept = keep_new_copy(&base, &content).map_err(StateError::at(&base))?;
        let damaged = kept.map(|kept| DamagedFile {
            path,
            kept,
            effect: "it is unknown if the package was deployed, so it is deployed after the next assignment only",
        });
        damage::report(&self.observer, damaged);
        Ok(())
    }
}
