//! What publishers sign. Who holds the key hands in how: nothing here knows one.

use std::error::Error;
use std::fmt;

use packcast_protocol::UnixTime;
use packcast_protocol::assignments::{Assignments, AssignmentsError, Recipient, SignedAssignments};
use packcast_protocol::signature::PublicKey;
use packcast_protocol::signed::{Document as _, Signed, TooLarge};
use packcast_rollout::GroupState;
use packcast_rollout::assignments::Term;

/// Signs a document, and returns the signature in minisign format.
pub type Sign = dyn Fn(&str) -> Result<String, SignError> + Send + Sync;

/// Who signs what a change leads to, and when.
///
/// A change that meets another is decided anew, and signed anew.
#[derive(Clone, Copy)]
pub struct Signing<'a> {
    pub now: UnixTime,
    /// The keys of the publisher, the first of which signs. Only what one of them has signed is added to: who owns the
    /// table could have put the rest there to have it signed.
    pub keys: &'a [PublicKey],
    pub sign: &'a Sign,
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
    NotOurs { recipient: Recipient },
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
        }
    }

    /// Signs a device's assignments.
    pub(super) fn signed(
        self,
        assignments: &Assignments,
    ) -> Result<SignedAssignments, SigningError> {
        let document = assignments.to_document();
        let signature = (self.sign)(&document)?;
        Ok(Signed::new(document, signature)?)
    }

    /// Signs a group's state.
    pub(super) fn sealed(self, state: GroupState, term: Term) -> Result<GroupState, SigningError> {
        let document = state.document(term)?.to_document();
        let signature = (self.sign)(&document)?;
        Ok(state.sealed(term, signature))
    }

    /// Tells whether a group's state can be added to.
    pub(super) fn is_ours(self, state: &GroupState) -> bool {
        let is_signed = || state.signed().is_some_and(|signed| self.holds(&signed));
        state.assignments.is_empty() || is_signed()
    }

    /// Reads a recipient's assignments that one of the publisher's keys has signed.
    pub(super) fn ours(
        self,
        signed: &SignedAssignments,
        recipient: &Recipient,
    ) -> Result<Assignments, SigningError> {
        let verified = signed.verify(self.keys).ok();
        let ours = verified.filter(|found| found.recipient() == recipient);
        ours.map(|found| Assignments::clone(&found))
            .ok_or_else(|| SigningError::NotOurs {
                recipient: recipient.clone(),
            })
    }

    /// Tells whether the key that signs now has signed this.
    pub(super) fn is_latest(self, signed: &SignedAssignments) -> bool {
        let key = self.keys.get(..1).unwrap_or_default();
        signed.verify(key).is_ok()
    }

    fn holds(self, signed: &SignedAssignments) -> bool {
        signed.verify(self.keys).is_ok()
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
