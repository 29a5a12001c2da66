//! Questions that the agent asks later, because the function has named a time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use packcast_protocol::api::BeginReply;
use packcast_protocol::{PackageId, UnixTime};

use crate::target_state::permits::WaitReason;

/// Longest time in which the agent does not ask again: one day.
const LONGEST_S: u32 = 86_400;

/// Packages that wait until their question may be asked again. A new agent process asks at once.
#[derive(Debug, Default)]
pub(crate) struct LaterQuestions(BTreeMap<PackageId, LaterQuestion>);

#[derive(Clone, Debug)]
struct LaterQuestion {
    attempt: u32,
    again_s: u32,
    asked: Instant,
    clock: UnixTime,
    reason: WaitReason,
}

impl LaterQuestions {
    /// Notes the reply to the question of an attempt. `asked` and `clock` are the times before the
    /// question, and `reason` is the reason of the reply to wait.
    pub(crate) fn answered(
        &mut self,
        (id, attempt): (PackageId, u32),
        reply: BeginReply,
        reason: Option<&WaitReason>,
        (asked, clock): (Instant, UnixTime),
    ) {
        self.0.remove(&id);
        let BeginReply::Wait {
            again_s: Some(again_s),
            ..
        } = reply
        else {
            return;
        };
        if let Some(reason) = reason {
            let question = LaterQuestion {
                attempt,
                again_s: again_s.min(LONGEST_S),
                asked,
                clock,
                reason: reason.clone(),
            };
            self.0.insert(id, question);
        }
    }

    /// Returns the reason for which an attempt still waits. `None` if the agent asks now.
    ///
    /// The longer of both times counts: the first clock stops while the device sleeps, and somebody
    /// may set the second one back.
    pub(crate) fn waits(
        &self,
        (id, attempt): (PackageId, u32),
        now: Instant,
        clock: UnixTime,
    ) -> Option<WaitReason> {
        let question = self.0.get(&id).filter(|it| it.attempt == attempt)?;
        let passed = now.saturating_duration_since(question.asked);
        let is_over = passed >= Duration::from_secs(question.again_s.into())
            || clock.since(question.clock) >= question.again_s.into();
        (!is_over).then(|| question.reason.clone())
    }

    /// Removes packages that the function does not announce any more.
    pub(crate) fn retain(&mut self, announced: &BTreeSet<PackageId>) {
        self.0.retain(|id, _| announced.contains(id));
    }
}

#[cfg(test)]
mod tests {
    use packcast_protocol::api::HoldWord;
    use packcast_protocol::state::exchange::WaitWord;

    use super::*;

    const CLOCK: UnixTime = UnixTime(1_795_000_000);
    const WAIT: BeginReply = BeginReply::Wait {
        reason: HoldWord::RolloutFull,
        again_s: Some(100),
    };

    fn id() -> PackageId {
        PackageId::try_from(1_795_000_001).unwrap()
    }

    fn full() -> WaitReason {
        WaitReason::new(WaitWord::Held, "the rollout is full".to_owned())
    }

    fn answered(reply: BeginReply, asked: Instant) -> LaterQuestions {
        let mut later = LaterQuestions::default();
        later.answered((id(), 1), WAIT, Some(&full()), (asked, CLOCK));
        later.answered((id(), 1), reply, Some(&full()), (asked, CLOCK));
        later
    }

    #[test]
    fn an_attempt_waits_until_the_time_has_passed_by_either_clock() {
        let asked = Instant::now();
        let later = answered(WAIT, asked);
        let waits = |passed, clock_passed| {
            let now = asked + Duration::from_secs(passed);
            let reason = later.waits((id(), 1), now, CLOCK.plus(clock_passed));
            reason.is_some_and(|reason| reason == full())
        };
        assert!(waits(0, 0) && waits(99, 99));
        assert!(!waits(100, 0) && !waits(0, 100));
        assert_eq!(later.waits((id(), 2), asked, CLOCK), None);
    }

    #[test]
    fn other_replies_name_no_time() {
        let asked = Instant::now();
        for reply in [BeginReply::Go, BeginReply::wait(HoldWord::RolloutFull)] {
            let later = answered(reply, asked);
            assert_eq!(later.waits((id(), 1), asked, CLOCK), None, "{reply:?}");
        }
    }

    #[test]
    fn a_faulty_server_delays_a_package_by_one_day() {
        let asked = Instant::now();
        let reply = BeginReply::Wait {
            reason: HoldWord::RolloutFull,
            again_s: Some(u32::MAX),
        };
        let later = answered(reply, asked);
        let day = u64::from(LONGEST_S);
        assert!(later.waits((id(), 1), asked, CLOCK.plus(day - 1)).is_some());
        assert_eq!(later.waits((id(), 1), asked, CLOCK.plus(day)), None);
    }

    #[test]
    fn packages_that_are_not_announced_any_more_are_removed() {
        let asked = Instant::now();
        let mut later = answered(WAIT, asked);
        later.retain(&BTreeSet::from([id()]));
        assert!(later.waits((id(), 1), asked, CLOCK).is_some());
        later.retain(&BTreeSet::new());
        assert_eq!(later.waits((id(), 1), asked, CLOCK), None);
    }
}
