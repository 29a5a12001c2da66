use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use insta::assert_snapshot;
use packcast_protocol::{
    Action, ArchiveFormat, FragmentSize, Md5Digest, OcsDeviceId, Priority, ResultCode,
};
use packcast_rollout::group::GroupAssignment;
use packcast_rollout::pacing::UpTo;
use packcast_rollout::record::ArchiveRecord;
use packcast_rollout::rollout::{DeviceFailure, LimitValues, Place};
use packcast_rollout::{ExclusionKind, PackageState, Published, WriteBudget};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::*;
use crate::records::RecordsError;
use crate::records::item::{PK, SK, read, text};

const AT: UnixTime = UnixTime(1_795_000_000);

fn pc() -> DeviceId {
    let id: OcsDeviceId = "web01-2026-03-04-05-06-07".parse().unwrap();
    DeviceId::Ocs(id)
}

fn id() -> PackageId {
    "1795327754".parse().unwrap()
}

fn device_record() -> DeviceRecord {
    DeviceRecord {
        device: pc(),
        host_name: "web01".to_owned(),
        agent: "packcast-agent 0.1.0".to_owned(),
        os: "Debian 12".to_owned(),
        first_seen: AT,
        last_seen: AT,
        inventory_asked: Some(AT),
        inventory_received: None,
        machine: None,
        facts: None,
        batch: None,
        budget: WriteBudget::default(),
    }
}

fn open_task(state: TaskState) -> OpenTask {
    OpenTask {
        package: id(),
        priority: Priority::DEFAULT,
        attempt: 2,
        state,
        force: false,
        direct: true,
        mandate: Some(1_795_000_000),
        group_mandate: None,
        used: BTreeSet::new(),
        place: None,
        assigned_at: AT,
    }
}

fn lab() -> GroupName {
    "lab".parse().unwrap()
}

fn group_state() -> GroupState {
    let package = package_record();
    let assignment = GroupAssignment {
        package: package.id,
        manifest: package.published().unwrap().manifest,
        priority: package.priority,
        seq: 2,
        force: false,
        mandate: Some(AT.0),
        rollout: None,
        assignee: None,
        assigned_at: AT,
    };
    GroupState {
        assignments: vec![assignment],
        created: Some(AT.0),
        document: Some(Sha256Digest::from_bytes([0x33; 32])),
        ..GroupState::new(lab(), 2, AT)
    }
}

fn slow() -> PacingOverride {
    PacingOverride {
        cycle_pause_s: UpTo::new(5),
        strict: Some(true),
        ..PacingOverride::default()
    }
}

/// Returns daily facts of every kind.
fn facts_record() -> FactsRecord {
    let facts = json!({
        "os_name": "Debian GNU/Linux",
        "os_version": "12 (bookworm)",
        "domain": "branch.example",
        "terms": ["downgrade", "rollout"],
        "model": "Dell Inc. Latitude 7490",
        "memory_mib": 16_384,
        "volumes": [{ "path": "/", "size_gib": 234, "free_percent": 40 }],
        "time_zone": "Europe/Zurich",
        "address": "192.0.2.7",
        "site": "Zürich",
    });
    FactsRecord {
        device: pc(),
        at: AT,
        facts: serde_json::from_value(facts).unwrap(),
    }
}

fn finished_task() -> FinishedTask {
    FinishedTask {
        package: id(),
        attempt: 1,
        code: ResultCode::Exited(3),
        outcome: Outcome::Failed,
        detail: None,
        output_tail: Some("disk full\n".to_owned()),
        mandate: Some(1_795_000_000),
        used: BTreeSet::new(),
        finished_at: AT,
    }
}

fn location_record() -> LocationRecord {
    LocationRecord {
        name: "main".parse().unwrap(),
        location: "cdn.example.net/ocs".parse().unwrap(),
    }
}

fn package_record() -> PackageRecord {
    let digest = Sha256Digest::from_bytes([0x11; 32]);
    PackageRecord {
        id: id(),
        name: "vlc".parse().unwrap(),
        version: "3.0.21".parse().unwrap(),
        priority: Priority::DEFAULT,
        action: Action::Launch {
            archive: ArchiveRecord {
                format: ArchiveFormat::Zip,
                bytes: 12_345_678,
                sha256: digest,
                fragment_size: FragmentSize::try_from(1 << 20).unwrap(),
            },
            command: "setup.exe /S".parse().unwrap(),
        },
        platform: packcast_protocol::manifest::Platform::Windows,
        success_codes: BTreeSet::from([0, 3010]),
        reboot_codes: BTreeSet::from([1641]),
        timeout_s: 7200,
        rerun_after_interruption: false,
        audience: packcast_protocol::manifest::Audience::Any,
        windows: packcast_protocol::WindowsTerms::default(),
        content: digest,
        folder: "d/segment".parse().unwrap(),
        created_at: AT,
        state: PackageState::Published(Published {
            manifest: digest,
            signature: digest,
            signer: "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
                .parse()
                .unwrap(),
            md5: Some(Md5Digest::from_bytes([0x22; 16])),
            fragments: 12,
            expires: Some(AT),
            published_at: AT,
        }),
        active: true,
        locations: vec![location_record()],
    }
}

fn shown(value: &AttributeValue) -> String {
    match value {
        AttributeValue::S(text) => format!("{text:?}"),
        AttributeValue::N(number) => number.clone(),
        AttributeValue::Bool(flag) => flag.to_string(),
        AttributeValue::B(bytes) => format!("bytes {:02x?}", bytes.as_ref()),
        AttributeValue::L(list) => {
            let list: Vec<String> = list.iter().map(shown).collect();
            format!("[{}]", list.join(", "))
        }
        AttributeValue::M(map) => {
            let map: BTreeMap<_, _> = map.iter().collect();
            let map: Vec<String> = map
                .iter()
                .map(|(k, v)| format!("{k}: {}", shown(v)))
                .collect();
            format!("{{{}}}", map.join(", "))
        }
        other => format!("{other:?}"),
    }
}

/// Returns a text with the key of each item on a line, and its attributes below it.
fn show(items: &[Item]) -> String {
    let mut text = String::new();
    for item in items {
        let key = |name: &str| item[name].as_s().unwrap().as_str();
        writeln!(text, "{} | {}", key(PK), key(SK)).unwrap();
        let attributes: BTreeMap<_, _> = item
            .iter()
            .filter(|(name, _)| ![PK, SK].contains(&name.as_str()))
            .collect();
        for (name, value) in attributes {
            writeln!(text, "  {name}: {}", shown(value)).unwrap();
        }
    }
    text
}

#[test]
fn every_key_and_item_of_a_device() {
    let announced = TaskState::Announced { announced_at: AT };
    let items = [
        new_device(&device_record()),
        catalogued_device(&pc()),
        host("Web01", &pc()),
        task(&pc(), &open_task(TaskState::Pending)),
        task(&pc(), &open_task(announced)),
        finished(&pc(), &finished_task()),
        history(&pc(), vec![1, 2, 3, 4], AT),
        facts(&facts_record()),
        pace(&pc(), &slow()),
    ];
    assert_snapshot!(show(&items), @r#"
    DEVICE#ocs:web01-2026-03-04-05-06-07 | 0#DEVICE
      agent: "packcast-agent 0.1.0"
      device: "ocs:web01-2026-03-04-05-06-07"
      first_seen: 1795000000
      groups: {}
      host_name: "web01"
      inventory_asked: 1795000000
      last_seen: 1795000000
      os: "Debian 12"
    DEVICES#12 | DEVICE#ocs:web01-2026-03-04-05-06-07
      device: "ocs:web01-2026-03-04-05-06-07"
    HOST#web01 | DEVICE#ocs:web01-2026-03-04-05-06-07
      device: "ocs:web01-2026-03-04-05-06-07"
    DEVICE#ocs:web01-2026-03-04-05-06-07 | 1#TASK#05#1795327754
      assigned_at: 1795000000
      attempt: 2
      direct: true
      force: false
      ipk: "PACKAGE#1795327754#28"
      isk: "held#ocs:web01-2026-03-04-05-06-07"
      mandate: 1795000000
      package: "1795327754"
      priority: 5
      state: {state: "held"}
    DEVICE#ocs:web01-2026-03-04-05-06-07 | 1#TASK#05#1795327754
      assigned_at: 1795000000
      attempt: 2
      direct: true
      force: false
      ipk: "PACKAGE#1795327754#28"
      isk: "announced#ocs:web01-2026-03-04-05-06-07"
      mandate: 1795000000
      package: "1795327754"
      priority: 5
      state: {announced_at: 1795000000, state: "announced"}
    DEVICE#ocs:web01-2026-03-04-05-06-07 | 9#DONE#1795327754
      attempt: 1
      code: "SUCCESS_3"
      finished_at: 1795000000
      ipk: "PACKAGE#1795327754#28"
      isk: "failed#ocs:web01-2026-03-04-05-06-07"
      mandate: 1795000000
      outcome: "failed"
      output_tail: "disk full\n"
      package: "1795327754"
    DEVICE#ocs:web01-2026-03-04-05-06-07 | 5#HISTORY
      at: 1795000000
      ids: bytes [01, 02, 03, 04]
    DEVICE#ocs:web01-2026-03-04-05-06-07 | 5#FACTS
      address: "192.0.2.7"
      at: 1795000000
      device: "ocs:web01-2026-03-04-05-06-07"
      domain: "branch.example"
      memory_mib: 16384
      model: "Dell Inc. Latitude 7490"
      os_name: "Debian GNU/Linux"
      os_version: "12 (bookworm)"
      site: "Zürich"
      terms: ["downgrade", "rollout"]
      time_zone: "Europe/Zurich"
      volumes: [{free_percent: 40, path: "/", size_gib: 234}]
    DEVICE#ocs:web01-2026-03-04-05-06-07 | 0#PACE
      cycle_pause_s: 5
      strict: true
    "#);
}

#[test]
fn every_key_and_item_of_a_package() {
    let items = [
        package(&package_record()),
        catalogued_package(&package_record()),
        catalogued_name(&package_record()),
        location(&location_record()),
        Key::tally(id(), 7).attributes(),
    ];
    assert_snapshot!(show(&items), @r#"
    PACKAGE#1795327754 | PACKAGE
      action: {archive: {bytes: 12345678, format: "zip", fragment_size: 1048576, sha256: "1111111111111111111111111111111111111111111111111111111111111111"}, command: "setup.exe /S", type: "launch"}
      active: true
      audience: "any"
      content: "1111111111111111111111111111111111111111111111111111111111111111"
      created_at: 1795000000
      folder: "d/segment"
      id: "1795327754"
      locations: [{location: "cdn.example.net/ocs", name: "main"}]
      name: "vlc"
      platform: "windows"
      priority: 5
      reboot_codes: [1641]
      rerun_after_interruption: false
      state: {expires: 1795000000, fragments: 12, manifest: "1111111111111111111111111111111111111111111111111111111111111111", md5: "22222222222222222222222222222222", published_at: 1795000000, signature: "1111111111111111111111111111111111111111111111111111111111111111", signer: "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3", state: "published"}
      success_codes: [0, 3010]
      timeout_s: 7200
      version: "3.0.21"
    CATALOG | PACKAGE#1795327754
      id: "1795327754"
    CATALOG | NAME#vlc#3.0.21
      content: "1111111111111111111111111111111111111111111111111111111111111111"
      package: "1795327754"
    CATALOG | LOCATION#main
      location: "cdn.example.net/ocs"
      name: "main"
    TALLY#1795327754#07 | TALLY
    "#);
}

#[test]
fn every_key_and_item_of_a_group() {
    let revision = RevisionItem {
        group: lab(),
        revision: 2,
        deleted: false,
        created: Some(AT.0),
        origin: None,
        document: Some(Sha256Digest::from_bytes([0x33; 32])),
    };
    let items = [
        group(&group_state()),
        group_revision(&revision),
        catalogued_group(&lab()),
        group_with(id(), &lab()),
        member(&lab(), &pc()),
    ];
    assert_snapshot!(show(&items), @r#"
    GROUP#lab | STATE
      assignments: [{assigned_at: 1795000000, force: false, mandate: 1795000000, manifest: "1111111111111111111111111111111111111111111111111111111111111111", package: "1795327754", priority: 5, seq: 2}]
      created: 1795000000
      created_at: 1795000000
      document: "3333333333333333333333333333333333333333333333333333333333333333"
      group: "lab"
      revision: 2
    GROUP#lab | REVISION
      created: 1795000000
      deleted: false
      document: "3333333333333333333333333333333333333333333333333333333333333333"
      group: "lab"
      revision: 2
    CATALOG | GROUP#lab
      group: "lab"
    PACKAGE#1795327754 | GROUP#lab
      group: "lab"
    GROUP#lab#12 | DEVICE#ocs:web01-2026-03-04-05-06-07
      device: "ocs:web01-2026-03-04-05-06-07"
    "#);
}

fn gate_of_a_rollout() -> Gate {
    let values = LimitValues {
        halt_at: 3,
        tolerate: 5,
        at_once: 10,
        settle_s: 1_800,
        first_settle_s: 7_200,
        wait_s: 86_400,
    };
    let id = RolloutId::from_bytes([7; 16]);
    Gate::new(id, "packcast".to_owned(), values.try_into().unwrap(), AT)
}

fn failure(host_name: &str, code: &str) -> DeviceFailure {
    let device: OcsDeviceId = format!("{host_name}-2026-03-04-05-06-07").parse().unwrap();
    DeviceFailure {
        device: DeviceId::Ocs(device),
        code: code.parse().unwrap(),
    }
}

#[test]
fn every_key_and_item_of_a_rollout() {
    let gate_with_failure = Gate {
        changed: Some(AT),
        evidence: vec![failure("web01", "EXIT_CODE_1603")],
        ..gate_of_a_rollout()
    };
    let rollout = gate_with_failure.rollout;
    let place = Place { rollout, round: 1 };
    let begun = OpenTask {
        place: Some(place),
        ..open_task(TaskState::Announced { announced_at: AT })
    };
    let settles = Settling {
        place,
        package: id(),
        until: AT,
        ran_in: None,
    };
    let items = [
        gate(&gate_with_failure),
        rollout_of(id(), rollout),
        task(&pc(), &begun),
        settling(&pc(), &settles),
    ];
    check_read(gate(&gate_with_failure), &gate_with_failure);
    check_read(task(&pc(), &begun), &begun);
    check_read(settling(&pc(), &settles), &settles);
    assert_snapshot!(show(&items), @r#"
    GATE#a4dqobyha4dqobyha4dqobyha4 | GATE
      all_begun: 0
      all_failed: 0
      all_healthy: 0
      begun: 0
      changed: 1795000000
      evidence: [{code: "EXIT_CODE_1603", device: "ocs:web01-2026-03-04-05-06-07"}]
      failed: 0
      free: 3
      healthy: 0
      limits: {at_once: 10, first_settle_s: 7200, halt_at: 3, settle_s: 1800, tolerate: 5, wait_s: 86400}
      rollout: "a4dqobyha4dqobyha4dqobyha4"
      round: 1
      since: 1795000000
      state: "running"
      table: "packcast"
      wave: 1
    PACKAGE#1795327754 | ROLLOUT#a4dqobyha4dqobyha4dqobyha4
      rollout: "a4dqobyha4dqobyha4dqobyha4"
    DEVICE#ocs:web01-2026-03-04-05-06-07 | 1#TASK#05#1795327754
      assigned_at: 1795000000
      attempt: 2
      direct: true
      force: false
      ipk: "PACKAGE#1795327754#28"
      isk: "announced#ocs:web01-2026-03-04-05-06-07"
      mandate: 1795000000
      package: "1795327754"
      place: {rollout: "a4dqobyha4dqobyha4dqobyha4", round: 1}
      priority: 5
      state: {announced_at: 1795000000, state: "announced"}
    DEVICE#ocs:web01-2026-03-04-05-06-07 | 0#SETTLING#1795327754
      package: "1795327754"
      place: {rollout: "a4dqobyha4dqobyha4dqobyha4", round: 1}
      until: 1795000000
    "#);
}

#[test]
fn the_largest_gate_fits_one_kib() {
    let longest = Gate {
        table: "t".repeat(255),
        round: u32::MAX,
        changed: Some(AT),
        free: u32::MAX,
        begun: u32::MAX,
        healthy: u32::MAX,
        failed: u32::MAX,
        all_begun: u32::MAX,
        all_healthy: u32::MAX,
        all_failed: u32::MAX,
        ..gate_of_a_rollout()
    };
    let mut largest = 0;
    for (host_name, code) in [(150, 4), (40, 40), (20, 20)] {
        let mut full = longest.clone();
        for _ in 0..9 {
            let one = failure(&"w".repeat(host_name), &"X".repeat(code));
            full.evidence = full.evidence_with(one);
        }
        let bytes: usize = gate(&full)
            .iter()
            .map(|(name, value)| name.len() + shown(value).len())
            .sum();
        largest = largest.max(bytes);
    }
    assert!((890..=1024).contains(&largest), "{largest}");
}

#[test]
fn every_key_and_item_of_an_excluded_device() {
    let exclusion = Exclusion {
        kind: ExclusionKind::Removed,
        since: AT,
        reason: Some("scrapped".parse().unwrap()),
    };
    let items = [
        tombstone(
            &pc(),
            ReconcileCount::FIRST.next(),
            item::attribute(&exclusion),
        ),
        excluded_device(&ExcludedDevice {
            device: pc(),
            host_name: "web01".to_owned(),
            exclusion,
        }),
    ];
    assert_snapshot!(show(&items), @r#"
    DEVICE#ocs:web01-2026-03-04-05-06-07 | 0#DEVICE
      device: "ocs:web01-2026-03-04-05-06-07"
      excluded: {kind: "removed", reason: "scrapped", since: 1795000000}
      round: 1
    CATALOG | EXCLUDED#ocs:web01-2026-03-04-05-06-07
      device: "ocs:web01-2026-03-04-05-06-07"
      host_name: "web01"
      kind: "removed"
      reason: "scrapped"
      since: 1795000000
    "#);
}

fn check_read<T: DeserializeOwned + PartialEq + std::fmt::Debug>(mut item: Item, expected: &T) {
    assert_eq!(&read::<T>(item.clone()).unwrap(), expected);
    item.insert("of_a_newer_writer".to_owned(), text("x"));
    assert_eq!(&read::<T>(item).unwrap(), expected);
}

#[test]
fn records_read_back_with_attributes_of_newer_writers() {
    let withdrawn = open_task(TaskState::Withdrawn { announced_at: AT });
    let mut draft = package_record();
    draft.state = PackageState::Draft;
    draft.action = Action::Execute {
        archive: None,
        command: "true".parse().unwrap(),
    };
    check_read(device(&device_record()), &device_record());
    check_read(task(&pc(), &withdrawn), &withdrawn);
    check_read(finished(&pc(), &finished_task()), &finished_task());
    check_read(package(&package_record()), &package_record());
    check_read(package(&draft), &draft);
    check_read(location(&location_record()), &location_record());
    check_read(facts(&facts_record()), &facts_record());
    check_read(pace(&pc(), &slow()), &slow());
    check_read(group(&group_state()), &group_state());
    let slowed_down = GroupState {
        pace: slow(),
        ..group_state()
    };
    check_read(group(&slowed_down), &slowed_down);
}

#[test]
fn an_invalid_record_is_named_by_its_key() {
    let mut item = device(&device_record());
    item.insert("device".to_owned(), text("nobody"));
    let error = read::<DeviceRecord>(item).unwrap_err();
    let key = "DEVICE#ocs:web01-2026-03-04-05-06-07 0#DEVICE";
    assert!(matches!(&error, RecordsError::Corrupt { key: named, .. } if named == key));
    assert!(!error.is_retryable());
}

#[test]
fn a_device_with_the_longest_id_fits_a_quarter_of_a_read_unit() {
    let longest = format!("{}-2026-03-04-05-06-07", "x".repeat(180));
    let record = DeviceRecord {
        device: DeviceId::Ocs(longest.parse().unwrap()),
        host_name: "x".repeat(180),
        inventory_received: Some(AT),
        ..device_record()
    };
    let bytes: usize = device(&record)
        .iter()
        .map(|(name, value)| name.len() + shown(value).len())
        .sum();
    assert!(bytes <= 1024, "{bytes}");
}
