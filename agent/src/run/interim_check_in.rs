//! Interim check-ins, within a round whose packages may take hours.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::time::Duration;

use packcast_protocol::api::{Cancel, Task};
use packcast_protocol::with_causes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Agent;
use super::check_in::next_check_in_s;
use crate::event::Event;
use crate::run::plan::is_cancelled;

/// The interim check-ins of one round, and the cancellations of the latest.
///
/// New tasks are ignored here: the next round plans them.
#[derive(Debug)]
pub(super) struct InterimCheckIns {
    /// The time of the next check-in.
    due: Cell<Instant>,
    cancel: RefCell<Vec<Cancel>>,
}

impl InterimCheckIns {
    pub(super) fn due_in(seconds: u32) -> Self {
        Self {
            due: Cell::new(after(seconds)),
            cancel: RefCell::default(),
        }
    }

    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= self.due.get()
    }

    pub(super) fn cancels(&self, task: &Task) -> bool {
        is_cancelled(task, &self.cancel.borrow())
    }
}

fn after(seconds: u32) -> Instant {
    Instant::now() + Duration::from_secs(seconds.into())
}

impl Agent {
    /// Checks in whenever a check-in is due, and cancels the token `cancel` if `task` is cancelled.
    pub(super) async fn check_in_while_deploying(
        &self,
        task: &Task,
        meanwhile: &InterimCheckIns,
        cancel: &CancellationToken,
    ) -> Infallible {
        loop {
            self.check_in_when_due(meanwhile).await;
            if meanwhile.cancels(task) {
                cancel.cancel();
            }
        }
    }

    /// Checks in whenever a check-in is due, while no package is being deployed.
    pub(super) async fn check_in_while_waiting(&self, meanwhile: &InterimCheckIns) -> Infallible {
        loop {
            self.check_in_when_due(meanwhile).await;
        }
    }

    async fn check_in_when_due(&self, meanwhile: &InterimCheckIns) {
        tokio::time::sleep_until(meanwhile.due.get()).await;
        self.check_in_again(meanwhile).await;
    }

    /// Checks in once. A failed check-in is retried later, and the work continues.
    pub(super) async fn check_in_again(&self, meanwhile: &InterimCheckIns) {
        let pause = match self.check_in().await {
            Ok(reply) => {
                let pause = next_check_in_s(&reply);
                (self.observer)(Event::CheckedInMeanwhile {
                    next_check_in_s: pause,
                });
                meanwhile.cancel.replace(reply.cancel);
                pause
            }
            Err(error) => {
                let pause = error.pause_s();
                let error = with_causes(&error);
                tracing::warn!(error, "cannot check in during a deployment");
                pause
            }
        };
        meanwhile.due.set(after(pause));
    }
}
