//! The signed state in a reply, and the state at the start of the agent.

use packcast_protocol::api::CheckInReply;
use packcast_protocol::state::{HeldState, Refusal};
use packcast_protocol::with_causes;

use super::{Agent, damage};
use crate::event::{Event, Observer};
use crate::target_state::followed_state::{FollowedState, OpenedState, OtherTarget, StateProgress};

/// Reports the stored state at the start of the agent, and returns the state.
pub(super) fn opened(observer: &Observer, opened: OpenedState) -> FollowedState {
    let OpenedState {
        followed,
        damaged,
        discarded,
        other,
    } = opened;
    damage::report(observer, damaged);
    for refusal in discarded {
        report_refusal(observer, &refusal);
    }
    if let Some(OtherTarget {
        before,
        target,
        kept,
    }) = other
    {
        tracing::warn!(%before, %target, kept = %kept.display(), "the agent follows another target");
        observer(Event::TargetChanged {
            before,
            target,
            kept,
        });
    }
    followed
}

fn report_refusal(observer: &Observer, refusal: &Refusal) {
    let detail = with_causes(refusal);
    tracing::warn!(detail, "refused a part of the signed state");
    observer(Event::DocumentRefused { detail });
}

impl Agent {
    /// Verifies and stores the state in a reply.
    ///
    /// `held` is the summary in the request, and `asked` the number of successive check-ins. Returns
    /// `true` if the device asks again at once, because it lacks parts of the state.
    pub(super) fn accept_state(
        &self,
        reply: &mut CheckInReply,
        held: &HeldState,
        asked: u32,
    ) -> bool {
        let mut followed = self.followed.borrow_mut();
        let text = reply.state.take();
        let progress = match followed.accept(text.as_ref(), &reply.tasks) {
            Ok(progress) => progress,
            Err(error) => {
                let error = with_causes(&error);
                tracing::error!(
                    error,
                    "cannot store the signed state: the next check-in brings it again"
                );
                // The rest would not be stored either.
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
        followed.asks_again(held, asked, more)
    }
}
