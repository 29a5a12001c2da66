//! Rollouts on an embedded engine, from their start to their end.

use packcast_protocol::{DeviceId, PackageRef};
use packcast_rollout::PackageRecord;
use packcast_rollout::rollout::{
    DeviceFailure, Gate, GateChange, GateNumber, GateState, GateUpdate, Place, Weekdays,
};
use packcast_rollout::state::{EntryOwner, StateChange};
use packcast_store::records::Announcing;
use packcast_testing::table::{NOW, announce, location, mia};

use super::*;
use crate::assign::{self, AssignRequest};
use crate::assignees::AssigneeNames;
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

#[tokio::test]
async fn a_full_rollout_names_the_devices_that_it_waits_for() {
    let fixture = Fixture::start(383).await;
    let started = fixture.start_rollout(&fixture.request()).await.unwrap();
    let (device, package) = (&fixture.devices[0], &fixture.package);
    let records = &fixture.target.table.records;
    let activated = records.activate(package.id, &[location()], &mia()).await;
    activated.unwrap();
    let owner = EntryOwner::Device(device.clone());
    fixture
        .target
        .change_all(&[assign_published(owner, package)])
        .await;
    let task = fixture.target.table.task(device, package.id).await.unwrap();
    let place = Place {
        rollout: started.rollout,
        round: 1,
    };
    let full = GateChange {
        conditions: Vec::new(),
        updates: vec![
            GateUpdate::Set(GateNumber::Free, 0),
            GateUpdate::Set(GateNumber::Begun, 2),
        ],
    };
    let tasks = [Announcing {
        place: Some((place, &full)),
        ..Announcing::direct(&task)
    }];
    announce(records, device, &tasks, NOW).await.unwrap();
    let details = fixture.details().await.unwrap();
    assert_eq!(details.summary.status, "full");
    let silent: Vec<&DeviceId> = details.silent.iter().map(|it| &it.device).collect();
    assert_eq!(silent, [device]);
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
