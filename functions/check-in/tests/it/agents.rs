//! Packcast agents: admission, and the replies to their check-ins.

use bytes::Bytes;
use http::Request;
use packcast_protocol::DeviceId;
use packcast_protocol::UnixTime;
use packcast_protocol::api::{
    ADMISSION, Admission, BoundedText, CHECK_IN_PATH, CheckInReply, CheckInRequest, DeviceFacts,
    Problem, ProblemKind, REPORT_PATH, Report, Secret,
};
use packcast_protocol::http_signature::DeviceKey;
use packcast_protocol::state::HeldState;
use packcast_protocol::state::exchange::{MachineFacts, WaitingPackages};
use packcast_testing::table::{NOW, mia};
use serde::Serialize;

use crate::log::CapturedLog;
use crate::system::{ENROLMENT_TOKEN, PATH_TOKEN, Reply, TestSystem, prolog, zlib};

/// A Packcast agent with its key.
pub(crate) struct Agent {
    pub(crate) key: DeviceKey,
    pub(crate) pass: Option<Secret>,
}

impl Agent {
    pub(crate) fn new(number: u8) -> Self {
        let key = DeviceKey::from_seed(&[number; 32]).expect("any bytes are a seed");
        Self { key, pass: None }
    }

    /// Creates an agent that is enrolled and has its pass.
    pub(crate) async fn enrolled(system: &TestSystem, number: u8) -> Self {
        let mut agent = Self::new(number);
        let reply = agent.post(system, CHECK_IN_PATH, &Agent::asking()).await;
        agent.pass = parsed(&reply).pass;
        assert!(agent.pass.is_some(), "enrolment gives a pass");
        agent
    }

    pub(crate) fn device(&self) -> DeviceId {
        DeviceId::Agent(self.key.id())
    }

    pub(crate) fn asking() -> CheckInRequest {
        CheckInRequest {
            facts: DeviceFacts {
                host_name: BoundedText::tail("web01"),
                os: BoundedText::tail("linux"),
                arch: BoundedText::tail("x86_64"),
                agent: BoundedText::tail("packcast-agent/0.1.0"),
            },
            machine: machine("hardware:1"),
            daily: None,
            results: Vec::new(),
            waits: WaitingPackages::default(),
            holds: HeldState::default(),
        }
    }

    /// Returns the pass, or the enrolment token before the agent has a pass.
    pub(crate) fn admission(&self) -> Admission {
        match &self.pass {
            Some(pass) => Admission::Pass(pass.clone()),
            None => token(ENROLMENT_TOKEN),
        }
    }

    pub(crate) async fn post(
        &self,
        system: &TestSystem,
        path: &str,
        body: &impl Serialize,
    ) -> Reply {
        self.post_as(system, &self.admission(), path, body).await
    }

    /// Sends a request with another admission than the agent's own.
    pub(crate) async fn post_as(
        &self,
        system: &TestSystem,
        admission: &Admission,
        path: &str,
        body: &impl Serialize,
    ) -> Reply {
        let body = serde_json::to_vec(body).expect("a request is JSON");
        let request = self.signed_as(admission, path, body, NOW);
        system.send(request, NOW).await
    }

    /// Checks in without results.
    pub(crate) async fn check_in(&self, system: &TestSystem) -> CheckInReply {
        parsed(&self.post(system, CHECK_IN_PATH, &Agent::asking()).await)
    }

    /// Checks in with results.
    pub(crate) async fn check_in_with(
        &self,
        system: &TestSystem,
        results: Vec<Report>,
    ) -> CheckInReply {
        let asking = CheckInRequest {
            results,
            ..Agent::asking()
        };
        parsed(&self.post(system, CHECK_IN_PATH, &asking).await)
    }

    pub(crate) fn signed(&self, path: &str, body: Vec<u8>, at: UnixTime) -> Request<Bytes> {
        self.signed_as(&self.admission(), path, body, at)
    }

    pub(crate) fn signed_as(
        &self,
        admission: &Admission,
        path: &str,
        body: Vec<u8>,
        at: UnixTime,
    ) -> Request<Bytes> {
        let mut request = Request::post(path);
        for (name, value) in self.key.sign("POST", path, admission, &body, at) {
            request = request.header(name, value);
        }
        request.body(body.into()).expect("a request")
    }
}

/// Returns the facts about a machine with this id and a right clock.
pub(crate) fn machine(id: &str) -> MachineFacts {
    MachineFacts::new("linux-x86_64", Some(id), Some("boot-1"), NOW)
}

pub(crate) fn token(text: &str) -> Admission {
    Admission::Token(text.parse().expect("a token"))
}

/// Parses the reply to a check-in.
pub(crate) fn parsed(reply: &Reply) -> CheckInReply {
    assert_eq!(reply.status.as_u16(), 200, "{}", reply.text());
    assert_eq!(reply.content_type, "application/json");
    serde_json::from_slice(&reply.body).expect("a reply to a check-in")
}

/// Parses a refusal, and expects that the request did not read the table.
pub(crate) fn refused(system: &TestSystem, reply: &Reply, status: u16) -> Problem {
    assert_eq!(reply.status.as_u16(), status, "{}", reply.text());
    assert_eq!(reply.content_type, "application/problem+json");
    assert_eq!(system.operations(), [""; 0]);
    serde_json::from_slice(&reply.body).expect("a problem")
}

#[tokio::test]
async fn enrolment_gives_a_pass_that_stays_valid() {
    let system = TestSystem::start().await;
    let agent = Agent::enrolled(&system, 1).await;
    let reply = agent.check_in(&system).await;
    assert_eq!(reply.pass, None);
    assert_eq!(reply.next_check_in_s, 900);
    let device_state = system
        .table
        .records
        .device_state(&agent.device())
        .await
        .unwrap();
    let record = device_state.device.unwrap();
    assert_eq!(record.host_name, "web01");
    assert_eq!(record.os, "linux x86_64");
    assert_eq!(record.agent, "packcast-agent/0.1.0");
    let machine = record.machine.unwrap();
    assert_eq!(machine.platform.as_str(), "linux-x86_64");
    assert_eq!(machine.ids, [BoundedText::tail("hardware:1")]);
}

#[tokio::test]
async fn two_machines_with_one_identity_are_on_record() {
    let system = TestSystem::start().await;
    let agent = Agent::enrolled(&system, 1).await;
    let copy = CheckInRequest {
        machine: machine("hardware:2"),
        ..Agent::asking()
    };
    let log = CapturedLog::start();
    parsed(&agent.post(&system, CHECK_IN_PATH, &copy).await);
    insta::assert_snapshot!(log.take().join("\n"), @r#" WARN two machines use the identity of one device device=key:gr2q7gf5lh6pzfdnurnkvputhm on_record="hardware:1" machine="hardware:2" boot="boot-1""#);
    let records = &system.table.records;
    let device_state = records.device_state(&agent.device()).await.unwrap();
    let machine = device_state.device.unwrap().machine.unwrap();
    assert_eq!(machine.ids, [BoundedText::tail("hardware:1")]);
    assert_eq!(machine.other.unwrap().id.as_str(), "hardware:2");
    system.table.meter.take();
    for request in [Agent::asking(), copy] {
        parsed(&agent.post(&system, CHECK_IN_PATH, &request).await);
    }
    let usage = system.table.meter.take();
    assert!(usage.write_units < f64::EPSILON, "{usage:?}");
    assert_eq!(log.take(), [""; 0]);
}

#[tokio::test]
async fn an_agent_without_token_or_pass_is_refused() {
    let system = TestSystem::start().await;
    let agent = Agent::new(1);
    let pass = Admission::Pass(ENROLMENT_TOKEN.parse().unwrap());
    for admission in [token("enrolment-token-2"), token(PATH_TOKEN), pass] {
        let asking = Agent::asking();
        let reply = agent.post_as(&system, &admission, CHECK_IN_PATH, &asking);
        let problem = refused(&system, &reply.await, 403);
        assert_eq!(problem.kind, ProblemKind::NotEnrolled);
    }
    let mut without = agent.signed(CHECK_IN_PATH, b"{}".to_vec(), NOW);
    without.headers_mut().remove(ADMISSION);
    let problem = refused(&system, &system.send(without, NOW).await, 403);
    assert_eq!(problem.kind, ProblemKind::NotEnrolled);
}

#[tokio::test]
async fn a_pass_is_valid_for_its_agent_only() {
    let system = TestSystem::start().await;
    let first = Agent::enrolled(&system, 1).await;
    let thief = Agent {
        pass: first.pass.clone(),
        ..Agent::new(2)
    };
    system.operations();
    let reply = thief.post(&system, CHECK_IN_PATH, &Agent::asking()).await;
    let problem = refused(&system, &reply, 403);
    assert_eq!(problem.kind, ProblemKind::NotEnrolled);
}

#[tokio::test]
async fn a_signature_must_cover_path_admission_and_body() {
    let system = TestSystem::start().await;
    let agent = Agent::enrolled(&system, 1).await;
    let body = serde_json::to_vec(&Agent::asking()).unwrap();
    let signed = |path: &str| agent.signed(path, body.clone(), NOW).into_parts();

    let (mut elsewhere, _) = signed(REPORT_PATH);
    elsewhere.uri = CHECK_IN_PATH.parse().unwrap();
    let (mut unsigned, _) = signed(CHECK_IN_PATH);
    unsigned.headers.remove("signature");
    let (mut garbled, _) = signed(CHECK_IN_PATH);
    garbled
        .headers
        .insert("signature-input", "packcast=(".parse().unwrap());
    let (mut undigested, _) = signed(CHECK_IN_PATH);
    undigested.headers.remove("content-digest");
    let (mut as_enrolment, _) = signed(CHECK_IN_PATH);
    let value = token(ENROLMENT_TOKEN).to_header();
    as_enrolment
        .headers
        .insert(ADMISSION, value.parse().unwrap());
    let (whole, _) = signed(CHECK_IN_PATH);
    let mut longer = body.clone();
    longer.push(b' ');
    system.operations();
    for (parts, body) in [
        (elsewhere, body.clone()),
        (unsigned, body.clone()),
        (garbled, body.clone()),
        (undigested, body.clone()),
        (as_enrolment, body.clone()),
        (whole, longer),
    ] {
        let request = Request::from_parts(parts, body.into());
        let reply = system.send(request, NOW).await;
        let problem = refused(&system, &reply, 401);
        assert_eq!(problem.kind, ProblemKind::BadSignature, "{problem:?}");
    }
}

#[tokio::test]
async fn a_refusal_for_a_wrong_clock_carries_the_time() {
    let system = TestSystem::start().await;
    let agent = Agent::enrolled(&system, 1).await;
    let body = serde_json::to_vec(&Agent::asking()).unwrap();
    system.operations();
    for at in [NOW.plus(301), UnixTime(NOW.0 - 301), UnixTime(0)] {
        let request = agent.signed(CHECK_IN_PATH, body.clone(), at);
        let problem = refused(&system, &system.send(request, NOW).await, 401);
        assert_eq!((problem.kind, problem.now), (ProblemKind::ClockSkew, NOW));
    }
}

#[tokio::test]
async fn too_large_or_malformed_requests_are_refused() {
    let system = TestSystem::start().await;
    let agent = Agent::enrolled(&system, 1).await;
    system.operations();
    let large = agent.signed(CHECK_IN_PATH, vec![b' '; (512 << 10) + 1], NOW);
    let problem = refused(&system, &system.send(large, NOW).await, 413);
    assert_eq!(problem.kind, ProblemKind::TooLarge);

    let nested = "[".repeat(512 << 10).into_bytes();
    for body in [b"".to_vec(), b"{}".to_vec(), b"\xFF".to_vec(), nested] {
        let request = agent.signed(CHECK_IN_PATH, body, NOW);
        let problem = refused(&system, &system.send(request, NOW).await, 400);
        assert_eq!(problem.kind, ProblemKind::BadRequest);
        assert!(problem.detail.len() < 500, "{}", problem.detail);
    }
}

#[tokio::test]
async fn unknown_fields_are_ignored() {
    let system = TestSystem::start().await;
    let agent = Agent::enrolled(&system, 1).await;
    let mut asking = serde_json::to_value(Agent::asking()).unwrap();
    asking["to_come"] = serde_json::json!({ "a": [1] });
    parsed(&agent.post(&system, CHECK_IN_PATH, &asking).await);
}

#[tokio::test]
async fn tasks_are_announced_in_the_order_of_priority() {
    let system = TestSystem::start().await;
    let agent = Agent::enrolled(&system, 1).await;
    let mut ids = Vec::new();
    for priority in [10, 0, 5] {
        let package = system
            .table
            .package(&format!("p{priority}"), priority)
            .await;
        system.assign(&agent.device(), &package, false).await;
        ids.push(package.id);
    }
    for _ in 0..2 {
        let tasks = agent.check_in(&system).await.tasks;
        let announced_ids: Vec<_> = tasks.iter().map(|task| task.id).collect();
        assert_eq!(announced_ids, [ids[1], ids[2], ids[0]]);
        let first = &tasks[0];
        assert_eq!((first.attempt, first.priority.get()), (1, 0));
        let locations: Vec<_> = first.locations.iter().map(ToString::to_string).collect();
        assert_eq!(locations, ["main"]);
        assert_eq!(first.folder.to_string(), "d/segment");
        let package = system.table.records.package(first.id).await.unwrap();
        let manifest = package.unwrap().published().unwrap().manifest;
        assert_eq!(first.manifest_sha256, manifest);
    }
}

#[tokio::test]
async fn inactive_packages_are_not_announced() {
    let system = TestSystem::start().await;
    let agent = Agent::enrolled(&system, 1).await;
    let package = system.table.package("vlc", 5).await;
    system.assign(&agent.device(), &package, false).await;
    system
        .table
        .records
        .deactivate(package.id, &mia())
        .await
        .unwrap();
    let reply = agent.check_in(&system).await;
    assert_eq!((reply.tasks, reply.cancel), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn an_ocs_request_cannot_use_the_id_of_a_packcast_agent() {
    let system = TestSystem::start().await;
    let agent = Agent::enrolled(&system, 1).await;
    let package = system.table.package("vlc", 5).await;
    system.assign(&agent.device(), &package, false).await;
    agent.check_in(&system).await;
    let id = agent.device();
    for name in [id.to_string(), id.to_string().replace("key:", "")] {
        let body = format!(
            "<REQUEST DEVICEID=\"{name}\" ID=\"{}\" ERR=\"SUCCESS\" QUERY=\"DOWNLOAD\"/>",
            package.id
        );
        assert_eq!(
            system.post(zlib(&body)).await.status.as_u16(),
            400,
            "{name}"
        );
    }
    // The agent's id with a date appended is the DEVICEID of another device.
    let body = format!(
        "<REQUEST DEVICEID=\"{id}-2026-03-04-05-06-07\" ID=\"{}\" ERR=\"SUCCESS\" QUERY=\"DOWNLOAD\"/>",
        package.id
    );
    assert_eq!(system.post(zlib(&body)).await.status.as_u16(), 200);
    assert_eq!(system.tasks(&agent.device()).await.len(), 1);
    assert_eq!(system.counts(package.id).await, [1, 0, 0]);
}

#[tokio::test]
async fn a_signed_request_cannot_use_the_id_of_an_ocs_agent() {
    let system = TestSystem::start().await;
    let device = system.settled_device(1).await;
    let package = system.table.package("vlc", 5).await;
    system.assign(&device, &package, false).await;
    system.ocs(&prolog(1)).await;
    let agent = Agent::enrolled(&system, 1).await;
    let mut asking = serde_json::to_value(Agent::asking()).unwrap();
    asking["device"] = device.to_string().into();
    asking["results"] = serde_json::json!([
        { "id": package.id, "attempt": 1, "code": "SUCCESS", "finished": NOW }
    ]);
    let reply = parsed(&agent.post(&system, CHECK_IN_PATH, &asking).await);
    assert_eq!(reply.tasks, []);
    assert_eq!(system.tasks(&device).await.len(), 1);
    assert_eq!(system.counts(package.id).await, [1, 0, 0]);
}
