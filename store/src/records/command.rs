//! Device commands: items beside the device's record that a check-in does not overwrite.

use packcast_protocol::DeviceId;
use packcast_rollout::command::CommandProgress;
use packcast_rollout::{
    ChangedBy, CommandRecord, DeviceCommand, DeviceCommands, TaskChange, UnsignedChange,
};

use super::commit::Commit;
use super::item::{self, Item};
use super::key::Key;
use super::names::{ASKED_AT, TOLD_AT};
use super::report::Recorded;
use super::stored;
use super::write::{self, Terms};
use super::{Records, RecordsError};

/// Holds for the command that was read. A command that was given again has another time.
const SAME: &str = "#asked_at = :asked_at";

impl Records {
    /// Records a command for a device, which it gets at its next check-in.
    ///
    /// It replaces an unfinished command of the same kind.
    pub async fn command_device(
        &self,
        device: &DeviceId,
        command: DeviceCommand,
        by: &ChangedBy,
    ) -> Result<(), RecordsError> {
        let record = CommandRecord {
            command,
            asked_at: by.at.second(),
            told_at: None,
        };
        let change = UnsignedChange::Commanded {
            device: device.clone(),
            command,
        };
        let write = write::replace(self.table(), stored::command(device, &record));
        self.commit(vec![write, self.event(by, change)]).await?;
        Ok(())
    }

    /// Records the progress of a device command, unless the command was replaced in the meantime.
    pub async fn record_command_progress(
        &self,
        device: &DeviceId,
        progress: &CommandProgress,
    ) -> Result<(), RecordsError> {
        let (CommandProgress::Announced(command) | CommandProgress::Done(command)) = progress;
        let key = Key::command(device, command.command);
        let terms = Terms::default()
            .name(ASKED_AT)
            .value(ASKED_AT, item::number(&command.asked_at));
        let write = match (progress, command.told_at) {
            (CommandProgress::Announced(_), Some(told_at)) => {
                let terms = terms.name(TOLD_AT).value(TOLD_AT, item::number(&told_at));
                let announced = "SET #told_at = :told_at";
                write::update(self.table(), &key, announced, Some(SAME), &terms)
            }
            (CommandProgress::Announced(_), None) => return Ok(()),
            (CommandProgress::Done(_), _) => write::delete(self.table(), &key, SAME, &terms),
        };
        // A refusal means that the command was replaced, or that another check-in was faster.
        self.commit(vec![write]).await?;
        Ok(())
    }

    /// Returns a task that its device has dropped because of a command to the pending tasks.
    pub async fn reopen(
        &self,
        device: &DeviceId,
        change: &TaskChange,
    ) -> Result<Recorded, RecordsError> {
        let commit = self.commit(self.changing(device, change)).await?;
        Ok(if commit == Commit::Done {
            Recorded::Written
        } else {
            Recorded::Superseded
        })
    }
}

/// Adds the command that an item stores.
pub(super) fn add(commands: &mut DeviceCommands, item: Item) -> Result<(), RecordsError> {
    let command: CommandRecord = item::read(item)?;
    match command.command {
        DeviceCommand::RestartDownload => commands.restart_download = Some(command),
        DeviceCommand::Drop => commands.drop = Some(command),
    }
    Ok(())
}
