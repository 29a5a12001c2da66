//! Requests of agents: recorded from a Unix agent, composed for Windows and Android agents.

use std::collections::BTreeSet;

use packcast_protocol::info::OcsInfo;
use packcast_protocol::ocs::{Coding, Inventory, OcsRequest, Query, envelope};
use packcast_protocol::{Location, PackageId};

use crate::golden;

fn id(text: &str) -> PackageId {
    text.parse().expect("tables hold package ids")
}

fn report(package: &str, code: &str) -> Query {
    Query::Download {
        package: Some(id(package)),
        code: code.parse().expect("tables hold result codes"),
    }
}

fn request_in(name: &str, body: &[u8]) -> (Coding, Vec<u8>, OcsRequest) {
    let (coding, xml) = envelope::open(body).unwrap_or_else(|error| panic!("{name}: {error}"));
    let request = OcsRequest::parse(&xml).unwrap_or_else(|error| panic!("{name}: {error}"));
    (coding, xml, request)
}

const VM: &str = "vm-2026-11-22-06-10-49";
const VM_LATER: &str = "vm-2026-11-22-06-30-52";

/// Every recorded POST: its exchange, its device and its query.
fn posts() -> Vec<(&'static str, &'static str, Query)> {
    let inventory = Inventory {
        history: vec![id("1795328508")],
        host_name: Some("vm".to_owned()),
        os_name: Some("Debian GNU/Linux 12".to_owned()),
    };
    vec![
        ("01-prolog-new-device-no-packages", VM, Query::Prolog),
        ("03-prolog-three-packages", VM, Query::Prolog),
        (
            "07-report-1795327754-SUCCESS",
            VM,
            report("1795327754", "SUCCESS"),
        ),
        (
            "07-report-1795327755-SUCCESS",
            VM,
            report("1795327755", "SUCCESS"),
        ),
        (
            "07-report-1795327756-SUCCESS_0",
            VM,
            report("1795327756", "SUCCESS_0"),
        ),
        (
            "08-report-ERR_BAD_DIGEST-bad-digest",
            VM,
            report("1795328141", "ERR_BAD_DIGEST"),
        ),
        (
            "08-report-ERR_BAD_ID-bad-id",
            VM,
            report("1795328200", "ERR_BAD_ID"),
        ),
        (
            "08-report-ERR_BUILD-corrupt-archive",
            VM,
            report("1795328378", "ERR_BUILD"),
        ),
        (
            "08-report-ERR_DOWNLOAD_INFO-missing-info",
            VM,
            report("1795328195", "ERR_DOWNLOAD_INFO"),
        ),
        (
            "08-report-ERR_EXECUTE-execute-fail",
            VM,
            report("1795328361", "ERR_EXECUTE"),
        ),
        (
            "08-report-ERR_TIMEOUT-timeout",
            VM,
            report("1795328577", "ERR_TIMEOUT"),
        ),
        (
            "08-report-SUCCESS_255-launch-exit256",
            VM,
            report("1795328334", "SUCCESS_255"),
        ),
        (
            "08-report-SUCCESS_3-launch-exit3",
            VM,
            report("1795328308", "SUCCESS_3"),
        ),
        (
            "08-report-SUCCESS_7-launch-subdir",
            VM,
            report("1795328352", "SUCCESS_7"),
        ),
        (
            "08-report-SUCCESS_ALREADY_SETUP-already-done",
            VM,
            report("1795328508", "SUCCESS_ALREADY_SETUP"),
        ),
        (
            "08-report-SUCCESS_underscore-retry-after-failed-report",
            VM_LATER,
            report("1000000001", "SUCCESS_"),
        ),
        ("09-inventory-trimmed", VM, Query::Inventory(inventory)),
    ]
}

/// Every recorded GET: its exchange, the announced location, and the path below it.
const GETS: &[(&str, &str, &str)] = &[
    (
        "05-get-info-EXECUTE-1795327755",
        "127.0.0.1:8443/download",
        "1795327755/info",
    ),
    (
        "05-get-info-LAUNCH-1795327756",
        "127.0.0.1:8443/download",
        "1795327756/info",
    ),
    (
        "05-get-info-STORE-1795327754",
        "127.0.0.1:8443/download",
        "1795327754/info",
    ),
    (
        "06-get-fragment-1795327754-1",
        "127.0.0.1:8080/download",
        "1795327754/1795327754-1",
    ),
    (
        "06-get-fragment-1795327754-2",
        "127.0.0.1:8080/download",
        "1795327754/1795327754-2",
    ),
    (
        "06-get-fragment-1795327754-3",
        "127.0.0.1:8080/download",
        "1795327754/1795327754-3",
    ),
    (
        "06-get-fragment-1795327755-1",
        "127.0.0.1:8080/download",
        "1795327755/1795327755-1",
    ),
    (
        "06-get-fragment-1795327756-1",
        "127.0.0.1:8080/download",
        "1795327756/1795327756-1",
    ),
    (
        "10-get-fragment-404",
        "127.0.0.1:8080/download",
        "1795328257/1795328257-2",
    ),
];

#[test]
fn every_recorded_body_is_read() {
    let posts = posts();
    let bodies = golden::stems("captures", ".req.body");
    assert_eq!(bodies.len(), 16);
    for stem in bodies {
        let (_, device, query) = posts.iter().find(|(name, ..)| *name == stem).expect(&stem);
        let (coding, xml, request) =
            request_in(&stem, &golden::bytes(&format!("captures/{stem}.req.body")));
        assert_eq!(
            (coding, request.device.as_str(), &request.query),
            (Coding::Zlib, *device, query),
            "{stem}"
        );
        assert_eq!(
            xml,
            golden::bytes(&format!("captures/{stem}.req.xml")),
            "{stem}"
        );
    }
}

#[test]
fn every_recorded_message_is_read() {
    let posts = posts();
    let messages = golden::stems("captures", ".req.raw");
    assert_eq!(
        messages.len(),
        posts.len() - 1 + GETS.len(),
        "the inventory was recorded without its head"
    );
    for stem in messages {
        let (head, body) = golden::message(&format!("captures/{stem}.req.raw"));
        if let Some((_, device, query)) = posts.iter().find(|(name, ..)| *name == stem) {
            let (coding, _, request) = request_in(&stem, &body);
            assert_eq!(
                (coding, request.device.as_str(), &request.query),
                (Coding::Zlib, *device, query),
                "{stem}"
            );
        } else {
            check_get(&stem, &head);
        }
    }
}

fn check_get(stem: &str, head: &str) {
    let (_, location, path) = GETS.iter().find(|(name, ..)| *name == stem).expect(stem);
    let host = head
        .lines()
        .find_map(|line| line.strip_prefix("Host: "))
        .expect("HTTP/1.1 has a Host");
    let target = head
        .split(' ')
        .nth(1)
        .expect("a request line names a target");
    let location: Location = location
        .parse()
        .expect("the OCS server announces locations");
    assert_eq!(
        format!("https://{host}{target}"),
        location.url(path),
        "{stem}"
    );
}

#[test]
fn recorded_fragments_join_to_the_archive_in_info() {
    for stem in golden::stems("captures", ".resp.xml")
        .iter()
        .filter(|stem| stem.contains("get-info"))
    {
        let info =
            OcsInfo::parse(&golden::bytes(&format!("captures/{stem}.resp.xml"))).expect(stem);
        let archive = info
            .action
            .archive()
            .expect("each recorded package has an archive");
        let fragment = |n| {
            golden::bytes(&format!(
                "captures/06-get-fragment-{}-{n}.resp.body",
                info.id
            ))
        };
        let whole: Vec<u8> = (1..=archive.fragments.get()).flat_map(fragment).collect();
        assert_eq!(
            archive.md5,
            packcast_protocol::Md5Digest::of(&whole),
            "{stem}"
        );
    }
}

/// Requests composed from the reference (§1.3, §2.1, §3, §5.5), in the coding of each agent.
fn composed() -> Vec<(&'static str, Coding, Query)> {
    let windows = Inventory {
        history: vec![id("1770000001"), id("1770000002")],
        host_name: Some("PC42".to_owned()),
        os_name: Some("Microsoft Windows 11 Professionnel".to_owned()),
    };
    let android = Inventory {
        host_name: Some("phone-7".to_owned()),
        os_name: Some("Android".to_owned()),
        ..Inventory::default()
    };
    vec![
        ("android-inventory", Coding::Gzip, Query::Inventory(android)),
        ("android-prolog", Coding::Plain, Query::Prolog),
        (
            "android-report",
            Coding::Plain,
            report("1770000001", "ERR_DOWNLOAD_PACK"),
        ),
        ("windows-inventory", Coding::Zlib, Query::Inventory(windows)),
        (
            "windows-notify",
            Coding::Zlib,
            Query::Other("NOTIFY".to_owned()),
        ),
        ("windows-prolog", Coding::Zlib, Query::Prolog),
        (
            "windows-report",
            Coding::Zlib,
            report("1770000001", "EXIT_CODE_1603"),
        ),
    ]
}

#[test]
fn requests_of_windows_and_android_agents_are_read() {
    let composed = composed();
    let known: BTreeSet<&str> = composed.iter().map(|(name, ..)| *name).collect();
    assert!(
        golden::stems("requests", ".body")
            .iter()
            .map(String::as_str)
            .eq(known)
    );
    for (name, coding, query) in composed {
        let (found, xml, request) =
            request_in(name, &golden::bytes(&format!("requests/{name}.body")));
        assert_eq!((found, &request.query), (coding, &query), "{name}");
        let host = if name.starts_with("windows") {
            "PC42"
        } else {
            "phone-7"
        };
        assert_eq!(request.device.host_name(), host, "{name}");
        if coding != Coding::Plain {
            assert_eq!(
                xml,
                golden::bytes(&format!("requests/{name}.xml")),
                "{name}"
            );
        }
    }
}

#[test]
fn windows_streams_have_no_end() {
    for name in golden::stems("requests", ".body")
        .iter()
        .filter(|name| name.starts_with("windows"))
    {
        let body = golden::bytes(&format!("requests/{name}.body"));
        assert!(body.ends_with(&[0, 0, 0xFF, 0xFF]), "{name}");
    }
}
