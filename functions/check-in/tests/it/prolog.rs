//! PROLOG: packages are announced to OCS agents.

use packcast_check_in::FunctionSettings;
use packcast_protocol::UnixTime;
use packcast_protocol::ocs::envelope::{self, Coding};
use packcast_rollout::Pacing;
use packcast_testing::administrator::Administrator as _;
use packcast_testing::signing::signing;
use packcast_testing::table::{NOW, mia};

use crate::system::{
    TestSystem, UNIX_AGENT, announced, attribute, device, download, inventory, packs, prolog,
    settings,
};

const EMPTY_REPLY: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<REPLY>
  <PROLOG_FREQ>1</PROLOG_FREQ>
  <INVENTORY_ON_STARTUP>1</INVENTORY_ON_STARTUP>
  <RESPONSE>SEND</RESPONSE>
  <OPTION>
    <NAME>DOWNLOAD</NAME>
    <PARAM TYPE="CONF" ON="1" FRAG_LATENCY="1" CYCLE_LATENCY="1" PERIOD_LATENCY="1" PERIOD_LENGTH="10" TIMEOUT="30" EXECUTION_TIMEOUT="120"/>
  </OPTION>
</REPLY>
"#;

#[tokio::test]
async fn a_new_device_is_recorded_and_asked_for_its_inventory() {
    let system = TestSystem::start().await;
    assert_eq!(system.ocs(&prolog(1)).await, EMPTY_REPLY);

    let device_state = system.table.records.device_state(&device(1)).await.unwrap();
    let record = device_state.device.unwrap();
    assert_eq!(record.host_name, "pc1");
    assert_eq!(record.agent, UNIX_AGENT);
    assert_eq!((record.first_seen, record.last_seen), (NOW, NOW));
    assert_eq!(
        system.table.records.devices(200).await.unwrap(),
        [(record, None)]
    );
}

#[tokio::test]
async fn an_inventory_is_asked_for_once_a_week() {
    let system = TestSystem::start().await;
    let response = |reply: String| {
        let (_, rest) = reply.split_once("<RESPONSE>").unwrap();
        rest[..4].to_owned()
    };
    assert_eq!(response(system.ocs(&prolog(1)).await), "SEND");
    assert_eq!(response(system.ocs(&prolog(1)).await), "STOP");
    system.ocs(&inventory(1, &[])).await;
    assert_eq!(response(system.ocs(&prolog(1)).await), "STOP");
    let later = NOW.plus(8 * 24 * 3600);
    assert_eq!(response(system.ocs_at(&prolog(1), later).await), "SEND");
}

#[tokio::test]
async fn packages_are_announced_in_the_order_of_priority() {
    let system = TestSystem::start().await;
    let device = system.settled_device(1).await;
    let mut packages = Vec::new();
    for priority in [10, 5, 0, 5] {
        let name = format!("package{}", packages.len());
        let package = system.table.package(&name, priority).await;
        system.assign(&device, &package, false).await;
        packages.push(package.id);
    }
    let expected = [packages[2], packages[1], packages[3], packages[0]];
    for _ in 0..2 {
        assert_eq!(announced(&system.ocs(&prolog(1)).await), expected);
    }
}

#[tokio::test]
async fn an_announcement_has_folder_and_location() {
    let system = TestSystem::start().await;
    let device = system.settled_device(1).await;
    let package = system.table.package("vlc", 5).await;
    system.assign(&device, &package, false).await;
    let reply = system.ocs(&prolog(1)).await;
    let expected = format!(
        r#"<PARAM TYPE="PACK" ID="{}" INFO_LOC="cdn.example.net/d/segment/main-v3kzh6bt" PACK_LOC="cdn.example.net/d/segment" CERT_PATH="INSTALL_PATH" CERT_FILE="INSTALL_PATH/cacert.pem" SCHEDULE="" POSTCMD="" FORCE="0"/>"#,
        package.id
    );
    assert_eq!(packs(&reply), [expected]);
}

#[tokio::test]
async fn a_forced_task_is_announced_with_force() {
    let system = TestSystem::start().await;
    let device = system.settled_device(1).await;
    let package = system.table.package("vlc", 5).await;
    system.assign(&device, &package, true).await;
    let reply = system.ocs(&prolog(1)).await;
    assert_eq!(attribute(packs(&reply)[0], "FORCE"), Some("1"));
}

#[tokio::test]
pub(crate) async fn every_conf_value_is_sent_with_and_without_packages() {
    let system = TestSystem::start().await;
    let device = system.settled_device(1).await;
    let package = system.table.package("vlc", 0).await;
    for _ in 0..2 {
        let reply = system.ocs(&prolog(1)).await;
        let conf = reply.lines().find(|line| line.contains("TYPE=\"CONF\""));
        for name in [
            "ON",
            "FRAG_LATENCY",
            "CYCLE_LATENCY",
            "PERIOD_LATENCY",
            "PERIOD_LENGTH",
            "TIMEOUT",
            "EXECUTION_TIMEOUT",
        ] {
            let value: Option<u32> = attribute(conf.unwrap(), name).and_then(|v| v.parse().ok());
            assert!(value.is_some_and(|value| value >= 1), "{name} in {reply}");
        }
        system
            .table
            .records
            .assign(&device, &package, false, signing())
            .await
            .unwrap();
    }
}

#[tokio::test]
pub(crate) async fn an_announced_package_stays_listed_until_its_report() {
    let system = TestSystem::start().await;
    let device = system.settled_device(1).await;
    let package = system.table.package("vlc", 5).await;
    system.assign(&device, &package, false).await;
    assert_eq!(announced(&system.ocs(&prolog(1)).await), [package.id]);

    system
        .table
        .records
        .deactivate(package.id, &mia())
        .await
        .unwrap();
    for later in [1, 61, 100_000] {
        let reply = system.ocs_at(&prolog(1), NOW.plus(later)).await;
        assert_eq!(announced(&reply), [package.id], "after {later} s");
    }
    system.ocs(&download(1, package.id, "SUCCESS")).await;
    assert_eq!(announced(&system.ocs(&prolog(1)).await), []);
}

#[tokio::test]
async fn a_warm_function_does_not_announce_a_deactivated_package() {
    let system = TestSystem::start().await;
    let package = system.table.package("vlc", 5).await;
    for number in [1, 2] {
        let device = system.settled_device(number).await;
        system.assign(&device, &package, false).await;
    }
    assert_eq!(announced(&system.ocs(&prolog(1)).await), [package.id]);
    system
        .table
        .records
        .deactivate(package.id, &mia())
        .await
        .unwrap();
    let reply = system.ocs_at(&prolog(2), NOW.plus(1)).await;
    assert_eq!(announced(&reply), []);
    assert_eq!(system.counts(package.id).await, [1, 0, 0]);
}

#[tokio::test]
async fn strict_pacing_announces_one_priority_after_the_other() {
    let strict = FunctionSettings {
        pace: Pacing {
            strict: true,
            ..Pacing::default()
        },
        ..settings()
    };
    let system = TestSystem::start_with(strict).await;
    let device = system.settled_device(1).await;
    let late = system.table.package("late", 10).await;
    let soon = system.table.package("soon", 1).await;
    for package in [&late, &soon] {
        system.assign(&device, package, false).await;
    }
    assert_eq!(announced(&system.ocs(&prolog(1)).await), [soon.id]);
    system.ocs(&download(1, soon.id, "ERR_UNZIP")).await;
    assert_eq!(announced(&system.ocs(&prolog(1)).await), [late.id]);
}

#[tokio::test]
async fn the_reply_has_the_coding_of_the_request() {
    let system = TestSystem::start().await;
    system.settled_device(1).await;
    for coding in [Coding::Zlib, Coding::Gzip, Coding::Plain] {
        let body = envelope::seal(coding, prolog(1).as_bytes());
        let reply = system.post(body).await;
        let (replied, content) = envelope::open(&reply.body).unwrap();
        assert_eq!((reply.status.as_u16(), replied), (200, coding));
        assert_eq!(content, EMPTY_REPLY.replace("SEND", "STOP").as_bytes());
    }
}

/// Protocol reference §11.3.
const UNTERMINATED: &str = "789cb2b1afc8cd51284b2d2acecccfb35532d433505248cd4bce4fc9cc4bb7550a0d71d3b55052b0b7e3b209720d0c750d0eb1e35200021b17d7304f67574f17bb0067435d230323335d03435d03235d03635d03135d03531b7db80a8806677fbf1057bf10057d281f685850a45d4090bf8fbfbb8d3e84c765a30fb705000000ffff";

#[tokio::test]
async fn an_unfinished_stream_gets_a_complete_reply() {
    let system = TestSystem::start().await;
    let body = data_encoding::HEXLOWER.decode(UNTERMINATED.as_bytes());
    let reply = system.post(body.unwrap()).await;
    assert_eq!(reply.status.as_u16(), 200);
    assert_eq!(reply.inflated(), EMPTY_REPLY);
    let id = "ocs:PC1-2026-01-02-03-04-05".parse().unwrap();
    let device_state = system.table.records.device_state(&id).await.unwrap();
    assert!(device_state.device.is_some());
}

#[tokio::test]
async fn the_last_check_in_is_recorded_once_a_day() {
    let system = TestSystem::start().await;
    let device = system.settled_device(1).await;
    let mut seen = Vec::new();
    for hour in [1, 23, 24, 25] {
        system.ocs_at(&prolog(1), NOW.plus(hour * 3600)).await;
        let device_state = system.table.records.device_state(&device).await.unwrap();
        seen.push(device_state.device.unwrap().last_seen);
    }
    let day: UnixTime = NOW.plus(24 * 3600);
    assert_eq!(seen, [NOW, NOW, day, day]);
}
