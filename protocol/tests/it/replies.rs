//! Replies of an OCS server, compared with Packcast's replies of the same content.

use std::collections::BTreeSet;
use std::num::{NonZeroU8, NonZeroU16};

use packcast_protocol::info::{Info, OcsInfo};
use packcast_protocol::ocs::{
    Coding, Conf, DOWNLOAD_REPLY, DownloadMode, INVENTORY_REPLY, InventoryAsk, Pack, PeriodLength,
    PrologReply, envelope,
};
use packcast_protocol::windows::Dialogue;
use packcast_protocol::{Location, PackageId, Sha256Digest};

use crate::document::places;
use crate::golden;

/// Traps of OCS agents (protocol reference) and the tests that guard against them.
const _: &[(&str, fn())] = &[
    (
        "§0.2: Unix agents read nothing but whole zlib streams",
        recorded_replies_are_complete_zlib_streams,
    ),
    (
        "§0.6: Windows agents crash without RESPONSE and NAME",
        a_reply_has_every_element_that_windows_agents_need,
    ),
];

/// A difference between a recorded document and Packcast's.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Difference {
    exchange: &'static str,
    place: String,
    recorded: Option<String>,
    packcast: Option<String>,
}

fn differences(exchange: &'static str, recorded: &str, packcast: &str) -> BTreeSet<Difference> {
    let (recorded, packcast) = (places(recorded), places(packcast));
    let all: BTreeSet<&String> = recorded.keys().chain(packcast.keys()).collect();
    all.into_iter()
        .filter(|place| recorded.get(*place) != packcast.get(*place))
        .map(|place| Difference {
            exchange,
            place: place.clone(),
            recorded: recorded.get(place).cloned(),
            packcast: packcast.get(place).cloned(),
        })
        .collect()
}

fn listed() -> BTreeSet<Difference> {
    LISTED
        .iter()
        .map(
            |(exchange, place, recorded, packcast, _section)| Difference {
                exchange,
                place: (*place).to_owned(),
                recorded: recorded.map(str::to_owned),
                packcast: packcast.map(str::to_owned),
            },
        )
        .collect()
}

const EXECUTE: &str = "05-get-info-EXECUTE-1795327755";
const LAUNCH: &str = "05-get-info-LAUNCH-1795327756";
const STORE: &str = "05-get-info-STORE-1795327754";
const MANIFEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

type Listed = (
    &'static str,
    &'static str,
    Option<&'static str>,
    Option<&'static str>,
    &'static str,
);

/// Every expected difference: the exchange, the place, the recorded value, Packcast's value,
/// and the section of the reference that gives the reason.
///
/// The replies to PROLOG, INVENTORY and DOWNLOAD have no such difference.
#[rustfmt::skip]
const LISTED: &[Listed] = &[
    (EXECUTE, "DOWNLOAD@PROTO", Some("HTTP"), Some("HTTPS"), "§0 rule 17: fragments over HTTPS, too"),
    (EXECUTE, "DOWNLOAD@NAME", None, Some(""), "§4.1: always present, for Android"),
    (EXECUTE, "DOWNLOAD@PATH", None, Some(""), "§4.1: always present, for Android"),
    (EXECUTE, "DOWNLOAD@PACK_LOC", None, Some("cdn.example.net/ocs"), "§0 rule 12: avoids a fault of Unix agents"),
    (EXECUTE, "DOWNLOAD@PACKCAST_MANIFEST", None, Some(MANIFEST), "§4.1: unknown attributes are ignored"),
    (LAUNCH, "DOWNLOAD@PROTO", Some("HTTP"), Some("HTTPS"), "§0 rule 17: fragments over HTTPS, too"),
    (LAUNCH, "DOWNLOAD@COMMAND", None, Some(""), "§4.1: always present, for Android"),
    (LAUNCH, "DOWNLOAD@PATH", None, Some(""), "§4.1: always present, for Android"),
    (LAUNCH, "DOWNLOAD@PACK_LOC", None, Some("cdn.example.net/ocs"), "§0 rule 12: avoids a fault of Unix agents"),
    (LAUNCH, "DOWNLOAD@PACKCAST_MANIFEST", None, Some(MANIFEST), "§4.1: unknown attributes are ignored"),
    (STORE, "DOWNLOAD@PROTO", Some("HTTP"), Some("HTTPS"), "§0 rule 17: fragments over HTTPS, too"),
    (STORE, "DOWNLOAD@COMMAND", None, Some(""), "§4.1: always present, for Android"),
    (STORE, "DOWNLOAD@NAME", None, Some(""), "§4.1: always present, for Android"),
    (STORE, "DOWNLOAD@PACK_LOC", None, Some("cdn.example.net/ocs"), "§0 rule 12: avoids a fault of Unix agents"),
    (STORE, "DOWNLOAD@PACKCAST_MANIFEST", None, Some(MANIFEST), "§4.1: unknown attributes are ignored"),
];

fn conf(latency_s: (u16, u16)) -> Conf {
    let seconds = |s| NonZeroU16::new(s).expect("the tests use latencies of at least a second");
    Conf {
        frag_latency_s: seconds(latency_s.0),
        cycle_latency_s: seconds(latency_s.1),
        period_latency_s: 1,
        period_length: PeriodLength::MIN,
        timeout_days: seconds(30),
    }
}

fn prolog(conf: Conf, ids: impl Iterator<Item = u32>, info_loc: &str, pack_loc: &str) -> String {
    let location = |text: &str| {
        text.parse::<Location>()
            .expect("the recorded addresses are locations")
    };
    let pack = |id| Pack {
        id: PackageId::try_from(id).expect("recorded ids are package ids"),
        info_loc: location(info_loc),
        pack_loc: location(pack_loc),
        force: false,
        schedule: None,
        afterwards: None,
    };
    let prolog_freq_hours = NonZeroU8::new(24).expect("24 is not 0");
    PrologReply {
        prolog_freq_hours,
        response: InventoryAsk::Send,
        conf,
        deployment: DownloadMode::On(ids.map(pack).collect()),
    }
    .to_xml()
}

fn info(stem: &str) -> String {
    let recorded =
        OcsInfo::parse(&golden::bytes(&format!("captures/{stem}.resp.xml"))).expect(stem);
    let OcsInfo {
        id,
        priority,
        action,
        ..
    } = recorded;
    let pack_loc = "cdn.example.net/ocs".parse().expect("this is a location");
    let info = Info {
        id,
        priority,
        action,
        pack_loc,
        dialogue: Dialogue::default(),
        manifest: Sha256Digest::of(b""),
    };
    info.to_xml().expect("recorded packages are small")
}

/// Returns every recorded document, and Packcast's document with the same content.
fn documents() -> Vec<(&'static str, String, String)> {
    let reply = |stem: &'static str, packcast: String| {
        (
            stem,
            golden::text(&format!("captures/{stem}.resp.xml")),
            packcast,
        )
    };
    let three = prolog(
        conf((1, 1)),
        1_795_327_754..=1_795_327_756,
        "127.0.0.1:8443/download",
        "127.0.0.1:8080/download",
    );
    let ten = prolog(
        conf((10, 60)),
        1_795_000_001..=1_795_000_010,
        "deploy.example.org:443/download",
        "deploy.example.org/download",
    );
    vec![
        reply(
            "01-prolog-new-device-no-packages",
            prolog(conf((10, 60)), 0..0, "none", "none"),
        ),
        reply("03-prolog-three-packages", three),
        reply(EXECUTE, info(EXECUTE)),
        reply(LAUNCH, info(LAUNCH)),
        reply(STORE, info(STORE)),
        reply("09-inventory-trimmed", INVENTORY_REPLY.to_owned()),
        (
            "bench-prolog-reply-10packs",
            golden::text("captures/bench-prolog-reply-10packs.xml"),
            ten,
        ),
    ]
}

#[test]
fn replies_differ_from_the_recorded_ones_only_as_listed() {
    let documents = documents();
    assert_eq!(
        documents.len(),
        golden::stems("captures", ".resp.xml").len() + 1,
        "a recorded reply is not compared"
    );
    let found: BTreeSet<Difference> = documents
        .iter()
        .flat_map(|(exchange, recorded, packcast)| differences(exchange, recorded, packcast))
        .collect();
    let listed = listed();
    let unlisted: Vec<&Difference> = found.difference(&listed).collect();
    assert!(unlisted.is_empty(), "not listed: {unlisted:#?}");
    let gone: Vec<&Difference> = listed.difference(&found).collect();
    assert!(gone.is_empty(), "listed, but not found: {gone:#?}");
}

#[test]
fn listed_differences_cite_their_sections() {
    assert!(LISTED.iter().all(|(.., section)| section.starts_with('§')));
    assert_eq!(listed().len(), LISTED.len(), "a difference is listed twice");
}

#[test]
fn recorded_replies_to_reports_are_empty() {
    let reports = golden::stems("captures", ".resp.raw")
        .into_iter()
        .filter(|stem| stem.contains("-report-"));
    let mut accepted = 0;
    for stem in reports {
        let (head, body) = golden::message(&format!("captures/{stem}.resp.raw"));
        if head.starts_with("HTTP/1.1 200 ") {
            assert_eq!(body, DOWNLOAD_REPLY, "{stem}");
            accepted += 1;
        }
    }
    assert_eq!(accepted, 13, "only one report was refused, on purpose");
}

#[test]
fn recorded_replies_are_complete_zlib_streams() {
    for (stem, xml) in [
        ("captures/01-prolog-new-device-no-packages.resp", ".xml"),
        ("captures/09-inventory-trimmed.resp", ".xml"),
    ] {
        let (coding, content) =
            envelope::open(&golden::bytes(&format!("{stem}.body"))).expect(stem);
        assert_eq!(coding, Coding::Zlib);
        assert_eq!(content, golden::bytes(&format!("{stem}{xml}")), "{stem}");
    }
}

#[test]
fn a_reply_has_every_element_that_windows_agents_need() {
    for packs in [0..0, 1_795_000_001..1_795_000_002] {
        let places = places(&prolog(conf((1, 1)), packs, "cdn", "cdn"));
        assert_eq!(places["REPLY/OPTION/NAME"], "DOWNLOAD");
        assert!(!places["REPLY/RESPONSE"].is_empty());
        for value in [
            "ON",
            "FRAG_LATENCY",
            "CYCLE_LATENCY",
            "PERIOD_LATENCY",
            "PERIOD_LENGTH",
            "TIMEOUT",
            "EXECUTION_TIMEOUT",
        ] {
            assert!(
                !places[&format!("REPLY/OPTION/PARAM[CONF]@{value}")].is_empty(),
                "{value}"
            );
        }
        assert!(
            !places
                .keys()
                .any(|place| place.contains("[CONF]@ID") || place.contains("[CONF]@INFO_LOC"))
        );
    }
}
