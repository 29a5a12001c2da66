//! `packcast device restart-download` and `drop`: commands for a device with an OCS agent.

use packcast_publisher::device;
use packcast_publisher::device_name::DeviceName;
use packcast_publisher::{Failure, Target};
use packcast_rollout::{CommandRecord, DeviceCommand, DeviceCommands};

use crate::Globals;
use crate::output;

/// Sends a command to a device, and prints the effect that the command will have.
pub(super) async fn send(
    globals: &Globals,
    target: &Target,
    name: &DeviceName,
    command: DeviceCommand,
) -> Result<(), Failure> {
    let sent = device::send_command(target, name, command).await?;
    output::result(globals.format, &sent, |_| effect(command).to_owned());
    Ok(())
}

const fn effect(command: DeviceCommand) -> &'static str {
    match command {
        DeviceCommand::RestartDownload => {
            "\
At its next check-in, the agent kills its download process, sends an inventory, and ends with
exit code 1 and \"Deflating problem\" in its log. This is expected. At the check-in after that,
the agent resumes where it was; no downloaded fragment is lost.
A command that is running continues by itself, and the agent runs it again when it resumes."
        }
        DeviceCommand::Drop => {
            "\
At its next check-in, the agent is instructed to drop the packages that it has not begun to
deploy. A command that is running ends first. Then an unassigned package ends as cancelled, and a
package that is still assigned is announced again, with the same attempt, at a later check-in."
        }
    }
}

/// Writes the commands for a device and their progress; nothing if there are none.
pub(crate) fn pending(commands: &DeviceCommands) -> String {
    let all = [commands.restart_download, commands.drop];
    let lines = all.iter().flatten().map(|command| {
        let name = match command.command {
            DeviceCommand::RestartDownload => "restart download",
            DeviceCommand::Drop => "drop",
        };
        format!("{name}, {}", progress(command))
    });
    lines.collect::<Vec<_>>().join("; ")
}

fn progress(command: &CommandRecord) -> String {
    match command.told_at {
        None => format!(
            "requested {}, waiting for the device's next check-in",
            output::time(command.asked_at)
        ),
        Some(sent_at) => format!("sent {}, not done yet", output::time(sent_at)),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::json;

    use super::*;
    use crate::fixtures::{self, NOON};

    #[test]
    fn the_effect_of_a_command_is_printed() {
        assert_snapshot!(effect(DeviceCommand::RestartDownload), @r#"
        At its next check-in, the agent kills its download process, sends an inventory, and ends with
        exit code 1 and "Deflating problem" in its log. This is expected. At the check-in after that,
        the agent resumes where it was; no downloaded fragment is lost.
        A command that is running continues by itself, and the agent runs it again when it resumes.
        "#);
        assert_snapshot!(effect(DeviceCommand::Drop), @"
        At its next check-in, the agent is instructed to drop the packages that it has not begun to
        deploy. A command that is running ends first. Then an unassigned package ends as cancelled, and a
        package that is still assigned is announced again, with the same attempt, at a later check-in.
        ");
    }

    #[test]
    fn pending_commands_are_shown_with_their_progress() {
        assert_eq!(pending(&DeviceCommands::default()), "");
        let commands = fixtures::read(json!({
            "restart_download": { "command": "restart-download", "asked_at": NOON, "told_at": null },
            "drop": { "command": "drop", "asked_at": NOON, "told_at": NOON + 60 },
        }));
        assert_snapshot!(pending(&commands), @"restart download, requested 2026-11-18 11:06:40 UTC, waiting for the device's next check-in; drop, sent 2026-11-18 11:07:40 UTC, not done yet");
    }
}
