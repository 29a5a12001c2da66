//! Changes of rollouts, and the way from an active package to its computers.

use packcast_protocol::PackageRef;
use packcast_publisher::Progress;
use packcast_publisher::assign::{AssignRequest, plan as plan_assignment};
use packcast_publisher::assignees::AssigneeNames;
use packcast_publisher::rollout::{self, RolloutReader};
use packcast_publisher::signing::verify_record::AlsoAccept;
use packcast_rollout::PackageRecord;
use packcast_rollout::state::StateChange;
use packcast_testing::table::device;

use crate::forms::{confirm, encoded, filled, has, hidden, make, plan};
use crate::rollouts;
use crate::system::System;

const START: &str = "/change/start-rollout";

/// Creates the group `lab` of some devices.
async fn lab(system: &System, devices: u32) {
    for number in 0..devices {
        system.table.device(number).await;
    }
    let group = System::group("lab");
    let create = StateChange::CreateGroup {
        group: group.clone(),
    };
    system.change(&[create]).await;
    let devices = (0..devices).map(|number| device(number).device).collect();
    system.change(&[StateChange::Join { group, devices }]).await;
}

async fn status(system: &System, package: &PackageRecord) -> &'static str {
    let reference = PackageRef::Id(package.id);
    let mut reader = RolloutReader::open_brief(&system.target, &reference)
        .await
        .expect("the rollout is live");
    let details = reader.read().await.expect("the rollout can be read");
    details.summary.status
}

#[tokio::test]
async fn a_package_reaches_its_computers_in_waves_from_its_page() {
    let system = System::start(981).await;
    lab(&system, 40).await;
    let package = system.publish("vlc", "3.0.21").await;
    let served = system.signed_in().await;
    let (browser, id) = (&served.browser, package.id.to_string());
    let computers = format!("/packages/{id}/computers");
    let page = browser.get(&format!("/packages/{id}")).await;
    has(
        &page,
        &[
            "Next: choose the computers",
            "No computer has it yet.",
            &computers,
        ],
    );

    let form = browser.get(&computers).await;
    has(
        &form,
        &["Which computers get the package?", "value=\"lab\""],
    );
    let mut fields = hidden(&form);
    fields.extend([("to", "groups"), ("group", "lab")].map(|(a, b)| (a.to_owned(), b.to_owned())));
    let chosen = browser.post(&computers, &encoded(&fields)).await;
    assert_eq!(chosen.status, 200);
    has(
        &chosen,
        &[
            "40 computers",
            "pc1",
            "and 30 further devices",
            "All at once",
            "In waves",
            START,
        ],
    );

    let fields = [
        ("package", &*id),
        ("to", "groups"),
        ("group", "lab"),
        ("waves", "10,50,100"),
        ("days", "mon-sun"),
        ("wait", "2d"),
    ];
    let effect = plan(browser, START, &fields).await;
    has(
        &effect,
        &[
            "Starts a rollout of vlc@3.0.21 to group lab",
            "Calendar",
            "Wave 3",
            "up to 100 %",
            "Reached",
            "Promises",
            "begins on at most 2 machines",
            "opens 2 days after a wave",
            "Your key signs these differences",
            "lab: assigned vlc@3.0.21",
            "--waves=10,50,100 --wait=2d --days=mon,tue,wed,thu,fri,sat,sun",
        ],
    );
    let begun = confirm(browser, START, &effect).await;
    assert_eq!(begun.status, 303, "{begun:?}");
    let place = begun.header("location").expect("a place").to_owned();
    has(
        &browser.result(&place).await,
        &["has started", "Wave 1 opens"],
    );
    let page = browser.get(&format!("/packages/{id}")).await;
    has(&page, &["Show its live rollout"]);
    // The same form again starts no second rollout.
    let replayed = confirm(browser, START, &effect).await;
    assert_eq!(replayed.header("location"), Some(&*place));
    let live = rollout::list(&system.target)
        .await
        .expect("rollouts can be listed");
    assert_eq!((live.len(), live[0].waves, live[0].devices), (1, 3, 40));
    let page = browser.get(&format!("/rollouts/{id}?devices=1")).await;
    has(
        &page,
        &[
            "Announced",
            "Waiting",
            "/change/pause-rollout",
            "/change/end-rollout",
        ],
    );
    // A second rollout of the package is refused, and the form keeps what was typed.
    let second = plan(browser, START, &fields).await;
    assert_eq!(second.status, 409);
    has(&second, &["has a live rollout", "value=\"10,50,100\""]);
}

#[tokio::test]
async fn a_form_suggests_the_groups_that_have_no_box() {
    let system = System::start(1028).await;
    let groups = (0..60).map(|number| StateChange::CreateGroup {
        group: System::group(&format!("group-{number:02}")),
    });
    system.change(&groups.collect::<Vec<_>>()).await;
    let package = system.publish("vlc", "3.0.21").await;
    let served = system.signed_in().await;
    let browser = &served.browser;
    let form = browser.get(START).await;
    has(
        &form,
        &[
            "type=\"checkbox\" value=\"group-00\"",
            "<option value=\"group-59\">",
        ],
    );
    let id = package.id.to_string();
    let fields = [
        ("package", &*id),
        ("to", "groups"),
        ("group", "group-00"),
        ("group", "group-59"),
        ("wait", "soon"),
    ];
    let refused = plan(browser, START, &fields).await;
    has(
        &refused,
        &[
            "value=\"group-00\" checked",
            "\ngroup-59</textarea>",
            "name=\"wait\" value=\"soon\" autocomplete=\"off\" spellcheck=\"false\" \
             aria-invalid=\"true\" autofocus aria-describedby=\"refusal wait-hint\"",
            "id=\"refusal\"",
        ],
    );
}

#[tokio::test]
async fn a_rollout_starts_only_as_its_plan_was_shown() {
    let system = System::start(1026).await;
    lab(&system, 4).await;
    let package = system.publish("vlc", "3.0.21").await;
    let served = system.signed_in().await;
    let (browser, id) = (&served.browser, package.id.to_string());
    let fields = [("package", &*id), ("to", "groups"), ("group", "lab")];
    let effect = plan(browser, START, &fields).await;
    has(&effect, &["4 devices"]);
    // A device joins between the plan and its confirmation.
    system.table.device(4).await;
    let join = StateChange::Join {
        group: System::group("lab"),
        devices: [device(4).device].into(),
    };
    system.change(&[join]).await;
    let changed = confirm(browser, START, &effect).await;
    assert_eq!(changed.status, 409);
    has(&changed, &["The effect has changed", "5 devices", "Wave 2"]);
    assert!(
        rollout::list(&system.target)
            .await
            .expect("a list")
            .is_empty()
    );
    let mut again = hidden(&changed);
    again.push(("step".to_owned(), "perform".to_owned()));
    let begun = browser.post(START, &encoded(&again)).await;
    assert_eq!(begun.status, 303, "{begun:?}");
    assert_eq!(
        rollout::list(&system.target).await.expect("a list").len(),
        1
    );
}

#[tokio::test]
async fn a_rollout_form_names_the_field_that_it_cannot_read() {
    let system = System::start(982).await;
    lab(&system, 2).await;
    let package = system.publish("vlc", "3.0.21").await;
    let served = system.signed_in().await;
    let (browser, id) = (&served.browser, package.id.to_string());
    for (field, value, text) in [
        ("waves", "50,10", "expected increasing percentages"),
        ("wait", "soon", "expected a number with its unit"),
        ("days", "someday", "names no days"),
        ("begin", "yesterday", "expected a date and time"),
        ("begin", "2020-01-01T10:00", "the time has passed"),
        ("halt-at", "0", "expected a limit of failures"),
        ("tolerate", "300", "Further failures tolerated"),
        ("group", "nowhere", "nowhere"),
    ] {
        let fields = [
            ("package", &*id),
            ("to", "groups"),
            ("group", "lab"),
            (field, value),
        ];
        let refused = plan(browser, START, &fields).await;
        assert!(refused.status >= 400, "{field}={value}: {refused:?}");
        has(&refused, &[text, value, "Nothing was changed"]);
    }
    let nobody = plan(browser, START, &[("package", &id), ("to", "groups")]).await;
    has(&nobody, &["it names no group"]);
    // A form that is too old gets a new time.
    let mut old = filled(
        browser,
        START,
        &[("package", &id), ("to", "all"), ("step", "plan")],
    )
    .await;
    for field in &mut old {
        if field.0 == "planned" {
            "1795000000".clone_into(&mut field.1);
        }
    }
    let refused = browser.post(START, &encoded(&old)).await;
    has(&refused, &["the time has passed"]);
    assert!(
        !refused.body.contains("value=\"1795000000\""),
        "{}",
        refused.body
    );
    assert!(
        rollout::list(&system.target)
            .await
            .expect("a list")
            .is_empty()
    );
}

#[tokio::test]
async fn a_halted_rollout_is_resumed_paused_promoted_and_ended() {
    let system = System::start(983).await;
    let (package, started) = rollouts::start(&system).await;
    rollouts::halt(&system, &package, &started).await;
    let served = system.signed_in().await;
    let (browser, id) = (&served.browser, package.id.to_string());
    let page = browser.get(&format!("/rollouts/{id}")).await;
    let resume = format!("/change/resume-rollout?package={id}&amp;after-halt=on");
    has(&page, &["halted", "E: the disk is full", &resume]);

    let refused = plan(browser, "/change/resume-rollout", &[("package", &id)]).await;
    assert_eq!(refused.status, 409);
    has(
        &refused,
        &["failures have halted it", "rollout show vlc@3.0.21"],
    );
    assert_eq!(status(&system, &package).await, "halted");
    let fields = [("package", &*id), ("after-halt", "on")];
    let made = make(browser, "/change/resume-rollout", &fields).await;
    has(
        &made.effect,
        &[
            "Resumes the rollout",
            "40 devices",
            "Nobody signs this change",
            "--after-halt",
        ],
    );
    has(&made.result, &["continues"]);
    assert_ne!(status(&system, &package).await, "halted");

    let made = make(browser, "/change/pause-rollout", &[("package", &id)]).await;
    has(&made.result, &["is paused", "no Packcast agent begins"]);
    assert_eq!(status(&system, &package).await, "paused");
    let refused = plan(browser, "/change/promote-rollout", &[("package", &id)]).await;
    assert_eq!(refused.status, 409);
    make(browser, "/change/resume-rollout", &[("package", &id)]).await;
    let made = make(browser, "/change/promote-rollout", &[("package", &id)]).await;
    has(
        &made.effect,
        &["Opens wave 2", "opens at the time of the signature"],
    );
    has(&made.result, &["Wave 2", "is open"]);

    let made = make(browser, "/change/end-rollout", &[("package", &id)]).await;
    has(
        &made.effect,
        &["Ends the rollout of vlc@3.0.21", "rollout end"],
    );
    has(&made.result, &["has ended", "Package vlc@3.0.21"]);
    assert!(
        rollout::list(&system.target)
            .await
            .expect("a list")
            .is_empty()
    );
}

#[tokio::test]
async fn a_finished_rollout_is_a_plain_assignment() {
    let system = System::start(984).await;
    let (package, _) = rollouts::start(&system).await;
    let served = system.signed_in().await;
    let id = package.id.to_string();
    let made = make(
        &served.browser,
        "/change/finish-rollout",
        &[("package", &id)],
    )
    .await;
    has(&made.effect, &["get it without waves", "40 devices"]);
    has(&made.result, &["plain assignment"]);
    assert!(
        rollout::list(&system.target)
            .await
            .expect("a list")
            .is_empty()
    );
    let page = served.browser.get("/groups/lab").await;
    has(&page, &["vlc@3.0.21"]);
}

#[tokio::test]
async fn chosen_computers_are_listed_before_they_get_the_package() {
    let system = System::start(985).await;
    lab(&system, 3).await;
    let package = system.publish("vlc", "3.0.21").await;
    let served = system.signed_in().await;
    let (browser, id) = (&served.browser, package.id.to_string());
    let computers = format!("/packages/{id}/computers");
    let choose = async |fields: &[(&str, &str)]| {
        let mut all = hidden(&browser.get(&computers).await);
        all.extend(
            fields
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        browser.post(&computers, &encoded(&all)).await
    };
    let devices = choose(&[("to", "devices"), ("device", "pc1\r\nPC2\r\n<pc9>")]).await;
    has(
        &devices,
        &[
            "2 computers",
            "1 name refused",
            "&lt;pc9&gt;",
            "All at once",
            "Waves are for groups",
        ],
    );
    let all = choose(&[("to", "all")]).await;
    has(&all, &["3 computers", "In waves"]);
    let nobody = choose(&[("to", "groups")]).await;
    has(&nobody, &["names no device and no group"]);
    let without_token = browser.post(&computers, "to=all").await;
    assert_eq!(without_token.status, 403);

    // The way of all at once leads to the effect of an assignment.
    let (_, way) = devices
        .body
        .split_once("<form class=\"way\"")
        .expect("a way");
    let (way, _) = way.split_once("</form>").expect("a form ends");
    assert!(
        way.contains("/change/assign") && way.contains(&device(1).device.to_string()),
        "{way}"
    );
    let fields = [("package", &*id), ("to", "devices"), ("device", "pc1\npc2")];
    make(browser, "/change/assign", &fields).await;
    let request = AssignRequest {
        package: PackageRef::Id(package.id),
        to: AssigneeNames::Devices(vec!["pc1".parse().expect("a name")]),
        force: false,
        allow_downgrade: false,
        also_accept: AlsoAccept::default(),
    };
    let progress = Progress::none();
    let again = plan_assignment(&system.target, &request, &progress).await;
    assert!(again.expect("a plan").state_changes().is_empty());
    let page = browser.get(&format!("/packages/{id}")).await;
    has(&page, &["Choose further computers"]);
}

#[tokio::test]
async fn a_read_only_console_changes_no_group_and_no_rollout() {
    let system = System::start(1027).await;
    let (package, _) = rollouts::start(&system).await;
    let served = system.read_only().await;
    let (browser, id) = (&served.browser, package.id);
    let form = format!("form={}", browser.get("/").await.form_token());
    for path in [
        "/groups".to_owned(),
        "/groups/lab".to_owned(),
        "/groups/lab/devices".to_owned(),
        "/rollouts".to_owned(),
        format!("/rollouts/{id}"),
        format!("/packages/{id}"),
    ] {
        let page = browser.get(&path).await;
        assert_eq!(page.status, 200, "{path}: {page:?}");
        assert!(!page.body.contains("/change"), "{path}: {}", page.body);
        assert!(!page.body.contains("/computers"), "{path}: {}", page.body);
    }
    let changes = [
        "create-group",
        "rename-group",
        "delete-group",
        "add-devices",
        "remove-devices",
        "prefer-location",
        "group-pacing",
        "start-rollout",
        "pause-rollout",
        "resume-rollout",
        "promote-rollout",
        "end-rollout",
        "finish-rollout",
    ];
    let mut paths: Vec<String> = changes.map(|change| format!("/change/{change}")).into();
    paths.push(format!("/packages/{id}/computers"));
    for path in paths {
        assert_eq!(browser.get(&path).await.status, 404, "{path}");
        assert_eq!(browser.post(&path, &form).await.status, 404, "{path}");
    }
}
