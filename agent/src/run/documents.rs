//! Signed documents in a reply, and the signed state.

use packcast_protocol::api::CheckInReply;
use packcast_protocol::with_causes;

use super::{Agent, damage};
use crate::authority::followed_state::{FollowedState, OtherTarget, StateProgress};
use crate::authority::{Authority, Holdings, OpeningReport};
use crate::event::{Event, Observer};
use crate::trust::{Trust, TrustChange};

/// Reports the state of the stored documents at the start of the agent.
pub(super) fn report_opening(observer: &Observer, report: OpeningReport) {
    let OpeningReport {
        damaged,
        discarded,
        other,
    } = report;
    damage::report(observer, damaged);
    for refusal in discarded {
        report_refusal(observer, &refusal);
    }
    if let Some((target, OtherTarget { before, kept })) = other {
        tracing::warn!(%before, %target, kept = %kept.display(), "the agent follows another target");
        observer(Event::TargetChanged {
            before,
            target,
            kept,
        });
    }
}

fn report_refusal(observer: &Observer, refusal: &dyn std::error::Error) {
    let detail = with_causes(refusal);
    tracing::warn!(detail, "refused a signed document");
    observer(Event::DocumentRefused { detail });
}

impl Agent {
    /// Verifies and stores the signed documents of a reply.
    ///
    /// `held` are the documents in the request, and `asked` is the number of successive check-ins.
    /// Returns `true` if the device asks again at once, because it lacks parts of the signed state.
    pub(super) fn accept_documents(
        &self,
        reply: &mut CheckInReply,
        held: &Holdings,
        asked: u32,
    ) -> bool {
        match &mut *self.authority.borrow_mut() {
            Authority::Documents(trust) => {
                self.accept_signed_documents(trust, reply);
                false
            }
            Authority::State(followed) => {
                let more = self.accept_state(followed, reply);
                let held = held.state.as_ref();
                held.is_some_and(|held| followed.asks_again(held, asked, more))
            }
        }
    }

    /// Accepts the state of a reply. Returns `true` if the reply says that more documents follow.
    fn accept_state(&self, followed: &mut FollowedState, reply: &mut CheckInReply) -> bool {
        let text = reply.state.take();
        let progress = match followed.accept(text.as_ref(), &reply.tasks) {
            Ok(progress) => progress,
            Err(error) => {
                let error = with_causes(&error);
                tracing::error!(
                    error,
                    "cannot store the signed state: the next check-in brings it again"
                );
                return false;
            }
        };
        let StateProgress {
            list,
            commit,
            refused,
            more,
        } = progress;
        if let Some(serial) = list {
            (self.observer)(Event::KeysFollowed { serial });
        }
        if let Some(number) = commit {
            (self.observer)(Event::CommitHeld { number });
        }
        for refusal in refused {
            report_refusal(&self.observer, &refusal);
        }
        more
    }

    /// The agent also uses a document that it cannot store. After a restart, the reply to the next
    /// check-in contains the document again.
    fn accept_signed_documents(&self, trust: &mut Trust, reply: &mut CheckInReply) {
        let (keys, assignments) = (
            std::mem::take(&mut reply.keys),
            std::mem::take(&mut reply.assignments),
        );
        let (changes, refused) = trust.accept(&keys, assignments);
        for change in changes {
            if let TrustChange::Keys(_) = change {
                let serial = trust.keys().serial();
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
            report_refusal(&self.observer, &refusal);
        }
    }
}
