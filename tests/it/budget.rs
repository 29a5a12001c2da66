//! The cost of an idle check-in and of the question before a package begins, with a full table, and the
//! cost of a rollout.

use packcast_check_in::CheckInFunction;
use packcast_protocol::api::{BeginReply, HoldWord};
use packcast_protocol::state::document::{RolloutGroups, SLOTS, Wave, WaveDevices, Waves};
use packcast_protocol::state::{RolloutDocument, RolloutId, RolloutSeed};
use packcast_protocol::{DeviceId, GroupName, PackageId, UnixTime};
use packcast_rollout::PackageRecord;
use packcast_rollout::rollout::{GateLimits, GateState, LimitValues};
use packcast_testing::administrator::{Administrator as _, Joined};
use packcast_testing::peer::{Peer, PeerReply, PeerResult};
use packcast_testing::service::Service;
use packcast_testing::signing::signing;
use packcast_testing::table::{NOW, Table};
use packcast_tests::rollout;
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
    check_in_at(function, peer, NOW).await
}

async fn check_in_at(function: &CheckInFunction, peer: &Peer, at: UnixTime) -> PeerReply {
    let response = function.handle(peer.check_in(&[], at), at).await;
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

/// A rollout whose gate has one place, to all devices.
struct Rollout {
    id: RolloutId,
    package: PackageId,
}

/// Starts a rollout in two waves: the devices of the first slots, and all others from a later time.
async fn start_rollout(table: &Table, number: u8, first: u16, later: UnixTime) -> Rollout {
    let package = table.package(&format!("by-rollout-{number}"), 5).await;
    let wave = |up_to, from| Wave {
        devices: WaveDevices::UpTo(up_to),
        from: Some(from),
    };
    let waves = vec![wave(first, NOW), wave(SLOTS, later)];
    let document = RolloutDocument::new(
        package.id,
        package.published().unwrap().manifest,
        RolloutGroups::new([GroupName::all()].into()).unwrap(),
        RolloutSeed::from_bytes([number; 16]),
        Waves::new(waves).unwrap(),
    );
    let values = LimitValues {
        halt_at: 1,
        tolerate: 5,
        at_once: 1,
        settle_s: 1_800,
        first_settle_s: 1_800,
        wait_s: 0,
    };
    let limits: GateLimits = values.try_into().unwrap();
    let id = RolloutId::from_bytes([number; 16]);
    rollout::start(&table.records, id, document, limits, NOW).await;
    Rollout {
        id,
        package: package.id,
    }
}

async fn ask(
    function: &CheckInFunction,
    peer: &Peer,
    package: PackageId,
    at: UnixTime,
) -> BeginReply {
    let asked = peer.begin(package, 1, at).unwrap();
    let response = function.handle(asked, at).await;
    serde_json::from_slice(response.body()).unwrap()
}

/// The devices wait for a wave that opens tomorrow, and for a gate whose only place is taken.
async fn a_check_in_of_a_device_that_waits_for_its_rollout_is_one_query(service: Service) {
    let table = Table::start_on(service, 71).await;
    let peers = [Peer::ocs(1), Peer::packcast(2)].map(Peer::with_longest_names);
    let [first, told] = [Peer::packcast(3), Peer::packcast(4)].map(Peer::with_longest_names);
    let begins = function(&table);
    for peer in peers.iter().chain([&first, &told]) {
        enrol(&begins, peer).await;
    }
    let tomorrow = NOW.plus(86_400);
    let (closed, full) = (
        start_rollout(&table, 1, 1, tomorrow).await,
        start_rollout(&table, 2, SLOTS - 1, tomorrow).await,
    );
    let full = full.package;
    for peer in [&first, &told] {
        // An instance that has told one device waits for the question of this device.
        let reply = check_in(&function(&table), peer).await;
        assert_eq!(reply.tasks, [(full, Some(1))]);
    }
    let function = function(&table);
    assert_eq!(ask(&function, &first, full, NOW).await, BeginReply::Go);
    let refused = ask(&function, &told, full, NOW).await;
    let is_full = |reply| {
        let reason = HoldWord::RolloutFull;
        matches!(reply, BeginReply::Wait { reason: it, .. } if it == reason)
    };
    assert!(is_full(refused), "{refused:?}");
    for peer in &peers {
        // The packages become tasks of the device.
        assert_eq!(check_in(&function, peer).await.tasks, []);
        let state = table.records.device_state(&peer.device()).await.unwrap();
        let waiting: Vec<_> = state.tasks.iter().map(|task| task.package).collect();
        assert_eq!(waiting, [closed.package, full]);
    }
    table.meter.take();
    for peer in peers.iter().chain(&peers) {
        assert_eq!(check_in(&function, peer).await, PeerReply::default());
        expect_one_query(&table);
    }
    // The device was told while there was a free place.
    check_in(&function, &told).await;
    expect_one_query(&table);
    let refused = ask(&function, &told, full, NOW).await;
    assert!(is_full(refused), "{refused:?}");
    expect_one_query(&table);
}

/// Two devices succeed with a package: the first has it without a rollout, the second by one.
async fn a_rollout_adds_at_most_two_requests_and_ten_write_units_to_a_device(service: Service) {
    // DynamoDB Local counts transactions with fewer units than AWS.
    let table = Table::start_on(service, 72).await;
    let function = function(&table);
    let [plain, rolled, other] = [1, 2, 3].map(Peer::packcast);
    for peer in [&plain, &rolled, &other] {
        enrol(&function, peer).await;
    }
    let package = table.package("plain", 5).await;
    table.assigned(&plain.device(), &package).await;
    let by_rollout = start_rollout(&table, 3, SLOTS - 1, NOW.plus(86_400)).await;
    // Reconciles the devices, and fills the caches. The first device is told of the rollout.
    let fresh = self::function(&table);
    for peer in [&rolled, &plain, &other] {
        check_in(&fresh, peer).await;
    }

    let (settled, usual) = (NOW.plus(1_800), NOW.plus(3_600));
    table.meter.take();
    let mut spent = Vec::new();
    for (peer, package) in [(&plain, package.id), (&rolled, by_rollout.package)] {
        assert_eq!(ask(&fresh, peer, package, NOW).await, BeginReply::Go);
        let success = PeerResult {
            package,
            attempt: 1,
            code: "SUCCESS",
        };
        for report in peer.reports(&[success], NOW) {
            assert!(fresh.handle(report, NOW).await.status().is_success());
        }
        if package == by_rollout.package {
            check_in_at(&fresh, peer, settled).await;
        }
        let usage = table.meter.take();
        let writes = usage.count("TransactWriteItems");
        spent.push((writes, usage.write_units));
    }
    let gate = table.records.gate(by_rollout.id).await.unwrap().unwrap();
    assert_eq!((gate.state, gate.healthy), (GateState::Running, 1));
    let [(plain_writes, plain_units), (writes, units)] = spent[..] else {
        panic!("two devices: {spent:?}");
    };
    assert_eq!(writes - plain_writes, 2, "{spent:?}");
    assert!(units - plain_units <= 10.0, "{spent:?}");
    assert!(units > plain_units, "{spent:?}");
    // Afterwards, a check-in costs the same as before.
    check_in_at(&fresh, &rolled, usual).await;
    table.meter.take();
    check_in_at(&fresh, &rolled, usual).await;
    expect_one_query(&table);
}

packcast_testing::on_each_service! {
    an_idle_check_in_is_one_query_of_one_unit
    a_check_in_of_a_device_that_waits_for_its_rollout_is_one_query
    a_rollout_adds_at_most_two_requests_and_ten_write_units_to_a_device
}
