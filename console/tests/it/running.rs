//! A change while it runs: its page shows the progress, and then the result.

use packcast_publisher::Target;
use packcast_rollout::state::StateChange;
use tokio::net::TcpListener;

use crate::changes::lab;
use crate::forms::has;
use crate::system::Served;

#[tokio::test]
async fn a_change_that_runs_shows_its_progress_and_then_its_result() {
    let system = lab(1085).await;
    // The activation waits for this location as long as the test holds its connection.
    let location = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("{}/d", location.local_addr().unwrap());
    let add = StateChange::AddLocation {
        location: "held".parse().unwrap(),
        url: url.parse().unwrap(),
    };
    system.change(&[add]).await;
    let ca_file = system.folder.path().join("ca.pem");
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&ca_file, key.cert.pem()).unwrap();
    let (target, _) = system.target.for_display();
    let target = Target {
        ca_file: Some(ca_file),
        ..target
    };
    let served = Served::start(target, "").await.signed_in().await;
    let browser = &served.browser;

    let fields = "package=tool%401.0";
    let effect = browser.plan("activate", fields).await;
    let confirmed = browser.confirm("activate", fields, &effect).await;
    assert_eq!(
        confirmed.header("location"),
        Some("/changes/1"),
        "{confirmed:?}"
    );
    let (held, _) = location.accept().await.unwrap();
    let page = browser.get("/changes/1").await;
    has(
        &page,
        &[
            "Activate a package: running",
            "It goes on if you leave this page",
            "data-live=\"/changes/1/live\"",
            "<noscript><meta http-equiv=\"refresh\"",
        ],
    );
    has(&browser.get("/changes").await, &["running"]);
    let events = browser
        .read_until("/changes/1/live", "event: numbers")
        .await;
    assert!(events.contains("<progress"), "{events}");
    assert!(!events.contains("event: reload"), "{events}");

    drop((held, location));
    let events = browser.read_until("/changes/1/live", "event: reload").await;
    assert!(events.contains("event: reload"), "{events}");
    let result = browser.get("/changes/1").await;
    has(
        &result,
        &[
            "Activate a package: failed",
            &url,
            "Show the effect again",
            "value=\"tool@1.0\"",
        ],
    );
    has(&browser.get("/changes").await, &["failed"]);
}
