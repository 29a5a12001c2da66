//! Lost answers, and several instances of the function at the last place.

use futures_util::future::join_all;
use packcast_testing::fault::FaultRates;

use super::*;

#[tokio::test]
async fn a_lost_answer_takes_no_second_place() {
    let (started, agents) = Started::with_agents(3).await;
    for agent in &agents {
        assert!(started.is_told(agent, NOW).await);
    }
    let question = &started.question().await;
    started.system.table.faults.set_rates(FaultRates {
        conflicts: 200,
        lost_answers: 300,
        ..FaultRates::default()
    });
    let asks = async |agent: &Agent| {
        for _ in 0..50 {
            let reply = started.send(agent, BEGIN_PATH, question.clone(), NOW);
            let reply = reply.await;
            if reply.status.is_success() {
                return serde_json::from_slice::<BeginReply>(&reply.body).unwrap();
            }
        }
        panic!("no answer in 50 tries")
    };
    for _ in 0..2 {
        for answer in join_all(agents.iter().map(asks)).await {
            assert_eq!(answer, GO);
        }
    }
    assert!(started.system.table.faults.injected().lost_answers > 0);
    started.system.table.faults.set_rates(FaultRates::default());
    let gate = started.gate().await;
    assert_eq!((gate.free, gate.begun, gate.all_begun), (0, 3, 3));
}

#[tokio::test]
async fn of_many_instances_at_the_last_place_exactly_one_lets_a_device_begin() {
    let (started, agents) = Started::with_agents(6).await;
    started.all_told(&agents, NOW).await;
    for agent in &agents[..2] {
        assert_eq!(started.begin(agent, NOW).await, GO);
    }
    let question = &started.question().await;
    // Each instance has the gate with its last free place.
    let instances = agents[2..].iter().map(async |agent| {
        let records = started.records().clone();
        let function = CheckInFunction::new(records, settings());
        let first = agents[0].signed(BEGIN_PATH, question.clone(), NOW);
        function.handle(first, NOW).await;
        (function, agent)
    });
    let instances = join_all(instances).await;
    let answers = instances.iter().map(async |(function, agent)| {
        let request = agent.signed(BEGIN_PATH, question.clone(), NOW);
        let response = function.handle(request, NOW).await;
        let reply = serde_json::from_slice(response.body()).expect("a reply in JSON");
        without_time(reply)
    });
    let answers = join_all(answers).await;
    let (go, others): (Vec<_>, Vec<_>) = answers.into_iter().partition(|it| *it == GO);
    assert_eq!(go.len(), 1);
    assert_eq!(others, [wait(HoldWord::RolloutFull); 3]);
    assert_eq!(started.counts().await, (0, 3, 0, 0));
}
