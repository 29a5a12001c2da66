//! Changes between the plan of an import and its commit.

use packcast_protocol::GroupName;
use packcast_protocol::state::LeafName;
use packcast_rollout::state::{EntryOwner, StateChange};

use super::*;
use crate::rendered::failures;
use crate::state::current_part;
use crate::test_target::assign_published;

fn lab_pcs() -> GroupName {
    "lab-pcs".parse().unwrap()
}

/// Returns the numbers of the commits that have assigned the first package to a device.
async fn assigned_in(story: &Story, number: i64) -> Vec<u64> {
    let names = [LeafName::Device(pc(number))].into();
    let state = current_part(&story.here.target, names).await.unwrap();
    let document = state.device(&pc(number)).unwrap();
    let entries = document
        .map(|it| it.packages.as_slice())
        .unwrap_or_default();
    entries.iter().map(|entry| entry.seq).collect()
}

/// Returns a server that has assigned a package again after a failure, which is imported.
async fn assigned_again(story: &Story) -> OcsDatabase {
    write_execute(&story.downloads(), id(1), "true");
    let mut server = inactive(1, 2);
    for value in [None, Some("ERR_EXECUTE")] {
        server.assignments = vec![assigned(1, 1, value)];
        story.import(&server).await;
    }
    server.assignments = vec![assigned(1, 1, None)];
    server
}

#[tokio::test]
async fn an_import_that_was_planned_before_another_one_is_refused() {
    let story = Story::start(760).await;
    let server = assigned_again(&story).await;
    let (first, second) = (story.plan(&server).await, story.plan(&server).await);
    let commit = story.perform(first).await.commit;
    let refused = story.try_perform(second).await.unwrap_err();
    insta::assert_snapshot!(failures([refused]), @"
    Conflict: cannot import what was planned: another import has ended since
    hint: run the same command again: it plans the import again
    ");
    assert_eq!(assigned_in(&story, 1).await, Vec::from_iter(commit));
    assert!(story.plan(&server).await.is_empty());
}

/// Both imports find the memory as it was planned, and one of them commits first.
#[tokio::test]
async fn two_imports_at_once_assign_a_package_again_once() {
    let story = Story::start(761).await;
    let server = assigned_again(&story).await;
    let (first, second) = (story.plan(&server).await, story.plan(&server).await);
    let first = Box::pin(story.try_perform(first));
    let second = Box::pin(story.try_perform(second));
    let (first, second) = futures_util::future::join(first, second).await;
    let (done, refused): (Vec<_>, Vec<_>) = [first, second].into_iter().partition(Result::is_ok);
    assert_eq!((done.len(), refused.len()), (1, 1), "{done:?} {refused:?}");
    let commits = done.into_iter().filter_map(|it| it.unwrap().commit);
    let commits: Vec<u64> = commits.collect();
    assert_eq!(assigned_in(&story, 1).await, commits);
    let tasks = story.here.table.records.device_state(&pc(1)).await;
    let attempts: Vec<u32> = tasks.unwrap().tasks.iter().map(|it| it.attempt).collect();
    assert_eq!(attempts, [2]);
    assert!(story.plan(&server).await.is_empty());
}

#[tokio::test]
async fn an_import_joins_no_group_that_somebody_has_created_since_the_plan() {
    let story = Story::start(762).await;
    let server = inactive(0, 2);
    let plan = story.plan(&server).await;
    let group = lab_pcs();
    story
        .here
        .change_all(&[StateChange::CreateGroup { group }])
        .await;
    let refused = story.try_perform(plan).await.unwrap_err();
    insta::assert_snapshot!(failures([refused]), @"
    Conflict: cannot sign the planned changes: somebody has changed group/lab-pcs since they were planned
    hint: run the same command again: it plans the changes again
    ");
    let member = story.here.table.records.device_state(&pc(1)).await.unwrap();
    assert_eq!(member.memberships.joined().count(), 0);
    let plan = story.plan(&server).await;
    assert_eq!((plan.groups.len(), plan.left_out.len()), (0, 1));
}

/// A device that has failed meanwhile does not try again.
#[tokio::test]
async fn an_import_does_not_repeat_an_assignment_that_somebody_has_made_since_the_plan() {
    let story = Story::start(763).await;
    write_execute(&story.downloads(), id(1), "true");
    let mut server = inactive(1, 2);
    story.import(&server).await;
    server.assignments = vec![assigned(1, 1, None)];
    let plan = story.plan(&server).await;
    let package = story.here.table.records.package(id(1)).await.unwrap();
    let to = EntryOwner::Device(pc(1));
    let changes = [assign_published(to, &package.unwrap())];
    story.here.change_all(&changes).await;
    let before = assigned_in(&story, 1).await;
    story.try_perform(plan).await.unwrap_err();
    assert_eq!((before.len(), assigned_in(&story, 1).await), (1, before));
    assert!(story.import(&server).await.commit.is_none());
}

#[tokio::test]
async fn other_changes_do_not_stop_an_import() {
    let story = Story::start(764).await;
    let server = inactive(0, 2);
    let plan = story.plan(&server).await;
    let group = "office".parse().unwrap();
    story
        .here
        .change_all(&[StateChange::CreateGroup { group }])
        .await;
    assert_eq!(story.perform(plan).await.memberships, 2);
}

/// Each commit changes the document of the group, from which the next one begins.
#[tokio::test]
async fn many_packages_of_a_group_are_imported_by_several_commits() {
    let story = Story::start(765).await;
    let number = 91;
    for package in 1..=number {
        write_execute(&story.downloads(), id(package), "true");
    }
    let mut server = inactive(number, 2);
    let rows = (1..=number).map(|package| assigned(1_001, package, None));
    server.assignments = rows.collect();
    let imported = story.import(&server).await;
    assert_eq!(imported.assignments, 91);
    assert!(story.plan(&server).await.is_empty());
}
