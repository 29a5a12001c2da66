//! The cost of a rollout: nothing while a device waits, and two requests for each device.

use super::*;

async fn expect_one_query(started: &Started, agent: &Agent, now: UnixTime) {
    assert!(!started.is_told(agent, now).await);
    let usage = started.system.table.meter.take();
    assert_eq!(usage.operations, ["Query"]);
    assert!(usage.read_units <= 1.0, "{usage:?}");
}

#[tokio::test]
async fn an_idle_check_in_that_waits_for_its_rollout_costs_one_query() {
    let (started, agents) = Started::with_agents(5).await;
    for agent in &agents {
        // The group's package becomes a task.
        started.check_in(agent, NOW.plus(0)).await;
    }
    for agent in &agents[..3] {
        assert_eq!(started.begin(agent, NOW).await, GO);
    }
    let late = Agent::enrolled(&started.system, 9).await;
    // The first check-in reads the gate, which is full, and makes the task.
    started.check_in(&late, NOW).await;
    started.system.operations();
    for _ in 0..2 {
        expect_one_query(&started, &late, NOW).await;
    }
    // Once a minute: the revisions of groups, the head with its key lists, and the gate.
    let later = NOW.plus(60);
    assert!(!started.is_told(&late, later).await);
    let usage = started.system.table.meter.take();
    assert!(usage.write_units < f64::EPSILON, "{usage:?}");
    assert_eq!(usage.count("GetItem"), 1, "{usage:?}");
    expect_one_query(&started, &late, later).await;
}

#[tokio::test]
async fn a_device_whose_wave_is_closed_costs_one_query() {
    let system = TestSystem::start().await;
    let agent = Agent::enrolled(&system, 1).await;
    let started = Started::on(system, pilot_and_two_waves()).await;
    started.check_in(&agent, NOW).await;
    started.system.operations();
    for _ in 0..2 {
        expect_one_query(&started, &agent, NOW).await;
    }
    // It is time for its wave, and nothing has begun in the first one.
    let late = NOW.plus(3 * DAY_S);
    started.check_in(&agent, late).await;
    started.system.operations();
    for _ in 0..2 {
        expect_one_query(&started, &agent, late).await;
    }
}

#[tokio::test]
async fn a_rollout_adds_two_transactions_to_a_device() {
    let (started, agents) = Started::with_agents(2).await;
    for agent in &agents {
        assert!(started.is_told(agent, NOW).await);
    }
    // The caches of the function are filled.
    assert_eq!(started.begin(&agents[0], NOW).await, GO);
    let question = started.question().await;
    let agent = &agents[1];
    let reply = started.send(agent, BEGIN_PATH, question.clone(), NOW).await;
    assert_eq!(&reply.body[..], br#"{"answer":"go"}"#);
    let usage = started.system.table.meter.take();
    assert_eq!(usage.operations, ["Query", "TransactWriteItems"]);
    assert!((usage.write_units - 4.0).abs() < f64::EPSILON, "{usage:?}");
    // The answer was lost: the same place gets the same answer, and nothing is written.
    started.send(agent, BEGIN_PATH, question, NOW).await;
    let usage = started.system.table.meter.take();
    assert_eq!(usage.operations, ["Query", "GetItem"]);

    started.report(agent, ResultCode::Exited(0), NOW).await;
    started.check_in(&agents[0], SETTLED).await;
    started.system.operations();
    started.check_in(agent, SETTLED).await;
    let usage = started.system.table.meter.take();
    assert_eq!(usage.count("TransactWriteItems"), 1, "{usage:?}");
    assert!((usage.write_units - 4.0).abs() < f64::EPSILON, "{usage:?}");
    started.check_in(agent, SETTLED).await;
    assert_eq!(started.system.operations(), ["Query"]);
}
