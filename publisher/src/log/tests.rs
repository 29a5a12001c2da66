//! Logs of a target on an embedded engine.

use packcast_protocol::state::CommitId;
use packcast_rollout::state::{EntryOwner, StateChange};
use packcast_testing::table::device;
use serde_json::json;

use super::*;
use crate::deactivate;
use crate::device::exclusion::{self, ExclusionChange};
use crate::pause::{pause, resume};
use crate::rendered::failures;
use crate::test_target::{
    TestTarget, assign, assign_lab, create_lab, devices, join, lab, unassign_lab,
};

/// Asks for commits only.
fn request() -> LogRequest {
    LogRequest {
        limit: NEWEST_CHANGES,
        before: None,
        after: None,
        is_signed_only: true,
        package: None,
        group: None,
        device: None,
        most_reads: None,
    }
}

/// The standings of four commits, of which the second newest does not verify.
const ONE_UNVERIFIED: [LoggedStanding; 4] = [
    LoggedStanding::Verified,
    LoggedStanding::Unverified,
    LoggedStanding::Verified,
    LoggedStanding::Verified,
];

/// Asks for commits and events.
fn with_events() -> LogRequest {
    LogRequest {
        is_signed_only: false,
        ..request()
    }
}

fn commits_of(log: &TargetLog) -> Vec<&LoggedCommit> {
    let entries = log.entries.iter();
    let commits = entries.filter_map(|entry| match entry {
        LogEntry::Commit(commit) => Some(&**commit),
        LogEntry::Event(_) => None,
    });
    commits.collect()
}

fn standings(log: &TargetLog) -> Vec<LoggedStanding> {
    commits_of(log).iter().map(|it| it.standing).collect()
}

fn ids(log: &TargetLog) -> Vec<CommitId> {
    commits_of(log).iter().map(|it| it.commit).collect()
}

/// Writes a log without times, numbers and keys, which differ from run to run.
fn shown(log: &TargetLog) -> String {
    let commit = |commit: &LoggedCommit| {
        let about = commit.about.as_ref();
        let about = about.map(|it| format!("{}@{} {}", it.author, it.host, it.command));
        let mut lines = vec![format!(
            "{:?} {}",
            commit.standing,
            about.unwrap_or_default()
        )];
        lines.extend(commit.lines.iter().map(|line| format!("  {line}")));
        lines.join("\n")
    };
    let event = |event: &LoggedEvent| {
        let mut lines = vec![format!(
            "{:?} {}@{}",
            event.standing, event.author, event.host
        )];
        lines.extend(event.lines.iter().map(|line| format!("  {line}")));
        lines.extend(event.problem.iter().map(|it| format!("  problem: {it}")));
        lines.join("\n")
    };
    let entries = log.entries.iter().map(|entry| match entry {
        LogEntry::Commit(it) => commit(it),
        LogEntry::Event(it) => event(it),
    });
    entries.collect::<Vec<_>>().join("\n")
}

/// A target with four commits, the oldest first.
async fn target(seed: u64) -> (TestTarget, Vec<CommitId>) {
    let target = TestTarget::start(seed).await;
    let package = target.table.package("vlc", 5).await.id;
    target.table.device(1).await;
    let commits = vec![
        target
            .change(&[create_lab()], "packcast group create lab")
            .await,
        target
            .change(
                &[join(devices(240))],
                "packcast group add lab --from all.txt",
            )
            .await,
        target
            .change(
                &[assign_lab(package)],
                "packcast assign vlc@1.0 --group lab",
            )
            .await,
        target
            .change(
                &[unassign_lab(package)],
                "packcast unassign vlc@1.0 --group lab",
            )
            .await,
    ];
    (target, commits)
}

#[tokio::test]
async fn the_newest_commit_comes_first_with_its_changes() {
    let (target, commits) = target(320).await;
    let all = log(&target.target, &request()).await.unwrap();
    insta::assert_snapshot!(shown(&all), @"
    Verified ada@laptop packcast unassign vlc@1.0 --group lab
      group lab: unassigned vlc@1.0
    Verified ada@laptop packcast assign vlc@1.0 --group lab
      group lab: assigned vlc@1.0
    Verified ada@laptop packcast group add lab --from all.txt
      group lab: ocs:pc0-2026-03-04-05-06-07, pc1, ocs:pc10-2026-03-04-05-06-07, ocs:pc100-2026-03-04-05-06-07, ocs:pc101-2026-03-04-05-06-07 and 235 other devices joined
    Verified ada@laptop packcast group create lab
      group lab: created
    ");
    all.conclude().unwrap();
    let mut newest_first = commits.clone();
    newest_first.reverse();
    assert_eq!(ids(&all), newest_first);
    let keys = target.target.trust().unwrap();
    assert!(
        commits_of(&all)
            .iter()
            .all(|it| it.key.as_ref() == keys.roots().first())
    );
    assert!(commits_of(&all).iter().all(|it| it.issued.is_some()));

    let some = LogRequest {
        limit: 2,
        before: Some(commits[3].number),
        after: None,
        ..request()
    };
    let some = log(&target.target, &some).await.unwrap();
    assert_eq!(ids(&some), newest_first[1..3]);
}

#[tokio::test]
async fn a_log_with_few_reads_leaves_out_a_large_difference() {
    let target = TestTarget::start(328).await;
    let package = target.table.package("vlc", 5).await.id;
    let mut commits = Vec::new();
    for change in [create_lab(), join(devices(1_200)), assign_lab(package)] {
        commits.push(target.change(&[change], "packcast").await);
    }
    let few = LogRequest {
        most_reads: Some(48),
        ..request()
    };
    let few = log(&target.target, &few).await.unwrap();
    let left_out = |it: &&LoggedCommit| it.is_left_out;
    let left_out: Vec<CommitId> = commits_of(&few)
        .into_iter()
        .filter(left_out)
        .map(|it| it.commit)
        .collect();
    assert_eq!(left_out, [commits[1]]);
    few.conclude().unwrap();
    let found = find_commit(&target.target, commits[1]).await.unwrap();
    let found = found.unwrap();
    assert_eq!(found.standing, LoggedStanding::Verified);
    assert!(!found.is_left_out && found.lines.len() == 1, "{found:?}");
    let other = CommitId {
        digest: Sha256Digest::of(b"other"),
        ..commits[1]
    };
    assert!(find_commit(&target.target, other).await.unwrap().is_none());
}

#[tokio::test]
async fn a_log_without_commits_is_empty() {
    let target = TestTarget::start(321).await;
    let log = log(&target.target, &request()).await.unwrap();
    assert!(log.entries.is_empty());
}

#[tokio::test]
async fn a_filter_keeps_the_changes_of_a_package_a_group_or_a_device() {
    let (target, _) = target(322).await;
    let package = target.table.package("news", 5).await.id;
    let own = EntryOwner::Device(device(1).device);
    let changes = [
        assign(own, package),
        StateChange::CreateGroup {
            group: "office".parse().unwrap(),
        },
    ];
    target
        .change(&changes, "packcast assign news@1.0 --device pc1")
        .await;
    let filtered = async |request: LogRequest| {
        let log = log(&target.target, &request).await.unwrap();
        shown(&log)
    };
    let of_package = filtered(LogRequest {
        package: Some("vlc@1.0".parse().unwrap()),
        ..request()
    });
    insta::assert_snapshot!(of_package.await, @"
    Verified ada@laptop packcast unassign vlc@1.0 --group lab
      group lab: unassigned vlc@1.0
    Verified ada@laptop packcast assign vlc@1.0 --group lab
      group lab: assigned vlc@1.0
    ");
    let of_group = filtered(LogRequest {
        group: Some("office".parse().unwrap()),
        ..request()
    });
    insta::assert_snapshot!(of_group.await, @"
    Verified ada@laptop packcast assign news@1.0 --device pc1
      group office: created
    ");
    let of_device = filtered(LogRequest {
        device: Some("pc1".parse().unwrap()),
        ..request()
    });
    insta::assert_snapshot!(of_device.await, @"
    Verified ada@laptop packcast assign news@1.0 --device pc1
      device pc1: assigned news@1.0
    Verified ada@laptop packcast group add lab --from all.txt
      group lab: ocs:pc0-2026-03-04-05-06-07, pc1, ocs:pc10-2026-03-04-05-06-07, ocs:pc100-2026-03-04-05-06-07, ocs:pc101-2026-03-04-05-06-07 and 235 other devices joined
    ");
    let of_both = filtered(LogRequest {
        group: Some(lab()),
        device: Some("pc1".parse().unwrap()),
        ..request()
    });
    insta::assert_snapshot!(of_both.await, @"
    Verified ada@laptop packcast group add lab --from all.txt
      group lab: ocs:pc0-2026-03-04-05-06-07, pc1, ocs:pc10-2026-03-04-05-06-07, ocs:pc100-2026-03-04-05-06-07, ocs:pc101-2026-03-04-05-06-07 and 235 other devices joined
    ");
}

#[tokio::test]
async fn forged_lost_and_foreign_commits_are_shown_as_such() {
    let (target, commits) = target(323).await;
    let copied = commits[2];
    // A signature of another commit.
    let other = target
        .table
        .item("COMMIT", &crate::test_target::commit_key(commits[1]))
        .await;
    target
        .forge(copied, |item| {
            item["signature"] = other["signature"].clone();
        })
        .await;
    let forged = log(&target.target, &request()).await.unwrap();
    assert_eq!(standings(&forged), ONE_UNVERIFIED);
    // The history names the commit by its digest, so its changes are known.
    assert_eq!(commits_of(&forged)[1].lines.len(), 1);
    insta::assert_snapshot!(failures([forged.conclude().unwrap_err()]), @"
    Conflict: cannot verify 1 of 4 commits
    hint: run 'packcast audit' to check the whole target
    ");
    let problem = commits_of(&forged)[1].problem.clone().unwrap();
    assert!(
        problem.starts_with(&format!("cannot verify commit {copied}")),
        "{problem}"
    );

    // Another text under the same key: the commit is lost.
    target
        .forge(copied, |item| {
            item["document"] = other["document"].clone();
            item["signature"] = other["signature"].clone();
        })
        .await;
    let lost = log(&target.target, &request()).await.unwrap();
    assert_eq!(standings(&lost), ONE_UNVERIFIED);
    assert!(commits_of(&lost)[1].lines.is_empty());
}

#[tokio::test]
async fn a_commit_that_the_head_leaves_out_is_shown_as_replaced() {
    let (target, commits) = target(324).await;
    let head = target.table.item("HEAD", "HEAD").await;
    let package = target.table.package("news", 5).await.id;
    let left_out = target
        .change(&[assign_lab(package)], "packcast assign news")
        .await;
    target.table.put(&head).await;
    let log = log(&target.target, &request()).await.unwrap();
    let (listed, commits_of) = (ids(&log), commits_of(&log));
    assert_eq!(listed[0], left_out);
    assert_eq!(listed[1], commits[3]);
    assert_eq!(commits_of[0].standing, LoggedStanding::Replaced);
    assert_eq!(commits_of[1].standing, LoggedStanding::Verified);
    assert_eq!(commits_of[0].lines.len(), 1);
}

/// Removes the events of the test's packages, which are older than all others.
async fn recent(target: &TestTarget, request: LogRequest) -> TargetLog {
    let mut log = log(&target.target, &request).await.unwrap();
    let is_recent = |entry: &LogEntry| match entry {
        LogEntry::Commit(_) => true,
        LogEntry::Event(event) => event.host != "desk",
    };
    log.entries.retain(is_recent);
    log
}

#[tokio::test]
async fn commits_and_events_are_in_the_order_of_their_times() {
    let target = TestTarget::start(325).await;
    let package = target.table.package("vlc", 5).await;
    target.table.device(1).await;
    let name = "pc1".parse::<DeviceName>().unwrap();
    let reference: PackageRef = "vlc@1.0".parse().unwrap();
    let plan = deactivate::plan(&target.target, &reference).await.unwrap();
    plan.perform().await.unwrap();
    pause(&target.target).await.unwrap();
    resume(&target.target).await.unwrap();
    let reason = "stolen".parse().unwrap();
    let names = std::slice::from_ref(&name);
    let block = ExclusionChange::Block {
        reason: Some(reason),
    };
    for change in [block, ExclusionChange::Unblock] {
        let plan = exclusion::plan(&target.target, names, change);
        plan.await.unwrap().perform().await.unwrap();
    }
    target
        .change(&[create_lab()], "packcast group create lab")
        .await;
    target
        .change(
            &[assign_lab(package.id)],
            "packcast assign vlc@1.0 --group lab",
        )
        .await;
    let all = recent(&target, with_events()).await;
    insta::assert_snapshot!(shown(&all), @"
    Verified ada@laptop packcast assign vlc@1.0 --group lab
      group lab: assigned vlc@1.0
    Verified ada@laptop packcast group create lab
      group lab: created
    Unsigned ada@laptop
      unblocked device pc1
    Unsigned ada@laptop
      blocked device pc1: stolen
    Unsigned ada@laptop
      resumed the target
    Unsigned ada@laptop
      paused the target
    Unsigned ada@laptop
      deactivated vlc@1.0
    ");
    all.conclude().unwrap();
    let newest = recent(
        &target,
        LogRequest {
            limit: 3,
            ..with_events()
        },
    )
    .await;
    assert_eq!(shown(&newest).lines().count(), 6);

    let of_package = LogRequest {
        package: Some(reference),
        ..with_events()
    };
    insta::assert_snapshot!(shown(&recent(&target, of_package).await), @"
    Verified ada@laptop packcast assign vlc@1.0 --group lab
      group lab: assigned vlc@1.0
    Unsigned ada@laptop
      deactivated vlc@1.0
    ");
    let of_device = LogRequest {
        device: Some(name),
        ..with_events()
    };
    insta::assert_snapshot!(shown(&recent(&target, of_device).await), @"
    Unsigned ada@laptop
      unblocked device pc1
    Unsigned ada@laptop
      blocked device pc1: stolen
    ");
    let of_group = LogRequest {
        group: Some(lab()),
        ..with_events()
    };
    insta::assert_snapshot!(shown(&recent(&target, of_group).await), @"
    Verified ada@laptop packcast assign vlc@1.0 --group lab
      group lab: assigned vlc@1.0
    Verified ada@laptop packcast group create lab
      group lab: created
    ");
    assert_eq!(
        commits_of(&log(&target.target, &request()).await.unwrap()).len(),
        2
    );
}

#[tokio::test]
async fn commits_and_events_of_one_second_are_in_their_order() {
    let target = TestTarget::start(327).await;
    let package = target.table.package("vlc", 5).await.id;
    pause(&target.target).await.unwrap();
    target
        .change(&[create_lab()], "packcast group create lab")
        .await;
    resume(&target.target).await.unwrap();
    target
        .change(&[assign_lab(package)], "packcast assign vlc@1.0")
        .await;
    pause(&target.target).await.unwrap();
    let all = recent(&target, with_events()).await;
    insta::assert_snapshot!(shown(&all), @"
    Unsigned ada@laptop
      paused the target
    Verified ada@laptop packcast assign vlc@1.0
      group lab: assigned vlc@1.0
    Unsigned ada@laptop
      resumed the target
    Verified ada@laptop packcast group create lab
      group lab: created
    Unsigned ada@laptop
      paused the target
    ");
}

#[test]
fn a_time_outside_the_signed_second_gives_a_commit_no_place() {
    let id = CommitId {
        number: 1_795_000_000,
        digest: packcast_protocol::Sha256Digest::of(b"commit"),
    };
    let check = |at: Option<u64>, expected: u64| {
        let problem = crate::state::CommitProblem::Lost { id };
        let commit = PastCommit {
            at: at.map(EventTime::of_microseconds),
            ..PastCommit::unverified(id, problem)
        };
        let time = time_among_events(&commit);
        assert_eq!(time, EventTime::of_microseconds(expected), "{at:?}");
    };
    let end = 1_795_000_000_999_999;
    check(None, end);
    check(Some(1_795_000_000_000_007), 1_795_000_000_000_007);
    for at in [0, 1_794_999_999_999_999, 1_795_000_001_000_000, u64::MAX] {
        check(Some(at), end);
    }
}

#[tokio::test]
async fn an_event_that_cannot_be_read_is_a_problem() {
    let target = TestTarget::start(326).await;
    pause(&target.target).await.unwrap();
    let forged = json!({
        "pk": { "S": "EVENT" }, "sk": { "S": "01800000000000000000-00" },
        "user": { "S": "ada" }, "host": { "S": "" }, "change": { "S": "promoted" },
    });
    target.table.put(&forged).await;
    let log = log(&target.target, &with_events()).await.unwrap();
    assert_eq!(log.entries.len(), 2);
    let problem = failures([log.conclude().unwrap_err()]);
    insta::assert_snapshot!(problem, @"
    Conflict: cannot read 1 of 2 events: the records are invalid
    hint: run 'packcast log --signed' to see the commits only: nobody can forge them without a key
    ");
    let LogEntry::Event(event) = &log.entries[0] else {
        panic!("expected the forged event, found {:?}", log.entries[0]);
    };
    assert_eq!(event.issued, UnixTime(1_800_000_000_000));
    assert!(event.problem.is_some() && event.changes.is_empty());
    let signed = super::log(&target.target, &request()).await.unwrap();
    signed.conclude().unwrap();
}

#[test]
fn messages() {
    insta::assert_snapshot!(failures([unverified(1, 1), unverified(2, 5), unreadable(1, 2)]), @"
    Conflict: cannot verify 1 of 1 commit
    hint: run 'packcast audit' to check the whole target
    Conflict: cannot verify 2 of 5 commits
    hint: run 'packcast audit' to check the whole target
    Conflict: cannot read 1 of 2 events: the records are invalid
    hint: run 'packcast log --signed' to see the commits only: nobody can forge them without a key
    ");
}
