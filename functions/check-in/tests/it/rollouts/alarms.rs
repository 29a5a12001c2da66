//! Rollouts that have stopped: they are counted for the alarms, without a further request.

use super::*;

impl Started {
    /// Returns the line about rollouts that is due after a request.
    fn line(&self, now: UnixTime) -> Option<String> {
        let counts = self.system.function.take_rollout_counts(now)?;
        let package = self.package.id.to_string();
        Some(counts.to_string().replace(&package, "vlc"))
    }
}

#[tokio::test]
async fn a_halted_rollout_is_counted_in_the_request_that_halts_it() {
    let (started, agents) = Started::with_agents(4).await;
    for agent in &agents[..3] {
        started.begun(agent, NOW).await;
    }
    for agent in &agents[..2] {
        started.fails(agent, NOW).await;
        assert_eq!(started.line(NOW), None);
    }
    started.fails(&agents[2], NOW).await;
    let line = started.line(NOW);
    let halted = "rollouts halted: 1 (package vlc), full without news: 0";
    assert_eq!(line.as_deref(), Some(halted));
    let late = NOW.plus(5 * DAY_S);
    assert!(!started.is_told(&agents[3], late).await);
    started.fails(&agents[2], late).await;
    assert_eq!(started.line(late), None);
}

/// The request that stores a halt may time out before it writes its line.
#[tokio::test]
async fn a_check_in_that_meets_a_halted_rollout_counts_it_for_an_hour() {
    let (started, agents) = Started::with_agents(4).await;
    for agent in &agents[..3] {
        started.begun(agent, NOW).await;
        started.fails(agent, NOW).await;
    }
    assert!(started.line(NOW).is_some());
    // At most one line in a minute.
    assert!(!started.is_told(&agents[3], NOW).await);
    assert_eq!(started.line(NOW.plus(59)), None);
    let halted = "rollouts halted: 1 (package vlc), full without news: 0";
    assert_eq!(started.line(NOW.plus(60)).as_deref(), Some(halted));
    // The gate is cached, and the check-in reads nothing more.
    started.system.operations();
    let next = NOW.plus(59);
    assert!(!started.is_told(&agents[3], next).await);
    assert_eq!(started.system.operations(), ["Query"]);
    let last = NOW.plus(3_599);
    assert!(!started.is_told(&agents[3], last).await);
    assert_eq!(started.line(last).as_deref(), Some(halted));
    let late = NOW.plus(3_700);
    assert!(!started.is_told(&agents[3], late).await);
    assert_eq!(started.line(late), None);
}

#[tokio::test]
async fn a_full_rollout_without_news_is_counted_once_a_minute() {
    let (started, agents) = Started::with_agents(4).await;
    started.all_told(&agents, NOW).await;
    for agent in &agents[..3] {
        assert_eq!(started.begin(agent, NOW).await, GO);
    }
    let late = NOW.plus(2 * FIRST_SETTLE_S);
    let full = wait(HoldWord::RolloutFull);
    let last = &agents[3];
    assert_eq!(started.begin(last, UnixTime(late.0 - 1)).await, full);
    assert_eq!(started.line(UnixTime(late.0 - 1)), None);
    // The gate is cached, and the question reads nothing more.
    let question = started.question().await;
    let reply = started.send(last, BEGIN_PATH, question, late).await;
    assert!(reply.status.is_success(), "{}", reply.text());
    let operations = started.system.operations();
    let count = |name: &str| operations.iter().filter(|it| *it == name).count();
    assert_eq!(count("GetItem"), 1, "{operations:?}");
    let line = started.line(late);
    let quiet = "rollouts halted: 0, full without news: 1 (package vlc)";
    assert_eq!(line.as_deref(), Some(quiet));
    assert_eq!(started.begin(last, late).await, full);
    assert_eq!(started.line(late.plus(59)), None);
    assert_eq!(started.line(late.plus(60)).as_deref(), Some(quiet));
    // A device is heard from after all.
    let later = late.plus(120);
    started
        .report(&agents[0], ResultCode::Exited(0), later)
        .await;
    started
        .check_in(&agents[0], later.plus(FIRST_SETTLE_S))
        .await;
    assert!(started.begin(last, later.plus(FIRST_SETTLE_S)).await == GO);
    assert_eq!(started.line(later.plus(FIRST_SETTLE_S)), None);
}

#[tokio::test]
async fn a_check_in_that_waits_for_a_full_rollout_counts_it_without_a_request() {
    let (started, agents) = Started::with_agents(3).await;
    for agent in &agents {
        started.begun(agent, NOW).await;
    }
    let late = Agent::enrolled(&started.system, 9).await;
    let quiet = NOW.plus(2 * FIRST_SETTLE_S);
    assert!(!started.is_told(&late, quiet).await);
    assert!(started.line(quiet).is_some());
    started.system.operations();
    let next = quiet.plus(59);
    assert!(!started.is_told(&late, next).await);
    assert_eq!(started.system.operations(), ["Query"]);
    assert!(started.line(quiet.plus(60)).is_some());
}
