//! Rollouts on an embedded engine, from their start to their end.

use packcast_protocol::api::BoundedText;
use packcast_protocol::{DeviceId, GroupName, PackageRef};
use packcast_rollout::PackageRecord;
use packcast_rollout::rollout::{
    DeviceFailure, Gate, GateChange, GateNumber, GateState, GateUpdate, Place, RolloutResult,
    WaveShares, Weekdays,
};
use packcast_rollout::state::{EntryOwner, StateChange};
use packcast_store::records::{Announcing, Recorded};
use packcast_testing::table::{NOW, announce, location, mia, result};

use super::*;
use crate::assign::{self, AssignRequest};
use crate::assignees::AssigneeNames;
use crate::clock::now;
use crate::failure::{Failure, Kind};
use crate::progress::Progress;
use crate::signing::Signer;
use crate::signing::verify_record::AlsoAccept;
use crate::test_target::{TestTarget, assign_published, create_lab, join, lab};

/// A target with a package, and a group of 40 devices.
struct Fixture {
    target: TestTarget,
    package: PackageRecord,
    devices: Vec<DeviceId>,
}

impl Fixture {
    async fn start(seed: u64) -> Self {
        let target = TestTarget::start(seed).await;
        let package = target.publish("tool").await;
        let mut devices = Vec::new();
        for number in 0..40 {
            devices.push(target.table.device(number).await);
        }
        target
            .change_all(&[create_lab(), join(devices.clone())])
            .await;
        Self {
            target,
            package,
            devices,
        }
    }

    fn request(&self) -> StartRequest {
        StartRequest {
            package: PackageRef::Id(self.package.id),
            groups: vec![lab()],
            pilots: Vec::new(),
            waves: None,
            limits: LimitChoices::default(),
            days: "mon-sun".parse::<Weekdays>().unwrap(),
            by_hand: false,
            from: None,
            draw: None,
            offset_s: 0,
            allow_downgrade: false,
            also_accept: AlsoAccept::default(),
        }
    }

    fn signer(&self) -> Signer {
        Signer::new(&self.target.target, None)
    }

    fn reference(&self) -> PackageRef {
        PackageRef::Id(self.package.id)
    }

    async fn start_rollout(&self, request: &StartRequest) -> Result<RolloutStarted, Failure> {
        let plan = plan_start(&self.target.target, request).await?;
        plan.perform(self.signer(), &Progress::none()).await
    }

    async fn details(&self) -> Result<RolloutDetails, Failure> {
        let mut reader = RolloutReader::open(&self.target.target, &self.reference()).await?;
        reader.read().await
    }

    async fn gate(&self, started: &RolloutStarted) -> Gate {
        let gate = self.target.table.records.gate(started.rollout).await;
        gate.unwrap().unwrap()
    }

    /// Writes the gate as devices and the function can change it.
    async fn set_gate(&self, started: &RolloutStarted, updates: Vec<GateUpdate>) {
        let change = GateChange {
            conditions: Vec::new(),
            updates,
        };
        let records = &self.target.table.records;
        assert!(records.change_gate(started.rollout, &change).await.unwrap());
    }

    async fn pause(&self) -> Result<RolloutChanged, Failure> {
        let plan = plan_pause(&self.target.target, &self.reference()).await?;
        plan.perform().await
    }

    async fn resume(&self, after_halt: bool) -> Result<RolloutChanged, Failure> {
        let plan = plan_resume(&self.target.target, &self.reference(), after_halt).await?;
        plan.perform().await
    }

    async fn promote(&self) -> Result<RolloutPromoted, Failure> {
        let plan = plan_promotion(&self.target.target, &self.reference()).await?;
        plan.perform(self.signer(), &Progress::none()).await
    }

    /// Returns true if the record of the group has the package, with the rollout or without.
    async fn is_assigned(&self, with_rollout: bool) -> bool {
        let state = self.target.table.records.group(&lab()).await.unwrap();
        let state = state.unwrap();
        let assignment = state.assignment(self.package.id);
        assignment.is_some_and(|it| it.rollout.is_some() == with_rollout)
    }
}

#[tokio::test]
async fn a_start_signs_the_waves_and_creates_the_gate() {
    let fixture = Fixture::start(380).await;
    let (target, request) = (&fixture.target.target, fixture.request());
    let planned = plan_start(target, &request).await.unwrap();
    assert_eq!(planned.planned().devices, 40);
    assert_eq!(planned.preview().devices, 40);
    assert!(list(target).await.unwrap().is_empty());

    let started = fixture.start_rollout(&request).await.unwrap();
    assert!(fixture.is_assigned(true).await);
    let gate = fixture.gate(&started).await;
    assert_eq!(gate.limits.values(), &started.planned.limits);
    assert_eq!((gate.state, gate.free), (GateState::Running, 2));
    let listed = list(target).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].rollout, listed[0].status),
        (started.rollout, "running")
    );
    assert_eq!((&*listed[0].name, listed[0].devices), ("tool@1", 40));
    let details = fixture.details().await.unwrap();
    let of_waves: Vec<u32> = details.calendar.iter().map(|wave| wave.devices).collect();
    let planned: Vec<u32> = started
        .planned
        .waves
        .iter()
        .map(|wave| wave.devices)
        .collect();
    assert_eq!((of_waves.iter().sum::<u32>(), of_waves), (40, planned));

    let second = fixture.start_rollout(&request).await.unwrap_err();
    assert_eq!(second.kind(), Kind::Conflict);
    let assign = AssignRequest {
        package: fixture.reference(),
        to: AssigneeNames::All,
        force: false,
        allow_downgrade: false,
        also_accept: AlsoAccept::default(),
    };
    let plan = assign::plan(target, &assign, &Progress::none())
        .await
        .unwrap();
    let warnings: Vec<&str> = plan.warnings().iter().map(|it| &*it.text).collect();
    assert!(warnings[0].contains("has a live rollout"), "{warnings:?}");
}

#[tokio::test]
async fn devices_outside_the_rollout_are_named_before_its_start() {
    let fixture = Fixture::start(381).await;
    let desk = "desk".parse().unwrap();
    let create = StateChange::CreateGroup { group: desk };
    fixture.target.change_all(&[create]).await;
    let desk = || EntryOwner::Group("desk".parse().unwrap());
    let on_desk = assign_published(desk(), &fixture.package);
    let first = EntryOwner::Device(fixture.devices[0].clone());
    let on_first = assign_published(first, &fixture.package);
    fixture.target.change_all(&[on_desk, on_first]).await;
    let request = StartRequest {
        limits: LimitChoices {
            halt_at: Some(0),
            ..LimitChoices::default()
        },
        ..fixture.request()
    };
    let refused = plan_start(&fixture.target.target, &request)
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), Kind::Usage);
    let request = fixture.request();
    let plan = plan_start(&fixture.target.target, &request).await.unwrap();
    let without = &plan.planned().without_rollout;
    assert_eq!(
        (&*without.groups[0].group.to_string(), without.devices),
        ("desk", 1)
    );
}

#[tokio::test]
async fn a_halted_rollout_needs_another_word_to_resume() {
    let fixture = Fixture::start(382).await;
    let started = fixture.start_rollout(&fixture.request()).await.unwrap();
    assert!(fixture.pause().await.unwrap().changed);
    assert!(!fixture.pause().await.unwrap().changed);
    assert_eq!(fixture.details().await.unwrap().summary.status, "paused");
    assert!(fixture.resume(false).await.unwrap().changed);
    assert_eq!(fixture.gate(&started).await.round, 1);

    let halted = GateUpdate::State(GateState::Halted);
    fixture.set_gate(&started, vec![halted]).await;
    let refused = fixture.resume(false).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Conflict);
    assert!(fixture.resume(true).await.unwrap().changed);
    let gate = fixture.gate(&started).await;
    assert_eq!((gate.state, gate.round), (GateState::Running, 2));
}

/// Takes the places of a round, as the question before a package begins does.
fn take(begun: u32, free: u32) -> GateChange {
    GateChange {
        conditions: Vec::new(),
        updates: vec![
            GateUpdate::Set(GateNumber::Free, free.into()),
            GateUpdate::Set(GateNumber::Begun, begun.into()),
        ],
    }
}

impl Fixture {
    /// Activates the package, assigns it to devices, and announces it to each of them, to some with a
    /// place in the first round.
    async fn announce(&self, started: &RolloutStarted, devices: &[DeviceId], placed: &[DeviceId]) {
        let records = &self.target.table.records;
        let (locations, by) = ([location()], mia());
        let activated = records.activate(self.package.id, &locations, &by);
        activated.await.unwrap();
        let owners = devices.iter().cloned().map(EntryOwner::Device);
        let changes: Vec<StateChange> = owners
            .map(|owner| assign_published(owner, &self.package))
            .collect();
        self.target.change_all(&changes).await;
        let (place, full) = (first_round(started), take(3, 0));
        for device in devices {
            let task = self.target.table.task(device, self.package.id).await;
            let task = task.unwrap();
            let place = placed.contains(device).then_some((place, &full));
            let direct = Announcing::direct(&task);
            let tasks = [Announcing { place, ..direct }];
            announce(records, device, &tasks, NOW).await.unwrap();
        }
    }

    /// Records the success of a device with a place. `restart_after` is the boot in which the program
    /// ran, if the result asks for a restart.
    async fn succeed(
        &self,
        device: &DeviceId,
        started: &RolloutStarted,
        restart_after: Option<&str>,
    ) {
        let task = self.target.table.task(device, self.package.id).await;
        let task = task.unwrap();
        let finished = result(&task, "SUCCESS_0");
        let of_rollout = RolloutResult {
            rollout: started.rollout,
            package: self.package.id,
            reported: DeviceFailure {
                device: device.clone(),
                code: finished.code.clone(),
            },
            outcome: finished.outcome,
            place: task.place,
            restart_after: restart_after.map(BoundedText::tail),
        };
        let records = &self.target.table.records;
        let recorded =
            records.record_rollout_result(device, &task, &finished, &of_rollout, None, NOW);
        assert_eq!(recorded.await.unwrap().recorded, Recorded::Written);
    }

    /// Returns the status of the rollout, and the devices that it waits for.
    async fn silent(&self) -> (&'static str, Vec<(DeviceId, Awaited)>) {
        let details = self.details().await.unwrap();
        let silent = details.silent.into_iter();
        let silent = silent.map(|it| (it.device.device, it.waits_for));
        (details.summary.status, silent.collect())
    }
}

fn first_round(started: &RolloutStarted) -> Place {
    Place {
        rollout: started.rollout,
        round: 1,
    }
}

/// Ends the news of a gate: each device with a place should have been heard from.
fn long_ago() -> Vec<GateUpdate> {
    [GateNumber::Since, GateNumber::Changed]
        .map(|number| GateUpdate::Set(number, 1_000))
        .into()
}

#[tokio::test]
async fn a_full_rollout_names_the_devices_that_it_waits_for() {
    let fixture = Fixture::start(383).await;
    let started = fixture.start_rollout(&fixture.request()).await.unwrap();
    let [reports, checks_in, restarts, ..] = &*fixture.devices else {
        panic!("the fixture has 40 devices");
    };
    let placed = [reports, checks_in, restarts].map(DeviceId::clone);
    fixture.announce(&started, &placed, &placed).await;
    // The places were taken just now.
    let changed = GateUpdate::Set(GateNumber::Changed, crate::clock::now().0);
    fixture.set_gate(&started, vec![changed]).await;
    assert_eq!(fixture.silent().await, ("running", Vec::new()));
    let plan = plan_resume(&fixture.target.target, &fixture.reference(), false).await;
    assert_eq!(plan.unwrap().warnings().len(), 1);

    fixture.set_gate(&started, long_ago()).await;
    let report = |device: &DeviceId| (device.clone(), Awaited::Report);
    let (status, silent) = fixture.silent().await;
    assert_eq!(status, "full");
    let mut expected = placed.each_ref().map(report);
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(silent, expected);

    fixture.succeed(checks_in, &started, None).await;
    fixture.succeed(restarts, &started, Some("boot-1")).await;
    let mut expected = vec![
        (checks_in.clone(), Awaited::CheckIn),
        (restarts.clone(), Awaited::Restart),
    ];
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    expected.insert(0, report(reports));
    assert_eq!(fixture.silent().await, ("full", expected));
    let plan = plan_resume(&fixture.target.target, &fixture.reference(), false).await;
    assert!(plan.unwrap().warnings().is_empty());
    // One of the three devices that were told has not reported.
    assert_eq!(fixture.pause().await.unwrap().told, 1);
}

#[tokio::test]
async fn the_holder_of_a_place_is_found_among_many_devices_that_were_told() {
    let mut fixture = Fixture::start(387).await;
    for number in 40..105 {
        let device = fixture.target.table.device(number).await;
        fixture.devices.push(device);
    }
    let joined = join(fixture.devices[40..].to_vec());
    fixture.target.change_all(&[joined]).await;
    let started = fixture.start_rollout(&fixture.request()).await.unwrap();
    let last = fixture.devices.iter().max().unwrap();
    let placed = std::slice::from_ref(last);
    fixture.announce(&started, &fixture.devices, placed).await;
    fixture.set_gate(&started, long_ago()).await;
    let expected = vec![(last.clone(), Awaited::Report)];
    assert_eq!(fixture.silent().await, ("full", expected));
}

#[tokio::test]
async fn a_device_in_several_groups_counts_once() {
    let fixture = Fixture::start(388).await;
    let desk: GroupName = "desk".parse().unwrap();
    let create = StateChange::CreateGroup {
        group: desk.clone(),
    };
    let join = StateChange::Join {
        group: desk.clone(),
        devices: fixture.devices[..10].iter().cloned().collect(),
    };
    fixture.target.change_all(&[create, join]).await;
    let request = StartRequest {
        groups: vec![lab(), desk],
        ..fixture.request()
    };
    fixture.start_rollout(&request).await.unwrap();
    let listed = list(&fixture.target.target).await.unwrap();
    let details = fixture.details().await.unwrap();
    assert_eq!((listed[0].devices, details.summary.devices), (40, 40));
}

#[tokio::test]
async fn a_failure_has_the_end_of_its_output() {
    let fixture = Fixture::start(386).await;
    let started = fixture.start_rollout(&fixture.request()).await.unwrap();
    let (device, package) = (&fixture.devices[..1], &fixture.package);
    let (code, output) = ("ERR_EXIT_CODE_7", "unpacking\ndisk full\n");
    fixture.target.deploy(device, package, code, output).await;
    let evidence = DeviceFailure {
        device: device[0].clone(),
        code: code.parse().unwrap(),
    };
    let failed = GateUpdate::Evidence(vec![evidence]);
    fixture.set_gate(&started, vec![failed]).await;
    let failures = fixture.details().await.unwrap().first_failures;
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].line.as_deref(), Some("disk full"));
    assert_eq!(failures[0].output_tail.as_deref(), Some(output));
}

#[tokio::test]
async fn a_promotion_signs_a_time_for_the_next_wave() {
    let fixture = Fixture::start(384).await;
    let request = StartRequest {
        by_hand: true,
        ..fixture.request()
    };
    let started = fixture.start_rollout(&request).await.unwrap();
    let promoted = fixture.promote().await.unwrap();
    assert!(promoted.changed && promoted.commit.is_some());
    assert_eq!(promoted.wave.get(), 2);
    let gate = fixture.gate(&started).await;
    assert_eq!((gate.wave.get(), gate.round), (2, 2));
    let details = fixture.details().await.unwrap();
    assert!(
        details
            .calendar
            .iter()
            .all(|wave| wave.opens.is_some() && wave.is_open)
    );
    let last = fixture.promote().await.unwrap_err();
    assert_eq!(last.kind(), Kind::Conflict);
}

#[tokio::test]
async fn the_end_of_a_rollout_withdraws_the_package_or_keeps_it() {
    let fixture = Fixture::start(385).await;
    let (target, reference) = (&fixture.target.target, fixture.reference());
    let request = fixture.request();
    let started = fixture.start_rollout(&request).await.unwrap();
    let plan = plan_end(target, &reference).await.unwrap();
    assert_eq!(plan.preview().devices, 40);
    let ended = plan.perform(fixture.signer(), &Progress::none()).await;
    let ended = ended.unwrap();
    assert!(ended.commit.is_some() && ended.complete_in_s >= 60);
    assert_eq!(fixture.gate(&started).await.state, GateState::Ended);
    assert!(!fixture.is_assigned(true).await && !fixture.is_assigned(false).await);
    assert!(list(target).await.unwrap().is_empty());
    assert_eq!(fixture.details().await.unwrap_err().kind(), Kind::Conflict);

    let again = fixture.start_rollout(&request).await.unwrap();
    let plan = plan_finish(target, &reference).await.unwrap();
    let finished = plan.perform(fixture.signer(), &Progress::none()).await;
    assert_eq!(finished.unwrap().complete_in_s, 0);
    assert_eq!(fixture.gate(&again).await.state, GateState::Ended);
    assert!(fixture.is_assigned(false).await);
}

#[tokio::test]
async fn each_wave_has_its_devices_by_their_states() {
    let fixture = Fixture::start(396).await;
    let request = fixture.request();
    let started = fixture.start_rollout(&request).await.unwrap();
    let told = &fixture.devices[..3];
    fixture.announce(&started, told, &[]).await;
    fixture.succeed(&told[0], &started, None).await;
    let reference = fixture.reference();
    let target = &fixture.target.target;
    let reader = RolloutReader::open_with_states(target, &reference);
    let details = reader.await.unwrap().read().await.unwrap();
    let mut all = WaveStates::default();
    for wave in &details.calendar {
        let states = wave.states.unwrap();
        let counted = states.announced + states.succeeded + states.failed + states.waiting;
        assert_eq!(counted, wave.devices, "{wave:?}");
        all.announced += states.announced;
        all.succeeded += states.succeeded;
        all.waiting += states.waiting;
    }
    let expected = WaveStates {
        announced: 2,
        succeeded: 1,
        failed: 0,
        waiting: 37,
    };
    assert_eq!(all, expected);
    let brief = fixture.details().await.unwrap();
    assert!(brief.calendar.iter().all(|wave| wave.states.is_none()));
}

#[tokio::test]
async fn a_plan_with_the_same_draw_has_the_same_waves() {
    let fixture = Fixture::start(397).await;
    let target = &fixture.target.target;
    let draw = RolloutDraw::random().unwrap();
    let request = StartRequest {
        from: Some(now()),
        draw: Some(draw),
        waves: Some(WaveShares::UpTo(vec![2_500, 5_000, 10_000])),
        ..fixture.request()
    };
    let [first, second] = [
        plan_start(target, &request).await.unwrap(),
        plan_start(target, &request).await.unwrap(),
    ];
    assert_eq!(first.state_changes(), second.state_changes());
    let started = first.perform(fixture.signer(), &Progress::none()).await;
    assert_eq!(started.unwrap().rollout, draw.rollout);
    let end = plan_end(target, &fixture.reference()).await.unwrap();
    end.perform(fixture.signer(), &Progress::none())
        .await
        .unwrap();
    // The id of a rollout is never used again.
    let again = plan_start(target, &request).await.unwrap_err();
    assert_eq!(again.kind(), Kind::Conflict);
    assert!(
        again
            .to_string()
            .contains("was started with this plan before")
    );
}
