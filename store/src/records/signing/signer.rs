//! What publishers sign. Who holds the key hands in how: nothing here knows one.

use std::error::Error;
use std::fmt;

use packcast_protocol::assignments::{
    Assignee, Assignments, AssignmentsError, Held, SignedAssignments,
};
use packcast_protocol::signature::PublicKey;
use packcast_protocol::signed::{Document as _, Signed, TooLarge};
use packcast_protocol::{PackageId, UnixTime};
use packcast_rollout::GroupState;
use packcast_rollout::validity::Validity;

use super::memory::PublisherMemory;

/// Signs a document, and returns the signature in minisign format.
pub type Sign = dyn Fn(&str) -> Result<String, SignError> + Send + Sync;

/// Who signs what a change leads to, and when.
///
/// A change that meets another is decided anew, and signed anew.
#[derive(Clone, Copy)]
pub struct Signing<'a> {
    pub now: UnixTime,
    /// The keys of the publisher, the first of which signs. Only what one of them has signed is
    /// added to: who owns the table could have put the rest there to have it signed.
    pub keys: &'a [PublicKey],
    pub sign: &'a Sign,
    /// What the publisher remembers: nothing older is added to, and nothing that has expired
    /// without having been known. None for who remembers nothing.
    pub known: Option<&'a PublisherMemory>,
}

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
#[error("the assignments could not be signed")]
pub struct SignError(#[source] Box<dyn Error + Send + Sync>);

/// Why assignments were not signed, and so not written.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error("what {recipient} is assigned on record is not signed by your key")]
    NotOurs { recipient: Assignee },
    #[error(
        "what {recipient} is assigned on record was signed on {}, and later since: somebody, or a table that was restored, has put the earlier state back",
        recorded.issued.day()
    )]
    RolledBack { recipient: Assignee, recorded: Held },
    #[error("the signature of what {recipient} is assigned on record expired on {}", expires.day())]
    Expired {
        recipient: Assignee,
        expires: UnixTime,
    },
    #[error("{recipient} has package {package} on record, whose signed manifest was not seen")]
    Unvouched {
        recipient: Assignee,
        package: PackageId,
    },
    #[error(transparent)]
    Assignments(#[from] AssignmentsError),
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}

impl SignError {
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(source.into())
    }
}

impl Signing<'_> {
    /// For changes of stock devices, which check no signature.
    pub fn without_key(now: UnixTime) -> Self {
        Self {
            now,
            keys: &[],
            sign: &|_| Err(SignError::new("there is no key to sign with")),
            known: None,
        }
    }

    /// Signs a device's assignments.
    pub(crate) fn signed(
        self,
        assignments: &Assignments,
    ) -> Result<SignedAssignments, SigningError> {
        let document = assignments.to_document();
        let signature = (self.sign)(&document)?;
        Ok(Signed::new(document, signature)?)
    }

    /// Signs a group's state.
    pub(crate) fn signed_group(
        self,
        state: GroupState,
        term: Validity,
    ) -> Result<GroupState, SigningError> {
        let document = state.document(term)?.to_document();
        let signature = (self.sign)(&document)?;
        Ok(state.with_signature(term, signature))
    }

    /// Returns the term of what follows a state that is not signed: it is later than all that
    /// is known.
    pub(crate) fn term_after_unsigned(
        self,
        recipient: &Assignee,
        issued: Option<UnixTime>,
    ) -> Validity {
        let known = self.latest(recipient).map(|known| known.issued);
        Validity::following_unsigned(issued, known, self.now)
    }

    /// Returns the latest state of a recipient that the publisher knows of.
    pub(crate) fn latest(self, recipient: &Assignee) -> Option<Held> {
        self.known?.latest(recipient)
    }

    /// Remembers what is on record now.
    pub(crate) fn written(self, recipient: &Assignee, held: Option<Held>) {
        if let (Some(known), Some(held)) = (self.known, held) {
            known.advance(recipient, held);
        }
    }
}

impl fmt::Debug for Signing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signing")
            .field("now", &self.now)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}
