//! Changes that pages make, each from its form to its result.

use packcast_protocol::PackageRef;
use packcast_publisher::{package, pause};
use packcast_rollout::PackageRecord;
use packcast_rollout::state::{EntryOwner, StateChange};
use packcast_testing::table::device;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::browser::Answer;
use crate::system::{Served, System, target_at};

/// Checks that a page has these texts.
fn has(page: &Answer, texts: &[&str]) {
    for text in texts {
        assert!(
            page.body.contains(text),
            "{text:?} is missing: {}",
            page.body
        );
    }
}

/// Starts a system with the group `lab` of two devices and the package `tool@1.0`.
pub(crate) async fn lab(seed: u64) -> System {
    let system = System::start(seed).await;
    for number in 0..3 {
        system.table.device(number).await;
    }
    let lab = System::group("lab");
    let create = StateChange::CreateGroup { group: lab };
    system.change(&[create]).await;
    join(&system, &[0, 1]).await;
    system.publish("tool", "1.0").await;
    system
}

async fn join(system: &System, numbers: &[u32]) {
    let devices = numbers.iter().map(|number| device(*number).device);
    let (group, devices) = (System::group("lab"), devices.collect());
    let join = StateChange::Join { group, devices };
    system.change(&[join]).await;
}

async fn find(system: &System) -> PackageRecord {
    let reference: PackageRef = "tool@1.0".parse().expect("the name of a package");
    let found = package::find(&system.target, &reference).await;
    found.expect("the package exists")
}

#[tokio::test]
async fn a_package_is_assigned_to_a_group_and_to_devices_and_unassigned() {
    let system = lab(951).await;
    let served = system.signed_in().await;
    let browser = &served.browser;
    let form = browser.get("/change/assign?package=tool%401.0").await;
    has(
        &form,
        &[
            "value=\"tool@1.0\"",
            "value=\"lab\"",
            "packcast assign PACKAGE",
        ],
    );
    let group = "package=tool%401.0&to=groups&group=lab";
    let (effect, result) = browser.make("assign", group).await;
    has(
        &effect,
        &[
            "Assigns tool@1.0 to group lab",
            "2 devices",
            "Your key signs these differences",
            "lab: assigned tool@1.0 (package ",
            "packcast assign tool@1.0 --group lab",
        ],
    );
    has(&result, &["The change is made", "/groups/lab"]);
    assert_eq!(system.commits().await, 3);
    let device = "package=tool%401.0&to=devices&device=pc2";
    let (effect, result) = browser.make("assign", device).await;
    has(&effect, &["1 device", "pc2", "--device pc2"]);
    has(&result, &["assigned"]);
    let (effect, result) = browser.make("assign", device).await;
    has(&effect, &["Nothing changes in the signed state"]);
    has(&result, &["already open"]);
    assert_eq!(system.commits().await, 4);
    let id = packcast_testing::table::device(2).device;
    let page = browser.get(&format!("/devices/{id}")).await;
    has(&page, &["Cancel", "/change/unassign?package="]);
    let (effect, result) = browser.make("unassign", device).await;
    has(
        &effect,
        &[
            "Unassigns tool@1.0",
            "device pc2 (ocs:pc2-",
            "): unassigned tool@1.0",
        ],
    );
    has(&result, &["dropped"]);
    let (effect, _) = browser.make("unassign", group).await;
    has(&effect, &["Unassigns tool@1.0 from group lab"]);
    assert_eq!(system.commits().await, 6);
}

#[tokio::test]
async fn a_package_is_deactivated_and_deleted() {
    let system = lab(952).await;
    let served = system.signed_in().await;
    let browser = &served.browser;
    let (effect, result) = browser.make("deactivate", "package=tool%401.0").await;
    has(
        &effect,
        &["Deactivates tool@1.0", "Nobody signs this change"],
    );
    has(&result, &["announced to no more devices"]);
    assert!(!find(&system).await.active);
    let refused = browser.plan("activate", "package=tool%401.0").await;
    has(&refused, &["has no locations", "value=\"tool@1.0\""]);
    let location = "cdn".parse().unwrap();
    let url = "127.0.0.1:1/d".parse().unwrap();
    let add = StateChange::AddLocation { location, url };
    system.change(&[add]).await;
    // The location serves nothing: the package stays inactive, and the form is kept.
    let (effect, result) = browser.make("activate", "package=tool%401.0").await;
    has(
        &effect,
        &["Activates tool@1.0 at cdn", "packcast activate tool@1.0"],
    );
    has(
        &result,
        &["cannot", "keeps what you have typed", "value=\"tool@1.0\""],
    );
    assert!(!find(&system).await.active);

    system
        .assign(
            EntryOwner::Group(System::group("lab")),
            &find(&system).await,
        )
        .await;
    let refused = browser.plan("delete", "package=tool%401.0").await;
    assert_eq!(refused.status, 409);
    has(
        &refused,
        &["is assigned to group lab", "value=\"tool@1.0\""],
    );
    let fields = "package=tool%401.0&unassign=on";
    let (effect, result) = browser.make("delete", fields).await;
    has(&effect, &["Deletes tool@1.0", "lab: unassigned tool@1.0"]);
    has(&result, &["Deleted <bdi>tool@1.0</bdi>"]);
    assert!(find(&system).await.is_deleted());
}

#[tokio::test]
async fn devices_are_blocked_unblocked_and_removed() {
    let system = lab(953).await;
    let served = system.signed_in().await;
    let browser = &served.browser;
    let fields = "device=pc0%0D%0Apc1&reason=stolen";
    let (effect, result) = browser.make("block", fields).await;
    has(
        &effect,
        &["Blocks devices", "2 devices", "--reason=stolen", "unsigned"],
    );
    has(&result, &["blocked", "pc0", "pc1"]);
    let excluded = system.target.records.excluded_devices().await.unwrap();
    assert_eq!(excluded.len(), 2);
    let id = device(0).device;
    let page = browser.get(&format!("/devices/{id}")).await;
    has(&page, &["Unblock", "stolen"]);
    let (_, result) = browser.make("unblock", "device=pc0").await;
    has(&result, &["unblocked"]);
    let (effect, result) = browser.make("remove", "device=pc0").await;
    has(
        &effect,
        &[
            "Removes devices",
            "group lab: pc0 (ocs:pc0-",
            ") left",
            "packcast device remove pc0",
        ],
    );
    has(&result, &["removed"]);
    let excluded = system.target.records.excluded_devices().await.unwrap();
    assert!(excluded[&id].exclusion.is_removed());
}

#[tokio::test]
async fn the_target_is_paused_and_resumed() {
    let system = lab(954).await;
    let served = system.signed_in().await;
    let browser = &served.browser;
    has(&browser.get("/").await, &["/change/pause"]);
    // Each of two equal changes is made: each has a ticket of its own.
    for _ in 0..2 {
        let (effect, result) = browser.make("pause", "").await;
        has(
            &effect,
            &["Pauses target", "Nobody signs", "packcast pause --all"],
        );
        has(&result, &["The target is paused."]);
        assert!(pause::current(&system.target).await.unwrap().is_some());
        has(
            &browser.get("/").await,
            &["End the pause", "/change/resume"],
        );
        let (_, result) = browser.make("resume", "").await;
        has(&result, &["The pause has ended"]);
        assert!(pause::current(&system.target).await.unwrap().is_none());
    }
    let list = browser.get("/changes").await;
    assert_eq!(list.body.matches("succeeded").count(), 4, "{}", list.body);
}

#[tokio::test]
async fn the_target_is_reverted() {
    let system = lab(955).await;
    let served = system.signed_in().await;
    let browser = &served.browser;
    let history = browser.get("/history").await;
    let (_, rest) = history.body.split_once("/change/revert?commit=").unwrap();
    let number = rest.split('"').next().unwrap();
    browser
        .make("assign", "package=tool%401.0&to=groups&group=lab")
        .await;
    let fields = format!("commit={number}");
    let (effect, result) = browser.make("revert", &fields).await;
    has(
        &effect,
        &[
            "Reverts the target",
            "lab: unassigned tool@1.0",
            "packcast revert",
        ],
    );
    has(&result, &["has the state of commit", "lab: unassigned"]);
    assert_eq!(system.commits().await, 4);
}

#[tokio::test]
async fn a_change_is_made_only_if_its_effect_is_the_one_that_was_shown() {
    let system = lab(956).await;
    let served = system.signed_in().await;
    let browser = &served.browser;
    let fields = "package=tool%401.0&to=groups&group=lab&force=on";
    let effect = browser.plan("assign", fields).await;
    has(&effect, &["2 devices"]);
    // Somebody else changes the group meanwhile.
    join(&system, &[2]).await;
    let commits = system.commits().await;
    let again = browser.confirm("assign", fields, &effect).await;
    assert_eq!(again.status, 409, "{again:?}");
    has(
        &again,
        &[
            "has changed since it was shown",
            "3 devices",
            "name=\"force\"",
        ],
    );
    // Other fields than the ones that were shown are another change, too.
    let other = "package=tool%401.0&to=all";
    let forged = browser.confirm("assign", other, &again).await;
    assert_eq!(forged.status, 409, "{forged:?}");
    assert_eq!(system.commits().await, commits);
    let made = browser.confirm("assign", fields, &again).await;
    assert_eq!(made.status, 303, "{made:?}");
    assert_eq!(system.commits().await, commits + 1);
}

#[tokio::test]
async fn a_form_that_is_sent_twice_changes_nothing_twice() {
    let system = lab(957).await;
    let served = system.signed_in().await;
    let browser = &served.browser;
    let fields = "package=tool%401.0&to=groups&group=lab&force=on";
    let effect = browser.plan("assign", fields).await;
    let commits = system.commits().await;
    let confirm = || browser.confirm("assign", fields, &effect);
    let (one, other) = tokio::join!(confirm(), confirm());
    let later = confirm().await;
    for answer in [&one, &other, &later] {
        assert_eq!(answer.status, 303, "{answer:?}");
        assert_eq!(answer.header("location"), one.header("location"));
    }
    assert_eq!(system.commits().await, commits + 1);
    // The result can be reloaded.
    for _ in 0..2 {
        has(&browser.result("/changes/1").await, &["The change is made"]);
    }
    assert_eq!(browser.get("/changes/2").await.status, 404);
}

#[tokio::test]
async fn a_change_goes_on_without_its_browser() {
    let system = lab(958).await;
    let served = system.signed_in().await;
    let browser = &served.browser;
    let fields = "package=tool%401.0&to=groups&group=lab";
    let effect = browser.plan("assign", fields).await;
    let form = effect.confirmation(fields);
    let request = format!(
        "POST /change/assign HTTP/1.1\r\nhost: {}\r\norigin: {}\r\ncookie: packcast-console={}\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
        browser.host,
        browser.origin(),
        browser.cookie.as_deref().unwrap(),
        form.len()
    );
    let mut stream = TcpStream::connect(browser.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    // The request has arrived once the change is on record.
    while browser.get("/changes/1").await.status == 404 {}
    drop(stream);
    let served = served.stop_after_changes().await;
    assert_eq!(served, packcast_console::Ended::Stopped);
    assert_eq!(system.commits().await, 3);
}

#[tokio::test]
async fn a_read_only_console_has_no_changes() {
    let system = lab(959).await;
    let served = system.read_only().await;
    let browser = &served.browser;
    let package = find(&system).await.id;
    let id = device(1).device;
    for path in [
        "/".to_owned(),
        format!("/packages/{package}"),
        format!("/devices/{id}"),
        "/history".to_owned(),
    ] {
        let page = browser.get(&path).await;
        assert_eq!(page.status, 200, "{path}: {page:?}");
        has(&page, &["read-only"]);
        assert!(!page.body.contains("/change"), "{path}: {}", page.body);
    }
    let form = format!("form={}", browser.get("/").await.form_token());
    for change in [
        "assign",
        "unassign",
        "activate",
        "deactivate",
        "delete",
        "block",
        "unblock",
        "remove",
        "pause",
        "resume",
        "revert",
    ] {
        let path = format!("/change/{change}");
        assert_eq!(browser.get(&path).await.status, 404, "{path}");
        assert_eq!(browser.post(&path, &form).await.status, 404, "{path}");
    }
    for path in ["/changes", "/changes/1"] {
        assert_eq!(browser.get(path).await.status, 404, "{path}");
    }
    assert_eq!(browser.post("/key/lock", &form).await.status, 404);
    assert!(pause::current(&system.target).await.unwrap().is_none());
}

#[tokio::test]
async fn errors_keep_what_was_typed() {
    let system = lab(960).await;
    let served = system.signed_in().await;
    let browser = &served.browser;
    for (change, fields, status, texts) in [
        (
            "assign",
            "package=vlx%403&to=devices&device=pc1&force=on",
            500,
            ["cannot find package", "value=\"vlx@3\"", "pc1"],
        ),
        (
            "assign",
            "package=tool%401.0&to=devices",
            400,
            ["names no device", "value=\"tool@1.0\"", "Next steps"],
        ),
        (
            "assign",
            "package=tool%401.0&to=devices&device=pc1%0Anobody",
            500,
            ["nobody", "pc1\nnobody", "value=\"tool@1.0\""],
        ),
        (
            "revert",
            "commit=seven&members=on",
            400,
            ["Commit", "value=\"seven\"", "checked"],
        ),
        (
            "block",
            "device=pc1&reason=%07",
            400,
            ["Reason", "expected a reason", "pc1"],
        ),
    ] {
        let page = browser.plan(change, fields).await;
        assert_eq!(page.status, status, "{change} {fields}: {page:?}");
        has(&page, &texts);
        has(&page, &["Nothing was changed"]);
    }
    // A person goes back to the form from its effect.
    let effect = browser.plan("block", "device=pc1&reason=lost").await;
    let form = format!(
        "form={}&step=edit&device=pc1&reason=lost",
        effect.form_token()
    );
    let edited = browser.post("/change/block", &form).await;
    assert_eq!(edited.status, 200, "{edited:?}");
    has(&edited, &["value=\"lost\"", "pc1"]);
}

#[tokio::test]
async fn a_form_survives_an_unreachable_cloud() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody listens on this port. A free port could become the port of another test.
    let target = target_at("http://127.0.0.1:1", "none", folder.path()).await;
    let served = Served::start(target, "").await.signed_in().await;
    let fields = "package=tool%401.0&to=devices&device=pc1&force=on";
    let page = served.browser.plan("assign", fields).await;
    assert_eq!(page.status, 503, "{page:?}");
    has(
        &page,
        &[
            "check the network",
            "Try again",
            "value=\"tool@1.0\"",
            "value=\"pc1\"",
            "keeps what you have typed",
        ],
    );
}

#[tokio::test]
async fn a_comma_in_the_id_of_a_device_names_no_other_device() {
    let system = lab(963).await;
    let id = format!("ocs:evil-2026-01-01-00-00-00,{}", device(0).device);
    let mut record = device(7);
    record.device = id.parse().unwrap();
    record.host_name = "evil,pc1".to_owned();
    let written = system.table.records.write_check_in(&record, None);
    written.await.unwrap();
    let served = system.signed_in().await;
    let page = served.browser.get(&format!("/devices/{id}")).await;
    let (_, link) = page.body.split_once("href=\"/change/block?").unwrap();
    let fields = link.split('"').next().unwrap();
    let (effect, result) = served.browser.make("block", fields).await;
    has(&effect, &["1 device", &format!("device {id}")]);
    has(&result, &["blocked"]);
    let excluded = system.target.records.excluded_devices().await.unwrap();
    assert_eq!(excluded.keys().collect::<Vec<_>>(), [&record.device]);
}

#[tokio::test]
async fn a_stop_is_confirmed_although_the_number_of_devices_changes() {
    let system = lab(964).await;
    let package = find(&system).await;
    let served = system.signed_in().await;
    let browser = &served.browser;
    let group = EntryOwner::Group(System::group("lab"));
    system.assign(group, &package).await;
    let fields = "package=tool%401.0";
    let effect = browser.plan("deactivate", fields).await;
    has(
        &effect,
        &["at most 2 devices", &format!("package {}", package.id)],
    );
    join(&system, &[2]).await;
    let made = browser.confirm("deactivate", fields, &effect).await;
    assert_eq!(made.status, 303, "{made:?}");
    assert!(!find(&system).await.active);
}

#[tokio::test]
async fn a_deactivation_needs_no_count_of_devices() {
    let system = lab(965).await;
    let tally = serde_json::json!({
        "pk": { "S": format!("TALLY#{}#00", find(&system).await.id) },
        "sk": { "S": "TALLY" },
        "assigned": { "S": "many" },
    });
    system.table.put(&tally).await;
    let served = system.signed_in().await;
    let (_, result) = served
        .browser
        .make("deactivate", "package=tool%401.0")
        .await;
    has(&result, &["already cannot be read"]);
    assert!(!find(&system).await.active);
}

#[tokio::test]
async fn a_form_that_is_sent_twice_says_nothing_wrong() {
    let system = lab(966).await;
    let package = find(&system).await;
    let served = system.signed_in().await;
    let browser = &served.browser;
    let group = EntryOwner::Group(System::group("lab"));
    system.assign(group, &package).await;
    // After the first one, the same plan is refused: the group does not have the package any more.
    let fields = "package=tool%401.0&to=groups&group=lab";
    let effect = browser.plan("unassign", fields).await;
    let confirm = || browser.confirm("unassign", fields, &effect);
    for answer in <[Answer; 2]>::from(tokio::join!(confirm(), confirm())) {
        assert_eq!(answer.header("location"), Some("/changes/1"), "{answer:?}");
    }
    has(&browser.result("/changes/1").await, &["The change is made"]);
}

#[tokio::test]
async fn a_form_that_is_too_large_is_answered_by_a_page() {
    let system = System::start(967).await;
    let served = system.signed_in().await;
    let token = served.browser.get("/changes").await.form_token();
    let form = format!("form={token}&device={}", "x".repeat(5 << 20));
    let page = served.browser.post("/change/block", &form).await;
    assert_eq!(page.status, 400, "{page:?}");
    has(&page, &["larger than 4 MiB", "Next steps"]);
}
