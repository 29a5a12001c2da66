//! DOWNLOAD: reports of OCS agents are recorded.

use packcast_protocol::{DeviceId, Outcome, PackageId};
use packcast_rollout::PackageRecord;
use packcast_testing::table::NOW;

use crate::system::{TestSystem, announced, device, download, prolog, zlib};

/// Returns a device to which a package was announced.
async fn device_with_task(system: &TestSystem, package: &PackageRecord) -> DeviceId {
    let device = system.settled_device(1).await;
    system.assign(&device, package, false).await;
    assert_eq!(announced(&system.ocs(&prolog(1)).await), [package.id]);
    device
}

async fn outcome(system: &TestSystem, device: &DeviceId, package: PackageId) -> Option<Outcome> {
    let finished = system.table.records.finished(device, package).await;
    Some(finished.expect("a result can be read")?.outcome)
}

#[tokio::test]
async fn a_report_gets_an_empty_reply_and_ends_the_task() {
    let system = TestSystem::start().await;
    let package = system.table.package("vlc", 5).await;
    let device = device_with_task(&system, &package).await;
    let report = download(1, package.id, "SUCCESS_0");
    let reply = system.post(zlib(&report)).await;
    assert_eq!((reply.status.as_u16(), reply.text()), (200, ""));
    assert_eq!(system.code(&device, package.id).await.unwrap(), "SUCCESS_0");
    assert_eq!(system.tasks(&device).await, []);
    assert_eq!(system.counts(package.id).await, [0, 1, 0]);
    assert_eq!(announced(&system.ocs(&prolog(1)).await), []);
}

#[tokio::test]
async fn a_device_was_last_seen_at_its_latest_report() {
    let system = TestSystem::start().await;
    let package = system.table.package("vlc", 5).await;
    let device = device_with_task(&system, &package).await;
    let hour = |hour: u64| NOW.plus(hour * 3_600);
    let seen = async || {
        let device_state = system.table.records.device_state(&device).await;
        let record = device_state.unwrap().device.unwrap();
        system.operations();
        record.last_seen
    };
    assert_eq!(seen().await, NOW);
    let report = download(1, package.id, "SUCCESS_0");
    system.ocs_at(&report, hour(5)).await;
    let operations = system.operations();
    let updates = operations.iter().filter(|it| *it == "UpdateItem");
    assert_eq!(updates.count(), 1, "{operations:?}");
    assert_eq!(seen().await, hour(5));
    // The report takes the place of the daily mark: the next one comes a day later.
    system.ocs_at(&prolog(1), hour(28)).await;
    assert!(system.table.meter.take().write_units < f64::EPSILON);
    assert_eq!(seen().await, hour(5));
    system.ocs_at(&prolog(1), hour(29)).await;
    assert_eq!(seen().await, hour(29));
    // A repeated report changes nothing.
    system.ocs_at(&report, hour(30)).await;
    assert_eq!(seen().await, hour(29));
}

#[tokio::test]
pub(crate) async fn exit_code_3_fails_unless_it_is_a_success_code() {
    for (codes, expected, counts) in [
        (&[0][..], Outcome::Failed, [0, 0, 1]),
        (&[0, 3][..], Outcome::Succeeded, [0, 1, 0]),
    ] {
        let system = TestSystem::start().await;
        let package = system.package_with_codes("vlc", codes).await;
        let device = device_with_task(&system, &package).await;
        system.ocs(&download(1, package.id, "SUCCESS_3")).await;
        assert_eq!(
            outcome(&system, &device, package.id).await,
            Some(expected),
            "{codes:?}"
        );
        assert_eq!(system.counts(package.id).await, counts);
    }
}

#[tokio::test]
pub(crate) async fn a_repeated_report_changes_nothing() {
    let system = TestSystem::start().await;
    let package = system.table.package("vlc", 5).await;
    let device = device_with_task(&system, &package).await;
    system.ocs(&download(1, package.id, "SUCCESS_3")).await;
    for repeat in ["SUCCESS_", "SUCCESS_3", "SUCCESS_0", "ERR_TIMEOUT"] {
        let reply = system.ocs(&download(1, package.id, repeat)).await;
        assert_eq!(reply, "", "{repeat}");
        assert_eq!(system.code(&device, package.id).await.unwrap(), "SUCCESS_3");
        assert_eq!(system.counts(package.id).await, [0, 0, 1], "{repeat}");
    }
}

#[tokio::test]
async fn a_repeated_success_without_exit_code_is_a_success() {
    let system = TestSystem::start().await;
    let package = system.table.package("vlc", 5).await;
    let device = device_with_task(&system, &package).await;
    system.ocs(&download(1, package.id, "SUCCESS_")).await;
    assert_eq!(
        outcome(&system, &device, package.id).await,
        Some(Outcome::Succeeded)
    );
}

#[tokio::test]
async fn a_windows_report_of_mixed_form_is_accepted() {
    let system = TestSystem::start().await;
    let package = system.table.package("vlc", 5).await;
    let device = device_with_task(&system, &package).await;
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\" ?><REQUEST ID=\"{}\" ERR=\"EXIT_CODE_1603\"><DEVICEID>pc1-2026-03-04-05-06-07</DEVICEID><CONTENT/><QUERY>DOWNLOAD</QUERY></REQUEST>",
        package.id
    );
    system.ocs(&body).await;
    assert_eq!(
        system.code(&device, package.id).await.unwrap(),
        "EXIT_CODE_1603"
    );
}

/// Returns the operations that change the table.
fn writes(operations: &[String]) -> Vec<&String> {
    let is_write = |name: &&String| !["Query", "GetItem", "BatchGetItem"].contains(&name.as_str());
    operations.iter().filter(is_write).collect()
}

#[tokio::test]
pub(crate) async fn reports_on_unknown_packages_or_devices_write_nothing() {
    let system = TestSystem::start().await;
    let package = system.table.package("vlc", 5).await;
    let known = device_with_task(&system, &package).await;
    system.operations();
    for report in [
        download(1, "1700000000", "SUCCESS"),
        download(1, "7", "SUCCESS"),
        download(1, "../etc", "SUCCESS"),
        download(99, package.id, "SUCCESS"),
    ] {
        assert_eq!(system.ocs(&report).await, "", "{report}");
        let operations = system.operations();
        assert_eq!(writes(&operations), [""; 0], "{report}");
    }
    assert_eq!(system.tasks(&known).await.len(), 1);
    let unknown = system
        .table
        .records
        .device_state(&device(99))
        .await
        .unwrap();
    assert!(unknown.device.is_none());
}

#[tokio::test]
async fn a_report_on_an_unannounced_task_is_ignored() {
    let system = TestSystem::start().await;
    let device = system.settled_device(1).await;
    let package = system.table.package("vlc", 5).await;
    system.assign(&device, &package, false).await;
    system.ocs(&download(1, package.id, "SUCCESS")).await;
    assert_eq!(system.code(&device, package.id).await, None);
    assert_eq!(announced(&system.ocs(&prolog(1)).await), [package.id]);
}
