//! Copies that announcements check, and that are missing or forged.

use packcast_protocol::{PackageId, UnixTime};
use packcast_testing::administrator::Administrator as _;
use packcast_testing::peer::Peer;
use packcast_testing::signing::signing;
use packcast_testing::table::NOW;

use crate::log::CapturedLog;
use crate::system::TestSystem;

/// Checks in each kind of device of a group after `damage`, twice. The first check-in reconciles the
/// device.
async fn check_in_after(damage: impl AsyncFnOnce(&TestSystem, PackageId)) {
    let system = TestSystem::start().await;
    let (records, lab) = (
        &system.table.records,
        &"lab".parse().expect("the table answers"),
    );
    records
        .create_group(lab, signing())
        .await
        .expect("the table answers");
    let package = system.table.package("vlc", 5).await;
    let peers = [Peer::ocs(1), Peer::packcast(2)];
    let check_in = async |peer: &Peer, now: UnixTime| {
        let reply = system.send(peer.check_in(&[], now), now).await;
        peer.read_reply(&reply.body).tasks
    };
    for peer in &peers {
        check_in(peer, NOW).await;
        records
            .join(&peer.device(), lab, signing())
            .await
            .expect("the table answers");
    }
    let assigned = records.assign_group(lab, &package, false, signing());
    assigned.await.expect("the table answers");
    damage(&system, package.id).await;
    let later = NOW.plus(61);
    for peer in &peers {
        assert_eq!(check_in(peer, later).await, []);
        system.operations();
        let log = CapturedLog::start();
        assert_eq!(check_in(peer, later.plus(1)).await, []);
        let operations = system.operations();
        let transactions = operations.iter().filter(|it| *it == "TransactWriteItems");
        assert_eq!(transactions.count(), 2, "{operations:?}");
        let lines = log.take();
        let command = "run 'packcast activate vlc@1.0', or 'packcast sign --all-records'";
        let warnings = lines.iter().filter(|line| line.contains(command));
        assert_eq!(warnings.count(), 1, "{lines:?}");
    }
}

#[tokio::test]
async fn without_the_copies_of_a_group_an_announcement_is_tried_twice() {
    check_in_after(async |system, _| {
        for shard in 0..64 {
            let pk = format!("GROUP#lab#{shard:02}");
            system.table.delete(&pk, "REVISION").await;
        }
    })
    .await;
}

#[tokio::test]
async fn with_forged_copies_of_a_package_an_announcement_is_tried_twice() {
    check_in_after(async |system, package| {
        for shard in 0..64 {
            let pk = format!("TALLY#{package}#{shard:02}");
            let mut item = system.table.item(&pk, "TALLY").await;
            item["active"]["BOOL"] = false.into();
            system.table.put(&item).await;
        }
    })
    .await;
}
