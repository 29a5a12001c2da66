//! Check-ins within a round, whose packages may take hours.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::time::Duration;

use packcast_protocol::api::{Cancel, Task};
use packcast_protocol::with_causes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::check_in::next_check_in_s;
use super::{AFTER_FAILURE_S, Agent};
use crate::run::plan::is_called_off;

/// What was heard since the check-in that a round began with. New tasks are not kept: they are
/// planned with the next round.
#[derive(Debug)]
pub(super) struct Meanwhile {
    /// When the next check-in is due.
    due: Cell<Instant>,
    cancel: RefCell<Vec<Cancel>>,
}

impl Meanwhile {
    pub(super) fn due_in(seconds: u32) -> Self {
        Self {
            due: Cell::new(after(seconds)),
            cancel: RefCell::default(),
        }
    }

    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= self.due.get()
    }

    pub(super) fn calls_off(&self, task: &Task) -> bool {
        is_called_off(task, &self.cancel.borrow())
    }
}

fn after(seconds: u32) -> Instant {
    Instant::now() + Duration::from_secs(seconds.into())
}

impl Agent {
    /// Checks in whenever that is due, and cancels `call_off` when `task` is called off.
    pub(super) async fn check_in_while_deploying(
        &self,
        task: &Task,
        meanwhile: &Meanwhile,
        call_off: &CancellationToken,
    ) -> Infallible {
        loop {
            tokio::time::sleep_until(meanwhile.due.get()).await;
            self.check_in_again(meanwhile).await;
            if meanwhile.calls_off(task) {
                call_off.cancel();
            }
        }
    }

    /// Checks in once more. What fails is tried again later: the work goes on.
    pub(super) async fn check_in_again(&self, meanwhile: &Meanwhile) {
        let pause = match self.check_in().await {
            Ok(reply) => {
                let pause = next_check_in_s(&reply);
                meanwhile.cancel.replace(reply.cancel);
                pause
            }
            Err(error) => {
                let error = with_causes(&error);
                tracing::warn!(error, "a check-in within a round failed");
                AFTER_FAILURE_S
            }
        };
        meanwhile.due.set(after(pause));
    }
}
