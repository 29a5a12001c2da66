//! Changes of the state by commands.

use packcast_protocol::signature::PublicKey;
use packcast_protocol::state::commit::MAX_COMMIT_VALIDITY_S;
use packcast_protocol::state::{AboutDocument, TrustedRoots};
use packcast_rollout::state::StateChange;
use packcast_store::records::Sign;

use super::commit::{CommitRequest, Committed, Committer};
use crate::clock::now;
use crate::failure::Failure;
use crate::signing::memory_file::MemoryFile;
use crate::target::Target;

/// Changes the state of a target, with the key of a [`Signer`](crate::signing::Signer).
pub struct StateChanger<'a> {
    target: &'a Target,
    trust: TrustedRoots,
    key: &'a PublicKey,
    sign: &'a Sign,
}

impl<'a> StateChanger<'a> {
    /// Prepares changes. The memory of this machine must be readable and writable.
    pub(crate) async fn open(
        target: &'a Target,
        key: &'a PublicKey,
        sign: &'a Sign,
    ) -> Result<Self, Failure> {
        let trust = target.trust()?;
        // Only checks the memory: it is locked again for each change.
        MemoryFile::open(&target.state_memory, &trust).await?;
        Ok(Self {
            target,
            trust,
            key,
            sign,
        })
    }

    /// Makes the changes in one commit. `command` is the command line, for administrators who read
    /// the history.
    ///
    /// The first change of a new target also stores its first key list. The memory of this machine
    /// is locked meanwhile: another command of this machine waits.
    pub async fn change(
        &mut self,
        changes: &[StateChange],
        command: &str,
    ) -> Result<Committed, Failure> {
        let mut memory = MemoryFile::open(&self.target.state_memory, &self.trust).await?;
        let mut committer = Committer {
            records: &self.target.records,
            trust: &self.trust,
            key: self.key,
            sign: self.sign,
            memory: &mut memory,
            clock: now,
        };
        let author = &self.target.author;
        let request = CommitRequest {
            changes,
            about: AboutDocument::shortened(&author.user, &author.host, command, ""),
            valid_for_s: MAX_COMMIT_VALIDITY_S,
        };
        // Boxed, because the futures of all commands contain it.
        Ok(Box::pin(committer.commit(&request)).await?)
    }
}

impl std::fmt::Debug for StateChanger<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateChanger")
            .field("trust", &self.trust)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}
