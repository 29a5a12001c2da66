//! The cost of an idle check-in, and of the question before a package begins, with a full table.

use packcast_check_in::CheckInFunction;
use packcast_protocol::{DeviceId, GroupName, PackageId};
use packcast_rollout::PackageRecord;
use packcast_testing::administrator::{Administrator as _, Joined};
use packcast_testing::peer::{Peer, PeerReply};
use packcast_testing::service::Service;
use packcast_testing::signing::signing;
use packcast_testing::table::{NOW, Table};
use packcast_tests::settings::settings;

/// Number of packages in the table.
const PACKAGES: u32 = 10_000;
/// Number of packages that the device has finished.
const FINISHED: u32 = 1_000;
/// Number of the device's groups, besides `all`.
const GROUPS: usize = 40;

fn function(table: &Table) -> CheckInFunction {
    CheckInFunction::new(table.records.clone(), settings())
}

async fn check_in(function: &CheckInFunction, peer: &Peer) -> PeerReply {
    let response = function.handle(peer.check_in(&[], NOW), NOW).await;
    assert!(response.status().is_success(), "{response:?}");
    peer.read_reply(response.body())
}

/// Lets a device check in with the longest names that it can report.
async fn enrol(function: &CheckInFunction, peer: &Peer) {
    check_in(function, peer).await;
    if let Some(inventory) = peer.inventory() {
        let response = function.handle(inventory, NOW).await;
        assert!(response.status().is_success(), "{response:?}");
    }
}

/// Fills the table with packages, of which the devices have finished a part.
async fn fill(table: &Table, devices: &[DeviceId]) -> PackageRecord {
    let package = table.package_to_copy().await;
    let id = |n| PackageId::try_from(1_500_000_000 + n).unwrap();
    table.copy(&package, (FINISHED..PACKAGES).map(id)).await;
    for device in devices {
        table.finish(device, &package).await;
    }
    table.copy(&package, (1..FINISHED).map(id)).await;

    let packages = table.records.packages(20_000).await.unwrap();
    assert_eq!(packages.len(), PACKAGES as usize);
    for device in devices {
        let finished = table.records.finished_tasks(device).await.unwrap();
        assert_eq!(finished.len(), FINISHED as usize);
    }
    package
}

/// Adds devices to as many groups as possible, with names as long as possible; each group has a
/// package that the devices have finished.
async fn join(table: &Table, devices: &[DeviceId], package: &PackageRecord) {
    let records = &table.records;
    for group in groups() {
        records.create_group(&group, signing()).await.unwrap();
        let assigned = records
            .assign_group(&group, package, false, signing())
            .await;
        assigned.unwrap();
        for device in devices {
            assert_eq!(
                records.join(device, &group, signing()).await.unwrap(),
                Joined::New
            );
        }
    }
    let all = GroupName::all();
    let assigned = records.assign_group(&all, package, false, signing()).await;
    assigned.unwrap();
}

/// Returns groups with names as long as possible.
fn groups() -> impl Iterator<Item = GroupName> {
    let width = GroupName::MAX_CHARS;
    (0..GROUPS).map(move |n| format!("{n:x>width$}").parse().unwrap())
}

/// Expects exactly one Query of at most one unit since the last call.
fn expect_one_query(table: &Table) {
    let usage = table.meter.take();
    assert_eq!(usage.operations, ["Query"]);
    assert!(
        usage.read_units > 0.0 && usage.read_units <= 1.0,
        "{usage:?}"
    );
}

async fn an_idle_check_in_is_one_query_of_one_unit(service: Service) {
    let table = Table::start_on(service, 70).await;
    let peers = [Peer::ocs(1), Peer::packcast(2)].map(Peer::with_longest_names);
    let first = function(&table);
    for peer in &peers {
        enrol(&first, peer).await;
    }
    let devices = peers.each_ref().map(Peer::device);
    let package = fill(&table, &devices).await;
    join(&table, &devices, &package).await;
    // Each device is reconciled once by a function with an empty cache; the function then caches
    // the groups for a minute, for all devices.
    let function = function(&table);
    for peer in &peers {
        check_in(&function, peer).await;
    }
    table.meter.take();
    for peer in peers.iter().chain(&peers) {
        assert_eq!(check_in(&function, peer).await, PeerReply::default());
        expect_one_query(&table);
    }
    cold_functions_read_the_groups(&table, &peers).await;
    the_question_before_a_package_begins_is_one_query(&table).await;
}

/// Asks if a device may begin with packages that were announced to it: one of its own, and one of a
/// group.
async fn the_question_before_a_package_begins_is_one_query(table: &Table) {
    let peer = Peer::packcast(3).with_longest_names();
    enrol(&function(table), &peer).await;
    let own = table.package("own", 5).await;
    table.assigned(&peer.device(), &own).await;
    let (records, all) = (&table.records, GroupName::all());
    let of_all = table.package("of-all", 5).await;
    let assigned = records.assign_group(&all, &of_all, false, signing()).await;
    assigned.unwrap();
    let function = function(table);
    let told = check_in(&function, &peer).await.tasks;
    // The group has another package, too.
    for package in [own.id, of_all.id] {
        assert!(told.contains(&(package, Some(1))), "{told:?}");
    }
    table.meter.take();
    for (package, attempt) in told.iter().chain(&told) {
        let asked = peer.begin(*package, attempt.unwrap(), NOW).unwrap();
        let response = function.handle(asked, NOW).await;
        assert_eq!(&response.body()[..], br#"{"answer":"go"}"#);
        expect_one_query(table);
    }
}

/// Expects further reads of a function with an empty cache: of the groups' revisions, of their
/// states, and for a device that follows the signed state of the head and the key lists.
async fn cold_functions_read_the_groups(table: &Table, peers: &[Peer]) {
    for peer in peers {
        check_in(&function(table), peer).await;
        let usage = table.meter.take();
        let reads = ["Query", "BatchGetItem", "BatchGetItem", "Query", "Query"];
        let follows = peer.state().is_some();
        assert_eq!(usage.operations, reads[..if follows { 5 } else { 3 }]);
        assert!(usage.write_units < f64::EPSILON, "{usage:?}");
    }
}

packcast_testing::on_each_service! {
    an_idle_check_in_is_one_query_of_one_unit
}
