//! An operator's commands, given again as long as the service asks for it.

use packcast_protocol::{DeviceId, GroupName, UnixTime};
use packcast_rollout::PackageRecord;
use packcast_store::records::{ActivateError, GroupError, Joined};
use packcast_store::{Records, RecordsError};

use super::plan::Act;
use packcast_testing::signing::{answered, signing, signing_at};
use packcast_testing::table::location;

/// How often a command is given; what the service cannot do that often is a fault of its own.
const TRIES: u32 = 1_000;

/// What the numbers of a plan stand for.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) devices: Vec<DeviceId>,
    pub(super) groups: Vec<GroupName>,
    pub(super) packages: Vec<PackageRecord>,
}

/// Asks until an answer comes.
///
/// The question is no async closure: only of a plain one it can be told that it is [`Send`].
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

/// Does what an act says. Done a second time, because the answer to the first was lost, it
/// changes nothing more.
pub(super) async fn perform(records: &Records, names: &Names, act: Act, now: UnixTime) {
    until_answered(|| once(records, names, act, now)).await;
}

async fn once(
    records: &Records,
    names: &Names,
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
            activation_answer(records.activate(package, &[location()]).await)?;
        }
        Act::Deactivate(package) => {
            let package = names.packages[package].id;
            activation_answer(records.deactivate(package).await)?;
        }
    }
    Ok(())
}

/// What was taken back already is none the less taken back.
fn group_answer<T>(answer: Result<T, GroupError>) -> Result<Option<T>, RecordsError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(GroupError::Records(error)) => Err(error),
        Err(GroupError::NotAssigned { .. }) => Ok(None),
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
