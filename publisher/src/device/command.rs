//! Device commands for OCS agents.

use packcast_protocol::{DeviceId, terminal};
use packcast_rollout::DeviceCommand;
use packcast_rollout::command::{CommandRefusal, accepts_commands};
use serde::Serialize;

use super::known;
use crate::device_name::DeviceName;
use crate::failure::Failure;
use crate::target::Target;

/// A device command that the check-in function sends to the device.
#[derive(Debug, Serialize)]
pub struct CommandSent {
    pub device: DeviceId,
    pub command: DeviceCommand,
}

/// Records a command for a device, which gets it at its next check-in.
///
/// # Errors
/// Only the OCS Unix agent is known to obey device commands; other agents are refused.
pub async fn send_command(
    target: &Target,
    name: &DeviceName,
    command: DeviceCommand,
) -> Result<CommandSent, Failure> {
    let id = name.find(target).await?;
    let (device, _) = known(target, &id).await?;
    accepts_commands(&device.device, &device.agent)
        .map_err(|why| refusal(&device.device, &device.agent, why))?;
    target
        .records
        .command_device(&device.device, command, &target.changed_by())
        .await?;
    Ok(CommandSent {
        device: device.device,
        command,
    })
}

fn refusal(id: &DeviceId, agent: &str, why: CommandRefusal) -> Failure {
    match why {
        CommandRefusal::OurAgent => Failure::failed(format!(
            "cannot send a command to {id}: Packcast agents take no device commands"
        ))
        .hint(format!(
            "run 'packcast unassign PACKAGE --device {id}': the agent cancels the package at its next check-in"
        )),
        CommandRefusal::NotUnix => Failure::failed(format!(
            "cannot send a command to {id}: its agent {:?} is not the OCS Unix agent, and no other agent is known to obey device commands",
            terminal::line(agent)
        ))
        .hint("wait for the report of the agent, which also ends a withdrawn task; the agent gives up a package after its timeout"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::failures;

    #[test]
    fn refused_commands_have_next_steps() {
        let id = "ocs:web01-2026-03-04-05-06-07".parse().unwrap();
        let refused = [CommandRefusal::OurAgent, CommandRefusal::NotUnix]
            .map(|why| refusal(&id, "OCS-NG_WINDOWS_AGENT_v2.10.0", why));
        insta::assert_snapshot!(failures(refused), @r#"
        Failed: cannot send a command to ocs:web01-2026-03-04-05-06-07: Packcast agents take no device commands
        hint: run 'packcast unassign PACKAGE --device ocs:web01-2026-03-04-05-06-07': the agent cancels the package at its next check-in
        Failed: cannot send a command to ocs:web01-2026-03-04-05-06-07: its agent "OCS-NG_WINDOWS_AGENT_v2.10.0" is not the OCS Unix agent, and no other agent is known to obey device commands
        hint: wait for the report of the agent, which also ends a withdrawn task; the agent gives up a package after its timeout
        "#);
    }
}
