mod concurrent;
mod property;
mod repeated;

use std::path::PathBuf;
use std::sync::Arc;

use packcast_protocol::state::Mandate;
use packcast_protocol::{DeviceId, Outcome};
use packcast_rollout::FinishedTask;
use tempfile::TempDir;

use super::*;
use crate::failure::Failure;
use crate::import_ocs::compare::compare;
use crate::import_ocs::memory::DETAIL;
use crate::import_ocs::names::ChosenNames;
use crate::import_ocs::plan::{ImportPlan, ImportSource, plan};
use crate::import_ocs::rows::{ActivationRow, MemberRow};
use crate::import_ocs::samples::{
    CREATED, activation, assigned, database, group, history, id, write_execute, write_launch,
};
use crate::progress::Progress;
use crate::signing::{NoSecrets, SigningKey};
use crate::test_target::TestTarget;

/// A target and the files of an OCS server.
struct Story {
    here: TestTarget,
    folder: TempDir,
}

impl Story {
    async fn start(seed: u64) -> Self {
        let here = TestTarget::start(seed).await;
        let folder = tempfile::tempdir().unwrap();
        Self { here, folder }
    }

    fn downloads(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    async fn plan(&self, database: &OcsDatabase) -> ImportPlan {
        self.plan_with(database, "", Repeat::New).await
    }

    /// Plans with a file of names.
    async fn plan_with(&self, database: &OcsDatabase, names: &str, repeat: Repeat) -> ImportPlan {
        let mut plan = self.complete_plan(database, names).await;
        keep_new(&self.here.target, &mut plan, repeat)
            .await
            .unwrap();
        plan
    }

    async fn complete_plan(&self, database: &OcsDatabase, names: &str) -> ImportPlan {
        let target = &self.here.target;
        let names: ChosenNames = names.parse().unwrap();
        let existing = existing_packages(target, database, &names).await.unwrap();
        let downloads = Downloads::new(self.downloads());
        let files = read_files(database, &downloads, &existing, &Progress::none());
        plan(ImportSource {
            database,
            files: &files,
            names: &names,
            existing: &existing,
            now: crate::clock::now(),
        })
    }

    /// Writes the comparison in lines.
    async fn compare(&self, database: &OcsDatabase) -> String {
        let plan = self.complete_plan(database, "").await;
        let compared = compare(&self.here.target, plan).await.unwrap();
        let lines = compared.compared.iter().map(|it| {
            let (host, name, same) = (&it.host_name, &it.name, it.same);
            format!("{host} {name}: {:?}, {:?}, {same}", it.ocs, it.packcast)
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    async fn import(&self, database: &OcsDatabase) -> Imported {
        let plan = self.plan(database).await;
        self.perform(plan).await
    }

    async fn perform(&self, plan: ImportPlan) -> Imported {
        self.try_perform(plan).await.unwrap()
    }

    async fn try_perform(&self, plan: ImportPlan) -> Result<Imported, Failure> {
        let target = &self.here.target;
        let key = SigningKey::load(None, &target.key_file, &NoSecrets).unwrap();
        let downloads = Downloads::new(self.downloads());
        let progress = Progress::none();
        perform(target, plan, &downloads, Arc::new(key), &progress).await
    }

    async fn finished(&self, device: i64, number: u32) -> Option<FinishedTask> {
        let device = pc(device);
        let finished = self.here.table.records.finished(&device, id(number));
        finished.await.unwrap()
    }
}

fn pc(number: i64) -> DeviceId {
    format!("ocs:pc{number}-2026-03-04-05-06-07")
        .parse()
        .unwrap()
}

/// Returns a server whose packages are not active, because the target has no location.
fn inactive(packages: u32, computers: i64) -> OcsDatabase {
    let mut database = database(packages, computers);
    for row in &mut database.packages {
        row.comment = "tried".to_owned();
    }
    database
}

#[tokio::test]
async fn packages_groups_assignments_and_results_are_imported_once() {
    let story = Story::start(711).await;
    write_launch(&story.downloads(), id(1));
    write_execute(&story.downloads(), id(2), "a & b");
    let mut database = inactive(3, 3);
    database.assignments = vec![
        assigned(1_001, 1, None),
        assigned(2, 1, Some("SUCCESS_0")),
        assigned(3, 2, None),
        assigned(1, 2, Some("ERR_EXECUTE")),
    ];
    let imported = story.import(&database).await;
    assert_eq!(imported.packages, ["Toola@1.1", "Toolb@1.2"]);
    let numbers = (imported.groups, imported.devices, imported.memberships);
    assert_eq!(numbers, (1, 3, 2));
    assert_eq!((imported.assignments, imported.results), (2, 2));
    let left_out: Vec<&str> = imported
        .left_out
        .iter()
        .map(|it| it.reason.as_str())
        .collect();
    assert_eq!(left_out.len(), 3, "{left_out:?}");

    let records = &story.here.table.records;
    let package = records.package(id(1)).await.unwrap().unwrap();
    assert_eq!(package.published().unwrap().fragments, 1);
    let imported_from = records.imported_package(id(1)).await.unwrap().unwrap();
    assert_eq!(imported_from.ocs_name, "Toola 1.1");
    assert_eq!(imported_from.comment, "tried");
    let done = story.finished(2, 1).await.unwrap();
    assert_eq!(done.outcome, Outcome::Succeeded);
    assert_eq!(done.detail.as_deref(), Some(DETAIL));
    // The result uses up the mandate of the group, so that the group starts no other attempt.
    let mandate = done.used.first().cloned().unwrap();
    assert!(matches!(mandate, Mandate { seq, .. } if Some(seq) == imported.commit));
    let failed = story.finished(1, 2).await.unwrap();
    assert_eq!(failed.code.to_string(), "ERR_EXECUTE");
    let open = records.device_state(&pc(3)).await.unwrap();
    assert_eq!(open.tasks.len(), 1);
    let member = records.device_state(&pc(1)).await.unwrap();
    assert_eq!(member.memberships.joined().count(), 1);
    assert_eq!(member.device.unwrap().host_name, "pc1");

    let compared = story.compare(&database).await;
    insta::assert_snapshot!(compared, @r#"
    pc1 Toola@1.1: Open, Open, true
    pc1 Toolb@1.2: Failed("ERR_EXECUTE"), Failed("ERR_EXECUTE"), true
    pc2 Toola@1.1: Succeeded("SUCCESS_0"), Succeeded("SUCCESS_0"), true
    pc3 Toolb@1.2: Open, Open, true
    "#);

    let again = story.plan(&database).await;
    assert!(again.is_empty(), "{again:?}");
    assert_eq!(story.import(&database).await.commit, None);
}

#[tokio::test]
async fn a_repeated_import_carries_over_what_has_changed() {
    let story = Story::start(712).await;
    write_execute(&story.downloads(), id(1), "true");
    let mut database = inactive(1, 3);
    database.assignments = vec![assigned(3, 1, None)];
    story.import(&database).await;

    write_execute(&story.downloads(), id(2), "false");
    let changed = {
        let mut changed = inactive(2, 4);
        changed.assignments = vec![assigned(3, 1, Some("SUCCESS")), assigned(1_001, 2, None)];
        changed.groups.push(group(1_002, "Office", None));
        changed.members.push(MemberRow {
            group: 1_002,
            computer: 4,
        });
        changed.history = vec![history(2, 1)];
        changed
    };
    let imported = story.import(&changed).await;
    assert_eq!(imported.packages, ["Toolb@1.2"]);
    let numbers = (imported.groups, imported.devices, imported.memberships);
    assert_eq!(numbers, (1, 1, 1));
    assert_eq!((imported.assignments, imported.results), (1, 2));
    // The OCS server has deployed the package meanwhile.
    let records = &story.here.table.records;
    let state = records.device_state(&pc(3)).await.unwrap();
    assert_eq!(state.tasks.len(), 0);
    let tally = records.tally(id(1)).await.unwrap();
    assert_eq!(
        (tally.assigned, tally.succeeded, tally.waiting()),
        (2, 2, 0)
    );
}

#[tokio::test]
async fn packages_with_damaged_files_and_taken_ids_are_left_out() {
    let story = Story::start(713).await;
    let here = story.here.publish("Toolb").await;
    write_launch(&story.downloads(), id(1));
    let fragment = story.downloads().join(format!("{0}/{0}-2", id(1)));
    std::fs::write(&fragment, "damaged").unwrap();
    write_execute(&story.downloads(), here.id, "other");
    write_launch(&story.downloads(), id(3));
    std::fs::remove_file(story.downloads().join(format!("{0}/{0}-2", id(3)))).unwrap();
    let mut database = inactive(4, 1);
    database.packages[1].file_id = here.id.to_string();
    database.activations.push(ActivationRow {
        id: activation(9),
        file_id: here.id.to_string(),
    });
    let plan = story.plan(&database).await;
    assert_eq!(plan.packages.len(), 0);
    let folder = story.downloads().display().to_string();
    let reasons = plan.left_out.iter().map(|it| {
        let reason = it.reason.replace(&folder, "DOWNLOADS");
        // The digest depends on the compression.
        let reason = reason.split(": expected").next().unwrap();
        format!("{}: {reason}", it.name.replace(&here.id.to_string(), "ID"))
    });
    let reasons: Vec<String> = reasons.collect();
    let reasons = reasons.join("\n").replace(&here.id.to_string(), "ID");
    insta::assert_snapshot!(reasons, @"
    Toola 1.1 (1700000001): cannot assemble package 1700000001: MD5 mismatch
    Toolc 1.3 (1700000003): cannot assemble package 1700000003: fragment 2 of 2 is missing
    Toold 1.4 (1700000004): cannot read DOWNLOADS/1700000004/info: No such file or directory (os error 2)
    Toolb 1.2 (ID): id ID is package Toolb@1 here, which has other content
    ");
}
