//! Group assignments: the signed document with the packages of a group.

use std::collections::BTreeSet;

use packcast_protocol::assignments::{
    AssignedPackage, Assignee, Assignments, AssignmentsError, Held, SignedAssignments,
};
use packcast_protocol::signed::{Signed, SignedDocument as _};

use crate::group::{GroupAssignment, GroupState};
use crate::validity::{GroupSignature, Validity};

impl GroupState {
    /// Returns the document to sign for this state.
    pub fn document(&self, validity: Validity) -> Result<Assignments, AssignmentsError> {
        let state = Held {
            revision: self.revision,
            issued: validity.issued,
        };
        let packages = self.assignments.iter().map(assigned).collect();
        let recipient = Assignee::Group(self.group.clone());
        Assignments::new(
            recipient,
            state,
            BTreeSet::new(),
            packages,
            validity.expires,
        )
    }

    /// Returns the state with the signature of its document, which has this validity.
    #[must_use]
    pub fn with_signature(self, validity: Validity, signature: String) -> Self {
        let Validity { issued, expires } = validity;
        Self {
            signature: Some(GroupSignature {
                issued,
                expires,
                signature,
            }),
            ..self
        }
    }

    /// Returns the signed document, or `None` if the state is not signed.
    ///
    /// The signature is not verified.
    pub fn signed(&self) -> Option<SignedAssignments> {
        let GroupSignature {
            issued,
            expires,
            signature,
        } = self.signature.as_ref()?;
        let (issued, expires) = (*issued, *expires);
        let document = self.document(Validity { issued, expires }).ok()?;
        Signed::new(document.to_document(), signature.clone()).ok()
    }

    /// Returns the revision and the time of issue of the signed document, or `None` if the state
    /// is not signed.
    pub fn held(&self) -> Option<Held> {
        self.signature.as_ref().map(|signature| Held {
            revision: self.revision,
            issued: signature.issued,
        })
    }
}

fn assigned(assignment: &GroupAssignment) -> AssignedPackage {
    AssignedPackage {
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
    fn a_group_document_has_the_packages_of_the_state() {
        let state = GroupState::new(group("lab"), NOW.0, NOW);
        let state = state.assign(&package(2), true, NOW).unwrap();
        assert_eq!((state.signed(), state.held()), (None, None));
        let validity = Validity::from(NOW);
        let document = state.document(validity).unwrap();
        let expected = AssignedPackage {
            package: id(2),
            manifest: Sha256Digest::of(&2_u32.to_be_bytes()),
            seq: NOW.0 + 1,
            force: true,
        };
        assert_eq!(document.packages(), [expected]);
        let signed_state = state.with_signature(validity, "signature".to_owned());
        let signed = signed_state.signed().unwrap();
        assert_eq!(signed.document(), document.to_document());
        assert_eq!(signed_state.held(), Some(document.held()));
        assert_eq!(signed_state.unassign(id(2), NOW).unwrap().signature, None);
    }
}
