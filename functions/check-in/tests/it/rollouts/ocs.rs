//! OCS agents, which ask nothing: they take their places when they are told.

use crate::system::{announced, device, download, prolog};

use super::*;

#[tokio::test]
async fn an_ocs_agent_takes_its_place_when_it_is_told() {
    let system = TestSystem::start().await;
    for number in 1..=5 {
        system.settled_device(number).await;
    }
    let started = Started::on(system, one_wave()).await;
    let (system, id) = (&started.system, started.package.id);
    for number in 1..=5 {
        let told = announced(&system.ocs(&prolog(number)).await);
        assert_eq!(told.len(), usize::from(number <= 3), "{number}");
    }
    assert_eq!(started.counts().await, (0, 3, 0, 0));
    // The task stays in the list until its report.
    assert_eq!(announced(&system.ocs(&prolog(1)).await), [id]);

    system.ocs(&download(1, id, "SUCCESS_0")).await;
    system.ocs(&download(2, id, "EXIT_CODE_1")).await;
    assert_eq!(started.counts().await, (0, 3, 0, 1));
    system.ocs_at(&prolog(1), SETTLED).await;
    assert_eq!(started.counts().await, (2, 3, 1, 1));
    let settling = started.records().device_state(&device(1)).await.unwrap();
    assert_eq!(settling.settling, []);
    for number in [4, 5] {
        assert_eq!(
            announced(&system.ocs_at(&prolog(number), SETTLED).await),
            [id]
        );
    }
    assert_eq!(started.counts().await, (0, 5, 1, 1));
}

#[tokio::test]
async fn an_ocs_agent_that_was_told_before_a_pause_or_halt_may_still_begin() {
    let system = TestSystem::start().await;
    for number in 1..=2 {
        system.settled_device(number).await;
    }
    let started = Started::on(system, one_wave()).await;
    let (system, id) = (&started.system, started.package.id);
    assert_eq!(announced(&system.ocs(&prolog(1)).await), [id]);
    for state in [GateState::Paused, GateState::Halted] {
        let change = GateChange {
            conditions: Vec::new(),
            updates: vec![GateUpdate::State(state)],
        };
        let changed = started.records().change_gate(ROLLOUT, &change).await;
        assert!(changed.unwrap());
        // The agent does not ask before it begins, so that its task stays in the list.
        assert_eq!(announced(&system.ocs(&prolog(1)).await), [id], "{state:?}");
        let other = announced(&system.ocs_at(&prolog(2), NOW.plus(120)).await);
        assert!(other.is_empty(), "{state:?}");
    }
    system.ocs(&download(1, id, "EXIT_CODE_1")).await;
    assert_eq!(started.counts().await, (2, 1, 0, 1));
}
