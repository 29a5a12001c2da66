//! The function's permission to begin with a package.

use std::time::{Duration, Instant};

use packcast_protocol::UnixTime;
use packcast_protocol::api::{BeginReply, GO_VALID_S, HoldWord};
use packcast_protocol::state::exchange::WaitWord;

use crate::target_state::permits::WaitReason;

/// The permission to begin, with the time of its request.
///
/// A permission is valid for a minute: afterwards an administrator may have stopped the package.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Go {
    asked: Instant,
    clock: UnixTime,
}

impl Go {
    /// Creates the permission of a request. `asked` and `clock` are the times before the request.
    pub(crate) const fn new(asked: Instant, clock: UnixTime) -> Self {
        Self { asked, clock }
    }

    /// Returns `true` if the permission is still valid.
    ///
    /// Both clocks count: the first one stops while the device sleeps, and somebody may set the
    /// second one back.
    pub(crate) fn is_valid(&self, now: Instant, clock: UnixTime) -> bool {
        let passed = now.saturating_duration_since(self.asked);
        passed < Duration::from_secs(GO_VALID_S) && clock.since(self.clock) < GO_VALID_S
    }
}

/// Returns the permission in a reply, or the reason to wait.
pub(crate) fn permission(reply: BeginReply, go: Go) -> Result<Go, WaitReason> {
    let detail = match reply {
        BeginReply::Go => return Ok(go),
        BeginReply::Wait { reason, .. } => match reason {
            HoldWord::Paused => {
                "the target is paused: wait until an administrator runs 'packcast resume --all'"
            }
            HoldWord::Inactive => {
                "the package is not active: wait until an administrator runs 'packcast activate'"
            }
            HoldWord::Withdrawn => {
                "the package is no longer announced to this device: wait for the next check-in"
            }
            HoldWord::Outdated => {
                "the signed state of this device is too old: wait for the next check-in"
            }
            HoldWord::WaveClosed => {
                "the wave of this device is not open: wait until the waves before it have gone well"
            }
            HoldWord::RolloutFull => "the rollout is full: wait until other devices are healthy",
            HoldWord::RolloutPaused => {
                "the rollout is paused: wait until an administrator resumes it"
            }
            HoldWord::RolloutHalted => {
                "failures have halted the rollout: wait until an administrator resumes it"
            }
            HoldWord::RolloutRestored => {
                "the table was restored from a back-up: wait until an administrator resumes the rollout"
            }
            HoldWord::RolloutEnded => "the rollout has ended: wait for the next check-in",
            HoldWord::Other => {
                "the server gives a reason that this agent does not know: update the agent"
            }
        },
    };
    Err(WaitReason::new(WaitWord::Held, detail.to_owned()))
}

/// Returns the reason to wait of a device without an answer.
pub(crate) fn unanswered(cause: &str) -> WaitReason {
    let detail = format!("cannot ask the server if the package may begin: {cause}");
    WaitReason::new(WaitWord::Unanswered, detail)
}

/// Returns the reason to wait of a device whose permission has expired before it acted.
pub(crate) fn expired() -> WaitReason {
    let detail = format!(
        "the permission to begin was not used within {GO_VALID_S} s: the device asks again"
    );
    WaitReason::new(WaitWord::Unanswered, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permission_is_valid_for_a_minute_of_either_clock() {
        let (asked, clock) = (Instant::now(), UnixTime(1_795_000_000));
        let go = Go::new(asked, clock);
        let valid = |passed, clock_passed: u64| {
            go.is_valid(
                asked + Duration::from_secs(passed),
                clock.plus(clock_passed),
            )
        };
        assert!(valid(0, 0) && valid(59, 59));
        assert!(!valid(60, 0) && !valid(0, 60));
        // Somebody has set the clock back.
        assert!(go.is_valid(asked, UnixTime(0)));
    }

    #[test]
    fn each_answer_but_go_is_a_reason_to_wait() {
        let go = Go::new(Instant::now(), UnixTime(1_795_000_000));
        assert!(permission(BeginReply::Go, go).is_ok());
        let words = [
            HoldWord::Paused,
            HoldWord::Inactive,
            HoldWord::Withdrawn,
            HoldWord::Outdated,
            HoldWord::WaveClosed,
            HoldWord::RolloutFull,
            HoldWord::RolloutPaused,
            HoldWord::RolloutHalted,
            HoldWord::RolloutRestored,
            HoldWord::RolloutEnded,
            HoldWord::Other,
        ];
        let held = words.map(|reason| permission(BeginReply::wait(reason), go).unwrap_err());
        assert!(held.iter().all(|held| held.reason == WaitWord::Held));
        let mut details = held.map(|held| held.detail).to_vec();
        details.extend([unanswered("no pass").detail, expired().detail]);
        insta::assert_snapshot!(details.join("\n"), @"
        the target is paused: wait until an administrator runs 'packcast resume --all'
        the package is not active: wait until an administrator runs 'packcast activate'
        the package is no longer announced to this device: wait for the next check-in
        the signed state of this device is too old: wait for the next check-in
        the wave of this device is not open: wait until the waves before it have gone well
        the rollout is full: wait until other devices are healthy
        the rollout is paused: wait until an administrator resumes it
        failures have halted the rollout: wait until an administrator resumes it
        the table was restored from a back-up: wait until an administrator resumes the rollout
        the rollout has ended: wait for the next check-in
        the server gives a reason that this agent does not know: update the agent
        cannot ask the server if the package may begin: no pass
        the permission to begin was not used within 60 s: the device asks again
        ");
    }
}
