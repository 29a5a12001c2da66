//! The answer to a Packcast agent that is about to begin with a package.
//!
//! The answer costs one Query, of the device, and no write, unless the device takes a place in a
//! rollout: one transaction. The other records are cached for at
//! most a minute: the head with the mark of a paused target, the package, and the groups. So a
//! device that was told of a package may still begin with it until these caches have expired. A
//! device chooses the text of its question, so a refusal costs at most one more read of each record
//! in a second.

use std::sync::Arc;

use packcast_protocol::api::{BeginReply, BeginRequest, HoldWord};
use packcast_protocol::{DeviceId, UnixTime};
use packcast_rollout::begin::{BeginRecords, announced_task, hold, rollout};
use packcast_rollout::{GroupState, PackageRecord};
use packcast_store::RecordsError;
use packcast_store::records::DeviceState;

use crate::device_access::{DeviceError, admitted_state};
use crate::rollouts::Held;
use crate::{CheckInFunction, log_name, rollouts};

/// Answers the question of a device that is about to begin with a package.
pub(crate) async fn answer(
    function: &CheckInFunction,
    device: &DeviceId,
    asked: &BeginRequest,
    now: UnixTime,
) -> Result<BeginReply, DeviceError> {
    let device_state = admitted_state(function, device).await?;
    let reason = reason(function, device, &device_state, asked, now).await?;
    let (host, name) = (
        log_name::host(&device_state),
        log_name::package(function, asked.id),
    );
    let (package, attempt) = (asked.id, asked.attempt);
    Ok(match reason {
        None => {
            tracing::info!(%host, %name, %device, %package, attempt, "the device may begin");
            BeginReply::Go
        }
        Some(Held { reason, again_s }) => {
            tracing::info!(%host, %name, %device, %package, attempt, ?reason, "the device has to wait");
            BeginReply::Wait { reason, again_s }
        }
    })
}

/// Returns the reason for which the device waits; `None` if it may begin.
async fn reason(
    function: &CheckInFunction,
    device: &DeviceId,
    device_state: &DeviceState,
    asked: &BeginRequest,
    now: UnixTime,
) -> Result<Option<Held>, RecordsError> {
    let records = &function.records;
    let commit = asked.commit.number;
    if let Some(reason) = function.state.hold(records, commit, now).await? {
        return Ok(Some(reason.into()));
    }
    let Some(task) = announced_task(asked, &device_state.tasks) else {
        return Ok(Some(HoldWord::Withdrawn.into()));
    };
    let decide = |package: Option<Arc<PackageRecord>>, groups: &[GroupState]| {
        let records = BeginRecords {
            device,
            task,
            package: package.as_deref(),
            memberships: &device_state.memberships,
            groups,
        };
        hold(asked, &records).map_or_else(|| Ok(rollout(asked, &records)), Err)
    };
    let memberships = &device_state.memberships;
    let package = function.packages.one(records, asked.id, now).await?;
    let groups = function.groups.states(records, memberships, now).await?;
    let mut decision = decide(package, &groups);
    if decision.is_err() {
        // Another instance of the function may have announced a package that was assigned or
        // activated after this one had read it. So no device waits because of a record of an earlier
        // second.
        let packages = &function.packages;
        let package = packages.one_within(records, asked.id, 1, now).await?;
        let groups = function.groups.states_within(records, memberships, 1, now);
        decision = decide(package, &groups.await?);
    }
    match decision {
        Err(reason) => Ok(Some(reason.into())),
        Ok(None) => Ok(None),
        Ok(Some(rollout)) => {
            // Boxed, because the futures of all handlers contain it.
            let hold = rollouts::hold(function, device, device_state, task, rollout, now);
            Box::pin(hold).await
        }
    }
}
