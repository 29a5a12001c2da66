//! Verification of signed assignments on record, before a change follows them.

use packcast_protocol::assignments::{Assignee, Assignments, Held, SignedAssignments};
use packcast_rollout::GroupState;
use packcast_rollout::assignments::VerifiedPackages;
use packcast_rollout::validity::Validity;

use super::device_assignments::DeviceAssignments;
use super::{Signing, SigningError};

/// Maximum number of times that a change reads device assignments again because the device's
/// record is ahead of them.
pub(crate) const MOST_BEHIND: u32 = 7;

impl Signing<'_> {
    /// Checks that a change may follow a group's state: see [`verify_latest`](Self::verify_latest).
    pub(crate) fn verify_latest_group(self, state: &GroupState) -> Result<(), SigningError> {
        let (signed, recipient) = signed_state(state)?;
        self.verify_latest(&signed, &recipient).map(drop)
    }

    /// Checks that one of the publisher's keys has signed a group's state.
    pub(crate) fn verify_group(self, state: &GroupState) -> Result<(), SigningError> {
        let (signed, recipient) = signed_state(state)?;
        self.verify_signed(&signed, &recipient).map(drop)
    }

    /// Verifies assignments that a change may follow.
    ///
    /// They must be signed by one of the publisher's keys, and the publisher's memory must have no
    /// later ones. If the memory has none for this assignee, they must not have expired.
    pub(crate) fn verify_latest(
        self,
        signed: &SignedAssignments,
        recipient: &Assignee,
    ) -> Result<Assignments, SigningError> {
        let assignments = self.verify_signed(signed, recipient)?;
        let Some(memory) = self.memory else {
            return Ok(assignments);
        };
        let (recipient, recorded) = (recipient.clone(), assignments.held());
        let expires = assignments.expires();
        match memory.latest(&recipient) {
            Some(latest) if recorded < latest => Err(SigningError::RolledBack {
                recipient,
                recorded,
            }),
            None if assignments.is_expired(self.now) => {
                Err(SigningError::Expired { recipient, expires })
            }
            _ => {
                memory.advance(&recipient, recorded);
                Ok(assignments)
            }
        }
    }

    /// Verifies assignments that are signed by one of the publisher's keys, at any time.
    pub(crate) fn verify_signed(
        self,
        signed: &SignedAssignments,
        recipient: &Assignee,
    ) -> Result<Assignments, SigningError> {
        let verified = signed.verify(self.keys).ok();
        let found = verified.filter(|found| found.recipient() == recipient);
        found
            .map(|found| Assignments::clone(&found))
            .ok_or_else(|| SigningError::NotOurs {
                recipient: recipient.clone(),
            })
    }

    /// Checks that the manifests of all packages in a group's state are verified.
    pub(crate) fn check_packages(
        state: &GroupState,
        verified: &VerifiedPackages,
    ) -> Result<(), SigningError> {
        let mut assignments = state.assignments.iter();
        let unverified = assignments.find(|one| verified.get(&one.package) != Some(&one.manifest));
        unverified.map_or(Ok(()), |assignment| {
            Err(SigningError::Unverified {
                recipient: Assignee::Group(state.group.clone()),
                package: assignment.package,
            })
        })
    }

    /// Returns true if the current signing key has signed the assignments.
    pub(crate) fn is_signed_by_current_key(self, signed: &SignedAssignments) -> bool {
        let key = self.keys.get(..1).unwrap_or_default();
        signed.verify(key).is_ok()
    }

    /// Signs the next state of a group, which must not have more packages than the previous one.
    ///
    /// If the publisher has not signed the previous state, the next one stays without a signature,
    /// unless it has no packages.
    pub(crate) fn sign_if_verified(
        self,
        state: &GroupState,
        next: GroupState,
    ) -> Result<GroupState, SigningError> {
        let issued = state.signed_revision().issued;
        match self.verify_latest_group(state) {
            Ok(()) => self.sign_group(next, Validity::following(issued, self.now)),
            // Signing an empty state gives no device a package that the publisher has not seen.
            Err(SigningError::NotOurs { recipient }) if next.assignments.is_empty() => {
                self.sign_group(next, self.validity_after_unsigned(&recipient, issued))
            }
            Err(SigningError::NotOurs { .. }) => Ok(next),
            Err(error) => Err(error),
        }
    }
}

impl DeviceAssignments<'_> {
    /// Returns true if the first assignments of the device were signed after these were read.
    ///
    /// Another change has then just written them, and this change reads its inputs again, at most
    /// [`MOST_BEHIND`] times. After that, another change cannot be the reason.
    pub(crate) const fn is_behind(&self, signed: Option<Held>) -> bool {
        matches!(self, Self::Agent { before: None, .. }) && signed.is_some()
    }

    /// Fails if the device has no signed assignments although its records have assignments.
    ///
    /// `is_unsigned` is true if the records have assignments for the device.
    pub(crate) fn check_signed(&self, is_unsigned: bool) -> Result<(), SigningError> {
        match self {
            Self::Agent {
                agent,
                before: None,
            } if is_unsigned => {
                let recipient = Assignee::Device((*agent).clone());
                Err(SigningError::NotOurs { recipient })
            }
            Self::Ocs | Self::Agent { .. } => Ok(()),
        }
    }
}

fn signed_state(state: &GroupState) -> Result<(SignedAssignments, Assignee), SigningError> {
    let recipient = Assignee::Group(state.group.clone());
    match state.signed() {
        Some(signed) => Ok((signed, recipient)),
        None => Err(SigningError::NotOurs { recipient }),
    }
}
