//! Orders for a device with a stock agent.

use packcast_protocol::DeviceId;
use packcast_rollout::command::{CommandRefusal, accepts_commands};
use packcast_rollout::{DeviceCommand, DeviceRecord};
use serde::Serialize;

use super::known;
use crate::clock::now;
use crate::device_name::DeviceName;
use crate::failure::Failure;
use crate::target::Target;
use crate::text::printable;

/// An order that a device obeys from its next check-in on.
#[derive(Debug, Serialize)]
pub struct Ordered {
    pub device: DeviceId,
    pub order: DeviceCommand,
}

/// Orders a device to do something at its next check-in.
pub async fn order(
    target: &Target,
    name: &DeviceName,
    order: DeviceCommand,
) -> Result<Ordered, Failure> {
    let id = name.find(target).await?;
    let (device, _) = known(target, &id).await?;
    accepts_commands(&device.device, &device.agent).map_err(|why| refusal(&device, why))?;
    target
        .records
        .command_device(&device.device, order, now())
        .await?;
    Ok(Ordered {
        device: device.device,
        order,
    })
}

fn refusal(device: &DeviceRecord, why: CommandRefusal) -> Failure {
    let id = &device.device;
    match why {
        CommandRefusal::OurAgent => Failure::failed(format!(
            "{id} runs packcast-agent, which takes no orders"
        ))
        .hint("'packcast unassign' is enough: it cancels at its next check-in what was taken back"),
        CommandRefusal::NotUnix => Failure::failed(format!(
            "{id} runs {:?}, and only the Unix agent of OCS Inventory is known to obey",
            printable(&device.agent)
        ))
        .hint("what was taken back ends with its report, at the latest when the agent times out"),
    }
}
