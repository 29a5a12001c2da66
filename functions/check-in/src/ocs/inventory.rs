//! INVENTORY: an OCS agent describes its device, and names the packages that it has.

use std::ops::ControlFlow;

use packcast_protocol::ocs::reply::{INVENTORY_REFUSAL, INVENTORY_REPLY};
use packcast_protocol::ocs::request::Inventory;
use packcast_protocol::result::NamedCode;
use packcast_protocol::{DeviceId, OcsDeviceId, Outcome, PackageId, UnixTime};
use packcast_rollout::apply::used_mandates;
use packcast_rollout::command::CommandProgress;
use packcast_rollout::{FinishedTask, OpenTask, ReportedFacts, check_in_effect};
use packcast_store::records::{CheckInItems, Recorded};

use crate::CheckInFunction;
use crate::device_access::{DeviceError, admitted_state, record_check_in};

/// Records an inventory, and returns the reply to it.
///
/// The inventory of an excluded device is not recorded.
pub(super) async fn receive(
    function: &CheckInFunction,
    id: OcsDeviceId,
    inventory: &Inventory,
    agent: Option<&str>,
    now: UnixTime,
) -> Result<&'static [u8], DeviceError> {
    match record(function, id, inventory, agent, now).await {
        Err(DeviceError::Excluded(excluded)) => Ok(excluded.inventory_reply()),
        reply => reply,
    }
}

async fn record(
    function: &CheckInFunction,
    id: OcsDeviceId,
    inventory: &Inventory,
    agent: Option<&str>,
    now: UnixTime,
) -> Result<&'static [u8], DeviceError> {
    let host_name = id.host_name().to_owned();
    let device = DeviceId::Ocs(id);
    let device_state = admitted_state(function, &device).await?;
    let facts = ReportedFacts {
        host_name: Some(inventory.host_name.as_deref().unwrap_or(&host_name)),
        agent,
        os: inventory.os_name.as_deref(),
        ..ReportedFacts::default()
    };
    let effect = check_in_effect(&device, device_state.device.as_ref(), &facts, now);
    let budget = effect.budget.ok_or(DeviceError::OverBudget)?;
    if let Some(mut record) = effect.write.or_else(|| device_state.device.clone()) {
        record.inventory_received = Some(now);
        record.budget = budget;
        let known = device_state.device.as_ref();
        if !record_check_in(function, &record, known, CheckInItems::default()).await? {
            // The budget may be spent, so the history must not be written either.
            return Err(DeviceError::OverBudget);
        }
    }
    function
        .records
        .write_history(&device, &inventory.history, now)
        .await?;
    finish_installed(
        function,
        &device,
        &device_state.tasks,
        &inventory.history,
        now,
    )
    .await?;
    // After the command to restart the download, the agent has no connection for a download
    // process. This reply ends the agent before it starts one.
    let stopped = device_state
        .commands
        .restart_download
        .filter(|order| order.told_at.is_some());
    Ok(match stopped {
        Some(order) => {
            function
                .records
                .record_command_progress(&device, &CommandProgress::Done(order))
                .await?;
            INVENTORY_REFUSAL
        }
        None => INVENTORY_REPLY.as_bytes(),
    })
}

/// Finishes the tasks of packages that the device has.
///
/// A package that the device already has must not be announced together with a new one (protocol
/// reference §0 rule 13).
async fn finish_installed(
    function: &CheckInFunction,
    device: &DeviceId,
    tasks: &[OpenTask],
    history: &[PackageId],
    now: UnixTime,
) -> Result<(), DeviceError> {
    let attempt = |tasks: Vec<OpenTask>| async move {
        let mut is_settled = true;
        for task in tasks.iter().filter(|task| is_installed(task, history)) {
            let found = found_installed(task, now);
            let recorded = function.records.record_result(device, task, &found).await?;
            is_settled &= recorded == Recorded::Written;
        }
        if is_settled {
            return Ok(ControlFlow::Break(()));
        }
        let device_state = admitted_state(function, device).await?;
        Ok(ControlFlow::Continue(device_state.tasks))
    };
    function
        .records
        .retry_on_conflict(tasks.to_vec(), attempt)
        .await
}

fn is_installed(task: &OpenTask, history: &[PackageId]) -> bool {
    !task.force && history.contains(&task.package)
}

fn found_installed(task: &OpenTask, now: UnixTime) -> FinishedTask {
    FinishedTask {
        package: task.package,
        attempt: task.attempt,
        code: NamedCode::AlreadyInHistory.into(),
        outcome: Outcome::Succeeded,
        detail: None,
        output_tail: None,
        mandate: task.mandate,
        used: used_mandates(task, Outcome::Succeeded, &[]),
        finished_at: now,
    }
}
