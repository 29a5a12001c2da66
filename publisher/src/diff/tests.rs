//! Differences between the states of a target on an embedded engine.

use packcast_protocol::UnixTime;
use packcast_rollout::state::StateChange;

use super::*;
use crate::progress::Progress;
use crate::rendered::{failures, messages};
use crate::signing::Signer;
use crate::test_target::{TestTarget, assign_lab, create_lab, devices, join, lab};

#[tokio::test]
async fn the_difference_of_two_states_has_a_direction() {
    let target = TestTarget::start(330).await;
    let package = target.table.package("vlc", 5).await.id;
    let first = target.change(&[create_lab()], "packcast").await;
    let second = target.change(&[join(devices(3))], "packcast").await;
    let third = target.change(&[assign_lab(package)], "packcast").await;
    let lines = async |from, to| {
        diff(&target.target, from, to)
            .await
            .unwrap()
            .lines
            .join("\n")
    };
    let number = |id: CommitId| CommitRef::Number(id.number);
    insta::assert_snapshot!(lines(number(first), CommitRef::Head).await, @"
    group lab: assigned vlc@1.0
    group lab: ocs:pc0-2026-03-04-05-06-07, ocs:pc1-2026-03-04-05-06-07, ocs:pc2-2026-03-04-05-06-07 joined
    ");
    insta::assert_snapshot!(lines(CommitRef::Head, number(second)).await, @"group lab: unassigned vlc@1.0");
    assert_eq!(lines(number(third), CommitRef::Head).await, "");
    let unknown = diff(&target.target, CommitRef::Number(7), CommitRef::Head).await;
    insta::assert_snapshot!(failures([unknown.unwrap_err()]), @"
    Failed: the target has no commit 7
    hint: run 'packcast log' to see the commits
    ");
}

#[tokio::test]
async fn a_planned_difference_is_signed_only_on_its_head() {
    let test = TestTarget::start(333).await;
    let target = &test.target;
    let package = test.table.package("vlc", 5).await.id;
    let created = test.change(&[create_lab()], "packcast").await;
    let changes = [join(devices(3)), assign_lab(package)];
    let shown = planned(target, &changes).await.unwrap();
    assert_eq!(shown.head, Some(created));
    insta::assert_snapshot!(shown.lines.join("\n"), @"
    group lab: assigned vlc@1.0
    group lab: ocs:pc0-2026-03-04-05-06-07, ocs:pc1-2026-03-04-05-06-07, ocs:pc2-2026-03-04-05-06-07 joined
    ");
    let sign = async |shown: &PlannedDifference| {
        let mut signer = Signer::new(target, None).on_head(shown.head);
        let progress = Progress::none();
        let done = signer.change(target, &changes, "packcast", &progress);
        done.await.map(|_| ())
    };
    let office = "office".parse().unwrap();
    let group = StateChange::CreateGroup { group: office };
    let other = test.change(&[group], "packcast").await;
    insta::assert_snapshot!(failures([sign(&shown).await.unwrap_err()]), @"
    Conflict: cannot sign the difference that was shown: somebody has changed the target since
    hint: look at the present difference
    ");
    let again = planned(target, &changes).await.unwrap();
    assert_eq!((again.head, &again.lines), (Some(other), &shown.lines));
    sign(&again).await.unwrap();
    let made = diff(target, CommitRef::Number(other.number), CommitRef::Head).await;
    assert_eq!(made.unwrap().changes.len(), again.changes.len());
    let nothing = planned(target, &[create_lab()]).await.unwrap();
    assert!(nothing.lines.is_empty());
}

#[tokio::test]
async fn a_planned_difference_names_ids_and_the_key_list_that_is_due() {
    let test = TestTarget::start(334).await;
    let package = test.table.package("vlc", 5).await.id;
    test.table.device(1).await;
    test.change(&[create_lab()], "packcast").await;
    let changes = [join(devices(2)), assign_lab(package)];
    let shown = planned(&test.target, &changes).await.unwrap();
    let with_ids = shown.lines_with_ids();
    assert_eq!((with_ids.packages.len(), with_ids.devices.len()), (1, 2));
    let lines = with_ids.lines.join("\n");
    insta::assert_snapshot!(lines.replace(&package.to_string(), "ID"), @"
    group lab: assigned vlc@1.0 (package ID)
    group lab: ocs:pc0-2026-03-04-05-06-07, pc1 (ocs:pc1-2026-03-04-05-06-07) joined
    ");
    assert_eq!(shown.key_list, None);

    let trust = test.target.trust().unwrap();
    let state = TargetState::read(&test.target.records, &trust).await;
    let (state, root) = (state.unwrap(), trust.roots()[0].clone());
    let expires = state.chain.newest().unwrap().expires();
    let due = UnixTime(expires.0 - 86_400);
    let list = |key: Option<&PublicKey>, now| planned_list(&state, key, now);
    let lists = [list(Some(&root), due), list(None, due)].map(Option::unwrap);
    let time = crate::text::time(expires);
    insta::assert_snapshot!(lists.join("\n").replace(&time, "TIME"), @"
    key list 1: expires TIME, and is renewed for 100 days
    key list 1: expires TIME, and is renewed for 100 days, if your key is a root key
    ");
    let other = "RWSUCKmIjUwPb9UY3BqcV8UFmD9ANGYqc5cRzYHZ8bWVumBYC8iAfd+8";
    assert_eq!(list(Some(&other.parse().unwrap()), due), None);
    assert_eq!(list(Some(&root), crate::clock::now()), None);
}

#[tokio::test]
async fn a_replaced_commit_can_be_compared() {
    let target = TestTarget::start(331).await;
    target.change(&[create_lab()], "packcast").await;
    let head = target.table.item("HEAD", "HEAD").await;
    let delete = StateChange::DeleteGroup { group: lab() };
    let left_out = target.change(&[delete], "packcast").await;
    target.table.put(&head).await;
    let from = CommitRef::Number(left_out.number);
    let diff = diff(&target.target, from, CommitRef::Head).await.unwrap();
    assert_eq!(diff.lines, ["group lab: created"]);
    assert_eq!(diff.warnings.len(), 1);
}

#[tokio::test]
async fn a_forged_commit_is_refused() {
    let target = TestTarget::start(332).await;
    let first = target.change(&[create_lab()], "packcast").await;
    target.change(&[join(devices(3))], "packcast").await;
    target
        .forge(first, |item| {
            item["signature"]["S"] = "untrusted comment: none".into();
        })
        .await;
    let from = CommitRef::Number(first.number);
    let refused = diff(&target.target, from, CommitRef::Head).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind(), crate::Kind::Conflict);
    let expected = format!("cannot verify commit {first}");
    assert!(refused.to_string().starts_with(&expected), "{refused}");
}

#[test]
fn errors_have_next_steps() {
    insta::assert_snapshot!(messages([CommitRefError]), @"expected the number of a commit, or 'head'");
    insta::assert_snapshot!(failures([no_commits(), not_found(7)]), @"
    Failed: the target has no commits yet
    Failed: the target has no commit 7
    hint: run 'packcast log' to see the commits
    ");
    assert_eq!("head".parse(), Ok(CommitRef::Head));
    assert_eq!("7".parse(), Ok(CommitRef::Number(7)));
    assert_eq!("".parse::<CommitRef>(), Err(CommitRefError));
    insta::assert_snapshot!(replaced_warning(7), @"warning: commit 7 is not in the history of the head: a later commit has replaced it");
}
