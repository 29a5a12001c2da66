//! The write budget: a device cannot cause writes without end.

use futures_util::future::join_all;
use http::StatusCode;
use packcast_protocol::api::{BoundedText, CHECK_IN_PATH, CheckInRequest};
use packcast_protocol::{PackageId, UnixTime};
use packcast_rollout::write_budget::WRITES_PER_HOUR;
use packcast_testing::table::NOW;

use crate::agents::{Agent, parsed};
use crate::results::report;
use crate::system::{PATH_TOKEN, Reply, TestSystem, inventory, ocs_request, prolog, zlib};

/// A time in the next hour.
const LATER: UnixTime = UnixTime(NOW.0 + 3_600);

/// Returns the number of writes since the last call. A transaction counts once.
fn writes(system: &TestSystem) -> usize {
    let operations = system.operations();
    let is_write = |name: &&String| !["Query", "GetItem", "BatchGetItem"].contains(&name.as_str());
    operations.iter().filter(is_write).count()
}

async fn post(system: &TestSystem, xml: &str, now: UnixTime) -> Reply {
    let request = ocs_request(PATH_TOKEN).body(zlib(xml).into());
    system.send(request.expect("a request"), now).await
}

/// Returns a package history that differs from that of each other number.
fn history(number: u32) -> [PackageId; 1] {
    [PackageId::try_from(1_700_000_000 + number).expect("a package id")]
}

#[tokio::test]
async fn a_device_with_ever_changing_facts_is_served_with_the_recorded_ones() {
    let system = TestSystem::start().await;
    let agent = Agent::enrolled(&system, 1).await;
    let package = system.table.package("vlc", 5).await;
    system.assign(&agent.device(), &package, false).await;
    assert_eq!(agent.check_in(&system).await.tasks.len(), 1);
    system.operations();
    for number in 0..100 {
        let mut asking = Agent::asking();
        asking.facts.host_name = BoundedText::tail(&format!("web{number}"));
        let reply = agent.post(&system, CHECK_IN_PATH, &asking).await;
        assert_eq!(reply.status, StatusCode::OK);
        assert!(reply.text().contains(&package.id.to_string()));
    }
    // Enrolment has spent one write.
    assert_eq!(writes(&system), usize::from(WRITES_PER_HOUR) - 1);
}

#[tokio::test]
async fn inventories_beyond_the_budget_are_to_come_later() {
    let system = TestSystem::start().await;
    let device = system.settled_device(1).await;
    let mut recorded = 0;
    for number in 0..60 {
        let xml = inventory(1, &history(number));
        match post(&system, &xml, NOW).await.status {
            StatusCode::OK => recorded += 1,
            status => assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE),
        }
    }
    // The first check-in and the first inventory have spent two writes.
    assert_eq!(recorded, WRITES_PER_HOUR - 2);
    assert!(writes(&system) <= 2 * usize::from(WRITES_PER_HOUR));
    assert_eq!(post(&system, &prolog(1), NOW).await.status, StatusCode::OK);
    assert_eq!(writes(&system), 0);
    let last = inventory(1, &history(99));
    assert_eq!(post(&system, &last, LATER).await.status, StatusCode::OK);
    let records = &system.table.records;
    assert_eq!(records.history(&device).await.unwrap(), history(99));
}

#[tokio::test]
async fn inventories_at_the_same_time_spend_the_budget_each() {
    let system = TestSystem::start().await;
    system.settled_device(1).await;
    let mut recorded = 0;
    for round in 0..5 {
        let inventories: Vec<String> = (0..20)
            .map(|number| inventory(1, &history(20 * round + number)))
            .collect();
        let replies = join_all(inventories.iter().map(|xml| post(&system, xml, NOW))).await;
        let replies = replies.iter();
        recorded += replies
            .filter(|reply| reply.status == StatusCode::OK)
            .count();
    }
    assert!(
        recorded > 0 && recorded <= usize::from(WRITES_PER_HOUR),
        "{recorded}"
    );
}

#[tokio::test]
async fn a_package_cannot_be_cancelled_without_end() {
    let system = TestSystem::start().await;
    let agent = Agent::enrolled(&system, 1).await;
    let package = system.table.package("vlc", 5).await;
    system.assign(&agent.device(), &package, false).await;
    let mut cancelled = 0;
    loop {
        let tasks = agent.check_in(&system).await.tasks;
        let attempt = tasks[0].attempt;
        assert_eq!(u32::from(cancelled) + 1, attempt);
        let results = vec![report(package.id, attempt, "CANCELLED")];
        let reply = agent.check_in_with(&system, results).await;
        if reply.accepted.is_empty() {
            break;
        }
        cancelled += 1;
    }
    assert_eq!(cancelled, WRITES_PER_HOUR - 1);
    // The agent has kept the result, and sends it again.
    let asking = CheckInRequest {
        results: vec![report(package.id, u32::from(cancelled) + 1, "CANCELLED")],
        ..Agent::asking()
    };
    let body = serde_json::to_vec(&asking).unwrap();
    let request = agent.signed(CHECK_IN_PATH, body, LATER);
    let reply = parsed(&system.send(request, LATER).await);
    assert_eq!(reply.accepted, [package.id]);
}
