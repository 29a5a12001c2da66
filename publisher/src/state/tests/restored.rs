//! Signing on the head of a restored table, on an embedded engine.

use packcast_testing::raw::RawEngine;
use serde_json::{Value, json};

use super::*;
use crate::log::LoggedStanding;
use crate::owned_commit::{CommitOwner, OwnedCommit};
use crate::restore::{RestoredHead, restored_head};
use crate::signing::replace::{KeptState, ReplaceRequest, plan, replace};
use crate::signing::rotate::rotate;
use crate::state::changed::complete_records;
use crate::state::complete;
use crate::state::renew::{RenewedState, renew_restored};
use crate::state::restored::Restoration;

/// Two machines that change a target with the same key, and a back-up of its table.
struct Restored {
    table: Table,
    folder: TempDir,
    one: Target,
    two: Target,
    tool: PackageId,
    items: Vec<Value>,
}

impl Restored {
    /// Starts with a package in a group at the time of the back-up.
    async fn start(seed: u64) -> Self {
        let table = Table::without_target(seed).await;
        let folder = tempfile::tempdir().unwrap();
        let one = new_target(&table, &folder.path().join("one"));
        let tool = table.package("tool", 5).await.id;
        let changes = [create_lab(), join([1]), assign(tool, false)];
        change(&one, &changes).await.unwrap();
        let two = new_target(&table, &folder.path().join("two"));
        std::fs::remove_file(&two.state_memory).unwrap();
        std::fs::copy(&one.key_file, &two.key_file).unwrap();
        key_files::accept_trust(&two.state_memory, one.trust().unwrap()).unwrap();
        let head = accept::shown_head(&two).await.unwrap();
        accept::accept_head(&two, head.commit).await.unwrap();
        let items = RawEngine::at(&table.endpoint)
            .items(table.records.table())
            .await;
        Self {
            table,
            folder,
            one,
            two,
            tool,
            items,
        }
    }

    /// Restores the whole table from the back-up.
    async fn restore(&self) {
        let (engine, table) = (RawEngine::at(&self.table.endpoint), &self.table);
        let name = table.records.table();
        for item in engine.items(name).await {
            let key = json!({ "pk": item["pk"], "sk": item["sk"] });
            let delete = json!({ "TableName": name, "Key": key });
            engine.ask("DeleteItem", &delete).await;
        }
        for item in &self.items {
            table.put(item).await;
        }
    }

    async fn head(&self) -> CommitId {
        self.table.records.head().await.unwrap().unwrap().commit.id
    }

    async fn state(&self) -> TargetState {
        let trust = self.one.trust().unwrap();
        TargetState::read(&self.table.records, &trust)
            .await
            .unwrap()
    }

    async fn contains(&self, commit: CommitId) -> bool {
        let name = LeafName::Commit(commit.name());
        let mut state = self.state().await;
        let digests = state.trees.digests(&self.table.records, [name].into());
        let digests = digests.await.unwrap();
        digests.into_values().next() == Some(Some(commit.digest))
    }

    async fn packages(&self) -> Vec<PackageId> {
        let mut state = self.state().await;
        let names = BTreeSet::from([LeafName::Group(lab())]);
        let part = state.trees.part(&self.table.records, names).await.unwrap();
        let document = part.group(&lab()).unwrap().unwrap();
        let entries = document.packages.as_slice().iter();
        entries.map(|entry| entry.package).collect()
    }
}

async fn shown(target: &Target) -> Result<RestoredHead, Failure> {
    restored_head(target, &BTreeSet::new()).await
}

async fn sign(target: &Target, confirmed: CommitId) -> Result<RenewedState, Failure> {
    sign_with(target, confirmed, &BTreeSet::new()).await
}

async fn sign_with(
    target: &Target,
    confirmed: CommitId,
    also: &BTreeSet<CommitId>,
) -> Result<RenewedState, Failure> {
    let mut signer = Signer::new(target, None);
    let restoration = Restoration { confirmed, also };
    let progress = Progress::none();
    renew_restored(target, &mut signer, &restoration, 90 * 86_400, &progress).await
}

fn owners(left_out: &[OwnedCommit]) -> Vec<(CommitId, CommitOwner)> {
    let of = |it: &OwnedCommit| (it.commit.commit, it.owner);
    left_out.iter().map(of).collect()
}

#[tokio::test]
async fn a_commit_on_a_restored_head_contains_the_lost_commits_of_each_machine() {
    let target = Restored::start(360).await;
    let restored = target.head().await;
    change(&target.two, &[join([2])]).await.unwrap();
    let of_two = target.head().await;
    change(&target.one, &[unassign(target.tool)]).await.unwrap();
    let withdrawal = target.head().await;
    change(&target.two, &[join([3])]).await.unwrap();
    let last = target.head().await;
    let refused = sign(&target.one, last).await.unwrap_err();
    assert!(
        refused.to_string().contains("nothing was restored"),
        "{refused}"
    );

    target.restore().await;
    for machine in [&target.one, &target.two] {
        let refused = change(machine, &[join([4])]).await.unwrap_err();
        assert!(
            refused.to_string().contains("'packcast sign --restored'"),
            "{refused}"
        );
    }
    let seen = shown(&target.one).await.unwrap();
    assert_eq!(seen.head.commit, restored);
    let expected = [
        (withdrawal, CommitOwner::ThisMachine),
        (of_two, CommitOwner::OtherMachine),
    ];
    assert_eq!(owners(&seen.left_out), expected);
    let shown_commit = &seen.left_out[0].commit;
    assert_eq!(shown_commit.standing, LoggedStanding::Unverified);
    assert!(
        shown_commit
            .problem
            .as_ref()
            .unwrap()
            .contains("has lost the commit")
    );

    let refused = sign(&target.one, last).await.unwrap_err();
    assert!(
        refused.to_string().contains("the confirmed commit"),
        "{refused}"
    );
    target.one.warnings.take();
    let signed = sign(&target.one, restored).await.unwrap();
    assert!(signed.commit.number > withdrawal.number);
    assert!(target.contains(withdrawal).await && target.contains(of_two).await);
    // The table has lost the withdrawal, so a person has to repeat it.
    assert_eq!(target.packages().await, [target.tool]);
    let warned = target.one.warnings.take();
    let warned: Vec<String> = warned.iter().map(ToString::to_string).collect();
    assert_eq!(warned.len(), 2, "{warned:?}");
    assert!(warned[0].contains(&withdrawal.to_string()), "{warned:?}");
    change(&target.one, &[unassign(target.tool)]).await.unwrap();

    // The other machine remembers one more commit.
    let refused = change(&target.two, &[join([4])]).await.unwrap_err();
    assert!(refused.to_string().contains(&last.to_string()), "{refused}");
    let seen = shown(&target.two).await.unwrap();
    assert_eq!(owners(&seen.left_out), [(last, CommitOwner::ThisMachine)]);
    sign(&target.two, seen.head.commit).await.unwrap();
    assert!(target.contains(last).await && target.contains(withdrawal).await);
    for machine in [&target.one, &target.two] {
        change(machine, &[join([4])]).await.unwrap();
        change(machine, &[StateChange::Renew]).await.unwrap();
    }
    assert_eq!(target.packages().await, []);
}

#[tokio::test]
async fn withdrawals_that_the_table_still_has_are_made_again() {
    let target = Restored::start(361).await;
    let restored = target.head().await;
    let old = target.table.item("HEAD", "HEAD").await;
    change(&target.one, &[unassign(target.tool)]).await.unwrap();
    let other = target.table.package("other", 5).await.id;
    change(&target.one, &[assign(other, false)]).await.unwrap();
    target.table.put(&old).await;
    let seen = shown(&target.one).await.unwrap();
    let lines: Vec<&String> = seen
        .left_out
        .iter()
        .flat_map(|it| &it.commit.lines)
        .collect();
    assert_eq!(
        lines,
        [
            "group lab: assigned other@1.0",
            "group lab: unassigned tool@1.0"
        ]
    );
    target.one.warnings.take();
    sign(&target.one, restored).await.unwrap();
    assert_eq!(target.packages().await, []);
    assert_eq!(target.one.warnings.take(), []);
}

#[tokio::test]
async fn a_withdrawn_package_does_not_come_back_if_it_was_assigned_again_before() {
    let target = Restored::start(367).await;
    let restored = target.head().await;
    let old = target.table.item("HEAD", "HEAD").await;
    for changes in [assign(target.tool, true), unassign(target.tool)] {
        change(&target.one, &[changes]).await.unwrap();
    }
    target.table.put(&old).await;
    target.one.warnings.take();
    sign(&target.one, restored).await.unwrap();
    assert_eq!(target.packages().await, []);
    assert_eq!(target.one.warnings.take(), []);
}

#[tokio::test]
async fn an_interruption_before_all_records_are_written_is_no_success() {
    let target = Restored::start(368).await;
    let device = device(7).device;
    target.table.device(7).await;
    let of_device = EntryOwner::Device(device.clone());
    let StateChange::Assign { assignment, .. } = assign(target.tool, false) else {
        unreachable!("the change is an assignment");
    };
    let direct = StateChange::Assign {
        to: of_device.clone(),
        assignment,
    };
    change(&target.one, &[direct]).await.unwrap();
    let restored = target.head().await;
    let old = target.table.item("HEAD", "HEAD").await;
    let (records, trust) = (&target.table.records, target.one.trust().unwrap());
    let now = crate::clock::now();
    complete(records, &trust, now, &Progress::none())
        .await
        .unwrap();
    let task = async || target.table.task(&device, target.tool).await;
    assert!(task().await.is_some());
    let unassign = StateChange::Unassign {
        from: of_device,
        package: target.tool,
    };
    change(&target.one, &[unassign]).await.unwrap();
    target.table.put(&old).await;

    let progress = Progress::none();
    progress.stop();
    let mut signer = Signer::new(&target.one, None);
    let restoration = Restoration {
        confirmed: restored,
        also: &BTreeSet::new(),
    };
    let stopped = renew_restored(
        &target.one,
        &mut signer,
        &restoration,
        90 * 86_400,
        &progress,
    );
    let interrupted = stopped.await.unwrap_err();
    assert!(
        interrupted
            .hints()
            .iter()
            .any(|hint| hint.contains("'packcast sign --all-records'")),
        "{interrupted}"
    );
    assert!(task().await.is_none(), "the withdrawal came first");
    let mut signer = Signer::new(&target.one, None);
    renew(
        &target.one,
        &mut signer,
        90 * 86_400,
        Scope::All,
        &Progress::none(),
    )
    .await
    .unwrap();
    assert!(task().await.is_none());
}

/// The commands have no change to make, so they only complete the records.
#[tokio::test]
async fn records_are_not_completed_from_a_table_that_lacks_a_key_list() {
    let target = Restored::start(369).await;
    let request = ReplaceRequest {
        lost: None,
        file: None,
        unencrypted: true,
        root: None,
        kept: KeptState::Head,
    };
    let planned = plan(&target.one, &request).await.unwrap();
    let progress = Progress::none();
    replace(&target.one, &request, &planned, &progress)
        .await
        .unwrap();
    target.restore().await;
    let recorded = target.table.records.recorded_head().await.unwrap();
    let refused = complete_records(&target.one, &progress).await.unwrap_err();
    assert!(
        refused.to_string().contains("lacks key list 3"),
        "{refused}"
    );
    let unchanged = target.table.records.recorded_head().await.unwrap();
    assert_eq!(unchanged, recorded);
}

#[tokio::test]
async fn a_table_that_was_not_restored_keeps_an_unfinished_commit() {
    let target = Restored::start(366).await;
    let head = target.head().await;
    let refuse = |conflicts| {
        target.table.faults.set_rates(FaultRates {
            conflicts,
            ..FaultRates::default()
        });
    };
    refuse(1_000);
    change(&target.one, &[unassign(target.tool)])
        .await
        .unwrap_err();
    refuse(0);
    let refused = sign(&target.one, head).await.unwrap_err();
    assert!(
        refused.to_string().contains("nothing was restored"),
        "{refused}"
    );
    let done = change(&target.one, &[join([6])]).await.unwrap();
    let Committed::Done { head, .. } = done else {
        panic!("{done:?}");
    };
    assert_eq!(head.order, 3, "the unfinished commit came first");
    assert_eq!(target.packages().await, []);
}

#[tokio::test]
async fn a_commit_that_no_machine_remembers_is_adopted_by_its_id() {
    let target = Restored::start(363).await;
    let restored = target.head().await;
    change(&target.two, &[join([2])]).await.unwrap();
    let held = target.head().await;
    target.restore().await;
    // The first machine has not seen the commit, and the second machine is lost.
    let refused = shown(&target.one).await.unwrap_err();
    assert!(
        refused.to_string().contains("nothing was restored"),
        "{refused}"
    );
    let also = BTreeSet::from([held]);
    let seen = restored_head(&target.one, &also).await.unwrap();
    assert_eq!(owners(&seen.left_out), [(held, CommitOwner::Unknown)]);
    let signed = sign_with(&target.one, restored, &also).await.unwrap();
    assert!(target.contains(held).await && signed.commit.number > held.number);
}

/// The thief's key is named again, and no commit of the new key counts by the old list.
#[tokio::test]
async fn a_table_from_before_a_replacement_is_refused() {
    let target = Restored::start(365).await;
    let restored = target.head().await;
    let request = ReplaceRequest {
        lost: None,
        file: None,
        unencrypted: true,
        root: None,
        kept: KeptState::Head,
    };
    let planned = plan(&target.one, &request).await.unwrap();
    let progress = Progress::none();
    let replaced = replace(&target.one, &request, &planned, &progress).await;
    let replaced = replaced.unwrap();
    target.restore().await;
    let refused = change(&target.one, &[join([6])]).await.unwrap_err();
    assert!(
        refused.to_string().contains("lacks key list 3"),
        "{refused}"
    );
    sign(&target.one, restored).await.unwrap();
    let chain = target.state().await.chain;
    let named: Vec<String> = chain.named().iter().map(ToString::to_string).collect();
    assert_eq!(named, [replaced.public_key]);
    assert!(target.contains(replaced.commit).await);
    let refused = change(&target.two, &[join([7])]).await.unwrap_err();
    assert!(
        refused.to_string().contains("does not name your key"),
        "{refused}"
    );
}

#[tokio::test]
async fn key_lists_that_a_restored_table_lacks_are_stored_again() {
    let target = Restored::start(364).await;
    let restored = target.head().await;
    change(&target.two, &[StateChange::Renew]).await.unwrap();
    rotate(&target.one, None, true, None).await.unwrap();
    let rotated = target.head().await;
    target.restore().await;
    // A machine with the old key has not seen the rotation.
    change(&target.two, &[join([6])]).await.unwrap_err();
    let refused = change(&target.one, &[join([6])]).await.unwrap_err();
    assert!(
        refused.to_string().contains("lacks key list 3"),
        "{refused}"
    );
    let head = accept::accept_head(&target.one, restored)
        .await
        .unwrap_err();
    assert!(head.to_string().contains("lacks key list 3"), "{head}");
    let seen = shown(&target.one).await.unwrap();
    assert_eq!((seen.head.commit, seen.lists), (restored, vec![2, 3]));
    sign(&target.one, restored).await.unwrap();
    let state = target.state().await;
    assert_eq!(state.chain.serial(), 3);
    assert_eq!(state.head.unwrap().stored.list.unwrap().serial, 3);
    assert!(target.contains(rotated).await);
    change(&target.one, &[join([6])]).await.unwrap();
    let refused = change(&target.two, &[join([7])]).await.unwrap_err();
    assert!(refused.to_string().contains("is retired"), "{refused}");
    drop(target.folder);
}
