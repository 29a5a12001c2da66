//! Packages that wait: events, and the list for `status` and check-ins.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use packcast_protocol::api::Cancel;
use packcast_protocol::state::exchange::WaitWord;
use packcast_protocol::{PackageId, with_causes};

use super::Agent;
use crate::event::Event;
use crate::state::waiting::{WaitList, WaitingTask};
use crate::target_state::permits::WaitReason;

impl Agent {
    /// Adds an attempt to the list, after an event if it waits for another signed state.
    ///
    /// The other reasons have the event [`Event::Deferred`], or none.
    pub(super) fn waits(&self, Cancel { id, attempt }: Cancel, reason: WaitReason) {
        let WaitReason {
            reason,
            mut detail,
            until,
        } = reason;
        let is_expired = matches!(reason, WaitWord::KeyListExpired | WaitWord::CommitExpired);
        if let Some(skew) = self.api.clock_skew().filter(|_| is_expired) {
            let _ = write!(detail, "; {skew}");
        }
        if !matches!(reason, WaitWord::Unreachable | WaitWord::Behind) {
            (self.observer)(Event::Waits {
                id,
                attempt,
                reason,
                detail: detail.clone(),
            });
        }
        let task = WaitingTask {
            attempt,
            reason,
            detail,
            until,
        };
        self.change_waiting(|list| list.insert(id, task));
    }

    pub(super) fn waits_no_longer(&self, id: PackageId) {
        self.change_waiting(|list| list.remove(id));
    }

    /// Removes packages that the function does not announce any more.
    pub(super) fn only_these_wait(&self, announced: &BTreeSet<PackageId>) {
        self.change_waiting(|list| list.retain(announced));
    }

    /// Changes the list, and stores it if it differs. Only people read the list, so an error does
    /// not end the round.
    fn change_waiting(&self, change: impl FnOnce(&mut WaitList) -> bool) {
        let mut list = self.waiting.borrow_mut();
        if change(&mut list)
            && let Err(error) = list.store(&self.state)
        {
            let error = with_causes(&error);
            tracing::error!(error, "cannot store the list of waiting packages");
        }
    }
}
