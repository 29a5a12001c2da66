//! Two functions on one table, at the same time.

use packcast_check_in::CheckInFunction;
use packcast_testing::table::NOW;

use crate::system::{
    PATH_TOKEN, TestSystem, announced, download, ocs_request, prolog, settings, zlib,
};

const ROUNDS: u32 = 20;

async fn ask(function: &CheckInFunction, xml: &str) -> String {
    let request = ocs_request(PATH_TOKEN).body(zlib(xml).into());
    let response = function
        .handle(request.expect("a request"), NOW)
        .await
        .map(Vec::from);
    assert_eq!(response.status().as_u16(), 200);
    let (_, content) = packcast_protocol::ocs::envelope::open(response.body())
        .unwrap_or_else(|_| (packcast_protocol::ocs::Coding::Zlib, Vec::new()));
    String::from_utf8(content).expect("replies are UTF-8")
}

#[tokio::test]
async fn concurrent_announcements_of_a_task_count_once() {
    let system = TestSystem::start().await;
    let other = CheckInFunction::new(system.table.records.clone(), settings());
    let package = system.table.package("vlc", 5).await;
    let mut raced = 0;
    for number in 1..=ROUNDS {
        let device = system.settled_device(number).await;
        system.assign(&device, &package, false).await;
        system.operations();
        let prolog = prolog(number);
        let (one, two) = tokio::join!(ask(&system.function, &prolog), ask(&other, &prolog));
        assert_eq!(announced(&one), [package.id], "device {number}");
        assert_eq!(announced(&two), [package.id], "device {number}");
        let operations = system.operations();
        let announcing = operations
            .iter()
            .filter(|name| name.starts_with("Transact"));
        raced += u32::from(announcing.count() > 1);
    }
    assert_eq!(system.counts(package.id).await, [u64::from(ROUNDS), 0, 0]);
    assert!(raced > 0, "no round had two concurrent announcements");
}

#[tokio::test]
async fn concurrent_copies_of_a_report_count_once() {
    let system = TestSystem::start().await;
    let other = CheckInFunction::new(system.table.records.clone(), settings());
    let package = system.table.package("vlc", 5).await;
    for number in 1..=ROUNDS {
        let device = system.settled_device(number).await;
        system.assign(&device, &package, false).await;
        system.ocs(&prolog(number)).await;
        let report = download(number, package.id, "SUCCESS");
        tokio::join!(ask(&system.function, &report), ask(&other, &report));
    }
    assert_eq!(system.counts(package.id).await, [0, u64::from(ROUNDS), 0]);
}
