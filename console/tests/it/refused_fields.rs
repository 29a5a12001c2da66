//! Names of packages, devices and groups that cannot be used mark the field in which they were typed.

use packcast_rollout::DeviceRecord;
use packcast_rollout::state::StateChange;
use packcast_testing::table::device;

use crate::browser::Answer;
use crate::changes::lab;
use crate::forms::{has, plan};
use crate::system::System;

/// Returns the ids of the fields that a page marks. Each has the focus and the message.
fn marked(page: &Answer) -> Vec<String> {
    let tags = page.body.split('<');
    let tags = tags.filter(|tag| tag.contains("aria-invalid=\"true\""));
    let ids = tags.map(|tag| {
        assert!(tag.contains(" autofocus"), "{tag}");
        assert!(tag.contains("aria-describedby=\"refusal"), "{tag}");
        has(page, &["<div id=\"refusal\">"]);
        let (_, id) = tag.split_once(" id=\"").expect("a field has an id");
        id.split('"').next().unwrap_or_default().to_owned()
    });
    ids.collect()
}

#[tokio::test]
async fn a_name_that_cannot_be_used_marks_its_field() {
    let system = lab(1081).await;
    let office = System::group("office");
    let create = StateChange::CreateGroup { group: office };
    system.change(&[create]).await;
    // Another device with the host name of the first one.
    let twin = DeviceRecord {
        device: "ocs:pc0-2026-05-05-05-05-05".parse().expect("an id"),
        ..device(0)
    };
    let written = system.table.records.write_check_in(&twin, None).await;
    written.expect("a device can be written");
    let served = system.signed_in().await;
    let browser = &served.browser;
    let draft = "package=none%401";
    for (change, fields, field, message) in [
        (
            "assign",
            "package=vlx%403&to=devices&device=pc1",
            "package",
            "cannot find package",
        ),
        (
            "assign",
            "package=1795000007&to=all",
            "package",
            "cannot find package",
        ),
        (
            "assign",
            "package=tool%401.0&to=devices&device=pc1%0Anobody",
            "device",
            "no device",
        ),
        (
            "assign",
            "package=tool%401.0&to=devices&device=pc1,+pc0",
            "device",
            "several devices",
        ),
        (
            "assign",
            "package=tool%401.0&to=groups&group=lab&group=nowhere",
            "other-groups",
            "nowhere",
        ),
        (
            "unassign",
            "package=tool%401.0&to=groups&group=nowhere",
            "other-groups",
            "nowhere",
        ),
        ("activate", draft, "package", "cannot find package"),
        ("deactivate", draft, "package", "cannot find package"),
        ("delete", draft, "package", "cannot find package"),
        ("block", "device=nobody&reason=lost", "device", "nobody"),
        ("unblock", "device=nobody", "device", "nobody"),
        ("remove", "device=nobody", "device", "nobody"),
        ("revert", "commit=700", "commit", "has no commit 700"),
        ("create-group", "group=lab", "group", "lab already exists"),
        ("rename-group", "group=nowhere&to=shop", "group", "nowhere"),
        (
            "rename-group",
            "group=lab&to=office",
            "to",
            "office already exists",
        ),
        ("delete-group", "group=nowhere", "group", "nowhere"),
        ("add-devices", "group=nowhere&names=pc1", "group", "nowhere"),
        (
            "remove-devices",
            "group=all&names=pc1",
            "group",
            "every device",
        ),
        (
            "prefer-location",
            "group=nowhere&location=",
            "group",
            "nowhere",
        ),
        ("group-pacing", "group=nowhere&typed=on", "group", "nowhere"),
        (
            "pause-rollout",
            "package=tool%401.0",
            "package",
            "no live rollout",
        ),
    ] {
        let page = browser.plan(change, fields).await;
        assert!(page.status >= 400, "{change} {fields}: {page:?}");
        has(&page, &[message, "Nothing was changed"]);
        assert_eq!(marked(&page), [field], "{change} {fields}: {page:?}");
    }
}

#[tokio::test]
async fn a_group_of_a_rollout_that_does_not_exist_marks_its_field() {
    let system = lab(1082).await;
    let served = system.signed_in().await;
    for (groups, pilots, field) in [
        ("nowhere", "lab", "other-groups"),
        ("lab", "nowhere, lab", "pilots"),
    ] {
        let fields = [
            ("package", "tool@1.0"),
            ("to", "groups"),
            ("group", groups),
            ("pilots", pilots),
        ];
        let page = plan(&served.browser, "/change/start-rollout", &fields).await;
        has(&page, &["nowhere", "Nothing was changed"]);
        assert_eq!(marked(&page), [field], "{page:?}");
    }
}

#[tokio::test]
async fn an_error_about_no_field_marks_no_field() {
    let system = lab(1083).await;
    let served = system.signed_in().await;
    for (change, fields) in [
        ("assign", "package=tool%401.0&to=devices"),
        ("delete-group", "group=lab"),
        ("activate", "package=tool%401.0"),
    ] {
        let page = served.browser.plan(change, fields).await;
        assert!(page.status >= 400, "{change} {fields}: {page:?}");
        assert_eq!(marked(&page), [""; 0], "{change} {fields}: {page:?}");
    }
}

#[tokio::test]
async fn computers_in_a_group_that_does_not_exist_mark_its_field() {
    let system = lab(1084).await;
    let served = system.signed_in().await;
    let path = "/packages/tool@1.0/computers?to=groups&group=nowhere";
    let page = served.browser.get(path).await;
    has(&page, &["nowhere"]);
    assert_eq!(marked(&page), ["other-groups"], "{page:?}");
}

#[tokio::test]
async fn a_filter_of_devices_that_cannot_be_used_is_marked_and_keeps_the_others() {
    let system = lab(1088).await;
    let served = system.signed_in().await;
    for (filters, status, field, message) in [
        ("group=nowhere&os=linux", 500, "group", "nowhere"),
        ("has=none%401&os=linux", 500, "has", "cannot find package"),
        (
            "lacks=none%401&os=linux",
            500,
            "lacks",
            "cannot find package",
        ),
        (
            "package=none%401&state=failed&os=linux",
            500,
            "package",
            "cannot find package",
        ),
        (
            "package=%40&os=linux",
            400,
            "package",
            "Has been assigned package",
        ),
        ("not_seen=x&os=linux", 400, "not_seen", "Not seen for"),
        ("not_seen=0&os=linux", 400, "not_seen", "expected 1 to"),
    ] {
        let page = served.browser.get(&format!("/devices?{filters}")).await;
        assert_eq!(page.status, status, "{filters}: {page:?}");
        has(&page, &[message, "name=\"os\" value=\"linux\""]);
        assert_eq!(marked(&page), [field], "{filters}: {page:?}");
    }
    // A value that the form does not offer: nobody has typed it.
    let page = served.browser.get("/devices?platform=x&os=linux").await;
    assert_eq!(page.status, 404, "{page:?}");
    has(&page, &["is no system", "name=\"os\" value=\"linux\""]);
    assert_eq!(marked(&page), [""; 0], "{page:?}");
}
