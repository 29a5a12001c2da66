//! What a reply brings that is signed.

use packcast_protocol::api::CheckInReply;
use packcast_protocol::with_causes;

use super::Agent;
use crate::event::Event;
use crate::trust::Change;

impl Agent {
    /// Takes what is signed from a reply and keeps it. What cannot be written now counts all
    /// the same, and comes again with the next check-in of the next start.
    pub(super) fn hear(&self, reply: &mut CheckInReply) {
        let (keys, assignments) = (
            std::mem::take(&mut reply.keys),
            std::mem::take(&mut reply.assignments),
        );
        let (changes, refused) = self.trust.borrow_mut().hear(&keys, assignments);
        for change in changes {
            if let Change::Keys(_) = change {
                let serial = self.trust.borrow().keys().serial();
                (self.observer)(Event::KeysFollowed { serial });
            }
            if let Err(error) = change.store(&self.state) {
                tracing::error!(
                    error = with_causes(&error),
                    "what was signed cannot be kept"
                );
            }
        }
        for refusal in refused {
            let detail = with_causes(&refusal);
            tracing::warn!(detail, "the reply was not followed in all");
            (self.observer)(Event::DocumentRefused { detail });
        }
    }
}
