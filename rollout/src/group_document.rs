//! The signed document of a group: the packages that its state assigns.

use std::collections::BTreeSet;

use packcast_protocol::assignments::{
    Assigned, Assignee, Assignments, AssignmentsError, Held, SignedAssignments,
};
use packcast_protocol::signed::{Document as _, Signed};

use crate::group::{GroupAssignment, GroupState};
use crate::validity::{GroupSignature, Validity};

impl GroupState {
    /// Returns the document that is signed for this state.
    pub fn document(&self, term: Validity) -> Result<Assignments, AssignmentsError> {
        let state = Held {
            revision: self.revision,
            issued: term.issued,
        };
        let packages = self.assignments.iter().map(assigned).collect();
        let recipient = Assignee::Group(self.group.clone());
        Assignments::new(recipient, state, BTreeSet::new(), packages, term.expires)
    }

    /// Returns the state with a signature over its document of that term.
    #[must_use]
    pub fn sealed(self, term: Validity, signature: String) -> Self {
        let Validity { issued, expires } = term;
        Self {
            seal: Some(GroupSignature {
                issued,
                expires,
                signature,
            }),
            ..self
        }
    }

    /// Returns the signed document; none if the state is not signed. Whether the signature
    /// holds is not looked at.
    pub fn signed(&self) -> Option<SignedAssignments> {
        let GroupSignature {
            issued,
            expires,
            signature,
        } = self.seal.as_ref()?;
        let (issued, expires) = (*issued, *expires);
        let document = self.document(Validity { issued, expires }).ok()?;
        Signed::new(document.to_document(), signature.clone()).ok()
    }

    /// Returns which state of the group's assignments is signed; none if this one is not.
    pub fn held(&self) -> Option<Held> {
        self.seal.as_ref().map(|seal| Held {
            revision: self.revision,
            issued: seal.issued,
        })
    }
}

fn assigned(assignment: &GroupAssignment) -> Assigned {
    Assigned {
        package: assignment.package,
        manifest: assignment.manifest,
        seq: assignment.seq,
        force: assignment.force,
    }
}

#[cfg(test)]
mod tests {
    use packcast_protocol::{Sha256Digest, UnixTime};

    use super::*;
    use crate::group::tests::group;
    use crate::record::tests::{id, package};

    const NOW: UnixTime = UnixTime(1_795_000_000);

    #[test]
    fn a_group_document_says_what_the_state_has() {
        let state = GroupState::new(group("lab"), NOW.0, NOW);
        let state = state.assign(&package(2), true, NOW).unwrap();
        assert_eq!((state.signed(), state.held()), (None, None));
        let term = Validity::from(NOW);
        let document = state.document(term).unwrap();
        let expected = Assigned {
            package: id(2),
            manifest: Sha256Digest::of(&2_u32.to_be_bytes()),
            seq: NOW.0 + 1,
            force: true,
        };
        assert_eq!(document.packages(), [expected]);
        let sealed = state.sealed(term, "signature".to_owned());
        let signed = sealed.signed().unwrap();
        assert_eq!(signed.document(), document.to_document());
        assert_eq!(sealed.held(), Some(document.held()));
        assert_eq!(sealed.unassign(id(2), NOW).unwrap().seal, None);
    }
}
