//! Changes of a target as an administrator makes them: one commit of the signed state, and then all
//! records that follow from it.

use std::collections::BTreeSet;

use packcast_protocol::state::commit::MAX_COMMIT_VALIDITY_S;
use packcast_protocol::state::{AboutDocument, Terms};
use packcast_protocol::{DeviceId, GroupName, LocationName, PackageId, UnixTime};
use packcast_publisher::Progress;
use packcast_publisher::state::{
    CommitRequest, Committed, Committer, Completed, StateError, complete,
};
use packcast_rollout::assign::AssignOutcome;
use packcast_rollout::membership::MAX_GROUPS;
use packcast_rollout::reconcile::group_with;
use packcast_rollout::state::{
    ChangeOutcome, EntryOwner, NewAssignment, StateChange, StateChangeError,
};
use packcast_rollout::unassign::{Unassigned, unassign};
use packcast_rollout::{GroupState, PacingChange, PackageRecord};
use packcast_store::records::{DeviceChanges, DeviceProjected};
use packcast_store::{Records, RecordsError};

use crate::commits::trust;
use crate::memories;
use crate::signing::{Signing, signing};

/// A change that was not made, or whose records are incomplete.
#[derive(Debug)]
pub enum ChangeError {
    NoGroup(GroupName),
    Exists(GroupName),
    /// The group does not have the package.
    NotAssigned(GroupName, PackageId),
    Deleted(PackageId),
    Records(RecordsError),
    State(Box<StateError>),
}

/// Outcome of joining a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    New,
    AlreadyMember,
    /// No device with this id has ever checked in, or the device was removed.
    UnknownDevice,
    /// The device has reached the limit of groups.
    TooManyGroups,
}

/// Changes of a target, each with one commit.
///
/// Every table has one memory of signed commits: concurrent changes are committed one after the
/// other, and complete their records at the same time. Only tables of
/// [`Table`](crate::table::Table) that have a target can be changed.
#[expect(
    async_fn_in_trait,
    reason = "tests await the futures in the task that creates them"
)]
pub trait Administrator {
    /// Assigns a package to a device itself, unless the device cannot be assigned it.
    async fn assign(
        &self,
        device: &DeviceId,
        package: &PackageRecord,
        force: bool,
        signing: Signing,
    ) -> Result<AssignOutcome, ChangeError>;

    /// Takes away the assignment of a package to a device itself.
    async fn unassign(
        &self,
        device: &DeviceId,
        package: &PackageRecord,
        signing: Signing,
    ) -> Result<Unassigned, ChangeError>;

    /// Assigns a package to a group, and returns the record of the group.
    async fn assign_group(
        &self,
        group: &GroupName,
        package: &PackageRecord,
        force: bool,
        signing: Signing,
    ) -> Result<GroupState, ChangeError>;

    /// Unassigns a package from a group, and returns the record of the group.
    async fn unassign_group(
        &self,
        group: &GroupName,
        package: PackageId,
        signing: Signing,
    ) -> Result<GroupState, ChangeError>;

    /// Adds a device to a group.
    async fn join(
        &self,
        device: &DeviceId,
        group: &GroupName,
        signing: Signing,
    ) -> Result<Joined, ChangeError>;

    /// Removes a device from a group. Returns false if the device was not in it.
    async fn leave(
        &self,
        device: &DeviceId,
        group: &GroupName,
        signing: Signing,
    ) -> Result<bool, ChangeError>;

    /// Sets the location that the devices of a group try first.
    async fn prefer(
        &self,
        group: &GroupName,
        location: Option<&LocationName>,
        signing: Signing,
    ) -> Result<GroupState, ChangeError>;

    /// Changes the pacing of a group's devices.
    async fn pace_group(
        &self,
        group: &GroupName,
        change: &PacingChange,
        signing: Signing,
    ) -> Result<GroupState, ChangeError>;

    /// Creates a group without devices and packages.
    async fn create_group(
        &self,
        group: &GroupName,
        signing: Signing,
    ) -> Result<GroupState, ChangeError>;

    /// Gives a group another name.
    async fn rename_group(
        &self,
        group: &GroupName,
        to: &GroupName,
        signing: Signing,
    ) -> Result<GroupState, ChangeError>;

    /// Deletes a group. Returns false, without deleting, if it has packages or devices on record.
    async fn delete_group(&self, group: &GroupName) -> Result<bool, ChangeError>;
}

impl Administrator for Records {
    async fn assign(
        &self,
        device: &DeviceId,
        package: &PackageRecord,
        force: bool,
        signing: Signing,
    ) -> Result<AssignOutcome, ChangeError> {
        let outcome = || self.assign_outcome(device, package, force, signing.now);
        match outcome().await? {
            AssignOutcome::New { .. } | AssignOutcome::AlreadyOpen { .. } => {}
            refused => return Ok(refused),
        }
        let to = EntryOwner::Device(device.clone());
        let change = assignment(to, package, force);
        let made = make(self, &change, signing).await?;
        let changes = made.of_device(device);
        match changes.and_then(|changes| changes.assigned.get(&package.id)) {
            Some(outcome) => Ok(outcome.clone()),
            // The task is open already, or another caller has written it.
            None => Ok(outcome().await?),
        }
    }

    async fn unassign(
        &self,
        device: &DeviceId,
        package: &PackageRecord,
        signing: Signing,
    ) -> Result<Unassigned, ChangeError> {
        let from = EntryOwner::Device(device.clone());
        let package = package.id;
        let made = make(self, &StateChange::Unassign { from, package }, signing).await?;
        let changes = made.of_device(device);
        match changes.and_then(|changes| changes.unassigned.get(&package)) {
            Some(outcome) => Ok(outcome.clone()),
            None => Ok(without_entry(self, device, package).await?),
        }
    }

    async fn assign_group(
        &self,
        group: &GroupName,
        package: &PackageRecord,
        force: bool,
        signing: Signing,
    ) -> Result<GroupState, ChangeError> {
        let to = EntryOwner::Group(group.clone());
        let change = assignment(to, package, force);
        make(self, &change, signing).await?;
        group_record(self, group).await
    }

    async fn unassign_group(
        &self,
        group: &GroupName,
        package: PackageId,
        signing: Signing,
    ) -> Result<GroupState, ChangeError> {
        let from = EntryOwner::Group(group.clone());
        let made = make(self, &StateChange::Unassign { from, package }, signing).await?;
        if made.outcome == ChangeOutcome::AlreadySo {
            return Err(ChangeError::NotAssigned(group.clone(), package));
        }
        group_record(self, group).await
    }

    async fn join(
        &self,
        device: &DeviceId,
        group: &GroupName,
        signing: Signing,
    ) -> Result<Joined, ChangeError> {
        let known = self.memberships(std::slice::from_ref(device)).await?;
        let Some((_, groups)) = known.first() else {
            return Ok(Joined::UnknownDevice);
        };
        if groups.includes(group) {
            return Ok(Joined::AlreadyMember);
        }
        if groups.joined().count() >= MAX_GROUPS {
            return Ok(Joined::TooManyGroups);
        }
        let join = StateChange::Join {
            group: group.clone(),
            devices: BTreeSet::from([device.clone()]),
        };
        match make(self, &join, signing).await {
            Ok(made) if made.has_changed(device) => Ok(Joined::New),
            Ok(_) => Ok(Joined::AlreadyMember),
            Err(ChangeError::State(error)) if is_of_limit(&error) => Ok(Joined::TooManyGroups),
            Err(error) => Err(error),
        }
    }

    async fn leave(
        &self,
        device: &DeviceId,
        group: &GroupName,
        signing: Signing,
    ) -> Result<bool, ChangeError> {
        let leave = StateChange::Leave {
            group: group.clone(),
            devices: BTreeSet::from([device.clone()]),
        };
        match make(self, &leave, signing).await {
            Ok(made) => Ok(made.has_changed(device)),
            Err(ChangeError::NoGroup(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn prefer(
        &self,
        group: &GroupName,
        location: Option<&LocationName>,
        signing: Signing,
    ) -> Result<GroupState, ChangeError> {
        let change = StateChange::Prefer {
            group: group.clone(),
            location: location.cloned(),
        };
        make(self, &change, signing).await?;
        group_record(self, group).await
    }

    async fn pace_group(
        &self,
        group: &GroupName,
        change: &PacingChange,
        signing: Signing,
    ) -> Result<GroupState, ChangeError> {
        let change = StateChange::Pace {
            group: group.clone(),
            pacing: *change,
        };
        make(self, &change, signing).await?;
        group_record(self, group).await
    }

    async fn create_group(
        &self,
        group: &GroupName,
        signing: Signing,
    ) -> Result<GroupState, ChangeError> {
        let group = group.clone();
        let create = StateChange::CreateGroup {
            group: group.clone(),
        };
        let made = make(self, &create, signing).await?;
        if made.outcome == ChangeOutcome::AlreadySo {
            return Err(ChangeError::Exists(group));
        }
        group_record(self, &group).await
    }

    async fn rename_group(
        &self,
        group: &GroupName,
        to: &GroupName,
        signing: Signing,
    ) -> Result<GroupState, ChangeError> {
        let change = StateChange::RenameGroup {
            group: group.clone(),
            to: to.clone(),
        };
        make(self, &change, signing).await?;
        group_record(self, to).await
    }

    async fn delete_group(&self, group: &GroupName) -> Result<bool, ChangeError> {
        let state = group_record(self, group).await?;
        if !state.assignments.is_empty() || self.size(group).await? > 0 {
            return Ok(false);
        }
        let group = group.clone();
        make(self, &StateChange::DeleteGroup { group }, signing()).await?;
        Ok(true)
    }
}

/// A change with its effect on state and records.
struct Made {
    outcome: ChangeOutcome,
    completed: Completed,
}

impl Made {
    /// Returns the changes of a device's records, if this change has written them.
    fn of_device(&self, device: &DeviceId) -> Option<&DeviceChanges> {
        match self.completed.devices.get(device) {
            Some(DeviceProjected::Written(changes)) => Some(changes),
            _ => None,
        }
    }

    /// Returns true if the device has joined or left a group.
    fn has_changed(&self, device: &DeviceId) -> bool {
        matches!(&self.outcome, ChangeOutcome::Devices { changed, .. } if changed.contains(device))
    }
}

/// Makes a change in one commit, and completes all records.
async fn make(
    records: &Records,
    change: &StateChange,
    signing: Signing,
) -> Result<Made, ChangeError> {
    // Boxed, because the futures of tests contain it.
    let outcome = Box::pin(commit(records, change, signing)).await?;
    let (trust, progress) = (trust(), Progress::none());
    let completed = complete(records, &trust, signing.now, &progress);
    let completed = Box::pin(completed).await?;
    Ok(Made { outcome, completed })
}

/// Makes a change in one commit, and leaves the records as they are, as a command does that is
/// interrupted.
///
/// # Panics
/// The change is not made.
pub async fn commit_only(records: &Records, change: &StateChange, signing: Signing) {
    let made = Box::pin(commit(records, change, signing)).await;
    made.expect("the change is made");
}

/// Completes all records. Returns false if the table denies a request.
///
/// # Panics
/// The records cannot be completed for another reason.
pub async fn may_complete(records: &Records, now: UnixTime) -> bool {
    let (trust, progress) = (trust(), Progress::none());
    match Box::pin(complete(records, &trust, now, &progress)).await {
        Ok(_) => true,
        Err(StateError::Records(error)) if !error.is_retryable() => false,
        Err(error) => panic!("the records cannot be completed: {error:?}"),
    }
}

/// Completes all records.
///
/// # Panics
/// The records cannot be completed.
pub async fn complete_all(records: &Records, now: UnixTime) {
    let (trust, progress) = (trust(), Progress::none());
    let completed = Box::pin(complete(records, &trust, now, &progress)).await;
    completed.expect("the records can be completed");
}

async fn commit(
    records: &Records,
    change: &StateChange,
    signing: Signing,
) -> Result<ChangeOutcome, StateError> {
    let trust = trust();
    let mut memory = memories::open(records, &trust).await?;
    let mut committer = Committer {
        records,
        trust: &trust,
        key: signing.key,
        sign: signing.sign,
        memory: &mut memory,
        clock: &|| signing.now,
    };
    let request = CommitRequest {
        changes: std::slice::from_ref(change),
        about: AboutDocument::shortened("ada", "laptop", "packcast", ""),
        valid_for_s: MAX_COMMIT_VALIDITY_S,
    };
    let (Committed::Done { outcomes, .. } | Committed::AlreadySo { outcomes }) =
        committer.commit(&request).await?;
    let outcome = outcomes.into_iter().next();
    Ok(outcome.expect("each change has an outcome"))
}

fn assignment(to: EntryOwner, package: &PackageRecord, force: bool) -> StateChange {
    let published = package.published().expect("the package is published");
    StateChange::Assign {
        to,
        assignment: NewAssignment {
            package: package.id,
            manifest: published.manifest,
            force,
            terms: Terms::default(),
        },
    }
}

/// Creates the target of a new table: its first key list and its first commit.
///
/// # Panics
/// The table already has a target.
pub(crate) async fn found(records: &Records) {
    let made = make(records, &StateChange::Renew, signing()).await;
    made.expect("a new target can be created");
}

/// Returns the outcome of an unassignment that has changed no record, or whose record another
/// caller has changed.
async fn without_entry(
    records: &Records,
    device: &DeviceId,
    package: PackageId,
) -> Result<Unassigned, RecordsError> {
    let device_state = records.device_state(device).await?;
    let groups: Vec<GroupName> = device_state.memberships.groups().collect();
    let states = records.group_states(&groups).await?;
    let group = group_with(&device_state.memberships, &states, package);
    let open = device_state.tasks.iter().find(|it| it.package == package);
    Ok(unassign(open, None, group.map(|state| &state.group)).0)
}

async fn group_record(records: &Records, group: &GroupName) -> Result<GroupState, ChangeError> {
    let state = records.group(group).await?;
    state.ok_or_else(|| ChangeError::NoGroup(group.clone()))
}

/// Returns true if a device is in the maximum number of groups.
fn is_of_limit(error: &StateError) -> bool {
    let is_of_limit =
        |error: &StateChangeError| matches!(error, StateChangeError::TooManyGroups { .. });
    matches!(error, StateError::Changes(errors) if errors.iter().any(is_of_limit))
}

impl From<RecordsError> for ChangeError {
    fn from(error: RecordsError) -> Self {
        Self::Records(error)
    }
}

impl From<StateError> for ChangeError {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Records(error) => Self::Records(error),
            StateError::Deleted(package) => Self::Deleted(package),
            StateError::Changes(errors) => match &errors[..] {
                [StateChangeError::NoGroup { group }] => Self::NoGroup(group.clone()),
                _ => Self::State(Box::new(StateError::Changes(errors))),
            },
            error => Self::State(Box::new(error)),
        }
    }
}

/// Returns the answer of the records to a change that the state permits.
///
/// # Panics
/// The change is not permitted.
pub fn answered<T>(answer: Result<T, ChangeError>) -> Result<T, RecordsError> {
    answer.map_err(|error| match error {
        ChangeError::Records(error) => error,
        error => panic!("{error:?}"),
    })
}
