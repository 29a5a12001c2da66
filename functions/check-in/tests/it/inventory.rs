//! INVENTORY: an OCS agent reports facts and its package history.

use packcast_testing::table::NOW;

use crate::system::{TestSystem, announced, attribute, download, inventory, packs, prolog};

const REPLY: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<REPLY>\n  <RESPONSE>NO_ACCOUNT_UPDATE</RESPONSE>\n</REPLY>\n";
const IN_HISTORY: &str = "SUCCESS_ALREADY_IN_HISTORY";

#[tokio::test]
pub(crate) async fn an_inventory_sets_host_name_and_system() {
    let system = TestSystem::start().await;
    assert_eq!(system.ocs(&inventory(1, &[])).await, REPLY);
    let device = crate::system::device(1);
    let device_state = system.table.records.device_state(&device).await.unwrap();
    let record = device_state.device.unwrap();
    assert_eq!(
        (record.host_name.as_str(), record.os.as_str()),
        ("pc1", "Debian GNU/Linux 12")
    );
    assert_eq!(record.inventory_received, Some(NOW));
}

#[tokio::test]
async fn a_held_task_ends_if_its_package_is_in_the_history() {
    let system = TestSystem::start().await;
    let package = system.table.package("vlc", 5).await;
    let other = system.settled_device(2).await;
    system.assign(&other, &package, false).await;
    system.ocs(&prolog(2)).await;
    let device = system.settled_device(1).await;
    system.assign(&device, &package, false).await;
    system.ocs(&inventory(1, &[package.id])).await;
    assert_eq!(system.code(&device, package.id).await.unwrap(), IN_HISTORY);
    assert_eq!(system.counts(package.id).await, [1, 1, 0]);
    assert_eq!(announced(&system.ocs(&prolog(1)).await), []);
}

#[tokio::test]
pub(crate) async fn an_announced_task_ends_if_its_package_is_in_the_history() {
    let system = TestSystem::start().await;
    let device = system.settled_device(1).await;
    let (had, new) = (
        system.table.package("had", 5).await,
        system.table.package("new", 5).await,
    );
    for package in [&had, &new] {
        system.assign(&device, package, false).await;
    }
    assert_eq!(announced(&system.ocs(&prolog(1)).await), [had.id, new.id]);
    system.ocs(&inventory(1, &[had.id])).await;
    assert_eq!(system.code(&device, had.id).await.unwrap(), IN_HISTORY);
    assert_eq!(system.code(&device, new.id).await, None);
    assert_eq!(system.counts(had.id).await, [0, 1, 0]);
    assert_eq!(announced(&system.ocs(&prolog(1)).await), [new.id]);
}

/// A device's history also has the packages whose program failed.
#[tokio::test]
pub(crate) async fn a_next_attempt_is_announced_with_any_history() {
    let system = TestSystem::start().await;
    let device = system.settled_device(1).await;
    let package = system.table.package("vlc", 5).await;
    system.assign(&device, &package, false).await;
    system.ocs(&prolog(1)).await;
    system.ocs(&download(1, package.id, "SUCCESS_3")).await;
    system.assign(&device, &package, false).await;
    system.ocs(&inventory(1, &[package.id])).await;
    let reply = system.ocs(&prolog(1)).await;
    assert_eq!(announced(&reply), [package.id]);
    assert_eq!(attribute(packs(&reply)[0], "FORCE"), Some("1"));
}

#[tokio::test]
async fn forced_tasks_stay_open() {
    let system = TestSystem::start().await;
    let device = system.settled_device(1).await;
    let package = system.table.package("vlc", 5).await;
    system.assign(&device, &package, true).await;
    for _ in 0..2 {
        system.ocs(&inventory(1, &[package.id])).await;
        assert_eq!(system.code(&device, package.id).await, None);
        assert_eq!(announced(&system.ocs(&prolog(1)).await), [package.id]);
    }
}

#[tokio::test]
async fn a_history_is_written_only_if_it_changes() {
    let system = TestSystem::start().await;
    let device = system.settled_device(1).await;
    let ids = ["1700000001", "1700000002"].map(|id| id.parse().unwrap());
    let mut puts = Vec::new();
    for history in [&ids[..1], &ids[..1], &ids[..], &ids[..]] {
        system.ocs(&inventory(1, history)).await;
        let operations = system.operations();
        puts.push(operations.iter().filter(|name| *name == "PutItem").count());
        let kept = system.table.records.history(&device).await.unwrap();
        assert_eq!(kept, history);
    }
    assert_eq!(puts, [1, 0, 1, 0]);
}

#[tokio::test]
async fn other_queries_get_an_empty_reply() {
    let system = TestSystem::start().await;
    for query in ["NOTIFY", "SNMP", "SYSTEM", "WHATEVER"] {
        let body = format!(
            "<REQUEST><DEVICEID>pc1-2026-03-04-05-06-07</DEVICEID><QUERY>{query}</QUERY></REQUEST>"
        );
        assert_eq!(system.ocs(&body).await, "", "{query}");
        assert_eq!(system.operations(), [""; 0], "{query}");
    }
}
