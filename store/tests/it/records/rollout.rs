//! Gates of rollouts: places, failures, health and commands, with races and faults.

mod cost;
mod faults;

use futures_util::future::join_all;
use packcast_protocol::state::document::{SLOTS, Wave, WaveDevices, Waves};
use packcast_protocol::state::{RolloutId, WaveNumber};
use packcast_protocol::{DeviceId, Outcome, PackageId, UnixTime};
use packcast_rollout::rollout::{
    BeginDecision, ControlError, DeviceFailure, Gate, GateChange, GateCondition, GateLimits,
    GateNumber, GateRead, GateState, GateUpdate, LimitValues, Place, RolloutResult, Settling,
    begin, next_wave, pause, promote,
};
use packcast_rollout::{FinishedTask, OpenTask, PackageRecord, UnsignedChange};
use packcast_store::Records;
use packcast_store::records::{Announcing, GateControlError, PlaceTaken, Recorded};
use packcast_testing::administrator::Administrator as _;
use packcast_testing::service::Service;
use packcast_testing::signing::signing;
use packcast_testing::table::{NOW, Table, announce, mia, result};

const ROLLOUT: RolloutId = RolloutId::from_bytes([7; 16]);
const DAY_S: u32 = 24 * 3600;
const SETTLED: UnixTime = UnixTime(NOW.0 + 7_200);

fn limits() -> GateLimits {
    let values = LimitValues {
        halt_at: 3,
        tolerate: 5,
        at_once: 10,
        settle_s: 1_800,
        first_settle_s: 7_200,
        wait_s: DAY_S,
    };
    values.try_into().unwrap()
}

/// Returns two waves: the first opens now, and the second a day later.
fn waves() -> Waves {
    let wave = |up_to, from| Wave {
        devices: WaveDevices::UpTo(up_to),
        from: Some(from),
    };
    let second = wave(SLOTS, NOW.plus(DAY_S.into()));
    Waves::new(vec![wave(100, NOW), second]).unwrap()
}

fn new_gate(records: &Records) -> Gate {
    Gate::new(ROLLOUT, records.table().to_owned(), limits(), NOW)
}

/// A table with a package in a rollout whose halt takes three failures.
struct Started {
    table: Table,
    package: PackageRecord,
}

impl Started {
    async fn on(service: Service, seed: u64) -> Self {
        let table = Table::start_on(service, seed).await;
        let package = table.package("vlc", 5).await;
        let gate = new_gate(&table.records);
        let created = table.records.create_gate(package.id, &gate).await.unwrap();
        assert_eq!(created.as_ref(), Some(&gate));
        table.meter.take();
        Self { table, package }
    }

    fn records(&self) -> &Records {
        &self.table.records
    }

    async fn gate(&self) -> Gate {
        self.records().gate(ROLLOUT).await.unwrap().unwrap()
    }

    /// Creates a device to which the package is announced.
    async fn told(&self, number: u8) -> DeviceId {
        let device = self.table.agent(number).await;
        let task = self.table.assigned(&device, &self.package).await;
        let tasks = [Announcing::direct(&task)];
        let announced = announce(self.records(), &device, &tasks, NOW).await;
        assert_eq!(announced.unwrap().on_record, [self.package.id]);
        device
    }

    async fn task(&self, device: &DeviceId) -> OpenTask {
        self.table.task(device, self.package.id).await.unwrap()
    }

    /// Tries to take a place by a gate that may be old.
    async fn begin_by(&self, device: &DeviceId, gate: &Gate) -> PlaceTaken {
        let task = self.task(device).await;
        let (place, change) = taking(gate, &task);
        let taken = self.records().take_place(device, &task, place, &change);
        taken.await.unwrap()
    }

    async fn begun(&self, number: u8) -> DeviceId {
        let device = self.told(number).await;
        let taken = self.begin_by(&device, &self.gate().await).await;
        assert_eq!(taken, PlaceTaken::Taken);
        device
    }

    async fn report(&self, device: &DeviceId, code: &str, cached: Option<&Gate>) -> Recorded {
        let task = self.task(device).await;
        let finished = result(&task, code);
        let of_rollout = of_rollout(device, &task, &finished);
        let recorded = self.records().record_rollout_result(
            device,
            &task,
            &finished,
            &of_rollout,
            cached,
            NOW,
        );
        recorded.await.unwrap().recorded
    }

    async fn finished(&self, device: &DeviceId) -> Option<FinishedTask> {
        let finished = self.records().finished(device, self.package.id).await;
        finished.unwrap()
    }

    async fn settling(&self, device: &DeviceId) -> Vec<Settling> {
        self.records().device_state(device).await.unwrap().settling
    }

    async fn healthy(&self, device: &DeviceId, cached: Option<&Gate>) {
        for settling in self.settling(device).await {
            assert!(settling.is_over(None, SETTLED));
            let recorded = self
                .records()
                .record_healthy(device, &settling, cached, SETTLED);
            recorded.await.unwrap();
        }
    }
}

fn taking(gate: &Gate, task: &OpenTask) -> (Place, GateChange) {
    let read = GateRead {
        gate,
        is_fresh: false,
    };
    let held = task.place.as_ref();
    match begin(read, &gate.table, &waves(), WaveNumber::FIRST, held, NOW) {
        BeginDecision::Take { place, change } => (place, change),
        other => panic!("{other:?}"),
    }
}

fn of_rollout(device: &DeviceId, task: &OpenTask, finished: &FinishedTask) -> RolloutResult {
    RolloutResult {
        rollout: ROLLOUT,
        package: task.package,
        reported: DeviceFailure {
            device: device.clone(),
            code: finished.code.clone(),
        },
        outcome: finished.outcome,
        place: task.place,
        restart_after: None,
    }
}

const fn counts(gate: &Gate) -> (u32, u32, u32, u32) {
    (gate.free, gate.begun, gate.healthy, gate.failed)
}

async fn a_gate_is_created_once_and_removed_with_its_package(service: Service) {
    let started = Started::on(service, 300).await;
    let (records, id) = (started.records(), started.package.id);
    records.end_rollout(id, ROLLOUT, &mia()).await.unwrap();
    let again = records.create_gate(id, &new_gate(records)).await.unwrap();
    assert_eq!(again, Some(started.gate().await));
    assert_eq!(again.unwrap().state, GateState::Ended);
    let second = Gate {
        rollout: RolloutId::from_bytes([8; 16]),
        ..new_gate(records)
    };
    records.create_gate(id, &second).await.unwrap();
    assert_eq!(
        records.rollouts_of(id).await.unwrap(),
        [ROLLOUT, second.rollout]
    );
    let none = RolloutId::from_bytes([9; 16]);
    let read = records.gates(&[ROLLOUT, second.rollout, none]).await;
    assert_eq!(read.unwrap().len(), 2);

    records.delete(id, &mia()).await.unwrap();
    assert_eq!(records.gate(ROLLOUT).await.unwrap(), None);
    assert_eq!(records.gate(second.rollout).await.unwrap(), None);
    assert_eq!(records.rollouts_of(id).await.unwrap(), []);
    let of_deleted = records.create_gate(id, &second).await.unwrap();
    assert_eq!(of_deleted, None);
    let unknown: PackageId = "1500000000".parse().unwrap();
    assert_eq!(records.create_gate(unknown, &second).await.unwrap(), None);
}

/// Returns conditions of each kind: one that holds for the gate, and one that does not.
fn conditions(gate: &Gate) -> Vec<GateCondition> {
    let (free, second) = (GateNumber::Free, 2.try_into().unwrap());
    vec![
        GateCondition::State(gate.state),
        GateCondition::State(GateState::Halted),
        GateCondition::Table(gate.table.clone()),
        GateCondition::Table("other".to_owned()),
        GateCondition::Wave(gate.wave),
        GateCondition::Wave(second),
        GateCondition::Is(free, gate.free.into()),
        GateCondition::Is(free, 99),
        GateCondition::IsNot(free, 99),
        GateCondition::IsNot(free, gate.free.into()),
        GateCondition::AtLeast(free, gate.free.into()),
        GateCondition::AtLeast(free, 99),
        GateCondition::Below(free, 99),
        GateCondition::Below(free, gate.free.into()),
    ]
}

async fn the_table_changes_a_gate_as_the_rules_do(service: Service) {
    let started = Started::on(service, 301).await;
    let records = started.records();
    let mut gate = started.gate().await;
    let mut written = 0;
    for condition in conditions(&gate) {
        let change = GateChange {
            conditions: vec![GateCondition::Is(GateNumber::Round, 1), condition],
            updates: vec![GateUpdate::Add(GateNumber::Begun, 1)],
        };
        let changed = records.change_gate(ROLLOUT, &change).await.unwrap();
        assert_eq!(changed, change.apply(&mut gate), "{change:?}");
        assert_eq!(started.gate().await, gate);
        written += u32::from(changed);
    }
    assert_eq!(written, 7);
    let failure = DeviceFailure {
        device: started.table.agent(1).await,
        code: "EXIT_CODE_1603".parse().unwrap(),
    };
    let all = GateChange {
        conditions: Vec::new(),
        updates: vec![
            GateUpdate::State(GateState::Paused),
            GateUpdate::Table("other".to_owned()),
            GateUpdate::Wave(2.try_into().unwrap()),
            GateUpdate::Evidence(vec![failure]),
            GateUpdate::Set(GateNumber::Round, 4),
            GateUpdate::Add(GateNumber::Healthy, 2),
            GateUpdate::Subtract(GateNumber::Free, 1),
        ],
    };
    assert!(records.change_gate(ROLLOUT, &all).await.unwrap() && all.apply(&mut gate));
    assert_eq!(started.gate().await, gate);
    // A gate that is gone stays gone.
    let gone = RolloutId::from_bytes([9; 16]);
    assert!(!records.change_gate(gone, &all).await.unwrap());
    assert_eq!(records.gate(gone).await.unwrap(), None);
}

async fn a_place_is_taken_once_and_only_while_one_is_free(service: Service) {
    let started = Started::on(service, 302).await;
    let empty = started.gate().await;
    let first = started.begun(1).await;
    let before = OpenTask {
        place: None,
        ..started.task(&first).await
    };
    // The answer was lost: the same change finds its place.
    let (place, change) = taking(&empty, &before);
    let records = started.records();
    let again = records.take_place(&first, &before, place, &change).await;
    assert_eq!(again.unwrap(), PlaceTaken::Taken);
    assert_eq!(counts(&started.gate().await), (2, 1, 0, 0));

    for number in [2, 3] {
        started.begun(number).await;
    }
    let late = started.told(4).await;
    assert_eq!(started.begin_by(&late, &empty).await, PlaceTaken::Refused);
    assert_eq!(started.task(&late).await.place, None);
    assert_eq!(counts(&started.gate().await), (0, 3, 0, 0));

    // After a pause, nobody takes a place by the gate before it.
    records
        .resume_rollout(started.package.id, ROLLOUT, false, &mia())
        .await
        .unwrap();
    let running = started.gate().await;
    assert_eq!((running.round, running.free), (2, 3));
    records
        .pause_rollout(started.package.id, ROLLOUT, &mia())
        .await
        .unwrap();
    assert_eq!(started.begin_by(&late, &running).await, PlaceTaken::Refused);
}

async fn only_an_announced_task_takes_a_place(service: Service) {
    let started = Started::on(service, 303).await;
    let (records, package) = (started.records(), &started.package);
    let device = started.table.agent(1).await;
    let pending = started.table.assigned(&device, package).await;
    let announced = OpenTask {
        state: packcast_rollout::TaskState::Announced { announced_at: NOW },
        ..pending
    };
    let (place, change) = taking(&started.gate().await, &announced);
    let taken = records
        .take_place(&device, &announced, place, &change)
        .await;
    assert_eq!(taken.unwrap(), PlaceTaken::Refused);

    let device = started.told(2).await;
    let task = started.task(&device).await;
    let unassigned = records.unassign(&device, package, signing()).await;
    unassigned.unwrap();
    let taken = records.take_place(&device, &task, place, &change).await;
    assert_eq!(taken.unwrap(), PlaceTaken::Refused);
    assert_eq!(counts(&started.gate().await), (3, 0, 0, 0));
}

async fn no_change_of_a_task_loses_its_place(service: Service) {
    let started = Started::on(service, 304).await;
    let device = started.told(1).await;
    let before = started.task(&device).await;
    let taken = started.begin_by(&device, &started.gate().await).await;
    assert_eq!(taken, PlaceTaken::Taken);
    let records = started.records();
    // Decided before the device took its place.
    let success = result(&before, "SUCCESS_0");
    let recorded = records.record_result(&device, &before, &success).await;
    assert_eq!(recorded.unwrap(), Recorded::Superseded);
    let place = started.task(&device).await.place;
    assert!(place.is_some());
    // Withdrawn, and assigned again.
    let package = &started.package;
    records.unassign(&device, package, signing()).await.unwrap();
    assert_eq!(started.task(&device).await.place, place);
    records
        .assign(&device, package, false, signing())
        .await
        .unwrap();
    assert_eq!(started.task(&device).await.place, place);
}

async fn the_third_failure_halts_in_the_transaction_of_its_report(service: Service) {
    let started = Started::on(service, 305).await;
    let mut devices = Vec::new();
    for number in 1..=3 {
        devices.push(started.begun(number).await);
    }
    let cached = started.gate().await;
    for (number, device) in (1..).zip(&devices) {
        // A cached gate does not know of the earlier failures.
        let recorded = started
            .report(device, "EXIT_CODE_1603", Some(&cached))
            .await;
        assert_eq!(recorded, Recorded::Written);
        let gate = started.gate().await;
        assert_eq!((gate.failed, gate.free), (number, 0));
        assert_eq!(gate.state == GateState::Halted, number == 3);
    }
    let gate = started.gate().await;
    let failed: Vec<_> = gate.evidence.iter().map(|it| &it.device).collect();
    assert_eq!(failed, devices.iter().collect::<Vec<_>>());
    // Results of an earlier round change totals only.
    let (records, id) = (started.records(), started.package.id);
    let refused = records.resume_rollout(id, ROLLOUT, false, &mia()).await;
    let control = ControlError::Halted { failed: 3 };
    assert!(matches!(refused, Err(GateControlError::Control(it)) if it == control));
    let late = started.told(4).await;
    records
        .resume_rollout(id, ROLLOUT, true, &mia())
        .await
        .unwrap();
    let taken = started.begin_by(&late, &started.gate().await).await;
    assert_eq!(taken, PlaceTaken::Taken);
    let cached = started.gate().await;
    let full = GateChange {
        conditions: Vec::new(),
        updates: vec![GateUpdate::Set(GateNumber::Free, 0)],
    };
    assert!(records.change_gate(ROLLOUT, &full).await.unwrap());
    records
        .resume_rollout(id, ROLLOUT, false, &mia())
        .await
        .unwrap();
    started.report(&late, "EXIT_CODE_1", Some(&cached)).await;
    let gate = started.gate().await;
    assert_eq!((gate.round, gate.failed, gate.all_failed), (3, 0, 4));
}

async fn no_report_is_lost_because_of_a_gate(service: Service) {
    let started = Started::on(service, 306).await;
    let (failing, succeeding) = (started.begun(1).await, started.begun(2).await);
    let third = started.begun(3).await;
    let cached = started.gate().await;
    let pk = format!("GATE#{ROLLOUT}");
    let mut forged = started.table.item(&pk, "GATE").await;
    forged["state"] = serde_json::json!({ "S": "open" });
    started.table.put(&forged).await;
    assert!(started.records().gate(ROLLOUT).await.is_err());
    started.report(&third, "EXIT_CODE_1", None).await;
    started.table.delete(&pk, "GATE").await;
    // The cached gate is still there.
    started.report(&failing, "EXIT_CODE_1", Some(&cached)).await;
    started.report(&succeeding, "SUCCESS_0", None).await;
    for (device, outcome) in [
        (&failing, Outcome::Failed),
        (&third, Outcome::Failed),
        (&succeeding, Outcome::Succeeded),
    ] {
        let finished = started.finished(device).await.unwrap();
        assert_eq!(finished.outcome, outcome);
    }
    assert_eq!(started.settling(&succeeding).await, []);
    assert_eq!(started.records().gate(ROLLOUT).await.unwrap(), None);
}

async fn a_device_settles_and_is_healthy_once(service: Service) {
    let started = Started::on(service, 307).await;
    let device = started.begun(1).await;
    let cached = started.gate().await;
    started.report(&device, "SUCCESS_0", Some(&cached)).await;
    let settling = started.settling(&device).await;
    assert_eq!(settling.len(), 1);
    let place = Place {
        rollout: ROLLOUT,
        round: 1,
    };
    assert_eq!((settling[0].place, settling[0].until), (place, SETTLED));
    assert_eq!(counts(&started.gate().await), (2, 1, 0, 0));

    let records = started.records();
    let recorded =
        join_all((0..4).map(|_| records.record_healthy(&device, &settling[0], None, SETTLED)));
    for recorded in recorded.await {
        recorded.unwrap();
    }
    assert_eq!(started.settling(&device).await, []);
    assert_eq!(counts(&started.gate().await), (4, 1, 1, 0));
    records
        .record_healthy(&device, &settling[0], Some(&cached), SETTLED)
        .await
        .unwrap();
    assert_eq!(counts(&started.gate().await), (4, 1, 1, 0));

    // The gate is gone before the device has settled.
    let late = started.begun(2).await;
    started.report(&late, "SUCCESS_0", None).await;
    let cached = started.gate().await;
    let pk = format!("GATE#{ROLLOUT}");
    started.table.delete(&pk, "GATE").await;
    started.healthy(&late, Some(&cached)).await;
    assert_eq!(started.settling(&late).await, []);
    assert_eq!(records.gate(ROLLOUT).await.unwrap(), None);
}

async fn a_removed_device_leaves_no_settling_item(service: Service) {
    let started = Started::on(service, 308).await;
    let device = started.begun(1).await;
    started.report(&device, "SUCCESS_0", None).await;
    assert_eq!(started.settling(&device).await.len(), 1);
    let records = started.records();
    records
        .begin_removal(std::slice::from_ref(&device), None, &mia())
        .await
        .unwrap();
    records.erase(&device).await.unwrap();
    assert_eq!(started.settling(&device).await, []);
    // The place stays taken.
    assert_eq!(counts(&started.gate().await), (2, 1, 0, 0));
}

async fn the_next_wave_opens_once(service: Service) {
    let started = Started::on(service, 309).await;
    let device = started.begun(1).await;
    started.report(&device, "SUCCESS_0", None).await;
    started.healthy(&device, None).await;
    let (gate, later) = (started.gate().await, NOW.plus(DAY_S.into()));
    let change = next_wave(&gate, &gate.table, &waves(), later).unwrap();
    let records = started.records();
    let opened = join_all((0..4).map(|_| records.change_gate(ROLLOUT, &change))).await;
    let opened = opened.into_iter().filter(|it| *it.as_ref().unwrap());
    assert_eq!(opened.count(), 1);
    let gate = started.gate().await;
    assert_eq!((gate.wave.get(), gate.round, gate.free), (2, 2, 3));
}

async fn each_command_changes_the_gate_with_one_event(service: Service) {
    let started = Started::on(service, 310).await;
    let (records, id, by) = (started.records(), started.package.id, &mia());
    let later = &packcast_testing::table::mia_at(NOW.plus(DAY_S.into()));
    for (is_new, state) in [(true, GateState::Paused), (false, GateState::Paused)] {
        let paused = records.pause_rollout(id, ROLLOUT, by).await.unwrap();
        assert_eq!((paused, started.gate().await.state), (is_new, state));
    }
    let paused = records
        .promote_rollout(id, ROLLOUT, &self::waves(), later)
        .await;
    let expected = ControlError::NotRunning;
    assert!(matches!(paused, Err(GateControlError::Control(it)) if it == expected));
    for is_new in [true, false] {
        let resumed = records.resume_rollout(id, ROLLOUT, false, by).await;
        assert_eq!(resumed.unwrap(), is_new);
    }
    // Two commands at once open one wave.
    let waves = waves();
    let promote = || records.promote_rollout(id, ROLLOUT, &waves, later);
    let promoted = promote().await;
    assert!(promoted.unwrap());
    assert_eq!(started.gate().await.wave.get(), 2);
    let last = promote().await;
    assert!(matches!(
        last,
        Err(GateControlError::Control(ControlError::LastWave { .. }))
    ));
    for is_new in [true, false] {
        assert_eq!(records.end_rollout(id, ROLLOUT, by).await.unwrap(), is_new);
    }
    let ended = records.pause_rollout(id, ROLLOUT, by).await;
    assert!(matches!(
        ended,
        Err(GateControlError::Control(ControlError::Ended))
    ));
    let none = RolloutId::from_bytes([9; 16]);
    let missing = records.pause_rollout(id, none, by).await;
    assert!(matches!(missing, Err(GateControlError::NoGate { rollout }) if rollout == none));

    let ever = packcast_rollout::EventTime::of_microseconds(u64::MAX);
    let (events, _) = records.events(ever, None, 100).await.unwrap();
    let changes = events.into_iter().map(|it| it.event.unwrap().change);
    let of_rollout = |change: &UnsignedChange| match change {
        UnsignedChange::RolloutPaused { .. } => Some("paused"),
        UnsignedChange::RolloutResumed { .. } => Some("resumed"),
        UnsignedChange::RolloutPromoted { wave, .. } if wave.get() == 2 => Some("promoted"),
        UnsignedChange::RolloutEnded { .. } => Some("ended"),
        _ => None,
    };
    let mut changes: Vec<_> = changes.filter_map(|it| of_rollout(&it)).collect();
    changes.sort_unstable();
    assert_eq!(changes, ["ended", "paused", "promoted", "resumed"]);
}

async fn commands_at_once_open_one_wave(service: Service) {
    let started = Started::on(service, 311).await;
    let (records, id) = (started.records(), started.package.id);
    let three = |from| {
        let wave = |up_to| Wave {
            devices: WaveDevices::UpTo(up_to),
            from,
        };
        Waves::new(vec![wave(100), wave(1_000), wave(SLOTS)]).unwrap()
    };
    let waves = three(Some(NOW));
    let by = mia();
    let first = started.gate().await;
    let promoted = join_all((0..2).map(|_| records.promote_rollout(id, ROLLOUT, &waves, &by)));
    let promoted = promoted.await;
    let opened = promoted.iter().filter(|it| *it.as_ref().unwrap()).count();
    let wave = started.gate().await.wave;
    // A command that begins after the other one is complete opens the wave after it.
    assert_eq!(usize::from(wave.get()), 1 + opened);
    // A change that was decided before the other one is refused.
    let stale = promote(&first, &first.table, &waves, NOW).unwrap();
    assert!(!records.change_gate(ROLLOUT, &stale).await.unwrap());
    let pausing = pause(&first).unwrap().unwrap();
    assert!(records.change_gate(ROLLOUT, &pausing).await.unwrap());
}

/// An OCS agent asks nothing, so its place is taken when it is told.
async fn an_announcement_takes_a_place_or_announces_nothing(service: Service) {
    let started = Started::on(service, 312).await;
    let records = started.records();
    let other = started.table.package("other", 5).await;
    let gate = started.gate().await;
    for number in 1..=4 {
        let device = started.table.device(number).await;
        let task = started.table.assigned(&device, &started.package).await;
        let beside = started.table.assigned(&device, &other).await;
        let (place, change) = taking(&gate, &task);
        let tasks = [
            Announcing {
                place: Some((place, &change)),
                ..Announcing::direct(&task)
            },
            Announcing::direct(&beside),
        ];
        let announced = announce(records, &device, &tasks, NOW).await.unwrap();
        let told = started.task(&device).await;
        if number <= 3 {
            assert_eq!(announced.on_record, [task.package, other.id]);
            assert_eq!(told.place, Some(place));
            // The answer was lost.
            let again = announce(records, &device, &tasks, NOW).await.unwrap();
            assert_eq!(again, announced);
        } else {
            assert_eq!(announced.refused, [task.package]);
            assert_eq!(announced.on_record, [other.id]);
            assert_eq!(told, task);
        }
        let begun = number.min(3);
        assert_eq!(counts(&started.gate().await), (3 - begun, begun, 0, 0));
    }
}

packcast_testing::on_each_service! {
    a_gate_is_created_once_and_removed_with_its_package
    the_table_changes_a_gate_as_the_rules_do
    a_place_is_taken_once_and_only_while_one_is_free
    only_an_announced_task_takes_a_place
    no_change_of_a_task_loses_its_place
    the_third_failure_halts_in_the_transaction_of_its_report
    no_report_is_lost_because_of_a_gate
    a_device_settles_and_is_healthy_once
    a_removed_device_leaves_no_settling_item
    the_next_wave_opens_once
    each_command_changes_the_gate_with_one_event
    commands_at_once_open_one_wave
    an_announcement_takes_a_place_or_announces_nothing
}
