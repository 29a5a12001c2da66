//! Windows terms: the options at publication, their place in `info` and in the package.

use std::fs;

use packcast_protocol::PackageId;
use packcast_protocol::info::Info;
use packcast_protocol::windows::Afterwards;
use packcast_rollout::PackageRecord;
use packcast_store::ObjectKey;
use packcast_tests::ocs::OcsDevice;
use packcast_tests::world::World;

use crate::PROGRAM;

const PACKAGE: [&str; 9] = [
    "publish",
    "--name=notice",
    "--version=1",
    "--action=execute",
    "--command=setup.exe /S",
    "--platform=windows",
    "--activate",
    "--format",
    "json",
];
const TERMS: [&str; 8] = [
    "--notify=<b>Update</b> & restart",
    "--notify-countdown=0",
    "--may-abort",
    "--may-delay",
    "--notify-done=It is done.",
    "--not-before=2026-12-01T22:00",
    "--afterwards=reboot",
    "--priority=3",
];

fn info(world: &World, package: &PackageRecord) -> Info {
    let key = ObjectKey::info(&package.folder, &package.locations[0], package.id);
    let document = fs::read(world.object(&key)).expect("an active package has its info");
    Info::parse(&document).expect("the document is info")
}

#[test]
fn windows_terms_are_written_into_info_and_belong_to_the_package() {
    let world = World::start(PROGRAM);
    let published = [&PACKAGE[..], &TERMS[..]].concat();
    world.ok(&published);
    let package = world.packages().remove(0);
    let notice = info(&world, &package).dialogue.notice.unwrap();
    assert_eq!(notice.message.as_str(), "<b>Update</b> & restart");
    assert_eq!(
        (notice.countdown_s, notice.may_abort, notice.may_delay),
        (0, true, true)
    );
    assert_eq!(package.windows.afterwards, Some(Afterwards::Reboot));
    world.ok(&["verify", "notice@1"]);
    let shown = world.ok(&["show", "notice@1"]).stdout;
    assert!(shown.contains("waits until 2026/12/01 22:00"), "{shown}");

    world.ok(&published);
    assert_eq!(
        world.packages().len(),
        1,
        "the same package is not published twice"
    );
    let why = world.refused(3, &PACKAGE);
    assert!(why.contains("notice@1 exists as package"), "{why}");
}

#[test]
fn invalid_terms_are_refused_and_terms_that_some_agents_ignore_cause_warnings() {
    let world = World::start(PROGRAM);
    let refused = |option: &str, words: &str| {
        let why = world.refused(2, &[&PACKAGE[..], &[option]].concat());
        assert!(why.contains(words), "{option}: {why}");
    };
    refused("--notify=say \"yes\"", "double quote");
    refused("--notify=one\ntwo", "<br>");
    refused("--not-before=tomorrow", "2026-12-01 22:00");
    refused("--not-before=2026/02/30 10:00", "2026-12-01 22:00");
    refused("--afterwards=format", "reboot, shutdown");
    refused("--may-abort", "--notify");
    refused("--notify-countdown=5s", "--notify");
    assert_eq!(world.packages(), []);

    let elsewhere = ["--platform=linux", "--afterwards=shutdown"];
    let long = format!("--command=echo {}", "x".repeat(300));
    let ran = world.ok(&[
        &[
            "publish",
            "--name=a",
            "--version=1",
            "--action=execute",
            "--command=true",
        ],
        &elsewhere[..],
    ]
    .concat());
    assert!(
        ran.stderr.contains("warning: only OCS Windows agents"),
        "{ran:#?}"
    );
    let ran = world.ok(&[
        "publish",
        "--name=b",
        "--version=1",
        "--action=execute",
        "--platform=windows",
        &long,
    ]);
    assert!(ran.stderr.contains("room for 254 characters"), "{ran:#?}");
}

#[test]
fn a_result_is_shown_in_words() {
    let world = World::start(PROGRAM);
    let device = OcsDevice::new(&world, "pc");
    device.check_in();
    let reported = |name: &str, code: &str| -> PackageId {
        let id = world.execute(name, "true");
        world.ok(&["assign", &id.to_string(), "--device", &device.id()]);
        device.check_in();
        device.report(id, code);
        id
    };
    reported("ran", "SUCCESS_3");
    reported("refused", "ERR_ABORTED");
    let shown = world.ok(&["device", "show", &device.id()]).stdout;
    assert!(shown.contains("failed: ran, exit code 3"), "{shown}");
    let words = "failed: ERR_ABORTED, refused by the person at the device";
    assert!(shown.contains(words), "{shown}");
}
