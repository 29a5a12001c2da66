//! Signed documents in a reply.

use packcast_protocol::api::CheckInReply;
use packcast_protocol::with_causes;

use super::Agent;
use crate::event::Event;
use crate::trust::TrustChange;

impl Agent {
    /// Verifies and stores the signed documents of a reply.
    ///
    /// The agent also uses a document that it cannot store. After a restart, the reply to the next
    /// check-in contains the document again.
    pub(super) fn accept_documents(&self, reply: &mut CheckInReply) {
        let (keys, assignments) = (
            std::mem::take(&mut reply.keys),
            std::mem::take(&mut reply.assignments),
        );
        let (changes, refused) = self.trust.borrow_mut().accept(&keys, assignments);
        for change in changes {
            if let TrustChange::Keys(_) = change {
                let serial = self.trust.borrow().keys().serial();
                (self.observer)(Event::KeysFollowed { serial });
            }
            if let Err(error) = change.store(&self.state) {
                tracing::error!(
                    error = with_causes(&error),
                    "cannot store a signed document"
                );
            }
        }
        for refusal in refused {
            let detail = with_causes(&refusal);
            tracing::warn!(detail, "refused a signed document");
            (self.observer)(Event::DocumentRefused { detail });
        }
    }
}
