//! Rollouts as devices see them: waves, places, halts and health, with the calendar and the gate.

mod alarms;
mod cost;
mod hints;
mod ocs;
mod races;

use std::collections::BTreeSet;

use packcast_check_in::CheckInFunction;
use packcast_protocol::api::{
    BEGIN_PATH, BeginReply, BeginRequest, BoundedText, CHECK_IN_PATH, CheckInReply, CheckInRequest,
    HoldWord, REPORT_PATH, Report, ReportRequest,
};
use packcast_protocol::result::NamedCode;
use packcast_protocol::state::document::{
    RolloutGroups, RolloutSeed, SLOTS, Wave, WaveDevices, Waves,
};
use packcast_protocol::state::exchange::{MachineFacts, UsedMandates};
use packcast_protocol::state::{Mandate, RolloutDocument, RolloutId, Terms, WaveNumber};
use packcast_protocol::{Assignee, DeviceId, GroupName, ResultCode, UnixTime};
use packcast_rollout::PackageRecord;
use packcast_rollout::rollout::{Gate, GateChange, GateLimits, GateState, GateUpdate, LimitValues};
use packcast_rollout::state::{EntryOwner, NewAssignment, StateChange};
use packcast_store::Records;
use packcast_testing::administrator::{Administrator as _, commit_only, complete_all};
use packcast_testing::signing::signing;
use packcast_testing::table::{NOW, mia, mia_at};

use crate::agents::{Agent, parsed};
use crate::system::{Reply, TestSystem, settings};

const ROLLOUT: RolloutId = RolloutId::from_bytes([7; 16]);
const DAY_S: u64 = 24 * 3600;
const FIRST_SETTLE_S: u64 = 7_200;
const GO: BeginReply = BeginReply::Go;
/// Time at which a device that has succeeded at once is healthy.
const SETTLED: UnixTime = UnixTime(NOW.0 + FIRST_SETTLE_S);

const fn wait(reason: HoldWord) -> BeginReply {
    BeginReply::wait(reason)
}

fn limits() -> GateLimits {
    let values = LimitValues {
        halt_at: 3,
        tolerate: 5,
        at_once: 10,
        settle_s: 1_800,
        first_settle_s: 7_200,
        wait_s: 3_600,
    };
    values.try_into().expect("the limits are within bounds")
}

fn pilot() -> GroupName {
    "pilot".parse().expect("a group's name")
}

/// Returns the check-in of an agent in a boot.
fn asking(boot: &str, now: UnixTime) -> Vec<u8> {
    let asking = CheckInRequest {
        machine: MachineFacts::new("linux-x86_64", Some("hardware:1"), Some(boot), now),
        ..Agent::asking()
    };
    serde_json::to_vec(&asking).expect("a request is JSON")
}

/// Returns a reply without the time of the next question, which is random.
fn without_time(reply: BeginReply) -> BeginReply {
    match reply {
        BeginReply::Wait { reason, .. } => wait(reason),
        BeginReply::Go => GO,
    }
}

/// A package that all devices get by a rollout.
struct Started {
    system: TestSystem,
    package: PackageRecord,
    document: RolloutDocument,
}

/// Returns one wave with all devices, which is open.
fn one_wave() -> Waves {
    let wave = Wave {
        devices: WaveDevices::UpTo(SLOTS),
        from: Some(NOW),
    };
    Waves::new(vec![wave]).expect("one wave")
}

/// Returns a pilot group that begins now, and two further waves, a day after each other.
fn pilot_and_two_waves() -> Waves {
    let groups = RolloutGroups::new([pilot()].into()).expect("one group");
    let wave = |devices, days| Wave {
        devices,
        from: Some(NOW.plus(days * DAY_S)),
    };
    let waves = vec![
        wave(WaveDevices::Groups(groups), 0),
        wave(WaveDevices::UpTo(5_000), 1),
        wave(WaveDevices::UpTo(SLOTS), 2),
    ];
    Waves::new(waves).expect("three waves")
}

impl Started {
    /// Starts a rollout, with a function whose caches are empty. The devices are enrolled before.
    fn on(system: TestSystem, waves: Waves) -> impl Future<Output = Self> {
        // Boxed, because clippy limits the sizes of futures.
        Box::pin(async {
            let records = &system.table.records;
            let package = system.table.package("vlc", 5).await;
            let published = package.published().expect("the package is published");
            let groups = RolloutGroups::new([GroupName::all()].into()).expect("one group");
            let seed = RolloutSeed::from_bytes([3; 16]);
            let document =
                RolloutDocument::new(package.id, published.manifest, groups, seed, waves);
            let gate = Gate::new(ROLLOUT, records.table().to_owned(), limits(), NOW);
            let created = records.create_gate(package.id, &gate).await;
            assert_eq!(created.expect("a gate can be created"), Some(gate));
            let calendar = StateChange::SetRollout {
                rollout: ROLLOUT,
                document: document.clone(),
            };
            commit_only(records, &calendar, signing()).await;
            let terms = Terms::default().with_rollout(ROLLOUT);
            let assignment = StateChange::Assign {
                to: EntryOwner::Group(GroupName::all()),
                assignment: NewAssignment {
                    package: package.id,
                    manifest: published.manifest,
                    force: false,
                    terms: terms.expect("the terms fit"),
                },
            };
            commit_only(records, &assignment, signing()).await;
            complete_all(records, NOW).await;
            let system = TestSystem::start_on(system.table, settings()).await;
            system.operations();
            Self {
                system,
                package,
                document,
            }
        })
    }

    /// Starts a rollout of one open wave to so many agents.
    fn with_agents(count: u8) -> impl Future<Output = (Self, Vec<Agent>)> {
        Box::pin(async move {
            let system = TestSystem::start().await;
            let mut agents = Vec::new();
            for number in 1..=count {
                agents.push(Agent::enrolled(&system, number).await);
            }
            (Self::on(system, one_wave()).await, agents)
        })
    }

    fn records(&self) -> &Records {
        &self.system.table.records
    }

    async fn gate(&self) -> Gate {
        let gate = self.records().gate(ROLLOUT).await;
        self.system.operations();
        gate.expect("the gate can be read").expect("a gate")
    }

    /// Returns the free places, and the devices that have begun, are healthy and have failed.
    async fn counts(&self) -> (u32, u32, u32, u32) {
        let gate = self.gate().await;
        (gate.free, gate.begun, gate.healthy, gate.failed)
    }

    fn wave_of(&self, device: &DeviceId, groups: &[GroupName]) -> u8 {
        let all = [GroupName::all()];
        let groups: BTreeSet<_> = groups.iter().chain(&all).cloned().collect();
        let wave = self.document.wave_of(device, &groups);
        wave.map(WaveNumber::get).expect("each device has a wave")
    }

    async fn send(&self, agent: &Agent, path: &str, body: Vec<u8>, now: UnixTime) -> Reply {
        self.system.send(agent.signed(path, body, now), now).await
    }

    async fn check_in_in(&self, agent: &Agent, boot: &str, now: UnixTime) -> CheckInReply {
        let body = asking(boot, now);
        parsed(&self.send(agent, CHECK_IN_PATH, body, now).await)
    }

    /// Lets an instance of the function of its own tell each agent of the package. So no instance
    /// knows how many devices the others have told.
    async fn all_told(&self, agents: &[Agent], now: UnixTime) {
        for agent in agents {
            let function = CheckInFunction::new(self.records().clone(), settings());
            let request = agent.signed(CHECK_IN_PATH, asking("boot-1", now), now);
            let reply = self.system.send_to(&function, request, now).await;
            let reply: CheckInReply = parsed(&reply);
            assert!(reply.tasks.iter().any(|task| task.id == self.package.id));
        }
    }

    async fn check_in(&self, agent: &Agent, now: UnixTime) -> CheckInReply {
        self.check_in_in(agent, "boot-1", now).await
    }

    /// Lets an agent check in, and returns true if it is told of the package.
    async fn is_told(&self, agent: &Agent, now: UnixTime) -> bool {
        let tasks = self.check_in(agent, now).await.tasks;
        tasks.iter().any(|task| task.id == self.package.id)
    }

    async fn question(&self) -> Vec<u8> {
        let head = self.records().head().await.expect("the head can be read");
        let commit = head.expect("the target has a commit").commit.id;
        self.system.operations();
        let mandate = Mandate {
            assignee: Assignee::Group(GroupName::all()),
            seq: commit.number,
        };
        let asked = BeginRequest {
            id: self.package.id,
            attempt: 1,
            commit,
            mandates: UsedMandates::first([mandate]),
        };
        serde_json::to_vec(&asked).expect("a request is JSON")
    }

    /// Asks if an agent may begin. `None` without an answer.
    async fn try_begin(&self, agent: &Agent, now: UnixTime) -> Option<BeginReply> {
        let reply = self.send(agent, BEGIN_PATH, self.question().await, now);
        let reply = reply.await;
        let is_answered = reply.status.is_success();
        is_answered.then(|| serde_json::from_slice(&reply.body).expect("a reply in JSON"))
    }

    /// Asks if an agent may begin. The reply is without the time of the next question, which is random.
    async fn begin(&self, agent: &Agent, now: UnixTime) -> BeginReply {
        let reply = self.try_begin(agent, now).await;
        without_time(reply.expect("the question is answered"))
    }

    async fn begun(&self, agent: &Agent, now: UnixTime) {
        assert!(self.is_told(agent, now).await);
        assert_eq!(self.begin(agent, now).await, GO);
    }

    async fn report(&self, agent: &Agent, code: ResultCode, now: UnixTime) {
        let report = Report {
            id: self.package.id,
            attempt: 1,
            code,
            detail: None,
            output_tail: None,
            finished: now,
            boot: Some(BoundedText::tail("boot-1")),
            mandates: UsedMandates::default(),
        };
        let results = vec![report];
        let body = serde_json::to_vec(&ReportRequest { results }).expect("a request is JSON");
        let reply = self.send(agent, REPORT_PATH, body, now).await;
        assert!(reply.status.is_success(), "{}", reply.text());
        let device = agent.device();
        let finished = self.records().finished(&device, self.package.id);
        let finished = finished.await.expect("a result can be read");
        assert!(finished.is_some(), "the result is on record");
        self.system.operations();
    }

    async fn succeeds(&self, agent: &Agent, now: UnixTime) {
        self.begun(agent, now).await;
        self.report(agent, ResultCode::Exited(0), now).await;
    }

    async fn fails(&self, agent: &Agent, now: UnixTime) {
        self.report(agent, ResultCode::ExitCode(1603), now).await;
    }
}

#[tokio::test]
async fn a_pilot_and_two_waves_follow_each_other() {
    let system = TestSystem::start().await;
    let mut agents = Vec::new();
    for number in 1..=12 {
        agents.push(Agent::enrolled(&system, number).await);
    }
    let records = &system.table.records;
    records.create_group(&pilot(), signing()).await.unwrap();
    let first = agents.remove(0);
    records
        .join(&first.device(), &pilot(), signing())
        .await
        .unwrap();
    let started = Started::on(system, pilot_and_two_waves()).await;
    assert_eq!(started.wave_of(&first.device(), &[pilot()]), 1);
    let of_wave = |wave| {
        let agent = agents.iter();
        let mut of_wave = agent.filter(|it| started.wave_of(&it.device(), &[]) == wave);
        of_wave.next().expect("each wave has a device")
    };
    let (second, third) = (of_wave(2), of_wave(3));

    for agent in [second, third] {
        assert!(!started.is_told(agent, NOW).await);
    }
    started.succeeds(&first, NOW).await;
    assert_eq!(started.counts().await, (2, 1, 0, 0));
    // The device is told to check in when it has settled.
    let early = UnixTime(SETTLED.0 - 100);
    let reply = started.check_in(&first, early).await;
    assert_eq!(reply.next_check_in_s, 100);
    assert_eq!(started.counts().await, (2, 1, 0, 0));
    let reply = started.check_in(&first, SETTLED).await;
    assert_eq!(reply.next_check_in_s, settings().check_in_interval_s);
    assert_eq!(started.counts().await, (4, 1, 1, 0));
    assert!(!started.is_told(second, SETTLED).await);

    let next_day = NOW.plus(DAY_S);
    // The device of the third wave opens the second wave, and waits.
    assert!(!started.is_told(third, next_day).await);
    let gate = started.gate().await;
    assert_eq!((gate.wave.get(), gate.round, gate.free), (2, 2, 3));
    started.succeeds(second, next_day).await;
    // By the calendar it is time, and no device is healthy.
    let day_after = NOW.plus(2 * DAY_S);
    assert!(!started.is_told(third, day_after).await);
    started.check_in(second, day_after).await;
    assert!(started.is_told(third, day_after.plus(60)).await);
    let gate = started.gate().await;
    assert_eq!((gate.wave.get(), gate.all_healthy), (3, 2));
    assert_eq!(started.begin(third, day_after.plus(60)).await, GO);
}

#[tokio::test]
async fn three_failures_halt_a_rollout_until_a_person_resumes() {
    let (started, agents) = Started::with_agents(5).await;
    for agent in &agents[..3] {
        started.begun(agent, NOW).await;
    }
    // The function has a cached gate with a free place.
    for agent in &agents[..3] {
        started.fails(agent, NOW).await;
    }
    let gate = started.gate().await;
    assert_eq!(
        (gate.state, gate.failed, gate.free),
        (GateState::Halted, 3, 0)
    );
    let devices: Vec<_> = gate.evidence.iter().map(|it| &it.device).collect();
    let expected: Vec<_> = agents[..3].iter().map(Agent::device).collect();
    assert_eq!(devices, expected.iter().collect::<Vec<_>>());
    assert!(!started.is_told(&agents[3], NOW).await);

    let later = NOW.plus(60);
    let (records, id) = (started.records(), started.package.id);
    records
        .resume_rollout(id, ROLLOUT, true, &mia_at(later))
        .await
        .unwrap();
    let after = NOW.plus(120);
    started.begun(&agents[3], after).await;
    let gate = started.gate().await;
    assert_eq!((gate.round, gate.begun, gate.all_begun), (2, 1, 4));
}

#[tokio::test]
async fn only_faults_of_the_package_count_without_a_place() {
    let (started, agents) = Started::with_agents(2).await;
    for agent in &agents {
        assert!(started.is_told(agent, NOW).await);
    }
    let full = NamedCode::OutOfSpace.into();
    started.report(&agents[0], full, NOW).await;
    assert_eq!(started.counts().await, (3, 0, 0, 0));
    let fault = NamedCode::BadDigest.into();
    started.report(&agents[1], fault, NOW).await;
    assert_eq!(started.counts().await, (3, 0, 0, 1));
}

#[tokio::test]
async fn devices_that_are_never_heard_from_keep_their_places() {
    let (started, agents) = Started::with_agents(5).await;
    started.all_told(&agents, NOW).await;
    for agent in &agents[..3] {
        assert_eq!(started.begin(agent, NOW).await, GO);
    }
    let full = wait(HoldWord::RolloutFull);
    for days in 0..5 {
        let now = NOW.plus(days * DAY_S);
        assert_eq!(started.begin(&agents[3], now).await, full);
    }
    assert_eq!(started.counts().await, (0, 3, 0, 0));
    // One of them is heard from after all: its own place and one more are free.
    let late = NOW.plus(6 * DAY_S);
    started
        .report(&agents[0], ResultCode::Exited(0), late)
        .await;
    started
        .check_in(&agents[0], late.plus(FIRST_SETTLE_S))
        .await;
    for agent in &agents[3..] {
        assert_eq!(started.begin(agent, late.plus(FIRST_SETTLE_S)).await, GO);
    }
}

#[tokio::test]
async fn success_before_a_restart_that_was_asked_for_does_not_count() {
    let (started, agents) = Started::with_agents(1).await;
    let agent = &agents[0];
    started.begun(agent, NOW).await;
    let restart = NamedCode::RebootRequired.into();
    started.report(agent, restart, NOW).await;
    let late = NOW.plus(5 * DAY_S);
    let reply = started.check_in_in(agent, "boot-1", late).await;
    assert_eq!(reply.next_check_in_s, settings().check_in_interval_s);
    assert_eq!(started.counts().await, (2, 1, 0, 0));
    started.check_in_in(agent, "boot-2", late).await;
    assert_eq!(started.counts().await, (4, 1, 1, 0));
}

#[tokio::test]
async fn nobody_begins_after_a_pause() {
    let (started, agents) = Started::with_agents(3).await;
    for agent in &agents {
        assert!(started.is_told(agent, NOW).await);
    }
    assert_eq!(started.begin(&agents[0], NOW).await, GO);
    let (records, id) = (started.records(), started.package.id);
    records.pause_rollout(id, ROLLOUT, &mia()).await.unwrap();
    // Both by a cached gate that runs: with a place, and without one.
    let paused = wait(HoldWord::RolloutPaused);
    for agent in &agents[..2] {
        assert_eq!(started.begin(agent, NOW).await, paused);
    }
    records
        .resume_rollout(id, ROLLOUT, false, &mia())
        .await
        .unwrap();
    for agent in &agents[..2] {
        assert_eq!(started.begin(agent, NOW.plus(60)).await, GO);
    }
    records.end_rollout(id, ROLLOUT, &mia()).await.unwrap();
    let ended = wait(HoldWord::RolloutEnded);
    for agent in &agents {
        assert_eq!(started.begin(agent, NOW.plus(60)).await, ended);
    }
    assert_eq!(started.counts().await, (1, 2, 0, 0));
}

#[tokio::test]
async fn a_rollout_holds_up_no_other_package() {
    let (started, agents) = Started::with_agents(1).await;
    let (records, id) = (started.records(), started.package.id);
    records.pause_rollout(id, ROLLOUT, &mia()).await.unwrap();
    let other = started.system.table.package("other", 9).await;
    started
        .system
        .assign(&agents[0].device(), &other, false)
        .await;
    let tasks = started.check_in(&agents[0], NOW).await.tasks;
    let told: Vec<_> = tasks.iter().map(|task| task.id).collect();
    assert_eq!(told, [other.id]);
    // An assignment of the device itself has no rollout.
    let own = started
        .records()
        .assign(&agents[0].device(), &started.package, false, signing())
        .await;
    own.unwrap();
    assert!(started.is_told(&agents[0], NOW.plus(60)).await);
    assert_eq!(started.counts().await, (3, 0, 0, 0));
}

#[tokio::test]
async fn a_cancelled_attempt_leaves_its_place_to_the_next_one() {
    let (started, agents) = Started::with_agents(4).await;
    started.all_told(&agents, NOW).await;
    for agent in &agents[..3] {
        assert_eq!(started.begin(agent, NOW).await, GO);
    }
    let cancelled = NamedCode::Cancelled.into();
    started.report(&agents[0], cancelled, NOW).await;
    let task = started.system.tasks(&agents[0].device()).await.remove(0);
    assert_eq!((task.attempt, task.place.is_some()), (2, true));
    // The rollout is full, and the device has its place.
    assert!(started.is_told(&agents[0], NOW).await);
    assert_eq!(started.counts().await, (0, 3, 0, 0));
}

#[tokio::test]
async fn a_rollout_in_a_restored_table_waits_for_a_person() {
    let (started, agents) = Started::with_agents(2).await;
    assert!(started.is_told(&agents[0], NOW).await);
    let records = started.records();
    let restored = GateChange {
        conditions: Vec::new(),
        updates: vec![GateUpdate::Table("before".to_owned())],
    };
    assert!(records.change_gate(ROLLOUT, &restored).await.unwrap());
    let later = NOW.plus(60);
    let waits = wait(HoldWord::RolloutRestored);
    assert_eq!(started.begin(&agents[0], later).await, waits);
    assert!(!started.is_told(&agents[1], later).await);
    let id = started.package.id;
    let by = mia_at(later);
    let resumed = records.resume_rollout(id, ROLLOUT, false, &by).await;
    assert!(resumed.unwrap());
    let after = NOW.plus(120);
    assert_eq!(started.begin(&agents[0], after).await, GO);
    assert!(started.is_told(&agents[1], after).await);
}
