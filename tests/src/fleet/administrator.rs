//! The commands of an administrator, repeated while the service is not available.

use packcast_protocol::{DeviceId, GroupName, UnixTime};
use packcast_rollout::PackageRecord;
use packcast_store::records::ActivateError;
use packcast_store::{Records, RecordsError};

use super::plan::Act;
use packcast_testing::administrator::{Administrator as _, ChangeError, Joined, answered};
use packcast_testing::signing::{signing, signing_at};
use packcast_testing::table::{location, mia};

/// Number of attempts of a command; a service that fails more often is itself a fault.
const TRIES: u32 = 1_000;

/// The devices, groups and packages that the numbers of a plan refer to.
#[derive(Debug)]
pub(super) struct FleetNames {
    pub(super) devices: Vec<DeviceId>,
    pub(super) groups: Vec<GroupName>,
    pub(super) packages: Vec<PackageRecord>,
}

/// Retries until an answer arrives.
pub(super) async fn until_answered<T, F>(ask: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, RecordsError>>,
{
    for _ in 0..TRIES {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => assert!(error.is_retryable(), "{error:?}"),
        }
    }
    panic!("no answer in {TRIES} tries")
}

/// Performs an act.
///
/// An act that is performed twice, because the first answer was lost, changes nothing more.
pub(super) async fn perform(records: &Records, names: &FleetNames, act: Act, now: UnixTime) {
    until_answered(|| once(records, names, act, now)).await;
}

async fn once(
    records: &Records,
    names: &FleetNames,
    act: Act,
    now: UnixTime,
) -> Result<(), RecordsError> {
    match act {
        Act::Join(device, group) => {
            let (device, group) = (&names.devices[device], &names.groups[group]);
            let joined = group_answer(records.join(device, group, signing()).await)?;
            let is_member = matches!(joined, Some(Joined::New | Joined::AlreadyMember));
            assert!(is_member, "{device} and {group}: {joined:?}");
        }
        Act::Leave(device, group) => {
            let (device, group) = (&names.devices[device], &names.groups[group]);
            answered(records.leave(device, group, signing()).await)?;
        }
        Act::Assign {
            group,
            package,
            force,
        } => {
            let (group, package) = (&names.groups[group], &names.packages[package]);
            group_answer(
                records
                    .assign_group(group, package, force, signing_at(now))
                    .await,
            )?;
        }
        Act::Unassign { group, package } => {
            let (group, package) = (&names.groups[group], names.packages[package].id);
            group_answer(records.unassign_group(group, package, signing()).await)?;
        }
        Act::AssignDevice(device, package) => {
            let (device, package) = (&names.devices[device], &names.packages[package]);
            let signing = signing_at(now);
            answered(records.assign(device, package, false, signing).await)?;
        }
        Act::UnassignDevice(device, package) => {
            let (device, package) = (&names.devices[device], &names.packages[package]);
            answered(records.unassign(device, package, signing()).await)?;
        }
        Act::Activate(package) => {
            let package = names.packages[package].id;
            activation_answer(records.activate(package, &[location()], &mia()).await)?;
        }
        Act::Deactivate(package) => {
            let package = names.packages[package].id;
            activation_answer(records.deactivate(package, &mia()).await)?;
        }
    }
    Ok(())
}

/// Returns the answer, or `None` if an earlier attempt has already unassigned the package.
fn group_answer<T>(answer: Result<T, ChangeError>) -> Result<Option<T>, RecordsError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(ChangeError::Records(error)) => Err(error),
        Err(ChangeError::NotAssigned { .. }) => Ok(None),
        Err(error) => panic!("{error:?}"),
    }
}

fn activation_answer<T>(answer: Result<T, ActivateError>) -> Result<(), RecordsError> {
    match answer {
        Ok(_) => Ok(()),
        Err(ActivateError::Records(error)) => Err(error),
        Err(error) => panic!("{error:?}"),
    }
}
