//! Packages of groups: announced to the devices in them.

use packcast_check_in::CheckInFunction;
use packcast_protocol::state::Mandate;
use packcast_protocol::state::exchange::UsedMandates;
use packcast_protocol::{Assignee, DeviceId, GroupName, UnixTime};
use packcast_rollout::{PackageRecord, TaskState};
use packcast_testing::administrator::{Administrator as _, Joined};
use packcast_testing::signing::signing;
use packcast_testing::table::{NOW, location, mia};

use crate::agents::Agent;
use crate::results::report;
use crate::system::{TestSystem, announced, attribute, device, download, packs, prolog, settings};

fn lab() -> GroupName {
    "lab".parse().expect("a group's name")
}

async fn world_with_lab() -> TestSystem {
    let system = TestSystem::start().await;
    let created = system.table.records.create_group(&lab(), signing()).await;
    created.expect("a group can be created");
    system
}

async fn member(system: &TestSystem, number: u32) -> DeviceId {
    let device = system.settled_device(number).await;
    join(system, &device).await;
    device
}

async fn join(system: &TestSystem, device: &DeviceId) {
    let joined = system.table.records.join(device, &lab(), signing()).await;
    assert_eq!(joined.expect("a device can join"), Joined::New);
}

async fn leave(system: &TestSystem, device: &DeviceId) {
    let left = system.table.records.leave(device, &lab(), signing()).await;
    assert!(left.expect("a device can leave"));
}

async fn assign(system: &TestSystem, group: &GroupName, package: &PackageRecord) {
    let assigned = system
        .table
        .records
        .assign_group(group, package, false, signing())
        .await;
    assigned.expect("a group can be assigned a package");
}

async fn unassign(system: &TestSystem, package: &PackageRecord) {
    let unassigned = system
        .table
        .records
        .unassign_group(&lab(), package.id, signing())
        .await;
    unassigned.expect("a group can be unassigned a package");
}

#[tokio::test]
async fn a_device_that_joins_later_gets_the_packages_of_the_group() {
    let system = world_with_lab().await;
    let package = system.table.package("vlc", 5).await;
    assign(&system, &lab(), &package).await;
    let pc = system.settled_device(1).await;
    assert_eq!(announced(&system.ocs(&prolog(1)).await), []);
    join(&system, &pc).await;
    assert_eq!(announced(&system.ocs(&prolog(1)).await), [package.id]);
}

#[tokio::test]
async fn present_and_future_devices_get_the_packages_of_all() {
    let system = TestSystem::start().await;
    let package = system.table.package("vlc", 5).await;
    assign(&system, &GroupName::all(), &package).await;
    assert_eq!(announced(&system.ocs(&prolog(1)).await), [package.id]);
    let agent = Agent::enrolled(&system, 1).await;
    let reply = agent.check_in(&system).await;
    assert_eq!(reply.tasks.len(), 1);
}

#[tokio::test]
async fn a_reconciled_device_costs_one_query_and_no_write() {
    let system = world_with_lab().await;
    let package = system.table.package("vlc", 5).await;
    let pc = member(&system, 1).await;
    assign(&system, &lab(), &package).await;
    system.ocs(&prolog(1)).await;
    system.ocs(&download(1, package.id, "SUCCESS")).await;
    assert_eq!(system.tasks(&pc).await, []);
    system.operations();
    assert_eq!(announced(&system.ocs(&prolog(1)).await), []);
    assert_eq!(system.operations(), ["Query"]);
}

/// Warms two functions, which then have the group with its package in their caches. Returns the
/// second one.
async fn warmed(system: &TestSystem) -> CheckInFunction {
    let other = CheckInFunction::new(system.table.records.clone(), settings());
    member(system, 8).await;
    member(system, 9).await;
    assert_eq!(announced(&system.ocs(&prolog(8)).await).len(), 1);
    assert_eq!(announced(&system.ocs_by(&other, &prolog(9)).await).len(), 1);
    other
}

#[tokio::test]
async fn no_warm_function_announces_an_unassigned_package() {
    let system = world_with_lab().await;
    let package = system.table.package("vlc", 5).await;
    assign(&system, &lab(), &package).await;
    let other = warmed(&system).await;
    member(&system, 1).await;
    member(&system, 2).await;
    unassign(&system, &package).await;
    assert_eq!(announced(&system.ocs(&prolog(1)).await), []);
    assert_eq!(announced(&system.ocs_by(&other, &prolog(2)).await), []);
    for number in [1, 2] {
        assert_eq!(system.tasks(&device(number)).await, []);
    }
    let tally = system.table.records.tally(package.id).await.unwrap();
    assert_eq!((tally.assigned, tally.announced), (2, 2));
}

#[tokio::test]
async fn no_warm_function_announces_a_deactivated_package() {
    let system = world_with_lab().await;
    let package = system.table.package("vlc", 5).await;
    assign(&system, &lab(), &package).await;
    let other = warmed(&system).await;
    member(&system, 1).await;
    member(&system, 2).await;
    system
        .table
        .records
        .deactivate(package.id, &mia())
        .await
        .unwrap();
    assert_eq!(announced(&system.ocs(&prolog(1)).await), []);
    assert_eq!(announced(&system.ocs_by(&other, &prolog(2)).await), []);
    let records = &system.table.records;
    records
        .activate(package.id, &[location()], &mia())
        .await
        .unwrap();
    // The function caches an inactive package for a minute.
    let later = NOW.plus(60);
    assert_eq!(
        announced(&system.ocs_at(&prolog(1), later).await),
        [package.id]
    );
}

#[tokio::test]
async fn a_held_task_of_a_group_is_dropped_once_it_is_unassigned() {
    let system = world_with_lab().await;
    let package = system.table.package("vlc", 5).await;
    system
        .table
        .records
        .deactivate(package.id, &mia())
        .await
        .unwrap();
    let pc = member(&system, 1).await;
    assign(&system, &lab(), &package).await;
    assert_eq!(announced(&system.ocs(&prolog(1)).await), []);
    assert_eq!(system.tasks(&pc).await.len(), 1);
    unassign(&system, &package).await;
    let records = &system.table.records;
    records
        .activate(package.id, &[location()], &mia())
        .await
        .unwrap();
    for now in [NOW, NOW.plus(60)] {
        assert_eq!(announced(&system.ocs_at(&prolog(1), now).await), []);
    }
    assert_eq!(system.tasks(&pc).await, []);
}

#[tokio::test]
async fn a_device_that_left_the_group_gets_no_package() {
    let system = world_with_lab().await;
    let package = system.table.package("vlc", 5).await;
    let pc = member(&system, 1).await;
    assign(&system, &lab(), &package).await;
    assert!(
        system
            .table
            .records
            .leave(&pc, &lab(), signing())
            .await
            .unwrap()
    );
    assert_eq!(announced(&system.ocs(&prolog(1)).await), []);
    assert!(
        !system
            .table
            .records
            .leave(&pc, &lab(), signing())
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn an_announced_task_is_withdrawn_and_ends_with_its_report() {
    let system = world_with_lab().await;
    let package = system.table.package("vlc", 5).await;
    let pc = member(&system, 1).await;
    assign(&system, &lab(), &package).await;
    system.ocs(&prolog(1)).await;
    unassign(&system, &package).await;
    // The function has cached the group with its package for a minute.
    let later = NOW.plus(60);
    let listed = announced(&system.ocs_at(&prolog(1), later).await);
    assert_eq!(listed, [package.id]);
    let state = system.tasks(&pc).await[0].state;
    assert!(matches!(state, TaskState::Withdrawn { .. }), "{state:?}");
    system.ocs(&download(1, package.id, "SUCCESS")).await;
    assert_eq!(system.tasks(&pc).await, []);
    let tally = system.table.records.tally(package.id).await.unwrap();
    assert_eq!(
        (tally.assigned, tally.withdrawn, tally.succeeded),
        (1, 0, 1)
    );
}

#[tokio::test]
async fn packcast_agents_are_asked_to_cancel_withdrawn_tasks() {
    let system = TestSystem::start().await;
    let package = system.table.package("vlc", 5).await;
    let agent = Agent::enrolled(&system, 1).await;
    system.assign(&agent.device(), &package, false).await;
    assert_eq!(agent.check_in(&system).await.tasks.len(), 1);
    let records = &system.table.records;
    records
        .unassign(&agent.device(), &package, signing())
        .await
        .unwrap();
    let reply = agent.check_in(&system).await;
    assert_eq!(reply.tasks.len(), 0);
    let cancelled: Vec<_> = reply.cancel.iter().map(|c| (c.id, c.attempt)).collect();
    assert_eq!(cancelled, [(package.id, 1)]);
}

#[tokio::test]
async fn tasks_of_a_deactivated_package_are_cancelled_until_it_is_active_again() {
    let mut system = TestSystem::start().await;
    let package = system.table.package("vlc", 5).await;
    let agent = Agent::enrolled(&system, 1).await;
    system.assign(&agent.device(), &package, false).await;
    assert_eq!(agent.check_in(&system).await.tasks.len(), 1);
    let records = system.table.records.clone();
    records.deactivate(package.id, &mia()).await.unwrap();
    // A new function, because this one has cached the active package for a minute.
    system.function = CheckInFunction::new(records.clone(), settings());
    let reply = agent.check_in(&system).await;
    assert_eq!((reply.tasks.len(), reply.cancel.len()), (0, 1));
    let dropped = vec![report(package.id, 1, "CANCELLED")];
    let reply = agent.check_in_with(&system, dropped).await;
    assert_eq!((reply.tasks.len(), reply.cancel.len()), (0, 0));
    assert_eq!(records.tally(package.id).await.unwrap().waiting(), 1);

    records
        .activate(package.id, &[location()], &mia())
        .await
        .unwrap();
    system.function = CheckInFunction::new(records.clone(), settings());
    let reply = agent.check_in(&system).await;
    let attempts: Vec<u32> = reply.tasks.iter().map(|task| task.attempt).collect();
    assert_eq!(attempts, [2]);
}

#[tokio::test]
async fn an_announced_attempt_is_never_forgotten() {
    let system = TestSystem::start().await;
    let package = system.table.package("vlc", 5).await;
    let agent = Agent::enrolled(&system, 1).await;
    let (device, records) = (agent.device(), &system.table.records);
    system.assign(&device, &package, false).await;
    assert_eq!(agent.check_in(&system).await.tasks.len(), 1);
    records
        .unassign(&device, &package, signing())
        .await
        .unwrap();
    system.assign(&device, &package, false).await;
    records
        .unassign(&device, &package, signing())
        .await
        .unwrap();
    let reply = agent.check_in(&system).await;
    assert_eq!((reply.tasks.len(), reply.cancel.len()), (0, 1));
    agent
        .check_in_with(&system, vec![report(package.id, 1, "SUCCESS")])
        .await;
    assert_eq!(system.code(&device, package.id).await.unwrap(), "SUCCESS");
}

#[tokio::test]
async fn a_cancelled_task_that_is_assigned_again_gets_another_attempt() {
    let system = TestSystem::start().await;
    let package = system.table.package("vlc", 5).await;
    let agent = Agent::enrolled(&system, 1).await;
    let (device, records) = (agent.device(), &system.table.records);
    system.assign(&device, &package, false).await;
    agent.check_in(&system).await;
    records
        .unassign(&device, &package, signing())
        .await
        .unwrap();
    assert_eq!(agent.check_in(&system).await.cancel.len(), 1);
    system.assign(&device, &package, false).await;
    let dropped = vec![report(package.id, 1, "CANCELLED")];
    let reply = agent.check_in_with(&system, dropped.clone()).await;
    let attempts: Vec<u32> = reply.tasks.iter().map(|task| task.attempt).collect();
    assert_eq!((attempts, reply.cancel.len()), (vec![2], 0));
    // A repeated report, whose reply was lost, changes nothing.
    agent.check_in_with(&system, dropped).await;
    let tally = records.tally(package.id).await.unwrap();
    assert_eq!(
        (tally.assigned, tally.announced, tally.cancelled),
        (1, 1, 0)
    );

    // An attempt that is unassigned before its announcement leaves the earlier result as it
    // was.
    agent
        .check_in_with(&system, vec![report(package.id, 2, "ERR_EXECUTE")])
        .await;
    system.assign(&device, &package, false).await;
    records
        .unassign(&device, &package, signing())
        .await
        .unwrap();
    let tally = records.tally(package.id).await.unwrap();
    assert_eq!((tally.assigned, tally.failed, tally.waiting()), (1, 1, 0));
}

#[tokio::test]
async fn a_failed_package_is_tried_again_when_it_is_assigned_again() {
    let system = world_with_lab().await;
    let package = system.table.package("vlc", 5).await;
    member(&system, 1).await;
    assign(&system, &lab(), &package).await;
    system.ocs(&prolog(1)).await;
    system.ocs(&download(1, package.id, "ERR_EXECUTE")).await;
    assert_eq!(announced(&system.ocs(&prolog(1)).await), []);
    assign(&system, &lab(), &package).await;
    let later = NOW.plus(60);
    let reply = system.ocs_at(&prolog(1), later).await;
    assert_eq!(announced(&reply), [package.id]);
    assert_eq!(attribute(packs(&reply)[0], "FORCE"), Some("1"));
}

#[tokio::test]
async fn leaving_a_group_and_joining_it_again_is_no_new_assignment() {
    let system = world_with_lab().await;
    let package = system.table.package("vlc", 5).await;
    let agent = Agent::enrolled(&system, 1).await;
    join(&system, &agent.device()).await;
    let devices = [agent.device(), member(&system, 2).await];
    assign(&system, &lab(), &package).await;
    assert_eq!(agent.check_in(&system).await.tasks.len(), 1);
    let failed = vec![report(package.id, 1, "EXIT_CODE_9")];
    agent.check_in_with(&system, failed).await;
    system.ocs(&prolog(2)).await;
    system.ocs(&download(2, package.id, "ERR_EXECUTE")).await;
    for device in &devices {
        leave(&system, device).await;
        join(&system, device).await;
    }
    assert_eq!(agent.check_in(&system).await.tasks, []);
    assert_eq!(announced(&system.ocs(&prolog(2)).await), []);
    // A new assignment is a new attempt.
    assign(&system, &lab(), &package).await;
    let reply = system.ocs_at(&prolog(2), NOW.plus(60)).await;
    assert_eq!(announced(&reply), [package.id]);
}

#[tokio::test]
async fn a_mandate_that_a_device_has_used_up_creates_no_task() {
    let system = world_with_lab().await;
    let package = system.table.package("vlc", 5).await;
    let agent = Agent::enrolled(&system, 1).await;
    let device = agent.device();
    assign(&system, &lab(), &package).await;
    let group = system.table.records.group(&lab()).await.unwrap().unwrap();
    let seq = group.assignment(package.id).unwrap().mandate.unwrap();
    // The device has acted under its own entry and under that of the group.
    system.assign(&device, &package, false).await;
    assert_eq!(agent.check_in(&system).await.tasks.len(), 1);
    let mut failed = report(package.id, 1, "EXIT_CODE_9");
    let assignee = Assignee::Group(lab());
    failed.mandates = UsedMandates::first([Mandate { assignee, seq }]);
    agent.check_in_with(&system, vec![failed]).await;
    join(&system, &device).await;
    assert_eq!(agent.check_in(&system).await.tasks, []);
}

#[tokio::test]
async fn a_device_that_cancelled_a_package_gets_it_after_joining_again() {
    let system = world_with_lab().await;
    let package = system.table.package("vlc", 5).await;
    let agent = Agent::enrolled(&system, 1).await;
    let device = agent.device();
    join(&system, &device).await;
    assign(&system, &lab(), &package).await;
    assert_eq!(agent.check_in(&system).await.tasks.len(), 1);
    leave(&system, &device).await;
    assert_eq!(agent.check_in(&system).await.cancel.len(), 1);
    let cancelled = vec![report(package.id, 1, "CANCELLED")];
    agent.check_in_with(&system, cancelled).await;
    join(&system, &device).await;
    let attempts: Vec<u32> = agent
        .check_in(&system)
        .await
        .tasks
        .iter()
        .map(|task| task.attempt)
        .collect();
    assert_eq!(attempts, [2]);
}

#[tokio::test]
async fn a_group_of_many_packages_is_reconciled_in_several_steps() {
    let system = world_with_lab().await;
    let pc = member(&system, 1).await;
    for n in 0..70 {
        let name = format!("package-{n}");
        let package = system.table.package_at(&name, 5, NOW.plus(n)).await;
        assign(&system, &lab(), &package).await;
    }
    let reply = system.ocs(&prolog(1)).await;
    assert_eq!(announced(&reply).len(), 70);
    assert_eq!(system.tasks(&pc).await.len(), 70);
}

/// Creates a world whose device 1 is in `lab`, which has a package and prefers its site.
async fn world_with_a_site() -> TestSystem {
    let system = world_with_lab().await;
    let package = system.table.package("vlc", 5).await;
    let site = packcast_rollout::LocationRecord {
        name: "oslo".parse().expect("a location's name"),
        location: "oslo.example.net".parse().expect("a location"),
    };
    let records = &system.table.records;
    let active = records
        .activate(package.id, &[location(), site.clone()], &mia())
        .await;
    active.expect("a published package can be activated");
    member(&system, 1).await;
    let preferred = records.prefer(&lab(), Some(&site.name), signing()).await;
    preferred.expect("a group can prefer a location");
    assign(&system, &lab(), &package).await;
    system
}

/// Returns true if device 1 is told to fetch its package from the site.
async fn fetches_from_site(system: &TestSystem, now: UnixTime) -> bool {
    let reply = system.ocs_at(&prolog(1), now).await;
    let place = attribute(packs(&reply)[0], "PACK_LOC").expect("the reply names a location");
    place.starts_with("oslo.example.net/")
}

#[tokio::test]
async fn a_site_fetches_from_its_preferred_location() {
    let system = Box::pin(world_with_a_site()).await;
    assert!(fetches_from_site(&system, NOW).await);
}

#[tokio::test]
async fn a_forged_group_with_the_revision_of_the_true_one_is_read_again_after_ten_minutes() {
    let system = Box::pin(world_with_a_site()).await;
    let true_state = system.table.item("GROUP#lab", "STATE").await;
    let mut forged = true_state.clone();
    let attributes = forged.as_object_mut().unwrap();
    let known = attributes.len();
    attributes.retain(|_, value| value["S"] != "oslo");
    assert_eq!(attributes.len(), known - 1, "{true_state}");
    system.table.put(&forged).await;
    assert!(!fetches_from_site(&system, NOW).await);
    system.table.put(&true_state).await;
    // Only the revision is read, and it has not changed.
    assert!(!fetches_from_site(&system, NOW.plus(9 * 60)).await);
    assert!(fetches_from_site(&system, NOW.plus(10 * 60)).await);
}
