//! `packcast device D --restart-download` and `--drop`: orders for a device with a stock agent.

use packcast_publisher::device;
use packcast_publisher::device_name::DeviceName;
use packcast_publisher::{Failure, Target};
use packcast_rollout::{CommandRecord, DeviceCommand, DeviceCommands};

use crate::Globals;
use crate::output;

/// Gives an order, and says what the device will do.
pub(super) async fn give(
    globals: &Globals,
    target: &Target,
    name: &DeviceName,
    order: DeviceCommand,
) -> Result<(), Failure> {
    let ordered = device::order(target, name, order).await?;
    output::result(globals.format, &ordered, |_| explanation(order).to_owned());
    Ok(())
}

const fn explanation(order: DeviceCommand) -> &'static str {
    match order {
        DeviceCommand::Unstick => {
            "At its next contact the agent kills its download process, sends an inventory, and ends with
exit code 1 and \"Deflating problem\" in its log: that is meant. At the contact after that it
resumes where it was: no downloaded fragment is lost.
A command that is running then goes on by itself, and is run again when the agent resumes."
        }
        DeviceCommand::Cancel => {
            "At its next contact the agent is told to drop what it has not begun to deploy; a command
that is running is let end first. What was taken back then ends as cancelled, and what is
still assigned is announced again, with the same attempt, at a later contact."
        }
    }
}

/// Says which orders a device has, and how far they have come; empty without any.
pub(crate) fn pending(orders: &DeviceCommands) -> String {
    let all = [orders.unstick, orders.cancel];
    let lines = all.iter().flatten().map(|order| {
        let what = match order.command {
            DeviceCommand::Unstick => "unstick",
            DeviceCommand::Cancel => "cancel",
        };
        format!("{what}, {}", progress(order))
    });
    lines.collect::<Vec<_>>().join("; ")
}

fn progress(order: &CommandRecord) -> String {
    match order.told_at {
        None => format!(
            "asked {}, waiting for the device's next contact",
            output::time(order.asked_at)
        ),
        Some(told_at) => format!("told {}, not done yet", output::time(told_at)),
    }
}
