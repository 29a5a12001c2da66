//! Hints that spare questions: devices that are told while others are on the way to their places, and
//! answers that name the time of the next question.

use super::*;

impl Started {
    /// Asks if an agent may begin. Returns the reason to wait, and the time until the next question.
    async fn refused(&self, agent: &Agent, now: UnixTime) -> (HoldWord, Option<u64>) {
        match self.try_begin(agent, now).await {
            Some(BeginReply::Wait { reason, again_s }) => (reason, again_s.map(u64::from)),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_full_rollout_is_asked_again_after_a_part_of_the_time_to_settle() {
    let (started, agents) = Started::with_agents(4).await;
    started.all_told(&agents, NOW).await;
    for agent in &agents[..3] {
        assert_eq!(started.begin(agent, NOW).await, GO);
    }
    let (reason, again_s) = started.refused(&agents[3], NOW).await;
    assert_eq!(reason, HoldWord::RolloutFull);
    assert!(again_s.unwrap() >= FIRST_SETTLE_S / 2, "{again_s:?}");
    // A device with a place comes back with its next check-in.
    let (records, id) = (started.records(), started.package.id);
    records.pause_rollout(id, ROLLOUT, &mia()).await.unwrap();
    let later = NOW.plus(60);
    let paused = HoldWord::RolloutPaused;
    assert_eq!(started.refused(&agents[0], later).await, (paused, None));
    let (reason, again_s) = started.refused(&agents[3], later).await;
    assert!(reason == paused && again_s.is_some());
    records.end_rollout(id, ROLLOUT, &mia()).await.unwrap();
    let ended = (HoldWord::RolloutEnded, None);
    assert_eq!(started.refused(&agents[3], NOW.plus(120)).await, ended);
}

#[tokio::test]
async fn as_many_devices_are_told_as_places_are_free() {
    let (started, agents) = Started::with_agents(6).await;
    for agent in &agents[..3] {
        assert!(started.is_told(agent, NOW).await);
    }
    let last = &agents[3..];
    assert!(!started.is_told(&last[0], NOW).await);
    // The next minute, the gate is read again, and the three devices are still on the way.
    let later = NOW.plus(60);
    assert!(!started.is_told(&last[0], later).await);
    // One of them takes its place, so two places are free for two devices.
    assert_eq!(started.begin(&agents[0], later).await, GO);
    assert!(!started.is_told(&last[0], later).await);
    // The others do not ask, so other devices are told.
    let late = NOW.plus(15 * 60);
    for agent in &last[..2] {
        assert!(started.is_told(agent, late).await);
    }
    assert!(!started.is_told(&last[2], late).await);
    // A device that was told stays told.
    assert!(started.is_told(&agents[1], late).await);
}
