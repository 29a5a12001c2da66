//! Results of Packcast agents.

use packcast_protocol::api::{
    BoundedText, CHECK_IN_PATH, CheckInRequest, ProblemKind, REPORT_PATH, Report, ReportReply,
    ReportRequest,
};
use packcast_protocol::state::exchange::UsedMandates;
use packcast_protocol::{PackageId, UnixTime};
use packcast_rollout::PackageRecord;
use packcast_testing::table::NOW;

use crate::agents::{Agent, refused};
use crate::system::TestSystem;

pub(crate) fn report(id: PackageId, attempt: u32, code: &str) -> Report {
    Report {
        id,
        attempt,
        code: code.parse().expect("a result code"),
        detail: Some(BoundedText::tail("all went well")),
        output_tail: Some(BoundedText::tail("bye")),
        finished: NOW,
        boot: None,
        mandates: UsedMandates::default(),
    }
}

/// Returns an agent to which a package was announced.
pub(crate) async fn agent_with_task(system: &TestSystem) -> (Agent, PackageRecord) {
    let agent = Agent::enrolled(system, 1).await;
    let package = system.table.package("vlc", 5).await;
    system.assign(&agent.device(), &package, false).await;
    assert_eq!(agent.check_in(system).await.tasks.len(), 1);
    (agent, package)
}

async fn send(system: &TestSystem, agent: &Agent, results: Vec<Report>) -> Vec<PackageId> {
    send_at(system, agent, results, NOW).await
}

async fn send_at(
    system: &TestSystem,
    agent: &Agent,
    results: Vec<Report>,
    at: UnixTime,
) -> Vec<PackageId> {
    let body = serde_json::to_vec(&ReportRequest { results }).expect("a request is JSON");
    let request = agent.signed(REPORT_PATH, body, at);
    let reply = system.send(request, at).await;
    assert_eq!(reply.status.as_u16(), 200, "{}", reply.text());
    let reply: ReportReply = serde_json::from_slice(&reply.body).expect("a reply to a report");
    reply.accepted
}

#[tokio::test]
async fn a_repeated_report_counts_once() {
    let system = TestSystem::start().await;
    let (agent, package) = agent_with_task(&system).await;
    for code in ["SUCCESS_0", "SUCCESS_0", "ERR_TIMEOUT"] {
        let accepted = send(&system, &agent, vec![report(package.id, 1, code)]).await;
        assert_eq!(accepted, [package.id]);
        assert_eq!(system.counts(package.id).await, [0, 1, 0], "{code}");
    }
    let device = agent.device();
    let finished = system.table.records.finished(&device, package.id);
    let finished = finished.await.unwrap().unwrap();
    assert_eq!(finished.code.to_string(), "SUCCESS_0");
    assert_eq!(finished.detail.as_deref(), Some("all went well"));
    assert_eq!(finished.output_tail.as_deref(), Some("bye"));
    assert_eq!(agent.check_in(&system).await.tasks, []);
}

#[tokio::test]
async fn the_results_of_a_request_mark_the_device_once() {
    let system = TestSystem::start().await;
    let agent = Agent::enrolled(&system, 1).await;
    let mut packages = Vec::new();
    for name in ["vlc", "7zip", "gimp"] {
        let package = system.table.package(name, 5).await;
        system.assign(&agent.device(), &package, false).await;
        packages.push(package.id);
    }
    assert_eq!(agent.check_in(&system).await.tasks.len(), 3);
    let unknown = report(packages[0], 2, "SUCCESS_0");
    let results = packages.iter().map(|id| report(*id, 1, "SUCCESS_0"));
    let results: Vec<Report> = std::iter::once(unknown).chain(results).collect();
    let later = NOW.plus(60);
    system.operations();
    let accepted = send_at(&system, &agent, results.clone(), later).await;
    assert_eq!(accepted.len(), 4);
    let operations = system.operations();
    let marks = operations.iter().filter(|it| *it == "UpdateItem");
    assert_eq!(marks.count(), 1, "{operations:?}");
    assert_eq!(system.tasks(&agent.device()).await, []);
    assert_eq!(last_seen(&system, &agent).await, later);
    // Results that are on record already mark nothing.
    send_at(&system, &agent, results, NOW.plus(120)).await;
    assert_eq!(last_seen(&system, &agent).await, later);
}

#[tokio::test]
async fn a_mark_that_fails_does_not_fail_its_result() {
    let system = TestSystem::start().await;
    let (agent, package) = agent_with_task(&system).await;
    let seen = last_seen(&system, &agent).await;
    system.table.faults.deny_after_writes(Some(1));
    let results = vec![report(package.id, 1, "SUCCESS_0")];
    let accepted = send_at(&system, &agent, results, NOW.plus(60)).await;
    system.table.faults.deny_after_writes(None);
    assert_eq!(accepted, [package.id]);
    assert_eq!(system.counts(package.id).await, [0, 1, 0]);
    assert_eq!(last_seen(&system, &agent).await, seen);
}

async fn last_seen(system: &TestSystem, agent: &Agent) -> UnixTime {
    let device_state = system.table.records.device_state(&agent.device()).await;
    let device_state = device_state.expect("the table answers");
    device_state.device.expect("the device is known").last_seen
}

#[tokio::test]
async fn results_in_a_check_in_are_applied_before_tasks_are_announced() {
    let system = TestSystem::start().await;
    let (agent, package) = agent_with_task(&system).await;
    let reply = agent
        .check_in_with(&system, vec![report(package.id, 1, "SUCCESS_1")])
        .await;
    assert_eq!(reply.accepted, [package.id]);
    assert_eq!(reply.tasks, []);
    assert_eq!(system.counts(package.id).await, [0, 0, 1]);
}

#[tokio::test]
async fn a_result_of_another_attempt_is_acknowledged_and_changes_nothing() {
    let system = TestSystem::start().await;
    let (agent, package) = agent_with_task(&system).await;
    let late = vec![report(package.id, 2, "SUCCESS_0")];
    assert_eq!(send(&system, &agent, late).await, [package.id]);
    assert_eq!(system.counts(package.id).await, [1, 0, 0]);

    let failed = vec![report(package.id, 1, "ERR_UNZIP")];
    send(&system, &agent, failed).await;
    system.assign(&agent.device(), &package, false).await;
    let tasks = agent.check_in(&system).await.tasks;
    assert_eq!(tasks[0].attempt, 2);
    let old = vec![report(package.id, 1, "SUCCESS_0")];
    assert_eq!(send(&system, &agent, old).await, [package.id]);
    assert_eq!(system.tasks(&agent.device()).await.len(), 1);
    let new = vec![report(package.id, 2, "SUCCESS_0")];
    send(&system, &agent, new).await;
    assert_eq!(system.counts(package.id).await, [0, 1, 0]);
}

#[tokio::test]
async fn a_result_on_an_unknown_package_is_acknowledged() {
    let system = TestSystem::start().await;
    let agent = Agent::enrolled(&system, 1).await;
    let id = "1700000000".parse().unwrap();
    let accepted = send(&system, &agent, vec![report(id, 1, "SUCCESS_0")]).await;
    assert_eq!(accepted, [id]);
    assert_eq!(system.code(&agent.device(), id).await, None);
}

#[tokio::test]
async fn more_than_64_results_at_once_are_refused() {
    let system = TestSystem::start().await;
    let agent = Agent::enrolled(&system, 1).await;
    let id = "1700000000".parse().unwrap();
    system.operations();
    let many = vec![report(id, 1, "SUCCESS"); 65];
    let asking = CheckInRequest {
        results: many.clone(),
        ..Agent::asking()
    };
    let by_check_in = agent.post(&system, CHECK_IN_PATH, &asking).await;
    let problem = refused(&system, &by_check_in, 400);
    assert_eq!(problem.kind, ProblemKind::BadRequest);
    let by_report = agent
        .post(&system, REPORT_PATH, &ReportRequest { results: many })
        .await;
    refused(&system, &by_report, 400);
    let most = vec![report(id, 1, "SUCCESS"); 64];
    assert_eq!(send(&system, &agent, most).await.len(), 64);
}

#[tokio::test]
async fn a_report_needs_the_pass_of_its_agent() {
    let system = TestSystem::start().await;
    let (agent, package) = agent_with_task(&system).await;
    let thief = Agent {
        pass: agent.pass.clone(),
        ..Agent::new(2)
    };
    let not_enrolled = Agent::new(1);
    system.operations();
    let request = ReportRequest {
        results: vec![report(package.id, 1, "SUCCESS_0")],
    };
    for sender in [thief, not_enrolled] {
        let reply = sender.post(&system, REPORT_PATH, &request).await;
        let problem = refused(&system, &reply, 403);
        assert_eq!(problem.kind, ProblemKind::NotEnrolled);
    }
    assert_eq!(system.counts(package.id).await, [1, 0, 0]);
}
