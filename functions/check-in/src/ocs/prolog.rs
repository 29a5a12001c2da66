//! PROLOG: an OCS agent asks what there is to do.

use packcast_protocol::ocs::reply::{Deployment, InventoryAsk, Pack, PrologReply};
use packcast_protocol::{DeviceId, OcsDeviceId, UnixTime};
use packcast_rollout::command::{Instruction, Mode, instruct};
use packcast_rollout::pace::{Announced, Pacing};
use packcast_rollout::{ReportedFacts, check_in_effect};
use packcast_store::RecordsError;
use packcast_store::key::{info_location, pack_location};
use packcast_store::records::Standing;

use crate::CheckIn;
use crate::reconcile::reconciled;
use crate::tasks::{Telling, tell};

/// Returns the reply to a PROLOG.
pub(super) async fn reply(
    function: &CheckIn,
    id: OcsDeviceId,
    agent: Option<&str>,
    now: UnixTime,
) -> Result<PrologReply, RecordsError> {
    let host_name = id.host_name().to_owned();
    let device = DeviceId::Ocs(id);
    let standing = function.records.standing(&device).await?;
    // An inventory knows the host's name better than the DEVICEID does.
    let says = ReportedFacts {
        host_name: standing.device.is_none().then_some(&*host_name),
        agent,
        os: None,
    };
    let contact = check_in_effect(&device, standing.device.as_ref(), &says, now);
    if let Some(record) = &contact.write {
        function
            .records
            .write_check_in(record, standing.device.as_ref())
            .await?;
    }
    let (standing, instruction) = instructed(function, &device, standing, now).await?;
    let ask_inventory = contact.ask_inventory || instruction.ask_inventory;
    let deployment = match instruction.mode {
        Mode::Work => {
            let told = tell(function, &device, standing, now).await?;
            let packs = told.tasks.iter().filter_map(pack).collect();
            let deployment = Deployment::On(packs);
            return Ok(prolog_reply(
                &told.pace,
                &told.tasks,
                ask_inventory,
                deployment,
            ));
        }
        Mode::Stop => Deployment::Off,
        Mode::Drop => Deployment::Drop,
    };
    let reconciled = reconciled(function, &device, standing, now).await?;
    let pace = reconciled.pace(function.settings.pace);
    Ok(prolog_reply(&pace, &[], ask_inventory, deployment))
}

/// Decides what the reply says because of orders, and notes down that it does.
async fn instructed(
    function: &CheckIn,
    device: &DeviceId,
    mut standing: Standing,
    now: UnixTime,
) -> Result<(Standing, Instruction), RecordsError> {
    if !standing.orders.is_empty() {
        // What no group wants any more is withdrawn before it is dropped.
        standing = reconciled(function, device, standing, now).await?.standing;
    }
    let instruction = instruct(&standing.orders, &standing.tasks, now);
    for note in &instruction.progress {
        function
            .records
            .record_command_progress(device, note)
            .await?;
        tracing::info!(%device, ?note, "an order for the device is carried out");
    }
    Ok((standing, instruction))
}

fn prolog_reply(
    pace: &Pacing,
    told: &[Telling],
    ask_inventory: bool,
    deployment: Deployment,
) -> PrologReply {
    let announced: Vec<Announced> = told
        .iter()
        .map(|telling| (telling.task.priority, telling.published.fragments))
        .collect();
    PrologReply {
        prolog_freq_hours: pace.prolog_freq_hours(),
        response: if ask_inventory {
            InventoryAsk::Send
        } else {
            InventoryAsk::Stop
        },
        conf: pace.conf(&announced),
        deployment,
    }
}

/// Describes one package to a stock agent: one location, the first; none is left without one.
fn pack(telling: &Telling) -> Option<Pack> {
    let at = telling.locations.first()?;
    Some(Pack {
        id: telling.package.id,
        info_loc: info_location(at, &telling.package.folder),
        pack_loc: pack_location(&at.location, &telling.package.folder),
        force: telling.task.force,
        schedule: telling.package.windows.schedule,
        afterwards: telling.package.windows.afterwards,
    })
}
