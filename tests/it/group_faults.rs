//! Concurrent check-ins, commands and changes of groups, while many requests to the service fail:
//! nothing is lost, and nothing is counted twice.

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, StatusCode};
use packcast_check_in::CheckInFunction;
use packcast_protocol::{DeviceId, GroupName, PackageId, UnixTime};
use packcast_rollout::{PackageRecord, TaskState};
use packcast_store::records::{ReserveError, Reserved, Tally};
use packcast_store::{Records, RecordsError};
use packcast_testing::administrator::{Administrator as _, ChangeError, answered};
use packcast_testing::fault::{FaultRates, until_answered};
use packcast_testing::peer::{Peer, PeerReply, PeerResult};
use packcast_testing::service::Service;
use packcast_testing::signing::signing;
use packcast_testing::table::{NOW, Table, location, reservation};
use packcast_tests::settings::settings;

const RATES: FaultRates = FaultRates {
    conflicts: 80,
    update_conflicts: 80,
    throttles: 30,
    lost_answers: 80,
    unprocessed: 0,
    index_lag: 0,
};

/// Number of repetitions of each race, with OCS agents and Packcast agents in turn.
const RACES: u32 = 8;

fn group(name: &str) -> GroupName {
    name.parse().unwrap()
}

/// Two functions on one table with two groups.
struct TwoGroups {
    table: Table,
    functions: [CheckInFunction; 2],
}

impl TwoGroups {
    async fn start(service: Service, seed: u64) -> Self {
        let table = Table::start_on(service, seed).await;
        for name in ["lab", "site"] {
            let created = table.records.create_group(&group(name), signing()).await;
            created.unwrap();
        }
        let function = || CheckInFunction::new(table.records.clone(), settings());
        let functions = [function(), function()];
        Self { table, functions }
    }

    const fn records(&self) -> &Records {
        &self.table.records
    }

    /// Enrols a device in both groups; odd numbers have Packcast agents, even ones OCS agents.
    async fn member(&self, number: u32) -> Peer {
        let peer = self.newcomer(number).await;
        for name in ["lab", "site"] {
            self.join(&peer.device(), name).await;
        }
        peer
    }

    async fn newcomer(&self, number: u32) -> Peer {
        let peer = if number.is_multiple_of(2) {
            Peer::ocs(number)
        } else {
            Peer::packcast(number)
        };
        self.check_in(0, &peer, NOW).await;
        if let Some(inventory) = peer.inventory() {
            self.ask(0, inventory, NOW).await;
        }
        peer
    }

    async fn join(&self, device: &DeviceId, name: &str) {
        until_answered(async || {
            by_group(self.records().join(device, &group(name), signing()).await)
        })
        .await;
    }

    async fn assign(&self, name: &str, package: &PackageRecord) {
        until_answered(async || {
            let name = group(name);
            by_group(
                self.records()
                    .assign_group(&name, package, false, signing())
                    .await,
            )
        })
        .await;
    }

    async fn unassign(&self, name: &str, package: &PackageRecord) {
        until_answered(async || {
            let name = group(name);
            match self
                .records()
                .unassign_group(&name, package.id, signing())
                .await
            {
                // The answer to an earlier attempt was lost.
                Err(ChangeError::NotAssigned { .. }) => Ok(()),
                answer => by_group(answer).map(|_| ()),
            }
        })
        .await;
    }

    /// Retries a request until a function answers, as devices do.
    async fn ask(&self, function: usize, request: Request<Bytes>, now: UnixTime) -> Bytes {
        for _ in 0..100 {
            let response = self.functions[function].handle(request.clone(), now).await;
            match response.status() {
                StatusCode::OK => return response.into_body(),
                StatusCode::SERVICE_UNAVAILABLE => {}
                status => panic!("{status}: {:?}", response.body()),
            }
        }
        panic!("no answer in 100 tries")
    }

    async fn check_in(&self, function: usize, peer: &Peer, now: UnixTime) -> PeerReply {
        let reply = self.ask(function, peer.check_in(&[], now), now).await;
        peer.read_reply(&reply)
    }

    async fn report(&self, function: usize, peer: &Peer, package: PackageId, code: &'static str) {
        let result = PeerResult {
            package,
            attempt: 1,
            code,
        };
        for request in peer.reports(&[result], NOW) {
            self.ask(function, request, NOW).await;
        }
    }

    async fn tally(&self, package: &PackageRecord) -> Tally {
        until_answered(async || self.records().tally(package.id).await).await
    }

    fn inject_faults(&self) {
        self.table.faults.set_rates(RATES);
    }

    fn expect_faults(&self) {
        let injected = self.table.faults.injected();
        assert!(
            injected.conflicts + injected.lost_answers > 0,
            "{injected:?}"
        );
    }
}

fn by_group<T>(answer: Result<T, ChangeError>) -> Result<T, RecordsError> {
    answer.map_err(|error| match error {
        ChangeError::Records(error) => error,
        error => panic!("{error:?}"),
    })
}

fn ids(reply: &PeerReply) -> Vec<PackageId> {
    reply.tasks.iter().map(|(package, _)| *package).collect()
}

async fn two_concurrent_check_ins_count_new_packages_once(service: Service) {
    let site = TwoGroups::start(service, 90).await;
    let packages = [
        site.table.package("lab-only", 5).await,
        site.table.package("of-both", 5).await,
        site.table.package("site-only", 5).await,
    ];
    let all: Vec<PackageId> = packages.iter().map(|package| package.id).collect();
    for (name, index) in [("lab", 0), ("lab", 1), ("site", 1), ("site", 2)] {
        site.assign(name, &packages[index]).await;
    }
    site.inject_faults();
    for number in 0..RACES {
        let peer = site.member(number).await;
        let (one, other) = tokio::join!(site.check_in(0, &peer, NOW), site.check_in(1, &peer, NOW));
        assert_eq!((ids(&one), ids(&other)), (all.clone(), all.clone()));
    }
    site.expect_faults();
    for package in &packages {
        let tally = site.tally(package).await;
        let count = u64::from(RACES);
        assert_eq!((tally.assigned, tally.announced), (count, count));
    }
}

async fn a_report_during_an_unassignment_counts_once(service: Service) {
    let site = TwoGroups::start(service, 91).await;
    let (own, of_group) = (
        site.table.package("own", 5).await,
        site.table.package("of-group", 5).await,
    );
    site.inject_faults();
    for number in 0..RACES {
        let peer = site.member(number).await;
        let device = peer.device();
        let records = site.records();
        until_answered(async || answered(records.assign(&device, &own, false, signing()).await))
            .await;
        site.assign("lab", &of_group).await;
        // A function that caches the group without the package announces it a minute later.
        let later = NOW.plus(60 * u64::from(number + 1));
        assert_eq!(site.check_in(0, &peer, later).await.tasks.len(), 2);
        let unassign = async || {
            until_answered(async || answered(records.unassign(&device, &own, signing()).await))
                .await;
            site.unassign("lab", &of_group).await;
            site.check_in(1, &peer, later).await;
        };
        tokio::join!(
            unassign(),
            site.report(0, &peer, own.id, "SUCCESS_0"),
            site.report(1, &peer, of_group.id, "SUCCESS_0"),
            site.report(1, &peer, own.id, "SUCCESS_0"),
        );
        let device_state = until_answered(async || records.device_state(&device).await).await;
        assert_eq!(device_state.tasks, [], "{device}");
    }
    site.expect_faults();
    for package in [&own, &of_group] {
        let truth = Tally {
            assigned: u64::from(RACES),
            succeeded: u64::from(RACES),
            ..Tally::default()
        };
        assert_eq!(site.tally(package).await, truth, "{}", package.name);
    }
}

async fn a_device_that_joins_during_an_assignment_gets_the_package(service: Service) {
    let site = TwoGroups::start(service, 92).await;
    for number in 0..RACES {
        let name = format!("package-{number}");
        site.table.faults.set_rates(FaultRates::default());
        let package = site.table.package(&name, 5).await;
        site.inject_faults();
        let peer = site.newcomer(number).await;
        let device = peer.device();
        tokio::join!(
            site.join(&device, "lab"),
            site.assign("lab", &package),
            site.check_in(0, &peer, NOW)
        );
        let later = NOW.plus(60 * u64::from(number + 1));
        let reply = site.check_in(0, &peer, later).await;
        assert!(ids(&reply).contains(&package.id), "{device}: {reply:?}");
    }
    site.expect_faults();
}

async fn leaving_a_group_during_a_check_in_withdraws_or_prevents_the_task(service: Service) {
    let site = TwoGroups::start(service, 93).await;
    let package = site.table.package("vlc", 5).await;
    site.assign("lab", &package).await;
    site.inject_faults();
    let mut announced = 0;
    for number in 0..RACES {
        let peer = site.member(number).await;
        let device = peer.device();
        let leave = async || {
            let records = site.records();
            until_answered(async || {
                answered(records.leave(&device, &group("lab"), signing()).await)
            })
            .await;
        };
        let (reply, ()) = tokio::join!(site.check_in(0, &peer, NOW), leave());
        site.check_in(1, &peer, NOW).await;
        announced += u64::from(!reply.tasks.is_empty());
        let task = site.table.task(&device, package.id);
        site.table.faults.set_rates(FaultRates::default());
        let state = task.await.map(|task| task.state);
        site.inject_faults();
        // The reply with the announcement may be lost, but the announcement is on record.
        let is_withdrawn = matches!(state, Some(TaskState::Withdrawn { .. }));
        assert!(is_withdrawn || state.is_none(), "{device}: {state:?}");
        assert!(
            is_withdrawn || reply.tasks.is_empty(),
            "{device}: {reply:?}"
        );
    }
    site.expect_faults();
    let tally = site.tally(&package).await;
    assert_eq!((tally.assigned, tally.announced), (tally.withdrawn, 0));
    assert!(tally.withdrawn >= announced, "{tally:?}");
}

async fn a_package_unassigned_while_a_group_gets_it_stays(service: Service) {
    let site = TwoGroups::start(service, 94).await;
    let package = site.table.package("vlc", 5).await;
    site.inject_faults();
    for number in 0..RACES {
        let peer = site.member(number).await;
        let device = peer.device();
        let records = site.records();
        until_answered(async || {
            answered(records.assign(&device, &package, false, signing()).await)
        })
        .await;
        // Minutes apart, because a function may cache the group without the package for a minute.
        let now = NOW.plus(120 * u64::from(number));
        let unassign =
            until_answered(async || answered(records.unassign(&device, &package, signing()).await));
        tokio::join!(
            unassign,
            site.assign("lab", &package),
            site.check_in(0, &peer, now),
            site.check_in(1, &peer, now),
        );
        let reply = site.check_in(0, &peer, now.plus(60)).await;
        assert_eq!(ids(&reply), [package.id], "{device}");
        assert_eq!(reply.cancel, [], "{device}");
        site.unassign("lab", &package).await;
    }
    site.expect_faults();
    let tally = site.tally(&package).await;
    assert_eq!(tally.assigned, u64::from(RACES));
    assert_eq!(tally.announced + tally.withdrawn, u64::from(RACES));
}

async fn a_group_that_changes_constantly_withdraws_nothing(service: Service) {
    let site = TwoGroups::start(service, 95).await;
    let package = site.table.package("vlc", 5).await;
    site.assign("lab", &package).await;
    let mut peers = Vec::new();
    for number in 0..RACES * 2 {
        peers.push(site.member(number).await);
    }
    // Every other device has checked in before the changes, and the package is announced to it.
    for peer in peers.iter().step_by(2) {
        site.check_in(0, peer, NOW).await;
    }
    let change = async || {
        let main = location().name;
        for n in 0..10 {
            let preferred = (n % 2 == 0).then_some(&main);
            site.records()
                .prefer(&group("lab"), preferred, signing())
                .await
                .unwrap();
        }
    };
    let check_ins = peers
        .iter()
        .map(|peer| site.check_in(0, peer, NOW.plus(60)));
    tokio::join!(change(), join_all(check_ins));
    let reply = join_all(
        peers
            .iter()
            .map(|peer| site.check_in(0, peer, NOW.plus(120))),
    )
    .await;
    for reply in reply {
        assert_eq!((ids(&reply), reply.cancel), (vec![package.id], vec![]));
    }
    let tally = site.tally(&package).await;
    let count = u64::from(RACES * 2);
    assert_eq!((tally.assigned, tally.announced), (count, count));
}

async fn a_package_that_moves_to_another_group_of_the_device_is_not_cancelled(service: Service) {
    let site = TwoGroups::start(service, 96).await;
    let package = site.table.package("vlc", 5).await;
    site.assign("lab", &package).await;
    let (peer, of_site) = (site.member(1).await, site.newcomer(3).await);
    site.join(&of_site.device(), "site").await;
    assert_eq!(ids(&site.check_in(0, &peer, NOW).await), [package.id]);
    // The function now caches `site` for longer than `lab`.
    site.check_in(0, &of_site, NOW.plus(60)).await;
    site.assign("site", &package).await;
    site.unassign("lab", &package).await;
    let reply = site.check_in(0, &peer, NOW.plus(61)).await;
    assert_eq!((ids(&reply), reply.cancel), (vec![package.id], vec![]));
    let tally = site.tally(&package).await;
    assert_eq!((tally.announced, tally.withdrawn), (1, 0));
}

async fn a_group_that_was_created_again_has_no_package_of_its_predecessor(service: Service) {
    let site = TwoGroups::start(service, 97).await;
    let (old, new) = (
        site.table.package("old", 5).await,
        site.table.package("new", 5).await,
    );
    site.assign("lab", &old).await;
    let (first, second) = (site.member(2).await, site.member(1).await);
    assert_eq!(ids(&site.check_in(0, &first, NOW).await), [old.id]);
    let (records, lab) = (site.records(), group("lab"));
    site.unassign("lab", &old).await;
    for peer in [&first, &second] {
        assert!(
            records
                .leave(&peer.device(), &lab, signing())
                .await
                .unwrap()
        );
    }
    assert!(records.delete_group(&lab).await.unwrap());
    records.create_group(&lab, signing()).await.unwrap();
    site.assign("lab", &new).await;
    for peer in [&first, &second] {
        site.join(&peer.device(), "lab").await;
    }
    // The same function, which still caches the deleted group.
    assert_eq!(ids(&site.check_in(0, &second, NOW).await), [new.id]);
    // On the OCS agent, the old package is in progress and withdrawn, so it stays in the reply.
    let reply = ids(&site.check_in(0, &first, NOW.plus(60)).await);
    assert_eq!(reply, [old.id, new.id]);
    let tally = site.tally(&old).await;
    assert_eq!((tally.assigned, tally.withdrawn), (1, 1));
}

async fn of_two_publishers_of_one_name_one_reserves_it(service: Service) {
    for seed in 100..100 + u64::from(RACES) {
        let table = Table::start_on(service.clone(), seed).await;
        table.faults.set_rates(RATES);
        let publish = async |priority| loop {
            match table
                .records
                .reserve(&reservation("vlc", priority), NOW)
                .await
            {
                Err(ReserveError::Records(error)) if error.is_retryable() => {}
                answer => return answer,
            }
        };
        // The content follows from the name, so both publish equal packages.
        let (one, other) = tokio::join!(publish(5), publish(5));
        let id = |reserved| match reserved {
            Ok(Reserved::New(package) | Reserved::Resumed(package)) => package.id,
            Err(error) => panic!("{error:?}"),
        };
        assert_eq!(id(one), id(other));
        table.faults.set_rates(FaultRates::default());
        assert_eq!(table.records.packages(2).await.unwrap().len(), 1);
    }
}

packcast_testing::on_each_service! {
    two_concurrent_check_ins_count_new_packages_once
    a_report_during_an_unassignment_counts_once
    a_device_that_joins_during_an_assignment_gets_the_package
    leaving_a_group_during_a_check_in_withdraws_or_prevents_the_task
    a_package_unassigned_while_a_group_gets_it_stays
    a_group_that_changes_constantly_withdraws_nothing
    a_package_that_moves_to_another_group_of_the_device_is_not_cancelled
    a_group_that_was_created_again_has_no_package_of_its_predecessor
    of_two_publishers_of_one_name_one_reserves_it
}
