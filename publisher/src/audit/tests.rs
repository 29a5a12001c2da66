//! Audits of a target on an embedded engine.

use packcast_protocol::{DeviceId, with_causes};
use packcast_rollout::state::{EntryOwner, StateChange};
use packcast_rollout::{LocationRecord, PackageRecord};
use packcast_store::ObjectKey;
use packcast_store::records::RecordedHead;
use packcast_testing::fault::FaultRates;
use serde_json::Value;

use super::*;
use crate::rendered::failures;
use crate::test_target::{
    TestTarget, assign, assign_published, create_lab, join, lab, unassign_lab,
};

/// Time after which a command is expected to have written its records, in seconds.
const LATER_S: u64 = 7_200;

const DAY_S: u64 = 86_400;

/// A target with records that follow its state.
struct Sample {
    target: TestTarget,
    devices: Vec<DeviceId>,
    tool: PackageRecord,
    own: PackageRecord,
    commits: Vec<CommitId>,
}

fn in_lab() -> EntryOwner {
    EntryOwner::Group(lab())
}

fn add_location(name: &str) -> StateChange {
    StateChange::AddLocation {
        location: name.parse().unwrap(),
        url: "cdn.example.net".parse().unwrap(),
    }
}

impl Sample {
    async fn start(seed: u64) -> Self {
        let target = TestTarget::start(seed).await;
        let mut devices = vec![target.table.agent(1).await];
        for number in 2..5 {
            devices.push(target.table.device(number).await);
        }
        let tool = target.publish("tool").await;
        let own = target.publish("own").await;
        let to_device = EntryOwner::Device(devices[0].clone());
        let prefer = StateChange::Prefer {
            group: lab(),
            location: Some("cdn".parse().unwrap()),
        };
        let first = [add_location("cdn"), create_lab(), prefer];
        let second = [
            join(devices[..2].to_vec()),
            assign_published(in_lab(), &tool),
            assign_published(to_device, &own),
        ];
        let commits = vec![
            target.change_all(&first).await,
            target.change_all(&second).await,
        ];
        Self {
            target,
            devices,
            tool,
            own,
            commits,
        }
    }

    async fn audit_after(&self, seconds: u64) -> AuditReport {
        let now = now().plus(seconds);
        let progress = Progress::none();
        let audited = audit_at(&self.target.target, &[], now, &progress);
        audited.await.unwrap()
    }

    async fn audit(&self) -> AuditReport {
        self.audit_after(LATER_S).await
    }

    /// Writes findings with names for ids that differ from run to run.
    fn sentences(&self, findings: &[Finding]) -> String {
        let lines: Vec<String> = findings
            .iter()
            .map(|it| format!("{:?}: {}", it.part(), with_causes(it)))
            .collect();
        let mut text = lines.join("\n");
        // Commits first: the number of a commit may be the id of a package.
        for (index, commit) in self.commits.iter().enumerate() {
            text = text.replace(&commit.to_string(), &format!("COMMIT{index}"));
        }
        for (id, name) in [(self.tool.id, "TOOL"), (self.own.id, "OWN")] {
            text = text.replace(&id.to_string(), name);
        }
        for (index, device) in self.devices.iter().enumerate() {
            text = text.replace(&device.to_string(), &format!("DEVICE{index}"));
        }
        text
    }
}

#[tokio::test]
async fn records_that_follow_the_state_have_no_findings() {
    let sample = Sample::start(340).await;
    let report = sample.audit().await;
    assert_eq!(sample.sentences(&report.findings), "");
    assert_eq!(sample.sentences(&report.unwritten), "");
    assert_eq!(report.warnings, []);
    report.conclude().unwrap();
    assert_eq!(report.head, sample.commits.last().copied());
    let counts = (report.commits, report.groups, report.devices);
    assert_eq!(counts, (2, 1, 2));
    assert_eq!((report.locations, report.packages), (1, 2));
}

#[tokio::test]
async fn a_target_without_commits_has_no_findings() {
    let target = TestTarget::start(341).await;
    let report = audit(&target.target, &[], &Progress::none()).await.unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert_eq!(report.head, None);
}

#[tokio::test]
async fn records_that_differ_from_the_state_are_found() {
    let sample = Sample::start(342).await;
    let table = &sample.target.table;
    let cdn = table.records.locations().await.unwrap().remove(0);
    table.delete("CATALOG", "LOCATION#cdn").await;
    let other = LocationRecord {
        name: "mirror".parse().unwrap(),
        ..cdn
    };
    table.records.add_location(&other).await.unwrap();
    let mut state = table.item("GROUP#lab", "STATE").await;
    state["assignments"]["L"][0]["M"]["force"]["BOOL"] = true.into();
    table.put(&state).await;
    let own = format!("DEVICE#{}", sample.devices[1]);
    let mut device = table.item(&own, "0#DEVICE").await;
    device["groups"]["M"].as_object_mut().unwrap().remove("lab");
    table.put(&device).await;
    let report = sample.audit().await;
    insta::assert_snapshot!(sample.sentences(&report.findings), @"
    Records: device/DEVICE1: groups or assigned packages differ
    Records: group/lab: packages or settings differ
    Records: location/cdn: only the head or only the records have it
    Records: location/mirror: only the head or only the records have it
    ");
    insta::assert_snapshot!(failures([report.conclude().unwrap_err()]), @"
    Conflict: the audit found 4 problems
    hint: follow the remedies above
    ");
}

#[tokio::test]
async fn records_of_a_running_command_are_named_as_such() {
    let sample = Sample::start(343).await;
    let changes = [
        join([sample.devices[2].clone()]),
        unassign_lab(sample.tool.id),
    ];
    sample.target.change(&changes, "packcast").await;
    let early = sample.audit_after(60).await;
    assert_eq!(sample.sentences(&early.findings), "");
    insta::assert_snapshot!(sample.sentences(&early.unwritten), @"
    Records: device/DEVICE2: the record follows from another document
    Records: group/lab: packages or settings differ
    Records: group/lab: its entry under package TOOL is missing or left over
    Records: group/lab: other devices are members
    Records: group/lab: the number of members is wrong
    ");
    early.conclude().unwrap();
    let late = sample.audit().await;
    assert_eq!(
        sample.sentences(&late.findings),
        sample.sentences(&early.unwritten)
    );
    // Other records of the same time are findings at once.
    let table = &sample.target.table;
    let head = table.records.head().await.unwrap().unwrap();
    let recorded = RecordedHead {
        order: head.order,
        commit: head.commit.id,
    };
    table.records.record_head(&recorded).await.unwrap();
    table.delete("CATALOG", "LOCATION#cdn").await;
    let early = sample.audit_after(60).await;
    assert_eq!(sample.sentences(&early.unwritten), "");
    insta::assert_snapshot!(sample.sentences(&early.findings), @"
    Records: device/DEVICE2: the record follows from another document
    Records: group/lab: packages or settings differ
    Records: group/lab: its entry under package TOOL is missing or left over
    Records: group/lab: other devices are members
    Records: group/lab: the number of members is wrong
    Records: location/cdn: only the head or only the records have it
    ");
}

#[tokio::test]
async fn a_head_that_was_put_back_is_found_by_the_table_and_by_the_memory() {
    let sample = Sample::start(344).await;
    let head = sample.target.table.item("HEAD", "HEAD").await;
    let mut commits = sample.commits.clone();
    commits.push(
        sample
            .target
            .change_all(&[unassign_lab(sample.tool.id)])
            .await,
    );
    sample.target.table.put(&head).await;
    let report = sample.audit().await;
    let mut shown = sample.sentences(&report.findings);
    shown = shown.replace(&commits[2].to_string(), "COMMIT2");
    insta::assert_snapshot!(shown, @"
    History: the history of the head leaves out commit COMMIT2, which a publisher key has signed
    Memory: the head leaves out commit COMMIT2, which this machine remembers
    Records: group/lab: packages or settings differ
    Records: group/lab: its entry under package TOOL is missing or left over
    ");

    // A machine without memory cannot know, and says so.
    let memory = &sample.target.target.state_memory;
    let content = std::fs::read_to_string(memory).unwrap();
    let first = content.lines().next().unwrap();
    std::fs::write(memory, format!("{first}\n")).unwrap();
    let report = sample.audit().await;
    assert_eq!(report.warnings.len(), 1);
    let parts: Vec<AuditPart> = report.findings.iter().map(Finding::part).collect();
    assert!(!parts.contains(&AuditPart::Memory), "{parts:?}");
}

#[tokio::test]
async fn an_audit_remembers_the_head() {
    let sample = Sample::start(345).await;
    let memory = &sample.target.target.state_memory;
    let before = std::fs::read_to_string(memory).unwrap();
    let changed = sample
        .target
        .change_all(&[unassign_lab(sample.tool.id)])
        .await;
    // The commit of another machine.
    std::fs::write(memory, &before).unwrap();
    let report = sample.audit().await;
    assert_eq!(sample.sentences(&report.findings), "");
    let after = std::fs::read_to_string(memory).unwrap();
    assert!(after.starts_with(&before));
    let added = &after[before.len()..];
    assert!(
        added.contains(&changed.to_string()) && added.contains("seen"),
        "{added}"
    );
    sample.audit().await;
    assert_eq!(std::fs::read_to_string(memory).unwrap(), after);
}

#[tokio::test]
async fn a_commit_that_this_machine_has_yet_to_store_is_found() {
    let sample = Sample::start(346).await;
    let faults = &sample.target.table.faults;
    let refuse = |conflicts| FaultRates {
        conflicts,
        ..FaultRates::default()
    };
    faults.set_rates(refuse(1_000));
    let change = [unassign_lab(sample.tool.id)];
    let refused = sample.target.try_change(&change, "packcast").await;
    refused.unwrap_err();
    faults.set_rates(refuse(0));
    let report = sample.audit_after(60).await;
    assert!(
        matches!(report.findings[..], [Finding::Unfinished { .. }]),
        "{:?}",
        report.findings
    );
}

#[tokio::test]
async fn forged_and_damaged_parts_of_the_state_are_found() {
    let sample = Sample::start(347).await;
    let table = &sample.target.table;
    sample
        .target
        .forge(sample.commits[0], |item| {
            item["signature"]["S"] = "untrusted comment: none".into();
        })
        .await;
    let report = sample.audit().await;
    insta::assert_snapshot!(sample.sentences(&report.findings), @"History: cannot verify commit COMMIT0: cannot verify the commit: the signature is not in minisign format");

    // A document with another text.
    let trust = sample.target.target.trust().unwrap();
    let state = TargetState::read(&table.records, &trust).await;
    let mut state = state.unwrap();
    let names = BTreeSet::from([LeafName::Group(lab())]);
    let digests = state.trees.digests(&table.records, names).await.unwrap();
    let digest = digests.into_values().next().flatten().unwrap();
    let key = format!("DOC#{digest}");
    let document = table.item(&key, "DOC").await;
    let mut forged = document.clone();
    forged["text"]["S"] = "{}".into();
    table.put(&forged).await;
    let report = sample.audit().await;
    let parts: Vec<AuditPart> = report.findings.iter().map(Finding::part).collect();
    assert_eq!(parts, [AuditPart::History, AuditPart::Trees]);
    table.put(&document).await;

    // A page with other bytes.
    let key = format!("PAGE#{}", state.trees.devices.root());
    let mut page = table.item(&key, "PAGE").await;
    page["bytes"]["B"] = "AA==".into();
    table.put(&page).await;
    let report = sample.audit().await;
    let root = state.trees.devices.root().to_string();
    let shown = sample.sentences(&report.findings).replace(&root, "ROOT");
    insta::assert_snapshot!(shown, @"
    Trees: cannot read the tree of devices: cannot read page ROOT: hash mismatch: expected ROOT, found 0000000000000000000000000000000000000000000000000000000000000000
    History: cannot verify commit COMMIT0: cannot verify the commit: the signature is not in minisign format
    ");

    // The head itself.
    let mut head: Value = table.item("HEAD", "HEAD").await;
    head["signature"]["S"] = "untrusted comment: none".into();
    table.put(&head).await;
    let report = sample.audit().await;
    insta::assert_snapshot!(sample.sentences(&report.findings), @"History: cannot verify the head of the target: cannot verify the commit: the signature is not in minisign format");
    assert_eq!(report.head, None);
}

#[tokio::test]
async fn manifests_are_verified_by_digest_and_signature() {
    let sample = Sample::start(348).await;
    let tool = &sample.tool;
    let folder = sample.target.objects();
    let path = |key: ObjectKey| folder.join(key.path());
    let manifest = path(ObjectKey::manifest(&tool.folder, tool.id));
    let content = std::fs::read(&manifest).unwrap();
    std::fs::write(&manifest, [&content[..], b" "].concat()).unwrap();
    let gone = sample.target.publish("gone").await;
    std::fs::remove_file(path(ObjectKey::manifest(&gone.folder, gone.id))).unwrap();
    let assign_gone = assign_published(in_lab(), &gone);
    sample.target.change_all(&[assign_gone]).await;
    let other = sample.target.publish("other").await;
    let wrong = assign(in_lab(), other.id);
    sample.target.change_all(&[wrong]).await;
    let report = sample.audit().await;
    let shown = sample.sentences(&report.findings);
    let shown = shown
        .replace(&gone.id.to_string(), "GONE")
        .replace(&other.id.to_string(), "OTHER")
        .replace(&tool.folder.to_string(), "FOLDER")
        .replace(&gone.folder.to_string(), "FOLDER");
    insta::assert_snapshot!(shown, @"
    Packages: cannot verify the manifest of package TOOL: the content of object FOLDER/TOOL/manifest.json differs from the published object
    Packages: cannot verify the manifest of package GONE: cannot find object FOLDER/GONE/manifest.json in the store
    Packages: the record of package OTHER has another manifest than the assignment to group lab
    ");
}

#[tokio::test]
async fn a_state_that_ends_soon_is_found_in_time() {
    let sample = Sample::start(349).await;
    let kinds = async |days: u64| {
        let report = sample.audit_after(days * DAY_S).await;
        let name = |finding: &Finding| {
            let debug = format!("{finding:?}");
            debug.split([' ', '{']).next().unwrap().to_owned()
        };
        report.findings.iter().map(name).collect::<Vec<_>>()
    };
    assert!(kinds(50).await.is_empty());
    assert_eq!(kinds(69).await, ["HeadExpiresSoon"]);
    assert_eq!(kinds(75).await, ["ListExpiresSoon", "HeadExpiresSoon"]);
    assert_eq!(kinds(101).await, ["ListExpired", "HeadExpired"]);
}

#[test]
fn findings_above_the_maximum_are_counted() {
    let mut found = Findings::default();
    let finding = || Finding::HeadExpired {
        expires: UnixTime(1_795_000_000),
    };
    found.extend((0..MAX_FINDINGS + 2).map(|_| finding()));
    let all = found.into_all();
    assert_eq!(all.len(), MAX_FINDINGS + 1);
    insta::assert_snapshot!(all.last().unwrap(), @"the audit left out 2 other findings");
}
