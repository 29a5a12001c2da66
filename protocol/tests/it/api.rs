//! Documents of the JSON API: reviewed examples, and readers and writers of different versions.

use std::collections::BTreeSet;
use std::fmt::Debug;

use packcast_protocol::api::{
    BeginReply, BeginRequest, BoundedText, Cancel, CheckInReply, CheckInRequest, DailyFacts,
    DeviceFacts, FactValues, FreePercent, HoldWord, Problem, ProblemKind, Report, ReportReply,
    ReportRequest, Secret, Task, VolumeFact,
};
use packcast_protocol::manifest::{Audience, Platform};
use packcast_protocol::schema::Schema;
use packcast_protocol::state::document::PlainText;
use packcast_protocol::state::exchange::{
    BoundedList, MachineFacts, UsedMandates, WaitWord, WaitingPackage, WaitingPackages,
};
use packcast_protocol::state::{
    CommitId, DigestPrefix, Document, GroupDocument, HeldState, KeyListId, Mandate, PartialTree,
    StateReply, StateText,
};
use packcast_protocol::{
    Action, AgentId, Archive, ArchiveFormat, Assignee, FragmentSize, Manifest, PackageId, Priority,
    Sha256Digest, UnixTime,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::golden;
use crate::golden::check;

fn id(number: u32) -> PackageId {
    number.try_into().expect("this is a package id")
}

fn priority(number: u8) -> Priority {
    number.try_into().expect("this is a priority")
}

fn digest(text: &str) -> Sha256Digest {
    Sha256Digest::of(text.as_bytes())
}

fn pass() -> Secret {
    let text = "example-pass-0123456789_-";
    text.parse().expect("this is a secret")
}

fn facts() -> DeviceFacts {
    DeviceFacts {
        host_name: BoundedText::tail("kasse-07.filiale.example"),
        os: BoundedText::tail("linux"),
        arch: BoundedText::tail("x86_64"),
        agent: BoundedText::tail("packcast-agent 0.1.0"),
    }
}

fn daily_facts() -> DailyFacts {
    let term = |name: &str| name.parse().expect("this is a term's name");
    let volume = |path, size_gib, free| VolumeFact {
        path: PlainText::shortened(path),
        size_gib,
        free_percent: FreePercent::of(free, 100),
    };
    DailyFacts::fitting(FactValues {
        os_name: Some(PlainText::shortened("Debian GNU/Linux")),
        os_version: Some(PlainText::shortened("12 (bookworm)")),
        domain: Some(PlainText::shortened("filiale.example")),
        terms: BoundedList::first(["downgrade", "rollout"].map(term)),
        model: Some(PlainText::shortened("Dell Inc. Latitude 7490")),
        memory_mib: Some(16_384),
        volumes: BoundedList::first([volume("/", 234, 45), volume("/var", 930, 99)]),
        time_zone: Some(PlainText::shortened("Europe/Zurich")),
        address: Some("192.0.2.7".parse().expect("this is an address")),
        site: Some(PlainText::shortened("Zürich")),
    })
}

fn report(number: u32, attempt: u32, code: &str, finished: u64) -> Report {
    Report {
        id: id(number),
        attempt,
        code: code.parse().expect("this is a result code"),
        detail: None,
        output_tail: None,
        finished: UnixTime(finished),
        boot: None,
        mandates: UsedMandates::default(),
    }
}

/// Returns the commit of the examples; only its id is in them.
fn commit_id() -> CommitId {
    CommitId {
        number: 1_795_329_900,
        digest: digest("test"),
    }
}

fn held_state() -> HeldState {
    HeldState {
        keys: Some(KeyListId {
            serial: 1,
            digest: digest(""),
        }),
        commit: Some(commit_id()),
        documents: [DigestPrefix::of(&digest("test"))].into(),
        lacks: ["group/tills".parse().expect("this is a leaf's name")].into(),
        terms: ["downgrade".parse().expect("this is a term's name")].into(),
        ..HeldState::default()
    }
}

fn state() -> StateText {
    let group = Document::new(GroupDocument::empty(1_795_329_900, 1_795_329_900));
    let leaf = (
        "group/tills".parse().expect("this is a leaf's name"),
        group.digest(),
    );
    let parts = StateReply {
        of: Some(commit_id()),
        groups: Some(PartialTree::from_leaves([leaf])),
        documents: vec![group.text().clone()],
        ..StateReply::default()
    };
    StateText::new(&parts).expect("the parts name their commit")
}

#[test]
fn check_ins_match_their_examples() {
    let first = CheckInRequest {
        facts: facts(),
        machine: MachineFacts::new("linux-x86_64", None, None, UnixTime(1_795_330_000)),
        daily: Some(daily_facts()),
        results: Vec::new(),
        waits: WaitingPackages::default(),
        holds: HeldState::default(),
    };
    check("check-in-request-first", &first);

    let mut ran = report(1_795_327_754, 1, "SUCCESS_7", 1_795_330_000);
    ran.output_tail = Some(BoundedText::tail("Größe geprüft\nfertig\n"));
    let mut failed = report(1_795_327_755, 2, "ERR_BAD_DIGEST", 1_795_330_060);
    failed.detail = Some(BoundedText::tail(
        "fragment 3 of 5 is not what the manifest says",
    ));
    ran.mandates = UsedMandates::first([Mandate {
        assignee: Assignee::Group("tills".parse().expect("this is the name of a group")),
        seq: 1_795_320_000,
    }]);
    let later = CheckInRequest {
        facts: facts(),
        machine: MachineFacts::new(
            "linux-x86_64",
            Some("hardware:4c4c4544-0042-3510-8051-b4c04f4b3732"),
            Some("7b0f0ad3-2a0d-4e4c-9b8d-5a4f3e2d1c0b"),
            UnixTime(1_795_330_100),
        ),
        daily: None,
        results: vec![ran, failed],
        waits: WaitingPackages::first([
            WaitingPackage {
                package: id(1_795_327_756),
                attempt: 1,
                reason: WaitWord::CommitExpired,
                until: None,
            },
            WaitingPackage {
                package: id(1_795_327_757),
                attempt: 3,
                reason: WaitWord::Term,
                until: Some(UnixTime(1_795_350_000)),
            },
        ]),
        holds: held_state(),
    };
    check("check-in-request", &later);
}

fn task(number: u32, attempt: u32, level: u8, locations: &[&str], manifest: &str) -> Task {
    let location = |name: &&str| name.parse().expect("this is the name of a location");
    let folder = format!("packages/k5zq/{number}");
    Task {
        id: id(number),
        attempt,
        priority: priority(level),
        locations: locations.iter().map(location).collect(),
        folder: folder.parse().expect("this is a folder"),
        manifest_sha256: digest(manifest),
    }
}

#[test]
fn a_check_in_reply_matches_its_example() {
    let reply = CheckInReply {
        pass: Some(pass()),
        tasks: vec![
            task(1_795_327_754, 2, 0, &["main", "mirror"], ""),
            task(1_795_327_756, 1, 10, &["mirror"], "test"),
        ],
        cancel: vec![Cancel {
            id: id(1_795_327_755),
            attempt: 1,
        }],
        accepted: vec![id(1_795_327_753)],
        daily_recorded: true,
        state: Some(state()),
        next_check_in_s: 3600,
    };
    check("check-in-reply", &reply);
}

#[test]
fn a_report_and_its_reply_match_their_examples() {
    let mut ended = report(1_795_327_754, 1, "EXIT_CODE_-1", 1_795_330_000);
    ended.detail = Some(BoundedText::tail("ended by signal 9"));
    ended.output_tail = Some(BoundedText::tail(""));
    let request = ReportRequest {
        results: vec![ended],
    };
    check("report-request", &request);
    let accepted = vec![id(1_795_327_754), id(1_795_327_755)];
    check("report-reply", &ReportReply { accepted });
}

#[test]
fn a_question_before_a_package_begins_and_its_replies_match_their_examples() {
    let of = |assignee, seq| Mandate { assignee, seq };
    let agent = AgentId::of_public_key(&[1; 32]);
    let mandates = [
        of(
            Assignee::Group("lab".parse().expect("a group")),
            1_795_327_800,
        ),
        of(Assignee::Device(agent), 1_795_327_900),
    ];
    let request = BeginRequest {
        id: id(1_795_327_754),
        attempt: 2,
        commit: CommitId {
            number: 1_795_328_000,
            digest: digest("commit"),
        },
        mandates: UsedMandates::first(mandates),
    };
    check("begin-request", &request);
    check("begin-reply-go", &BeginReply::Go);
    let reason = HoldWord::Paused;
    check("begin-reply-wait", &BeginReply::wait(reason));
    let full = BeginReply::Wait {
        reason: HoldWord::RolloutFull,
        again_s: Some(5_400),
    };
    check("begin-reply-full", &full);
}

#[test]
fn an_old_device_waits_for_any_unknown_reason() {
    let newer = json!({ "answer": "wait", "reason": "full_moon", "until": 1 });
    let read: BeginReply = serde_json::from_value(newer).expect("future reasons are read");
    let reason = HoldWord::Other;
    assert_eq!(read, BeginReply::wait(reason));
    let unknown = json!({ "answer": "perhaps" });
    assert!(serde_json::from_value::<BeginReply>(unknown).is_err());
}

#[test]
fn a_problem_matches_its_example() {
    let detail =
        "the request was signed at 1795320000, now is 1795330000: sign it again with this time";
    let problem = Problem {
        kind: ProblemKind::ClockSkew,
        detail: detail.to_owned(),
        now: UnixTime(1_795_330_000),
    };
    check("problem", &problem);
}

fn manifest(number: u32, name: &str, version: &str, action: Action<Archive>) -> Manifest {
    let id = id(number);
    Manifest {
        schema: Schema,
        id,
        name: name.parse().expect("this is a name"),
        version: version.parse().expect("this is a version"),
        priority: priority(5),
        action,
        platform: Platform::Any,
        success_codes: BTreeSet::from([0]),
        reboot_codes: BTreeSet::new(),
        timeout_s: 7200,
        rerun_after_interruption: false,
        expires: Some(UnixTime(u64::from(number) + 15_552_000)),
        audience: Audience::Any,
    }
}

fn archive(
    format: ArchiveFormat,
    bytes: u64,
    whole: &str,
    size: u64,
    fragments: &[&str],
) -> Archive {
    let size = FragmentSize::try_from(size).expect("this is a fragment size");
    let fragments = fragments.iter().map(|text| digest(text)).collect();
    Archive::new(format, bytes, digest(whole), size, fragments).expect("the numbers agree")
}

#[test]
fn a_launch_manifest_matches_its_example() {
    let action = Action::Launch {
        archive: archive(ArchiveFormat::Zip, 2500, "test", 1024, &["1", "2", "3"]),
        command: "setup.sh --title=\"a & b\" größe"
            .parse()
            .expect("this is a command"),
    };
    let device = "abcdefghijklmnopqrstuvwxy4".parse();
    let launch = Manifest {
        priority: priority(0),
        platform: Platform::Linux,
        success_codes: BTreeSet::from([0, 7]),
        reboot_codes: BTreeSet::from([3010]),
        rerun_after_interruption: true,
        audience: Audience::Devices(BTreeSet::from([device.expect("this is an agent's id")])),
        ..manifest(1_795_327_754, "vlc", "3.0.21", action)
    };
    check("manifest-launch", &launch);
}

#[test]
fn an_execute_manifest_matches_its_example() {
    let action = Action::Execute {
        archive: None,
        command: "net stop spooler\nnet start spooler"
            .parse()
            .expect("this is a command"),
    };
    let execute = Manifest {
        platform: Platform::Windows,
        timeout_s: 600,
        expires: None,
        audience: Audience::Groups(BTreeSet::from(["tills".parse().expect("a name")])),
        ..manifest(1_795_327_755, "restart-spooler", "1", action)
    };
    check("manifest-execute", &execute);
}

#[test]
fn a_store_manifest_matches_its_example() {
    let action = Action::Store {
        archive: archive(ArchiveFormat::TarGz, 1, "1", 1 << 20, &["1"]),
        folder: "C:\\Programme\\Müller & Söhne"
            .parse()
            .expect("this is a folder"),
    };
    let store = Manifest {
        priority: priority(10),
        ..manifest(1_795_327_756, "typescript", "5.9.3", action)
    };
    check("manifest-store", &store);
}

/// Adds an unknown field to every object of a document.
fn add_unknown_fields(value: &mut Value) {
    match value {
        // The keys of the map of groups are names, not fields.
        Value::Object(groups) if groups.contains_key("tills") => {
            groups.values_mut().for_each(add_unknown_fields);
        }
        // An assignee is one key, the kind, and its name.
        Value::Object(assignee)
            if assignee.contains_key("group") || assignee.contains_key("device") => {}
        Value::Object(fields) => {
            fields.values_mut().for_each(add_unknown_fields);
            fields.insert("future_field".to_owned(), json!({ "x": [1, null] }));
        }
        Value::Array(values) => values.iter_mut().for_each(add_unknown_fields),
        _ => {}
    }
}

fn check_newer<T: DeserializeOwned + PartialEq + Debug>(name: &str) {
    let text = golden::text(&format!("api/{name}.json"));
    let mut newer: Value = serde_json::from_str(&text).expect("examples are JSON");
    let today: T = serde_json::from_str(&text).expect("examples are read");
    add_unknown_fields(&mut newer);
    let read: T = serde_json::from_value(newer)
        .unwrap_or_else(|error| panic!("{name} with unknown fields: {error}"));
    assert_eq!(read, today, "{name}");
}

#[test]
fn an_old_reader_ignores_unknown_fields() {
    check_newer::<CheckInRequest>("check-in-request-first");
    check_newer::<CheckInRequest>("check-in-request");
    check_newer::<CheckInReply>("check-in-reply");
    check_newer::<ReportRequest>("report-request");
    check_newer::<BeginRequest>("begin-request");
    check_newer::<BeginReply>("begin-reply-go");
    check_newer::<BeginReply>("begin-reply-wait");
    check_newer::<BeginReply>("begin-reply-full");
    check_newer::<ReportReply>("report-reply");
    check_newer::<Problem>("problem");
}

#[test]
fn an_old_reader_keeps_unknown_result_codes() {
    let mut newer: Value =
        serde_json::from_str(&golden::text("api/report-request.json")).expect("examples are JSON");
    newer["results"][0]["code"] = json!("ERR_FUTURE");
    let read: ReportRequest = serde_json::from_value(newer.clone()).expect("the code is kept");
    assert_eq!(
        serde_json::to_value(read).expect("documents are JSON"),
        newer
    );
}

#[test]
fn an_old_reader_takes_an_unknown_problem_for_other() {
    let newer = json!({ "type": "too-many-devices", "detail": "wait", "now": 1_795_330_000 });
    let read: Problem = serde_json::from_value(newer).expect("future kinds are read");
    assert_eq!(read.kind, ProblemKind::Other);
    assert_eq!(read.detail, "wait");
}

/// The required fields of each document; all present and future other fields have defaults.
#[test]
fn a_new_reader_needs_the_required_fields_only() {
    let request = json!({
        "facts": { "host_name": "", "os": "", "arch": "", "agent": "" },
        "machine": { "platform": "", "now_min": 0 },
    });
    let request: CheckInRequest = serde_json::from_value(request).expect("the rest is optional");
    assert_eq!(request.results, []);

    let task = json!({
        "id": "1795327754", "attempt": 1, "priority": 5, "locations": [], "folder": "d",
        "manifest_sha256": digest("").to_string(),
    });
    let reply = json!({ "tasks": [task], "next_check_in_s": 60 });
    let reply: CheckInReply = serde_json::from_value(reply).expect("the rest is optional");
    assert_eq!(
        (reply.pass, reply.cancel, reply.accepted, reply.state),
        (None, vec![], vec![], None)
    );

    let result = json!({ "id": "1795327754", "attempt": 1, "code": "SUCCESS_0", "finished": 1 });
    let report = json!({ "results": [result] });
    let report: ReportRequest = serde_json::from_value(report).expect("the rest is optional");
    assert_eq!(
        report.results,
        [self::report(1_795_327_754, 1, "SUCCESS_0", 1)]
    );
}

/// An older agent must not skip a restriction that it does not know.
#[test]
fn a_manifest_with_an_unknown_field_is_refused() {
    for name in ["manifest-launch", "manifest-execute", "manifest-store"] {
        let text = golden::text(&format!("api/{name}.json"));
        for place in ["", "/action", "/action/archive"] {
            let mut newer: Value = serde_json::from_str(&text).expect("examples are JSON");
            let Some(Value::Object(fields)) = newer.pointer_mut(place) else {
                continue;
            };
            fields.insert("future_field".to_owned(), json!(1));
            let read = serde_json::from_value::<Manifest>(newer);
            assert!(read.is_err(), "{name} at {place:?}");
        }
    }
}

#[test]
fn every_example_has_a_test() {
    let tested = [
        "begin-reply-full",
        "begin-reply-go",
        "begin-reply-wait",
        "begin-request",
        "check-in-reply",
        "check-in-request",
        "check-in-request-first",
        "manifest-execute",
        "manifest-launch",
        "manifest-store",
        "problem",
        "report-reply",
        "report-request",
    ];
    assert_eq!(golden::stems("api", ".json"), tested);
}
