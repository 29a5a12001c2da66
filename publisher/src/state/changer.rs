//! Changes of the state by commands.

use packcast_protocol::signature::PublicKey;
use packcast_protocol::state::commit::MAX_COMMIT_VALIDITY_S;
use packcast_protocol::state::{AboutDocument, Commit, CommitId, TrustedRoots};
use packcast_rollout::state::StateChange;
use packcast_store::records::{Head, Sign};

use super::adopt::lost_changes;
use super::changed::Changed;
use super::clock_check;
use super::commit::{CommitRequest, Committer, Made, OnHead, Validity};
use super::error::StateError;
use super::expiry;
use super::key_list::{KeyChange, ListChange, StateKey};
use super::removal::Removal;
use super::restored::Restoration;
use crate::clock::now;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::signing::memory_file::MemoryFile;
use crate::target::Target;

/// Changes the state of a target, with the key of a [`Signer`](crate::signing::Signer).
pub struct StateChanger<'a> {
    target: &'a Target,
    trust: TrustedRoots,
    key: &'a PublicKey,
    sign: &'a Sign,
    /// A root key that renews the key list with each change.
    root: Option<StateKey<'a>>,
    valid_for_s: u64,
    on_head: OnHead<'a>,
}

impl<'a> StateChanger<'a> {
    /// Prepares changes. The memory of this machine must be readable and writable, and its clock
    /// must be right; `accept_clock` is the word of a person for a clock without a comparison.
    pub(crate) async fn open(
        target: &'a Target,
        key: &'a PublicKey,
        sign: &'a Sign,
        accept_clock: bool,
    ) -> Result<Self, Failure> {
        let trust = target.trust()?;
        check_clock(target, accept_clock).await?;
        // Only checks the memory: it is locked again for each change.
        MemoryFile::open(&target.state_memory, &trust).await?;
        Ok(Self {
            target,
            trust,
            key,
            sign,
            root: None,
            valid_for_s: MAX_COMMIT_VALIDITY_S,
            on_head: OnHead::Any,
        })
    }

    /// Renews the key list with each change, by this root key.
    #[must_use]
    pub(crate) fn with_root(self, root: Option<StateKey<'a>>) -> Self {
        Self { root, ..self }
    }

    /// Makes changes only on these heads.
    #[must_use]
    pub(crate) fn on(self, on_head: OnHead<'a>) -> Self {
        Self { on_head, ..self }
    }

    /// Makes commits that are valid for this time in seconds, at most 90 days.
    #[must_use]
    pub(super) const fn valid_for(mut self, valid_for_s: u64) -> Self {
        self.valid_for_s = valid_for_s;
        self
    }

    /// Makes the changes in one commit. `command` is the command line, for administrators who read
    /// the history. The caller completes the records.
    ///
    /// The first change of a new target also stores its first key list. The memory of this machine
    /// is locked meanwhile: another command of this machine waits.
    pub async fn change(
        &mut self,
        changes: &[StateChange],
        command: &str,
    ) -> Result<Changed<'a>, Failure> {
        Ok(self.change_with_validity(changes, command).await?.0)
    }

    /// Changes the key list, together with a commit that signs the state again. Completes the records
    /// of interrupted commands.
    pub(super) async fn change_list(
        &mut self,
        change: &ListChange<'_>,
        command: &str,
    ) -> Result<(), Failure> {
        let renew = [StateChange::Renew];
        let (changed, _) = self.change_all(&renew, Some(change), command).await?;
        changed.complete(&Progress::none()).await?;
        Ok(())
    }

    /// Removes a leaked key, and goes back to a commit. The caller completes the records.
    pub(super) async fn remove_key(
        &mut self,
        removal: &Removal<'_>,
        command: &str,
    ) -> Result<Head, Failure> {
        let mut memory = MemoryFile::open(&self.target.state_memory, &self.trust).await?;
        let request = self.request(&[StateChange::Renew], command);
        let mut committer = self.committer(&mut memory);
        let (head, unknown) = Box::pin(committer.remove_key(removal, &request)).await?;
        self.warn_of(unknown);
        Ok(head)
    }

    /// Makes a commit on the head of a restored table.
    pub(super) async fn restore(
        &mut self,
        restoration: &Restoration<'_>,
        command: &str,
    ) -> Result<(Changed<'a>, Validity), Failure> {
        let mut memory = MemoryFile::open(&self.target.state_memory, &self.trust).await?;
        let request = self.request(&[StateChange::Renew], command);
        let mut committer = self.committer(&mut memory);
        let list = self.renewal();
        let made = Box::pin(committer.restore(restoration, &request, list.as_ref())).await?;
        Ok(self.conclude(made, &[]))
    }

    /// Makes the changes, and warns if the state expires soon.
    pub(super) async fn change_with_validity(
        &mut self,
        changes: &[StateChange],
        command: &str,
    ) -> Result<(Changed<'a>, Validity), Failure> {
        let renewal = self.renewal();
        self.change_all(changes, renewal.as_ref(), command).await
    }

    async fn change_all(
        &mut self,
        changes: &[StateChange],
        list: Option<&ListChange<'_>>,
        command: &str,
    ) -> Result<(Changed<'a>, Validity), Failure> {
        let mut memory = MemoryFile::open(&self.target.state_memory, &self.trust).await?;
        let request = self.request(changes, command);
        let mut committer = self.committer(&mut memory);
        // Boxed, because the futures of all commands contain it.
        let made = committer.commit_with_list(&request, list, self.on_head);
        let made = Box::pin(made).await?;
        Ok(self.conclude(made, changes))
    }

    /// Warns of a state that expires soon, and of changes that are lost.
    fn conclude(&self, made: Made, changes: &[StateChange]) -> (Changed<'a>, Validity) {
        for warning in expiry::warnings(made.validity, &self.target.name, now()) {
            self.target.warnings.push(warning);
        }
        self.warn_of(made.unknown);
        let done = Changed::new(self.target, (made.committed, made.leaves), changes);
        (done, made.validity)
    }

    fn warn_of(&self, unknown: Vec<CommitId>) {
        for commit in unknown {
            self.target.warnings.push(lost_changes(commit));
        }
    }

    fn renewal(&self) -> Option<ListChange<'a>> {
        self.root.map(|root| ListChange {
            root,
            keys: KeyChange::Renew,
        })
    }

    fn committer<'m>(&'m self, memory: &'m mut MemoryFile) -> Committer<'m> {
        Committer {
            records: &self.target.records,
            trust: &self.trust,
            key: self.key,
            sign: self.sign,
            memory,
            clock: &now,
        }
    }

    fn request<'m>(&self, changes: &'m [StateChange], command: &str) -> CommitRequest<'m> {
        let author = &self.target.author;
        CommitRequest {
            changes,
            about: AboutDocument::shortened(&author.user, &author.host, command, ""),
            valid_for_s: self.valid_for_s,
        }
    }
}

/// Refuses to sign if the clock of this machine is wrong.
pub(crate) async fn check_clock(target: &Target, accept: bool) -> Result<(), StateError> {
    let (head, service) = target.records.head_with_time().await?;
    // A forged time has no effect: the change of a forged head fails.
    let commit =
        head.and_then(|head| serde_json::from_str::<Commit>(head.commit.signed.text()).ok());
    let issued = commit.map(|commit| commit.issued);
    match clock_check::check(now(), service, issued) {
        Err(error) if !(accept && error.may_be_accepted()) => Err(error.into()),
        _ => Ok(()),
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
