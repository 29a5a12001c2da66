//! Pages and their content, read by a person who is signed in.

use packcast_publisher::log::{LogRequest, log};
use packcast_rollout::state::{EntryOwner, StateChange};
use packcast_testing::table::device;

use crate::rollouts;
use crate::system::{Served, System, target_at};

#[tokio::test]
async fn an_empty_target_has_pages_with_the_next_step() {
    let system = System::start(921).await;
    let served = system.signed_in().await;
    for (path, text) in [
        ("/", "This target is empty"),
        ("/packages", "There are no packages yet."),
        ("/groups", "There are no other groups yet."),
        ("/devices", "There are no devices yet"),
        ("/rollouts", "No rollout is live."),
        ("/history", "There are no changes here."),
    ] {
        let page = served.browser.get(path).await;
        assert_eq!(page.status, 200, "{path}: {page:?}");
        assert!(page.body.contains(text), "{path}: {}", page.body);
        assert!(page.body.contains("The same on the command line"), "{path}");
    }
}

#[tokio::test]
async fn a_failure_is_found_from_the_first_page_to_its_reason() {
    let system = System::start(922).await;
    let package = system.table.package("tool", 5).await;
    for number in 0..3 {
        system.table.device(number).await;
    }
    let (id, lab) = (package.id, System::group("lab"));
    let devices = [0, 1].map(|number| device(number).device).into();
    system
        .change(&[StateChange::CreateGroup { group: lab.clone() }])
        .await;
    let join = StateChange::Join {
        group: lab.clone(),
        devices,
    };
    system.change(&[join]).await;
    system.assign(EntryOwner::Group(lab), &package).await;
    let output = "unpacking\nE: disk full on /dev/sda1";
    system.deploy(2, &package, "ERR_EXIT_CODE_3", output).await;
    let served = system.signed_in().await;
    let browser = &served.browser;
    let get = async |path: &str| {
        let page = browser.get(path).await;
        assert_eq!(page.status, 200, "{path}: {page:?}");
        page.body
    };
    let has = |page: &str, texts: &[&str]| {
        for text in texts {
            assert!(page.contains(text), "{text:?} is missing: {page}");
        }
    };

    let now = get("/").await;
    has(&now, &["Nobody has checked the fleet", "packcast status"]);
    let form = format!("form={}", browser.get("/").await.form_token());
    assert_eq!(
        browser.post("/check", &form).await.header("location"),
        Some("/")
    );
    let now = get("/").await;
    has(
        &now,
        &[
            "tool@1.0 failed on 1 device",
            "E: disk full on",
            "3 devices",
        ],
    );

    let packages = get("/packages").await;
    has(&packages, &["tool@1.0", "EXECUTE", "packcast list"]);
    let overview = get(&format!("/packages/{id}")).await;
    let state = "aria-label=\"1 failed, 1 to come\"";
    has(
        &overview,
        &[
            state,
            "packcast verify tool@1.0",
            "/groups/lab",
            "cdn.example.net",
        ],
    );
    let failures = get(&format!("/packages/{id}/failures")).await;
    has(&failures, &["E: disk full on", "pc2"]);
    let failed = get(&format!("/packages/{id}/devices?state=failed")).await;
    has(&failed, &["pc2", "/why/", "--state failed"]);
    has(
        &get(&format!("/packages/{id}/versions")).await,
        &["this one"],
    );

    has(&get("/groups").await, &["lab", "packcast group list"]);
    has(&get("/groups/lab").await, &["tool@1.0", "2 devices"]);
    has(&get("/groups/lab/devices").await, &["pc0", "pc1"]);
    let devices = get("/devices").await;
    has(&devices, &["pc0", "pc1", "pc2", "3 devices"]);
    let found = get("/devices?name=PC2").await;
    has(&found, &["1 device found", "no search by part of a name"]);
    assert!(!found.contains(">pc1<"), "{found}");
    let member = get("/devices?group=lab&lacks=tool%401.0").await;
    has(
        &member,
        &["2 devices found", "--group=lab --lacks=tool@1.0"],
    );

    let id_of = device(2).device.to_string();
    let one = get(&format!("/devices/{id_of}")).await;
    has(
        &one,
        &["disk full on /dev/sda1", "failed", "packcast device show"],
    );
    let why = get(&format!("/devices/{id_of}/why/{id}")).await;
    has(&why, &["Reason", "packcast explain", "tool@1.0"]);
    let history = get("/history").await;
    has(&history, &["verified", "packcast log", "lab: created"]);
}

/// Options with characters that a shell would read.
const OPTIONS: &str = "--target prod --config '/srv/a;b/my $x.toml'";

/// Checks each command of some pages: it names the target of the console.
async fn commands_name_the_target(served: &Served, paths: &[String]) -> usize {
    let mut commands = 0;
    for path in paths {
        let page = served.browser.get(path).await;
        // The history shows commands as they were run.
        let mut shown = String::new();
        for part in page.body.split("<code class=\"recorded\">") {
            let rest = part.split_once("</code>").map_or(part, |(_, rest)| rest);
            shown.push_str(if shown.is_empty() { part } else { rest });
        }
        for rest in shown.split("packcast ").skip(1) {
            let command = rest.split(['<', '"']).next().unwrap_or_default();
            let names_target = rest.starts_with(OPTIONS) || command.ends_with(OPTIONS);
            assert!(names_target, "{path}: packcast {command}");
            commands += 1;
        }
    }
    commands
}

#[tokio::test]
async fn every_command_names_the_target_of_the_console() {
    let paths =
        |paths: &[&str]| -> Vec<String> { paths.iter().map(|it| (*it).to_owned()).collect() };
    let lists = paths(&[
        "/",
        "/packages",
        "/groups",
        "/groups/all",
        "/devices",
        "/rollouts",
        "/history",
        "/nothing",
    ]);
    let empty = System::start(926).await;
    let served = empty.serve_with(OPTIONS).await.signed_in().await;
    assert!(commands_name_the_target(&served, &lists).await > 10);

    let system = System::start(927).await;
    let (package, started) = rollouts::start(&system).await;
    rollouts::halt(&system, &package, &started).await;
    let served = system.serve_with(OPTIONS).await.signed_in().await;
    let form = format!("form={}", served.browser.get("/").await.form_token());
    assert_eq!(served.browser.post("/check", &form).await.status, 303);
    let (id, device) = (package.id, device(2).device);
    let mut pages = lists;
    pages.extend(paths(&[
        "/devices?name=pc1&os=-x",
        "/groups/lab/devices",
        "/packages/vlx@3",
    ]));
    pages.extend([
        format!("/packages/{id}"),
        format!("/packages/{id}/devices?state=waiting"),
        format!("/packages/{id}/failures"),
        format!("/packages/{id}/versions"),
        format!("/rollouts/{id}"),
        format!("/devices/{device}"),
        format!("/devices/{device}/why/{id}"),
        "/packages/1795000000".to_owned(),
        "/groups/unknown".to_owned(),
        "/rollouts/1795000000".to_owned(),
    ]);
    assert!(commands_name_the_target(&served, &pages).await > 30);
    // A value is never read as an option.
    let odd = served.browser.get("/devices?os=-x").await.body;
    assert!(
        odd.contains("packcast device list --os=-x --target"),
        "{odd}"
    );
}

#[tokio::test]
async fn addresses_that_name_nothing_are_explained() {
    let system = System::start(923).await;
    let served = system.signed_in().await;
    for (path, status) in [
        ("/nothing", 404),
        ("/packages/no%20package", 404),
        ("/packages/1795000000", 500),
        ("/packages/1795000000/devices?state=x", 500),
        ("/groups/no%20group%20at%20all!", 404),
        ("/groups/lab", 500),
        ("/devices/ocs:x", 404),
        ("/packages?from=x", 400),
        ("/history?commit=x", 400),
        ("/history?event=x", 400),
    ] {
        let page = served.browser.get(path).await;
        assert_eq!(page.status, status, "{path}: {page:?}");
        assert!(page.body.contains("This page cannot be shown"), "{path}");
    }
}

#[tokio::test]
async fn an_unreachable_table_is_reported_with_the_next_step() {
    let System {
        target,
        table,
        key,
        folder,
    } = System::start(925).await;
    let system = System {
        target,
        table,
        key,
        folder,
    };
    let served = system.signed_in().await;
    let browser = served.browser.clone();
    assert_eq!(browser.get("/packages").await.status, 200);
    drop(system);
    // The retries of the client wait; nobody else does.
    tokio::time::pause();
    let page = browser.get("/packages").await;
    assert_eq!(page.status, 503, "{page:?}");
    assert!(page.body.contains("check the network"), "{}", page.body);
    assert!(page.body.contains("Nothing was changed"), "{}", page.body);
}

#[tokio::test]
async fn a_stalled_table_is_reported_with_the_next_step() {
    // The system accepts connections for this socket, and nobody answers them.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let target = target_at(&endpoint, "none", folder.path()).await;
    let served = Served::start(target, OPTIONS).await.signed_in().await;
    tokio::time::pause();
    // The other pages run on threads of their own, whose time does not pass while it is paused.
    for path in ["/packages", "/"] {
        let page = served.browser.get(path).await;
        assert!([503, 504].contains(&page.status), "{path}: {page:?}");
        for text in ["Next steps", "check the network", "Nothing was changed"] {
            assert!(page.body.contains(text), "{path}: {}", page.body);
        }
    }
}

#[tokio::test]
async fn the_pages_of_the_history_have_every_change_once() {
    let system = System::start(928).await;
    for name in ["a", "b", "c", "d"] {
        system.publish(name, "1").await;
        let group = System::group(name);
        system.change(&[StateChange::CreateGroup { group }]).await;
    }
    let request = LogRequest {
        limit: 1_000,
        before: None,
        after: None,
        is_signed_only: false,
        package: None,
        group: None,
        device: None,
        most_reads: None,
    };
    let all = log(&system.target, &request).await.unwrap().entries.len();
    let served = system.signed_in().await;
    for (first, entries) in [("/history", all), ("/history?signed=1", 4)] {
        let (mut next, mut pages, mut seen) = (Some(first.to_owned()), 0, Vec::new());
        while let Some(path) = next {
            let page = served.browser.get(&path).await;
            assert_eq!(page.status, 200, "{path}: {page:?}");
            let articles = page.body.split("<article>").skip(1);
            seen.extend(articles.map(|it| it.split("</article>").next().unwrap().to_owned()));
            let link = page
                .body
                .split_once("\" rel=\"next\"")
                .map(|(before, _)| before);
            let href = link.and_then(|link| link.rsplit_once("href=\""));
            next = href.map(|(_, href)| href.replace("&amp;", "&"));
            pages += 1;
        }
        assert_eq!(seen.len(), entries, "{first}");
        assert!(pages <= 1 + entries / 6, "{first}: {pages}");
        for name in ["a", "b", "c", "d"] {
            let created = format!("{name}: created");
            assert_eq!(
                seen.iter().filter(|it| it.contains(&created)).count(),
                1,
                "{created}"
            );
        }
    }
}

#[tokio::test]
async fn a_page_far_after_the_end_is_empty() {
    let system = System::start(929).await;
    system.table.device(1).await;
    let served = system.signed_in().await;
    let page = served
        .browser
        .get("/devices?name=pc&after=18446744073709551615")
        .await;
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.body.contains("1 device found"), "{}", page.body);
}
