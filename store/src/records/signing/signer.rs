//! Signing on behalf of a publisher. The publisher passes a closure, so this crate never sees a
//! secret key.

use std::error::Error;
use std::fmt;

use packcast_protocol::assignments::{
    Assignee, Assignments, AssignmentsError, Held, SignedAssignments,
};
use packcast_protocol::signature::PublicKey;
use packcast_protocol::signed::{Signed, SignedDocument as _, TooLarge};
use packcast_protocol::{PackageId, UnixTime};
use packcast_rollout::GroupState;
use packcast_rollout::validity::Validity;

use super::memory::PublisherMemory;

/// A closure that signs a document and returns the signature in minisign format.
pub type Sign = dyn Fn(&str) -> Result<String, SignError> + Send + Sync;

/// Keys, memory and time for signing the result of a change.
///
/// After a conflict, a change is decided again and signed again.
#[derive(Clone, Copy)]
pub struct Signing<'a> {
    pub now: UnixTime,
    /// Public keys of the publisher, the first of which signs.
    ///
    /// A change only adds to assignments that are signed by one of these keys: anyone who can
    /// write to the table could have put others there to have them signed.
    pub keys: &'a [PublicKey],
    pub sign: &'a Sign,
    /// Memory of the publisher.
    ///
    /// A change does not add to assignments that are older than the remembered ones, or that have
    /// expired and are not remembered. `None` means that there is no memory, and no such check.
    pub memory: Option<&'a PublisherMemory>,
}

/// Error from the publisher's closure that signs.
#[derive(Debug, thiserror::Error)]
#[error("cannot sign the assignments")]
pub struct SignError(#[source] Box<dyn Error + Send + Sync>);

/// Errors from signing assignments. The assignments are not written either.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error("the recorded assignments of {recipient} are not signed by your key")]
    NotOurs { recipient: Assignee },
    #[error(
        "the recorded assignments of {recipient} were signed on {}, but later ones exist: the table was restored, or someone put the earlier state back",
        recorded.issued.day()
    )]
    RolledBack { recipient: Assignee, recorded: Held },
    #[error("the recorded assignments of {recipient} expired on {}", expires.day())]
    Expired {
        recipient: Assignee,
        expires: UnixTime,
    },
    #[error(
        "the recorded assignments of {recipient} have package {package}, whose signed manifest is not verified"
    )]
    Unverified {
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
    /// Returns a signer without a key, for devices with OCS agents, which verify no signature.
    pub fn without_key(now: UnixTime) -> Self {
        Self {
            now,
            keys: &[],
            sign: &|_| Err(SignError::new("there is no key to sign with")),
            memory: None,
        }
    }

    /// Signs device assignments.
    pub(crate) fn sign_assignments(
        self,
        assignments: &Assignments,
    ) -> Result<SignedAssignments, SigningError> {
        let document = assignments.to_document();
        let signature = (self.sign)(&document)?;
        Ok(Signed::new(document, signature)?)
    }

    /// Signs a group's state.
    pub(crate) fn sign_group(
        self,
        state: GroupState,
        validity: Validity,
    ) -> Result<GroupState, SigningError> {
        let document = state.document(validity)?.to_document();
        let signature = (self.sign)(&document)?;
        Ok(state.with_signature(validity, signature))
    }

    /// Returns the validity of a document that follows an unsigned state. It is issued later than
    /// all remembered ones.
    pub(crate) fn validity_after_unsigned(
        self,
        recipient: &Assignee,
        issued: Option<UnixTime>,
    ) -> Validity {
        let known = self.latest(recipient).map(|known| known.issued);
        Validity::following_unsigned(issued, known, self.now)
    }

    /// Returns the latest state of an assignee in the publisher's memory.
    pub(crate) fn latest(self, recipient: &Assignee) -> Option<Held> {
        self.memory?.latest(recipient)
    }

    /// Remembers a state that is on record now.
    pub(crate) fn remember(self, recipient: &Assignee, held: Option<Held>) {
        if let (Some(memory), Some(held)) = (self.memory, held) {
            memory.advance(recipient, held);
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

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn messages() {
        let recipient = || Assignee::Group("lab".parse().expect("it is a group"));
        let at = UnixTime(1_795_000_000);
        let errors = [
            SigningError::Sign(SignError::new("the key is locked")),
            SigningError::NotOurs {
                recipient: recipient(),
            },
            SigningError::RolledBack {
                recipient: recipient(),
                recorded: Held {
                    revision: 3,
                    issued: at,
                },
            },
            SigningError::Expired {
                recipient: recipient(),
                expires: at,
            },
            SigningError::Unverified {
                recipient: recipient(),
                package: "1795327754".parse().expect("it is a package id"),
            },
        ];
        let lines = errors.map(|error| error.to_string());
        assert_snapshot!(lines.join("\n"), @r"
        cannot sign the assignments
        the recorded assignments of group lab are not signed by your key
        the recorded assignments of group lab were signed on 2026-11-18, but later ones exist: the table was restored, or someone put the earlier state back
        the recorded assignments of group lab expired on 2026-11-18
        the recorded assignments of group lab have package 1795327754, whose signed manifest is not verified
        ");
    }
}
