//! Rollouts while many devices act at once, and many requests to the service fail.

use packcast_testing::fault::{FaultRates, until_answered};

use super::*;

const RATES: FaultRates = FaultRates {
    conflicts: 300,
    update_conflicts: 150,
    throttles: 50,
    lost_answers: 150,
    unprocessed: 0,
    index_lag: 0,
};

const DEVICES: u8 = 8;

/// A device that asks until it may begin, or until no place is free.
async fn begins(started: &Started, device: &DeviceId) -> bool {
    let records = started.records();
    for _ in 0..100 {
        let gate = until_answered(async || records.gate(ROLLOUT).await).await;
        let gate = gate.expect("the rollout has a gate");
        let state = until_answered(async || records.device_state(device).await).await;
        let task = state.tasks.first().expect("the task is open").clone();
        let read = GateRead {
            gate: &gate,
            is_fresh: true,
        };
        let held = task.place.as_ref();
        match begin(read, &gate.table, &waves(), WaveNumber::FIRST, held, NOW) {
            BeginDecision::Begin => return true,
            BeginDecision::Take { place, change } => {
                let taken = records.take_place(device, &task, place, &change).await;
                if let Ok(PlaceTaken::Taken) = taken {
                    return true;
                }
            }
            BeginDecision::Wait(_) => return false,
            BeginDecision::ReadAgain => panic!("the gate is fresh"),
        }
    }
    panic!("no answer in 100 tries")
}

async fn reports(started: &Started, device: &DeviceId, code: &str) {
    let records = started.records();
    let state = until_answered(async || records.device_state(device).await).await;
    // An earlier try may be on record.
    if let Some(task) = state.tasks.first() {
        let finished = result(task, code);
        let of_rollout = of_rollout(device, task, &finished);
        until_answered(async || {
            records
                .record_rollout_result(device, task, &finished, &of_rollout, None, NOW)
                .await
        })
        .await;
    }
}

async fn settles(started: &Started, device: &DeviceId) {
    let records = started.records();
    let state = until_answered(async || records.device_state(device).await).await;
    for settling in &state.settling {
        until_answered(async || {
            records
                .record_healthy(device, settling, None, SETTLED)
                .await
        })
        .await;
    }
}

async fn started_with_devices(service: Service, seed: u64) -> (Started, Vec<DeviceId>) {
    let started = Started::on(service, seed).await;
    let mut devices = Vec::new();
    for number in 1..=DEVICES {
        devices.push(started.told(number).await);
    }
    started.table.faults.set_rates(RATES);
    (started, devices)
}

async fn the_counters_are_correct_whatever_fails(service: Service) {
    let (mut conflicts, mut lost_answers) = (0, 0);
    for seed in 331..334 {
        let (started, devices) = started_with_devices(service.clone(), seed).await;
        let begun = join_all(devices.iter().map(|it| begins(&started, it))).await;
        let begun: Vec<_> = devices.iter().zip(begun).filter(|it| it.1).collect();
        assert_eq!(begun.len(), 3, "seed {seed}");
        let codes = ["SUCCESS_0", "EXIT_CODE_1", "SUCCESS_0"];
        let all = begun.iter().zip(codes);
        join_all(all.map(|((device, _), code)| reports(&started, device, code))).await;
        join_all(begun.iter().map(|(device, _)| settles(&started, device))).await;
        let injected = started.table.faults.injected();
        conflicts += injected.conflicts;
        lost_answers += injected.lost_answers;
        started.table.faults.set_rates(FaultRates::default());
        let gate = started.gate().await;
        assert_eq!(counts(&gate), (4, 3, 2, 1), "seed {seed}");
        let totals = (gate.all_begun, gate.all_healthy, gate.all_failed);
        assert_eq!(totals, (3, 2, 1), "seed {seed}");
        let tally = started.records().tally(started.package.id).await.unwrap();
        assert_eq!((tally.succeeded, tally.failed), (2, 1), "seed {seed}");
    }
    assert!(conflicts > 0 && lost_answers > 0);
}

async fn failures_at_once_halt_the_rollout(service: Service) {
    let (started, devices) = started_with_devices(service, 340).await;
    let begun = join_all(devices.iter().map(|it| begins(&started, it))).await;
    let begun: Vec<_> = devices.iter().zip(begun).filter(|it| it.1).collect();
    join_all(
        begun
            .iter()
            .map(|(it, _)| reports(&started, it, "EXIT_CODE_1")),
    )
    .await;
    started.table.faults.set_rates(FaultRates::default());
    let gate = started.gate().await;
    assert_eq!(gate.state, GateState::Halted);
    assert_eq!(counts(&gate), (0, 3, 0, 3));
    assert_eq!(gate.evidence.len(), 3);
}

packcast_testing::on_each_service! {
    the_counters_are_correct_whatever_fails
    failures_at_once_halt_the_rollout
}
