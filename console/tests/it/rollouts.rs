//! Pages of rollouts.

use packcast_protocol::PackageRef;
use packcast_publisher::Progress;
use packcast_publisher::rollout::{LimitChoices, RolloutStarted, StartRequest, plan_start};
use packcast_publisher::signing::Signer;
use packcast_publisher::signing::verify_record::AlsoAccept;
use packcast_rollout::PackageRecord;
use packcast_rollout::rollout::{
    DeviceFailure, GateChange, GateNumber, GateState, GateUpdate, Weekdays,
};
use packcast_rollout::state::StateChange;
use packcast_testing::table::device;

use crate::system::System;

/// Starts a rollout to the group `lab` of 40 devices, and returns its package.
pub(crate) async fn start(system: &System) -> (PackageRecord, RolloutStarted) {
    for number in 0..40 {
        system.table.device(number).await;
    }
    let lab = System::group("lab");
    let create = StateChange::CreateGroup { group: lab.clone() };
    system.change(&[create]).await;
    let join = StateChange::Join {
        group: lab.clone(),
        devices: (0..40).map(|number| device(number).device).collect(),
    };
    system.change(&[join]).await;
    let package = system.publish("vlc", "3.0.21").await;
    let request = StartRequest {
        package: PackageRef::Id(package.id),
        groups: vec![lab],
        pilots: Vec::new(),
        waves: None,
        limits: LimitChoices::default(),
        days: "mon-sun".parse::<Weekdays>().expect("days of the week"),
        by_hand: false,
        from: None,
        draw: None,
        offset_s: 0,
        allow_downgrade: false,
        also_accept: AlsoAccept::default(),
    };
    let plan = plan_start(&system.target, &request)
        .await
        .expect("a rollout can be planned");
    let signer = Signer::with(&system.target, std::sync::Arc::clone(&system.key));
    let started = plan
        .perform(signer, &Progress::none())
        .await
        .expect("a rollout can be started");
    (package, started)
}

/// Lets a failure halt the rollout.
pub(crate) async fn halt(system: &System, package: &PackageRecord, started: &RolloutStarted) {
    let output = "unpacking vlc\nE: the disk is full";
    system.deploy(1, package, "ERR_EXIT_CODE_7", output).await;
    let evidence = DeviceFailure {
        device: device(1).device,
        code: "ERR_EXIT_CODE_7".parse().expect("a result code"),
    };
    let change = GateChange {
        conditions: Vec::new(),
        updates: vec![
            GateUpdate::State(GateState::Halted),
            GateUpdate::Set(GateNumber::Begun, 3),
            GateUpdate::Set(GateNumber::Failed, 1),
            GateUpdate::Evidence(vec![evidence]),
        ],
    };
    let changed = system.table.records.change_gate(started.rollout, &change);
    assert!(changed.await.expect("the table has the gate"));
}

#[tokio::test]
async fn a_live_page_keeps_its_content_and_tells_its_cost() {
    let system = System::start(942).await;
    let (package, started) = start(&system).await;
    let served = system.signed_in().await;
    let path = format!("/rollouts/{}", package.id);
    let page = served.browser.get(&path).await.body;
    let events = format!("data-live=\"{path}/live\"");
    assert!(page.contains(&events) && page.contains("As of"), "{page}");
    let counted = served.browser.get(&format!("{path}?devices=1")).await.body;
    let events = format!("data-live=\"{path}/live?devices=1\"");
    assert!(counted.contains(&events), "{counted}");
    halt(&system, &package, &started).await;
    system.table.meter.take();
    let read = served
        .browser
        .read_until(&format!("{path}/live"), "event: time")
        .await;
    let usage = system.table.meter.take();
    for text in [
        "event: numbers",
        "halted",
        "Wave 1",
        "Halts at",
        "E: the disk is full",
    ] {
        assert!(read.contains(text), "{text}: {read}");
    }
    let cost = format!("event: cost\ndata: {:.1}\n", usage.read_units);
    assert!(
        read.contains(&cost) && usage.read_units > 0.0,
        "{usage:?}: {read}"
    );
}

#[tokio::test]
async fn a_rollout_that_may_be_complete_is_not_called_running_without_doubt() {
    let system = System::start(943).await;
    let (package, started) = start(&system).await;
    let change = GateChange {
        conditions: Vec::new(),
        updates: vec![
            GateUpdate::Set(GateNumber::AllBegun, 40),
            GateUpdate::Set(GateNumber::AllHealthy, 40),
        ],
    };
    let changed = system.table.records.change_gate(started.rollout, &change);
    assert!(changed.await.expect("the table has the gate"));
    let served = system.signed_in().await;
    let path = format!("/rollouts/{}", package.id);
    for page in ["/", "/rollouts", &path] {
        let body = served.browser.get(page).await.body;
        assert!(
            body.contains("if every device is healthy, it is complete"),
            "{page}: {body}"
        );
    }
    let counted = served.browser.get(&format!("{path}?devices=1")).await.body;
    assert!(counted.contains("finish vlc@3.0.21"), "{counted}");
}

#[tokio::test]
async fn a_halted_rollout_names_the_button_that_continues_it() {
    let system = System::start(944).await;
    let (package, started) = start(&system).await;
    halt(&system, &package, &started).await;
    let path = format!("/rollouts/{}", package.id);
    let served = system.signed_in().await;
    let resume = format!(
        "href=\"/change/resume-rollout?package={}&amp;after-halt=on\"",
        package.id
    );
    let command = "packcast rollout resume vlc@3.0.21 --after-halt";
    for page in ["/", "/rollouts", &path] {
        let body = served.browser.get(page).await.body;
        for text in ["“Resume” continues with a new round.", &resume] {
            assert!(body.contains(text), "{page}: {text}: {body}");
        }
        assert!(!body.contains(&format!("'{command}'")), "{page}: {body}");
    }
    for page in ["/", &path] {
        let body = served.browser.get(page).await.body;
        let copied = format!("data-copy=\"{command}\"");
        assert!(body.contains(&copied), "{page}: {body}");
    }
    // Without buttons, the sentence names the command.
    let served = system.read_only().await;
    for page in ["/", "/rollouts", &path] {
        let body = served.browser.get(page).await.body;
        assert!(body.contains(&format!("'{command}'")), "{page}: {body}");
        assert!(!body.contains("“Resume”"), "{page}: {body}");
    }
}

#[tokio::test]
async fn a_halted_rollout_comes_first_with_its_failures() {
    let system = System::start(941).await;
    let (package, started) = start(&system).await;
    let served = system.signed_in().await;
    let path = format!("/rollouts/{}", package.id);
    let before = served.browser.get(&path).await;
    assert_eq!(before.status, 200, "{before:?}");
    assert!(before.body.contains("Wave 1"), "{}", before.body);
    assert!(before.units() <= 50.0, "{}", before.units());
    halt(&system, &package, &started).await;

    let now = served.browser.get("/").await;
    assert_eq!(now.status, 200, "{now:?}");
    for text in ["Rollout of vlc@3.0.21: halted", "--after-halt", &path] {
        assert!(now.body.contains(text), "{text}: {}", now.body);
    }
    let list = served.browser.get("/rollouts").await.body;
    assert!(list.contains("halted") && list.contains(&path), "{list}");
    let page = served.browser.get(&path).await;
    for text in [
        "E: the disk is full",
        "Halts at",
        "/groups/lab",
        "packcast rollout show vlc@3.0.21",
        "pc1",
    ] {
        assert!(page.body.contains(text), "{text}: {}", page.body);
    }
    assert!(page.units() <= 50.0, "{}", page.units());
    let counted = served.browser.get(&format!("{path}?devices=1")).await;
    assert!(counted.body.contains("devices</p>"), "{}", counted.body);
}
