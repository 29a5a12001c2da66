//! Changes of groups, from their forms to the signed state.

use std::sync::Arc;

use packcast_protocol::{DeviceId, GroupName};
use packcast_publisher::signing::Signer;
use packcast_publisher::{Progress, group, location};
use packcast_rollout::DeviceRecord;
use packcast_testing::table::{device, location as served_location};

use crate::forms::{confirm, encoded, has, hidden, make, plan};
use crate::system::System;

const CREATE: &str = "/change/create-group";
const ADD: &str = "/change/add-devices";
const REMOVE: &str = "/change/remove-devices";

/// Returns the hosts in a group.
async fn members(system: &System, name: &str) -> Vec<String> {
    let group: GroupName = System::group(name);
    let details = group::show(&system.target, &group, true).await;
    let devices = details.expect("the group exists").devices;
    let devices = devices.expect("the devices were asked for").into_iter();
    devices.map(|it| it.host_name).collect()
}

#[tokio::test]
async fn a_group_is_created_renamed_and_deleted() {
    let system = System::start(971).await;
    system.table.device(1).await;
    let served = system.signed_in().await;
    let browser = &served.browser;
    has(&browser.get("/groups").await, &[CREATE]);
    let made = make(browser, CREATE, &[("group", "lab")]).await;
    has(
        &made.effect,
        &[
            "Creates group lab",
            "lab: created",
            "packcast group create lab",
        ],
    );
    has(&made.result, &["Group", "lab", ADD]);
    let page = browser.get("/groups/lab").await;
    has(
        &page,
        &[
            ADD,
            REMOVE,
            "/change/rename-group?group=lab",
            "/change/delete-group",
        ],
    );
    // Nobody can change the members of the group of all devices.
    let all = browser.get("/groups/all").await.body;
    assert!(!all.contains(ADD) && !all.contains("delete-group"), "{all}");

    let again = plan(browser, CREATE, &[("group", "lab")]).await;
    assert_eq!(again.status, 409);
    has(&again, &["value=\"lab\"", "Nothing was changed"]);
    let bad = plan(browser, CREATE, &[("group", "Not a name!")]).await;
    assert_eq!(bad.status, 400);
    has(
        &bad,
        &[
            "cannot read the field Name",
            "value=\"Not a name!\"",
            "aria-invalid=\"true\" autofocus aria-describedby=\"refusal group-hint\"",
        ],
    );

    make(browser, ADD, &[("group", "lab"), ("names", "pc1")]).await;
    let fields = [("group", "lab"), ("to", "office")];
    let made = make(browser, "/change/rename-group", &fields).await;
    has(&made.effect, &["Renames group lab to office", "1 device"]);
    assert_eq!(members(&system, "office").await, ["pc1"]);

    let delete = "/change/delete-group";
    let refused = plan(browser, delete, &[("group", "office")]).await;
    assert_eq!(refused.status, 409);
    has(
        &refused,
        &[
            "cannot delete group office",
            "value=\"office\"",
            "check “Also if the group has devices or packages”",
        ],
    );
    let made = make(browser, delete, &[("group", "office"), ("force", "on")]).await;
    has(&made.effect, &["Deletes group office", "--force"]);
    assert_eq!(browser.get("/groups/office").await.status, 500);
}

#[tokio::test]
async fn a_pasted_list_names_each_refused_device_and_keeps_the_others() {
    let system = System::start(972).await;
    for number in 0..4 {
        system.table.device(number).await;
    }
    // Another device with the host name of the first one.
    let id: DeviceId = "ocs:pc0-2026-05-05-05-05-05".parse().expect("an id");
    let twin = DeviceRecord {
        device: id,
        ..device(0)
    };
    let written = system.table.records.write_check_in(&twin, None).await;
    written.expect("a device can be written");
    let served = system.signed_in().await;
    let browser = &served.browser;
    make(browser, CREATE, &[("group", "lab")]).await;

    let list = "# the lab\r\npc1, PC2\r\n\"pc3\"; <b>pc9</b>\r\npc0\tkey:nobody\r\npc1\r\n";
    let effect = plan(browser, ADD, &[("group", "lab"), ("names", list)]).await;
    has(
        &effect,
        &[
            "Adds devices to group lab",
            "3 devices",
            "1 name refused: the device has never checked in, or was removed",
            "&lt;b&gt;pc9&lt;/b&gt;",
            "1 name refused: several devices have this host name",
            "1 name refused: the text is neither an id nor a host name",
            "key:nobody",
            "lab: pc1 (ocs:pc1-",
            "pc3 (ocs:pc3-2026-03-04-05-06-07) joined",
        ],
    );
    // The list comes back as it was typed.
    let mut edit = hidden(&effect);
    edit.push(("step".to_owned(), "edit".to_owned()));
    let form = browser.post(ADD, &encoded(&edit)).await;
    has(&form, &["# the lab", "PC2", "&lt;b&gt;pc9&lt;/b&gt;"]);

    let confirmed = confirm(browser, ADD, &effect).await;
    assert_eq!(confirmed.status, 303, "{confirmed:?}");
    let place = confirmed.header("location").expect("a place").to_owned();
    let result = browser.result(&place).await;
    has(
        &result,
        &[
            "3 devices added",
            "3 names refused",
            "cannot change group lab for 2 devices",
        ],
    );
    assert_eq!(members(&system, "lab").await, ["pc1", "pc2", "pc3"]);
    // The same form again makes no second change.
    let replayed = confirm(browser, ADD, &effect).await;
    assert_eq!(replayed.header("location"), Some(&*place));

    let fields = [("group", "lab"), ("names", "pc2\npc9")];
    let made = make(browser, REMOVE, &fields).await;
    has(&made.effect, &["1 name refused", "--device=pc2"]);
    has(&made.result, &["1 device removed"]);
    assert_eq!(members(&system, "lab").await, ["pc1", "pc3"]);

    let empty = plan(
        browser,
        ADD,
        &[("group", "lab"), ("names", " ,\r\n# none\r\n")],
    )
    .await;
    assert_eq!(empty.status, 400);
    has(&empty, &["cannot read the field Devices", "# none"]);
    let unknown = plan(browser, ADD, &[("group", "nowhere"), ("names", "pc1")]).await;
    assert_ne!(unknown.status, 200);
    has(&unknown, &["nowhere", ">\npc1</textarea>"]);
}

#[tokio::test]
async fn five_thousand_pasted_names_are_one_change() {
    const DEVICES: u32 = 1_000;
    let system = System::start(973).await;
    system
        .table
        .load(async |records| {
            for number in 0..DEVICES {
                let written = records.write_check_in(&device(number), None).await;
                written.expect("a device can check in");
            }
        })
        .await;
    let served = system.signed_in().await;
    let browser = &served.browser;
    make(browser, CREATE, &[("group", "lab")]).await;
    let names: Vec<String> = (0..5_000).map(|number| format!("pc{number}")).collect();
    let list = names.join("\r\n");
    let made = make(browser, ADD, &[("group", "lab"), ("names", &list)]).await;
    has(
        &made.effect,
        &[
            "1\u{202F}000 devices",
            "4\u{202F}000 names refused",
            "and 3\u{202F}500 more",
            "--from devices.txt",
        ],
    );
    has(
        &made.result,
        &["1\u{202F}000 devices added", "4\u{202F}000 names refused"],
    );
    has(&browser.get("/groups/lab").await, &["1\u{202F}000 devices"]);
}

#[tokio::test]
async fn the_settings_of_a_group_are_changed_in_their_form() {
    let system = System::start(974).await;
    let served = system.signed_in().await;
    let browser = &served.browser;
    make(browser, CREATE, &[("group", "lab")]).await;
    let path = "/change/group-pacing";
    let fields = [
        ("group", "lab"),
        ("fragment-pause", "2s"),
        ("check-in-every", "4h"),
        ("order", "strict"),
    ];
    let made = make(browser, path, &fields).await;
    has(
        &made.effect,
        &[
            "Changes the pacing of group lab",
            "--reset --fragment-pause=2s",
            "--strict",
        ],
    );
    has(
        &made.result,
        &["fragment pause 2s, check-in every 4h, strict"],
    );
    // The form begins with the present settings, and an emptied field removes one.
    let form = browser.get(&format!("{path}?group=lab")).await;
    has(&form, &["value=\"2s\"", "value=\"4h\""]);
    let fields = [
        ("group", "lab"),
        ("fragment-pause", ""),
        ("check-in-every", "4h"),
    ];
    make(browser, path, &fields).await;
    let page = browser.get("/groups/lab").await;
    has(&page, &["check-in every 4h"]);
    assert!(!page.body.contains("fragment pause"), "{}", page.body);
    let bad = plan(
        browser,
        path,
        &[("group", "lab"), ("cycle-pause", "2 hours")],
    )
    .await;
    assert_eq!(bad.status, 400);
    has(
        &bad,
        &[
            "cannot read the field Pause after each cycle",
            "value=\"2 hours\"",
        ],
    );

    let signer = Signer::with(&system.target, Arc::clone(&system.key));
    let at = served_location();
    let name = at.name.to_string();
    let added = location::add(&system.target, &at, signer, &Progress::none()).await;
    added.expect("a location can be added");
    let prefer = "/change/prefer-location";
    has(
        &browser.get(&format!("{prefer}?group=lab")).await,
        &["None", &name],
    );
    let fields = [("group", "lab"), ("location", &*name)];
    let made = make(browser, prefer, &fields).await;
    has(
        &made.effect,
        &[&format!("Lets group lab download from {name} first")],
    );
    has(&browser.get("/groups/lab").await, &[&name]);
    let form = browser.get(&format!("{prefer}?group=lab")).await;
    has(&form, &[&format!("value=\"{name}\" checked")]);
    make(browser, prefer, &[("group", "lab"), ("location", "")]).await;
    let unknown = plan(
        browser,
        prefer,
        &[("group", "lab"), ("location", "nowhere")],
    )
    .await;
    assert_ne!(unknown.status, 200);
    has(&unknown, &["nowhere", "Nothing was changed"]);
}
