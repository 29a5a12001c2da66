//! Orders for one device: items beside its record that a contact does not overwrite.

use packcast_protocol::{DeviceId, UnixTime};
use packcast_rollout::order::Note;
use packcast_rollout::{CommandRecord, DeviceCommand, DeviceCommands, TaskChange};

use super::commit::Commit;
use super::item::{self, Item};
use super::key::Key;
use super::names::{ASKED_AT, TOLD_AT};
use super::report::Recorded;
use super::stored;
use super::write::{self, Terms};
use super::{Records, RecordsError};

/// Holds for the order that was read: one that was asked for anew is another.
const SAME: &str = "#asked_at = :asked_at";

impl Records {
    /// Orders a device to do something at its next contact.
    ///
    /// An order of the same kind that is not carried out yet is replaced.
    pub async fn order(
        &self,
        device: &DeviceId,
        order: DeviceCommand,
        now: UnixTime,
    ) -> Result<(), RecordsError> {
        let order = CommandRecord {
            order,
            asked_at: now,
            told_at: None,
        };
        self.put(stored::order(device, &order)).await?;
        Ok(())
    }

    /// Notes down how far an order has come, unless it was replaced meanwhile.
    pub async fn note_order(&self, device: &DeviceId, note: &Note) -> Result<(), RecordsError> {
        let (Note::Told(order) | Note::Done(order)) = note;
        let key = Key::order(device, order.order);
        let terms = Terms::default()
            .name(ASKED_AT)
            .value(ASKED_AT, item::number(&order.asked_at));
        let write = match (note, order.told_at) {
            (Note::Told(_), Some(told_at)) => {
                let terms = terms.name(TOLD_AT).value(TOLD_AT, item::number(&told_at));
                let told = "SET #told_at = :told_at";
                write::update(self.table(), &key, told, Some(SAME), &terms)
            }
            (Note::Told(_), None) => return Ok(()),
            (Note::Done(_), _) => write::delete(self.table(), &key, SAME, &terms),
        };
        // Refused: it was replaced, or another contact was faster.
        self.commit(vec![write]).await?;
        Ok(())
    }

    /// Puts a task that its device has dropped by order back to those it was not told of.
    pub async fn put_back(
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

/// Adds the order that an item holds.
pub(super) fn add(orders: &mut DeviceCommands, item: Item) -> Result<(), RecordsError> {
    let order: CommandRecord = item::read(item)?;
    match order.order {
        DeviceCommand::Unstick => orders.unstick = Some(order),
        DeviceCommand::Cancel => orders.cancel = Some(order),
    }
    Ok(())
}
