//! Repeated imports: changes on the OCS server are carried over, and changes here are kept.

use packcast_protocol::GroupName;
use packcast_protocol::state::document::MAX_DEVICE_GROUPS;
use packcast_rollout::OpenTask;
use packcast_rollout::state::{EntryOwner, StateChange};
use packcast_store::records::{ImportedGroup, Recorded};
use packcast_testing::table::{mia, result};

use super::*;
use crate::import_ocs::plan::LeftOut;

fn lab_pcs() -> GroupName {
    "lab-pcs".parse().unwrap()
}

fn create(group: GroupName) -> StateChange {
    StateChange::CreateGroup { group }
}

fn join(group: GroupName, number: i64) -> StateChange {
    let devices = [pc(number)].into();
    StateChange::Join { group, devices }
}

fn lines(left_out: &[LeftOut]) -> String {
    let lines = left_out.iter().map(|it| {
        let rows = if it.rows > 0 {
            format!(" ({} rows)", it.rows)
        } else {
            String::new()
        };
        format!("{}: {}{rows}", it.name, it.reason)
    });
    lines.collect::<Vec<_>>().join("\n")
}

async fn open_tasks(story: &Story, number: i64) -> Vec<OpenTask> {
    let state = story.here.table.records.device_state(&pc(number)).await;
    state.unwrap().tasks
}

/// Returns a server with one package, which runs a command.
fn one_package(story: &Story, computers: i64) -> OcsDatabase {
    write_execute(&story.downloads(), id(1), "true");
    inactive(1, computers)
}

/// Leaves out the reason that the target of the tests has no location.
fn without_activations(plan: &ImportPlan) -> String {
    let left_out: Vec<LeftOut> = plan
        .left_out
        .iter()
        .filter(|it| !it.reason.starts_with("the target has no location"))
        .map(|it| LeftOut::new(it.kind, &it.name, &it.reason).with_rows(it.rows))
        .collect();
    lines(&left_out)
}

#[tokio::test]
async fn a_group_that_no_import_has_created_is_a_conflict() {
    let story = Story::start(740).await;
    story.here.change_all(&[create(lab_pcs())]).await;
    let mut server = one_package(&story, 2);
    server.assignments = vec![assigned(1_001, 1, None), assigned(1, 1, None)];
    let plan = story.plan(&server).await;
    assert_eq!((plan.groups.len(), plan.assignments.len()), (0, 0));
    insta::assert_snapshot!(without_activations(&plan), @"
    Lab PCs (1001): group lab-pcs exists here, and no import has created it: choose another name with --names, or write 'group 1001 lab-pcs' there to import into this group (3 rows)
    package 1700000001 to ocs:pc1-2026-03-04-05-06-07: the device has the package by group lab-pcs, which is left out for it
    ");

    let merged = story
        .plan_with(&server, "group 1001 lab-pcs", Repeat::New)
        .await;
    assert!(merged.groups[0].exists);
    let imported = story.perform(merged).await;
    assert_eq!((imported.memberships, imported.assignments), (2, 1));
    let again = story
        .plan_with(&server, "group 1001 lab-pcs", Repeat::New)
        .await;
    assert!(again.is_empty(), "{again:?}");
}

#[tokio::test]
async fn an_imported_group_belongs_to_one_group_of_the_ocs_server() {
    let story = Story::start(741).await;
    let mut server = inactive(0, 2);
    server.groups[0].query = Some("SELECT 1".to_owned());
    let commit = story.import(&server).await.commit.unwrap();
    let remembered = story.here.table.records.imported_groups().await.unwrap();
    let origin = packcast_protocol::state::GroupOrigin {
        name: lab_pcs(),
        created: commit,
    };
    let expected = ImportedGroup {
        origin: origin.clone(),
        ocs_id: 1_001,
        ocs_name: "Lab PCs".to_owned(),
        query: Some("SELECT 1".to_owned()),
        ocs_created: Some(CREATED.to_owned()),
    };
    assert_eq!(remembered, std::slice::from_ref(&expected));
    let found = story.here.table.records.imported_group(&origin).await;
    assert_eq!(found.unwrap(), Some(expected));

    // Another group of the same name.
    server.groups[0].id = 1_005;
    for member in &mut server.members {
        member.group = 1_005;
    }
    let plan = story.plan(&server).await;
    insta::assert_snapshot!(lines(&plan.left_out), @r#"Lab PCs (1005): group lab-pcs here belongs to group "Lab PCs" (1001) of the OCS server: choose another name with --names, or write 'group 1005 lab-pcs' there to import into this group (2 rows)"#);
}

#[tokio::test]
async fn a_group_of_another_ocs_server_with_the_same_number_and_name_is_a_conflict() {
    let story = Story::start(753).await;
    let mut server = inactive(0, 2);
    let assert_plan = async |server: &OcsDatabase, expected: &str| {
        let plan = story.plan(server).await;
        assert_eq!(lines(&plan.left_out), expected);
        assert!(plan.groups.is_empty(), "{plan:?}");
    };
    story.import(&server).await;
    assert_plan(&server, "").await;
    // Databases before the import read the time, or a row without a time.
    server.groups[0].created = None;
    assert_plan(&server, "").await;
    server.groups[0].created = Some("2019-01-01 00:00:00".to_owned());
    assert_plan(&server, r#"Lab PCs (1001): group lab-pcs here belongs to group "Lab PCs" (1001) of another OCS server, created 2024-03-31 02:30:00: choose another name with --names, or write 'group 1001 lab-pcs' there to import into this group (2 rows)"#).await;
}

#[tokio::test]
async fn changes_here_are_kept_and_named() {
    let story = Story::start(742).await;
    let mut server = one_package(&story, 4);
    server.groups.push(group(1_002, "Office", None));
    let member = |computer| MemberRow {
        group: 1_002,
        computer,
    };
    server.members.push(member(3));
    server.assignments = vec![
        assigned(1_001, 1, None),
        assigned(1_002, 1, None),
        assigned(4, 1, None),
    ];
    story.import(&server).await;
    let changes = [
        StateChange::Leave {
            group: lab_pcs(),
            devices: [pc(2)].into(),
        },
        StateChange::Unassign {
            from: EntryOwner::Group(lab_pcs()),
            package: id(1),
        },
        StateChange::Unassign {
            from: EntryOwner::Device(pc(4)),
            package: id(1),
        },
        StateChange::DeleteGroup {
            group: "office".parse().unwrap(),
        },
    ];
    story.here.change_all(&changes).await;

    let plan = story.plan(&server).await;
    assert!(plan.is_empty(), "{plan:?}");
    insta::assert_snapshot!(lines(&plan.skipped), @"
    Office (1002): group office was deleted or renamed here since an earlier import: to import into another group, write 'group 1002 NAME' into the file of --names (2 rows)
    ocs:pc2-2026-03-04-05-06-07 in lab-pcs: the device was removed from the group here since an earlier import
    package 1700000001 to group lab-pcs: the package was unassigned here since an earlier import
    package 1700000001 to ocs:pc4-2026-03-04-05-06-07: the package was unassigned here since an earlier import
    ");
    assert_eq!(story.import(&server).await.commit, None);

    // Only the new rows of the OCS server are carried over.
    server.members.push(MemberRow {
        group: 1_001,
        computer: 4,
    });
    let plan = story.plan(&server).await;
    assert_eq!(plan.groups[0].members, [pc(4)].into());
    assert_eq!((plan.groups.len(), plan.assignments.len()), (1, 0));
    story.perform(plan).await;

    // The group has the package for the last device, too.
    let again = story.plan_with(&server, "", Repeat::All).await;
    assert_eq!((again.groups.len(), again.assignments.len()), (2, 2));
    assert_eq!(again.skipped.len(), 0);
}

#[tokio::test]
async fn a_result_that_changes_on_the_ocs_server_changes_here() {
    let story = Story::start(743).await;
    let mut server = one_package(&story, 3);
    server.assignments = vec![assigned(1_001, 1, None)];
    let records = &story.here.table.records;
    for (value, succeeded, failed) in [
        ("ERR_EXECUTE", 0, 1),
        ("SUCCESS", 1, 0),
        ("SUCCESS_7", 0, 1),
        ("SUCCESS_0", 1, 0),
    ] {
        server.assignments.truncate(1);
        server.assignments.push(assigned(1, 1, Some(value)));
        assert_eq!(story.import(&server).await.results, 1, "{value}");
        let finished = story.finished(1, 1).await.unwrap();
        assert_eq!(finished.code.to_string(), value);
        let tally = records.tally(id(1)).await.unwrap();
        assert_eq!(
            (tally.assigned, tally.succeeded, tally.failed),
            (1, succeeded, failed)
        );
        // The group starts no further attempt.
        assert_eq!(finished.used.len(), 1, "{value}");
        assert_eq!(story.import(&server).await.results, 0, "{value}");
    }
}

#[tokio::test]
async fn the_own_result_of_a_device_stays() {
    let story = Story::start(744).await;
    let mut server = one_package(&story, 1);
    server.assignments = vec![assigned(1, 1, None)];
    story.import(&server).await;
    let task = open_tasks(&story, 1).await.remove(0);
    let records = &story.here.table.records;
    let reported = result(&task, "SUCCESS_0");
    let recorded = records.record_result(&pc(1), &task, &reported).await;
    assert_eq!(recorded.unwrap(), Recorded::Written);
    server.assignments = vec![assigned(1, 1, Some("ERR_EXECUTE"))];
    assert_eq!(story.import(&server).await.results, 0);
    assert_eq!(story.finished(1, 1).await.unwrap(), reported);
}

#[tokio::test]
async fn a_package_that_the_ocs_server_assigns_again_is_assigned_again() {
    let story = Story::start(745).await;
    let mut server = one_package(&story, 1);
    for (value, attempts) in [
        (None, 1),
        (Some("ERR_EXECUTE"), 0),
        (None, 2),
        (Some("SUCCESS"), 0),
    ] {
        server.assignments = vec![assigned(1, 1, value)];
        story.import(&server).await;
        let tasks = open_tasks(&story, 1).await;
        let open = tasks.first().map_or(0, |task| task.attempt);
        assert_eq!(open, attempts, "{value:?}");
        assert!(story.plan(&server).await.is_empty(), "{value:?}");
    }
}

/// A device that is here already deploys a package of its group only if the result is not on record.
#[tokio::test]
async fn a_result_uses_up_the_assignment_of_the_same_import() {
    let story = Story::start(746).await;
    let mut server = one_package(&story, 3);
    story.import(&server).await;
    server.assignments = vec![
        assigned(1_001, 1, None),
        assigned(1, 1, Some("ERR_EXECUTE")),
    ];
    let assigned_in = story.import(&server).await.commit;
    let seqs = |finished: FinishedTask| -> Vec<Option<u64>> {
        finished.used.iter().map(|it| Some(it.seq)).collect()
    };
    assert_eq!(seqs(story.finished(1, 1).await.unwrap()), [assigned_in]);
    // A device that joins the group later, with its result.
    server.members.push(MemberRow {
        group: 1_001,
        computer: 3,
    });
    server.assignments.push(assigned(3, 1, Some("ERR_EXECUTE")));
    story.import(&server).await;
    assert_eq!(seqs(story.finished(3, 1).await.unwrap()), [assigned_in]);
}

#[tokio::test]
async fn a_known_result_uses_up_a_later_assignment() {
    let story = Story::start(749).await;
    let mut server = one_package(&story, 2);
    server.assignments = vec![assigned(1, 1, Some("ERR_EXECUTE"))];
    story.import(&server).await;
    assert_eq!(story.finished(1, 1).await.unwrap().used.len(), 0);
    server.assignments.push(assigned(1_001, 1, None));
    let imported = story.import(&server).await;
    assert_eq!((imported.assignments, imported.results), (1, 0));
    let used = story.finished(1, 1).await.unwrap().used;
    let seqs: Vec<Option<u64>> = used.iter().map(|it| Some(it.seq)).collect();
    assert_eq!(seqs, [imported.commit]);
}

#[tokio::test]
async fn two_rows_of_one_device_are_one() {
    let story = Story::start(750).await;
    let mut server = one_package(&story, 2);
    let first = server.computers[0].device_id.clone();
    first.clone_into(&mut server.computers[1].device_id);
    server.assignments = vec![assigned(1, 1, None), assigned(2, 1, Some("ERR_EXECUTE"))];
    let imported = story.import(&server).await;
    assert_eq!((imported.assignments, imported.results), (1, 0));
    assert!(story.plan(&server).await.is_empty());
}

#[tokio::test]
async fn a_group_that_is_renamed_on_the_ocs_server_stays_the_same() {
    let story = Story::start(751).await;
    let mut server = inactive(0, 2);
    story.import(&server).await;
    let group = lab_pcs();
    let devices = [pc(2)].into();
    let leave = StateChange::Leave { group, devices };
    story.here.change_all(&[leave]).await;
    "LAB PCs".clone_into(&mut server.groups[0].name);
    let plan = story.plan(&server).await;
    assert!(plan.is_empty(), "{plan:?}");
    assert_eq!(plan.skipped.len(), 1);
}

#[tokio::test]
async fn a_row_beyond_a_limit_is_left_out_and_the_rest_is_imported() {
    let story = Story::start(747).await;
    let mut server = one_package(&story, 2);
    server.members.clear();
    story.import(&server).await;
    let groups = (0..MAX_DEVICE_GROUPS).map(|number| format!("g{number}").parse().unwrap());
    let changes = groups.flat_map(|group: GroupName| [create(group.clone()), join(group, 1)]);
    story.here.change_all(&changes.collect::<Vec<_>>()).await;
    server.members = [1, 2]
        .map(|computer| MemberRow {
            group: 1_001,
            computer,
        })
        .into();
    let plan = story.plan(&server).await;
    insta::assert_snapshot!(without_activations(&plan), @"ocs:pc1-2026-03-04-05-06-07 in lab-pcs: the device is in 40 groups here, which is the limit: remove it from one with 'packcast group remove'");
    assert_eq!(story.perform(plan).await.memberships, 1);

    // A deleted group does not count.
    let group = "g0".parse().unwrap();
    story
        .here
        .change_all(&[StateChange::DeleteGroup { group }])
        .await;
    assert_eq!(story.import(&server).await.memberships, 1);
}

#[tokio::test]
async fn the_dry_run_shows_excluded_devices_and_missing_locations() {
    let story = Story::start(748).await;
    let mut server = one_package(&story, 2);
    server.members.clear();
    server.assignments = vec![assigned(1, 1, None)];
    story.import(&server).await;
    let records = &story.here.table.records;
    records.block(&[pc(1)], None, &mia()).await.unwrap();
    server.history = vec![history(1, 1)];
    server.assignments = vec![assigned(2, 1, None)];
    let plan = story.plan(&server).await;
    insta::assert_snapshot!(lines(&plan.left_out), @"
    ocs:pc1-2026-03-04-05-06-07: the device is blocked or removed here: run 'packcast device unblock' first (1 rows)
    Toola@1.1: the target has no location: run 'packcast location add', then 'packcast activate'
    ");
    let expected = lines(&plan.left_out);
    assert_eq!(lines(&story.perform(plan).await.left_out), expected);
}
