//! Errors from reading and changing the state of a target.

use packcast_protocol::signature::PublicKey;
use packcast_protocol::state::commit::CommitError;
use packcast_protocol::state::key_list::{KeyChainError, KeyListError};
use packcast_protocol::state::signed_text::{SignedTextError, SignedTextTooLarge};
use packcast_protocol::state::{CommitId, LeafName, NodeHash, PartialTreeError};
use packcast_protocol::{GroupName, PackageId};
use packcast_rollout::state::{NotLoaded, StateChangeError, StatePartError};
use packcast_store::RecordsError;
use packcast_store::records::{HeadChange, SignError};

use super::clock_check::ClockError;
use super::failed_records::FailedRecords;
use crate::failure::{Failure, Kind, NameKind};
use crate::signing::memory_file::MemoryFileError;

/// Errors from reading and changing the state of a target.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("the target has no key list that its root keys have signed")]
    NoKeyList,
    #[error("the target has no commit yet")]
    NoHead,
    #[error("cannot verify the head of the target")]
    Head(#[source] SignedTextError),
    #[error("the head of the target is another commit: expected {expected}, found {found}")]
    OtherCommit { expected: CommitId, found: CommitId },
    #[error("the table has no key list {serial}, which the head {commit} names")]
    NoListOf { commit: CommitId, serial: u64 },
    #[error("key list {serial} does not accept the number of the head {commit}")]
    BelowList { commit: CommitId, serial: u64 },
    #[error("the table has no commit {commit} in its place among the changes of the head")]
    NoCommit { commit: CommitId },
    #[error("the table has no page {hash}")]
    NoPage { hash: NodeHash },
    #[error("cannot read page {hash}")]
    Page {
        hash: NodeHash,
        #[source]
        source: PartialTreeError,
    },
    #[error("the newest key list does not name your key {key}")]
    KeyNotNamed { key: PublicKey },
    #[error("your key {key} is retired: it signs no further changes")]
    KeyRetired { key: PublicKey },
    #[error("your key {key} is not a root key of the target, so it cannot change the key list")]
    NotRoot { key: PublicKey },
    #[error(
        "cannot remove root key {lost}: it has a higher rank than your key, so its key lists replace yours"
    )]
    HigherRank { lost: PublicKey },
    #[error("the newest key list has expired")]
    ListExpired,
    #[error(
        "the head of the target leaves out commit {commit}: the table was restored, or someone put an earlier head back"
    )]
    LeavesOut { commit: CommitId },
    #[error(
        "the table lacks key list {serial}, which this machine remembers: the table was restored, or someone has removed the list"
    )]
    LacksList { serial: u64 },
    #[error(
        "the head of the target is commit {head}, which does not contain the confirmed commit {confirmed}"
    )]
    NotConfirmed { head: CommitId, confirmed: CommitId },
    #[error("the target leaves out no commit that this machine remembers: nothing was restored")]
    NothingRestored,
    #[error("this machine does not know the head of the target: {head}")]
    UnknownHead { head: CommitId },
    #[error("cannot change the state of the target: {}", lines(.0))]
    Changes(Vec<StateChangeError>),
    #[error("package {0} was deleted, or it does not exist")]
    Deleted(PackageId),
    #[error(
        "one commit would assign {count} packages, at most {} are allowed",
        HeadChange::MAX_PACKAGES
    )]
    TooManyPackages { count: usize },
    #[error("other commits came first each time; devices may still receive commit {commit}")]
    Conflict { commit: CommitId },
    #[error("cannot sign the difference that was shown: somebody has changed the target since")]
    ChangedSince,
    #[error("cannot sign the planned changes: somebody has changed {name} since they were planned")]
    DocumentChanged { name: LeafName },
    #[error(
        "cannot sign the difference that was shown: this machine has first to complete its earlier commit {commit}"
    )]
    OthersFirst { commit: CommitId },
    #[error("cannot compare the states: more differs than may be read")]
    OverLimit,
    #[error("cannot complete the records of the target: other commits came first each time")]
    Overtaken,
    #[error(transparent)]
    FailedRecords(#[from] FailedRecords),
    #[error("cannot sign the state of the target")]
    Clock(#[from] ClockError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    List(#[from] KeyListError),
    #[error(transparent)]
    Chain(#[from] KeyChainError),
    #[error(transparent)]
    TooLarge(#[from] SignedTextTooLarge),
    #[error(transparent)]
    Part(#[from] StatePartError),
    #[error(transparent)]
    NotLoaded(#[from] NotLoaded),
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error(transparent)]
    Memory(#[from] MemoryFileError),
    #[error(transparent)]
    Records(#[from] RecordsError),
}

const COMPARE_TRUST: &str =
    "compare the trust lines that 'packcast keys show' prints on this machine and on another one";

const RESTORED: &str =
    "if an administrator has restored the table from a back-up, run 'packcast sign --restored'";

impl StateError {
    /// Returns true if the table has lost or changed a part of the state, so that a retry does not
    /// help.
    pub const fn is_of_content(&self) -> bool {
        matches!(
            self,
            Self::NoPage { .. }
                | Self::Page { .. }
                | Self::Part(_)
                | Self::NotLoaded(_)
                | Self::Records(RecordsError::Corrupt { .. })
        )
    }

    /// Returns the groups whose names the changes of a state refuse.
    fn refused_groups(&self) -> Vec<GroupName> {
        let Self::Changes(errors) = self else {
            return Vec::new();
        };
        let groups = errors.iter().filter_map(|error| match error {
            StateChangeError::NoGroup { group } | StateChangeError::Exists { group } => {
                Some(group.clone())
            }
            StateChangeError::MembersOfAll
            | StateChangeError::DeleteAll
            | StateChangeError::RenameAll => Some(GroupName::all()),
            _ => None,
        });
        groups.collect()
    }
}

fn lines(errors: &[StateChangeError]) -> String {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    lines.join("; ")
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        let hint = match &error {
            StateError::NoKeyList | StateError::NoHead => Some(
                "make the first change of a new target on the machine that has created it; with an offline root key, run 'packcast sign --root-key FILE'",
            ),
            StateError::Head(_) | StateError::BelowList { .. } => Some(COMPARE_TRUST),
            StateError::OtherCommit { .. }
            | StateError::NoListOf { .. }
            | StateError::NoCommit { .. }
            | StateError::NoPage { .. }
            | StateError::Page { .. } => Some(
                "restore the table from a back-up: it has lost a part of the state, or hides it",
            ),
            StateError::KeyNotNamed { .. } => {
                Some("ask the owner of a root key to add your key to the key list")
            }
            StateError::KeyRetired { .. } => {
                Some("use the new key; if 'packcast keys rotate' was interrupted, run it again")
            }
            StateError::NotRoot { .. } => {
                Some("pass the root key with --root-key, or ask its owner to change the key list")
            }
            StateError::HigherRank { .. } => Some(
                "ask the owner of a root key of higher rank; without one, create another target, and give its trust line to all devices",
            ),
            StateError::ListExpired => Some(
                "run 'packcast sign' with a root key, or 'packcast sign --root-key FILE': it renews the key list",
            ),
            StateError::LeavesOut { .. } | StateError::LacksList { .. } => Some(
                "if nobody restored the table, somebody else controls it: change no assignments until you know who",
            ),
            StateError::NotConfirmed { .. } => Some(
                "run 'packcast sign --restored' to see the head and the commits that it leaves out",
            ),
            StateError::NothingRestored => Some(
                "run 'packcast sign' without --restored; if an earlier 'packcast sign --restored' was interrupted, run 'packcast sign --all-records'",
            ),
            StateError::UnknownHead { .. } => Some(
                "run 'packcast keys accept-head' to see the commit, compare it with another machine, and confirm it",
            ),
            StateError::Conflict { .. } => {
                Some("run the same command again: it continues from the commit that was not stored")
            }
            StateError::ChangedSince => Some("look at the present difference"),
            StateError::DocumentChanged { .. } => {
                Some("run the same command again: it plans the changes again")
            }
            StateError::OthersFirst { .. } => Some(
                "run 'packcast sign' to complete the earlier commit, whose command was interrupted or came too late",
            ),
            StateError::FailedRecords(failed) if !failed.is_retryable() => Some(
                "find out who can write to the table; restore these records from a back-up, then run any command that changes the target",
            ),
            StateError::Overtaken | StateError::FailedRecords(_) => {
                Some("run any command that changes the target: it completes the records")
            }
            StateError::Clock(clock) if clock.may_be_accepted() => Some(
                "correct the clock; if it is right, run 'packcast sign --accept-clock' to sign the state at this time",
            ),
            StateError::Clock(_) => Some("correct the clock of this machine"),
            StateError::TooManyPackages { .. } => Some("assign fewer packages with one command"),
            _ => None,
        };
        let second = match &error {
            StateError::NoKeyList => Some(COMPARE_TRUST),
            StateError::LeavesOut { .. } | StateError::LacksList { .. } => Some(RESTORED),
            _ => None,
        };
        let groups = error.refused_groups();
        let failure = match error {
            StateError::Records(error) => return error.into(),
            StateError::Memory(error) => return error.into(),
            StateError::Conflict { .. } | StateError::Overtaken => Self::new(Kind::TryLater, error),
            StateError::FailedRecords(ref failed) if failed.is_retryable() => {
                Self::new(Kind::TryLater, error)
            }
            StateError::LeavesOut { .. }
            | StateError::LacksList { .. }
            | StateError::NotConfirmed { .. }
            | StateError::NothingRestored
            | StateError::ChangedSince
            | StateError::DocumentChanged { .. }
            | StateError::OthersFirst { .. }
            | StateError::UnknownHead { .. } => Self::conflict(error),
            error => Self::failed(error),
        };
        let failure = hint.into_iter().chain(second).fold(failure, Failure::hint);
        let refuse = |failure: Self, group| failure.refuses(NameKind::Group, group);
        groups.into_iter().fold(failure, refuse)
    }
}

#[cfg(test)]
mod tests {
    use packcast_protocol::signature::SignatureError;
    use packcast_protocol::{Sha256Digest, UnixTime};

    use super::*;
    use crate::rendered::failures;

    fn commit(number: u64) -> CommitId {
        CommitId {
            number,
            digest: Sha256Digest::of(&number.to_be_bytes()),
        }
    }

    #[test]
    fn errors_have_next_steps() {
        let hash = NodeHash::from_bytes([7; 32]);
        let bytes = [&b"Ed"[..], &[1; 40]].concat();
        let key = || data_encoding::BASE64.encode(&bytes).parse().unwrap();
        let group: GroupName = "lab".parse().unwrap();
        let name = LeafName::Group(group.clone());
        let errors = [
            StateError::NoKeyList,
            StateError::NoHead,
            StateError::Head(SignedTextError::Signature {
                name: "commit",
                source: SignatureError::UntrustedKey,
            }),
            StateError::OtherCommit {
                expected: commit(1),
                found: commit(2),
            },
            StateError::NoListOf {
                commit: commit(1),
                serial: 2,
            },
            StateError::BelowList {
                commit: commit(1),
                serial: 3,
            },
            StateError::NoCommit { commit: commit(1) },
            StateError::NoPage { hash },
            StateError::Page {
                hash,
                source: PartialTreeError::CutOff,
            },
            StateError::KeyNotNamed { key: key() },
            StateError::KeyRetired { key: key() },
            StateError::NotRoot { key: key() },
            StateError::HigherRank { lost: key() },
            StateError::ListExpired,
            StateError::Clock(ClockError::Untold),
            StateError::Clock(ClockError::Differs {
                here: UnixTime(1_795_000_000),
                table: UnixTime(1_795_086_400),
            }),
            StateError::Changes(vec![StateChangeError::NoGroup { group }]),
            StateError::Deleted("1795000000".parse().unwrap()),
            StateError::TooManyPackages { count: 91 },
            StateError::Conflict { commit: commit(1) },
            StateError::ChangedSince,
            StateError::DocumentChanged { name },
            StateError::OthersFirst { commit: commit(1) },
            StateError::OverLimit,
            StateError::Overtaken,
        ];
        insta::assert_snapshot!(failures(errors.map(Failure::from)), @"
        Failed: the target has no key list that its root keys have signed
        hint: make the first change of a new target on the machine that has created it; with an offline root key, run 'packcast sign --root-key FILE'
        hint: compare the trust lines that 'packcast keys show' prints on this machine and on another one
        Failed: the target has no commit yet
        hint: make the first change of a new target on the machine that has created it; with an offline root key, run 'packcast sign --root-key FILE'
        Failed: cannot verify the head of the target: cannot verify the commit: the signature is not by a trusted key
        hint: compare the trust lines that 'packcast keys show' prints on this machine and on another one
        Failed: the head of the target is another commit: expected 1-cd2662154e6d76b2b2b92e70c0cac3ccf534f9b74eb5b89819ec509083d00a50, found 2-cd04a4754498e06db5a13c5f371f1f04ff6d2470f24aa9bd886540e5dce77f70
        hint: restore the table from a back-up: it has lost a part of the state, or hides it
        Failed: the table has no key list 2, which the head 1-cd2662154e6d76b2b2b92e70c0cac3ccf534f9b74eb5b89819ec509083d00a50 names
        hint: restore the table from a back-up: it has lost a part of the state, or hides it
        Failed: key list 3 does not accept the number of the head 1-cd2662154e6d76b2b2b92e70c0cac3ccf534f9b74eb5b89819ec509083d00a50
        hint: compare the trust lines that 'packcast keys show' prints on this machine and on another one
        Failed: the table has no commit 1-cd2662154e6d76b2b2b92e70c0cac3ccf534f9b74eb5b89819ec509083d00a50 in its place among the changes of the head
        hint: restore the table from a back-up: it has lost a part of the state, or hides it
        Failed: the table has no page 0707070707070707070707070707070707070707070707070707070707070707
        hint: restore the table from a back-up: it has lost a part of the state, or hides it
        Failed: cannot read page 0707070707070707070707070707070707070707070707070707070707070707: the tree ends too early
        hint: restore the table from a back-up: it has lost a part of the state, or hides it
        Failed: the newest key list does not name your key RWQBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB
        hint: ask the owner of a root key to add your key to the key list
        Failed: your key RWQBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB is retired: it signs no further changes
        hint: use the new key; if 'packcast keys rotate' was interrupted, run it again
        Failed: your key RWQBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB is not a root key of the target, so it cannot change the key list
        hint: pass the root key with --root-key, or ask its owner to change the key list
        Failed: cannot remove root key RWQBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB: it has a higher rank than your key, so its key lists replace yours
        hint: ask the owner of a root key of higher rank; without one, create another target, and give its trust line to all devices
        Failed: the newest key list has expired
        hint: run 'packcast sign' with a root key, or 'packcast sign --root-key FILE': it renews the key list
        Failed: cannot sign the state of the target: the table does not tell the time, so the clock of this machine cannot be compared
        hint: correct the clock; if it is right, run 'packcast sign --accept-clock' to sign the state at this time
        Failed: cannot sign the state of the target: the clock of this machine shows 2026-11-18 11:06:40 UTC, that of the table 2026-11-19 11:06:40 UTC
        hint: correct the clock of this machine
        Failed: cannot change the state of the target: group lab does not exist: create it with 'packcast group create lab'
        Failed: package 1795000000 was deleted, or it does not exist
        Failed: one commit would assign 91 packages, at most 90 are allowed
        hint: assign fewer packages with one command
        TryLater: other commits came first each time; devices may still receive commit 1-cd2662154e6d76b2b2b92e70c0cac3ccf534f9b74eb5b89819ec509083d00a50
        hint: run the same command again: it continues from the commit that was not stored
        Conflict: cannot sign the difference that was shown: somebody has changed the target since
        hint: look at the present difference
        Conflict: cannot sign the planned changes: somebody has changed group/lab since they were planned
        hint: run the same command again: it plans the changes again
        Conflict: cannot sign the difference that was shown: this machine has first to complete its earlier commit 1-cd2662154e6d76b2b2b92e70c0cac3ccf534f9b74eb5b89819ec509083d00a50
        hint: run 'packcast sign' to complete the earlier commit, whose command was interrupted or came too late
        Failed: cannot compare the states: more differs than may be read
        TryLater: cannot complete the records of the target: other commits came first each time
        hint: run any command that changes the target: it completes the records
        ");
    }

    #[test]
    fn errors_of_other_heads_have_next_steps() {
        let errors = [
            StateError::LeavesOut { commit: commit(1) },
            StateError::LacksList { serial: 3 },
            StateError::NotConfirmed {
                head: commit(1),
                confirmed: commit(2),
            },
            StateError::NothingRestored,
            StateError::UnknownHead { head: commit(1) },
        ];
        insta::assert_snapshot!(failures(errors.map(Failure::from)), @"
        Conflict: the head of the target leaves out commit 1-cd2662154e6d76b2b2b92e70c0cac3ccf534f9b74eb5b89819ec509083d00a50: the table was restored, or someone put an earlier head back
        hint: if nobody restored the table, somebody else controls it: change no assignments until you know who
        hint: if an administrator has restored the table from a back-up, run 'packcast sign --restored'
        Conflict: the table lacks key list 3, which this machine remembers: the table was restored, or someone has removed the list
        hint: if nobody restored the table, somebody else controls it: change no assignments until you know who
        hint: if an administrator has restored the table from a back-up, run 'packcast sign --restored'
        Conflict: the head of the target is commit 1-cd2662154e6d76b2b2b92e70c0cac3ccf534f9b74eb5b89819ec509083d00a50, which does not contain the confirmed commit 2-cd04a4754498e06db5a13c5f371f1f04ff6d2470f24aa9bd886540e5dce77f70
        hint: run 'packcast sign --restored' to see the head and the commits that it leaves out
        Conflict: the target leaves out no commit that this machine remembers: nothing was restored
        hint: run 'packcast sign' without --restored; if an earlier 'packcast sign --restored' was interrupted, run 'packcast sign --all-records'
        Conflict: this machine does not know the head of the target: 1-cd2662154e6d76b2b2b92e70c0cac3ccf534f9b74eb5b89819ec509083d00a50
        hint: run 'packcast keys accept-head' to see the commit, compare it with another machine, and confirm it
        ");
    }
}
