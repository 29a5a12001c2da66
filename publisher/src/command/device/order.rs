//! `packcast device D --unstick` and `--cancel`: orders for a device with a stock agent.

use packcast_protocol::DeviceId;
use packcast_rollout::order::{NotOrderable, orderable};
use packcast_rollout::{DeviceRecord, Order, OrderKind, Orders};
use serde::Serialize;

use crate::Globals;
use crate::clock::now;
use crate::failure::Failure;
use crate::output;
use crate::target::Target;

/// What was ordered.
#[derive(Serialize)]
struct Ordered<'a> {
    device: &'a DeviceId,
    order: OrderKind,
}

/// Orders a device to do something at its next contact, and says what it will do.
pub(super) async fn give(
    globals: &Globals,
    target: &Target,
    device: &DeviceRecord,
    order: OrderKind,
) -> Result<(), Failure> {
    orderable(&device.device, &device.agent).map_err(|why| refusal(device, why))?;
    target.records.order(&device.device, order, now()).await?;
    let ordered = Ordered {
        device: &device.device,
        order,
    };
    output::result(globals.format, &ordered, |_| explanation(order).to_owned());
    Ok(())
}

fn refusal(device: &DeviceRecord, why: NotOrderable) -> Failure {
    let id = &device.device;
    match why {
        NotOrderable::OurAgent => Failure::failed(format!(
            "{id} runs packcast-agent, which takes no orders"
        ))
        .hint("'packcast unassign' is enough: it cancels at its next check-in what was taken back"),
        NotOrderable::NotUnix => Failure::failed(format!(
            "{id} runs {:?}, and only the Unix agent of OCS Inventory is known to obey",
            output::printable(&device.agent)
        ))
        .hint("what was taken back ends with its report, at the latest when the agent times out"),
    }
}

const fn explanation(order: OrderKind) -> &'static str {
    match order {
        OrderKind::Unstick => {
            "At its next contact the agent kills its download process, sends an inventory, and ends with
exit code 1 and \"Deflating problem\" in its log: that is meant. At the contact after that it
resumes where it was: no downloaded fragment is lost.
A command that is running then goes on by itself, and is run again when the agent resumes."
        }
        OrderKind::Cancel => {
            "At its next contact the agent is told to drop what it has not begun to deploy; a command
that is running is let end first. What was taken back then ends as cancelled, and what is
still assigned is announced again, with the same attempt, at a later contact."
        }
    }
}

/// Says which orders a device has, and how far they have come; empty without any.
pub(crate) fn pending(orders: &Orders) -> String {
    let all = [orders.unstick, orders.cancel];
    let lines = all.iter().flatten().map(|order| {
        let what = match order.order {
            OrderKind::Unstick => "unstick",
            OrderKind::Cancel => "cancel",
        };
        format!("{what}, {}", progress(order))
    });
    lines.collect::<Vec<_>>().join("; ")
}

fn progress(order: &Order) -> String {
    match order.told_at {
        None => format!(
            "asked {}, waiting for the device's next contact",
            output::time(order.asked_at)
        ),
        Some(told_at) => format!("told {}, not done yet", output::time(told_at)),
    }
}
