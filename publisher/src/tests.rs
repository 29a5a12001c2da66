//! Commands that stop between their commit and their records, and machines that change a target at
//! once, on an embedded engine.

mod packages;
mod renames;
mod replacement;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use packcast_protocol::manifest::{Audience, Platform};
use packcast_protocol::state::{LeafName, Terms};
use packcast_protocol::{
    DeviceId, GroupName, LocationName, PackageId, PackageRef, Priority, UnixTime, WindowsTerms,
};
use packcast_rollout::assign::AssignOutcome;
use packcast_rollout::state::{EntryOwner, NewAssignment, StateChange, StatePart};
use packcast_rollout::unassign::Unassigned;
use packcast_rollout::{GroupState, LocationRecord, PackageRecord};
use packcast_testing::table::{NOW, Table, device};
use tempfile::TempDir;

use crate::assign::{AssignRequest, AssignedTo, assign};
use crate::assignees::AssigneeNames;
use crate::clock::now;
use crate::device::exclusion::DeviceResult::{AlreadyRemoved, Removed, SeenAgain};
use crate::device::removal;
use crate::device_name::DeviceName;
use crate::group::{self, MembersChanged};
use crate::publish::plan::{ActionName, PackageTerms, PublishRequest};
use crate::publish::publication;
use crate::signing::verify_record::AlsoAccept;
use crate::signing::{NoSecrets, Signer, SigningKey};
use crate::state::accept::{accept_head, shown_head};
use crate::state::{TargetState, current_part};
use crate::test_target::target_in;
use crate::unassign::{self, UnassignedFrom};
use crate::{Failure, Progress, Target, delete, local, location};

/// A target on an embedded engine, as its first machine sees it.
struct Fixture {
    table: Table,
    target: Target,
    key: Arc<SigningKey>,
    folder: TempDir,
}

fn lab() -> GroupName {
    "lab".parse().unwrap()
}

fn names(devices: &[DeviceId]) -> Vec<DeviceName> {
    devices.iter().cloned().map(DeviceName::Id).collect()
}

fn of_devices(devices: &[DeviceId]) -> AssigneeNames {
    AssigneeNames::Devices(names(devices))
}

fn mirror() -> LocationRecord {
    LocationRecord {
        name: "mirror".parse().unwrap(),
        location: "mirror.example.net".parse().unwrap(),
    }
}

/// Returns a target whose memory, key and objects are in a folder.
fn target(table: &Table, folder: &Path) -> Target {
    Target {
        key_file: folder.join("packcast.key"),
        ..target_in(table, folder)
    }
}

impl Fixture {
    async fn start(seed: u64) -> Self {
        let table = Table::without_target(seed).await;
        let folder = tempfile::tempdir().unwrap();
        let key = Arc::new(local::signing_key(folder.path(), &NoSecrets).unwrap());
        Self {
            target: target(&table, folder.path()),
            table,
            key,
            folder,
        }
    }

    /// Returns the target as another machine with the same key sees it.
    async fn on_another_machine(&self) -> Target {
        let folder = self.folder.path().join("other");
        let other = Target {
            state_memory: folder.join("commits.jsonl"),
            ..target(&self.table, self.folder.path())
        };
        let trust = self.target.trust().unwrap();
        crate::signing::key_files::accept_trust(&other.state_memory, trust).unwrap();
        let head = shown_head(&other).await.unwrap();
        accept_head(&other, head.commit).await.unwrap();
        other
    }

    fn signer(&self) -> Signer {
        Signer::with(&self.target, Arc::clone(&self.key))
    }

    /// Publishes a package that runs a command.
    async fn package(&self, name: &str) -> PackageRecord {
        self.published(Self::request(name), now()).await
    }

    /// Publishes a package at a time.
    async fn published(&self, request: PublishRequest, at: UnixTime) -> PackageRecord {
        let plan = request.plan(None).unwrap();
        let (segment, progress) = ([7; 16], Progress::none());
        let (target, key) = (&self.target, &self.key);
        let published = publication::publish(target, &plan, None, key, segment, at, &progress);
        published.await.unwrap().package
    }

    /// Describes a package that runs a command.
    fn request(name: &str) -> PublishRequest {
        PublishRequest {
            name: name.parse().unwrap(),
            version: "1".parse().unwrap(),
            priority: Priority::DEFAULT,
            action: ActionName::Execute,
            command: Some("true".to_owned()),
            folder: None,
            terms: PackageTerms {
                platform: Platform::Any,
                success_codes: BTreeSet::from([0]),
                reboot_codes: BTreeSet::new(),
                timeout_s: 600,
                validity_s: None,
                rerun_after_interruption: false,
                audience: Audience::Any,
                windows: WindowsTerms::default(),
            },
        }
    }

    async fn devices(&self, count: u32) -> Vec<DeviceId> {
        let mut devices = Vec::new();
        for number in 0..count {
            devices.push(self.table.device(number).await);
        }
        devices
    }

    /// Makes a commit, as a command does that stops before it writes the records.
    async fn commit(&self, changes: &[StateChange]) {
        let mut signer = self.signer();
        let mut state = signer.changer(&self.target).await.unwrap();
        let outcome = state.change(changes, "packcast").await.unwrap();
        assert!(outcome.committed.number().is_some(), "{outcome:?}");
    }

    async fn order(&self) -> u64 {
        let state = TargetState::read(&self.target.records, &self.target.trust().unwrap()).await;
        state.unwrap().head.map_or(0, |head| head.stored.order)
    }

    async fn assign(
        &self,
        package: &PackageRecord,
        to: AssigneeNames,
    ) -> Result<AssignedTo, Failure> {
        let request = AssignRequest {
            package: PackageRef::Id(package.id),
            to,
            force: false,
            allow_downgrade: false,
            also_accept: AlsoAccept::default(),
        };
        let progress = Progress::none();
        let result = assign(&self.target, &request, self.signer(), &progress).await?;
        Ok(result.assigned)
    }

    /// Assigns a package to devices, and returns each outcome with the number of its commit.
    async fn assign_devices(
        &self,
        package: &PackageRecord,
        devices: &[DeviceId],
    ) -> Vec<(AssignOutcome, Option<u64>)> {
        let assigned = self.assign(package, of_devices(devices)).await.unwrap();
        let AssignedTo::Devices(assigned) = assigned else {
            panic!("{assigned:?}");
        };
        let assigned = assigned.into_iter();
        assigned.map(|it| (it.outcome, it.commit)).collect()
    }

    async fn unassign(
        &self,
        package: &PackageRecord,
        from: AssigneeNames,
    ) -> Result<UnassignedFrom, Failure> {
        let (package, progress) = (PackageRef::Id(package.id), Progress::none());
        let plan = unassign::plan(&self.target, &package, &from).await?;
        plan.perform(self.signer(), &progress).await
    }

    /// Unassigns a package from a device.
    async fn unassign_device(&self, package: &PackageRecord, device: &DeviceId) -> Unassigned {
        let from = of_devices(std::slice::from_ref(device));
        let unassigned = self.unassign(package, from).await.unwrap();
        match unassigned {
            UnassignedFrom::Devices(mut devices) => devices.remove(0).outcome,
            groups @ UnassignedFrom::Groups(_) => panic!("{groups:?}"),
        }
    }

    async fn create_lab(&self) -> Result<(), Failure> {
        let progress = Progress::none();
        let created = group::create(&self.target, &lab(), self.signer(), &progress).await;
        created.map(drop)
    }

    async fn add(&self, devices: &[DeviceId]) -> MembersChanged {
        let (names, progress) = (names(devices), Progress::none());
        let added = group::add(&self.target, &lab(), &names, self.signer(), &progress).await;
        added.unwrap()
    }

    async fn state(&self, names: impl IntoIterator<Item = LeafName>) -> StatePart {
        let names = names.into_iter().collect();
        current_part(&self.target, names).await.unwrap()
    }

    /// Returns the packages of a device itself in the signed state.
    async fn committed(&self, device: &DeviceId) -> Vec<PackageId> {
        let state = self.state([LeafName::Device(device.clone())]).await;
        let document = state.device(device).unwrap();
        let entries = document.map_or(&[][..], |document| document.packages.as_slice());
        entries.iter().map(|entry| entry.package).collect()
    }

    /// Returns the packages of a device itself in the records.
    async fn recorded(&self, device: &DeviceId) -> Vec<PackageId> {
        let recorded = self.target.records.device_state(device).await.unwrap();
        let tasks = recorded.tasks.iter().filter(|task| task.direct);
        tasks.map(|task| task.package).collect()
    }

    async fn is_member(&self, device: &DeviceId) -> bool {
        let recorded = self.target.records.device_state(device).await.unwrap();
        recorded.memberships.includes(&lab())
    }
}

fn assigning(package: &PackageRecord, to: EntryOwner) -> StateChange {
    StateChange::Assign {
        to,
        assignment: NewAssignment {
            package: package.id,
            manifest: package.published().unwrap().manifest,
            force: false,
            terms: Terms::default(),
        },
    }
}

const NEW: AssignOutcome = AssignOutcome::New { attempt: 1 };
const OPEN: AssignOutcome = AssignOutcome::AlreadyOpen { attempt: 1 };

#[tokio::test]
async fn an_assignment_that_stopped_after_its_commit_is_completed_without_another() {
    let fixture = Fixture::start(400).await;
    let package = fixture.package("tool").await;
    let devices = fixture.devices(2).await;
    let owner = EntryOwner::Device(devices[0].clone());
    fixture.commit(&[assigning(&package, owner)]).await;
    assert_eq!(fixture.recorded(&devices[0]).await, []);

    let assigned = fixture.assign_devices(&package, &devices).await;
    let number = assigned[1].1.expect("the second device needs a commit");
    assert_eq!(assigned, [(NEW, None), (NEW, Some(number))]);
    assert_eq!(fixture.order().await, 2);
    for device in &devices {
        assert_eq!(fixture.committed(device).await, [package.id]);
        assert_eq!(fixture.recorded(device).await, [package.id]);
    }
    let again = fixture.assign_devices(&package, &devices).await;
    assert_eq!(again, [(OPEN, None), (OPEN, None)]);
    assert_eq!(fixture.order().await, 2);
}

#[tokio::test]
async fn an_assignment_to_groups_that_stopped_after_its_commit_is_completed() {
    let fixture = Fixture::start(410).await;
    let package = fixture.package("tool").await;
    fixture.create_lab().await.unwrap();
    let owner = EntryOwner::Group(lab());
    fixture.commit(&[assigning(&package, owner)]).await;
    let before = fixture.order().await;
    let assign = async || {
        let groups = AssigneeNames::Groups(vec![lab()]);
        match fixture.assign(&package, groups).await.unwrap() {
            AssignedTo::Groups(groups) => groups[0].commit,
            devices @ AssignedTo::Devices(_) => panic!("{devices:?}"),
        }
    };
    assert_eq!(assign().await, None);
    assert_eq!(fixture.order().await, before);
    let state = fixture.target.records.group(&lab()).await.unwrap().unwrap();
    assert!(state.assignment(package.id).is_some());
    // From here on, the same command is a new assignment.
    assert!(assign().await.is_some());
    assert_eq!(fixture.order().await, before + 1);
}

#[tokio::test]
async fn a_device_that_is_refused_is_in_no_commit() {
    let fixture = Fixture::start(402).await;
    let package = fixture.package("tool").await;
    let mut devices = fixture.devices(1).await;
    devices.push("ocs:pc9-2026-03-04-05-06-07".parse().unwrap());
    let assigned = fixture.assign_devices(&package, &devices).await;
    assert!(matches!(
        assigned[..],
        [(NEW, Some(_)), (AssignOutcome::UnknownDevice, None)]
    ));
    let state = fixture.state([LeafName::Device(devices[1].clone())]).await;
    assert_eq!(state.device(&devices[1]).unwrap(), None);
    let refused = fixture.assign_devices(&package, &devices[1..]).await;
    assert_eq!(refused, [(AssignOutcome::UnknownDevice, None)]);
    assert_eq!(fixture.order().await, 1);
}

#[tokio::test]
async fn an_unassignment_that_stopped_after_its_commit_is_completed() {
    let fixture = Fixture::start(403).await;
    let package = fixture.package("tool").await;
    let devices = fixture.devices(2).await;
    fixture.create_lab().await.unwrap();
    fixture.assign_devices(&package, &devices[..1]).await;
    let groups = || AssigneeNames::Groups(vec![lab()]);
    fixture.assign(&package, groups()).await.unwrap();
    let from = [
        EntryOwner::Device(devices[0].clone()),
        EntryOwner::Group(lab()),
    ];
    let unassigning = from.map(|from| StateChange::Unassign {
        from,
        package: package.id,
    });
    fixture.commit(&unassigning).await;
    let before = fixture.order().await;

    let dropped = fixture.unassign_device(&package, &devices[0]).await;
    assert_eq!(dropped, Unassigned::Dropped);
    assert_eq!(fixture.order().await, before);
    assert_eq!(fixture.recorded(&devices[0]).await, []);
    let state = fixture.target.records.group(&lab()).await.unwrap().unwrap();
    assert_eq!(state.assignments, []);
    fixture.unassign(&package, groups()).await.unwrap_err();

    // The same command completes an unassignment from a group.
    fixture.assign(&package, groups()).await.unwrap();
    fixture.commit(&unassigning[1..]).await;
    let before = fixture.order().await;
    fixture.unassign(&package, groups()).await.unwrap();
    assert_eq!(fixture.order().await, before);
    let state = fixture.target.records.group(&lab()).await.unwrap().unwrap();
    assert_eq!(state.assignments, []);

    // An assignment whose record was never written is withdrawn, too.
    let owner = EntryOwner::Device(devices[1].clone());
    fixture.commit(&[assigning(&package, owner)]).await;
    let dropped = fixture.unassign_device(&package, &devices[1]).await;
    assert_eq!(dropped, Unassigned::Dropped);
    assert_eq!(fixture.committed(&devices[1]).await, []);
    let none = fixture.unassign_device(&package, &devices[1]).await;
    assert_eq!(none, Unassigned::NotAssigned);
}

#[tokio::test]
async fn changes_of_groups_that_stopped_after_their_commits_are_completed() {
    let fixture = Fixture::start(404).await;
    let package = fixture.package("tool").await;
    let devices = fixture.devices(3).await;
    let (target, progress) = (&fixture.target, Progress::none());
    fixture
        .commit(&[StateChange::CreateGroup { group: lab() }])
        .await;
    fixture.create_lab().await.unwrap();
    fixture.create_lab().await.unwrap_err();
    let join = StateChange::Join {
        group: lab(),
        devices: devices[..2].iter().cloned().collect(),
    };
    fixture.commit(&[join]).await;
    let added = fixture.add(&devices).await;
    assert_eq!((added.changed, added.unchanged), (3, 0));
    let again = fixture.add(&devices).await;
    assert_eq!((again.changed, again.unchanged, again.commit), (0, 3, None));
    let leave = StateChange::Leave {
        group: lab(),
        devices: BTreeSet::from([devices[0].clone()]),
    };
    fixture.commit(&[leave]).await;
    let names = names(&devices[..2]);
    let removed = group::remove(target, &lab(), &names, fixture.signer(), &progress).await;
    assert_eq!(removed.unwrap().changed, 2);
    assert!(!fixture.is_member(&devices[0]).await);

    // A group that was deleted is created without its earlier packages and devices.
    let groups = AssigneeNames::Groups(vec![lab()]);
    fixture.assign(&package, groups).await.unwrap();
    fixture
        .commit(&[StateChange::DeleteGroup { group: lab() }])
        .await;
    fixture.create_lab().await.unwrap();
    let state = target.records.group(&lab()).await.unwrap().unwrap();
    assert_eq!(state.assignments, []);
    assert!(!fixture.is_member(&devices[2]).await);

    fixture
        .commit(&[StateChange::DeleteGroup { group: lab() }])
        .await;
    let deleted = group::delete(target, &lab(), false, fixture.signer(), &progress).await;
    assert_eq!(deleted.unwrap().commit, None);
    assert_eq!(target.records.group(&lab()).await.unwrap(), None);
    let unknown = group::delete(target, &lab(), true, fixture.signer(), &progress).await;
    unknown.unwrap_err();
}

#[tokio::test]
async fn changes_of_locations_that_stopped_after_their_commits_are_completed() {
    let fixture = Fixture::start(405).await;
    let (target, name): (_, LocationName) = (&fixture.target, "mirror".parse().unwrap());
    let progress = Progress::none();
    let add = || StateChange::AddLocation {
        location: name.clone(),
        url: mirror().location,
    };
    let remove = StateChange::RemoveLocation {
        location: name.clone(),
    };
    fixture.commit(&[add()]).await;
    let added = location::add(target, &mirror(), fixture.signer(), &progress).await;
    assert_eq!(added.unwrap(), None);
    fixture.commit(&[remove]).await;
    let removed = location::remove(target, &name, fixture.signer(), &progress).await;
    assert_eq!(removed.unwrap(), mirror());
    let unknown = location::remove(target, &name, fixture.signer(), &progress).await;
    unknown.unwrap_err();
    // A location whose record was never written is removed, too.
    fixture.commit(&[add()]).await;
    let removed = location::remove(target, &name, fixture.signer(), &progress).await;
    assert_eq!(removed.unwrap(), mirror());
    let state = fixture.state([LeafName::Location(name.clone())]).await;
    assert_eq!(state.location(&name).unwrap(), None);
}

#[tokio::test]
async fn a_package_that_only_the_state_assigns_is_not_deleted() {
    let fixture = Fixture::start(406).await;
    let package = fixture.package("tool").await;
    let (target, progress) = (&fixture.target, Progress::none());
    fixture.create_lab().await.unwrap();
    fixture
        .commit(&[assigning(&package, EntryOwner::Group(lab()))])
        .await;
    let delete = async |unassign| {
        let package = PackageRef::Id(package.id);
        let plan = delete::plan(target, &package, unassign).await?;
        plan.perform(fixture.signer(), &progress).await
    };
    let refused = delete(false).await.unwrap_err();
    assert!(refused.to_string().contains("to group lab"), "{refused}");
    delete(true).await.unwrap();
    let state = fixture.state([LeafName::Group(lab())]).await;
    let document = state.group(&lab()).unwrap().unwrap();
    assert_eq!(document.packages.as_slice(), []);
}

#[tokio::test]
async fn a_removed_device_leaves_the_state_unless_it_checks_in_again() {
    let fixture = Fixture::start(407).await;
    let package = fixture.package("tool").await;
    let devices = fixture.devices(2).await;
    let target = &fixture.target;
    fixture.create_lab().await.unwrap();
    fixture.add(&devices).await;
    fixture.assign_devices(&package, &devices).await;
    let mut unseen = removal::named(target, &names(&devices)).await.unwrap();
    unseen[1].last_seen = Some(NOW.plus(1));
    let remove = async || {
        let (unseen, progress) = (unseen.clone(), Progress::none());
        let removed = removal::remove(target, unseen, None, fixture.signer(), &progress).await;
        let removed = removed.unwrap().0.into_iter();
        removed.map(|it| it.result).collect::<Vec<_>>()
    };
    let before = fixture.order().await;
    assert_eq!(remove().await, [Removed, SeenAgain]);
    assert_eq!(fixture.order().await, before + 1);
    let leaves = devices.iter().cloned().map(LeafName::Device);
    let state = fixture.state(leaves).await;
    assert_eq!(state.device(&devices[0]).unwrap(), None);
    assert!(state.device(&devices[1]).unwrap().is_some());
    assert!(fixture.is_member(&devices[1]).await);
    assert_eq!(remove().await, [AlreadyRemoved, SeenAgain]);
    assert_eq!(fixture.order().await, before + 1);
}

#[tokio::test]
async fn a_command_that_is_stopped_after_the_urgent_records_returns_its_result() {
    let fixture = Fixture::start(411).await;
    let package = fixture.package("tool").await;
    let devices = fixture.devices(2).await;
    let target = &fixture.target;
    fixture.create_lab().await.unwrap();
    fixture.add(&devices[..1]).await;
    fixture.assign_devices(&package, &devices[..1]).await;
    let stopped = || {
        let progress = Progress::none();
        progress.stop();
        progress
    };
    let (names, progress) = (names(&devices), stopped());
    let added = group::add(target, &lab(), &names, fixture.signer(), &progress).await;
    let added = added.unwrap();
    assert_eq!((added.changed, added.unchanged), (1, 1));
    assert!(!fixture.is_member(&devices[1]).await);
    assert_eq!(target.warnings.take().len(), 1);
    group::show(target, &lab(), false).await.unwrap();
    let warned = target.warnings.take();
    assert!(warned[0].text.contains("of 1 commit"), "{warned:?}");

    // The record of a device that has lost a package is urgent.
    let (from, progress) = (of_devices(&devices[..1]), stopped());
    let reference = PackageRef::Id(package.id);
    let plan = unassign::plan(target, &reference, &from).await.unwrap();
    plan.perform(fixture.signer(), &progress).await.unwrap();
    assert_eq!(fixture.recorded(&devices[0]).await, []);
    assert_eq!(target.warnings.take().len(), 1);

    // The next command completes all records.
    let lost = fixture.unassign_device(&package, &devices[0]).await;
    assert_eq!(lost, Unassigned::NotAssigned);
    assert!(fixture.is_member(&devices[1]).await);
    group::show(target, &lab(), false).await.unwrap();
    assert_eq!(target.warnings.take(), []);
}

#[tokio::test]
async fn of_two_machines_at_once_both_change_the_target() {
    let fixture = Fixture::start(408).await;
    let devices = fixture.devices(8).await;
    fixture.create_lab().await.unwrap();
    let other = fixture.on_another_machine().await;
    let before = fixture.order().await;
    let add = async |target: &Target, devices: &[DeviceId]| {
        for device in devices {
            let signer = Signer::with(target, Arc::clone(&fixture.key));
            let (names, progress) = (names(std::slice::from_ref(device)), Progress::none());
            let added = group::add(target, &lab(), &names, signer, &progress).await;
            assert_eq!(added.unwrap().changed, 1);
        }
    };
    tokio::join!(
        add(&fixture.target, &devices[..4]),
        add(&other, &devices[4..])
    );
    assert_eq!(fixture.order().await, before + devices.len() as u64);
    let leaves = devices.iter().cloned().map(LeafName::Device);
    let mut state = fixture.state(leaves).await;
    state.extend(fixture.state([LeafName::Group(lab())]).await);
    for device in &devices {
        assert!(state.groups_of(device).unwrap().contains_key(&lab()));
        assert!(fixture.is_member(device).await);
    }
}

#[tokio::test]
async fn a_limit_of_the_state_is_an_error_before_anything_is_written() {
    let fixture = Fixture::start(409).await;
    let devices = fixture.devices(1).await;
    fixture.create_lab().await.unwrap();
    // The records know nothing of these groups.
    for number in 0..40 {
        let group: GroupName = format!("g{number}").parse().unwrap();
        let devices = devices.iter().cloned().collect();
        let create = StateChange::CreateGroup {
            group: group.clone(),
        };
        fixture
            .commit(&[create, StateChange::Join { group, devices }])
            .await;
    }
    let (names, progress) = (names(&devices), Progress::none());
    let added = group::add(&fixture.target, &lab(), &names, fixture.signer(), &progress).await;
    let refused = added.unwrap_err().to_string();
    insta::assert_snapshot!(refused, @"cannot change the state of the target: ocs:pc0-2026-03-04-05-06-07 is in 40 groups, which is the limit: remove it from one with 'packcast group remove'");
    assert!(!fixture.is_member(&devices[0]).await);
}

#[tokio::test]
async fn records_do_not_go_back_to_a_head_that_was_put_back() {
    let fixture = Fixture::start(408).await;
    let package = fixture.package("tool").await;
    let devices = fixture.devices(1).await;
    let target = &fixture.target;
    fixture.create_lab().await.unwrap();
    fixture.add(&devices).await;
    let to_lab = [assigning(&package, EntryOwner::Group(lab()))];
    fixture.commit(&to_lab).await;
    fixture.add(&devices).await;
    let head = fixture.table.item("HEAD", "HEAD").await;
    let from = AssigneeNames::Groups(vec![lab()]);
    fixture.unassign(&package, from).await.unwrap();
    fixture.table.put(&head).await;
    // No device has this name, so the command makes no commit.
    let unknown = [device(99).device];
    let (names, progress) = (names(&unknown), Progress::none());
    let refused = group::add(target, &lab(), &names, fixture.signer(), &progress).await;
    insta::assert_snapshot!(refused.unwrap_err().to_string().split(" 1").next().unwrap(), @"the head of the target leaves out commit");
    let state = target.records.group(&lab()).await.unwrap().unwrap();
    assert_eq!(state.assignments, []);
}
