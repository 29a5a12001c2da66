//! PROLOG: an OCS agent asks for its packages.

use packcast_protocol::ocs::reply::{DownloadMode, InventoryAsk, Pack, PrologReply};
use packcast_protocol::{DeviceId, OcsDeviceId, UnixTime};
use packcast_rollout::command::{Instruction, Mode, instruct};
use packcast_rollout::exclusion::{ExcludedInstruction, instruct_excluded};
use packcast_rollout::pacing::{Announced, Pacing};
use packcast_rollout::{ReportedFacts, check_in_effect};
use packcast_store::key::{info_location, pack_location};
use packcast_store::records::{CheckInItems, DeviceState};

use crate::device_access::{DeviceError, ExcludedState, admitted_state, record_check_in};
use crate::reconcile::reconciled;
use crate::tasks::{AnnouncedTask, announce_tasks};
use crate::{CheckInFunction, log_name, rollouts};

/// Returns the reply to a PROLOG.
pub(super) async fn reply(
    function: &CheckInFunction,
    id: OcsDeviceId,
    agent: Option<&str>,
    now: UnixTime,
) -> Result<PrologReply, DeviceError> {
    let host_name = id.host_name().to_owned();
    let device = DeviceId::Ocs(id);
    match admitted_reply(function, &device, &host_name, agent, now).await {
        Err(DeviceError::Excluded(excluded)) => {
            let ExcludedState { exclusion, tasks } = &*excluded;
            let instruction = instruct_excluded(exclusion, &device, agent, tasks);
            Ok(excluded_reply(function, instruction))
        }
        reply => reply,
    }
}

async fn admitted_reply(
    function: &CheckInFunction,
    device: &DeviceId,
    host_name: &str,
    agent: Option<&str>,
    now: UnixTime,
) -> Result<PrologReply, DeviceError> {
    let mut device_state = admitted_state(function, device).await?;
    if !device_state.settling.is_empty() {
        // Boxed, because few check-ins need it.
        Box::pin(rollouts::settle(
            function,
            device,
            &mut device_state,
            None,
            now,
        ))
        .await?;
    }
    // An inventory has the present host name. The DEVICEID only has the one of the agent's
    // first run.
    let facts = ReportedFacts {
        host_name: device_state.device.is_none().then_some(host_name),
        agent,
        ..ReportedFacts::default()
    };
    let effect = check_in_effect(device, device_state.device.as_ref(), &facts, now);
    if let Some(record) = effect.write {
        let known = device_state.device.as_ref();
        record_check_in(function, &record, known, CheckInItems::default()).await?;
        // The agent tells the system of a device that was unknown until now.
        device_state.device = Some(record);
    }
    let (device_state, instruction) = apply_commands(function, device, device_state, now).await?;
    let ask_inventory = effect.ask_inventory || instruction.ask_inventory;
    let deployment = match instruction.mode {
        Mode::Work => {
            let announced = announce_tasks(function, device, device_state, now).await?;
            let packs = announced.tasks.iter().filter_map(pack).collect();
            let deployment = DownloadMode::On(packs);
            return Ok(prolog_reply(
                &announced.pacing,
                &announced.tasks,
                ask_inventory,
                deployment,
            ));
        }
        Mode::Stop => DownloadMode::Off,
        Mode::Drop => DownloadMode::Drop,
    };
    let reconciled = reconciled(function, device, device_state, now).await?;
    let pacing = reconciled.pacing(function.settings.pace);
    Ok(prolog_reply(&pacing, &[], ask_inventory, deployment))
}

/// Returns the reply to an excluded device, which has the pacing of the target: the pacing of its
/// groups would cost another read.
fn excluded_reply(function: &CheckInFunction, instruction: ExcludedInstruction) -> PrologReply {
    let (ask_inventory, deployment) = match instruction {
        ExcludedInstruction::Stop { ask_inventory } => (ask_inventory, DownloadMode::Off),
        ExcludedInstruction::Drop => (false, DownloadMode::Drop),
    };
    prolog_reply(&function.settings.pace, &[], ask_inventory, deployment)
}

/// Decides how open device commands shape the reply, and records that they do.
async fn apply_commands(
    function: &CheckInFunction,
    device: &DeviceId,
    mut device_state: DeviceState,
    now: UnixTime,
) -> Result<(DeviceState, Instruction), DeviceError> {
    if !device_state.commands.is_empty() {
        // Reconciling first withdraws the tasks that no group wants, so that the drop covers
        // them.
        device_state = reconciled(function, device, device_state, now)
            .await?
            .device_state;
    }
    let instruction = instruct(&device_state.commands, &device_state.tasks, now);
    let host = log_name::host(&device_state);
    for progress in &instruction.progress {
        function
            .records
            .record_command_progress(device, progress)
            .await?;
        tracing::info!(%host, %device, ?progress, "carried out a device command");
    }
    Ok((device_state, instruction))
}

fn prolog_reply(
    pacing: &Pacing,
    tasks: &[AnnouncedTask],
    ask_inventory: bool,
    deployment: DownloadMode,
) -> PrologReply {
    let announced: Vec<Announced> = tasks
        .iter()
        .map(|task| (task.task.priority, task.published.fragments))
        .collect();
    PrologReply {
        prolog_freq_hours: pacing.prolog_freq_hours(),
        response: if ask_inventory {
            InventoryAsk::Send
        } else {
            InventoryAsk::Stop
        },
        conf: pacing.conf(&announced),
        deployment,
    }
}

/// Describes a package for an OCS agent, which gets the first location; `None` if there is no
/// location.
fn pack(task: &AnnouncedTask) -> Option<Pack> {
    let at = task.locations.first()?;
    Some(Pack {
        id: task.package.id,
        info_loc: info_location(at, &task.package.folder),
        pack_loc: pack_location(&at.location, &task.package.folder),
        force: task.task.force,
        schedule: task.package.windows.schedule,
        afterwards: task.package.windows.afterwards,
    })
}
