//! Judgements over signed assignments on record: which of them a change may follow.

use packcast_protocol::assignments::{Assignee, Assignments, Held, SignedAssignments};
use packcast_rollout::GroupState;
use packcast_rollout::assignments::VerifiedPackages;
use packcast_rollout::validity::Validity;

use super::device_assignments::DeviceAssignments;
use super::{Signing, SigningError};

/// How often a change reads a device's assignments again because they are behind the device.
pub(crate) const MOST_BEHIND: u32 = 7;

impl Signing<'_> {
    /// Refuses a group's state that is not to be added to.
    pub(crate) fn ours_of_group(self, state: &GroupState) -> Result<(), SigningError> {
        let (signed, recipient) = signed_state(state)?;
        self.ours(&signed, &recipient).map(drop)
    }

    /// Refuses a group's state that none of the publisher's keys has signed.
    pub(crate) fn signed_by_us_of_group(self, state: &GroupState) -> Result<(), SigningError> {
        let (signed, recipient) = signed_state(state)?;
        self.signed_by_us(&signed, &recipient).map(drop)
    }

    /// Reads a recipient's assignments that can be added to: one of the publisher's keys has
    /// signed them, and nothing later is known.
    pub(crate) fn ours(
        self,
        signed: &SignedAssignments,
        recipient: &Assignee,
    ) -> Result<Assignments, SigningError> {
        let assignments = self.signed_by_us(signed, recipient)?;
        let Some(known) = self.known else {
            return Ok(assignments);
        };
        let (recipient, recorded) = (recipient.clone(), assignments.held());
        let expires = assignments.expires();
        match known.latest(&recipient) {
            Some(latest) if recorded < latest => Err(SigningError::RolledBack {
                recipient,
                recorded,
            }),
            None if assignments.is_expired(self.now) => {
                Err(SigningError::Expired { recipient, expires })
            }
            _ => {
                known.advance(&recipient, recorded);
                Ok(assignments)
            }
        }
    }

    /// Reads a recipient's assignments that one of the publisher's keys has signed, whenever.
    pub(crate) fn signed_by_us(
        self,
        signed: &SignedAssignments,
        recipient: &Assignee,
    ) -> Result<Assignments, SigningError> {
        let verified = signed.verify(self.keys).ok();
        let ours = verified.filter(|found| found.recipient() == recipient);
        ours.map(|found| Assignments::clone(&found))
            .ok_or_else(|| SigningError::NotOurs {
                recipient: recipient.clone(),
            })
    }

    /// Refuses a group's state that has a package which nobody vouches for.
    pub(crate) fn vouched_for(
        state: &GroupState,
        vouched: &VerifiedPackages,
    ) -> Result<(), SigningError> {
        let mut assignments = state.assignments.iter();
        let unvouched = assignments.find(|one| vouched.get(&one.package) != Some(&one.manifest));
        unvouched.map_or(Ok(()), |assignment| {
            Err(SigningError::Unvouched {
                recipient: Assignee::Group(state.group.clone()),
                package: assignment.package,
            })
        })
    }

    /// Tells whether the key that signs now has signed this.
    pub(crate) fn is_latest(self, signed: &SignedAssignments) -> bool {
        let key = self.keys.get(..1).unwrap_or_default();
        signed.verify(key).is_ok()
    }

    /// Signs the next state of a group, which gives its devices no package. If the publisher has
    /// not signed the state before, the next one stays without a signature, too, unless it is
    /// empty.
    pub(crate) fn signed_unless_foreign(
        self,
        state: &GroupState,
        next: GroupState,
    ) -> Result<GroupState, SigningError> {
        let issued = state.signed_revision().issued;
        match self.ours_of_group(state) {
            Ok(()) => self.signed_group(next, Validity::following(issued, self.now)),
            // What was not signed gives nobody anything now.
            Err(SigningError::NotOurs { recipient }) if next.assignments.is_empty() => {
                self.signed_group(next, self.term_after_unsigned(&recipient, issued))
            }
            Err(SigningError::NotOurs { .. }) => Ok(next),
            Err(error) => Err(error),
        }
    }
}

impl DeviceAssignments<'_> {
    /// Tells whether assignments were signed that were not there when these were read: the
    /// first ones of a device, which another change has just brought.
    ///
    /// A change reads both again then, at most [`MOST_BEHIND`] times: after that, another change
    /// is not the reason.
    pub(crate) const fn is_behind(&self, signed: Option<Held>) -> bool {
        matches!(self, Self::Agent { before: None, .. }) && signed.is_some()
    }

    /// Refuses to sign for a device that the records say more of than the publisher has signed.
    pub(crate) fn signed_unless(&self, is_unsigned: bool) -> Result<(), SigningError> {
        match self {
            Self::Agent {
                agent,
                before: None,
            } if is_unsigned => {
                let recipient = Assignee::Device((*agent).clone());
                Err(SigningError::NotOurs { recipient })
            }
            Self::Stock | Self::Agent { .. } => Ok(()),
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
