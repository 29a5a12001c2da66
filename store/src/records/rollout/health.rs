//! Devices that have settled after a success.

use packcast_protocol::{DeviceId, UnixTime};
use packcast_rollout::rollout::{Gate, Settling, healthy};

use super::super::backoff::Backoff;
use super::super::commit::Commit;
use super::super::item;
use super::super::key::Key;
use super::super::names::PLACE;
use super::super::write::{self, Terms};
use super::super::{Records, RecordsError};

impl Records {
    /// Records that a device has settled and is healthy: its item is deleted, and the gate changes,
    /// once. If the gate is gone, only the item is deleted.
    ///
    /// The change is decided from `cached`, an earlier read of the gate, or from a read if it is
    /// `None`. If the gate has changed since, it is read, and the change is decided again, after a
    /// pause with jitter.
    ///
    /// # Errors
    /// [`RecordsError::Conflict`] if the gate changed in each of ten tries. The next check-in of the
    /// device tries again.
    pub async fn record_healthy(
        &self,
        device: &DeviceId,
        settling: &Settling,
        cached: Option<&Gate>,
        now: UnixTime,
    ) -> Result<(), RecordsError> {
        let place = &settling.place;
        let terms = Terms::default()
            .name(PLACE)
            .value("place", item::attribute(place));
        let key = Key::settling(device, settling.package);
        let deletion = write::delete(self.table(), &key, "#place = :place", &terms);
        let mut read = cached.cloned().map(Some);
        let mut backoff = Backoff::default();
        loop {
            let gate = match read.take() {
                Some(gate) => gate,
                None => self.readable_gate(place.rollout).await?,
            };
            let change = gate.and_then(|gate| healthy(&gate, place, now));
            let mut writes = vec![deletion.clone()];
            writes.extend(change.map(|change| self.changing_gate(place.rollout, &change)));
            match self.commit(writes).await? {
                // Without the item, the device was counted before.
                Commit::Refused(failed) if !failed[0] => {
                    if !backoff.pause().await {
                        return Err(self.conflict());
                    }
                }
                Commit::Done | Commit::Refused(_) => return Ok(()),
            }
        }
    }
}
