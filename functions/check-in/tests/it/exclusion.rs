//! Blocked and removed devices: one read, no write, and a refusal that harms no agent.

use http::StatusCode;
use packcast_check_in::CheckInFunction;
use packcast_protocol::api::{
    CHECK_IN_PATH, CheckInRequest, Problem, ProblemKind, REPORT_PATH, ReportRequest,
};
use packcast_protocol::{DeviceId, GroupName};
use packcast_rollout::TaskState;
use packcast_store::records::{Blocked, Removing, Unblocked};
use packcast_testing::administrator::Administrator as _;
use packcast_testing::signing::signing;
use packcast_testing::table::{NOW, mia};

use crate::agents::{Agent, token};
use crate::results::report;
use crate::system::{
    ENROLMENT_TOKEN, PATH_TOKEN, Reply, TestSystem, announced, attribute, download, inventory,
    ocs_request, prolog, settings, zlib,
};

async fn block(system: &TestSystem, device: &DeviceId) {
    let reason = "stolen from the office".parse().expect("a reason");
    let records = &system.table.records;
    let blocked = records
        .block(std::slice::from_ref(device), Some(&reason), &mia())
        .await;
    let blocked = blocked.expect("a device can be blocked");
    assert_eq!(blocked, [Blocked::New]);
    system.operations();
}

/// Removes a device that is in no group.
async fn remove(system: &TestSystem, device: &DeviceId) {
    let records = &system.table.records;
    let begun = records
        .begin_removal(std::slice::from_ref(device), None, &mia())
        .await;
    let begun = begun.expect("a removal can begin");
    assert_eq!(begun, [Removing::Begun { groups: Vec::new() }]);
    let erased = records.erase(device).await;
    erased.expect("a device can be erased");
    system.operations();
}

async fn unblock(system: &TestSystem, device: &DeviceId) -> Unblocked {
    let unblocked = system
        .table
        .records
        .unblock(std::slice::from_ref(device), &mia())
        .await;
    unblocked.expect("a device can be unblocked").remove(0)
}

/// Parses the refusal of an excluded device, which has cost one read.
fn refusal(system: &TestSystem, reply: &Reply) -> Problem {
    assert_eq!(system.operations(), ["Query"]);
    assert_eq!(reply.status, StatusCode::FORBIDDEN, "{}", reply.text());
    assert_eq!(reply.content_type, "application/problem+json");
    serde_json::from_slice(&reply.body).expect("a problem")
}

/// Posts a document as a Unix agent does, and returns the reply, which has cost one read.
async fn ocs(system: &TestSystem, xml: &str) -> Reply {
    let request = ocs_request(PATH_TOKEN).body(zlib(xml).into());
    let reply = system.send(request.expect("a request"), NOW).await;
    assert_eq!(system.operations(), ["Query"], "{xml}");
    reply
}

/// Returns the text of an element.
fn element<'a>(reply: &'a str, name: &str) -> &'a str {
    let (_, rest) = reply.split_once(&format!("<{name}>")).expect(name);
    rest.split('<').next().unwrap_or_default()
}

/// Returns RESPONSE, ON and TIMEOUT of the reply to a PROLOG, which announces nothing.
async fn mode(system: &TestSystem, number: u32) -> [String; 3] {
    let reply = ocs(system, &prolog(number)).await;
    assert_eq!(reply.status, StatusCode::OK);
    let reply = reply.inflated();
    assert_eq!(announced(&reply), []);
    let value = |name| attribute(&reply, name).expect(name).to_owned();
    [
        element(&reply, "RESPONSE").to_owned(),
        value("ON"),
        value("TIMEOUT"),
    ]
}

#[tokio::test]
async fn a_blocked_packcast_agent_is_refused_and_reports_after_it_is_unblocked() {
    let system = TestSystem::start().await;
    let agent = Agent::enrolled(&system, 1).await;
    let package = system.table.package("vlc", 5).await;
    system.assign(&agent.device(), &package, false).await;
    assert_eq!(agent.check_in(&system).await.tasks.len(), 1);
    block(&system, &agent.device()).await;
    let results = vec![report(package.id, 1, "SUCCESS")];
    let with_results = CheckInRequest {
        results: results.clone(),
        ..Agent::asking()
    };
    let reporting = ReportRequest {
        results: results.clone(),
    };
    for reply in [
        agent.post(&system, CHECK_IN_PATH, &Agent::asking()).await,
        agent.post(&system, CHECK_IN_PATH, &with_results).await,
        agent.post(&system, REPORT_PATH, &reporting).await,
    ] {
        // The operations of the three requests are counted together.
        assert_eq!(reply.status, StatusCode::FORBIDDEN);
    }
    assert_eq!(system.operations(), ["Query", "Query", "Query"]);
    let reply = agent.post(&system, CHECK_IN_PATH, &Agent::asking()).await;
    let problem = refusal(&system, &reply);
    assert_eq!(problem.kind, ProblemKind::Blocked);
    assert_eq!(
        problem.detail,
        "this device is blocked: ask the administrator of the target to unblock it"
    );
    assert_eq!(system.counts(package.id).await, [1, 0, 0]);
    assert_eq!(unblock(&system, &agent.device()).await, Unblocked::Blocked);
    let reply = agent.check_in_with(&system, results).await;
    assert_eq!(reply.accepted, [package.id]);
    assert_eq!(system.counts(package.id).await, [0, 1, 0]);
}

#[tokio::test]
async fn a_removed_packcast_agent_cannot_enrol_again() {
    let system = TestSystem::start().await;
    let agent = Agent::enrolled(&system, 1).await;
    remove(&system, &agent.device()).await;
    for admission in [agent.admission(), token(ENROLMENT_TOKEN)] {
        let asking = Agent::asking();
        let reply = agent.post_as(&system, &admission, CHECK_IN_PATH, &asking);
        let problem = refusal(&system, &reply.await);
        assert_eq!(problem.kind, ProblemKind::Removed);
        assert_eq!(
            problem.detail,
            "this device was removed: ask the administrator of the target to unblock it"
        );
    }
    assert_eq!(unblock(&system, &agent.device()).await, Unblocked::Removed);
    // The pass follows from the id of the agent, so it is valid again.
    assert_eq!(agent.check_in(&system).await.tasks, []);
    let devices = system.table.records.devices(200).await.unwrap();
    assert_eq!(devices.len(), 1);
}

#[tokio::test]
async fn a_blocked_ocs_agent_stops_and_keeps_its_result() {
    let system = TestSystem::start().await;
    let device = system.settled_device(1).await;
    let package = system.table.package("vlc", 5).await;
    system.assign(&device, &package, false).await;
    block(&system, &device).await;
    // The agent has no package, so it is not asked for an inventory.
    assert_eq!(mode(&system, 1).await, ["STOP", "0", "30"]);
    unblock(&system, &device).await;
    assert_eq!(announced(&system.ocs(&prolog(1)).await), [package.id]);
    block(&system, &device).await;
    // The empty reply to the inventory ends the agent before it forks a download process.
    assert_eq!(mode(&system, 1).await, ["SEND", "0", "30"]);
    let reply = ocs(&system, &inventory(1, &[package.id])).await;
    assert_eq!((reply.status, reply.body.len()), (StatusCode::OK, 0));
    let reply = ocs(&system, &download(1, package.id, "SUCCESS_3")).await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
    assert_eq!(system.counts(package.id).await, [1, 0, 0]);
    unblock(&system, &device).await;
    system.ocs(&download(1, package.id, "SUCCESS_")).await;
    assert_eq!(system.counts(package.id).await, [0, 1, 0]);
}

#[tokio::test]
async fn a_removed_ocs_agent_drops_its_packages_and_forgets_its_results() {
    let system = TestSystem::start().await;
    let device = system.settled_device(1).await;
    let package = system.table.package("vlc", 5).await;
    system.assign(&device, &package, false).await;
    assert_eq!(announced(&system.ocs(&prolog(1)).await), [package.id]);
    remove(&system, &device).await;
    assert_eq!(mode(&system, 1).await, ["STOP", "1", "0"]);
    let reply = ocs(&system, &inventory(1, &[package.id])).await;
    assert!(reply.inflated().contains("NO_ACCOUNT_UPDATE"));
    let reply = ocs(&system, &download(1, package.id, "ERR_TIMEOUT")).await;
    assert_eq!((reply.status, reply.body.len()), (StatusCode::OK, 0));
    assert_eq!(system.counts(package.id).await, [0, 0, 0]);
    assert_eq!(unblock(&system, &device).await, Unblocked::Removed);
    assert_eq!(announced(&system.ocs(&prolog(1)).await), []);
    let device_state = system.table.records.device_state(&device).await.unwrap();
    assert!(device_state.device.is_some());
}

#[tokio::test]
async fn no_warm_function_announces_to_a_blocked_device() {
    let system = TestSystem::start().await;
    let package = system.table.package("vlc", 5).await;
    let all = GroupName::all();
    let records = &system.table.records;
    let assigned = records.assign_group(&all, &package, false, signing()).await;
    assigned.unwrap();
    let other = CheckInFunction::new(records.clone(), settings());
    system.settled_device(8).await;
    system.ocs_by(&other, &prolog(9)).await;
    for number in 1..=20 {
        let device = crate::system::device(number);
        system.ocs(&inventory(number, &[])).await;
        let (reason, by) = (None, mia());
        let prolog = prolog(number);
        let (reply, blocked) = tokio::join!(
            system.ocs_by(&other, &prolog),
            records.block(std::slice::from_ref(&device), reason, &by)
        );
        assert_eq!(blocked.unwrap(), [Blocked::New]);
        let was_announced = announced(&reply) == [package.id];
        let tasks = records.device_state(&device).await.unwrap().tasks;
        let on_record = |state| matches!(state, TaskState::Announced { .. });
        // A reply that announces the package has its announcement on record.
        assert!(!was_announced || tasks.iter().any(|task| on_record(task.state)));
        for reply in [
            system.ocs(&prolog).await,
            system.ocs_by(&other, &prolog).await,
        ] {
            assert_eq!(announced(&reply), [], "device {number}");
        }
        let after = records.device_state(&device).await.unwrap().tasks;
        assert_eq!(after, tasks, "a blocked device causes no write");
    }
}
