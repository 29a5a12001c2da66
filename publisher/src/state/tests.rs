//! Changes of a state by one and two machines, on an embedded engine.

mod complete;
mod keys;
mod renames;
mod repair;
mod replace;
mod restored;
mod rollouts;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use packcast_protocol::signature::PublicKey;
use packcast_protocol::state::{AboutDocument, CommitId, Document, LeafName, Terms, TrustedRoots};
use packcast_protocol::{DeviceId, GroupName, PackageId, Sha256Digest, UnixTime};
use packcast_rollout::state::{ChangeOutcome, EntryOwner, NewAssignment, StateChange};
use packcast_store::records::{Head, Sign};
use packcast_testing::commits::{TARGET, first_key_list, trust};
use packcast_testing::fault::FaultRates;
use packcast_testing::signing::{another_signing, signing, trusted};
use packcast_testing::table::{NOW, Table, device};
use tempfile::TempDir;

use super::renew::renew;
use super::{
    CommitRequest, Committed, Committer, Scope, StateError, TargetState, accept, key_list,
};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::signing::memory_file::MemoryFile;
use crate::signing::{NoSecrets, Signer, key_files};
use crate::target::Target;
use crate::test_target::{new_target, target_in};

/// A target with its first key list, and folders for the memories of machines.
struct TestTarget {
    table: Table,
    trust: TrustedRoots,
    folder: TempDir,
}

/// A machine with a memory of its own.
struct Machine<'a> {
    target: &'a TestTarget,
    memory: PathBuf,
}

fn key() -> &'static PublicKey {
    &trusted()[0]
}

fn lab() -> GroupName {
    "lab".parse().unwrap()
}

fn in_lab() -> EntryOwner {
    EntryOwner::Group(lab())
}

fn assign(package: PackageId, force: bool) -> StateChange {
    StateChange::Assign {
        to: in_lab(),
        assignment: NewAssignment {
            package,
            manifest: Sha256Digest::of(b"manifest"),
            force,
            terms: Terms::default(),
        },
    }
}

fn unassign(package: PackageId) -> StateChange {
    StateChange::Unassign {
        from: in_lab(),
        package,
    }
}

fn create_lab() -> StateChange {
    StateChange::CreateGroup { group: lab() }
}

fn join(numbers: impl IntoIterator<Item = u32>) -> StateChange {
    let devices = numbers.into_iter().map(|number| device(number).device);
    StateChange::Join {
        group: lab(),
        devices: devices.collect(),
    }
}

impl TestTarget {
    async fn start(seed: u64) -> Self {
        let table = Table::without_target(seed).await;
        let (id, signed) = first_key_list(NOW);
        assert!(table.records.add_list(&id, &signed).await.unwrap());
        Self {
            table,
            trust: trust(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn machine(&self, name: &str) -> Machine<'_> {
        Machine {
            target: self,
            memory: self.folder.path().join(name),
        }
    }

    /// Returns a machine on which a person has confirmed the head.
    async fn informed_machine(&self, name: &str) -> Machine<'_> {
        let machine = self.machine(name);
        machine.accept(self.head().await).await.unwrap();
        machine
    }

    async fn state(&self) -> TargetState {
        TargetState::read(&self.table.records, &self.trust)
            .await
            .unwrap()
    }

    async fn head(&self) -> CommitId {
        self.state().await.head.unwrap().commit.id()
    }

    /// Returns the packages of the group, each with its `seq`.
    async fn packages(&self) -> Vec<(PackageId, u64)> {
        let mut state = self.state().await;
        let names = BTreeSet::from([LeafName::Group(lab())]);
        let part = state.trees.part(&self.table.records, names).await.unwrap();
        let document = part.group(&lab()).unwrap().unwrap();
        let entries = document.packages.as_slice().iter();
        entries.map(|entry| (entry.package, entry.seq)).collect()
    }

    async fn is_member(&self, device: &DeviceId) -> bool {
        let mut state = self.state().await;
        let names = BTreeSet::from([LeafName::Group(lab()), LeafName::Device(device.clone())]);
        let part = state.trees.part(&self.table.records, names).await.unwrap();
        part.groups_of(device).unwrap().contains_key(&lab())
    }

    /// Makes every transaction fail from now on, or no request.
    fn refuse_transactions(&self, refuse: bool) {
        self.table.faults.set_rates(FaultRates {
            conflicts: if refuse { 1_000 } else { 0 },
            ..FaultRates::default()
        });
    }
}

impl Machine<'_> {
    async fn memory(&self) -> MemoryFile {
        memory(&self.memory, &self.target.trust).await
    }

    async fn accept(&self, head: CommitId) -> Result<(), StateError> {
        let TestTarget { table, trust, .. } = self.target;
        let mut memory = self.memory().await;
        accept::remember(&table.records, trust, &mut memory, head, NOW).await?;
        Ok(())
    }

    /// Returns the last commit that the machine remembers.
    async fn last(&self) -> CommitId {
        let memory = self.memory().await;
        memory.memory().lines().last().unwrap().commit
    }

    async fn try_commit(
        &self,
        changes: &[StateChange],
        sign: &Sign,
        clock: fn() -> UnixTime,
    ) -> Result<Committed, StateError> {
        let mut memory = self.memory().await;
        let mut committer = Committer {
            records: &self.target.table.records,
            trust: &self.target.trust,
            key: key(),
            sign,
            memory: &mut memory,
            clock: &clock,
        };
        let request = CommitRequest {
            changes,
            about: AboutDocument::shortened("ada", "laptop", "packcast assign", ""),
            valid_for_s: 3_600,
        };
        committer.commit(&request).await
    }

    async fn attempt(&self, changes: &[StateChange]) -> Result<Committed, StateError> {
        self.try_commit(changes, signing().sign, || NOW).await
    }

    async fn commit(&self, changes: &[StateChange]) -> (Head, Vec<ChangeOutcome>) {
        match self.attempt(changes).await.unwrap() {
            Committed::Done { head, outcomes } => (head, outcomes),
            same @ Committed::AlreadySo { .. } => panic!("{same:?}"),
        }
    }
}

async fn memory(path: &Path, trust: &TrustedRoots) -> MemoryFile {
    MemoryFile::open(path, trust).await.unwrap()
}

#[tokio::test]
async fn changes_are_read_back_from_the_verified_head() {
    let target = TestTarget::start(300).await;
    let machine = target.machine("one");
    let package = target.table.package("vlc", 5).await.id;
    let (first, _) = machine.commit(&[create_lab(), join(0..100)]).await;
    let (second, outcomes) = machine.commit(&[assign(package, false)]).await;
    let seq = second.commit.id.number;
    assert!(
        matches!(outcomes[..], [ChangeOutcome::Assigned { seq: given, replaced: None }] if given == seq)
    );
    assert_eq!((first.order, second.order), (1, 2));
    assert_eq!(target.packages().await, [(package, seq)]);
    assert!(target.is_member(&device(99).device).await);
    assert!(!target.is_member(&device(100).device).await);

    let again = machine
        .attempt(&[assign(package, false), join(0..100)])
        .await;
    // A repeated assignment is a new one; memberships are already so.
    assert!(matches!(again.unwrap(), Committed::Done { .. }));
    let again = machine.attempt(&[join(0..100)]).await.unwrap();
    assert!(matches!(again, Committed::AlreadySo { .. }));
    let mut state = target.state().await;
    let ancestors = state.trees.load_ancestors(&target.table.records).await;
    ancestors.unwrap();
    let ancestors = state.trees.ancestors.tree();
    let names: Vec<_> = ancestors.leaves().map(|(name, _)| name.clone()).collect();
    assert_eq!(names.len(), 2);
}

#[tokio::test]
async fn of_two_machines_at_once_neither_loses_a_change() {
    let target = TestTarget::start(301).await;
    let one = target.machine("one");
    one.commit(&[create_lab()]).await;
    let two = target.informed_machine("two").await;
    let left = async {
        for number in 0..8 {
            one.commit(&[join([number])]).await;
        }
    };
    let right = async {
        for number in 8..16 {
            two.commit(&[join([number])]).await;
        }
    };
    tokio::join!(left, right);
    for number in 0..16 {
        assert!(target.is_member(&device(number).device).await, "{number}");
    }
}

#[tokio::test]
async fn a_machine_without_memory_asks_before_it_follows_a_head() {
    let target = TestTarget::start(302).await;
    target.machine("one").commit(&[create_lab()]).await;
    let head = target.head().await;
    let two = target.machine("two");
    let refused = two.attempt(&[join([1])]).await.unwrap_err();
    assert!(matches!(refused, StateError::UnknownHead { head: found } if found == head));
    let other = CommitId {
        digest: Sha256Digest::of(b"other"),
        ..head
    };
    let refused = two.accept(other).await.unwrap_err();
    assert!(matches!(refused, StateError::UnknownHead { head: found } if found == head));
    // The head may have been changed since a person looked at it.
    target.machine("one").commit(&[join([2])]).await;
    two.accept(head).await.unwrap();
    two.commit(&[join([1])]).await;
}

#[tokio::test]
async fn a_head_that_was_put_back_is_not_changed() {
    let target = TestTarget::start(303).await;
    let machine = target.machine("one");
    machine.commit(&[create_lab()]).await;
    let old = target.table.item("HEAD", "HEAD").await;
    let package = target.table.package("vlc", 5).await.id;
    machine.commit(&[assign(package, false)]).await;
    let (withdrawn, _) = machine.commit(&[unassign(package)]).await;
    target.table.put(&old).await;
    let refused = machine.attempt(&[join([1])]).await.unwrap_err();
    assert!(
        matches!(refused, StateError::LeavesOut { commit } if commit == withdrawn.commit.id),
        "{refused}"
    );
}

#[tokio::test]
async fn a_machine_that_stopped_before_the_swap_completes_its_change_first() {
    let target = TestTarget::start(304).await;
    let machine = target.machine("one");
    machine.commit(&[create_lab(), join([1])]).await;
    let package = target.table.package("vlc", 5).await.id;
    target.refuse_transactions(true);
    machine.attempt(&[assign(package, true)]).await.unwrap_err();
    target.refuse_transactions(false);
    let (head, _) = machine.commit(&[join([2])]).await;
    assert_eq!(head.order, 3);
    let packages = target.packages().await;
    assert!(matches!(packages[..], [(id, seq)] if id == package && seq < head.commit.id.number));
    assert!(target.is_member(&device(2).device).await);
}

#[tokio::test]
async fn a_lost_withdrawal_is_made_by_the_next_commit() {
    let target = TestTarget::start(305).await;
    let one = target.machine("one");
    let package = target.table.package("vlc", 5).await.id;
    one.commit(&[create_lab(), assign(package, false)]).await;
    let two = target.informed_machine("two").await;
    // A device may have seen the withdrawal: it was in a request to the table.
    target.refuse_transactions(true);
    one.attempt(&[unassign(package)]).await.unwrap_err();
    target.refuse_transactions(false);
    let lost = one.last().await;
    two.commit(&[join([1])]).await;
    assert_eq!(target.packages().await.len(), 1);

    let (_, outcomes) = one.commit(&[join([2])]).await;
    assert_eq!(
        outcomes.len(),
        1,
        "the outcomes are those of the caller's changes"
    );
    assert_eq!(target.packages().await, []);
    let mut state = target.state().await;
    let names = BTreeSet::from([LeafName::Commit(lost.name())]);
    let records = &target.table.records;
    let found = state.trees.digests(records, names).await.unwrap();
    assert_eq!(found.into_values().next(), Some(Some(lost.digest)));
}

#[tokio::test]
async fn a_lost_removal_of_a_group_and_its_members_is_made_by_the_next_commit() {
    let target = TestTarget::start(319).await;
    let one = target.machine("one");
    one.commit(&[create_lab(), join([1])]).await;
    let two = target.informed_machine("two").await;
    let StateChange::Join { group, devices } = join([1]) else {
        unreachable!("the change is a join");
    };
    let leave = StateChange::Leave { group, devices };
    let delete = StateChange::DeleteGroup { group: lab() };
    target.refuse_transactions(true);
    one.attempt(&[leave, delete]).await.unwrap_err();
    target.refuse_transactions(false);
    let other = |name: &str| StateChange::CreateGroup {
        group: name.parse().unwrap(),
    };
    two.commit(&[other("site")]).await;
    one.commit(&[other("depot")]).await;
    let mut state = target.state().await;
    let names = BTreeSet::from([in_lab().leaf()]);
    let records = &target.table.records;
    let found = state.trees.digests(records, names).await.unwrap();
    assert_eq!(found.into_values().next(), Some(None));
}

#[tokio::test]
async fn a_lost_new_name_of_a_group_removes_nothing() {
    let target = TestTarget::start(326).await;
    let one = target.machine("one");
    let package = target.table.package("vlc", 5).await.id;
    one.commit(&[create_lab(), join([1]), assign(package, false)])
        .await;
    let before = target.packages().await;
    let two = target.informed_machine("two").await;
    target.refuse_transactions(true);
    one.attempt(&[rename_lab()]).await.unwrap_err();
    target.refuse_transactions(false);
    two.commit(&[join([2])]).await;
    one.commit(&[join([3])]).await;
    assert_eq!(target.packages().await, before);
    assert!(target.is_member(&device(1).device).await);
}

#[tokio::test]
async fn a_lost_withdrawal_follows_the_group_to_its_new_name() {
    let target = TestTarget::start(327).await;
    let one = target.machine("one");
    let package = target.table.package("vlc", 5).await.id;
    one.commit(&[create_lab(), assign(package, false)]).await;
    let two = target.informed_machine("two").await;
    target.refuse_transactions(true);
    one.attempt(&[unassign(package)]).await.unwrap_err();
    target.refuse_transactions(false);
    let entries = async || {
        let mut state = target.state().await;
        let groups = state.trees.all_groups(&target.table.records).await.unwrap();
        let hall = groups.group(&hall()).unwrap().unwrap();
        hall.packages.as_slice().len()
    };
    two.commit(&[rename_lab()]).await;
    assert_eq!(entries().await, 1);
    one.commit(&[create_lab()]).await;
    assert_eq!(entries().await, 0);
}

fn hall() -> GroupName {
    "hall".parse().unwrap()
}

fn rename_lab() -> StateChange {
    StateChange::RenameGroup {
        group: lab(),
        to: hall(),
    }
}

#[tokio::test]
async fn a_lost_assignment_that_is_repeated_is_no_second_one() {
    let target = TestTarget::start(306).await;
    let one = target.machine("one");
    one.commit(&[create_lab()]).await;
    let two = target.informed_machine("two").await;
    let package = target.table.package("vlc", 5).await.id;
    target.refuse_transactions(true);
    one.attempt(&[assign(package, true)]).await.unwrap_err();
    target.refuse_transactions(false);
    let lost = one.last().await;
    two.commit(&[join([1])]).await;
    one.commit(&[assign(package, true)]).await;
    assert_eq!(target.packages().await, [(package, lost.number)]);
}

#[tokio::test]
async fn nothing_is_signed_for_a_deleted_package_or_by_another_key() {
    let target = TestTarget::start(307).await;
    let machine = target.machine("one");
    machine.commit(&[create_lab()]).await;
    let head = target.head().await;
    let unknown = PackageId::try_from(1_600_000_000).unwrap();
    let refused = machine.attempt(&[assign(unknown, false)]).await;
    assert!(matches!(refused, Err(StateError::Deleted(id)) if id == unknown));
    assert_eq!(target.head().await, head);
    // The refused commit leaves no obstacle behind.
    machine.commit(&[join([1])]).await;
    assert_eq!(target.packages().await, []);
}

/// Stores a first key list by another root key, which names the key of all tests as publisher.
async fn list_of_another_root(table: &Table) -> TrustedRoots {
    let root = another_signing();
    let trust = TrustedRoots::new(TARGET, vec![root.key.clone()]).unwrap();
    let list = key_list::first(&trust, key(), NOW).unwrap();
    let list = key_list::sign_list(&list, root.sign).unwrap();
    assert!(
        table
            .records
            .add_list(&list.id, &list.signed)
            .await
            .unwrap()
    );
    trust
}

#[tokio::test]
async fn nothing_is_signed_under_an_expired_list_without_a_root_key() {
    let table = Table::without_target(311).await;
    let trust = list_of_another_root(&table).await;
    let target = TestTarget {
        table,
        trust,
        folder: tempfile::tempdir().unwrap(),
    };
    let machine = target.machine("one");
    machine.commit(&[create_lab()]).await;
    let head = target.head().await;
    let attempt = |clock| machine.try_commit(&[StateChange::Renew], signing().sign, clock);
    let late = attempt(|| NOW.plus(101 * 86_400)).await;
    assert!(matches!(late, Err(StateError::ListExpired)), "{late:?}");
    assert_eq!(target.head().await, head);
    // The list is due, and stays: the machine has no root key.
    attempt(|| NOW.plus(41 * 86_400)).await.unwrap();
    assert_eq!(target.state().await.chain.serial(), 1);
}

#[tokio::test]
async fn a_commit_renews_a_key_list_that_expires_soon() {
    let target = TestTarget::start(312).await;
    let machine = target.machine("one");
    machine.commit(&[create_lab()]).await;
    let attempt = |clock| machine.try_commit(&[StateChange::Renew], signing().sign, clock);
    attempt(|| NOW.plus(30 * 86_400)).await.unwrap();
    assert_eq!(target.state().await.chain.serial(), 1);
    attempt(|| NOW.plus(31 * 86_400)).await.unwrap();
    let state = target.state().await;
    let list = state.chain.newest().unwrap();
    assert_eq!(list.serial(), 2);
    assert_eq!(list.issued(), NOW.plus(31 * 86_400));
    assert_eq!(state.head.unwrap().stored.list, Some(list.id()));
    // Even an expired list is renewed: it still names the root keys.
    attempt(|| NOW.plus(200 * 86_400)).await.unwrap();
    assert_eq!(target.state().await.chain.serial(), 3);
}

#[tokio::test]
async fn a_state_is_renewed_for_the_time_that_a_person_chooses() {
    let table = Table::without_target(313).await;
    let folder = tempfile::tempdir().unwrap();
    let target = new_target(&table, folder.path());
    let mut signer = Signer::new(&target, None);
    let week = 7 * 86_400;
    let renewed = renew(
        &target,
        &mut signer,
        week,
        Scope::Changed,
        &Progress::none(),
    )
    .await
    .unwrap();
    let trust = target.trust().unwrap();
    let state = TargetState::read(&table.records, &trust).await.unwrap();
    let head = state.head.unwrap().commit;
    assert_eq!((head.id(), head.expires), (renewed.commit, renewed.expires));
    assert_eq!(head.expires.since(head.issued), week);
    assert_eq!(renewed.keys_expire.since(head.issued), 100 * 86_400);
    let warnings = target.warnings.take();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let longest = renew(
        &target,
        &mut signer,
        90 * 86_400,
        Scope::Changed,
        &Progress::none(),
    )
    .await
    .unwrap();
    assert!(longest.expires > renewed.expires);
    assert_eq!(target.warnings.take(), []);
}

async fn change(target: &Target, changes: &[StateChange]) -> Result<Committed, Failure> {
    let mut signer = Signer::new(target, None);
    let mut state = signer.changer(target).await?;
    let outcome = state.change(changes, "packcast group create lab").await?;
    Ok(outcome.committed)
}

#[tokio::test]
async fn the_first_change_of_a_new_target_stores_its_first_key_list() {
    let table = Table::without_target(308).await;
    let folder = tempfile::tempdir().unwrap();
    let target = new_target(&table, folder.path());
    let trust = target.trust().unwrap();
    let read = || async { TargetState::read(&table.records, &trust).await.unwrap() };
    assert!(read().await.chain.newest().is_none());
    let done = change(&target, &[create_lab()]).await.unwrap();
    assert!(matches!(done, Committed::Done { .. }), "{done:?}");
    let state = read().await;
    let list = state.chain.newest().unwrap();
    assert_eq!((list.serial(), list.roots()), (1, trust.roots()));
    let head = state.head.unwrap();
    assert_eq!(head.stored.list, Some(list.id()));
    let about = table.records.documents(&[head.commit.about]).await.unwrap();
    let about: Document<AboutDocument> = Document::read(about[0].clone()).unwrap();
    let expected = AboutDocument::shortened("ada", "laptop", "packcast group create lab", "");
    assert_eq!(*about, expected);
    // The list stays.
    change(&target, &[join([1])]).await.unwrap();
    let state = read().await;
    assert_eq!(state.chain.serial(), 1);
    assert_eq!(state.head.unwrap().commit.parent, Some(head.commit.id()));
}

#[tokio::test]
async fn only_the_machine_that_created_a_target_signs_its_first_key_list() {
    let table = Table::without_target(309).await;
    let folder = tempfile::tempdir().unwrap();
    let target = new_target(&table, folder.path());
    let trust = target.trust().unwrap();
    std::fs::remove_file(&target.state_memory).unwrap();
    let refused = change(&target, &[create_lab()]).await.unwrap_err();
    insta::assert_snapshot!(refused, @r"
    this machine does not know the root keys of target prod
    hint: run 'packcast keys generate' to create the target
    hint: if another machine has created it, run 'packcast keys show' there, and then 'packcast keys accept-trust LINE' here
    ");
    drop(memory(&target.state_memory, &trust).await);
    let refused = change(&target, &[create_lab()]).await.unwrap_err();
    insta::assert_snapshot!(refused, @r"
    the target has no key list that its root keys have signed
    hint: make the first change of a new target on the machine that has created it; with an offline root key, run 'packcast sign --root-key FILE'
    hint: compare the trust lines that 'packcast keys show' prints on this machine and on another one
    ");
    assert_eq!(table.records.head().await.unwrap(), None);
    assert_eq!(table.records.lists_after(0).await.unwrap(), []);
}

#[tokio::test]
async fn a_first_key_list_is_stored_with_the_first_commit_or_not_at_all() {
    let table = Table::without_target(310).await;
    let folder = tempfile::tempdir().unwrap();
    let target = new_target(&table, folder.path());
    let refuse = |conflicts| {
        table.faults.set_rates(FaultRates {
            conflicts,
            ..FaultRates::default()
        });
    };
    refuse(1_000);
    change(&target, &[create_lab()]).await.unwrap_err();
    refuse(0);
    assert_eq!(table.records.lists_after(0).await.unwrap(), []);
    // The next command completes the first change, which was to create the group.
    change(&target, &[join([1])]).await.unwrap();
    let trust = target.trust().unwrap();
    let state = TargetState::read(&table.records, &trust).await.unwrap();
    assert_eq!(state.chain.serial(), 1);
    assert_eq!(state.head.unwrap().stored.order, 2);
}
