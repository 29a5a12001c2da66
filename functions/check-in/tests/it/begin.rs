//! The question of a Packcast agent that is about to begin with a package.

use packcast_check_in::FunctionSettings;
use packcast_protocol::api::{
    BEGIN_PATH, BeginReply, BeginRequest, CHECK_IN_PATH, HoldWord, Problem, ProblemKind,
};
use packcast_protocol::state::exchange::UsedMandates;
use packcast_protocol::state::{CommitId, Mandate};
use packcast_protocol::{AgentId, Assignee, GroupName, UnixTime};
use packcast_rollout::PackageRecord;
use packcast_testing::administrator::Administrator as _;
use packcast_testing::signing::signing;
use packcast_testing::table::{NOW, mia};

use crate::agents::{Agent, parsed};
use crate::system::{TestSystem, announced, prolog, settings};

const GO: BeginReply = BeginReply::Go;
/// A minute after [`NOW`], when the caches of the function have expired.
const LATER: UnixTime = UnixTime(NOW.0 + 60);

const fn wait(reason: HoldWord) -> BeginReply {
    BeginReply::wait(reason)
}

/// A device that was told of a package, and the package.
struct Told {
    system: TestSystem,
    agent: Agent,
    package: PackageRecord,
    /// The owner of the assignment.
    assignee: Assignee,
}

impl Told {
    fn of_device() -> impl Future<Output = Self> {
        // Boxed, because clippy limits the sizes of futures.
        Box::pin(async {
            let system = TestSystem::start().await;
            let agent = Agent::enrolled(&system, 1).await;
            let package = system.table.package("vlc", 5).await;
            system.assign(&agent.device(), &package, false).await;
            let assignee = Assignee::Device(agent.key.id());
            Self::told(system, agent, package, assignee).await
        })
    }

    fn of_group() -> impl Future<Output = Self> {
        Box::pin(async {
            let system = TestSystem::start().await;
            let agent = Agent::enrolled(&system, 1).await;
            let package = system.table.package("vlc", 5).await;
            let (records, all) = (&system.table.records, GroupName::all());
            let changed = records.assign_group(&all, &package, false, signing());
            changed.await.expect("a package can be assigned");
            Self::told(system, agent, package, Assignee::Group(all)).await
        })
    }

    fn told(
        system: TestSystem,
        agent: Agent,
        package: PackageRecord,
        assignee: Assignee,
    ) -> impl Future<Output = Self> {
        Box::pin(async {
            // A function with an empty cache.
            let system = TestSystem::start_on(system.table, settings()).await;
            assert_eq!(agent.check_in(&system).await.tasks.len(), 1);
            let told = Self {
                system,
                agent,
                package,
                assignee,
            };
            told.system.operations();
            told
        })
    }

    async fn head(&self) -> CommitId {
        let head = self.system.table.records.head().await;
        self.system.operations();
        let head = head.expect("the head can be read");
        head.expect("the target has a commit").commit.id
    }

    async fn asked_with(&self, commit: CommitId, now: UnixTime) -> BeginReply {
        let mandate = Mandate {
            assignee: self.assignee.clone(),
            seq: commit.number,
        };
        let asked = BeginRequest {
            id: self.package.id,
            attempt: 1,
            commit,
            mandates: UsedMandates::first([mandate]),
        };
        let body = serde_json::to_vec(&asked).expect("a request is JSON");
        let reply = self
            .system
            .send(self.agent.signed(BEGIN_PATH, body, now), now)
            .await;
        assert_eq!(reply.status.as_u16(), 200, "{}", reply.text());
        serde_json::from_slice(&reply.body).expect("a reply in JSON")
    }

    async fn asked(&self, now: UnixTime) -> BeginReply {
        self.asked_with(self.head().await, now).await
    }
}

#[tokio::test]
async fn an_answer_costs_one_query_and_no_write() {
    for told in [Told::of_device().await, Told::of_group().await] {
        let head = told.head().await;
        for _ in 0..2 {
            assert_eq!(told.asked_with(head, NOW).await, GO);
            let usage = told.system.table.meter.take();
            assert_eq!(usage.operations, ["Query"]);
            assert!(usage.read_units <= 1.0, "{usage:?}");
        }
    }
}

#[tokio::test]
async fn a_deactivated_package_waits_when_the_cache_has_passed() {
    let told = Told::of_device().await;
    assert_eq!(told.asked(NOW).await, GO);
    let records = &told.system.table.records;
    records.deactivate(told.package.id, &mia()).await.unwrap();
    assert_eq!(told.asked(LATER).await, wait(HoldWord::Inactive));
    // As on a local system, whose function keeps nothing.
    let without_cache = FunctionSettings {
        group_cache_s: 0,
        ..settings()
    };
    records
        .activate(told.package.id, &told.package.locations, &mia())
        .await
        .unwrap();
    let system = TestSystem::start_on(told.system.table, without_cache).await;
    let told = Told { system, ..told };
    assert_eq!(told.asked(NOW).await, GO);
    told.system
        .table
        .records
        .deactivate(told.package.id, &mia())
        .await
        .unwrap();
    assert_eq!(told.asked(NOW).await, wait(HoldWord::Inactive));
}

#[tokio::test]
async fn an_activation_is_seen_at_once() {
    let told = Told::of_device().await;
    let records = &told.system.table.records;
    records.deactivate(told.package.id, &mia()).await.unwrap();
    assert_eq!(told.asked(LATER).await, wait(HoldWord::Inactive));
    records
        .activate(told.package.id, &told.package.locations, &mia())
        .await
        .unwrap();
    // The function reads a record at most once a second for refusals.
    assert_eq!(told.asked(LATER.plus(1)).await, GO);
}

#[tokio::test]
async fn a_device_cannot_make_the_function_read_more_often() {
    let mut told = Told::of_device().await;
    let (head, own) = (told.head().await, told.package.clone());
    assert_eq!(told.asked_with(head, NOW).await, GO);
    let withdrawn = wait(HoldWord::Withdrawn);
    // A package without an announced task is no reason to read anything.
    let other = told.system.table.package("other", 5).await;
    told.system.operations();
    for package in [&other, &other, &own] {
        told.package = package.clone();
        let expected = if package.id == own.id { GO } else { withdrawn };
        assert_eq!(told.asked_with(head, NOW).await, expected);
        assert_eq!(told.system.operations(), ["Query"]);
    }
    // An announced task with another assignee: one more reading in a second.
    told.assignee = Assignee::Group(GroupName::all());
    let next = NOW.plus(1);
    assert_eq!(told.asked_with(head, next).await, withdrawn);
    assert!(told.system.operations().len() > 1);
    for _ in 0..2 {
        assert_eq!(told.asked_with(head, next).await, withdrawn);
        assert_eq!(told.system.operations(), ["Query"]);
    }
}

#[tokio::test]
async fn an_unassigned_package_waits() {
    let told = Told::of_device().await;
    let head = told.head().await;
    assert_eq!(told.asked_with(head, NOW).await, GO);
    let (records, device) = (&told.system.table.records, told.agent.device());
    let unassigned = records.unassign(&device, &told.package, signing());
    unassigned.await.unwrap();
    assert_eq!(told.asked_with(head, NOW).await, wait(HoldWord::Withdrawn));

    let told = Told::of_group().await;
    let head = told.head().await;
    assert_eq!(told.asked_with(head, NOW).await, GO);
    let (records, all) = (&told.system.table.records, GroupName::all());
    let unassigned = records.unassign_group(&all, told.package.id, signing());
    unassigned.await.unwrap();
    assert_eq!(
        told.asked_with(head, LATER).await,
        wait(HoldWord::Withdrawn)
    );
}

#[tokio::test]
async fn a_device_begins_with_its_own_attempts_only() {
    let mut told = Told::of_device().await;
    told.assignee = Assignee::Device(AgentId::of_public_key(&[2; 32]));
    assert_eq!(told.asked(NOW).await, wait(HoldWord::Withdrawn));
    told.assignee = Assignee::Group(GroupName::all());
    assert_eq!(told.asked(NOW).await, wait(HoldWord::Withdrawn));
    told.assignee = Assignee::Device(told.agent.key.id());
    told.package = told.system.table.package("other", 5).await;
    assert_eq!(told.asked(NOW).await, wait(HoldWord::Withdrawn));
}

#[tokio::test]
async fn a_blocked_device_is_refused() {
    let told = Told::of_device().await;
    let (records, device) = (&told.system.table.records, told.agent.device());
    records
        .block(std::slice::from_ref(&device), None, &mia())
        .await
        .unwrap();
    let asked = BeginRequest {
        id: told.package.id,
        attempt: 1,
        commit: told.head().await,
        mandates: UsedMandates::default(),
    };
    let reply = told.agent.post(&told.system, BEGIN_PATH, &asked).await;
    assert_eq!(told.system.operations(), ["Query"]);
    let problem: Problem = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(problem.kind, ProblemKind::Blocked);
}

#[tokio::test]
async fn an_enrolment_token_is_no_permission() {
    let system = TestSystem::start().await;
    let agent = Agent::new(1);
    let reply = agent.post(&system, BEGIN_PATH, &Agent::asking()).await;
    assert_eq!(reply.status.as_u16(), 403);
    assert_eq!(system.operations(), [""; 0]);
}

/// A thief of the table may show a device an old commit. The next check-in brings the present one.
#[tokio::test]
async fn a_device_with_an_old_or_replaced_commit_waits() {
    let told = Told::of_device().await;
    let head = told.head().await;
    for (number, expected) in [
        (head.number - 86_400, GO),
        (head.number - 86_401, wait(HoldWord::Outdated)),
        (head.number + 1, wait(HoldWord::Outdated)),
    ] {
        let commit = CommitId { number, ..head };
        assert_eq!(told.asked_with(commit, NOW).await, expected, "{number}");
    }
}

#[tokio::test]
async fn a_paused_target_announces_nothing_and_lets_nobody_begin() {
    let told = Told::of_device().await;
    let (system, records) = (&told.system, &told.system.table.records);
    let device = system.settled_device(1).await;
    let old = system.table.package("old", 5).await;
    system.assign(&device, &old, false).await;
    assert_eq!(announced(&system.ocs(&prolog(1)).await), [old.id]);
    let new = system.table.package("new", 5).await;
    system.assign(&device, &new, false).await;
    system.assign(&told.agent.device(), &new, false).await;
    records.begin_pause(&mia()).await.unwrap();

    let body = serde_json::to_vec(&Agent::asking()).unwrap();
    let request = told.agent.signed(CHECK_IN_PATH, body.clone(), LATER);
    let reply = parsed(&system.send(request, LATER).await);
    assert_eq!((reply.tasks, reply.cancel), (Vec::new(), Vec::new()));
    assert_eq!(told.asked(LATER).await, wait(HoldWord::Paused));
    // An OCS agent cannot ask, and still sees the package that it was told of.
    assert_eq!(announced(&system.ocs_at(&prolog(1), LATER).await), [old.id]);

    records.end_pause(&mia()).await.unwrap();
    let resumed = LATER.plus(60);
    assert_eq!(told.asked(resumed).await, GO);
    let request = told.agent.signed(CHECK_IN_PATH, body, resumed);
    let reply = parsed(&system.send(request, resumed).await);
    assert_eq!(reply.tasks.len(), 2);
    let announced = announced(&system.ocs_at(&prolog(1), resumed).await);
    assert_eq!(announced, [old.id, new.id]);
}
