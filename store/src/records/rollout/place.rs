//! Places in rollouts, each recorded in the task of an attempt.

use packcast_protocol::DeviceId;
use packcast_rollout::OpenTask;
use packcast_rollout::rollout::{GateChange, Place};

use super::super::commit::Commit;
use super::super::item;
use super::super::key::Key;
use super::super::names::PLACE;
use super::super::task::in_same_state;
use super::super::write;
use super::super::{Records, RecordsError};

/// Outcome of taking a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceTaken {
    /// The place is on record, so the device may begin.
    Taken,
    /// Nothing was written, because the gate or the task has changed since it was read.
    Refused,
}

impl Records {
    /// Records that a device takes a place with an announced task, together with the change of the
    /// gate.
    ///
    /// Nothing is written unless the task on record is in the same attempt and state as `task`, with
    /// the same place. If this device has taken this very place already, because the answer was lost
    /// or the device has asked twice, the place is taken only once.
    pub async fn take_place(
        &self,
        device: &DeviceId,
        task: &OpenTask,
        place: Place,
        change: &GateChange,
    ) -> Result<PlaceTaken, RecordsError> {
        let key = Key::task(device, task.priority, task.package);
        let (same_state, terms) = in_same_state(task);
        let terms = terms.name(PLACE).value("taken", item::attribute(&place));
        let writes = vec![
            write::update(
                self.table(),
                &key,
                "SET #place = :taken",
                Some(&same_state),
                &terms,
            ),
            self.changing_gate(place.rollout, change),
        ];
        let Commit::Refused(failed) = self.commit(writes).await? else {
            return Ok(PlaceTaken::Taken);
        };
        if !failed[0] {
            return Ok(PlaceTaken::Refused);
        }
        let found: Option<OpenTask> = self.get(&key).await?;
        let has_place = found.is_some_and(|found| {
            let is_same = found.attempt == task.attempt && found.state == task.state;
            is_same && found.place == Some(place)
        });
        Ok(if has_place {
            PlaceTaken::Taken
        } else {
            PlaceTaken::Refused
        })
    }
}
